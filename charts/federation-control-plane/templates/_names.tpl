{{/* Name of a component's objects: <federation>-<component>. Takes: context, component. */}}
{{- define "controlPlane.name" -}}
{{ .context.Release.Name }}-{{ .component }}
{{- end }}

{{/* The API's address in the host cluster. */}}
{{- define "controlPlane.server" -}}
https://{{ .Release.Name }}-apiserver.{{ .Release.Namespace }}.svc:{{ .Values.apiServer.service.port }}
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
