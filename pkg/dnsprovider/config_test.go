package dnsprovider

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fedhelm/fedhelm/pkg/values"
)

// v1's files as its guides have them, zones with and without their dots.
func TestParseV1(t *testing.T) {
	for _, test := range []struct{ provider, zone, text, stored string }{
		{CoreDNS, "example.com", "[Global]\netcd-endpoints = http://etcd-cluster.ns:2379\nzones = example.com.\n", "[Global]\netcd-endpoints = http://etcd-cluster.ns:2379\nzones = example.com.\n"},
		{CoreDNS, "Example.COM.", "[global]\nzones = a.example,example.com\nEtcd-Endpoints = https://a:2379,https://b:2379\ncoredns-endpoints = 192.0.2.1:53 ; ours\netcd-ca-file = ca.crt\n",
			"[Global]\netcd-endpoints = https://a:2379,https://b:2379\netcd-ca-file = ca.crt\nzones = a.example,example.com\ncoredns-endpoints = 192.0.2.1:53\n"},
		{Google, "example.com.", "[Global]\nproject-id = middle-earth\n", "[Global]\nproject-id = middle-earth\n"},
		{Google, "example.com.", "[Global]\ntoken-url = https://tokens.example/\ntoken-body = \"{\\\"a\\\": 1}\"\n", "[Global]\ntoken-url = https://tokens.example/\ntoken-body = \"{\\\"a\\\": 1}\"\n"},
		{AWS, "example.com.", "", "[Global]\n"},
		{AWS, "example.com.", "[Global]\naccess-key-id = a\nsecret-access-key = b/+=\n", "[Global]\naccess-key-id = a\nsecret-access-key = b/+=\n"},
		{RFC2136, "example.com.", "[Global]\nservers = ns1.example,192.0.2.1\ntsig-key-name = k\ntsig-secret = bWVsbG9u\n", "[Global]\nservers = ns1.example,192.0.2.1\ntsig-key-name = k\ntsig-secret = bWVsbG9u\n"},
		{Azure, "example.com.", "[Global]\nconfig-file = azure.json\nresource-group = shire\n", "[Global]\nconfig-file = azure.json\nresource-group = shire\n"},
		{Webhook, "example.com.", "[Global]\nurl = http://localhost:8888\n", "[Global]\nurl = http://localhost:8888\n"},
	} {
		c, err := Parse(test.provider, test.zone, test.text, "")
		require.NoError(t, err, test.text)
		assert.Equal(t, "example.com.", c.Zone)
		assert.Equal(t, test.stored, c.Text())
		again, err := Parse(test.provider, test.zone, c.WithOwner("fellowship/1").Text(), "")
		require.NoError(t, err, test.text)
		assert.Equal(t, "fellowship/1", again.Owner())
		assert.Equal(t, test.stored, Config{Provider: c.Provider, settings: c.settings}.Text(), "the first is not changed")
	}
}

func TestWhatAConfigurationNames(t *testing.T) {
	c, err := Parse(CoreDNS, "example.com", "[Global]\netcd-endpoints = https://a:2379\netcd-ca-file = ca.crt\netcd-cert-file=tls.crt\netcd-key-file=tls.key\ncoredns-endpoints=192.0.2.1:53, 192.0.2.2:53", "/etc/dns")
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"etcd-ca-file": "ca.crt", "etcd-cert-file": "tls.crt", "etcd-key-file": "tls.key"}, c.Files())
	assert.Equal(t, "/etc/dns/ca.crt", c.path("etcd-ca-file"))
	assert.Equal(t, []string{"192.0.2.1:53", "192.0.2.2:53"}, c.Nameservers())
}

func TestParseRefuses(t *testing.T) {
	const etcd = "[Global]\netcd-endpoints = http://a:2379\n"
	for _, test := range []struct{ provider, zone, text, says string }{
		{"sauron", "example.com", "", `there is no DNS provider "sauron": there are coredns, google-clouddns, aws-route53, rfc2136, azure, webhook, and none`},
		{AWS, ".", "", "DNS provider aws-route53 has no zone: give its name"},
		{Google, "example.com", "[Global]\nproject = x", "line 2: there is no key project: there are project-id, token-url, token-body, credentials-file, zone-id, zone-visibility, endpoint-url, owner"},
		{Google, "example.com", "[Global]\nproject-id = x\n\nproject-id = y", "line 4: key project-id is there already, in line 2: leave one of the two"},
		{Google, "example.com", "[Gloobal]\nproject-id = x", "line 2: key project-id stands in section [gloobal]: the only section is [Global]"},
		{Google, "example.com", "[Global]\nproject-id x", "line 2: is neither a section, nor a comment, nor `key = value`"},
		{Google, "example.com", "[Global]\ncredentials-file = /etc/key.json", "line 2: key credentials-file is no bare file name: give that of a file beside the configuration, which is a key of the same Secret"},
		{Google, "example.com", "[Global]\ncredentials-file = provider.conf", "is no bare file name"},
		{Google, "example.com", "[Global]\nzone-visibility = both", "line 2: key zone-visibility is both: it may be public, private"},
		{Google, "example.com", "[Global]\ntoken-body = x", "key token-body is given without token-url"},
		{Google, "example.com", "[Global]\ntoken-url = x\ncredentials-file = y", "keys token-url and credentials-file exclude each other"},
		{CoreDNS, "example.com", "", "key etcd-endpoints is missing: give the URLs of the etcd that CoreDNS reads"},
		{CoreDNS, "example.com", "[Global]\netcd-endpoints = a:2379", "key etcd-endpoints has a:2379: write it as a URL, http://a:2379 or https://a:2379"},
		{CoreDNS, "example.com", "[Global]\netcd-endpoints = http://a:2379,https://b:2379", "key etcd-endpoints has both http and https"},
		{CoreDNS, "example.com", etcd + "etcd-ca-file = ca.crt", "key etcd-ca-file is given, but key etcd-endpoints has http: write https"},
		{CoreDNS, "example.com", "[Global]\netcd-endpoints = https://a:2379\netcd-key-file = tls.key", "key etcd-key-file is given without etcd-cert-file"},
		{CoreDNS, "example.com", etcd + "zones = example.org., b.example", "key zones has example.org., b.example, and zone example.com. is not among them"},
		{AWS, "example.com", "[Global]\naccess-key-id = x", "key access-key-id is given without secret-access-key: give both, or neither"},
		{AWS, "example.com", "[Global]\nsession-token = x", "keys session-token and profile belong to credentials"},
		{AWS, "example.com", "[Global]\nexternal-id = x", "key external-id is given without assume-role"},
		{AWS, "example.com", "[Global]\naccess-key-id = x\nsecret-access-key = y\ncredentials-file = z", "keys access-key-id and credentials-file exclude each other"},
		{RFC2136, "example.com", "[Global]\nport = 53", "key servers is missing"},
		{RFC2136, "example.com", "[Global]\nservers = a\nport = dns", "key port is dns: give a number from 1 to 65535"},
		{RFC2136, "example.com", "[Global]\nservers = a\ntsig-key-name = k\ntsig-secret = %", "key tsig-secret is no base64"},
		{RFC2136, "example.com", "[Global]\nservers = a\ntsig-key-name = k\ntsig-secret = bWVsbG9u\ntsig-algorithm = md5", "line 5: key tsig-algorithm is md5: it may be hmac-sha256"},
		{Azure, "example.com", "", "key config-file is missing"},
		{Webhook, "example.com", "[Global]\nurl = localhost", `key url is "localhost": give the webhook's URL`},
	} {
		_, err := Parse(test.provider, test.zone, test.text, "")
		assert.ErrorContains(t, err, test.says, test.text)
	}
}

func TestReadAndWithFiles(t *testing.T) {
	_, err := Read(AWS, "example.com", filepath.Join(t.TempDir(), ConfigKey))
	require.ErrorContains(t, err, "read the configuration of DNS provider aws-route53: open ")

	var dir string
	require.NoError(t, WithFiles(AWS, "example.com", map[string][]byte{ConfigKey: []byte("[Global]\ncredentials-file = credentials\n"), "credentials": []byte("[default]")}, func(c Config) error {
		dir = c.dir
		content, err := os.ReadFile(c.path("credentials-file"))
		require.NoError(t, err)
		assert.Equal(t, "[default]", string(content))
		return nil
	}))
	assert.NoDirExists(t, dir, "no credentials stay behind")
}

func TestWithEnvironment(t *testing.T) {
	t.Setenv("FEDHELM_TEST_SET", "before")
	t.Setenv("FEDHELM_TEST_HIDDEN", "before")
	require.NoError(t, withEnvironment(map[string]string{"FEDHELM_TEST_SET": "now", "FEDHELM_TEST_NEW": "now", "FEDHELM_TEST_HIDDEN": ""}, func() error {
		assert.Equal(t, "now", os.Getenv("FEDHELM_TEST_SET"))
		assert.Equal(t, "now", os.Getenv("FEDHELM_TEST_NEW"))
		_, set := os.LookupEnv("FEDHELM_TEST_HIDDEN")
		assert.False(t, set)
		return nil
	}))
	_, set := os.LookupEnv("FEDHELM_TEST_NEW")
	assert.False(t, set)
	assert.Equal(t, "before", os.Getenv("FEDHELM_TEST_SET"))
	assert.Equal(t, "before", os.Getenv("FEDHELM_TEST_HIDDEN"))
}

func TestChoose(t *testing.T) {
	zones := []candidate{{id: "Z1", private: true}, {id: "Z2"}, {id: "Z3", name: "third"}}
	for _, test := range []struct{ text, id, says string }{
		{"", "", "the account has 3 of that name (Z1, private; Z2, public; third, public): choose one with zone-id, or with zone-visibility public or private"},
		{"zone-visibility = private", "Z1", ""},
		{"zone-visibility = public", "", "the account has 2 of that name"},
		{"zone-id = /hostedzone/Z2", "Z2", ""},
		{"zone-id = third", "Z3", ""},
		{"zone-id = Z2\nzone-visibility = private", "", "zone-id or zone-visibility leaves none of them"},
	} {
		c, err := Parse(AWS, "example.com", "[Global]\n"+test.text, "")
		require.NoError(t, err)
		id, err := choose(c, "the account", zones)
		assert.Equal(t, test.id, id, test.text)
		if test.says != "" {
			require.ErrorIs(t, err, ErrNoZone)
			require.ErrorContains(t, err, test.says)
		}
	}
	_, err := choose(Config{}, "the account", nil)
	require.ErrorContains(t, err, "the account has none of that name: make it, or set dns.zoneName")
}

// What the values write is what is read here.
func TestValuesAreRead(t *testing.T) {
	for _, d := range []values.DNS{
		{Provider: CoreDNS, CoreDNS: values.CoreDNSProvider{EtcdEndpoints: []string{"https://a:2379", "https://b:2379"}, EtcdCA: "a", EtcdCertificate: "b", EtcdKey: "c"}},
		{Provider: Google, Google: values.GoogleProvider{ProjectID: "a", Credentials: "{}", ZoneID: "b", ZoneVisibility: "private", EndpointURL: "http://c"}},
		{Provider: Google, Google: values.GoogleProvider{TokenURL: "http://a", TokenBody: "{\"a\": \"b;c\"}\n"}},
		{Provider: AWS, AWS: values.AWSProvider{AccessKeyID: "a", SecretAccessKey: "b", SessionToken: "c", Region: "d", AssumeRole: "e", ExternalID: "f", ZoneID: "g", ZoneVisibility: "public", EndpointURL: "http://h"}},
		{Provider: RFC2136, RFC2136: values.RFC2136Provider{Servers: []string{"a", "b"}, Port: 5353, TSIGKeyName: "k", TSIGSecret: "bWVsbG9u", TSIGAlgorithm: "hmac-sha512"}},
		{Provider: Azure, Azure: values.AzureProvider{SubscriptionID: "a", ResourceGroup: "b", ManagedIdentity: true, ZoneVisibility: "private"}},
		{Provider: Webhook, Webhook: values.WebhookProvider{URL: "http://localhost:8888"}},
	} {
		text, files, err := d.ProviderConfig()
		require.NoError(t, err)
		c, err := Parse(d.Provider, "example.com", text, "")
		require.NoError(t, err, text)
		for key, name := range c.Files() {
			assert.Contains(t, files, name, key)
		}
		assert.Len(t, c.Files(), len(files), text)
	}
}
