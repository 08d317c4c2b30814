{{/*
The configuration of the federation's DNS. Two blocks serve the zone, because the etcd plugin answers for a name with everything below it: the zone's own name, or a namespace's,
would give the addresses of all services at once, and the labels `*` and `any` are wildcards to it. So it gets none but names of services to see,
<service>.<namespace>.<federation>.svc.[<zone>.][<region>.]<suffix>, none of which is below another. The rest of the zone exists and has no data, which is true of every
name above a service's. The plugin also takes a question for a CNAME to be for another key than the one where records are.
Names outside of the zone are refused, which is what CoreDNS does without being told. What is not there stays so for 30 seconds, as in the etcd plugin.
*/}}
{{- define "controlPlane.corefile" -}}
{{- $zone := include "controlPlane.zone" . -}}
{{- $soa := printf "%s 30 IN SOA ns.dns.%s hostmaster.%s 1 7200 1800 86400 30" $zone $zone $zone -}}
{{- $label := "[^.]+[.]" -}}
{{- $service := printf "^%s%s%s[.]svc[.](%s)*%s$" $label $label .Release.Name $label ($zone | replace "." "[.]") -}}
{{ $zone }}:1053 {
    view services {
        expr name() matches '{{ $service }}' && not (name() matches '(^|[.])([*]|any)[.]') && not (type() in ['SOA', 'PTR', 'SRV'])
    }
    errors
    health :8080 {
        lameduck 5s
    }
    ready :8181
    prometheus :9153
    bufsize 1232
    loadbalance
    rewrite type CNAME A
    etcd {
        path /skydns
        endpoint https://{{ .Release.Name }}-dns-etcd.{{ include "fedhelm.namespace" (dict "context" .) }}.svc:2379
        tls /etc/federation/pki/tls.crt /etc/federation/pki/tls.key /etc/federation/pki/ca.crt
    }
}
{{ $zone }}:1053 {
    errors
    prometheus :9153
    template IN SOA {
        match ^{{ $zone | replace "." "[.]" }}$
        answer "{{ $soa }}"
        fallthrough
    }
    template ANY ANY {
        authority "{{ $soa }}"
    }
}
{{- end }}
