{{/* Name of the cluster in the federation. */}}
{{- define "member.cluster" -}}
{{ .Values.clusterName | default .Release.Name }}
{{- end }}

{{/* Secret with the kubeconfig that joins the cluster. */}}
{{- define "member.kubeconfigSecret" -}}
{{ .Values.credentials.existingSecret | default (printf "%s-kubeconfig" (include "member.cluster" .)) }}
{{- end }}

{{/* Secret with the credentials that the federation uses; the role that lends it has the same name. */}}
{{- define "member.credentialsSecret" -}}
{{ .Values.secretName | default (printf "%s-federation-credentials" (include "member.cluster" .)) }}
{{- end }}
