//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/matrix"
)

// TestHelmfile has Helmfile make the federation of examples/helmfile from nothing, make it again with no change, and destroy it. Helmfile drives either version of Helm.
func TestHelmfile(t *testing.T) {
	matrix.WholeOnly(t, "Helmfile takes long to build, and the lifecycles do what it has Helm do")
	require.FileExists(t, filepath.Join(clusters.BinaryDir(), "helmfile"), "run scripts/build-tools helmfile")
	for _, helm := range helmVersions("helm") {
		t.Run(helm, func(t *testing.T) {
			f := &fellowship{host: clusters.Open(t, clusters.Host), name: "fellowship", namespace: v1beta1.NamespaceFederationSystem, helm: helm}
			members := []*clusters.Cluster{clusters.Open(t, clusters.Gondor), clusters.Open(t, clusters.Shire)}
			require.Empty(t, f.host.Kubectl(t, "get", "namespace", f.namespace, "--ignore-not-found"), "the example is installed in this namespace: if nobody needs it, delete it")
			t.Cleanup(func() {
				if t.Failed() {
					f.explain(t)
				}
				f.unjoinAll(t)
				f.host.DeleteNamespace(t, f.namespace, 2*time.Minute)
			})
			p := newPerson(t, clusters.Host, clusters.Gondor, clusters.Shire)
			const file = "examples/helmfile/helmfile.yaml"
			helmfile := "helmfile --helm-binary=" + helm + " --file=" + file

			for _, command := range commandsBefore(t, file) {
				p.types(t, command)
			}
			f.host.Kubectl(t, "label", "namespace", f.namespace, "name="+f.namespace) // as Helm 4's --create-namespace does with one that is there
			before := f.host.TakeSnapshot(t)
			var membersBefore []clusters.Snapshot
			for _, member := range members {
				membersBefore = append(membersBefore, member.TakeSnapshot(t))
			}

			p.types(t, helmfile+" sync")
			f.waitForRollouts(t)
			api := f.api(t)
			for _, member := range members {
				f.waitForCluster(t, api, member.Name, "True")
			}

			// Made again, nothing changes: no Secret but Helm's own, no pod, and nothing that a diff would show.
			secrets, pods, inMembers := f.secretVersions(t), f.pods(t), secretsInMembers(t, members...)
			p.types(t, helmfile+" sync")
			f.waitForRollouts(t)
			require.Equal(t, secrets, f.secretVersions(t))
			require.Equal(t, pods, f.pods(t))
			require.Equal(t, inMembers, secretsInMembers(t, members...))
			for _, release := range []string{f.name, clusters.Gondor, clusters.Shire} {
				p.requireNoDiff(t, helmfile, helm+" --namespace="+f.namespace, release)
			}
			// What the release says is what the cluster has: neither hooks nor controllers write to it. A member's objects are hooks all.
			p.types(t, helmfile+" --quiet template --selector=name=fellowship --no-hooks >~/objects.yaml")
			p.types(t, "kubectl --namespace="+f.namespace+" diff --server-side --filename="+filepath.Join(p.home, "objects.yaml"))

			p.types(t, helmfile+" destroy")
			f.host.RequireUnchanged(t, before)
			for i, member := range members {
				member.RequireUnchanged(t, membersBefore[i])
			}
		})
	}
}

// commandsBefore gives the commands that the comment at the top of a generated file asks for.
func commandsBefore(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(clusters.Root(), file))
	require.NoError(t, err)
	var commands []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		if command, found := strings.CutPrefix(line, "#   "); found {
			commands = append(commands, command)
		}
	}
	require.NotEmpty(t, commands, "%s names no command that makes its Secrets", file)
	return commands
}

// requireNoDiff compares what Helm holds of a release with what an upgrade would make of it, hooks and all, as the plugin helm-diff does, but byte by byte.
func (p person) requireNoDiff(t *testing.T, helmfile, helm, release string) {
	t.Helper()
	p.types(t, helmfile+" --quiet template --selector=name="+release+" >~/rendered.yaml")
	p.types(t, "{ "+helm+" get manifest "+release+" && "+helm+" get hooks "+release+"; } >~/installed.yaml")
	p.types(t, "grep --quiet kind: ~/installed.yaml && diff --unified --ignore-blank-lines ~/installed.yaml ~/rendered.yaml")
}

// secretsInMembers gives the resource versions of the Secrets that the federation has in members.
func secretsInMembers(t *testing.T, members ...*clusters.Cluster) []map[string]string {
	t.Helper()
	var versions []map[string]string
	for _, member := range members {
		versions = append(versions, clusters.ResourceVersions(t, member, v1beta1.NamespaceFederationSystem, &corev1.SecretList{}))
	}
	return versions
}

// TestManySyncs syncs both charts twenty times as Argo CD does, each Application by itself. A Secret or a pod that only one of the syncs made anew would show at the end.
func TestManySyncs(t *testing.T) {
	matrix.WholeOnly(t, "the lifecycles sync twice")
	f := newFellowship(t, "helm")
	gondor := clusters.Open(t, clusters.Gondor)
	f.install(t)
	f.join(t, gondor)
	syncs := map[string]func(*testing.T){
		f.name: func(t *testing.T) { f.sync(t, f.name, clusters.ControlPlaneChart, "--set", keeperAtRest) },
		gondor.Name: func(t *testing.T) {
			f.sync(t, gondor.Name, clusters.MemberChart, "--set-file", "credentials.kubeconfig="+gondor.Kubeconfig)
		},
	}
	for _, sync := range syncs {
		sync(t) // takes the fields over from Helm
	}
	secrets, pods, inMember := f.secretVersions(t), f.pods(t), secretsInMembers(t, gondor)

	t.Run("at once", func(t *testing.T) {
		for release, sync := range syncs {
			t.Run(release, func(t *testing.T) {
				t.Parallel()
				for range 20 {
					sync(t)
				}
			})
		}
	})
	require.Equal(t, secrets, f.secretVersions(t))
	require.Equal(t, pods, f.pods(t))
	require.Equal(t, inMember, secretsInMembers(t, gondor))
	f.waitForCluster(t, f.api(t), gondor.Name, "True")
	require.Contains(t, f.must(t, "test", f.name), gondor.Name)
}
