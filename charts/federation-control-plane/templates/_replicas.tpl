{{/* How the pods of a component are spread, also while there is one, so that another rolls none. Takes: context, component, values. */}}
{{- define "controlPlane.spread" -}}
{{- with .values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $selector := .labelSelector | default (dict "matchLabels" (include "fedhelm.selectorLabels" $ | fromYaml)) }}
  - {{ set (deepCopy .) "labelSelector" $selector | toYaml | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What keeps some of a component's replicas while nodes are drained; a single one is never held fast. Takes: context, component, values. */}}
{{- define "controlPlane.podDisruptionBudget" -}}
{{- if and (gt (int .values.replicas) 1) .values.podDisruptionBudget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "fedhelm.metadata" (dict "context" .context "component" .component "name" (include "controlPlane.name" .)) | nindent 2 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "fedhelm.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end }}
