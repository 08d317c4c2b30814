package controlplane

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fedhelm/fedhelm/pkg/pki"
	"github.com/fedhelm/fedhelm/pkg/values"
)

func TestTable(t *testing.T) {
	h := Hook{Federation: "fellowship", Namespace: "shire", Values: values.DefaultControlPlane()}
	h.Values.ClusterDomain = "middle.earth."
	h.Values.APIServer.CertificateSANs = []string{"api.example", "localhost"}
	var masters []string
	rows := map[string]pki.Leaf{}
	for _, row := range h.leaves([]string{"192.0.2.1", "api.example"}) {
		require.NotContains(t, rows, row.Name)
		require.Contains(t, h.authorities(), row.Authority)
		require.Equal(t, slices.Contains(row.Usages, pki.Server[0]), len(row.Names) > 0, "%s: servers have names, clients none", row.Name)
		rows[row.Name] = row
		if slices.Contains(row.Organizations, mastersGroup) {
			masters = append(masters, row.Name)
		}
	}
	require.Equal(t, []string{"bootstrap"}, masters, "nobody else is beyond RBAC")
	require.Equal(t, []string{
		"fellowship-apiserver", "fellowship-apiserver.shire", "fellowship-apiserver.shire.svc", "fellowship-apiserver.shire.svc.middle.earth",
		"localhost", "127.0.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.middle.earth", "api.example", "192.0.2.1",
	}, rows["apiserver-tls"].Names)
	require.Contains(t, rows["etcd-peer"].Names, "*.fellowship-etcd.shire.svc.middle.earth")
	for _, row := range rows {
		if row.Authority == authorityOfEtcd {
			require.Contains(t, []string{"apiserver-etcd-client", "etcd-tls", "etcd-peer"}, row.Name, "no client of the API gets into etcd")
		}
	}
	require.Contains(t, rows["dns-etcd-tls"].Names, "fellowship-dns-etcd.shire.svc")
	for _, name := range []string{"dns-etcd-tls", "dns-etcd-client"} {
		require.Equal(t, authorityOfDNS, rows[name].Authority, "the DNS's etcd is the DNS's alone")
	}
	cas, keys, leaves := Components()
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(slices.Concat(cas, []string{keys}, leaves)))), 17)
	for provider, own := range map[string]int{"coredns": 17, "aws-route53": 14, "none": 14} {
		h.Values.DNS.Provider = provider
		require.Equal(t, own, len(h.authorities())+1+len(h.leaves(nil)), provider)
	}

	h.Values.DNS.Provider = "none"
	h.Values.Etcd.External.Servers = []string{"http://etcd:2379"}
	for _, component := range h.authorities() {
		require.False(t, OfEtcd(component), component)
	}
	for _, row := range h.leaves(nil) {
		require.False(t, OfEtcd(row.Name), row.Name)
	}
	require.Equal(t, 10, len(h.authorities())+1+len(h.leaves(nil)), "with neither an etcd nor a DNS of its own")
}

func TestAddressOfServer(t *testing.T) {
	require.Equal(t, "https://192.0.2.1:443", at("192.0.2.1", 443))
	require.Equal(t, "https://[2001:db8::1]:30443", at("2001:db8::1", 30443))
}
