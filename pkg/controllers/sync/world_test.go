package sync

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/yaml"

	"github.com/fedhelm/fedhelm/pkg/controllers/watch"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
)

// world is controllers that do not run: tests put into their memory what the watches would.
type world struct {
	*testing.T
	*syncer
}

// listed is an informer that has listed everything there is, which tests add.
type listed struct{ cache.SharedIndexInformer }

func (listed) HasSynced() bool                 { return true }
func (listed) LastSyncResourceVersion() string { return "100" }
func (w world) unlisted(of *watch.Objects) {
	of.SharedIndexInformer = of.SharedIndexInformer.(listed).SharedIndexInformer
}

// newWorld has a federation with ready members of these names, and every default type.
func newWorld(t *testing.T, names ...string) world {
	t.Helper()
	nowhere, err := dynamic.NewForConfig(&rest.Config{Host: "http://127.0.0.1:1"})
	require.NoError(t, err)
	w := world{t, &syncer{options: DefaultOptions(), kinds: map[schema.GroupResource]*kind{}, members: map[string]*member{}, uid: "federation"}}
	w.options.FederationName = "fellowship"
	listedOf := func(of *federatedtypes.Type) *watch.Objects {
		watched := watch.New(watch.Whole(nowhere, of.GroupVersionResource), "", toFederated, func(types.NamespacedName, any) {}, nil)
		watched.SharedIndexInformer = listed{watched.SharedIndexInformer}
		return watched
	}
	for _, of := range federatedtypes.Defaults() {
		w.kinds[of.GroupResource()] = &kind{Type: of, syncer: w.syncer, entries: map[types.NamespacedName]*entry{}, objects: listedOf(of),
			states: workqueue.NewTypedRateLimitingQueue(rateLimiter[types.NamespacedName]())}
	}
	for _, name := range names {
		w.fleet = append(w.fleet, fleetMember{name: name, ready: true, labels: labels.Set{"name": name}})
		w.members[name] = &member{syncer: w.syncer, name: name, objects: map[*kind]*watch.Objects{}, since: time.Now()}
		for _, k := range w.kinds {
			w.members[name].objects[k] = listedOf(k.Type)
		}
	}
	return w
}

func (w world) kind(resource string) *kind {
	w.Helper()
	for of, k := range w.kinds {
		if of.Resource == resource {
			return k
		}
	}
	w.Fatalf("no type %s", resource)
	return nil
}

// federate puts an object into the federation.
func (w world) federate(of *kind, manifest string) *unstructured.Unstructured {
	w.Helper()
	o := object(w.T, manifest)
	require.NoError(w, of.objects.GetStore().Add(o))
	return o
}

// has puts a copy into a member, which changes as told.
func (w world) has(cluster string, of *kind, o *unstructured.Unstructured, changes ...func(*memberCopy)) *memberCopy {
	w.Helper()
	c := &memberCopy{ObjectMeta: metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName(), UID: types.UID("copy in " + cluster), ResourceVersion: "50"}, amount: -1, completions: -1, source: string(w.uid)}
	for _, change := range changes {
		change(c)
	}
	require.NoError(w, w.members[cluster].objects[of].GetStore().Add(c))
	return c
}

// setFleet changes what is known of a cluster.
func (w world) setFleet(cluster string, change func(*fleetMember)) {
	change(&w.fleet[slices.IndexFunc(w.fleet, func(f fleetMember) bool { return f.name == cluster })])
}

func object(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	text, err := yaml.YAMLToJSON([]byte(manifest))
	require.NoError(t, err, manifest)
	o := &unstructured.Unstructured{}
	require.NoError(t, json.Unmarshal(text, &o.Object), manifest)
	return o
}
