package dnsprovider

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/plan"
	"sigs.k8s.io/external-dns/provider"
	"sigs.k8s.io/external-dns/provider/coredns"

	"github.com/fedhelm/fedhelm/pkg/clusterdns"
)

// A zone of CoreDNS is a folder in etcd: /skydns/<labels of the name, the last first>/<8 hex> holds one value of a name.
var coreDNSKind = kind{
	keys: []key{
		{name: "etcd-endpoints"}, {name: "etcd-ca-file", file: true}, {name: "etcd-cert-file", file: true}, {name: "etcd-key-file", file: true},
		{name: "zones"}, {name: "coredns-endpoints"},
	},
	check:   checkCoreDNS,
	open:    openCoreDNS,
	unowned: true,
	chunk:   500,
	advice:  "see whether etcd is up at etcd-endpoints, and whether https or http, etcd-ca-file, etcd-cert-file and etcd-key-file are those it asks for",
}

// skyDNS is where CoreDNS looks, unless it is told otherwise.
const skyDNS = "/skydns/"

func checkCoreDNS(c Config) error {
	if err := c.required("etcd-endpoints", "the URLs of the etcd that CoreDNS reads, such as http://etcd-cluster.ns:2379"); err != nil {
		return err
	}
	endpoints := split(c.get("etcd-endpoints"))
	https := 0
	for _, url := range endpoints {
		switch {
		case strings.HasPrefix(url, "https://"):
			https++
		case !strings.HasPrefix(url, "http://"):
			return fmt.Errorf("key etcd-endpoints has %s: write it as a URL, http://%s or https://%s", url, url, url)
		}
	}
	if https > 0 && https < len(endpoints) {
		return fmt.Errorf("key etcd-endpoints has both http and https: give one of them")
	}
	for _, name := range []string{"etcd-ca-file", "etcd-cert-file"} {
		if c.get(name) != "" && https == 0 {
			return fmt.Errorf("key %s is given, but key etcd-endpoints has http: write https", name)
		}
	}
	if err := c.together("etcd-cert-file", "etcd-key-file"); err != nil {
		return err
	}
	for _, server := range c.Nameservers() {
		if err := clusterdns.CheckNameserver(server); err != nil {
			return fmt.Errorf("key coredns-endpoints: %w", err)
		}
	}
	zones := split(c.get("zones"))
	if len(zones) > 0 && !slices.ContainsFunc(zones, func(zone string) bool { return canonical(zone) == c.Zone }) {
		return fmt.Errorf("key zones has %s, and zone %s is not among them: add it, or set dns.zoneName to one of them", strings.Join(zones, ", "), c.Zone)
	}
	return nil
}

func openCoreDNS(ctx context.Context, c Config, base externaldns.Config, owner string, _ zoneID) (provider.Provider, error) {
	labels := strings.Split(c.domain(), ".")
	slices.Reverse(labels)
	base.CoreDNSPrefix = skyDNS + strings.Join(labels, "/") + "/" // below it names end where the zone begins
	base.CoreDNSStrictlyOwned = true
	base.TXTOwnerID = owner
	everybody := base
	everybody.CoreDNSStrictlyOwned = false
	var inner, all provider.Provider
	err := withEnvironment(map[string]string{
		"ETCD_URLS":            strings.Join(split(c.get("etcd-endpoints")), ","),
		"ETCD_CA_FILE":         c.path("etcd-ca-file"),
		"ETCD_CERT_FILE":       c.path("etcd-cert-file"),
		"ETCD_KEY_FILE":        c.path("etcd-key-file"),
		"ETCD_TLS_SERVER_NAME": "",
		"ETCD_TLS_INSECURE":    "",
		"ETCD_USERNAME":        "",
		"ETCD_PASSWORD":        "",
	}, func() (err error) {
		if inner, err = coredns.New(ctx, &base, endpoint.NewDomainFilter(nil)); err == nil {
			all, err = coredns.New(ctx, &everybody, endpoint.NewDomainFilter(nil))
		}
		return err
	})
	return &etcdZone{Provider: inner, all: all, domain: c.domain(), owner: owner}, err
}

// etcdZone is external-dns's provider kept to one zone's folder, and made to keep three promises: a name with addresses of both families, or several, is read as it was
// written; every value of it is deleted; and the new value is there before the old one goes.
type etcdZone struct {
	provider.Provider
	// all reads everybody's values, and writes nothing.
	all           provider.Provider
	domain, owner string
}

// shared gives the names of those records, below the zone's, that have values of others beside ours, or only those: CoreDNS would answer with both.
func (z *etcdZone) shared(ctx context.Context, ours records) (map[string]bool, error) {
	read, err := z.all.Records(ctx)
	if err != nil {
		return nil, err
	}
	values := map[string]int{}
	count := func(e *endpoint.Endpoint, name string, sign int) {
		if e.RecordType == endpoint.RecordTypeTXT {
			return
		}
		// What is below a name is an answer for it, too.
		for name = strings.ToLower(name); strings.HasSuffix(name, "."+z.domain); _, name, _ = strings.Cut(name, ".") {
			values[name] += sign * len(e.Targets)
		}
	}
	seen := map[*endpoint.Endpoint]bool{}
	for _, e := range read {
		if !seen[e] {
			seen[e] = true
			count(e, e.DNSName+"."+z.domain, 1)
		}
	}
	for _, e := range ours {
		count(e, e.DNSName, -1)
	}
	names := map[string]bool{}
	for name, more := range values {
		names[name] = more > 0
	}
	return names, nil
}

// prefixLabel is where external-dns keeps the last part of a value's key.
const prefixLabel = "prefix"

// Records are read with all values of a name in one endpoint, of whichever type, and as often as it has values.
func (z *etcdZone) Records(ctx context.Context) ([]*endpoint.Endpoint, error) {
	read, err := z.Provider.Records(ctx)
	if err != nil {
		return nil, err
	}
	var all []*endpoint.Endpoint
	seen := map[*endpoint.Endpoint]bool{}
	for _, e := range read {
		if seen[e] {
			continue
		}
		seen[e] = true
		if e.RecordType == endpoint.RecordTypeTXT {
			e.DNSName += "." + z.domain
			all = append(all, e)
			continue
		}
		types := map[string]*endpoint.Endpoint{}
		for _, target := range e.Targets {
			kind := endpoint.SuitableType(target)
			one := types[kind]
			if one == nil {
				one = endpoint.NewEndpointWithTTL(e.DNSName+"."+z.domain, kind, e.RecordTTL)
				one.Labels[endpoint.OwnerLabelKey] = e.Labels[endpoint.OwnerLabelKey]
				types[kind] = one
			}
			one.Targets = append(one.Targets, target)
			one.Labels[target] = e.Labels[target]
		}
		for _, kind := range slices.Sorted(maps.Keys(types)) {
			all = append(all, types[kind])
		}
	}
	return all, nil
}

func (z *etcdZone) ApplyChanges(ctx context.Context, changes *plan.Changes) error {
	inner := &plan.Changes{}
	write := func(e *endpoint.Endpoint, targets []string, keys map[string]string) {
		if len(targets) == 0 {
			return
		}
		written := endpoint.NewEndpointWithTTL(z.relative(e), e.RecordType, e.RecordTTL, targets...)
		for _, target := range written.Targets {
			written.Labels[target] = cmp.Or(keys[target], z.key(target))
		}
		if e.RecordType == endpoint.RecordTypeTXT {
			written.Labels[prefixLabel] = z.key("TXT")
		}
		inner.Create = append(inner.Create, written)
	}
	remove := func(e *endpoint.Endpoint, targets []string) {
		for _, target := range targets {
			gone := endpoint.NewEndpoint(z.relative(e), e.RecordType, target)
			gone.Labels[prefixLabel] = e.Labels[target]
			if e.RecordType == endpoint.RecordTypeTXT {
				gone.Labels[prefixLabel] = z.key("TXT")
			}
			inner.Delete = append(inner.Delete, gone)
		}
	}
	for _, e := range changes.Create {
		write(e, e.Targets, nil)
	}
	for i, e := range changes.UpdateNew {
		old := changes.UpdateOld[i]
		added := e.Targets
		if e.RecordTTL == old.RecordTTL {
			added = without(e.Targets, old.Targets)
		}
		write(e, added, old.Labels)
		remove(old, without(old.Targets, e.Targets))
	}
	for _, e := range changes.Delete {
		remove(e, e.Targets)
	}
	// A CNAME goes before the name it leads to, which is shorter.
	slices.SortStableFunc(inner.Delete, func(a, b *endpoint.Endpoint) int {
		return strings.Count(b.DNSName, ".") - strings.Count(a.DNSName, ".")
	})
	return z.Provider.ApplyChanges(ctx, inner) // what is written first, then what is deleted
}

func (z *etcdZone) relative(e *endpoint.Endpoint) string {
	return strings.TrimSuffix(e.DNSName, "."+z.domain)
}

// key is the last part of the key of a name's value: always the same, so that what was written twice is there once.
func (z *etcdZone) key(target string) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(z.owner + " " + target))
	return fmt.Sprintf("%08x", hash.Sum32())
}

func without(all, drop []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(one string) bool { return slices.Contains(drop, one) })
}
