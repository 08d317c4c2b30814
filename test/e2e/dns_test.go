//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/test/clusters"
)

// failover is the time in which a name has to answer another member's address once the nearer one has no endpoints: the controllers' and the member's, no cache is between.
const failover = 15 * time.Second

const nginx = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: nginx, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: nginx}}
  template:
    metadata: {labels: {app: nginx}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: nginx, image: "registry.k8s.io/pause:3.10.2"}]}
---
apiVersion: v1
kind: Service
metadata: {name: nginx, namespace: default}
spec: {type: LoadBalancer, selector: {app: nginx}, ports: [{port: 80}]}
`

// digger is a pod from which names are asked.
const digger = `
apiVersion: v1
kind: Pod
metadata: {name: dig, namespace: default}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: dig, image: "fedhelm.test/dig:1", imagePullPolicy: Never}]
`

// zone is the default's.
const zone = "federation.internal"

// federatedDNS is a federation whose members are joined, with a pod in each that asks DNS.
type federatedDNS struct {
	federated
	nameserver string
	topology   map[string]v1beta1.ClusterStatus
}

// fromPod asks DNS in a member's pod, by the pod's own resolver configuration.
func (f *federatedDNS) fromPod(t *testing.T, member *clusters.Cluster, name string) ([]string, error) {
	t.Helper()
	out, err := member.Run(t, "kubectl", "exec", "dig", "--", "dig", "+search", "+short", "+time=2", "+tries=2", name, "A")
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return addresses(out), nil
}

// fromHost asks the federation's name server from outside of all clusters.
func (f *federatedDNS) fromHost(t *testing.T, name string) ([]string, error) {
	t.Helper()
	host, port, err := net.SplitHostPort(f.nameserver)
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), "dig", "@"+host, "-p", port, "+short", "+time=2", "+tries=2", name, "A").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return addresses(string(out)), nil
}

// addresses of what dig +short said, without the names of a chain.
func addresses(out string) []string {
	found := []string{}
	for line := range strings.Lines(out) {
		if ip := net.ParseIP(strings.TrimSpace(line)); ip != nil {
			found = append(found, ip.String())
		}
	}
	slices.Sort(found)
	return found
}

// eventuallyAnswers waits until a name has just these addresses, and gives how long that took.
func eventuallyAnswers(t *testing.T, within time.Duration, ask func(*testing.T, string) ([]string, error), name string, want ...string) time.Duration {
	t.Helper()
	slices.Sort(want)
	start := time.Now()
	clusters.Eventually(t, within, fmt.Sprintf("%s to be %v", name, want), func(context.Context) (bool, error) {
		found, err := ask(t, name)
		return err == nil && slices.Equal(found, want), errors.Join(err, fmt.Errorf("%s is %v", name, found))
	})
	return time.Since(start)
}

// asker asks in a member's pod.
func (f *federatedDNS) asker(member *clusters.Cluster) func(*testing.T, string) ([]string, error) {
	return func(t *testing.T, name string) ([]string, error) { return f.fromPod(t, member, name) }
}

// levels are the names of nginx in the federation DNS that are nearest to a member, then less near.
func (f *federatedDNS) levels(member string) (zoneLevel, regionLevel, globalLevel string) {
	at := f.topology[member]
	base := "nginx.default." + f.name + ".svc."
	return base + at.Zones[0] + "." + at.Region + "." + zone, base + at.Region + "." + zone, base + zone
}

// service gives a Service of namespace default in a member: its own address there and its load balancer's.
func service(t *testing.T, member *clusters.Cluster, name string) (local, balancer string) {
	t.Helper()
	clusters.Eventually(t, time.Minute, "an address of "+name+" in "+member.Name, func(ctx context.Context) (bool, error) {
		var s corev1.Service
		if err := member.Get(ctx, client.ObjectKey{Namespace: "default", Name: name}, &s); err != nil {
			return false, err
		}
		if len(s.Status.LoadBalancer.Ingress) == 0 {
			return false, errors.New("no address yet")
		}
		local, balancer = s.Spec.ClusterIP, s.Status.LoadBalancer.Ingress[0].IP
		return true, nil
	})
	return local, balancer
}

// TestFederatedServices installs a federation without any values, and asks one name for a Service that runs in both members.
func TestFederatedServices(t *testing.T) {
	f := &federatedDNS{federated: federated{fellowship: newFellowship(t, "helm"), gondor: clusters.Open(t, clusters.Gondor), shire: clusters.Open(t, clusters.Shire)}, topology: map[string]v1beta1.ClusterStatus{}}
	before := map[*clusters.Cluster]clusters.Snapshot{f.gondor: f.gondor.TakeSnapshot(t), f.shire: f.shire.TakeSnapshot(t)}
	f.install(t)
	f.api = f.fellowship.api(t)
	for _, member := range f.members() {
		f.apply(t, member, digger)
		t.Cleanup(func() { _, _ = member.Run(t, "kubectl", "delete", "pod/dig", "--ignore-not-found") })
		f.join(t, member)
		f.waitForCluster(t, f.api, member.Name, "True")
		var cluster v1beta1.Cluster
		require.NoError(t, f.api.Get(t.Context(), client.ObjectKey{Name: member.Name}, &cluster))
		f.topology[member.Name] = cluster.Status
		member.Kubectl(t, "wait", "--for=condition=Ready", "pod/dig", "--timeout=1m")
	}
	clusters.Eventually(t, time.Minute, "the address of the federation's name server", func(ctx context.Context) (bool, error) {
		var published corev1.ConfigMap
		err := f.host.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: f.name + "-nameservers"}, &published)
		f.nameserver, _, _ = strings.Cut(published.Data["nameservers"], " ")
		return f.nameserver != "", err
	})

	f.apply(t, f.api, nginx)
	local, balancer := map[*clusters.Cluster]string{}, map[*clusters.Cluster]string{}
	for _, member := range f.members() {
		local[member], balancer[member] = service(t, member, "nginx")
	}
	other := map[*clusters.Cluster]*clusters.Cluster{f.gondor: f.shire, f.shire: f.gondor}
	short := "nginx.default." + f.name
	_, _, global := f.levels("gondor")

	t.Run("every name answers, the local address first", func(t *testing.T) {
		for _, member := range f.members() {
			zoneLevel, regionLevel, _ := f.levels(member.Name)
			for _, name := range []string{short, short + ".svc", short + ".svc.cluster.local"} {
				eventuallyAnswers(t, time.Minute, f.asker(member), name, local[member])
			}
			for _, ask := range []func(*testing.T, string) ([]string, error){f.fromHost, f.asker(f.gondor), f.asker(f.shire)} {
				eventuallyAnswers(t, time.Minute, ask, zoneLevel, balancer[member])
				eventuallyAnswers(t, time.Minute, ask, regionLevel, balancer[member])
				eventuallyAnswers(t, time.Minute, ask, global, balancer[f.gondor], balancer[f.shire])
			}
			clusters.Eventually(t, time.Minute, "a program's own look-up, which may come to another pod of CoreDNS than dig, to give "+local[member], func(context.Context) (bool, error) {
				out, err := member.Run(t, "kubectl", "exec", "dig", "--", "getent", "ahostsv4", short)
				return err == nil && strings.Contains(out, local[member]), errors.Join(err, errors.New(out))
			})
		}
	})
	t.Run("a member without a copy gets the other's address, and its own again", func(t *testing.T) {
		for _, member := range f.members() {
			prefer := func(preferences string) {
				f.patch(t, f.api, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nginx"}}, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1beta1.AnnotationDeploymentPreferences, preferences))
			}
			zoneLevel, _, _ := f.levels(member.Name)
			prefer(fmt.Sprintf(`{"rebalance":true,"clusters":{%q:{"weight":1}}}`, other[member].Name))
			t.Logf("%s asks %s after %s", member.Name, other[member].Name, eventuallyAnswers(t, failover, f.asker(member), short, balancer[other[member]]))
			eventuallyAnswers(t, failover, f.fromHost, zoneLevel, balancer[other[member]])
			eventuallyAnswers(t, failover, f.fromHost, global, balancer[other[member]])
			prefer(`{"rebalance":true,"clusters":{"*":{"weight":1}}}`)
			t.Logf("%s asks itself after %s", member.Name, eventuallyAnswers(t, time.Minute, f.asker(member), short, local[member]))
			eventuallyAnswers(t, failover, f.fromHost, zoneLevel, balancer[member])
		}
	})
	t.Run("records go with a member", func(t *testing.T) {
		zoneLevel, regionLevel, _ := f.levels("shire")
		f.uninstall(t, "shire")
		eventuallyAnswers(t, failover, f.fromHost, global, balancer[f.gondor])
		eventuallyAnswers(t, failover, f.fromHost, zoneLevel)
		eventuallyAnswers(t, failover, f.fromHost, regionLevel)
	})
	t.Run("records go with the Service", func(t *testing.T) {
		require.NotEmpty(t, f.keys(t))
		f.api.Kubectl(t, "delete", "service/nginx", "deployment/nginx", "--timeout=1m")
		eventuallyAnswers(t, failover, f.fromHost, global)
		eventuallyAnswers(t, failover, f.asker(f.gondor), short)
		clusters.Eventually(t, failover, "an empty zone", func(context.Context) (bool, error) {
			keys := f.keys(t)
			return keys == "", errors.New(keys)
		})
	})
	t.Run("nothing is left in the members", func(t *testing.T) {
		f.uninstall(t, "gondor")
		f.uninstall(t, f.name)
		for member, snapshot := range before {
			member.Kubectl(t, "delete", "pod/dig", "service/nginx", "deployment/nginx", "--ignore-not-found")
			member.RequireUnchanged(t, snapshot)
		}
	})
}

// keys are those of all records in the federation DNS.
func (f *federatedDNS) keys(t *testing.T) string {
	t.Helper()
	const pki = "/etc/federation/pki/server"
	return strings.TrimSpace(f.kubectl(t, "exec", "statefulset/"+f.name+"-dns-etcd", "--", "etcdctl", "--endpoints=https://127.0.0.1:2379",
		"--cacert="+pki+"/ca.crt", "--cert="+pki+"/tls.crt", "--key="+pki+"/tls.key", "get", "--prefix", "/skydns", "--keys-only"))
}
