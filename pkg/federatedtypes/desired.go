package federatedtypes

import (
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

// ours is what every key of ours begins with.
const ours = "federation.fedhelm.dev/"

// lastApplied is kubectl's; in a copy it would mislead a kubectl apply there.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// Desired is what the federation wants of a copy, all members alike: name, labels, annotations, and the object's fields without its status and without
// what belongs to the federation's API or to the member. It shares nested fields with the object and is only to be read, save for its top level, its
// metadata and what Scale changes.
func (t *Type) Desired(object *unstructured.Unstructured, federation string) map[string]any {
	fields := maps.Clone(object.Object)
	delete(fields, "status")
	metadata := map[string]any{"name": object.GetName()}
	if namespace := object.GetNamespace(); namespace != "" {
		metadata["namespace"] = namespace
	}
	source, _ := object.Object["metadata"].(map[string]any)
	labels := stringsOf(source["labels"])
	if t.IsNamespace() {
		delete(labels, "kubernetes.io/metadata.name") // each API sets its own
	}
	labels[v1beta1.LabelFederated] = federation
	metadata["labels"] = labels
	annotations := stringsOf(source["annotations"])
	maps.DeleteFunc(annotations, func(key string, _ any) bool {
		return key == lastApplied || key == v1beta1.AnnotationServiceIngresses || strings.HasPrefix(key, ours)
	})
	metadata["annotations"] = annotations
	fields["metadata"] = metadata
	if t.prepare != nil {
		t.prepare(fields)
	}
	return fields
}

func stringsOf(field any) map[string]any {
	m, _ := field.(map[string]any)
	if m == nil {
		return map[string]any{}
	}
	return maps.Clone(m)
}

// without gives a prepare that takes out top-level fields.
func without(names ...string) func(map[string]any) {
	return func(fields map[string]any) {
		for _, name := range names {
			delete(fields, name)
		}
	}
}

// edit replaces a map among the fields by a copy that change may alter.
func edit(fields map[string]any, name string, change func(map[string]any)) {
	if m, ok := fields[name].(map[string]any); ok {
		m = maps.Clone(m)
		change(m)
		fields[name] = m
	}
}

// prepareService leaves to the member what a kube-apiserver allocates: addresses, node ports and IP families. A headless Service stays one.
func prepareService(fields map[string]any) {
	edit(fields, "spec", func(spec map[string]any) {
		if spec["clusterIP"] != "None" {
			delete(spec, "clusterIP")
		}
		if spec["ipFamilyPolicy"] == "SingleStack" {
			delete(spec, "ipFamilyPolicy") // the API's default, not a wish
		}
		for _, name := range []string{"clusterIPs", "ipFamilies", "healthCheckNodePort"} {
			delete(spec, name)
		}
		ports, _ := spec["ports"].([]any)
		own := make([]any, len(ports))
		for i := range ports {
			port, _ := ports[i].(map[string]any)
			port = maps.Clone(port)
			delete(port, "nodePort")
			own[i] = port
		}
		if spec["ports"] = own; len(own) == 0 {
			delete(spec, "ports")
		}
	})
}

// jobLabels are put on a Job's pods by the API that makes the Job.
var jobLabels = []string{"controller-uid", "batch.kubernetes.io/controller-uid", "job-name", "batch.kubernetes.io/job-name"}

// prepareJob takes out the selector that the federation's API made of the Job's UID there, and the time to live: a member that deleted its part, finished
// first, would get it again and run it again. The federation's own controller deletes the whole Job, and so its parts.
func prepareJob(fields map[string]any) {
	edit(fields, "metadata", func(metadata map[string]any) { edit(metadata, "labels", withoutJobLabels) })
	edit(fields, "spec", func(spec map[string]any) {
		delete(spec, "ttlSecondsAfterFinished")
		if spec["manualSelector"] == true {
			return
		}
		delete(spec, "selector")
		edit(spec, "template", func(template map[string]any) {
			edit(template, "metadata", func(metadata map[string]any) { edit(metadata, "labels", withoutJobLabels) })
		})
	})
}

func withoutJobLabels(labels map[string]any) {
	for _, key := range jobLabels {
		delete(labels, key)
	}
}

// Scale sets fields of a copy's spec, such as its replicas. A value below 0 takes the field out.
func Scale(fields map[string]any, values map[string]int64) {
	if len(values) == 0 {
		return
	}
	edit(fields, "spec", func(spec map[string]any) {
		for name, value := range values {
			if spec[name] = value; value < 0 {
				delete(spec, name)
			}
		}
	})
}
