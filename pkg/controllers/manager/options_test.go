package manager

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
)

func TestBadFlags(t *testing.T) {
	needed := []string{"--kubeconfig=/nowhere", "--federation-name=fellowship", "--namespace=federation-system"}
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "--kubeconfig is missing"},
		{needed[:1], "--federation-name is missing"},
		{needed[:2], "--namespace is missing"},
		{append(needed, "--cluster-monitor-period=10ms"), "too short"},
		{append(needed, "--cluster-failure-threshold=0"), "give 1 or more"},
		{append(needed, "--cluster-success-threshold=0"), "give 1 or more"},
		{append(needed, "--controllers=balrog=false"), `--controllers names "balrog", which is unknown: known are [cluster cluster-dns configmaps `},
		{append(needed, "--controllers=cluster"), "cluster"},
		{append(needed, "--dns-provider=coredns"), "--zone-name is missing"},
		{append(needed, "--dns-provider=coredns", "--zone-name=."), "--zone-name is missing"},
		{append(needed, "--dns-provider=coredns", "--zone-name=federation..internal", "--dns-provider-config=provider.conf"), "is no DNS name"},
		{append(needed, "--dns-provider=coredns", "--zone-name=federation.internal."), "--dns-provider-config is missing"},
		{append(needed, "--dns-check-period=0s"), "too short"},
		{append(needed, "--load-balancer-resolve-period=1ms"), "too short"},
		{append(needed, "--load-balancer-resolver=dns.example.com"), "give ip:port"},
		{append(needed, "--dns-provider=none"), "kubeconfig of the federation: "},
		{append(needed, "--leader-elect-renew-deadline=15s"), "leader election's times do not fit"},
		{append(needed, "--log-format=xml"), "give json or text"},
		{append(needed, "-v=8"), "with the Secrets in them"},
		{append(needed, "argument"), "unknown command"},
		{append(needed, "--unknown"), "unknown flag"},
		{needed, "kubeconfig of the federation: "},
	} {
		t.Setenv("POD_NAMESPACE", "")
		command := NewCommand()
		command.SetArgs(append([]string{}, test.args...))
		require.ErrorContains(t, command.Execute(), test.want)
	}
}

func TestControllersFlag(t *testing.T) {
	o := defaults()
	require.True(t, o.enabled("cluster"))
	o.Controllers["cluster"], o.Controllers["secrets"] = false, false
	require.False(t, o.enabled("cluster"))
	o.Kubeconfig, o.FederationName, o.Namespace = "k", "f", "n"
	require.NoError(t, o.validate())
	for _, federated := range o.syncOptions().Types {
		require.NotEqual(t, "secrets", federated.Name())
	}
	require.Len(t, o.syncOptions().Types, len(federatedtypes.Defaults())-1)
}

func TestDNSFlags(t *testing.T) {
	o := defaults()
	require.Nil(t, o.serviceOptions().Provider)
	o.DNSProvider = "none"
	require.Nil(t, o.serviceOptions().Provider)
	o.DNSProvider, o.DNSProviderConfig = "coredns", filepath.Join(t.TempDir(), "provider.conf")
	require.True(t, o.serviceOptions().Provider.Check)
	o.DNSCheck = false
	require.False(t, o.serviceOptions().Provider.Check)
	o.Controllers["service-dns"] = false
	require.Nil(t, o.serviceOptions().Provider)
}

// A provider's configuration is another one when a file beside it is, and when one appears or goes.
func TestProviderVersion(t *testing.T) {
	folder := t.TempDir()
	config := filepath.Join(folder, "provider.conf")
	version := func() string { return filesVersion(config) }
	seen := map[string]bool{version(): true}
	for _, change := range []func() error{
		func() error { return os.WriteFile(config, []byte("[Global]"), 0o600) },
		func() error { return os.WriteFile(filepath.Join(folder, "ca.crt"), []byte("one"), 0o600) },
		func() error { return os.WriteFile(filepath.Join(folder, "ca.crt"), []byte("two"), 0o600) },
		func() error { return os.Remove(config) },
	} {
		before := version()
		require.Equal(t, before, version())
		require.NoError(t, change())
		require.False(t, seen[version()])
		seen[version()] = true
	}
}

func TestVersion(t *testing.T) {
	var out bytes.Buffer
	command := NewCommand()
	command.SetOut(&out)
	command.SetArgs([]string{"--version"})
	require.NoError(t, command.Execute())
	require.Equal(t, "federation-controller-manager version dev\n", out.String())
}
