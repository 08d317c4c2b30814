// Package values holds the values of both charts as Go types: the one source of their schemas, comments and defaults.
//
// `make generate` writes each chart's values.yaml, values.schema.json and the tables of its README from these types, their
// comments and their defaults. The charts hand their values whole to fedhook, which decodes them strictly into the same types.
package values

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
)

// Global is what a parent chart sets for every chart below it. Keys that other charts read are let pass.
type Global struct {
	// Registry for every image of the chart, for mirrors; wins over each image's own registry.
	ImageRegistry string `json:"imageRegistry"`
	// Names of image pull Secrets, added to imagePullSecrets.
	ImagePullSecrets []string `json:"imagePullSecrets"`
}

// UnmarshalJSON is lenient where the values as a whole are decoded strictly: what else stands in global is for other charts.
func (g *Global) UnmarshalJSON(data []byte) error {
	type lenient Global
	return json.Unmarshal(data, (*lenient)(g))
}

// Image names a container image. The digest, where given, is added to the tag.
type Image struct {
	// Registry the image is pulled from.
	Registry string `json:"registry"`
	// Repository in the registry.
	Repository string `json:"repository"`
	// Tag of the image. It may be empty for fedhook and federation-controller-manager only, which means the chart's appVersion.
	Tag string `json:"tag"`
	// Digest, as `sha256:…`.
	Digest string `json:"digest" jsonschema:"pattern=^(sha256:[0-9a-f]{64})?$"`
	// When the kubelet pulls the image: Always, IfNotPresent or Never.
	PullPolicy string `json:"pullPolicy" jsonschema:"enum=Always,enum=IfNotPresent,enum=Never"`
}

// Scheduling says where pods run. Its fields have the shapes of Kubernetes' PodSpec.
type Scheduling struct {
	// Labels a node must have.
	NodeSelector map[string]string `json:"nodeSelector"`
	// Taints the pods tolerate.
	Tolerations []corev1.Toleration `json:"tolerations"`
	// Affinity of the pods.
	Affinity corev1.Affinity `json:"affinity"`
	// Priority class of the pods.
	PriorityClassName string `json:"priorityClassName"`
}

// Probes are the timings of a component's probes; what they ask is the chart's business.
type Probes struct {
	// Seconds between two probes.
	PeriodSeconds int32 `json:"periodSeconds" jsonschema:"minimum=1"`
	// Seconds a probe may take.
	TimeoutSeconds int32 `json:"timeoutSeconds" jsonschema:"minimum=1"`
	// Failed probes in a row after which the container counts as unready or dead.
	FailureThreshold int32 `json:"failureThreshold" jsonschema:"minimum=1"`
}

// Component holds what every long-lived workload of the control plane can be told, in the same order everywhere.
type Component struct {
	// Image of the component.
	Image Image `json:"image"`
	// Flags of the component by name, with or without the leading dashes. A value overrides the chart's own, null drops the flag.
	ArgOverrides map[string]Argument `json:"argOverrides"`
	// Requests and limits of the container.
	Resources corev1.ResourceRequirements `json:"resources"`
	// Timings of the probes.
	Probes Probes `json:"probes"`
	// Annotations of the pods.
	PodAnnotations map[string]string `json:"podAnnotations"`
	// Labels of the pods, beside the standard ones.
	PodLabels map[string]string `json:"podLabels"`
	Scheduling
}

// ExtraObject is an object of Kubernetes, or a text that is a template of one or several.
type ExtraObject struct{ json.RawMessage }

// Hooks holds what the Jobs that run fedhook can be told.
type Hooks struct {
	// Whether there are such Jobs; without them their work is left to you, by hand or in a pipeline, as "Without hooks" in the chart's README says.
	Enabled bool `json:"enabled"`
	// Annotations of the Jobs, which override the chart's own: `helm.sh/hook-delete-policy: before-hook-creation` keeps a Job that succeeded.
	Annotations map[string]string `json:"annotations"`
	// Image of fedhook.
	Image Image `json:"image"`
	// Requests and limits of the container.
	Resources corev1.ResourceRequirements `json:"resources"`
	// Annotations of the pods. A sidecar keeps a Job from ending, so service meshes are told to stay out.
	PodAnnotations map[string]string `json:"podAnnotations"`
	// Labels of the pods, beside the standard ones.
	PodLabels map[string]string `json:"podLabels"`
	Scheduling
	// How often a failed hook is tried again.
	BackoffLimit int32 `json:"backoffLimit" jsonschema:"minimum=0,maximum=6"`
	// Seconds after which a hook's Job is ended, whatever it does; below Helm's own 5 minutes.
	ActiveDeadlineSeconds int64 `json:"activeDeadlineSeconds" jsonschema:"minimum=60,maximum=290"`
}
