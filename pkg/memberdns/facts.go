package memberdns

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/clusterdns"
)

// KeyNameservers is the key of the name servers, "ip" or "ip:port", separated by spaces or commas.
const KeyNameservers = "nameservers"

// Other keys of the ConfigMaps v1beta1.FederationConfigMap and v1beta1.NameserversConfigMap.
const (
	keyName     = "name"
	keyZone     = "dnsZone"
	keyProvider = "provider"
	// keyOwnDNS is "true" where the control plane runs the federation DNS itself; another value says that it does not.
	keyOwnDNS = "ownDNS"
	// providerCoreDNS is the provider of a zone that is not in public DNS, be its CoreDNS the control plane's or the user's.
	providerCoreDNS = "coredns"
)

// Facts are what a control plane tells its members of the federation.
type Facts struct {
	// Name of the federation.
	Name string
	// Zone of the federation DNS, "federation.internal.".
	Zone string
	// OwnDNS says that the control plane serves the zone itself.
	OwnDNS bool
	// Nameservers of a zone that is not in public DNS, "ip" or "ip:port".
	Nameservers []string
	// Late says that there are no nameservers yet, but may be: their load balancer has no address, or nobody has looked. Who has some keeps them until then.
	Late bool
}

// ReadFacts reads them out of a control plane's ConfigMaps. nameservers may be nil; those of the values, in federation, win. With a provider that is in public DNS, what an earlier
// one had there means nothing.
func ReadFacts(federation, nameservers *corev1.ConfigMap) Facts {
	own, said := federation.Data[keyOwnDNS]
	f := Facts{Name: federation.Data[keyName], Zone: federation.Data[keyZone], OwnDNS: own == "true", Nameservers: addresses(federation)}
	if len(f.Nameservers) > 0 {
		return f
	}
	if nameservers != nil && (f.OwnDNS || !said || federation.Data[keyProvider] == providerCoreDNS) {
		f.Nameservers = addresses(nameservers)
	}
	f.Late = len(f.Nameservers) == 0 && (f.OwnDNS || !said)
	return f
}

func addresses(configMap *corev1.ConfigMap) []string {
	return strings.FieldsFunc(configMap.Data[KeyNameservers], func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}

// For gives the federation as the DNS of a member is to know it, as near as the member's topology is known: by the Cluster's spec, or else by what the controllers
// found on its nodes. A member with several zones is known by its region.
func (f Facts) For(cluster *v1beta1.Cluster, clusterDomain string) clusterdns.Federation {
	d := clusterdns.Federation{
		Name: f.Name, Zone: f.Zone, Nameservers: f.Nameservers, ClusterDomain: clusterDomain, MemberRegion: cluster.Spec.Region,
	}
	if d.MemberRegion == "" {
		d.MemberRegion = cluster.Status.Region
	}
	zones := cluster.Spec.Zones
	if len(zones) == 0 {
		zones = cluster.Status.Zones
	}
	if len(zones) == 1 {
		d.MemberZone = zones[0]
	}
	if known := cluster.Status.ClusterDNS; f.Late && known != nil && known.Zone == clusterdns.Domain(f.Zone) {
		d.Nameservers = slices.Clone(known.Nameservers)
	}
	return d
}
