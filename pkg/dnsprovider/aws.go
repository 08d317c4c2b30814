package dnsprovider

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	route53types "github.com/aws/aws-sdk-go-v2/service/route53/types"
	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/provider"
	"sigs.k8s.io/external-dns/provider/aws"
)

// v1's aws-route53 had no keys: its credentials came from the environment, by patching a Deployment. Without keys they still come from the pod, be it from its environment, a
// role for its service account (IRSA) or its node.
var awsKind = kind{
	keys: []key{
		{name: "access-key-id"}, {name: "secret-access-key"}, {name: "session-token"}, {name: "credentials-file", file: true}, {name: "profile"},
		{name: "region"}, {name: "assume-role"}, {name: "external-id"}, {name: "zone-id"}, {name: "zone-visibility", words: visibilities}, {name: "endpoint-url"},
	},
	check:  checkAWS,
	open:   openAWS,
	locate: locateAWS,
	chunk:  200,             // a thousand values are allowed, and a change may count four
	pause:  time.Second / 4, // five calls a second are allowed
	advice: "its identity needs route53:ListHostedZones, and route53:ListResourceRecordSets and route53:ChangeResourceRecordSets in the zone; see whether the credentials are right",
}

var visibilities = []string{"public", "private"}

// Limits of Route 53 for one call.
const (
	route53Changes = 1000
	route53Bytes   = 32000
	route53Values  = 1000
	route53Retries = 3
)

func checkAWS(c Config) error {
	if c.get("session-token") != "" || c.get("profile") != "" {
		if c.get("access-key-id") == "" && c.get("credentials-file") == "" {
			return fmt.Errorf("keys session-token and profile belong to credentials: give access-key-id and secret-access-key, or credentials-file")
		}
	}
	if c.get("external-id") != "" && c.get("assume-role") == "" {
		return fmt.Errorf("key external-id is given without assume-role: give both, or neither")
	}
	return first(c.one("access-key-id", "credentials-file"), c.together("access-key-id", "secret-access-key"))
}

// awsEnvironment is what tells the SDK who we are. Credentials in the configuration win over the pod's own, which are hidden then.
func (c Config) awsEnvironment() map[string]string {
	variables := map[string]string{"AWS_REGION": cmp.Or(c.get("region"), os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), "us-east-1")}
	if url := c.get("endpoint-url"); url != "" {
		variables["AWS_ENDPOINT_URL_ROUTE_53"] = url
	}
	if c.get("access-key-id") == "" && c.get("credentials-file") == "" {
		return variables
	}
	for _, name := range []string{"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONFIG_FILE"} {
		variables[name] = ""
	}
	variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"] = c.get("access-key-id"), c.get("secret-access-key")
	variables["AWS_SESSION_TOKEN"] = c.get("session-token")
	variables["AWS_SHARED_CREDENTIALS_FILE"], variables["AWS_PROFILE"] = c.path("credentials-file"), c.get("profile")
	return variables
}

func openAWS(ctx context.Context, c Config, base externaldns.Config, _ string, at zoneID) (provider.Provider, error) {
	base.AWSAPIRetries = route53Retries
	base.AWSBatchChangeSize, base.AWSBatchChangeSizeBytes, base.AWSBatchChangeSizeValues = route53Changes, route53Bytes, route53Values
	base.AWSBatchChangeInterval = time.Second / 4
	base.AWSZoneCacheDuration = time.Hour
	base.AWSAssumeRole, base.AWSAssumeRoleExternalID = c.get("assume-role"), c.get("external-id")
	base.ZoneIDFilter = []string{string(at)}
	var opened provider.Provider
	err := withEnvironment(c.awsEnvironment(), func() error {
		// The same, first, as external-dns does, which ends the program where this fails.
		if _, err := config.LoadDefaultConfig(ctx); err != nil {
			return fmt.Errorf("read the credentials of AWS: %w", err)
		}
		var err error
		opened, err = aws.New(ctx, &base, endpoint.NewDomainFilter([]string{c.domain()}))
		return err
	})
	return opened, err
}

func locateAWS(ctx context.Context, c Config, base externaldns.Config) (zoneID, error) {
	opened, err := openAWS(ctx, c, base, "", "")
	if err != nil {
		return "", err
	}
	zones, err := opened.(interface {
		Zones(context.Context) (map[string]*route53types.HostedZone, error)
	}).Zones(ctx)
	if err != nil {
		return "", err
	}
	var found []candidate
	for id, zone := range zones {
		if canonical(*zone.Name) == c.Zone {
			private := zone.Config != nil && zone.Config.PrivateZone
			found = append(found, candidate{id: strings.TrimPrefix(id, "/hostedzone/"), private: private})
		}
	}
	one, err := choose(c, "this account", found)
	return zoneID("/hostedzone/" + one), err
}
