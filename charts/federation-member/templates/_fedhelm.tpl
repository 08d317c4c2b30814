{{/*
What both charts share. Every helper takes a dict with "context", the root context.
*/}}

{{/* Labels of an object. Takes: context, component. */}}
{{- define "fedhelm.labels" -}}
{{ include "fedhelm.selectorLabels" . }}
app.kubernetes.io/version: {{ .context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .context.Release.Service }}
app.kubernetes.io/part-of: fedhelm
helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with omit .context.Values.commonLabels "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "app.kubernetes.io/part-of" "helm.sh/chart" }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels that find a component's pods. Takes: context, component. */}}
{{- define "fedhelm.selectorLabels" -}}
app.kubernetes.io/name: {{ .context.Chart.Name }}
app.kubernetes.io/instance: {{ .context.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Metadata of an object that Helm keeps. Takes: context, component, name, annotations (optional). */}}
{{- define "fedhelm.metadata" -}}
name: {{ .name }}
namespace: {{ .context.Release.Namespace }}
labels:
  {{- include "fedhelm.labels" . | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .context.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Labels and annotations of a pod. Takes: context, component, values (podLabels, podAnnotations), annotations (optional). */}}
{{- define "fedhelm.podMetadata" -}}
labels:
  {{- include "fedhelm.labels" . | nindent 2 }}
  {{- with omit .values.podLabels "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) .values.podAnnotations (.annotations | default dict) .context.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Reference of an image: registry/repository:tag@digest. Takes: context, image. */}}
{{- define "fedhelm.image" -}}
{{- $registry := .context.Values.global.imageRegistry | default .image.registry -}}
{{- $tag := .image.tag | default .context.Chart.AppVersion -}}
{{- if $registry }}{{ $registry }}/{{ end }}{{ .image.repository }}:{{ $tag }}{{ with .image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* What every pod shares: pull secrets, where it runs, and a security context that passes Pod Security "restricted". Takes: context, values. */}}
{{- define "fedhelm.podSpec" -}}
{{- with concat .context.Values.global.imagePullSecrets .context.Values.imagePullSecrets | uniq }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{/* What every container shares. Takes: context, values (image, resources), capabilities (optional list to add). */}}
{{- define "fedhelm.container" -}}
image: {{ include "fedhelm.image" (dict "context" .context "image" .values.image) }}
imagePullPolicy: {{ .values.image.pullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
    {{- with .capabilities }}
    add: {{ toJson . }}
    {{- end }}
{{- with .values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
A component's flags: the chart's own, each overridden or (with null) dropped by the values. Takes: defaults, overrides.
Numbers go through JSON, because a template prints a large one as 1e+06.
*/}}
{{- define "fedhelm.arguments" -}}
{{- $flags := merge (dict) .defaults }}
{{- range $flag, $value := .overrides }}
{{- $_ := set $flags ($flag | trimPrefix "--") $value }}
{{- end }}
{{- range $flag, $value := $flags }}
{{- if not (kindIs "invalid" $value) }}
- {{ printf "--%s=%s" $flag (ternary $value (toJson $value) (kindIs "string" $value)) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* One timing for all three probes of a component. Takes: probes, and check: the probe's action. */}}
{{- define "fedhelm.probeTimings" -}}
periodSeconds: {{ .periodSeconds }}
timeoutSeconds: {{ .timeoutSeconds }}
failureThreshold: {{ .failureThreshold }}
{{- end }}

{{/* The arguments of fedhook that say whose work it does. Takes: context, name (the Secret with the values). */}}
{{- define "fedhelm.fedhookArguments" -}}
- --release={{ .context.Release.Name }}
- --namespace={{ .context.Release.Namespace }}
- --values-secret={{ .name }}
{{- end }}

{{/* The pod of a hook, and of the keeper: fedhook under an account of its own. Takes: context, name, arguments, volumes and volumeMounts (optional). */}}
{{- define "fedhelm.fedhookPodSpec" -}}
{{- $values := .context.Values.hooks -}}
serviceAccountName: {{ .name }}
restartPolicy: Never
{{ include "fedhelm.podSpec" (dict "context" .context "values" $values) }}
containers:
  - name: fedhook
    {{- include "fedhelm.container" (dict "context" .context "values" $values) | nindent 4 }}
    args:
      {{- toYaml .arguments | nindent 6 }}
      {{- include "fedhelm.fedhookArguments" . | nindent 6 }}
    {{- with .volumeMounts }}
    volumeMounts:
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- with .volumes }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Metadata of a hook. Takes: context, component, name, phases, weight, deletePolicy (optional). */}}
{{- define "fedhelm.hookMetadata" -}}
{{- $annotations := dict "helm.sh/hook" .phases "helm.sh/hook-weight" (.weight | toString) "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded" -}}
{{- if hasKey . "outputLogPolicy" -}}
{{- $_ := set $annotations "helm.sh/hook-output-log-policy" .outputLogPolicy -}}
{{- end -}}
{{ include "fedhelm.metadata" (merge (dict "annotations" $annotations) .) }}
{{- end }}

{{/* The account of a hook, with the values it reads and the role it needs, each a hook of the same phase. Takes: context, component, name, phases, rules. */}}
{{- define "fedhelm.hookAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "fedhelm.hookMetadata" (merge (dict "weight" -40) (omit . "outputLogPolicy")) | nindent 2 }}
---
apiVersion: v1
kind: Secret
metadata:
  {{- include "fedhelm.hookMetadata" (merge (dict "weight" -30) (omit . "outputLogPolicy")) | nindent 2 }}
stringData:
  values.yaml: |
    {{- toYaml .context.Values | nindent 4 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "fedhelm.hookMetadata" (merge (dict "weight" -20) (omit . "outputLogPolicy")) | nindent 2 }}
{{ include "fedhelm.rules" . }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "fedhelm.hookMetadata" (merge (dict "weight" -10) (omit . "outputLogPolicy")) | nindent 2 }}
{{ include "fedhelm.roleBinding" . }}
{{- end }}

{{/* The rules of a role that fedhook runs under: those given, and to read its values. Takes: name, rules. */}}
{{- define "fedhelm.rules" -}}
rules:
  - apiGroups: [""]
    resources: [secrets]
    resourceNames: [{{ .name }}]
    verbs: [get]
  {{- .rules | trim | nindent 2 }}
{{- end }}

{{/* Binds the account to the role of the same name. Takes: context, name. */}}
{{- define "fedhelm.roleBinding" -}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .name }}
    namespace: {{ .context.Release.Namespace }}
{{- end }}

{{/* A whole hook: its account and the Job that runs fedhook. Takes: context, component, name, phases, arguments, rules. */}}
{{- define "fedhelm.hook" -}}
{{ include "fedhelm.hookAccount" . }}
---
apiVersion: batch/v1
kind: Job
metadata:
  {{- include "fedhelm.hookMetadata" (merge (dict "weight" 0 "outputLogPolicy" (.outputLogPolicy | default "hook-failed")) .) | nindent 2 }}
spec:
  backoffLimit: {{ .context.Values.hooks.backoffLimit }}
  activeDeadlineSeconds: {{ .context.Values.hooks.activeDeadlineSeconds }}
  template:
    metadata:
      {{- include "fedhelm.podMetadata" (merge (dict "values" .context.Values.hooks) .) | nindent 6 }}
    spec:
      {{- include "fedhelm.fedhookPodSpec" . | nindent 6 }}
{{- end }}
