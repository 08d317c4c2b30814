//go:build e2e

package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/matrix"
)

// helmVersions are the programs of both major versions of Helm, or the one given outside of the long tests: each chart's lifecycle is tried
// with one of them then.
func helmVersions(short string) []string {
	if matrix.Whole() {
		return []string{"helm", "helm4"}
	}
	return []string{short}
}

func TestControlPlaneLifecycle(t *testing.T) {
	for _, helm := range helmVersions("helm") {
		t.Run(helm, func(t *testing.T) {
			f := newFellowship(t, helm)
			before := f.host.TakeSnapshot(t)

			f.install(t)
			api := f.api(t)
			// What etcd holds and what the administrator holds must outlive every change of the release.
			require.NoError(t, api.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "ring"}}))
			authority := f.secret(t, "fellowship-ca").Data["tls.crt"]
			requireKept := func(t *testing.T) {
				t.Helper()
				require.NoError(t, api.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "ring"}, &corev1.ConfigMap{}), "the kubeconfig or the data did not outlive the change")
				require.Equal(t, authority, f.secret(t, "fellowship-ca").Data["tls.crt"], "the CA was replaced")
			}

			t.Run("an upgrade with no change touches no Secret and no pod", func(t *testing.T) {
				secrets, pods := f.secretVersions(t), f.pods(t)
				f.install(t)
				require.Equal(t, secrets, f.secretVersions(t))
				require.Equal(t, pods, f.pods(t))
				requireKept(t)
			})
			t.Run("an upgrade with a change rolls what it concerns", func(t *testing.T) {
				f.install(t, "--set", "apiServer.argOverrides.v=1", "--set", "apiServer.certificateSANs={federation.example.com}")
				f.waitForRollouts(t)
				require.Contains(t, f.kubectl(t, "get", "deployment", "fellowship-apiserver", "-o", "yaml"), "--v=1")
				requireKept(t)
			})
			t.Run("a rollback goes back", func(t *testing.T) {
				f.must(t, "rollback", f.name, "1", "--wait", "--timeout", "4m")
				f.waitForRollouts(t)
				require.NotContains(t, f.kubectl(t, "get", "deployment", "fellowship-apiserver", "-o", "yaml"), "--v=1")
				requireKept(t)
			})
			t.Run("a sync applies everything and runs the hooks again, and changes nothing", func(t *testing.T) {
				f.sync(t, f.name, clusters.ControlPlaneChart, "--set", keeperAtRest) // takes the fields over from Helm, whose version 4 has them back only by force
				secrets, pods := f.secretVersions(t), f.pods(t)
				f.sync(t, f.name, clusters.ControlPlaneChart, "--set", keeperAtRest)
				require.Equal(t, secrets, f.secretVersions(t))
				require.Equal(t, pods, f.pods(t))
				requireKept(t)
			})
			t.Run("helm test finds it well", func(t *testing.T) {
				require.Contains(t, f.must(t, "test", f.name), "fellowship")
			})
			t.Run("uninstalled, it leaves nothing", func(t *testing.T) {
				f.uninstall(t, f.name)
				f.host.RequireUnchanged(t, before)
			})
			t.Run("installed again in the same namespace, it works", func(t *testing.T) {
				matrix.WholeOnly(t, "so does what mends a failed install")
				f.install(t)
				require.NoError(t, f.api(t).Get(t.Context(), client.ObjectKey{Name: "default"}, &corev1.Namespace{}))
				f.uninstall(t, f.name)
				f.host.RequireUnchanged(t, before)
			})
			t.Run("an install that failed is mended by the next", func(t *testing.T) {
				out, err := f.run(t, "install", f.name, clusters.ControlPlaneChart, "--wait", "--timeout", "20s", "--set", "apiServer.image.tag=none")
				require.Error(t, err, out)
				f.install(t)
				require.NoError(t, f.api(t).Get(t.Context(), client.ObjectKey{Name: "default"}, &corev1.Namespace{}))
				f.uninstall(t, f.name)
				f.host.RequireUnchanged(t, before)
			})
			t.Run("an install that failed is uninstalled whole", func(t *testing.T) {
				matrix.WholeOnly(t, "a failed install, as the one before")
				out, err := f.run(t, "install", f.name, clusters.ControlPlaneChart, "--wait", "--timeout", "20s", "--set", "apiServer.image.tag=none")
				require.Error(t, err, out)
				f.uninstall(t, f.name)
				f.host.RequireUnchanged(t, before)
			})
		})
	}
}

func TestMemberLifecycle(t *testing.T) {
	for _, helm := range helmVersions("helm4") {
		t.Run(helm, func(t *testing.T) {
			f := newFellowship(t, helm)
			gondor := clusters.Open(t, clusters.Gondor)
			memberBefore := gondor.TakeSnapshot(t)
			f.install(t)
			hostBefore := f.host.TakeSnapshot(t)
			api := f.api(t)

			f.join(t, gondor)
			f.waitForCluster(t, api, "gondor", "True")
			token := f.secret(t, "gondor-federation-credentials").Data["token"]

			t.Run("an upgrade with no change touches no Secret, in host or member", func(t *testing.T) {
				secrets, memberSecrets := f.secretVersions(t), clusters.ResourceVersions(t, gondor, v1beta1.NamespaceFederationSystem, &corev1.SecretList{})
				f.join(t, gondor)
				require.Equal(t, secrets, f.secretVersions(t))
				require.Equal(t, memberSecrets, clusters.ResourceVersions(t, gondor, v1beta1.NamespaceFederationSystem, &corev1.SecretList{}))
			})
			t.Run("a sync changes nothing", func(t *testing.T) {
				f.sync(t, "gondor", clusters.MemberChart, "--set-file", "credentials.kubeconfig="+gondor.Kubeconfig)
				secrets := f.secretVersions(t)
				f.sync(t, "gondor", clusters.MemberChart, "--set-file", "credentials.kubeconfig="+gondor.Kubeconfig)
				require.Equal(t, secrets, f.secretVersions(t))
			})
			t.Run("an upgrade with a change reaches the Cluster", func(t *testing.T) {
				f.join(t, gondor, "--set", "labels.environment=test", "--set", "region=beleriand")
				var cluster v1beta1.Cluster
				require.NoError(t, api.Get(t.Context(), client.ObjectKey{Name: "gondor"}, &cluster))
				require.Equal(t, "test", cluster.Labels["environment"])
				require.Equal(t, "beleriand", cluster.Spec.Region)
			})
			t.Run("a rollback goes back", func(t *testing.T) {
				f.must(t, "rollback", "gondor", "1", "--wait", "--timeout", "4m")
				var cluster v1beta1.Cluster
				require.NoError(t, api.Get(t.Context(), client.ObjectKey{Name: "gondor"}, &cluster))
				require.NotContains(t, cluster.Labels, "environment")
				require.Empty(t, cluster.Spec.Region)
				require.Equal(t, token, f.secret(t, "gondor-federation-credentials").Data["token"])
			})
			t.Run("uninstalled, it leaves nothing in host, member or federation", func(t *testing.T) {
				f.uninstall(t, "gondor")
				var list v1beta1.ClusterList
				require.NoError(t, api.List(t.Context(), &list))
				require.Empty(t, list.Items)
				f.host.RequireUnchanged(t, hostBefore)
				gondor.RequireUnchanged(t, memberBefore)
			})
			t.Run("joined again, it works", func(t *testing.T) {
				matrix.WholeOnly(t, "so does what mends a failed join")
				f.join(t, gondor)
				f.waitForCluster(t, api, "gondor", "True")
				f.uninstall(t, "gondor")
				f.host.RequireUnchanged(t, hostBefore)
				gondor.RequireUnchanged(t, memberBefore)
			})
			t.Run("a join that failed is mended by the next", func(t *testing.T) {
				out, err := f.run(t, "install", "gondor", clusters.MemberChart, "--timeout", "2m", "--set", "hooks.backoffLimit=0",
					"--set-file", "credentials.kubeconfig="+gondor.Kubeconfig, "--set", "credentials.context=mordor")
				require.Error(t, err, out)
				require.Contains(t, out, "it has: gondor; set credentials.context")
				f.join(t, gondor)
				f.waitForCluster(t, api, "gondor", "True")
				f.uninstall(t, "gondor")
				f.host.RequireUnchanged(t, hostBefore)
				gondor.RequireUnchanged(t, memberBefore)
			})
			t.Run("a join that failed is uninstalled whole", func(t *testing.T) {
				matrix.WholeOnly(t, "a failed join, as the one before")
				out, err := f.run(t, "install", "gondor", clusters.MemberChart, "--timeout", "2m", "--set", "hooks.backoffLimit=0",
					"--set-file", "credentials.kubeconfig="+gondor.Kubeconfig, "--set", "credentials.context=mordor")
				require.Error(t, err, out)
				f.uninstall(t, "gondor")
				f.host.RequireUnchanged(t, hostBefore)
				gondor.RequireUnchanged(t, memberBefore)
			})
			t.Run("the control plane's uninstall lets go who is still joined", func(t *testing.T) {
				f.join(t, gondor)
				f.uninstall(t, f.name)
				gondor.RequireUnchanged(t, memberBefore)
				f.uninstall(t, "gondor")
			})
		})
	}
}

// sync does what Argo CD does: renders the chart without a cluster, and applies the hooks of each phase and the objects between them, in their order.
func (f *fellowship) sync(t *testing.T, release, chart string, args ...string) {
	t.Helper()
	rendered := f.must(t, append([]string{"template", release, chart}, args...)...)
	phases := map[string][]string{}
	for _, document := range strings.Split(rendered, "\n---\n") {
		phase := "release"
		for line := range strings.Lines(document) {
			if _, hook, found := strings.Cut(line, "helm.sh/hook: "); found {
				phase = strings.TrimSpace(hook)
			}
		}
		phases[phase] = append(phases[phase], document)
	}
	for _, phase := range []string{"pre-install,pre-upgrade,pre-rollback", "release", "post-install,post-upgrade,post-rollback"} {
		documents := f.write(t, strings.Join(phases[phase], "\n---\n"))
		if phase == "release" {
			f.kubectl(t, "apply", "--server-side", "--force-conflicts", "-f", documents)
			f.waitForRollouts(t)
			continue
		}
		if len(phases[phase]) == 0 {
			continue
		}
		f.kubectl(t, "delete", "--ignore-not-found", "-f", documents)
		f.kubectl(t, "create", "-f", documents)
		var created struct {
			Items []struct {
				Kind     string
				Metadata struct{ Name string }
			}
		}
		require.NoError(t, json.Unmarshal([]byte(f.kubectl(t, "get", "-f", documents, "-o", "json")), &created))
		for _, object := range created.Items {
			if object.Kind == "Job" {
				f.waitForJob(t, object.Metadata.Name)
			}
		}
		f.kubectl(t, "delete", "-f", documents)
	}
}
