package clusters

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Snapshot is every object of a cluster: "resource.group namespace/name" to its content in JSON, without what Kubernetes itself counts and stamps.
type Snapshot map[string]string

// Not compared: what a cluster records about itself, whatever we do.
var unstable = map[string]bool{
	"events":               true,
	"events.events.k8s.io": true,
	"componentstatuses":    true,
	"nodes":                true,
}

// TakeSnapshot lists every object of every type that the cluster serves, once its namespaces are settled.
func (c *Cluster) TakeSnapshot(t testing.TB) Snapshot {
	t.Helper()
	Eventually(t, time.Minute, "the namespaces of cluster "+c.Name+" to be settled", func(ctx context.Context) (bool, error) {
		var list corev1.NamespaceList
		if err := c.List(ctx, &list); err != nil {
			return false, err
		}
		var names []string
		for _, namespace := range list.Items {
			if namespace.DeletionTimestamp == nil {
				names = append(names, namespace.Name)
			}
		}
		err := Settled(ctx, c, names...)
		return err == nil, err
	})
	snapshot, err := c.snapshot(t.Context())
	require.NoError(t, err)
	return snapshot
}

func (c *Cluster) snapshot(ctx context.Context) (Snapshot, error) {
	disco, err := discovery.NewDiscoveryClientForConfig(c.Config)
	if err != nil {
		return nil, err
	}
	lists, err := disco.ServerPreferredResources()
	if err != nil {
		return nil, err
	}
	snapshot := Snapshot{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, resource := range list.APIResources {
			name := schema.GroupResource{Group: gv.Group, Resource: resource.Name}.String()
			if unstable[name] || strings.Contains(resource.Name, "/") || !slices.Contains(resource.Verbs, "list") {
				continue
			}
			objects := &unstructured.UnstructuredList{}
			objects.SetGroupVersionKind(gv.WithKind(resource.Kind))
			if err := c.List(ctx, objects); err != nil {
				return nil, fmt.Errorf("list %s: %w", name, err)
			}
			for _, object := range objects.Items {
				key := name + " " + client.ObjectKeyFromObject(&object).String()
				snapshot[key] = content(object)
			}
		}
	}
	return snapshot, nil
}

// Settled fails while namespaces lack what kube-controller-manager gives each: to whoever looks before, that seems left behind later.
func Settled(ctx context.Context, c client.Client, namespaces ...string) error {
	for _, namespace := range namespaces {
		for name, own := range map[string]client.Object{"default": &corev1.ServiceAccount{}, "kube-root-ca.crt": &corev1.ConfigMap{}} {
			if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, own); err != nil {
				return fmt.Errorf("namespace %s: %w", namespace, err)
			}
		}
	}
	return nil
}

// content is the object as its makers wrote it.
func content(object unstructured.Unstructured) string {
	for _, field := range []string{"resourceVersion", "managedFields", "generation"} {
		unstructured.RemoveNestedField(object.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(object.Object, "status")
	if object.GetKind() == "Lease" {
		unstructured.RemoveNestedField(object.Object, "spec")
	}
	data, err := json.Marshal(object.Object)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// Differences names the objects that are new, gone or changed since before.
func (before Snapshot) Differences(after Snapshot) []string {
	var differences []string
	for key, content := range after {
		switch old, found := before[key]; {
		case !found:
			differences = append(differences, "new: "+key)
		case old != content:
			differences = append(differences, fmt.Sprintf("changed: %s\n  before %s\n  after  %s", key, old, content))
		}
	}
	for key := range before {
		if _, found := after[key]; !found {
			differences = append(differences, "gone: "+key)
		}
	}
	slices.Sort(differences)
	return differences
}

// RequireUnchanged fails the test unless the cluster gets back to the snapshot, save for objects whose key contains one of the exceptions.
// Pods that end and the garbage collector get a minute.
func (c *Cluster) RequireUnchanged(t testing.TB, before Snapshot, exceptions ...string) {
	t.Helper()
	Eventually(t, time.Minute, "cluster "+c.Name+" to be as it was before", func(ctx context.Context) (bool, error) {
		after, err := c.snapshot(ctx)
		if err != nil {
			return false, err
		}
		differences := slices.DeleteFunc(before.Differences(after), func(difference string) bool {
			return slices.ContainsFunc(exceptions, func(exception string) bool { return strings.Contains(difference, exception) })
		})
		if len(differences) > 0 {
			return false, fmt.Errorf("cluster %s is not as it was before:\n%s", c.Name, strings.Join(differences, "\n"))
		}
		return true, nil
	})
}

// ResourceVersions gives the resource version of every object of a kind in a namespace, by name.
func ResourceVersions[L client.ObjectList](t testing.TB, c client.Client, namespace string, list L) map[string]string {
	t.Helper()
	require.NoError(t, c.List(t.Context(), list, client.InNamespace(namespace)))
	versions := map[string]string{}
	require.NoError(t, apimeta.EachListItem(list, func(item runtime.Object) error {
		object := item.(client.Object)
		versions[object.GetName()] = object.GetResourceVersion()
		return nil
	}))
	return versions
}
