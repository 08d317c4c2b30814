{{/*
Rules of the hooks' roles. The Secrets are those of pkg/controlplane's table; a test compares the two.
*/}}

{{- define "controlPlane.certificateSecrets" -}}
{{- range tuple "ca" "front-proxy-ca" "service-account" "apiserver-tls" "front-proxy-client" "kube-controller-manager" "controller-manager" "bootstrap" "admin" "registrar" }}
- {{ $.Release.Name }}-{{ . }}
{{- end }}
{{- include "controlPlane.etcdSecrets" . }}
{{- include "controlPlane.dnsSecrets" . }}
{{- end }}

{{/* Those of the federation's own etcd. */}}
{{- define "controlPlane.etcdSecrets" -}}
{{- range tuple "etcd-ca" "apiserver-etcd-client" "etcd-tls" "etcd-peer" }}
- {{ $.Release.Name }}-{{ . }}
{{- end }}
{{- end }}

{{/* Those of the federation's own DNS. */}}
{{- define "controlPlane.dnsSecrets" -}}
{{- range tuple "dns-etcd-ca" "dns-etcd-tls" "dns-etcd-client" }}
- {{ $.Release.Name }}-{{ . }}
{{- end }}
{{- end }}

{{/* To keep the certificates, the serving one with the addresses under which the API is reached. An object that is created by apply can be limited to names. */}}
{{- define "controlPlane.certificateRules" -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames:
    {{- include "controlPlane.certificateSecrets" . | nindent 4 }}
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ .Release.Name }}-kubeconfig]
  verbs: [get]
- apiGroups: [""]
  resources: [services]
  resourceNames: [{{ .Release.Name }}-apiserver]
  verbs: [get]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- end }}

{{/* To keep the configuration of the DNS provider, read from another Secret if one is named; without a provider there is none. */}}
{{- define "controlPlane.dnsRules" -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ .Release.Name }}-dns-provider]
  verbs: {{ eq .Values.dns.provider "none" | ternary "[get, delete]" "[get, create, patch]" }}
{{- with .Values.dns.existingSecret }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ . | quote }}]
  verbs: [get]
{{- end }}
{{- end }}

{{/* The Secrets of the logins that are on, as JSON: those that are made, and those that somebody made; and those that would be made if they were needed. */}}
{{- define "controlPlane.loginSecrets" -}}
{{- $made := list }}
{{- $given := list }}
{{- $unused := list }}
{{- range $component, $login := dict "apiserver-basic-auth" .Values.apiServer.basicAuth "apiserver-token" .Values.apiServer.tokenAuth }}
{{- $own := printf "%s-%s" $.Release.Name $component }}
{{- if and $login.enabled (not $login.existingSecret) }}
{{- $made = append $made $own }}
{{- else }}
{{- $unused = append $unused $own }}
{{- if $login.enabled }}
{{- $given = append $given $login.existingSecret }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "made" $made "given" $given "unused" $unused | toJson }}
{{- end }}

{{/* To make the administrator's password and token, where these are on and nobody else has made them. */}}
{{- define "controlPlane.loginRules" -}}
{{- $secrets := include "controlPlane.loginSecrets" . | fromJson }}
{{- with $secrets.made }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{ toJson . }}
  verbs: [get, create, patch]
{{- end }}
{{- with $secrets.given }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{ toJson . }}
  verbs: [get]
{{- end }}
{{- end }}

{{/* To read what an etcd of yours is asked with. */}}
{{- define "controlPlane.etcdRules" -}}
{{- with .Values.etcd.external.existingSecret }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ . | quote }}]
  verbs: [get]
{{- end }}
{{- end }}

{{/* To write them into the administrator's kubeconfig, and to replace API servers that are older than their tokens. */}}
{{- define "controlPlane.publishLoginRules" -}}
{{- $secrets := include "controlPlane.loginSecrets" . | fromJson }}
{{- with concat $secrets.made $secrets.given }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{ toJson . }}
  verbs: [get]
{{- end }}
{{- if .Values.apiServer.tokenAuth.enabled }}
- apiGroups: [apps]
  resources: [deployments]
  resourceNames: [{{ .Release.Name }}-apiserver]
  verbs: [get, patch]
{{- end }}
{{- end }}

{{/* To remove those that are not needed any more. */}}
{{- define "controlPlane.removeLoginRules" -}}
{{- with (include "controlPlane.loginSecrets" . | fromJson).unused }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{ toJson . }}
  verbs: [get, delete]
{{- end }}
{{- end }}

{{/* To make what the pods mount. */}}
{{- define "controlPlane.prepareRules" -}}
{{ include "controlPlane.certificateRules" . }}
{{ include "controlPlane.loginRules" . }}
{{ include "controlPlane.dnsRules" . }}
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ .Release.Name }}-federation]
  verbs: [get]
{{- include "controlPlane.etcdRules" . }}
{{- end }}

{{/* To publish where the API is reached, and the federation's own DNS, whose pods are replaced when its certificate was renewed. */}}
{{- define "controlPlane.publishRules" -}}
{{ include "controlPlane.certificateRules" . }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames:
    - {{ .Release.Name }}-kubeconfig
    - federation-registrars {{- /* shared by the federations of a namespace */}}
  verbs: [get, create, patch]
{{- if include "controlPlane.ownEtcd" . }}
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  resourceNames: [{{ include "controlPlane.etcdClaim" . | quote }}]
  verbs: [get]
{{- end }}
{{- include "controlPlane.publishLoginRules" . }}
{{- if include "controlPlane.ownDNS" . }}
- apiGroups: [""]
  resources: [services]
  resourceNames: [{{ .Release.Name }}-dns]
  verbs: [get]
- apiGroups: [apps]
  resources: [deployments]
  resourceNames: [{{ .Release.Name }}-dns]
  verbs: [get, patch]
{{- else if eq .Values.dns.provider "coredns" }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ .Release.Name }}-dns-provider]
  verbs: [get]
{{- end }}
{{- if eq .Values.dns.provider "coredns" }}
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ .Release.Name }}-nameservers]
  verbs: [get, create, patch]
{{- end }}
{{- end }}

{{/* Once in a release: to see whether the API server is rolled out and an etcd of yours answers, and to remove what was made for the federation's own etcd and DNS where it has none any more; the certificates may be read anyway. */}}
{{- define "controlPlane.publishOnceRules" -}}
- apiGroups: [apps]
  resources: [deployments]
  resourceNames: [{{ .Release.Name }}-apiserver]
  verbs: [get]
{{- include "controlPlane.etcdRules" . }}
{{- if not (include "controlPlane.ownEtcd" .) }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames:
    {{- include "controlPlane.etcdSecrets" . | nindent 4 }}
  verbs: [delete]
{{- end }}
{{- if not (include "controlPlane.ownDNS" .) }}
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ .Release.Name }}-nameservers]
  verbs: [get, delete]
- apiGroups: [""]
  resources: [secrets]
  resourceNames:
    {{- include "controlPlane.dnsSecrets" . | nindent 4 }}
  verbs: [delete]
{{- end }}
{{- include "controlPlane.removeLoginRules" . }}
{{- end }}

{{/* To keep certificates, the DNS provider's configuration and addresses, and to restart an API server whose data is gone. */}}
{{- define "controlPlane.keeperRules" -}}
{{ include "controlPlane.publishRules" . }}
{{ include "controlPlane.loginRules" . }}
{{- if ne .Values.dns.provider "none" }}
{{ include "controlPlane.dnsRules" . }}
{{- end }}
- apiGroups: [apps]
  resources: [deployments]
  resourceNames: [{{ .Release.Name }}-apiserver]
  verbs: [get, patch]
{{- end }}

{{/* To let the members go, with the registrar's kubeconfig, and to remove the DNS records; the members' credentials are lent by join, a Secret at a time. */}}
{{- define "controlPlane.teardownRules" -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [federation-registrars, {{ .Release.Name }}-dns-provider]
  verbs: [get]
{{- end }}

{{- define "controlPlane.cleanupRules" -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames:
    {{- include "controlPlane.certificateSecrets" . | nindent 4 }}
    - {{ .Release.Name }}-kubeconfig
    - {{ .Release.Name }}-dns-provider
    - {{ .Release.Name }}-apiserver-basic-auth
    - {{ .Release.Name }}-apiserver-token
  verbs: [get, delete]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [federation-registrars]
  verbs: [get, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ .Release.Name }}-nameservers]
  verbs: [get, delete]
{{- range $group, $resources := dict "" "[secrets, serviceaccounts, pods]" "batch" "[jobs]" "rbac.authorization.k8s.io" "[roles, rolebindings]" }}
- apiGroups: [{{ $group | quote }}]
  resources: {{ $resources }}
  resourceNames: [{{ $.Release.Name }}-prepare, {{ $.Release.Name }}-publish, {{ $.Release.Name }}-teardown, {{ $.Release.Name }}-status]
  verbs: [get, delete]
{{- end }}
{{- end }}

{{/* To show the federation: everything it names, and nothing to change. */}}
{{- define "controlPlane.statusRules" -}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list]
- apiGroups: [""]
  resources: [secrets]
  resourceNames:
    {{- include "controlPlane.certificateSecrets" . | nindent 4 }}
    - {{ .Release.Name }}-kubeconfig
  verbs: [get]
{{- end }}

{{/* What the members' DNS is to know of the federation. */}}
{{- define "controlPlane.controllerManagerRules" -}}
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ .Release.Name }}-federation, {{ .Release.Name }}-nameservers]
  verbs: [get]
{{- end }}
