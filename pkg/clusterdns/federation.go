// Package clusterdns writes the cluster DNS configuration of a member: what its kube-dns or CoreDNS must know of a federation, so that
// <service>.<namespace>.<federation> answers the local service where it has endpoints and else the nearest copy in the federation DNS.
//
// Text in, text out: what a federation put into a text comes out again byte for byte, whatever else was put in, taken out or edited meanwhile.
//
// kube-dns takes MergeKubeDNS and RemoveKubeDNS. For a Corefile:
//
//	rest, err := RemoveBlock(corefile, f.Name)
//	current, _, err := Block(corefile, f.Name)
//	f.FallbackPort = FallbackPort(current, rest)
//	text, err := Render(f, template)
//	corefile, err = InsertBlock(corefile, f.Name, text)
//
// and in coredns-custom the text is the key CustomKey, once CheckServers finds nothing against it.
package clusterdns

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// Federation is what a member's cluster DNS must know of one federation.
type Federation struct {
	// Name of the federation, an RFC 1035 label: "fellowship".
	Name string
	// Zone is the federation DNS's zone, with or without the trailing dot: "federation.internal.".
	Zone string
	// Nameservers that answer for the zone, "ip" or "ip:port"; empty where the zone is public.
	Nameservers []string
	// ClusterDomain is the DNS domain of the member; empty means "cluster.local".
	ClusterDomain string
	// MemberZone and MemberRegion are the member's topology, the values of its nodes' labels; empty where they have none.
	MemberZone, MemberRegion string
	// FallbackPort is the loopback port of the second CoreDNS block, see FallbackPort; zero means FirstFallbackPort.
	FallbackPort int
}

var (
	labelPattern  = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)
	domainPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	// The value of a label may have capitals and underscores.
	topologyPattern = regexp.MustCompile(`^[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?)*$`)
)

// Nearest gives the domain of the level of the federation DNS that is nearest to the member, in lower case and without the trailing dot: "<zone>.<region>.<suffix>",
// "<region>.<suffix>" for a member without a zone, "<suffix>" for one without a region, since v1 has no records of a zone outside a region.
func (f Federation) Nearest() string {
	switch {
	case f.MemberRegion == "":
		return Domain(f.Zone)
	case f.MemberZone == "":
		return Domain(f.MemberRegion + "." + f.Zone)
	}
	return Domain(f.MemberZone + "." + f.MemberRegion + "." + f.Zone)
}

// normalise gives f with its defaults, its domains in lower case and without trailing dots, or the error for the first field that would not survive
// being written into a configuration.
func (f Federation) normalise() (Federation, error) {
	f.Zone, f.ClusterDomain = Domain(f.Zone), Domain(f.ClusterDomain)
	if f.ClusterDomain == "" {
		f.ClusterDomain = "cluster.local"
	}
	if f.FallbackPort == 0 {
		f.FallbackPort = FirstFallbackPort
	}
	if !labelPattern.MatchString(f.Name) {
		return f, fmt.Errorf("the federation name %q is no RFC 1035 label: use lower case letters, digits and dashes, beginning with a letter", f.Name)
	}
	if !domainPattern.MatchString(f.Zone) {
		return f, fmt.Errorf("the zone %q of federation %s is no DNS name: give one like federation.internal", f.Zone, f.Name)
	}
	if !domainPattern.MatchString(f.ClusterDomain) {
		return f, fmt.Errorf("the cluster domain %q is no DNS name: give the member's, usually cluster.local", f.ClusterDomain)
	}
	if f.Zone == f.ClusterDomain {
		return f, fmt.Errorf("the zone %s of federation %s is the member's own cluster domain: give the federation another zone", f.Zone, f.Name)
	}
	for _, server := range f.Nameservers {
		if err := CheckNameserver(server); err != nil {
			return f, fmt.Errorf("federation %s: %w", f.Name, err)
		}
	}
	for _, topology := range []string{f.MemberZone, f.MemberRegion} {
		if topology != "" && !topologyPattern.MatchString(topology) {
			return f, fmt.Errorf("the member's zone or region %q cannot be part of a DNS name: use letters, digits, dashes, dots and underscores", topology)
		}
	}
	if f.FallbackPort < 1 || f.FallbackPort > 65535 {
		return f, fmt.Errorf("the fallback port %d of federation %s is no port: give one from 1 to 65535", f.FallbackPort, f.Name)
	}
	return f, nil
}

// CheckNameserver says what is wrong with a name server: "ip" and "ip:port" are good.
func CheckNameserver(server string) error {
	if _, err := netip.ParseAddr(server); err == nil {
		return nil
	}
	if _, err := netip.ParseAddrPort(server); err != nil {
		return fmt.Errorf("the nameserver %q is no address: give an IP address or ip:port", server)
	}
	return nil
}

// Domain gives a domain in lower case and without the trailing dot, as it stands in a member's configuration.
func Domain(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
