{{- /* Written by `make generate` from pkg/chartgen/fedhelm.tpl and pkg/values: change them there. */ -}}
{{/*
What both charts share. Every helper takes a dict with "context", the root context. What users write (release, namespace, values) is quoted where it
stands alone: `true`, `1e3` and `123` are good names, and no strings in YAML.
*/}}

{{/*
Refuses a value that is missing though the chart cannot do without it, before another template stumbles over it. <chart>.needed, at the end, lists them: the
sections, and what has a default that is not empty. Takes: context, needed.
*/}}
{{- define "fedhelm.validate" -}}
{{- range $key := .needed | fromYamlArray }}
{{- $value := $.context.Values }}
{{- range splitList "." $key }}
{{- $value = index $value . }}
{{- end }}
{{- if kindIs "invalid" $value }}
{{- fail (printf "%s is null or missing, and the chart needs it: leave it out of your values to have its default, and upgrade with --reset-then-reuse-values instead of --reuse-values" $key) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Namespace of the chart's objects. Takes: context. */}}
{{- define "fedhelm.namespace" -}}
{{ .context.Values.namespaceOverride | default .context.Release.Namespace }}
{{- end }}

{{/* The user's own objects, each a document. Takes: context. */}}
{{- define "fedhelm.extraObjects" -}}
{{- range .context.Values.extraObjects }}
---
{{ tpl (kindIs "string" . | ternary . (toYaml .)) $.context }}
{{- end }}
{{- end }}

{{/* Labels of an object: the chart's own, then those given, then the common ones; a label that is in two has the first value. Takes: context, component, labels (optional). */}}
{{- define "fedhelm.labels" -}}
{{- $labels := include "fedhelm.selectorLabels" . | fromYaml }}
{{- $_ := set $labels "app.kubernetes.io/version" .context.Chart.AppVersion }}
{{- $_ := set $labels "app.kubernetes.io/managed-by" .context.Release.Service }}
{{- $_ := set $labels "app.kubernetes.io/part-of" "fedhelm" }}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- merge $labels (.labels | default dict) (.context.Values.commonLabels | default dict) | toYaml }}
{{- end }}

{{/* Labels that find a component's pods. Takes: context, component. */}}
{{- define "fedhelm.selectorLabels" -}}
app.kubernetes.io/name: {{ .context.Chart.Name }}
app.kubernetes.io/instance: {{ .context.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Metadata of an object. Takes: context, component, name, and optional labels, annotations and clusterScoped: true for what is in no namespace. */}}
{{- define "fedhelm.metadata" -}}
name: {{ .name | quote }}
{{- if not .clusterScoped }}
namespace: {{ include "fedhelm.namespace" . | quote }}
{{- end }}
labels:
  {{- include "fedhelm.labels" . | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) (.context.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Labels and annotations of a pod. Takes: context, component, values (podLabels, podAnnotations), annotations (optional). */}}
{{- define "fedhelm.podMetadata" -}}
labels:
  {{- include "fedhelm.labels" (merge (dict "labels" .values.podLabels) .) | nindent 2 }}
{{- with merge (dict) (.values.podAnnotations | default dict) (.annotations | default dict) (.context.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Reference of an image: registry/repository:tag@digest. Takes: context, image. */}}
{{- define "fedhelm.image" -}}
{{- $tag := .image.tag | default .context.Chart.AppVersion -}}
{{- with .context.Values.global.imageRegistry | default .image.registry }}{{ . }}/{{ end }}
{{- .image.repository }}:{{ $tag }}{{ with .image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* What every pod shares: pull secrets, where it runs, and a security context that passes Pod Security "restricted". Takes: context, values. */}}
{{- define "fedhelm.podSpec" -}}
{{- with concat (.context.Values.global.imagePullSecrets | default list) (.context.Values.imagePullSecrets | default list) | uniq }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
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
priorityClassName: {{ . | quote }}
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
image: {{ include "fedhelm.image" (dict "context" .context "image" .values.image) | quote }}
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

{{/* The flags that the values override, as JSON by their names without dashes. Takes: the overrides. */}}
{{- define "fedhelm.flags" -}}
{{- $flags := dict }}
{{- range $flag, $value := . }}
{{- $_ := set $flags (regexReplaceAll "^-+" $flag "") $value }}
{{- end }}
{{- toJson $flags }}
{{- end }}

{{/*
A component's flags: the chart's own, each overridden or (with null) dropped by the values. Takes: defaults, overrides.
Numbers go through JSON, because a template prints a large one as 1e+06.
*/}}
{{- define "fedhelm.arguments" -}}
{{- $flags := .defaults }}
{{- range $flag, $value := include "fedhelm.flags" .overrides | fromJson }}
{{- $_ := set $flags $flag $value }}
{{- end }}
{{- range $flag, $value := $flags }}
{{- if not (kindIs "invalid" $value) }}
- {{ printf "--%s=%s" $flag (ternary $value (toJson $value) (kindIs "string" $value)) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Timings of a component's probes. Takes: its probes. */}}
{{- define "fedhelm.probeTimings" -}}
periodSeconds: {{ .periodSeconds }}
timeoutSeconds: {{ .timeoutSeconds }}
failureThreshold: {{ .failureThreshold }}
{{- end }}

{{/* The arguments of fedhook that say whose work it does. Takes: context, name (the Secret with the values). */}}
{{- define "fedhelm.fedhookArguments" -}}
- --release={{ .context.Release.Name }}
- --namespace={{ include "fedhelm.namespace" . }}
- --values-secret={{ .name }}
{{- end }}

{{/* The pod of a hook, and of the keeper: fedhook under an account of its own. Takes: context, name, arguments, volumes and volumeMounts (optional). */}}
{{- define "fedhelm.fedhookPodSpec" -}}
{{- $values := .context.Values.hooks -}}
serviceAccountName: {{ .name | quote }}
restartPolicy: Never
{{ include "fedhelm.podSpec" (dict "context" .context "values" $values) }}
containers:
  - name: fedhook
    {{- include "fedhelm.container" (dict "context" .context "values" $values) | nindent 4 }}
    args:
      {{- toYaml .arguments | nindent 6 }}
      {{- include "fedhelm.fedhookArguments" . | nindent 6 }}
      {{- /* It says why it gives up, which the Job's own end would not let it. */}}
      - --timeout={{ sub $values.activeDeadlineSeconds 20 }}s
    {{- with .volumeMounts }}
    volumeMounts:
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- with .volumes }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Metadata of a hook. Takes: context, component, name, phases, weight, and optional outputLogPolicy and overrides (annotations that go before the chart's). */}}
{{- define "fedhelm.hookMetadata" -}}
{{- $annotations := dict "helm.sh/hook" .phases "helm.sh/hook-weight" (.weight | toString) "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded" -}}
{{- if hasKey . "outputLogPolicy" -}}
{{- $_ := set $annotations "helm.sh/hook-output-log-policy" .outputLogPolicy -}}
{{- end -}}
{{ include "fedhelm.metadata" (merge (dict "annotations" (merge (dict) (.overrides | default dict) $annotations)) .) }}
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
{{- /* Not stringData: the API does not store it, so server-side apply finds a conflict in it with whoever applied it before. */}}
data:
  values.yaml: {{ toYaml .context.Values | b64enc }}
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
    resourceNames: [{{ .name | quote }}]
    verbs: [get]
  {{- .rules | trim | nindent 2 }}
{{- end }}

{{/* Binds the account to the role of the same name. Takes: context, name. */}}
{{- define "fedhelm.roleBinding" -}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name | quote }}
subjects:
  - kind: ServiceAccount
    name: {{ .name | quote }}
    namespace: {{ include "fedhelm.namespace" . | quote }}
{{- end }}

{{/* A whole hook: its account and the Job that runs fedhook; nothing without hooks. Takes: context, component, name, phases, arguments, rules. */}}
{{- define "fedhelm.hook" -}}
{{- if .context.Values.hooks.enabled }}
{{- include "fedhelm.hookAccount" . }}
---
apiVersion: batch/v1
kind: Job
metadata:
  {{- include "fedhelm.hookMetadata" (merge (dict "weight" 0 "outputLogPolicy" (.outputLogPolicy | default "hook-failed") "overrides" .context.Values.hooks.annotations) .) | nindent 2 }}
spec:
  backoffLimit: {{ .context.Values.hooks.backoffLimit }}
  activeDeadlineSeconds: {{ .context.Values.hooks.activeDeadlineSeconds }}
  template:
    metadata:
      {{- include "fedhelm.podMetadata" (merge (dict "values" .context.Values.hooks) .) | nindent 6 }}
    spec:
      {{- include "fedhelm.fedhookPodSpec" . | nindent 6 }}
{{- end }}
{{- end }}

{{- define "federation-control-plane.needed" -}}
- global
- clusterDomain
- dns
- dns.zoneName
- dns.provider
- dns.check
- dns.coredns
- dns.google
- dns.aws
- dns.rfc2136
- dns.azure
- dns.webhook
- dns.server
- dns.server.replicas
- dns.server.podDisruptionBudget
- dns.server.podDisruptionBudget.enabled
- dns.server.podDisruptionBudget.maxUnavailable
- dns.server.image
- dns.server.image.registry
- dns.server.image.repository
- dns.server.image.tag
- dns.server.image.pullPolicy
- dns.server.probes
- dns.server.probes.periodSeconds
- dns.server.probes.timeoutSeconds
- dns.server.probes.failureThreshold
- dns.server.service
- dns.server.service.type
- dns.server.etcd
- dns.server.etcd.image
- dns.server.etcd.image.registry
- dns.server.etcd.image.repository
- dns.server.etcd.image.tag
- dns.server.etcd.image.pullPolicy
- dns.server.etcd.probes
- dns.server.etcd.probes.periodSeconds
- dns.server.etcd.probes.timeoutSeconds
- dns.server.etcd.probes.failureThreshold
- apiServer
- apiServer.replicas
- apiServer.podDisruptionBudget
- apiServer.podDisruptionBudget.enabled
- apiServer.podDisruptionBudget.maxUnavailable
- apiServer.image
- apiServer.image.registry
- apiServer.image.repository
- apiServer.image.tag
- apiServer.image.pullPolicy
- apiServer.probes
- apiServer.probes.periodSeconds
- apiServer.probes.timeoutSeconds
- apiServer.probes.failureThreshold
- apiServer.service
- apiServer.service.type
- apiServer.service.port
- apiServer.service.addressTimeoutSeconds
- apiServer.basicAuth
- apiServer.basicAuth.port
- apiServer.tokenAuth
- etcd
- etcd.image
- etcd.image.registry
- etcd.image.repository
- etcd.image.tag
- etcd.image.pullPolicy
- etcd.probes
- etcd.probes.periodSeconds
- etcd.probes.timeoutSeconds
- etcd.probes.failureThreshold
- etcd.persistence
- etcd.persistence.enabled
- etcd.persistence.size
- etcd.external
- kubeControllerManager
- kubeControllerManager.replicas
- kubeControllerManager.podDisruptionBudget
- kubeControllerManager.podDisruptionBudget.enabled
- kubeControllerManager.podDisruptionBudget.maxUnavailable
- kubeControllerManager.image
- kubeControllerManager.image.registry
- kubeControllerManager.image.repository
- kubeControllerManager.image.tag
- kubeControllerManager.image.pullPolicy
- kubeControllerManager.probes
- kubeControllerManager.probes.periodSeconds
- kubeControllerManager.probes.timeoutSeconds
- kubeControllerManager.probes.failureThreshold
- controllerManager
- controllerManager.replicas
- controllerManager.podDisruptionBudget
- controllerManager.podDisruptionBudget.enabled
- controllerManager.podDisruptionBudget.maxUnavailable
- controllerManager.image
- controllerManager.image.registry
- controllerManager.image.repository
- controllerManager.image.pullPolicy
- controllerManager.probes
- controllerManager.probes.periodSeconds
- controllerManager.probes.timeoutSeconds
- controllerManager.probes.failureThreshold
- controllerManager.clusterMonitorPeriod
- controllerManager.clusterFailureThreshold
- controllerManager.clusterSuccessThreshold
- controllerManager.adoptResources
- controllerManager.forceAfter
- hooks
- hooks.enabled
- hooks.image
- hooks.image.registry
- hooks.image.repository
- hooks.image.pullPolicy
- hooks.backoffLimit
- hooks.activeDeadlineSeconds
- keeper
- keeper.enabled
- keeper.schedule
- teardown
- teardown.enabled
{{- end }}
