//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/matrix"
)

func objectMeta(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }

// TestRestrictedNamespace shows that the namespaces of these tests do refuse pods that Pod Security "restricted" does not allow.
func TestRestrictedNamespace(t *testing.T) {
	f := newFellowship(t, "helm")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "root"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "root", Image: "registry.k8s.io/pause:3.10.2"}}}}
	require.ErrorContains(t, f.host.Create(t.Context(), pod), `violates PodSecurity "restricted`)
}

// TestHookPodKilled kills the pod of a hook while it runs: the Job starts another, which finishes the work.
func TestHookPodKilled(t *testing.T) {
	f := newFellowship(t, "helm")
	gondor := clusters.Open(t, clusters.Gondor)
	for _, step := range []struct {
		job string
		// phases in which the pod is killed: certs is too quick to be seen running every time.
		phases []corev1.PodPhase
		run    func()
	}{
		{"fellowship-prepare", []corev1.PodPhase{corev1.PodPending, corev1.PodRunning}, func() { f.install(t) }},
		{"gondor-join", []corev1.PodPhase{corev1.PodRunning}, func() { f.join(t, gondor) }},
	} {
		killed := make(chan int, 1)
		go func() { killed <- f.killFirstPod(t, step.job, step.phases) }()
		step.run()
		require.Equal(t, 1, <-killed, "no pod of Job %s was there to be killed", step.job)
	}
	f.waitForCluster(t, f.api(t), "gondor", "True")
}

// killFirstPod deletes the first pod of a Job as soon as it is on a node and in one of the phases, without grace, and gives how many it killed.
func (f *fellowship) killFirstPod(t *testing.T, job string, phases []corev1.PodPhase) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		var pods corev1.PodList
		if err := f.host.List(ctx, &pods, client.InNamespace(f.namespace), client.MatchingLabels{"job-name": job}); err == nil {
			for _, pod := range pods.Items {
				if pod.Spec.NodeName == "" || !slices.Contains(phases, pod.Status.Phase) {
					continue
				}
				if err := f.host.Delete(ctx, &pod, client.GracePeriodSeconds(0)); err == nil {
					t.Logf("killed pod %s, which was %s", pod.Name, pod.Status.Phase)
					return 1
				}
			}
		}
		select {
		case <-ctx.Done():
			return 0
		case <-ticker.C:
		}
	}
}

// TestLostData deletes the pod of an etcd without a claim: the keeper sets up the API again, and upgrading a member's release joins it again.
func TestLostData(t *testing.T) {
	matrix.WholeOnly(t, "the packages' tests empty etcd, and join a member again, too")
	f := newFellowship(t, "helm")
	gondor := clusters.Open(t, clusters.Gondor)
	f.install(t, "--set", "etcd.persistence.enabled=false", "--set", "controllerManager.clusterMonitorPeriod=2s")
	f.join(t, gondor)
	api := f.api(t)
	before := f.runningPod(t, "etcd")
	require.NotNil(t, before)
	f.kubectl(t, "delete", "pod", "fellowship-etcd-0")
	clusters.Eventually(t, 2*time.Minute, "another etcd pod", func(context.Context) (bool, error) {
		current := f.runningPod(t, "etcd")
		return current != nil && current.UID != before.UID, nil
	})
	f.keep(t)
	f.waitForRollouts(t)
	require.Empty(t, strings.TrimSpace(f.clusterNames(t, api)))
	f.join(t, gondor)
	f.waitForCluster(t, api, "gondor", "True")
}

func (f *fellowship) clusterNames(t *testing.T, api *clusters.Cluster) string {
	t.Helper()
	return api.Kubectl(t, "get", "clusters", "-o", "name")
}

// runningPod gives a component's only running pod; nil while there is none.
func (f *fellowship) runningPod(t *testing.T, component string) *corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	require.NoError(t, f.host.List(t.Context(), &pods, client.InNamespace(f.namespace), client.MatchingLabels{"app.kubernetes.io/component": component}))
	for i, pod := range pods.Items {
		if pod.DeletionTimestamp == nil && pod.Status.Phase == corev1.PodRunning {
			return &pods.Items[i]
		}
	}
	return nil
}

// TestBadInput gives each hook what it must refuse: helm shows one sentence that says what to do, and nothing is half made.
func TestBadInput(t *testing.T) {
	matrix.WholeOnly(t, "the packages' tests refuse all of it too, and TestMemberLifecycle has a join that is refused")
	f := newFellowship(t, "helm")
	gondor := clusters.Open(t, clusters.Gondor)
	before := gondor.TakeSnapshot(t)
	f.install(t)
	api := f.api(t)
	kubeconfig := gondor.Kubectl(t, "config", "view", "--raw", "--flatten")
	given := func(text string) []string {
		return []string{"--set-file", "credentials.kubeconfig=" + f.write(t, text)}
	}
	for name, c := range map[string]struct{ args, says []string }{
		"an unknown value":              {[]string{"--set", "clusterNames=gondor"}, []string{"clusterNames"}},
		"another CA":                    {append(given(kubeconfig), "--set", "server=https://10.213.3.1:6443"), []string{"CA"}},
		"no credentials":                {nil, []string{"gondor-kubeconfig"}},
		"a member that does not answer": {append(given(kubeconfig), "--set", "server=https://10.213.2.77:6443"), []string{"10.213.2.77"}},
		"a name that is no label":       {[]string{"--set", "clusterName=gondor_needs-no_king"}, []string{"clusterName"}},
		"a context that is not there":   {append(given(kubeconfig), "--set", "credentials.context=mordor"), []string{"mordor", "gondor"}},
		"a loopback address":            {given(strings.Replace(kubeconfig, "10.213.2.1", "127.0.0.1", 1)), []string{"127.0.0.1", "server"}},
		"no YAML":                       {given("speak: [friend"), []string{"kubeconfig"}},
		"a federation that is not here": {append(given(kubeconfig), "--set", "federation=mordor", "--set", "join.federationTimeoutSeconds=2"), []string{"mordor", "fellowship"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"install", "gondor", clusters.MemberChart, "--timeout", "2m", "--set", "hooks.backoffLimit=0"}, c.args...)
			said, err := f.run(t, args...)
			require.Error(t, err, said)
			for _, word := range c.says {
				require.Contains(t, said, word)
			}
			t.Log(said)
			require.Empty(t, f.clusterNames(t, api))
			_, _ = f.run(t, "uninstall", "gondor", "--ignore-not-found")
			gondor.RequireUnchanged(t, before)
		})
	}

	t.Run("a claim that cannot bind", func(t *testing.T) {
		f.uninstall(t, f.name)
		said, err := f.run(t, "install", f.name, clusters.ControlPlaneChart, "--timeout", "4m", "--set", "hooks.backoffLimit=0", "--set", "etcd.persistence.storageClass=mithril")
		require.Error(t, err, said)
		require.Contains(t, said, "fellowship-federation-apiserver-etcd-claim")
		require.Contains(t, said, "mithril")
	})
}

// TestLeaderElection runs every replicated component twice, kills the leading controller manager, and finds the federation well.
func TestLeaderElection(t *testing.T) {
	matrix.WholeOnly(t, "the packages' tests kill the leader too")
	f := newFellowship(t, "helm")
	gondor := clusters.Open(t, clusters.Gondor)
	f.install(t, "--set", "apiServer.replicas=2", "--set", "kubeControllerManager.replicas=2", "--set", "controllerManager.replicas=2", "--set", "controllerManager.clusterMonitorPeriod=2s")
	f.join(t, gondor)
	api := f.api(t)
	holder := func() string {
		return api.Kubectl(t, "-n", "federation-system", "get", "lease", "federation-controller-manager", "-o", "jsonpath={.spec.holderIdentity}")
	}
	leader := holder()
	f.kubectl(t, "delete", "pod", strings.SplitN(leader, "_", 2)[0])
	clusters.Eventually(t, time.Minute, "another leader", func(context.Context) (bool, error) {
		current := holder()
		return current != "" && current != leader, fmt.Errorf("%q leads", current)
	})
	f.waitForCluster(t, api, "gondor", "True")
}
