//go:build e2e

// Package bench measures both charts and fedhook on real clusters. Times are compared, pair by pair, with a floor that is measured in the same run.
package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/measure"
)

const (
	// runs of each side that count, after one that warms up.
	runs = 5
	// mostTimesFloor is the goal of both comparisons.
	mostTimesFloor = 1.5
	federation     = "fellowship"
)

// TestMain runs the benchmarks and reports what they found.
func TestMain(m *testing.M) { os.Exit(measure.Main(m)) }

// pairs measures both sides in turns, each time in a namespace of its own, and reports them and their ratio.
func pairs(t *testing.T, section, name, floorName string, side, floor func(*testing.T) float64) {
	t.Helper()
	var times, floors []float64
	for run := range 1 + runs {
		for _, s := range []struct {
			name    string
			measure func(*testing.T) float64
			times   *[]float64
		}{{name, side, &times}, {floorName, floor, &floors}} {
			require.True(t, t.Run(fmt.Sprintf("%d %s", run, s.name), func(t *testing.T) {
				took := s.measure(t)
				t.Logf("took %.2fs", took)
				if run > 0 {
					*s.times = append(*s.times, took)
				}
			}))
		}
	}
	measure.Compare(section, measure.Figure{Name: name, Unit: " s", Values: times}, measure.Figure{Name: floorName, Unit: " s", Values: floors}, mostTimesFloor)
}

const ownMemory = "of it the process's own, without its program's file"

// TestInstall compares installing the control plane with applying plain manifests of its etcd and kube-apiserver, whose certificates are there already.
func TestInstall(t *testing.T) {
	host := clusters.Open(t, clusters.Host)
	fedhook := build(t)
	var cpu, memory, own []float64
	pairs(t, "install", "`helm install fellowship --wait`", "plain etcd and kube-apiserver",
		func(t *testing.T) float64 {
			namespace := host.Namespace(t, "bench", nil)
			t.Cleanup(func() { helm(t, host, namespace, "uninstall", federation, "--wait") })
			return measure.Seconds(func() { installFederation(t, host, namespace) })
		},
		func(t *testing.T) float64 {
			namespace := host.Namespace(t, "bench", nil)
			certs := run(t, nil, fedhook, "certs", "--kubeconfig", host.Kubeconfig, "--namespace", namespace, "--release", federation,
				"--values", defaults(t, host, clusters.ControlPlaneChart))
			cpu, memory, own = append(cpu, certs.cpu), append(memory, certs.memory), append(own, certs.own)
			manifest := file(t, "plain.yaml", helm(t, host, namespace, "template", federation, clusters.ControlPlaneChart,
				"--show-only", "templates/etcd/*.yaml", "--show-only", "templates/apiserver/*.yaml"))
			return measure.Seconds(func() {
				host.Kubectl(t, "--namespace", namespace, "apply", "--filename", manifest)
				waitForPlain(t, host, namespace)
			})
		})
	measure.Add("fedhook", measure.Figure{Name: "`fedhook certs` from nothing, CPU", Unit: " s", Values: cpu, Goal: 1})
	measure.Add("fedhook", measure.Figure{Name: "`fedhook certs` from nothing, peak memory", Unit: " MB", Values: memory, Goal: 40})
	measure.Add("fedhook", measure.Figure{Name: ownMemory, Unit: " MB", Values: own})
}

// TestJoin compares joining a cluster, until it is Ready, with a chart whose hook does nothing; and measures fedhook join as a process of this machine.
func TestJoin(t *testing.T) {
	host, member := clusters.Open(t, clusters.Host), clusters.Open(t, clusters.Gondor)
	namespace := host.Namespace(t, "bench", nil)
	t.Cleanup(func() { helm(t, host, namespace, "uninstall", federation, "--wait") })
	installFederation(t, host, namespace)
	api := openFederation(t, host, namespace)
	nothing := chartThatDoesNothing(t, host)

	pairs(t, "join", "`helm install gondor` until Ready", "a chart whose hook does nothing",
		func(t *testing.T) float64 {
			t.Cleanup(func() { helm(t, host, namespace, "uninstall", member.Name, "--wait") })
			return measure.Seconds(func() {
				helm(t, host, namespace, "install", member.Name, clusters.MemberChart, "--set-file", "credentials.kubeconfig="+member.Kubeconfig)
				waitForReady(t, api, member.Name)
			})
		},
		func(t *testing.T) float64 {
			t.Cleanup(func() { helm(t, host, namespace, "uninstall", "nothing", "--wait") })
			return measure.Seconds(func() { helm(t, host, namespace, "install", "nothing", nothing) })
		})

	fedhook := build(t)
	host.Kubectl(t, "--namespace", namespace, "create", "secret", "generic", member.Name+"-kubeconfig", "--from-file=kubeconfig="+member.Kubeconfig)
	arguments := []string{"--kubeconfig", host.Kubeconfig, "--namespace", namespace, "--release", member.Name, "--values", defaults(t, host, clusters.MemberChart)}
	environment := []string{"HTTPS_PROXY=" + passage(t, fmt.Sprintf("%s-apiserver.%s.svc:443", federation, namespace), api.Config.Host)}
	var memory, own []float64
	for range runs {
		join := run(t, environment, fedhook, append([]string{"join"}, arguments...)...)
		memory, own = append(memory, join.memory), append(own, join.own)
		run(t, environment, fedhook, append([]string{"unjoin"}, arguments...)...)
	}
	measure.Add("fedhook", measure.Figure{Name: "`fedhook join`, peak memory", Unit: " MB", Values: memory, Goal: 40})
	measure.Add("fedhook", measure.Figure{Name: ownMemory, Unit: " MB", Values: own})
}

// TestImage measures fedhook's image.
func TestImage(t *testing.T) {
	pulled, unpacked := imageSize(t, filepath.Join(clusters.BinaryDir(), "..", "images", "fedhook.tar"))
	measure.Add("fedhook", measure.Figure{Name: "image of fedhook, as pulled", Unit: " MB", Values: []float64{pulled}, Goal: 30})
	measure.Add("fedhook", measure.Figure{Name: "image of fedhook, unpacked", Unit: " MB", Values: []float64{unpacked}, Goal: 60})
}

// installFederation installs a control plane whose keeper rests, since it would run in the middle of a measurement.
func installFederation(t *testing.T, host *clusters.Cluster, namespace string) {
	t.Helper()
	helm(t, host, namespace, "install", federation, clusters.ControlPlaneChart, "--wait", "--timeout", "4m", "--set", "keeper.schedule=0 0 1 1 *")
}

func helm(t *testing.T, host *clusters.Cluster, namespace string, args ...string) string {
	t.Helper()
	return host.Must(t, "helm", append([]string{"--namespace", namespace}, args...)...)
}

// waitForPlain waits for what helm install --wait would: etcd and kube-apiserver ready, and the Service's address.
func waitForPlain(t *testing.T, host *clusters.Cluster, namespace string) {
	t.Helper()
	clusters.Eventually(t, 4*time.Minute, "plain etcd and kube-apiserver", func(ctx context.Context) (bool, error) {
		var etcd appsv1.StatefulSet
		var apiserver appsv1.Deployment
		var service corev1.Service
		for name, object := range map[string]client.Object{"etcd": &etcd, "apiserver": &apiserver} {
			if err := host.Get(ctx, client.ObjectKey{Namespace: namespace, Name: federation + "-" + name}, object); err != nil {
				return false, err
			}
		}
		if err := host.Get(ctx, client.ObjectKeyFromObject(&apiserver), &service); err != nil {
			return false, err
		}
		return etcd.Status.ReadyReplicas == 1 && apiserver.Status.ReadyReplicas == 1 && len(service.Status.LoadBalancer.Ingress) > 0, nil
	})
}

// openFederation gives the federation's API, as its administrator reaches it.
func openFederation(t *testing.T, host *clusters.Cluster, namespace string) *clusters.Cluster {
	t.Helper()
	var secret corev1.Secret
	require.NoError(t, host.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: federation + "-kubeconfig"}, &secret))
	return clusters.FromKubeconfig(t, federation, file(t, "kubeconfig", string(secret.Data["kubeconfig"])))
}

func waitForReady(t *testing.T, api *clusters.Cluster, name string) {
	t.Helper()
	clusters.Eventually(t, 2*time.Minute, "cluster "+name+" Ready", func(ctx context.Context) (bool, error) {
		var cluster v1beta1.Cluster
		err := api.Get(ctx, client.ObjectKey{Name: name}, &cluster)
		return meta.IsStatusConditionTrue(cluster.Status.Conditions, "Ready"), err
	})
}

// defaults gives a file with a chart's default values.
func defaults(t *testing.T, host *clusters.Cluster, chart string) string {
	t.Helper()
	return file(t, "values.yaml", host.Must(t, "helm", "show", "values", chart))
}

// nothingHook has the account and the Job of fedhook's hooks, and the same pod; the Job prints fedhook's version.
const nothingHook = `apiVersion: v1
kind: ServiceAccount
metadata:
  name: nothing
  annotations: {helm.sh/hook: post-install, helm.sh/hook-weight: "-40", helm.sh/hook-delete-policy: "before-hook-creation,hook-succeeded"}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: nothing
  annotations: {helm.sh/hook: post-install, helm.sh/hook-delete-policy: "before-hook-creation,hook-succeeded"}
spec:
  template:
    spec:
      serviceAccountName: nothing
      restartPolicy: Never
      securityContext: {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: nothing
          image: ghcr.io/fedhelm/fedhook:%s
          imagePullPolicy: IfNotPresent
          args: [version]
          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
          resources: {requests: {cpu: 10m, memory: 32Mi}}
`

// chartThatDoesNothing writes the chart that a join is compared with.
func chartThatDoesNothing(t *testing.T, host *clusters.Cluster) string {
	t.Helper()
	var member struct{ AppVersion string }
	require.NoError(t, yaml.Unmarshal([]byte(host.Must(t, "helm", "show", "chart", clusters.MemberChart)), &member))
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "templates"), 0o755))
	for name, text := range map[string]string{
		"Chart.yaml":          "apiVersion: v2\nname: nothing\nversion: 0.1.0\n",
		"templates/hook.yaml": fmt.Sprintf(nothingHook, member.AppVersion),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

// file writes a file of the test's, and gives its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
