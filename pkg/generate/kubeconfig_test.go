package generate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/fedhelm/fedhelm/pkg/pki"
)

const secretToken = "a-token-nobody-may-see"

// kubeconfig writes one with contexts rivendell, gondor and shire-context, changed, and gives its path.
func kubeconfig(t *testing.T, change func(*clientcmdapi.Config)) string {
	t.Helper()
	ca, err := pki.NewAuthority("test", time.Now())
	require.NoError(t, err)
	config := clientcmdapi.NewConfig()
	config.CurrentContext = "rivendell"
	for _, name := range []string{"rivendell", "gondor", "shire-context"} {
		config.Clusters[name] = &clientcmdapi.Cluster{Server: "https://" + name + ".example:6443", CertificateAuthorityData: ca.Pair().Certificate}
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: secretToken}
		config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	}
	if change != nil {
		change(config)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(*config, path))
	return path
}

func fellowship(path string, members ...Member) Federation {
	return Federation{Name: "fellowship", Namespace: "federation-system", HostContext: "rivendell", Kubeconfig: path, Members: members}
}

func TestFromKubeconfig(t *testing.T) {
	charts := repository(t)
	// A CA in a file beside the kubeconfig is good: kubectl reads it in.
	path := kubeconfig(t, func(c *clientcmdapi.Config) {
		ca := filepath.Join(t.TempDir(), "ca.crt")
		require.NoError(t, os.WriteFile(ca, c.Clusters["gondor"].CertificateAuthorityData, 0o600))
		c.Clusters["gondor"].CertificateAuthorityData, c.Clusters["gondor"].CertificateAuthority = nil, ca
		c.Clusters["shire-context"].Server = "https://127.0.0.1:6443"
		c.AuthInfos["rivendell"] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{Command: "login", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: "Never"}} // Helm runs where the plugin is
	})
	p, err := FromKubeconfig(fellowship(path, Member{Name: "gondor", Context: "gondor"}, Member{Name: "shire", Context: "shire-context", Server: "https://10.0.0.9:6443"}, Member{Name: "rivendell", Context: "rivendell"}))
	require.NoError(t, err)
	assert.Empty(t, p.Warnings)
	for name, write := range map[string]func() ([]File, error){
		"helmfile": func() ([]File, error) { return p.Helmfile(charts) },
		"values":   func() ([]File, error) { return p.ValuesFiles(charts, "") },
		"argocd":   func() ([]File, error) { return p.Applications(charts, ArgoCD{}) },
	} {
		files, err := write()
		require.NoError(t, err)
		var text strings.Builder
		for _, file := range files {
			text.WriteString("==> " + file.Name + "\n" + strings.ReplaceAll(string(file.Text), path, "/home/frodo/kubeconfig"))
		}
		assert.NotContains(t, text.String(), secretToken)
		golden(t, "testdata/kubeconfig."+name+".txt", text.String())
	}

	current := fellowship(path, Member{Name: "gondor", Context: "gondor"})
	current.HostContext = ""
	p, err = FromKubeconfig(current)
	require.NoError(t, err)
	assert.Equal(t, "rivendell", p.Releases[0].Context)
}

func TestFromKubeconfigRefuses(t *testing.T) {
	gondor := Member{Name: "gondor", Context: "gondor"}
	for name, test := range map[string]struct {
		change     func(*clientcmdapi.Config)
		federation func(*Federation)
		says       string
	}{
		"no such host": {federation: func(f *Federation) { f.HostContext = "mordor" },
			says: `has no context "mordor" for the host cluster, it has: gondor, rivendell, shire-context; give --host-context=CONTEXT`},
		"no current context": {change: func(c *clientcmdapi.Config) { c.CurrentContext = "" }, federation: func(f *Federation) { f.HostContext = "" }, says: "has no current context: name the host cluster's with --host-context"},
		"no such member":     {federation: func(f *Federation) { f.Members[0].Context = "mordor" }, says: `has no context "mordor" for member gondor, it has: gondor, rivendell, shire-context; give --member=gondor=CONTEXT`},
		"a member twice":     {federation: func(f *Federation) { f.Members = append(f.Members, gondor) }, says: "member gondor is named twice"},
		"a name":             {federation: func(f *Federation) { f.Name = "Fellow" }, says: `the federation name "Fellow" is no RFC 1035 label`},
		"a member's name":    {federation: func(f *Federation) { f.Members[0].Name = "gondor_2" }, says: `the cluster name "gondor_2" is no RFC 1035 label`},
		"no kubeconfig":      {federation: func(f *Federation) { f.Kubeconfig = "/nowhere" }, says: "read the kubeconfig: stat /nowhere: no such file or directory; name another with --kubeconfig"},
		"an exec plugin": {change: func(c *clientcmdapi.Config) {
			c.AuthInfos["gondor"] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{Command: "login", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: "Never"}}
		}, says: "member gondor: context gondor of the kubeconfig in KUBECONFIG logs in with an exec plugin, which fedhook does not have"},
		"a loopback address": {change: func(c *clientcmdapi.Config) { c.Clusters["gondor"].Server = "https://127.0.0.1:6443" }, says: "give server=https://host:port"},
		"a file that is gone": {change: func(c *clientcmdapi.Config) {
			c.Clusters["gondor"].CertificateAuthorityData, c.Clusters["gondor"].CertificateAuthority = nil, "/nowhere"
		}, says: "flatten context gondor of the kubeconfig in KUBECONFIG: open /nowhere"},
		"a user that is gone": {change: func(c *clientcmdapi.Config) { delete(c.AuthInfos, "gondor") }, says: "cannot locate user gondor"},
	} {
		t.Run(name, func(t *testing.T) {
			path := kubeconfig(t, test.change)
			f := fellowship(path, gondor)
			if test.federation != nil {
				test.federation(&f)
			}
			_, err := FromKubeconfig(f)
			require.Error(t, err)
			said := strings.ReplaceAll(err.Error(), path, "KUBECONFIG")
			assert.Contains(t, said, test.says)
			assert.NotContains(t, said, secretToken)
			assert.NotContains(t, said, "\n")
		})
	}
}

// The contexts of kubefed's command lines are looked for in a kubeconfig that is given.
func TestCheckContexts(t *testing.T) {
	path := kubeconfig(t, func(c *clientcmdapi.Config) {
		c.AuthInfos["shire-context"] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{Command: "login", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: "Never"}}
	})
	for script, want := range map[string]string{
		"kubefed init a" + rivendell + "\nkubefed join gondor --host-cluster-context=rivendell\nkubefed join rivendell --host-cluster-context=rivendell": "",
		"kubefed unjoin mordor --host-cluster-context=rivendell":                              "",
		"kubefed init a --host-cluster-context=mordor":                                        `has no context "mordor" for the host cluster of ` + "`kubefed init a` (init.sh:1)",
		"kubefed join mordor --host-cluster-context=rivendell":                                `has no context "mordor" for member mordor`,
		"kubefed join shire --host-cluster-context=rivendell --cluster-context=shire-context": "logs in with an exec plugin",
	} {
		err := planned(t, script).CheckContexts(path)
		if want == "" {
			assert.NoError(t, err, script)
		} else {
			assert.ErrorContains(t, err, want, script)
		}
	}
	assert.ErrorContains(t, planned(t, "kubefed init a").CheckContexts("/nowhere"), "read the kubeconfig")
}
