{{/* How a Service is reached from outside. Takes: its values (type, loadBalancerClass, loadBalancerSourceRanges). */}}
{{- define "controlPlane.serviceType" -}}
type: {{ .type }}
{{- if eq .type "LoadBalancer" }}
{{- with .loadBalancerClass }}
loadBalancerClass: {{ . | quote }}
{{- end }}
{{- with .loadBalancerSourceRanges }}
loadBalancerSourceRanges:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
