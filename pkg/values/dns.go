package values

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/fedhelm/fedhelm/pkg/clusterdns"
	"github.com/fedhelm/fedhelm/pkg/dnsprovider/ini"
)

// DNS is the federation's zone, which the members' cluster DNS is told of, and the provider that hosts it. How a provider is reached is given by its block, by config or by
// existingSecret.
type DNS struct {
	// Name of the zone; the trailing dot may be left out (kubefed's --dns-zone-name). With the chart's own DNS choose a name that nobody else serves and that no other federation of the
	// same members uses: the members send every query below it to this DNS.
	ZoneName string `json:"zoneName" jsonschema:"minLength=1,maxLength=180,pattern=^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\\.?$"`
	// Provider that hosts the zone: coredns, google-clouddns, aws-route53, rfc2136, azure, webhook, or none for a federation without DNS records (kubefed's --dns-provider). With coredns and
	// no CoreDNS of yours the chart runs its own.
	Provider string `json:"provider" jsonschema:"enum=coredns,enum=google-clouddns,enum=aws-route53,enum=rfc2136,enum=azure,enum=webhook,enum=none"`
	// The provider's configuration as v1 had it, an INI file with section [Global]: `--set-file dns.config=…` (kubefed's --dns-provider-config).
	Config string `json:"config"`
	// Name of a Secret in the release's namespace with that file in key provider.conf, and the files that it names in further keys.
	ExistingSecret string `json:"existingSecret"`
	// What to do before an install or upgrade if the provider does not answer, or the zone is missing or may not be written: warn goes on with a warning, strict fails, off skips the check, and
	// the controller manager's too. Leave it at warn where the identity is the pod's own, which the hooks do not have.
	Check DNSCheck `json:"check"`
	// With provider coredns: an etcd and CoreDNS of your own.
	CoreDNS CoreDNSProvider `json:"coredns"`
	// With provider google-clouddns. Without credentials or a token the controller manager's own identity is used (workload identity).
	Google GoogleProvider `json:"google"`
	// With provider aws-route53. Without keys the controller manager's own identity is used (its service account's role, or its node's).
	AWS AWSProvider `json:"aws"`
	// With provider rfc2136: name servers that take dynamic updates, such as BIND.
	RFC2136 RFC2136Provider `json:"rfc2136"`
	// With provider azure.
	Azure AzureProvider `json:"azure"`
	// With provider webhook: any other provider that has a webhook for external-dns.
	Webhook WebhookProvider `json:"webhook"`
	// Name servers of a zone that is not in public DNS, as `ip` or `ip:port`; the members' cluster DNS asks them. Empty means the chart's own DNS, where it runs one, or what
	// key coredns-endpoints of the provider's configuration names.
	Nameservers []string `json:"nameservers"`
	// The chart's own DNS, which runs with provider coredns unless dns.config, dns.existingSecret or dns.coredns names a CoreDNS of yours.
	Server DNSServer `json:"server"`
}

// DNSCheck is warn, strict or off.
type DNSCheck string

// UnmarshalJSON takes false for off too, since that is what YAML makes of the bare word.
func (c *DNSCheck) UnmarshalJSON(data []byte) error {
	if string(data) == "false" {
		*c = "off"
		return nil
	}
	return json.Unmarshal(data, (*string)(c))
}

// CoreDNSProvider is an etcd that a CoreDNS of your own reads.
type CoreDNSProvider struct {
	// URLs of the etcd, such as http://etcd-cluster.ns:2379.
	EtcdEndpoints []string `json:"etcdEndpoints"`
	// CA of its certificate, in PEM.
	EtcdCA string `json:"etcdCA"`
	// Client certificate to present to etcd, in PEM.
	EtcdCertificate string `json:"etcdCertificate"`
	// Key of that certificate, in PEM.
	EtcdKey string `json:"etcdKey"`
}

// GoogleProvider is a zone in Google Cloud DNS.
type GoogleProvider struct {
	// Project of the zone; empty means that of the credentials, or of the node.
	ProjectID string `json:"projectID"`
	// Key of a service account, the JSON file: `--set-file dns.google.credentials=…`.
	Credentials string `json:"credentials"`
	// URL to request tokens from, as in v1, instead of a key.
	TokenURL string `json:"tokenURL"`
	// Body of that request.
	TokenBody string `json:"tokenBody"`
	// Name or ID of the zone, if the project has several of the same DNS name.
	ZoneID string `json:"zoneID"`
	// public or private: which zone to use when two have the same name.
	ZoneVisibility string `json:"zoneVisibility" jsonschema:"enum=,enum=public,enum=private"`
	// URL of the API, if not Google's own.
	EndpointURL string `json:"endpointURL" jsonschema:"pattern=^(https?://.+)?$"`
}

// AWSProvider is a hosted zone in Route 53.
type AWSProvider struct {
	// Access key of an IAM user.
	AccessKeyID string `json:"accessKeyID"`
	// Its secret.
	SecretAccessKey string `json:"secretAccessKey"`
	// Session token of a temporary key.
	SessionToken string `json:"sessionToken"`
	// Region to call the API in; empty means the pod's, or us-east-1. Outside the standard partition it is required.
	Region string `json:"region"`
	// ARN of a role to assume.
	AssumeRole string `json:"assumeRole"`
	// External ID to pass when assuming it.
	ExternalID string `json:"externalID"`
	// ID of the hosted zone, if the account has several of the same name.
	ZoneID string `json:"zoneID"`
	// public or private: which zone to use when two have the same name.
	ZoneVisibility string `json:"zoneVisibility" jsonschema:"enum=,enum=public,enum=private"`
	// URL of the API, if not Amazon's own.
	EndpointURL string `json:"endpointURL" jsonschema:"pattern=^(https?://.+)?$"`
}

// RFC2136Provider is a zone on name servers that take dynamic updates and let it be transferred.
type RFC2136Provider struct {
	// Host names or addresses of the zone's primary name servers.
	Servers []string `json:"servers"`
	// Their port; 0 means 53.
	Port int32 `json:"port" jsonschema:"minimum=0,maximum=65535"`
	// Name of the TSIG key; empty means unsigned updates.
	TSIGKeyName string `json:"tsigKeyName"`
	// Secret of the key, in base64.
	TSIGSecret string `json:"tsigSecret"`
	// Algorithm of the key; empty means hmac-sha256.
	TSIGAlgorithm string `json:"tsigAlgorithm" jsonschema:"enum=,enum=hmac-sha256,enum=hmac-sha224,enum=hmac-sha384,enum=hmac-sha512,enum=hmac-sha1"`
}

// AzureProvider is a zone in Azure DNS, or Azure Private DNS.
type AzureProvider struct {
	// Subscription of the zone.
	SubscriptionID string `json:"subscriptionID"`
	// Resource group of the zone.
	ResourceGroup string `json:"resourceGroup"`
	// Tenant of the identity.
	TenantID string `json:"tenantID"`
	// Client ID of a service principal, or of the managed identity to use.
	ClientID string `json:"clientID"`
	// Secret of the service principal.
	ClientSecret string `json:"clientSecret"`
	// Whether to use the node's managed identity.
	ManagedIdentity bool `json:"managedIdentity"`
	// Whether to use the controller manager's own identity. It needs controllerManager.podLabels `azure.workload.identity/use: "true"` and controllerManager.serviceAccountAnnotations
	// `azure.workload.identity/client-id: <id>` too.
	WorkloadIdentity bool `json:"workloadIdentity"`
	// Whether the zone is public, the default, or private.
	ZoneVisibility string `json:"zoneVisibility" jsonschema:"enum=,enum=public,enum=private"`
}

// WebhookProvider is a webhook for external-dns.
type WebhookProvider struct {
	// URL of the webhook.
	URL string `json:"url" jsonschema:"pattern=^(https?://.+)?$"`
}

// providerConfig collects the lines and the files of a provider's configuration.
type providerConfig struct {
	text  strings.Builder
	files map[string][]byte
}

func (c *providerConfig) set(key, value string) {
	if value != "" {
		c.text.WriteString(ini.Line(key, value))
	}
}

func (c *providerConfig) file(key, name, content string) {
	if content != "" {
		c.set(key, name)
		c.files[name] = []byte(content)
	}
}

// block is what the values of one provider are.
type block struct {
	provider, key string
	value         any
	write         func(c *providerConfig) error
}

func (d DNS) blocks() []block {
	return []block{
		{"coredns", "coredns", d.CoreDNS, d.CoreDNS.write},
		{"google-clouddns", "google", d.Google, d.Google.write},
		{"aws-route53", "aws", d.AWS, d.AWS.write},
		{"rfc2136", "rfc2136", d.RFC2136, d.RFC2136.write},
		{"azure", "azure", d.Azure, d.Azure.write},
		{"webhook", "webhook", d.Webhook, d.Webhook.write},
	}
}

// given reports whether any value of the block is.
func (b block) given() bool {
	value := reflect.ValueOf(b.value)
	for i := range value.NumField() {
		if field := value.Field(i); field.Kind() == reflect.Slice && field.Len() > 0 || field.Kind() != reflect.Slice && !field.IsZero() {
			return true
		}
	}
	return false
}

// Zone is the zone's name with its trailing dot.
func (d DNS) Zone() string { return strings.TrimSuffix(d.ZoneName, ".") + "." }

// Own reports whether the chart runs the federation's DNS itself: provider coredns, and no etcd is named. Template controlPlane.ownDNS says the same.
func (d DNS) Own() bool {
	return d.Provider == "coredns" && d.Config == "" && d.ExistingSecret == "" && len(d.CoreDNS.EtcdEndpoints) == 0
}

// Validate says which values contradict each other, as the chart's template does. Errors: one sentence.
func (d DNS) Validate() error {
	var whole []string
	for key, value := range map[string]string{"dns.config": d.Config, "dns.existingSecret": d.ExistingSecret} {
		if value != "" {
			whole = append(whole, key)
		}
	}
	slices.Sort(whole)
	if len(whole) > 1 {
		return fmt.Errorf("dns.config and dns.existingSecret both give the provider's configuration: give one of them")
	}
	if d.Provider == "none" && len(whole) > 0 {
		return fmt.Errorf("%s gives a provider's configuration, but dns.provider is none: set dns.provider, or leave the other out", whole[0])
	}
	for _, b := range d.blocks() {
		switch {
		case !b.given():
		case b.provider != d.Provider:
			return fmt.Errorf("dns.%s is for provider %s, but dns.provider is %s: set dns.provider to %s, or leave dns.%s out", b.key, b.provider, d.Provider, b.provider, b.key)
		case len(whole) > 0:
			return fmt.Errorf("%s and dns.%s both give the provider's configuration: give one of them", whole[0], b.key)
		}
	}
	for _, server := range d.Nameservers {
		if err := clusterdns.CheckNameserver(server); err != nil {
			return fmt.Errorf("dns.nameservers: %w", err)
		}
	}
	if d.Own() && (block{value: d.CoreDNS}).given() {
		return fmt.Errorf("dns.coredns has a CA, a certificate or a key, but no etcdEndpoints: give these, or leave the others out to have the chart's own DNS")
	}
	return nil
}

// ProviderConfig writes the provider's configuration as v1 had it, and the files that it names by their names: dns.config as it is, else what the provider's block says. It
// says nothing of dns.existingSecret or the chart's own DNS, whose configuration is elsewhere. Errors: values that contradict each other.
func (d DNS) ProviderConfig() (text string, files map[string][]byte, err error) {
	if err := d.Validate(); err != nil {
		return "", nil, err
	}
	if d.Config != "" {
		return d.Config, nil, nil
	}
	c := &providerConfig{files: map[string][]byte{}}
	c.text.WriteString("[Global]\n")
	for _, b := range d.blocks() {
		if b.provider == d.Provider {
			if err := b.write(c); err != nil {
				return "", nil, err
			}
		}
	}
	return c.text.String(), c.files, nil
}

func (p CoreDNSProvider) write(c *providerConfig) error {
	c.set("etcd-endpoints", strings.Join(p.EtcdEndpoints, ","))
	c.file("etcd-ca-file", "ca.crt", p.EtcdCA)
	c.file("etcd-cert-file", "tls.crt", p.EtcdCertificate)
	c.file("etcd-key-file", "tls.key", p.EtcdKey)
	return nil
}

func (p GoogleProvider) write(c *providerConfig) error {
	c.set("project-id", p.ProjectID)
	c.file("credentials-file", "credentials.json", p.Credentials)
	c.set("token-url", p.TokenURL)
	c.set("token-body", p.TokenBody)
	c.set("zone-id", p.ZoneID)
	c.set("zone-visibility", p.ZoneVisibility)
	c.set("endpoint-url", p.EndpointURL)
	return nil
}

func (p AWSProvider) write(c *providerConfig) error {
	c.set("access-key-id", p.AccessKeyID)
	c.set("secret-access-key", p.SecretAccessKey)
	c.set("session-token", p.SessionToken)
	c.set("region", p.Region)
	c.set("assume-role", p.AssumeRole)
	c.set("external-id", p.ExternalID)
	c.set("zone-id", p.ZoneID)
	c.set("zone-visibility", p.ZoneVisibility)
	c.set("endpoint-url", p.EndpointURL)
	return nil
}

func (p RFC2136Provider) write(c *providerConfig) error {
	c.set("servers", strings.Join(p.Servers, ","))
	if p.Port != 0 {
		c.set("port", strconv.Itoa(int(p.Port)))
	}
	c.set("tsig-key-name", p.TSIGKeyName)
	c.set("tsig-secret", p.TSIGSecret)
	c.set("tsig-algorithm", p.TSIGAlgorithm)
	return nil
}

// write makes the azure.json that Azure's libraries read.
func (p AzureProvider) write(c *providerConfig) error {
	credentials := map[string]any{"tenantId": p.TenantID, "subscriptionId": p.SubscriptionID, "resourceGroup": p.ResourceGroup}
	switch {
	case p.ManagedIdentity:
		credentials["useManagedIdentityExtension"], credentials["userAssignedIdentityID"] = true, p.ClientID
	case p.WorkloadIdentity:
		credentials["useWorkloadIdentityExtension"], credentials["aadClientId"] = true, p.ClientID
	default:
		credentials["aadClientId"], credentials["aadClientSecret"] = p.ClientID, p.ClientSecret
	}
	maps.DeleteFunc(credentials, func(_ string, value any) bool { return value == "" })
	text, err := json.Marshal(credentials)
	if err != nil {
		return err
	}
	c.file("config-file", "azure.json", string(text))
	c.set("subscription-id", p.SubscriptionID)
	c.set("resource-group", p.ResourceGroup)
	c.set("zone-visibility", p.ZoneVisibility)
	return nil
}

func (p WebhookProvider) write(c *providerConfig) error {
	c.set("url", p.URL)
	return nil
}
