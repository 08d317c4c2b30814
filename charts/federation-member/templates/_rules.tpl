{{/* To read what joins the cluster, to keep the credentials the federation uses, and to lend them to it. An object that is created by apply can be limited to names. */}}
{{- define "member.joinRules" -}}
{{- $secret := include "member.credentialsSecret" . -}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [federation-registrars, {{ include "member.kubeconfigSecret" . | quote }}]
  verbs: [get]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ $secret | quote }}]
  verbs: [get, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  resourceNames: [{{ $secret | quote }}]
  verbs: [get, create, patch, delete]
{{- end }}

{{- define "member.unjoinRules" -}}
{{- $secret := include "member.credentialsSecret" . -}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [federation-registrars, {{ include "member.kubeconfigSecret" . | quote }}]
  verbs: [get]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ $secret | quote }}]
  verbs: [get, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  resourceNames: [{{ $secret | quote }}]
  verbs: [get, delete]
- apiGroups: [batch]
  resources: [jobs]
  resourceNames: [{{ .Release.Name }}-join]
  verbs: [get, delete]
{{- end }}
