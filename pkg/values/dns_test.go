package values

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOwnDNS(t *testing.T) {
	for given, own := range map[string]bool{
		``:                      true,
		`{zoneName: a.example}`: true,
		`{nameservers: [192.0.2.1], check: strict}`:     true,
		`{provider: none}`:                              false,
		`{provider: aws-route53}`:                       false,
		`{config: "[Global]"}`:                          false,
		`{existingSecret: x}`:                           false,
		`{coredns: {etcdEndpoints: ["http://a:2379"]}}`: false,
	} {
		v, err := DecodeControlPlane([]byte("dns: " + given))
		require.NoError(t, err)
		assert.Equal(t, own, v.DNS.Own(), given)
	}
}

// YAML takes a bare off for false.
func TestDNSCheck(t *testing.T) {
	for given, want := range map[string]DNSCheck{`off`: "off", `"off"`: "off", `strict`: "strict", `null`: "warn"} {
		v, err := DecodeControlPlane([]byte("dns: {check: " + given + "}"))
		require.NoError(t, err)
		assert.Equal(t, want, v.DNS.Check, given)
	}
}

func TestProviderConfig(t *testing.T) {
	for _, test := range []struct {
		given, text string
		files       map[string]string
	}{
		{`{config: "[Global]\nzones = x\n"}`, "[Global]\nzones = x\n", nil},
		{`{coredns: {etcdEndpoints: ["https://a:2379", "https://b:2379"], etcdCA: A, etcdCertificate: B, etcdKey: C}}`,
			"[Global]\netcd-endpoints = https://a:2379,https://b:2379\netcd-ca-file = ca.crt\netcd-cert-file = tls.crt\netcd-key-file = tls.key\n", map[string]string{"ca.crt": "A", "tls.crt": "B", "tls.key": "C"}},
		{`{provider: google-clouddns, google: {projectID: p, credentials: "{}", zoneID: z, zoneVisibility: private, endpointURL: "http://e"}}`,
			"[Global]\nproject-id = p\ncredentials-file = credentials.json\nzone-id = z\nzone-visibility = private\nendpoint-url = http://e\n", map[string]string{"credentials.json": "{}"}},
		{`{provider: google-clouddns, google: {tokenURL: "http://t", tokenBody: "a;\"b"}}`, "[Global]\ntoken-url = http://t\ntoken-body = \"a;\\\"b\"\n", nil},
		{`{provider: aws-route53}`, "[Global]\n", nil},
		{`{provider: aws-route53, aws: {accessKeyID: a, secretAccessKey: b, sessionToken: c, region: d, assumeRole: e, externalID: f, zoneID: g, zoneVisibility: public, endpointURL: "http://h"}}`,
			"[Global]\naccess-key-id = a\nsecret-access-key = b\nsession-token = c\nregion = d\nassume-role = e\nexternal-id = f\nzone-id = g\nzone-visibility = public\nendpoint-url = http://h\n", nil},
		{`{provider: rfc2136, rfc2136: {servers: [a, b], port: 5353, tsigKeyName: k, tsigSecret: bWVsbG9u, tsigAlgorithm: hmac-sha512}}`,
			"[Global]\nservers = a,b\nport = 5353\ntsig-key-name = k\ntsig-secret = bWVsbG9u\ntsig-algorithm = hmac-sha512\n", nil},
		{`{provider: azure, azure: {subscriptionID: s, resourceGroup: g, tenantID: t, clientID: c, clientSecret: x}}`, "[Global]\nconfig-file = azure.json\nsubscription-id = s\nresource-group = g\n",
			map[string]string{"azure.json": `{"aadClientId":"c","aadClientSecret":"x","resourceGroup":"g","subscriptionId":"s","tenantId":"t"}`}},
		{`{provider: azure, azure: {managedIdentity: true, clientID: c, zoneVisibility: private}}`, "[Global]\nconfig-file = azure.json\nzone-visibility = private\n",
			map[string]string{"azure.json": `{"useManagedIdentityExtension":true,"userAssignedIdentityID":"c"}`}},
		{`{provider: azure, azure: {workloadIdentity: true}}`, "[Global]\nconfig-file = azure.json\n", map[string]string{"azure.json": `{"useWorkloadIdentityExtension":true}`}},
		{`{provider: webhook, webhook: {url: "http://localhost:8888"}}`, "[Global]\nurl = http://localhost:8888\n", nil},
	} {
		v, err := DecodeControlPlane([]byte("dns: " + test.given))
		require.NoError(t, err)
		text, files, err := v.DNS.ProviderConfig()
		require.NoError(t, err, test.given)
		assert.Equal(t, test.text, text)
		got := map[string]string{}
		for name, content := range files {
			got[name] = string(content)
		}
		assert.Equal(t, len(test.files), len(got), test.given)
		for name, content := range test.files {
			assert.Equal(t, content, got[name])
		}
	}
}

func TestValuesThatContradict(t *testing.T) {
	for given, says := range map[string]string{
		`{config: x, existingSecret: y}`:                                  "dns.config and dns.existingSecret both give the provider's configuration: give one of them",
		`{provider: none, config: x}`:                                     "dns.config gives a provider's configuration, but dns.provider is none: set dns.provider, or leave the other out",
		`{webhook: {url: "http://x"}}`:                                    "dns.webhook is for provider webhook, but dns.provider is coredns: set dns.provider to webhook, or leave dns.webhook out",
		`{provider: none, rfc2136: {port: 53}}`:                           "dns.rfc2136 is for provider rfc2136, but dns.provider is none: set dns.provider to rfc2136, or leave dns.rfc2136 out",
		`{existingSecret: x, coredns: {etcdEndpoints: ["http://a"]}}`:     "dns.existingSecret and dns.coredns both give the provider's configuration: give one of them",
		`{coredns: {etcdKey: x}}`:                                         "dns.coredns has a CA, a certificate or a key, but no etcdEndpoints: give these, or leave the others out to have the chart's own DNS",
		`{coredns: {etcdEndpoints: []}, azure: {managedIdentity: false}}`: "",
	} {
		v, err := DecodeControlPlane([]byte("dns: " + given))
		require.NoError(t, err)
		_, _, err = v.DNS.ProviderConfig()
		if says == "" {
			require.NoError(t, err)
			continue
		}
		assert.EqualError(t, err, says)
	}
}
