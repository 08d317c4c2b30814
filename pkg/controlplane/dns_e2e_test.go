//go:build e2e

package controlplane

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/external-dns/endpoint"

	"github.com/fedhelm/fedhelm/pkg/dnsprovider"
	"github.com/fedhelm/fedhelm/pkg/values"
	"github.com/fedhelm/fedhelm/test/cloud"
)

// own makes a Secret as a person does.
func (r *release) own(name string, data map[string]string) {
	r.Helper()
	require.NoError(r, host.Create(r.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: name}, StringData: data}))
}

// stored is the Secret with the provider's configuration, without what marks the federation's records; nil if there is none.
func (r *release) stored() map[string]string {
	r.Helper()
	secret, found := r.secrets()[dnsProvider]
	if !found {
		return nil
	}
	all := map[string]string{}
	for key, value := range secret.Data {
		all[key] = string(value)
	}
	text, owner, marked := strings.Cut(all[dnsprovider.ConfigKey], "owner = "+fellowship+"/")
	require.True(r, marked)
	require.Len(r, owner, 13)
	all[dnsprovider.ConfigKey] = text
	return all
}

func (r *release) read(name string) *corev1.Secret {
	r.Helper()
	secret := &corev1.Secret{}
	require.NoError(r, host.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: name}, secret))
	return secret
}

func records(name string) []*endpoint.Endpoint {
	return []*endpoint.Endpoint{endpoint.NewEndpointWithTTL(name, endpoint.RecordTypeA, 180, "192.0.2.1")}
}

// Route 53 with its keys in values: the zone is checked and the configuration stored, once.
func TestDNSFromValues(t *testing.T) {
	held := cloud.NewZone("Z1MORDOR", "example.com.", false)
	server := cloud.NewRoute53(t, held)
	before := held.Text()
	r := newRelease(t)
	r.values.DNS = values.DNS{ZoneName: "Example.com", Provider: "aws-route53", Check: "strict",
		AWS: values.AWSProvider{AccessKeyID: "AKIDGANDALF", SecretAccessKey: "mellon/+=", EndpointURL: server.URL}}
	require.ErrorContains(t, r.dns(), "run `fedhook certs` first")
	require.NoError(t, r.hook("prepare", nil).Prepare(t.Context()))
	assert.Equal(t, map[string]string{dnsprovider.ConfigKey: "[Global]\naccess-key-id = AKIDGANDALF\nsecret-access-key = mellon/+=\nendpoint-url = " + server.URL + "\n"}, r.stored())
	assert.Contains(t, r.log.String(), "the DNS zone may be written")
	assert.NotContains(t, r.log.String(), "mellon")
	assert.Equal(t, before, held.Text())

	versions, asked := r.versions(), server.Of()
	require.NoError(t, r.dns())
	assert.Equal(t, versions, r.versions(), "nothing is written twice")
	assert.Greater(t, server.Of(), asked, "but the zone is looked at")
	asked = server.Of()
	require.NoError(t, r.hook("keeper", nil).ensureDNS(t.Context(), checkChanged))
	assert.Equal(t, asked, server.Of(), "not by the keeper")

	// Teardown takes the records along, and only the federation's.
	held.Put(cloud.Set{Name: "stranger.example.com.", Type: "A", TTL: 60, Values: []string{"198.51.100.1"}})
	before = held.Text()
	secret := r.secrets()[dnsProvider]
	require.NoError(t, dnsprovider.WithFiles("aws-route53", "example.com", secret.Data, func(c dnsprovider.Config) error {
		zone, err := dnsprovider.Open(t.Context(), c, "")
		require.NoError(t, err)
		_, err = zone.Sync(t.Context(), records("nginx.default.fellowship.svc.example.com"))
		return err
	}))
	require.Len(t, held.Text(), len(before)+2)
	r.values.Teardown.Strict = true
	require.NoError(t, r.teardown())
	assert.Equal(t, before, held.Text())
	server.Limit(0, cloud.ListHostedZones)
	require.ErrorContains(t, r.teardown(), "DNS records of federation fellowship may be left in zone Example.com.")
	r.values.Teardown.Strict = false
	require.NoError(t, r.teardown())

	// A provider that refuses: a warning, an error, or nothing.
	require.ErrorContains(t, r.dns(), "Throttling")
	r.values.DNS.Check = "warn"
	r.log.Reset()
	require.NoError(t, r.dns())
	assert.Contains(t, r.log.String(), "going on, since dns.check is warn")
	r.values.DNS.Check, asked = "off", server.Of()
	require.NoError(t, r.dns())
	assert.Equal(t, asked, server.Of())

	r.values.DNS = values.DNS{Provider: "none"}
	require.NoError(t, r.dns())
	assert.Nil(t, r.stored(), "without a provider there is none")
	require.NoError(t, r.dns())
}

// A Secret that somebody made: what it lacks is said, and what it has beside that stays where it is.
func TestDNSFromExistingSecret(t *testing.T) {
	r := newRelease(t)
	require.NoError(t, r.certs())
	r.values.DNS = values.DNS{ZoneName: "example.com.", Provider: "google-clouddns", Check: "warn", ExistingSecret: "own-dns"}
	require.EqualError(t, r.dns(), "Secret "+r.namespace+"/own-dns of dns.existingSecret is not there: make it with `kubectl -n "+r.namespace+" create secret generic own-dns --from-file=provider.conf=…`")
	r.own("own-dns", map[string]string{"other": "x"})
	change := func(data map[string]string) {
		secret := r.read("own-dns")
		secret.Data, secret.StringData = nil, data
		require.NoError(t, host.Update(t.Context(), secret))
	}
	require.ErrorContains(t, r.dns(), "own-dns of dns.existingSecret has no key provider.conf: put the provider's configuration there, an INI file with section [Global]")
	change(map[string]string{"provider.conf": "[Global]\nproject = x"})
	require.ErrorContains(t, r.dns(), "own-dns of dns.existingSecret: read the configuration of DNS provider google-clouddns: line 2: there is no key project: there are project-id, ")
	change(map[string]string{"provider.conf": "[Global]\ncredentials-file = key.json"})
	require.ErrorContains(t, r.dns(), "key credentials-file names file key.json, which is not there: add it to the Secret as a key")
	require.Nil(t, r.stored())
	change(map[string]string{"provider.conf": "; mine\n[Global]\nCredentials-File = key.json\n", "key.json": "{", "other": "x"})
	require.NoError(t, r.dns())
	assert.Equal(t, map[string]string{dnsprovider.ConfigKey: "[Global]\ncredentials-file = key.json\n", "key.json": "{"}, r.stored())
	assert.Contains(t, r.log.String(), "file key.json is no key of a service account")

	require.NoError(t, r.cleanup())
	assert.Equal(t, []string{"own-dns"}, slices.Sorted(maps.Keys(r.secrets())))
}

// v1's file as it is, for an etcd that is not there yet; and what cannot be.
func TestDNSFromConfig(t *testing.T) {
	r := newRelease(t)
	require.NoError(t, r.certs())
	r.values.DNS = values.DNS{ZoneName: "example.com", Provider: "coredns", Check: "off", Config: "[Global]\netcd-endpoints = http://etcd-cluster.ns:2379\nzones = example.com.\n"}
	require.NoError(t, r.dns())
	assert.Equal(t, map[string]string{dnsprovider.ConfigKey: r.values.DNS.Config}, r.stored())

	r.values.DNS.Config = "[Global]\netcd-endpoints = https://etcd-cluster.ns:2379\netcd-ca-file = ca.crt\n"
	require.ErrorContains(t, r.dns(), "dns.config: key etcd-ca-file names file ca.crt, which is not there: put the configuration and the file into one Secret, and name it in dns.existingSecret")
	r.values.DNS.ExistingSecret = "own-dns"
	require.ErrorContains(t, r.dns(), "dns.config and dns.existingSecret both give the provider's configuration")
	r.values.DNS = values.DNS{ZoneName: "example.com", Provider: "coredns", Check: "warn", CoreDNS: values.CoreDNSProvider{EtcdEndpoints: []string{"https://etcd:2379"}, EtcdCA: "no certificate"}}
	require.NoError(t, r.dns())
	assert.Equal(t, map[string]string{dnsprovider.ConfigKey: "[Global]\netcd-endpoints = https://etcd:2379\netcd-ca-file = ca.crt\n", "ca.crt": "no certificate"}, r.stored())
	assert.Contains(t, r.log.String(), "could not parse PEM certificates")
}

// The chart's own DNS: its etcd's address, and the certificate that certs makes for it.
func TestOwnDNS(t *testing.T) {
	r := newRelease(t)
	require.ErrorContains(t, r.dns(), "`fedhook certs` makes it")
	r.values.DNS.Check = "strict" // of a DNS that is not there before the release is
	require.NoError(t, r.hook("prepare", nil).Prepare(t.Context()))
	r.checkQuiet(t, "prepare", Hook.Prepare)
	stored, leaf := r.stored(), r.secrets()[dnsClientCertificate]
	assert.Equal(t, map[string]string{
		dnsprovider.ConfigKey: "[Global]\netcd-endpoints = https://fellowship-dns-etcd." + r.namespace + ".svc:2379\netcd-ca-file = ca.crt\netcd-cert-file = tls.crt\netcd-key-file = tls.key\nzones = federation.internal.\n",
		"ca.crt":              string(leaf.Data["ca.crt"]), "tls.crt": string(leaf.Data["tls.crt"]), "tls.key": string(leaf.Data["tls.key"]),
	}, stored)

	r.change(dnsClientCertificate, func(secret *corev1.Secret) { secret.Data["tls.crt"] = []byte("renewed") })
	require.NoError(t, r.hook("keeper", nil).ensureDNS(t.Context(), checkChanged))
	assert.Equal(t, "renewed", r.stored()["tls.crt"])
}

// Another zone, or another provider, leaves the records where they are, and says so; nothing is said of the chart's own DNS, or where both are as they were.
func TestRecordsOfAnOldZone(t *testing.T) {
	r := newRelease(t)
	require.NoError(t, r.certs())
	before := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: fellowship + "-federation"},
		Data: map[string]string{"name": fellowship, "dnsZone": "example.com.", "provider": "aws-route53", "ownDNS": "false"}}
	require.NoError(t, host.Create(t.Context(), before))
	r.values.DNS.Check = "off"
	const warning = "the DNS records of federation fellowship stay in zone example.com. at aws-route53, which is not its zone any more: remove those below fellowship.svc.example.com."
	for _, c := range []struct {
		zone, provider string
		warned         bool
	}{{"example.com", "aws-route53", false}, {"example.org", "aws-route53", true}, {"example.com", "google-clouddns", true}, {"example.com", "none", true}} {
		r.values.DNS.ZoneName, r.values.DNS.Provider = c.zone, c.provider
		r.log.Reset()
		require.NoError(t, r.dns())
		require.Equal(t, c.warned, strings.Contains(r.log.String(), warning), r.log.String())
	}
	before.Data["ownDNS"] = "true"
	require.NoError(t, host.Update(t.Context(), before))
	r.log.Reset()
	require.NoError(t, r.dns())
	require.NotContains(t, r.log.String(), "stay in zone")
}
