{{/*
Rules of the hooks' roles. The Secrets are those of pkg/controlplane's table; a test compares the two.
*/}}

{{- define "controlPlane.certificateSecrets" -}}
{{- range tuple "ca" "etcd-ca" "front-proxy-ca" "service-account" "apiserver-tls" "apiserver-etcd-client" "front-proxy-client" "etcd-tls" "etcd-peer" "kube-controller-manager" "controller-manager" "bootstrap" "admin" "registrar" }}
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

{{- define "controlPlane.publishRules" -}}
{{ include "controlPlane.certificateRules" . }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames:
    - {{ .Release.Name }}-kubeconfig
    - federation-registrars {{- /* shared by the federations of a namespace */}}
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  resourceNames: [{{ include "controlPlane.etcdClaim" . | quote }}]
  verbs: [get]
{{- end }}

{{/* To keep certificates and addresses, and to restart an API server whose data is gone. */}}
{{- define "controlPlane.keeperRules" -}}
{{ include "controlPlane.publishRules" . }}
- apiGroups: [apps]
  resources: [deployments]
  resourceNames: [{{ .Release.Name }}-apiserver]
  verbs: [get, patch]
{{- end }}

{{/* To let the members go, with the registrar's kubeconfig; the members' credentials are lent by join, a Secret at a time. */}}
{{- define "controlPlane.teardownRules" -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [federation-registrars]
  verbs: [get]
{{- end }}

{{- define "controlPlane.cleanupRules" -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames:
    {{- include "controlPlane.certificateSecrets" . | nindent 4 }}
    - {{ .Release.Name }}-kubeconfig
  verbs: [get, delete]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [federation-registrars]
  verbs: [get, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  resourceNames: [{{ .Release.Name }}-prepare, {{ .Release.Name }}-publish, {{ .Release.Name }}-teardown]
  verbs: [get, delete]
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
