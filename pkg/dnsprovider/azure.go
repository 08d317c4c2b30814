package dnsprovider

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/provider"
	"sigs.k8s.io/external-dns/provider/azure"
)

// The config-file is an azure.json, as Azure's cloud provider for Kubernetes reads it.
var azureKind = kind{
	keys:   []key{{name: "config-file", file: true}, {name: "subscription-id"}, {name: "resource-group"}, {name: "zone-visibility", words: visibilities}},
	check:  checkAzure,
	open:   openAzure,
	verify: verifyAzure,
	chunk:  50, // a call each
	advice: "the zone must be in the resource group, and the identity needs the role DNS Zone Contributor in it, or Private DNS Zone Contributor; see whether subscription, resource group and the credentials in config-file are right",
}

// azureRetries is how often a call is made again.
const azureRetries = 3

func checkAzure(c Config) error {
	if c.get("config-file") == "" {
		return errors.New("key config-file is missing: give an azure.json with tenantId and credentials, or useManagedIdentityExtension or useWorkloadIdentityExtension")
	}
	return nil
}

// verifyAzure sees whether a public zone is there: external-dns lists one that is not as empty, and passes over what is to be written. A private one has no name servers to
// know it by, and is checked when it is opened.
func verifyAzure(c Config, all records) error {
	if c.get("zone-visibility") != "private" && !hasApex(c, all) {
		return fmt.Errorf("%w: the resource group has none of that name", ErrNoZone)
	}
	return nil
}

func openAzure(ctx context.Context, c Config, base externaldns.Config, _ string, _ zoneID) (provider.Provider, error) {
	base.AzureConfigFile = c.path("config-file")
	base.AzureSubscriptionID, base.AzureResourceGroup = c.get("subscription-id"), c.get("resource-group")
	base.AzureMaxRetriesCount = azureRetries
	open := azure.New
	if c.get("zone-visibility") == "private" {
		open = azure.NewPrivate
	}
	return open(ctx, &base, endpoint.NewDomainFilter([]string{c.domain()}))
}
