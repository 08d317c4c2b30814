//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/test/clusters"
)

// fellowship is a federation in a namespace of its own.
type fellowship struct {
	host      *clusters.Cluster
	name      string
	namespace string
	// helm is the program that installs it: helm (3) or helm4.
	helm string
}

// restricted makes a namespace refuse every pod that Pod Security "restricted" does not allow.
var restricted = map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}

// newFellowship gives a federation that is not installed yet, in a namespace that enforces Pod Security "restricted". The members that the test leaves joined leave at its end, and the namespace goes.
func newFellowship(t *testing.T, helm string) *fellowship {
	t.Helper()
	host := clusters.Open(t, clusters.Host)
	f := &fellowship{host: host, name: "fellowship", namespace: host.Namespace(t, "federation", restricted), helm: helm}
	t.Cleanup(func() {
		if t.Failed() {
			f.explain(t)
		}
		f.unjoinAll(t)
	})
	return f
}

// run runs helm in the federation's namespace.
func (f *fellowship) run(t testing.TB, args ...string) (string, error) {
	t.Helper()
	return f.host.Run(t, f.helm, append([]string{"--namespace", f.namespace}, args...)...)
}

func (f *fellowship) must(t testing.TB, args ...string) string {
	t.Helper()
	return f.host.Must(t, f.helm, append([]string{"--namespace", f.namespace}, args...)...)
}

// keeperAtRest keeps the keeper from running by itself in the middle of a test; keep runs it.
const keeperAtRest = "keeper.schedule=0 0 1 1 *"

// install installs the control plane and waits for it.
func (f *fellowship) install(t testing.TB, args ...string) string {
	t.Helper()
	return f.must(t, append([]string{"upgrade", "--install", f.name, clusters.ControlPlaneChart, "--wait", "--timeout", "4m", "--set", keeperAtRest}, args...)...)
}

// join joins a cluster with the kubeconfig of its administrator.
func (f *fellowship) join(t testing.TB, member *clusters.Cluster, args ...string) string {
	t.Helper()
	return f.must(t, append([]string{"upgrade", "--install", member.Name, clusters.MemberChart, "--wait", "--timeout", "4m",
		"--set-file", "credentials.kubeconfig=" + member.Kubeconfig}, args...)...)
}

// uninstall uninstalls a release and gives what its hooks said.
func (f *fellowship) uninstall(t testing.TB, release string) string {
	t.Helper()
	return f.must(t, "uninstall", release, "--wait", "--timeout", "4m")
}

// kubectl runs kubectl in the federation's namespace of the host cluster.
func (f *fellowship) kubectl(t testing.TB, args ...string) string {
	t.Helper()
	return f.host.Kubectl(t, append([]string{"--namespace", f.namespace}, args...)...)
}

// api is the federation's API, as its administrator reaches it.
func (f *fellowship) api(t testing.TB) *clusters.Cluster {
	t.Helper()
	secret := f.secret(t, f.name+"-kubeconfig")
	path := filepath.Join(t.TempDir(), f.name+".kubeconfig")
	require.NoError(t, os.WriteFile(path, secret.Data["kubeconfig"], 0o600))
	return clusters.FromKubeconfig(t, f.name, path)
}

func (f *fellowship) secret(t testing.TB, name string) *corev1.Secret {
	t.Helper()
	var secret corev1.Secret
	require.NoError(t, f.host.Get(t.Context(), client.ObjectKey{Namespace: f.namespace, Name: name}, &secret))
	return &secret
}

// secretVersions gives the resource versions of the Secrets, without those of Helm's releases.
func (f *fellowship) secretVersions(t testing.TB) map[string]string {
	t.Helper()
	versions := clusters.ResourceVersions(t, f.host, f.namespace, &corev1.SecretList{})
	for name := range versions {
		if strings.HasPrefix(name, "sh.helm.release.") {
			delete(versions, name)
		}
	}
	return versions
}

// pods gives the running pods of the control plane, without those of Jobs, with how often their containers were restarted.
func (f *fellowship) pods(t testing.TB) map[string]int32 {
	t.Helper()
	var pods corev1.PodList
	require.NoError(t, f.host.List(t.Context(), &pods, client.InNamespace(f.namespace)))
	restarts := map[string]int32{}
	for _, pod := range pods.Items {
		if pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil || pod.Labels[batchv1.JobNameLabel] != "" {
			continue
		}
		for _, status := range pod.Status.ContainerStatuses {
			restarts[fmt.Sprintf("%s/%s", pod.UID, status.Name)] = status.RestartCount
		}
	}
	return restarts
}

// waitForCluster waits until the federation says of a member that condition Ready has the status given.
func (f *fellowship) waitForCluster(t testing.TB, api *clusters.Cluster, name, status string) {
	t.Helper()
	clusters.Eventually(t, 2*time.Minute, fmt.Sprintf("cluster %s to have Ready=%s", name, status), func(ctx context.Context) (bool, error) {
		var cluster v1beta1.Cluster
		if err := api.Get(ctx, client.ObjectKey{Name: name}, &cluster); err != nil {
			return false, err
		}
		condition := meta.FindStatusCondition(cluster.Status.Conditions, "Ready")
		if condition == nil {
			return false, fmt.Errorf("cluster %s has no condition Ready yet", name)
		}
		if string(condition.Status) != status {
			return false, fmt.Errorf("cluster %s has Ready=%s: %s", name, condition.Status, condition.Message)
		}
		return true, nil
	})
}

// keep runs the keeper now.
func (f *fellowship) keep(t testing.TB) {
	t.Helper()
	job := f.name + "-keeper-now"
	f.kubectl(t, "delete", "job", job, "--ignore-not-found")
	f.kubectl(t, "create", "job", job, "--from=cronjob/"+f.name+"-keeper")
	f.waitForJob(t, job)
	t.Logf("keeper:\n%s", f.kubectl(t, "logs", "job/"+job))
	f.kubectl(t, "delete", "job", job)
}

func (f *fellowship) waitForJob(t testing.TB, name string) {
	t.Helper()
	clusters.Eventually(t, 4*time.Minute, "Job "+name+" to succeed", func(ctx context.Context) (bool, error) {
		var job batchv1.Job
		if err := f.host.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: name}, &job); err != nil {
			return false, err
		}
		if job.Status.Failed > 0 {
			return false, fmt.Errorf("Job %s has %d failed pods", name, job.Status.Failed)
		}
		return job.Status.Succeeded > 0, nil
	})
}

// unjoinAll uninstalls the members that are left, and so what they have in other clusters; all that a control plane has is in its namespace.
func (f *fellowship) unjoinAll(t testing.TB) {
	t.Helper()
	var stored corev1.SecretList
	require.NoError(t, f.host.List(context.Background(), &stored, client.InNamespace(f.namespace), client.MatchingLabels{"owner": "helm"}))
	for _, secret := range stored.Items {
		// Once for each release, of which there is a Secret for each revision.
		if release := secret.Labels["name"]; release != f.name {
			if out, err := f.run(t, "uninstall", release, "--ignore-not-found", "--wait", "--timeout", "2m"); err != nil {
				t.Logf("uninstall %s: %v\n%s", release, err, out)
			}
		}
	}
}

// explain logs what a person would look at first.
func (f *fellowship) explain(t testing.TB) {
	t.Helper()
	for _, args := range [][]string{
		{"get", "pods,jobs,pvc,svc", "-o", "wide"},
		{"get", "events", "--sort-by=.lastTimestamp"},
		{"logs", "-l", "app.kubernetes.io/name=federation-control-plane", "--all-containers", "--prefix", "--tail=15"},
		{"logs", "-l", "app.kubernetes.io/name=federation-member", "--all-containers", "--prefix", "--tail=25"},
	} {
		out, err := f.host.Run(t, "kubectl", append([]string{"--namespace", f.namespace}, args...)...)
		t.Logf("%s (%v)\n%s", strings.Join(args, " "), err, out)
	}
}

// waitForRollouts waits until every Deployment of the control plane runs what it is told to.
func (f *fellowship) waitForRollouts(t testing.TB) {
	t.Helper()
	clusters.Eventually(t, 3*time.Minute, "the control plane to be rolled out", func(ctx context.Context) (bool, error) {
		var deployments appsv1.DeploymentList
		if err := f.host.List(ctx, &deployments, client.InNamespace(f.namespace)); err != nil {
			return false, err
		}
		for _, d := range deployments.Items {
			if s := d.Status; s.ObservedGeneration < d.Generation || s.UpdatedReplicas < *d.Spec.Replicas || s.AvailableReplicas < *d.Spec.Replicas || s.Replicas != *d.Spec.Replicas {
				return false, fmt.Errorf("Deployment %s has %d of %d replicas updated and %d available", d.Name, s.UpdatedReplicas, *d.Spec.Replicas, s.AvailableReplicas)
			}
		}
		return true, nil
	})
}

// write writes text to a file of the test's, and gives its path.
func (f *fellowship) write(t testing.TB, text string) string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "*.yaml")
	require.NoError(t, err)
	_, err = file.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	return file.Name()
}
