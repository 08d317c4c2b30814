//go:build e2e

package manager_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
	"github.com/fedhelm/fedhelm/test/clusters"
)

// fastElection lets a new program lead soon after one that was killed.
var fastElection = []string{"--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s", "--leader-elect-retry-period=500ms"}

// chaos is what was asked of the federation: objects as they were written last, by kind and name.
type chaos struct {
	*middleEarth
	random  *rand.Rand
	objects map[string]*unstructured.Unstructured
	next    int
}

// chaosKinds make an object with a name, in a namespace, with content that a number stands for.
var chaosKinds = []func(namespace, name string, n int) string{
	func(namespace, name string, n int) string {
		return fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: %s}, data: {n: "%d", k%d: x}}`, name, namespace, n, n%3)
	},
	func(namespace, name string, n int) string {
		return fmt.Sprintf(`{apiVersion: v1, kind: Secret, metadata: {name: %s, namespace: %s}, data: {n: %q}}`, name, namespace, []string{"YQ==", "Yg==", "Yw=="}[n%3])
	},
	func(namespace, name string, n int) string {
		return fmt.Sprintf(`{apiVersion: v1, kind: ServiceAccount, metadata: {name: %s, namespace: %s, labels: {n: "%d"}}}`, name, namespace, n)
	},
	func(namespace, name string, n int) string {
		return fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: %s, namespace: %s}, spec: {selector: {n: "%d"}, ports: [{port: %d}]}}`, name, namespace, n, 80+n%5)
	},
	func(namespace, name string, n int) string {
		return fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: %s, namespace: %s}, spec: {replicas: %d, selector: {matchLabels: {a: a}}, template: {metadata: {labels: {a: a}}, spec: {containers: [{name: a, image: "a:%d"}]}}}}`, name, namespace, n%7, n)
	},
	func(namespace, name string, n int) string {
		return fmt.Sprintf(`{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: %s, namespace: %s}, spec: {selector: {matchLabels: {a: a}}, template: {metadata: {labels: {a: a}}, spec: {containers: [{name: a, image: "a:%d"}]}}}}`, name, namespace, n)
	},
	func(namespace, name string, n int) string {
		return fmt.Sprintf(`{apiVersion: batch/v1, kind: CronJob, metadata: {name: %s, namespace: %s}, spec: {schedule: "%d 0 1 1 *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}}}}`, name, namespace, n%60)
	},
	func(namespace, name string, n int) string {
		return fmt.Sprintf(`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: %s, namespace: %s}, rules: [{apiGroups: [""], resources: [pods], resourceNames: [n%d], verbs: [get]}]}`, name, namespace, n)
	},
	func(namespace, name string, n int) string {
		return fmt.Sprintf(`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: %s, namespace: %s}, spec: {podSelector: {matchLabels: {n: "%d"}}}}`, name, namespace, n)
	},
}

var chaosSelectors = []string{"", `[{"key":"pci","operator":"=","values":["true"]}]`, `[{"key":"pci","operator":"NotIn","values":["true"]}]`, `[{"key":"none","operator":"Exists"}]`}

// Two hundred objects are made, changed, moved and deleted, namespaces among them, while a member goes and comes and the program is killed five
// times. In the end each member has what it should have, whole, and nothing else. CHAOS_SEED repeats a run.
func TestChaos(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("CHAOS_SEED=%d", seed)
	c := &chaos{middleEarth: newMiddleEarth(t, fastElection...), random: rand.New(rand.NewPCG(seed, 0)), objects: map[string]*unstructured.Unstructured{}}
	for range 8 {
		c.create(fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: ns-%d}}`, c.name()))
	}
	for len(c.objects) < 200 {
		c.createOne()
	}
	const rounds, kills = 600, 5
	for round := range rounds {
		c.keepRunning()
		switch {
		case round%(rounds/kills) == rounds/kills/2:
			_ = c.program.cmd.Process.Signal(syscall.SIGKILL) // it may have ended by itself meanwhile
			<-c.program.done
			c.keepRunning()
		case round == rounds/4:
			c.shire.stop()
		case round == rounds*3/4:
			c.shire.start()
		}
		c.step()
	}
	for name := range c.members() {
		c.eventuallyReady(name, v1beta1.ClusterPhaseReady, "ClusterReady")
	}
	clusters.EventuallySeen(t, 2*time.Minute, "all as it should be", func() (bool, string) {
		c.keepRunning()
		wrong := c.differences()
		return len(wrong) == 0, fmt.Sprintf("CHAOS_SEED=%d: %d differences, such as %v", seed, len(wrong), wrong[:min(12, len(wrong))])
	})
	c.eventuallyQuiet()
	require.Empty(t, c.differences(), "CHAOS_SEED=%d", seed)
}

// keepRunning starts the program again once it has ended, as a kubelet does: it also ends by itself when a busy machine makes it lose its lease.
func (c *chaos) keepRunning() {
	select {
	case <-c.program.done:
		c.program = c.run(fastElection...)
	default:
	}
}

func (c *chaos) name() int {
	c.next++
	return c.next
}

func (c *chaos) key(o *unstructured.Unstructured) string {
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

func (c *chaos) create(manifest string) {
	o := object(c.T, manifest)
	require.NoError(c, c.Create(c.Context(), o.DeepCopy()))
	c.objects[c.key(o)] = o
}

func (c *chaos) createOne() {
	namespaces := c.some("Namespace")
	namespace := namespaces[c.random.IntN(len(namespaces))].GetName()
	make := chaosKinds[c.random.IntN(len(chaosKinds))]
	c.create(make(namespace, fmt.Sprintf("o-%d", c.name()), c.random.IntN(1000)))
}

// some are the objects of a kind, in an order that the seed repeats.
func (c *chaos) some(kind string) []*unstructured.Unstructured {
	var some []*unstructured.Unstructured
	for _, key := range slices.Sorted(maps.Keys(c.objects)) {
		if o := c.objects[key]; kind == o.GetKind() || kind == "" && o.GetKind() != "Namespace" {
			some = append(some, o)
		}
	}
	return some
}

func (c *chaos) step() {
	others := c.some("")
	o := others[c.random.IntN(len(others))]
	switch c.random.IntN(10) {
	case 0, 1:
		c.createOne()
	case 2, 3:
		require.NoError(c, c.Delete(c.Context(), o.DeepCopy(), client.PropagationPolicy("Background")))
		delete(c.objects, c.key(o))
	case 4:
		text := chaosSelectors[c.random.IntN(len(chaosSelectors))]
		o.SetAnnotations(map[string]string{v1beta1.AnnotationClusterSelector: text})
		require.NoError(c, c.Patch(c.Context(), o.DeepCopy(), merge(fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1beta1.AnnotationClusterSelector, text))))
	case 5: // drift, where the member answers
		_ = c.gondor.Delete(c.Context(), o.DeepCopy())
	case 6:
		value := []string{"true", "false"}[c.random.IntN(2)]
		c.label("gondor", "pci", value)
	default:
		for _, make := range chaosKinds {
			changed := object(c.T, make(o.GetNamespace(), o.GetName(), c.random.IntN(1000)))
			if changed.GetKind() != o.GetKind() {
				continue
			}
			changed.SetAnnotations(o.GetAnnotations())
			there, err := c.read(o)
			require.NoError(c, err)
			replaced := changed.DeepCopy()
			replaced.SetResourceVersion(there.GetResourceVersion())
			replaced.SetFinalizers(there.GetFinalizers())
			if spec, found := there.Object["spec"].(map[string]any); found && o.GetKind() == "Service" {
				_ = unstructured.SetNestedField(replaced.Object, spec["clusterIP"], "spec", "clusterIP")
			}
			if err := c.Update(c.Context(), replaced); !apierrors.IsConflict(err) {
				require.NoError(c, err)
				c.objects[c.key(o)] = changed
			}
		}
	}
}

// differences says what is not as it should be in the members: missing, other than it was written, or a stray.
func (c *chaos) differences() []string {
	var wrong []string
	replicas := map[string]int64{}
	for name, member := range c.members() {
		pci := c.cluster(name).Labels["pci"]
		found := map[string]*unstructured.Unstructured{}
		for _, t := range federatedtypes.Defaults() {
			list, err := member.list(t)
			if err != nil {
				return []string{err.Error()}
			}
			for i := range list.Items {
				if o := &list.Items[i]; o.GetNamespace() != hostNamespace && o.GetName() != hostNamespace { // what is there of the host's is placed too
					found[c.key(o)] = o
				}
			}
		}
		for key, want := range c.objects {
			got := found[key]
			delete(found, key)
			if n, is, _ := unstructured.NestedInt64(want.Object, "spec", "replicas"); is {
				if got != nil {
					has, _, _ := unstructured.NestedInt64(got.Object, "spec", "replicas")
					replicas[key] += has
				}
				if _, placed := replicas[key]; !placed {
					replicas[key] = 0
				}
				if n > 0 && got == nil {
					continue // a cluster may get none
				}
			}
			selected := map[string]bool{chaosSelectors[0]: true, chaosSelectors[1]: pci == "true", chaosSelectors[2]: pci != "true"}[want.GetAnnotations()[v1beta1.AnnotationClusterSelector]]
			switch {
			case selected && got == nil:
				here, _ := c.read(want)
				wrong = append(wrong, name+" lacks "+key+", which is said to be in "+state(here))
			case !selected && got != nil:
				wrong = append(wrong, name+" should not have "+key)
			case got != nil:
				for _, field := range []string{"data", "rules", "spec"} {
					if path := differs(want.Object[field], got.Object[field], field); path != "" && path != "spec.replicas" {
						wrong = append(wrong, name+" has another "+path+" of "+key)
					}
				}
			}
		}
		for key := range found {
			wrong = append(wrong, name+" has the stray "+key)
		}
	}
	for key, has := range replicas {
		want, _, _ := unstructured.NestedInt64(c.objects[key].Object, "spec", "replicas")
		if selector := c.objects[key].GetAnnotations()[v1beta1.AnnotationClusterSelector]; c.selects(selector) && has != want {
			wrong = append(wrong, fmt.Sprintf("%s has %d replicas, wanted %d", key, has, want))
		}
	}
	return wrong
}

// selects says whether a selector takes any member.
func (c *chaos) selects(selector string) bool {
	for name := range c.members() {
		pci := c.cluster(name).Labels["pci"]
		if selector == chaosSelectors[0] || selector == chaosSelectors[1] && pci == "true" || selector == chaosSelectors[2] && pci != "true" {
			return true
		}
	}
	return false
}

// list gives the federation's copies of a type.
func (a *api) list(t *federatedtypes.Type) (*unstructured.UnstructuredList, error) {
	list := &unstructured.UnstructuredList{}
	gvk, err := a.RESTMapper().KindFor(t.GroupVersionResource)
	if err != nil {
		return nil, err
	}
	list.SetGroupVersionKind(gvk)
	return list, a.List(a.Context(), list, client.MatchingLabels{v1beta1.LabelFederated: "fellowship"})
}

// differs gives the path at which got is not what was wanted; what an API adds to a map is no difference, save in data.
func differs(want, got any, path string) string {
	switch w := want.(type) {
	case nil:
		return ""
	case map[string]any:
		g, _ := got.(map[string]any)
		if path == "data" && len(g) != len(w) {
			return path
		}
		for key, value := range w {
			if at := differs(value, g[key], path+"."+key); at != "" {
				return at
			}
		}
		return ""
	case []any:
		g, _ := got.([]any)
		if len(g) != len(w) {
			return path
		}
		for i := range w {
			if at := differs(w[i], g[i], fmt.Sprintf("%s[%d]", path, i)); at != "" {
				return at
			}
		}
		return ""
	}
	if want != got && fmt.Sprint(want) != fmt.Sprint(got) {
		return path
	}
	return ""
}
