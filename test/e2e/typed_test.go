//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/clusterdns"
	"github.com/fedhelm/fedhelm/test/clusters"
)

// person types commands: with a home of her own, in the folder of the repository.
type person struct {
	home string
}

// newPerson gives somebody whose ~/.kube/config leads to the clusters named. The first is the current context.
func newPerson(t *testing.T, names ...string) person {
	t.Helper()
	var files []string
	for _, name := range names {
		files = append(files, clusters.Open(t, name).Kubeconfig)
	}
	config, err := (&clientcmd.ClientConfigLoadingRules{Precedence: files}).Load()
	require.NoError(t, err)
	home := t.TempDir()
	require.NoError(t, clientcmd.WriteToFile(*config, filepath.Join(home, ".kube", "config")))
	return person{home}
}

// types runs a command as it stands, and gives what it prints. The test fails if it does.
func (p person) types(t *testing.T, command string) string {
	t.Helper()
	shell := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", command)
	shell.Dir = clusters.Root()
	shell.Env = []string{"HOME=" + p.home, "PATH=" + clusters.BinaryDir() + ":" + os.Getenv("PATH")}
	out, err := shell.CombinedOutput()
	t.Logf("$ %s\n%s", command, out)
	require.NoError(t, err, command)
	return string(out)
}

// TestCommandsAsTyped types the README's commands as they stand, with no namespace and no values.
func TestCommandsAsTyped(t *testing.T) {
	host, gondor := clusters.Open(t, clusters.Host), clusters.Open(t, clusters.Gondor)
	before, memberBefore := host.TakeSnapshot(t), gondor.TakeSnapshot(t)
	p := newPerson(t, clusters.Host)
	t.Cleanup(func() {
		for _, release := range []string{"gondor", "fellowship"} {
			_, _ = host.Run(t, "helm", "--namespace", "default", "uninstall", release, "--ignore-not-found")
		}
	})
	kubeconfig, err := os.ReadFile(gondor.Kubeconfig)
	require.NoError(t, err)
	file := filepath.Join(p.home, "gondor.kubeconfig")
	require.NoError(t, os.WriteFile(file, kubeconfig, 0o600))

	p.types(t, "helm install fellowship charts/federation-control-plane")
	p.types(t, "kubectl create secret generic gondor-kubeconfig --from-file=kubeconfig="+file)
	p.types(t, "helm install gondor charts/federation-member")
	// The README's lines, in a folder where they may leave their files.
	p.types(t, `cd ~
(umask 077
kubectl get secret fellowship-kubeconfig -o jsonpath='{.data.kubeconfig}' | base64 -d > fellowship.kubeconfig &&
KUBECONFIG=~/.kube/config:fellowship.kubeconfig kubectl config view --flatten > merged.kubeconfig) && mv merged.kubeconfig ~/.kube/config`)
	require.Contains(t, p.types(t, "kubectl get namespace --context=fellowship"), "default")
	require.Regexp(t, `(?s)NAME +STATUS +VERSION +REGION +AGE\s+gondor +Ready +v1\.\d+\.\d+ +south`, p.types(t, "kubectl get clusters --context=fellowship"))
	p.types(t, "helm test fellowship")
	p.types(t, "helm uninstall gondor")
	p.types(t, "helm uninstall fellowship")
	p.types(t, "kubectl delete secret gondor-kubeconfig")
	host.RequireUnchanged(t, before)
	gondor.RequireUnchanged(t, memberBefore)
}

// TestDeleteNamespace goes v1's way out: it leaves nothing in the host cluster, and in the member what the README says it skips.
func TestDeleteNamespace(t *testing.T) {
	host := clusters.Open(t, clusters.Host)
	before := host.TakeSnapshot(t)
	require.NoError(t, host.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "federation-system"}}))
	f := &fellowship{host: host, name: "fellowship", namespace: "federation-system", helm: "helm"}
	t.Cleanup(func() { host.DeleteNamespace(t, f.namespace, 2*time.Minute) })
	gondor := clusters.Open(t, clusters.Gondor)
	memberBefore := gondor.TakeSnapshot(t)
	f.install(t)
	f.join(t, gondor)

	host.Kubectl(t, "delete", "namespace", "federation-system", "--timeout=3m")
	host.RequireUnchanged(t, before)

	left := memberBefore.Differences(gondor.TakeSnapshot(t))
	require.NotEmpty(t, left, "deleting the namespace runs no hook, so the member keeps the federation's account")
	gondor.Kubectl(t, "delete", "namespace", "federation-system")
	gondor.Kubectl(t, "delete", "clusterrole", "federation-controller-manager:fellowship-gondor-fellowship")
	gondor.Kubectl(t, "delete", "clusterrolebinding", "federation-controller-manager:fellowship-gondor-fellowship", "--ignore-not-found")
	restoreCoreDNS(t, gondor)
	gondor.RequireUnchanged(t, memberBefore)
}

// restoreCoreDNS takes the federation's block out of the Corefile, as somebody would by hand.
func restoreCoreDNS(t *testing.T, member *clusters.Cluster) {
	t.Helper()
	var config corev1.ConfigMap
	require.NoError(t, member.Get(t.Context(), client.ObjectKey{Namespace: "kube-system", Name: "coredns"}, &config))
	corefile, err := clusterdns.RemoveBlock(config.Data["Corefile"], "fellowship")
	require.NoError(t, err)
	config.Data["Corefile"] = corefile
	require.NoError(t, member.Update(t.Context(), &config))
}
