//go:build e2e

package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/measure"
)

const (
	configMaps, deployments = 1000, 200
	writers                 = 20
	syncRuns                = 3
	latencyRuns             = 200
	steadyObjects           = 5000
	steadyTime              = time.Minute
	// ownNamespace is not federated, being kube-*: the floor writes there.
	federatedNamespace, ownNamespace = "bench", "kube-bench"
	roundLabel                       = "round"
)

// realm is a federation with two members, both on real clusters.
type realm struct {
	host      *clusters.Cluster
	namespace string
	api       *clusters.Cluster
	members   []*clusters.Cluster
}

func newRealm(t *testing.T) *realm {
	t.Helper()
	host := clusters.Open(t, clusters.Host)
	r := &realm{host: host, namespace: host.Namespace(t, "bench", nil), members: []*clusters.Cluster{clusters.Open(t, clusters.Gondor), clusters.Open(t, clusters.Shire)}}
	t.Cleanup(func() { helm(t, host, r.namespace, "uninstall", federation, "--wait") })
	installFederation(t, host, r.namespace)
	r.api = openFederation(t, host, r.namespace)
	for _, member := range r.members {
		helm(t, host, r.namespace, "install", member.Name, clusters.MemberChart, "--set-file", "credentials.kubeconfig="+member.Kubeconfig)
		t.Cleanup(func() { helm(t, host, r.namespace, "uninstall", member.Name, "--wait") })
		waitForReady(t, r.api, member.Name)
	}
	for _, name := range []string{federatedNamespace, ownNamespace} {
		for _, c := range r.everywhere() {
			require.NoError(t, client.IgnoreAlreadyExists(c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})))
			t.Cleanup(func() { c.DeleteNamespace(t, name, 5*time.Minute) }) // of thousands of objects
		}
	}
	return r
}

// everywhere is the members and the federation.
func (r *realm) everywhere() []*clusters.Cluster { return append(slices.Clone(r.members), r.api) }

// TestSync compares what it takes until objects written in the federation are in both members with writing them into the federation and into each member.
func TestSync(t *testing.T) {
	r := newRealm(t)
	operations := []string{"create", "update", "delete"}
	ours, floors := map[string][]float64{}, map[string][]float64{}
	before := r.requests(t)
	for run := range 1 + syncRuns {
		for _, operation := range operations {
			arrived := arrivals(t, r.members, federatedNamespace, operation, fmt.Sprint(run), configMaps+deployments)
			took := measure.Seconds(func() {
				writeAll(t, []*clusters.Cluster{r.api}, federatedNamespace, operation, run)
				arrived()
			})
			r.waitUntilTold(t) // else its last patches would slow down the floor
			floor := measure.Seconds(func() { writeAll(t, r.everywhere(), ownNamespace, operation, run) })
			t.Logf("%d %s: %.2fs, floor %.2fs", run, operation, took, floor)
			if run > 0 {
				ours[operation], floors[operation] = append(ours[operation], took), append(floors[operation], floor)
			}
			if operation == "delete" {
				r.waitForNone(t)
			}
		}
	}
	after := r.requests(t)
	for _, operation := range operations {
		measure.Compare("sync",
			measure.Figure{Name: fmt.Sprintf("%s %d objects in the federation, to the last one in the last member", operation, configMaps+deployments), Unit: " s", Values: ours[operation]},
			measure.Figure{Name: "the same written into the federation and each member", Unit: " s", Values: floors[operation]}, mostTimesFloor)
	}
	copies := float64((1 + syncRuns) * (configMaps + deployments) * len(r.members))
	for _, method := range writing {
		measure.Add("sync", measure.Figure{Name: method + " requests to the members for each copy that was created, updated and deleted", Values: []float64{(after[method] - before[method]) / copies}})
	}
	latency(t, r.api, r.members[0])
}

// TestSteadyState leaves many objects alone, and looks what they cost.
func TestSteadyState(t *testing.T) {
	r := newRealm(t)
	empty := r.process(t)
	arrived := arrivals(t, r.members, federatedNamespace, "create", "0", steadyObjects)
	var group errgroup.Group
	group.SetLimit(writers)
	for i := range steadyObjects {
		group.Go(func() error { return r.api.Create(t.Context(), configMap(federatedNamespace, i, 0)) })
	}
	require.NoError(t, group.Wait())
	arrived()

	// Until it has said where all of them are.
	versions := r.versions(t)
	clusters.Eventually(t, 2*time.Minute, "the last write", func(context.Context) (bool, error) {
		last := versions
		versions = r.versions(t)
		return maps.Equal(last, versions), errors.New("objects still change")
	})
	writes, from, start := r.writes(t), r.process(t), time.Now()
	clusters.Eventually(t, 2*steadyTime, "the time of the measurement to pass", func(context.Context) (bool, error) { return time.Since(start) >= steadyTime, nil })
	to := r.process(t)
	elapsed := time.Since(start).Seconds()

	require.Equal(t, versions, r.versions(t), "objects were written though nothing changed")
	measure.Add("steady state",
		measure.Figure{Name: fmt.Sprintf("writes in %s with %d objects in 2 members", steadyTime, steadyObjects), Values: []float64{r.writes(t) - writes}},
		measure.Figure{Name: "CPU of federation-controller-manager meanwhile", Unit: " % of a core", Values: []float64{100 * (to.cpu - from.cpu) / elapsed}, Goal: 2},
		measure.Figure{Name: "memory that it has more than without objects, an object and member", Unit: " KiB", Values: []float64{(to.memory - empty.memory) * 1e6 / 1024 / float64(steadyObjects*len(r.members))}, Goal: 20},
	)
}

// configMap and deployment number i, as they are in a round. A Deployment has no pods: what is measured is the API.
func configMap(namespace string, i, round int) client.Object {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("bench-%d", i), Labels: map[string]string{roundLabel: fmt.Sprint(round)}},
		Data:       map[string]string{"key": strings.Repeat("x", 200)},
	}
}

func deployment(namespace string, i, round int) client.Object {
	labels := map[string]string{"app": fmt.Sprint("bench-", i)}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("bench-%d", i), Labels: map[string]string{roundLabel: fmt.Sprint(round)}},
		Spec: appsv1.DeploymentSpec{Replicas: new(int32(0)), Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "bench", Image: "bench"}}},
		}},
	}
}

// writeAll does an operation on all objects in each of the clusters, with as many writers at once as there are.
func writeAll(t *testing.T, to []*clusters.Cluster, namespace, operation string, round int) {
	t.Helper()
	var group errgroup.Group
	group.SetLimit(writers)
	write := func(object client.Object) {
		group.Go(func() error {
			for _, c := range to {
				if err := writeOne(t, c, object.DeepCopyObject().(client.Object), operation); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for i := range configMaps {
		write(configMap(namespace, i, round))
		if i < deployments {
			write(deployment(namespace, i, round))
		}
	}
	require.NoError(t, group.Wait())
}

func writeOne(t *testing.T, c client.Client, object client.Object, operation string) error {
	switch operation {
	case "create":
		return c.Create(t.Context(), object)
	case "update":
		return c.Patch(t.Context(), object, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"round":"updated-`+object.GetLabels()[roundLabel]+`"}}}`)))
	}
	return c.Delete(t.Context(), object)
}

// arrivals gives a wait until an operation of a round has happened to n objects in each member.
func arrivals(t *testing.T, members []*clusters.Cluster, namespace, operation, round string, n int) func() {
	t.Helper()
	wanted := map[string]string{"create": round, "update": "updated-" + round}[operation]
	var group sync.WaitGroup
	var missing sync.Map
	var watches []watch.Interface
	for _, member := range members {
		api := clientset(t, member)
		var mutex sync.Mutex
		seen := map[string]bool{}
		done := make(chan struct{})
		for _, resource := range []string{"configmaps", "deployments"} {
			events := watchAll(t, api, resource, namespace)
			watches = append(watches, events)
			go func() {
				for event := range events.ResultChan() {
					object, ok := event.Object.(metav1.Object)
					if !ok || operation == "delete" && event.Type != "DELETED" || operation != "delete" && object.GetLabels()[roundLabel] != wanted {
						continue
					}
					mutex.Lock()
					if seen[resource+object.GetName()] = true; len(seen) == n && strings.HasPrefix(object.GetName(), "bench-") {
						select {
						case <-done:
						default:
							close(done)
						}
					}
					mutex.Unlock()
				}
			}()
		}
		group.Go(func() {
			select {
			case <-done:
			case <-time.After(5 * time.Minute):
				mutex.Lock()
				defer mutex.Unlock()
				missing.Store(member.Name, len(seen))
			}
		})
	}
	return func() {
		t.Helper()
		group.Wait()
		for _, w := range watches {
			w.Stop()
		}
		missing.Range(func(name, seen any) bool {
			require.FailNow(t, "objects did not arrive", "%s of round %s: %v of %d in %v", operation, round, seen, n, name)
			return false
		})
	}
}

func clientset(t *testing.T, c *clusters.Cluster) *kubernetes.Clientset {
	t.Helper()
	config := *c.Config
	config.Timeout = 0 // watches last
	api, err := kubernetes.NewForConfig(&config)
	require.NoError(t, err)
	return api
}

// latency compares, one object at a time, the time from a write in the federation to the object in a member with one raw write.
func latency(t *testing.T, api, member *clusters.Cluster) {
	t.Helper()
	events := watchAll(t, clientset(t, member), "configmaps", federatedNamespace)
	var ours, floors, inMember []float64
	for i := range latencyRuns {
		raw := func(c *clusters.Cluster) float64 {
			return 1000 * measure.Seconds(func() { require.NoError(t, c.Create(t.Context(), configMap(ownNamespace, 10_000+i, 0))) })
		}
		object := configMap(federatedNamespace, 10_000+i, 0)
		start := time.Now()
		require.NoError(t, api.Create(t.Context(), object))
		for event := range events.ResultChan() {
			if arrived, ok := event.Object.(metav1.Object); ok && arrived.GetName() == object.GetName() {
				break
			}
		}
		ours = append(ours, time.Since(start).Seconds()*1000)
		floors, inMember = append(floors, raw(api)), append(inMember, raw(member))
	}
	for _, p := range []struct {
		name     string
		at, goal float64
	}{{"p50", 0.5, 2.5}, {"p99", 0.99, 4}} {
		measure.Compare("sync",
			measure.Figure{Name: "idle, from a write in the federation to the object in a member, " + p.name, Unit: " ms", Values: []float64{measure.Percentile(ours, p.at)}},
			measure.Figure{Name: "one write into the federation of what it does not place, " + p.name, Unit: " ms", Values: []float64{measure.Percentile(floors, p.at)}}, p.goal)
		measure.Add("sync", measure.Figure{Name: "one write into the member, " + p.name, Unit: " ms", Values: []float64{measure.Percentile(inMember, p.at)}})
	}
}

// writing are the methods that change something.
var writing = []string{"PATCH", "DELETE", "POST", "PUT"}

// requests gives how many requests the controllers have made to the members, by method.
func (r *realm) requests(t *testing.T) map[string]float64 {
	t.Helper()
	requests := map[string]float64{}
	for labels, n := range r.metric(t, "federation_member_requests_total") {
		for _, method := range append([]string{"GET"}, writing...) {
			if strings.Contains(labels, `method="`+method+`"`) {
				requests[method] += n
			}
		}
	}
	return requests
}

func (r *realm) writes(t *testing.T) (sum float64) {
	t.Helper()
	requests := r.requests(t)
	for _, method := range writing {
		sum += requests[method]
	}
	return sum
}

// process gives the CPU seconds and the megabytes of memory of federation-controller-manager.
func (r *realm) process(t *testing.T) usage {
	t.Helper()
	return usage{cpu: r.metric(t, "process_cpu_seconds_total")[""], memory: r.metric(t, "process_resident_memory_bytes")[""] / 1e6}
}

// metric gives the samples of a metric of federation-controller-manager by their labels.
func (r *realm) metric(t *testing.T, name string) map[string]float64 {
	t.Helper()
	pod := r.host.Kubectl(t, "--namespace", r.namespace, "get", "pods", "-l", "app.kubernetes.io/component=controller-manager", "-o", "jsonpath={.items[0].metadata.name}")
	text := r.host.Kubectl(t, "get", "--raw", fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:8080/proxy/metrics", r.namespace, pod))
	samples := map[string]float64{}
	for _, match := range regexp.MustCompile(`(?m)^`+name+`(?:\{(.*)\})? (\S+)$`).FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseFloat(match[2], 64)
		require.NoError(t, err)
		samples[match[1]] = n
	}
	require.NotEmpty(t, samples, "federation-controller-manager has no metric %s", name)
	return samples
}

// versions gives the versions of all objects, in the federation and in the members.
func (r *realm) versions(t *testing.T) map[string]string {
	t.Helper()
	versions := map[string]string{}
	for _, c := range r.everywhere() {
		for name, version := range clusters.ResourceVersions(t, c, federatedNamespace, &corev1.ConfigMapList{}) {
			versions[c.Name+" "+name] = version
		}
	}
	return versions
}

// waitUntilTold waits until the federation has nothing more to say of where its objects are.
func (r *realm) waitUntilTold(t *testing.T) {
	t.Helper()
	clusters.Eventually(t, 2*time.Minute, "all objects to be told of", func(context.Context) (bool, error) {
		for labels, n := range r.metric(t, "federation_objects") {
			if strings.Contains(labels, `state="pending"`) && n > 0 {
				return false, fmt.Errorf("%v of %s", n, labels)
			}
		}
		return true, nil
	})
}

// waitForNone waits until the federation has let go of the objects that are deleted, so that their names can be used again.
func (r *realm) waitForNone(t *testing.T) {
	t.Helper()
	clusters.Eventually(t, time.Minute, "the deleted objects to be gone", func(ctx context.Context) (bool, error) {
		var configs corev1.ConfigMapList
		var apps appsv1.DeploymentList
		for _, c := range r.everywhere() {
			for _, namespace := range []string{federatedNamespace, ownNamespace} {
				if err := errors.Join(c.List(ctx, &configs, client.InNamespace(namespace)), c.List(ctx, &apps, client.InNamespace(namespace))); err != nil {
					return false, err
				}
				configs.Items = slices.DeleteFunc(configs.Items, func(m corev1.ConfigMap) bool { return !strings.HasPrefix(m.Name, "bench-") })
				if left := len(configs.Items) + len(apps.Items); left > 0 {
					return false, fmt.Errorf("%d left in %s", left, c.Name)
				}
			}
		}
		return true, nil
	})
}

// watchAll watches the objects of a resource in a namespace until the test ends.
func watchAll(t *testing.T, api *kubernetes.Clientset, resource, namespace string) watch.Interface {
	t.Helper()
	var events watch.Interface
	var err error
	if resource == "deployments" {
		events, err = api.AppsV1().Deployments(namespace).Watch(t.Context(), metav1.ListOptions{})
	} else {
		events, err = api.CoreV1().ConfigMaps(namespace).Watch(t.Context(), metav1.ListOptions{})
	}
	require.NoError(t, err)
	t.Cleanup(events.Stop)
	return events
}
