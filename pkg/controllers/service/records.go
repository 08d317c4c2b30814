package service

import (
	"context"
	"net/netip"

	"github.com/fedhelm/fedhelm/pkg/dnsrecords"
)

// records are those that the zone should have, by what is known now. It waits a short while for the addresses of host names that are new; what the zone has of those that nobody answers
// for stays, since DNS may be in trouble just when we start. Error: what is known is void.
func (c *controller) records(ctx context.Context) (wanted, error) {
	c.hosts.want(ctx, c.hostNames())
	var members []dnsrecords.Member
	for _, f := range c.currentFleet() {
		if !f.leaving {
			members = append(members, dnsrecords.Member{Name: f.name, Region: f.region, Zones: f.zones, Healthy: f.ready})
		}
	}
	left := c.left()
	reachable := c.reachable(left)
	services := make([]dnsrecords.Service, 0, len(reachable))
	for _, s := range reachable {
		service := dnsrecords.Service{Namespace: s.Namespace, Name: s.Name, LoadBalancer: s.loadBalancer, Addresses: map[string][]netip.Addr{}, Unknown: map[string][]string{}}
		for _, cluster := range c.ingresses(s) {
			for _, ingress := range cluster.Items {
				if address, err := netip.ParseAddr(ingress.IP); err == nil {
					service.Addresses[cluster.Cluster] = append(service.Addresses[cluster.Cluster], address)
				}
				if ingress.Hostname != "" {
					service.Addresses[cluster.Cluster] = append(service.Addresses[cluster.Cluster], c.hosts.addresses(ingress.Hostname)...)
					service.Unknown[cluster.Cluster] = append(service.Unknown[cluster.Cluster], c.hosts.unanswered(ingress.Hostname)...)
				}
			}
		}
		services = append(services, service)
	}
	// Last, so that what went from the API while they were computed is confirmed too.
	federated := c.federated()
	if err := c.confirm(ctx, federated, c.currentFleet()); err != nil {
		return wanted{}, err
	}
	c.tellLeft(left)
	return wanted{
		Records: dnsrecords.Compute(dnsrecords.Federation{Name: c.options.FederationName, Zone: c.options.ZoneName}, members, services),
		leave:   !c.remembers(federated),
	}, nil
}

// hostNames are those of the load balancers that have one.
func (c *controller) hostNames() map[string]bool {
	names := map[string]bool{}
	for _, s := range c.reachable(c.left()) {
		for _, cluster := range c.ingresses(s) {
			for _, ingress := range cluster.Items {
				if ingress.Hostname != "" {
					names[ingress.Hostname] = true
				}
			}
		}
	}
	return names
}
