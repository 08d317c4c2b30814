// Package charts renders both charts with Helm's own engine, as `helm template` does, and holds what comes out against the rules that a chart must keep whose
// hooks run a binary.
package charts

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	appsv1 "k8s.io/api/apps/v1"
)

const (
	controlPlane = "federation-control-plane"
	member       = "federation-member"
)

// chartsDir holds the charts, seen from this package.
const chartsDir = "../../charts"

// loadChart reads a chart from its folder, once.
var loadChart = once(func(name string) (*chart.Chart, error) { return loader.Load(filepath.Join(chartsDir, name)) })

// once gives a function that does its work once for each argument.
func once[K comparable, V any](work func(K) (V, error)) func(K) (V, error) {
	var done sync.Map
	return func(key K) (V, error) {
		result, _ := done.LoadOrStore(key, sync.OnceValues(func() (V, error) { return work(key) }))
		return result.(func() (V, error))()
	}
}

// release is what somebody installs: a chart under a name in a namespace, with values in YAML over the chart's own.
type release struct {
	chart, name, namespace string
	values                 string
}

// String names the release in messages.
func (r release) String() string {
	given, err := yaml.YAMLToJSON([]byte(r.values))
	if err != nil {
		given = []byte(r.values)
	}
	return fmt.Sprintf("%s %s in namespace %s with %s", r.chart, r.name, r.namespace, given)
}

// Releases with the names of all examples, and the charts' own values.
var (
	fellowship = release{chart: controlPlane, name: "fellowship", namespace: "federation-system"}
	gondor     = release{chart: member, name: "gondor", namespace: "federation-system"}
)

func (r release) with(values string) release {
	r.values = values
	return r
}

// rendering is what Helm makes of a release.
type rendering struct {
	release
	// merged is the values as the templates see them.
	merged map[string]any
	// sources are the templates, files what became of each, both by path in the chart.
	sources, files map[string]string
	// objects are those in the files, in the files' order.
	objects []object
	// doubled says of each document with a key that stands twice which one, unreadable of each that is no object of Kubernetes why not.
	doubled, unreadable []string
}

// object is an object in one of the files, of the Go type of its kind.
type object struct {
	client.Object
	file string
}

// String names the object in messages.
func (o object) String() string { return o.kind() + " " + o.GetName() }

func (o object) kind() string { return o.GetObjectKind().GroupVersionKind().Kind }

// hook is the phases in which the object is a hook; nothing, if Helm keeps it.
func (o object) hook() string { return o.GetAnnotations()["helm.sh/hook"] }

// render renders the release. Errors: values that the schema or a template refuses.
var render = once(func(r release) (rendering, error) {
	loaded, err := loadChart(r.chart)
	if err != nil {
		return rendering{}, err
	}
	given, err := chartutil.ReadValues([]byte(r.values))
	if err != nil {
		return rendering{}, err
	}
	values, err := chartutil.ToRenderValues(loaded, given, chartutil.ReleaseOptions{Name: r.name, Namespace: r.namespace, Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return rendering{}, err
	}
	files, err := engine.Render(loaded, values)
	if err != nil {
		return rendering{}, err
	}
	result := rendering{release: r, merged: values["Values"].(chartutil.Values), sources: map[string]string{}, files: map[string]string{}}
	for _, template := range loaded.Templates {
		result.sources[template.Name] = string(template.Data)
	}
	for path, text := range files {
		result.files[strings.TrimPrefix(path, r.chart+"/")] = text
	}
	result.parse()
	return result, nil
})

// rendered renders a release that must be good.
func rendered(t *testing.T, r release) rendering {
	t.Helper()
	result, err := render(r)
	require.NoError(t, err, r)
	return result
}

var separator = regexp.MustCompile(`(?m)^---$`)

// documents gives the YAML documents in the files, each after its file's path.
func (r *rendering) documents(do func(file, text string)) {
	for _, file := range slices.Sorted(maps.Keys(r.files)) {
		if !strings.HasSuffix(file, ".yaml") {
			continue
		}
		for _, text := range separator.Split(r.files[file], -1) {
			if strings.TrimSpace(text) != "" {
				do(file, text)
			}
		}
	}
}

var strict = serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()

// parse reads the objects out of the files.
func (r *rendering) parse() {
	r.objects, r.doubled, r.unreadable = nil, nil, nil
	r.documents(func(file, text string) {
		// As JSON it is read several times as fast.
		inJSON, err := yaml.YAMLToJSONStrict([]byte(text))
		if err != nil {
			r.doubled = append(r.doubled, fmt.Sprintf("%s: %v", file, err))
			inJSON, _ = yaml.YAMLToJSON([]byte(text))
		}
		decoded, _, err := strict.Decode(inJSON, nil, nil)
		if err != nil {
			r.unreadable = append(r.unreadable, fmt.Sprintf("%s: %v", file, err))
		}
		if decoded != nil {
			r.objects = append(r.objects, object{Object: decoded.(client.Object), file: file})
		}
	})
}

// find gives the object of a kind and name.
func (r *rendering) find(kind, name string) (object, bool) {
	i := slices.IndexFunc(r.objects, func(o object) bool { return o.kind() == kind && o.GetName() == name })
	if i < 0 {
		return object{}, false
	}
	return r.objects[i], true
}

// objectNamespace is the namespace that the objects are to be in.
func (r rendering) objectNamespace() string {
	if namespace, _ := r.value("namespaceOverride").(string); namespace != "" {
		return namespace
	}
	return r.namespace
}

// secretValues gives the text of the values that an object hands to fedhook; nothing, if it is no such Secret.
func secretValues(o object) string {
	secret, _ := o.Object.(*corev1.Secret)
	if secret == nil {
		return ""
	}
	return string(secret.Data["values.yaml"])
}

// pod is the pod that an object starts.
type pod struct {
	owner object
	corev1.PodTemplateSpec
}

// pods lists those of all objects.
func (r *rendering) pods() []pod {
	var pods []pod
	for _, o := range r.objects {
		switch of := o.Object.(type) {
		case *corev1.Pod:
			pods = append(pods, pod{o, corev1.PodTemplateSpec{ObjectMeta: of.ObjectMeta, Spec: of.Spec}})
		case *appsv1.Deployment:
			pods = append(pods, pod{o, of.Spec.Template})
		case *appsv1.StatefulSet:
			pods = append(pods, pod{o, of.Spec.Template})
		case *batchv1.Job:
			pods = append(pods, pod{o, of.Spec.Template})
		case *batchv1.CronJob:
			pods = append(pods, pod{o, of.Spec.JobTemplate.Spec.Template})
		}
	}
	return pods
}

func (p pod) containers() []corev1.Container {
	return slices.Concat(p.Spec.InitContainers, p.Spec.Containers)
}

// merge lays one document of values over another.
func merge(t *testing.T, documents ...string) string {
	t.Helper()
	all := map[string]any{}
	for _, document := range documents {
		given, err := chartutil.ReadValues([]byte(document))
		require.NoError(t, err, document)
		all = chartutil.MergeTables(given, all)
	}
	text, err := yaml.Marshal(all)
	require.NoError(t, err)
	return string(text)
}
