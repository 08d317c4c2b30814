{{/* Name of a component's objects: <federation>-<component>. Takes: context, component. */}}
{{- define "controlPlane.name" -}}
{{ .context.Release.Name }}-{{ .component }}
{{- end }}

{{/* The API's address in the host cluster. */}}
{{- define "controlPlane.server" -}}
https://{{ .Release.Name }}-apiserver.{{ include "fedhelm.namespace" (dict "context" .) }}.svc:{{ .Values.apiServer.service.port }}
{{- end }}

{{/* Name of the Secret with the users of basic authentication: somebody's, or the one that is made. */}}
{{- define "controlPlane.basicAuthSecret" -}}
{{ .Values.apiServer.basicAuth.existingSecret | default (printf "%s-apiserver-basic-auth" .Release.Name) }}
{{- end }}

{{/* Name of the Secret with the tokens, likewise. */}}
{{- define "controlPlane.tokenSecret" -}}
{{ .Values.apiServer.tokenAuth.existingSecret | default (printf "%s-apiserver-token" .Release.Name) }}
{{- end }}

{{/* Name of etcd's claim: the one kubefed made, so that a volume made for it binds. */}}
{{- define "controlPlane.etcdClaim" -}}
{{ .Values.etcd.persistence.existingClaim | default (printf "%s-federation-apiserver-etcd-claim" .Release.Name) }}
{{- end }}

{{/* Says `true` where the chart runs the etcd of the API, and nothing elsewhere; as values.Etcd.Own does. */}}
{{- define "controlPlane.ownEtcd" -}}
{{- if not .Values.etcd.external.servers }}true{{ end }}
{{- end }}

{{/* Secret with the certificate that etcd knows kube-apiserver by, and with etcd's CA; nothing for an etcd that is asked without. */}}
{{- define "controlPlane.etcdClientSecret" -}}
{{- $external := .Values.etcd.external }}
{{- if include "controlPlane.ownEtcd" . }}{{ .Release.Name }}-apiserver-etcd-client
{{- else if $external.existingSecret }}{{ $external.existingSecret }}
{{- else if $external.ca }}{{ .Release.Name }}-etcd-external
{{- end }}
{{- end }}

{{/*
The flags of kube-apiserver about etcd, as JSON. In the chart's own etcd keys begin with kube-apiserver's default, /registry. In another one they do not: /registry is where v1, and the API
servers of clusters, have theirs, and below it a federation by the name of a resource would get among these.
*/}}
{{- define "controlPlane.etcdFlags" -}}
{{- $flags := dict "etcd-servers" (printf "https://%s-etcd.%s.svc:2379" .Release.Name (include "fedhelm.namespace" (dict "context" .))) }}
{{- with .Values.etcd.external }}
{{- if .servers }}
{{- $flags = dict "etcd-servers" (join "," .servers) "etcd-prefix" (.prefix | default (printf "/federation/%s" $.Release.Name)) }}
{{- end }}
{{- end }}
{{- if include "controlPlane.etcdClientSecret" . }}
{{- range $flag, $file := dict "etcd-cafile" "ca.crt" "etcd-certfile" "tls.crt" "etcd-keyfile" "tls.key" }}
{{- $_ := set $flags $flag (printf "/etc/federation/pki/etcd-client/%s" $file) }}
{{- end }}
{{- end }}
{{- toJson $flags }}
{{- end }}

{{/* The zone with its trailing dot, whichever way it was written. */}}
{{- define "controlPlane.zone" -}}
{{ .Values.dns.zoneName | trimSuffix "." }}.
{{- end }}

{{/* Volumes of a client of the API: its own certificate, and a kubeconfig that names the files. Takes: context, secret. */}}
{{- define "controlPlane.clientVolumes" -}}
- name: pki
  secret:
    secretName: {{ .secret | quote }}
    defaultMode: 0440
- name: client
  configMap:
    name: {{ .context.Release.Name }}-client
{{- end }}

{{- define "controlPlane.clientVolumeMounts" -}}
- name: pki
  mountPath: /etc/federation/pki
  readOnly: true
- name: client
  mountPath: /etc/federation/client
  readOnly: true
{{- end }}

{{/* Says `true` where the chart runs the federation's own DNS, and nothing elsewhere; as values.DNS.Own does. */}}
{{- define "controlPlane.ownDNS" -}}
{{- with .Values.dns }}
{{- if and (eq .provider "coredns") (not .config) (not .existingSecret) (not .coredns.etcdEndpoints) }}true{{ end }}
{{- end }}
{{- end }}
