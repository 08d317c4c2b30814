package dnsrecords

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/external-dns/endpoint"
)

// world is a random federation.
type world struct {
	members  []Member
	services []Service
}

func newWorld(random *rand.Rand) world {
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	var w world
	for i := range random.IntN(6) {
		m := Member{Name: fmt.Sprintf("m%d", i), Region: pick("", "Gondor", "rohan", "rohan"), Healthy: random.IntN(4) > 0}
		for range random.IntN(4) {
			m.Zones = append(m.Zones, pick("a", "b", "C"))
		}
		w.members = append(w.members, m)
	}
	for i := range random.IntN(5) {
		s := Service{Namespace: pick("default", "shop"), Name: fmt.Sprintf("s%d", i), LoadBalancer: random.IntN(5) > 0, Addresses: map[string][]netip.Addr{}}
		for j := range 7 { // a member more than there are
			for range random.IntN(3) {
				s.Addresses[fmt.Sprintf("m%d", j)] = append(s.Addresses[fmt.Sprintf("m%d", j)],
					netip.MustParseAddr(fmt.Sprintf(pick("10.%d.%d.%d", "fd00:%d:%d::%d"), i, j, random.IntN(3))))
			}
		}
		w.services = append(w.services, s)
	}
	return w
}

// resolve follows a name through the records, as a resolver does.
func resolve(records map[string][]*endpoint.Endpoint, name string) ([]string, error) {
	for range 10 {
		found := records[name]
		if len(found) == 1 && found[0].RecordType == endpoint.RecordTypeCNAME {
			if len(found[0].Targets) != 1 {
				return nil, fmt.Errorf("%s has %d CNAMEs", name, len(found[0].Targets))
			}
			name = found[0].Targets[0]
			continue
		}
		var all []string
		for _, e := range found {
			if e.RecordType == endpoint.RecordTypeCNAME {
				return nil, fmt.Errorf("%s has a CNAME beside another record", name)
			}
			all = append(all, e.Targets...)
		}
		return all, nil
	}
	return nil, fmt.Errorf("%s leads in a circle", name)
}

// Every name of a Service, asked from wherever a member is, leads to the addresses of the nearest healthy members that have any, and to no others.
func TestEveryNameLeadsToTheNearest(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for round := range uint64(500) {
		w := newWorld(rand.New(rand.NewPCG(seed, round)))
		r := Compute(fellowship, w.members, w.services)
		require.Empty(t, r.Problems)
		records := map[string][]*endpoint.Endpoint{}
		for _, e := range r.Endpoints {
			records[e.DNSName] = append(records[e.DNSName], e)
		}
		for _, s := range w.services {
			for _, client := range w.members {
				for _, zone := range append([]string{""}, client.Zones...) {
					got, err := resolve(records, fmt.Sprintf("%s.%s.fellowship.svc.%s", s.Name, s.Namespace, nearest(client.Region, zone)))
					require.NoError(t, err, "seed %d, round %d", seed, round)
					want := w.nearest(s, client.Region, zone)
					slices.Sort(got)
					require.Equal(t, want, got, "seed %d, round %d: %s/%s from %s %q", seed, round, s.Namespace, s.Name, client.Region, zone)
				}
			}
		}
		slices.Reverse(w.members)
		slices.Reverse(w.services)
		require.Equal(t, r, Compute(fellowship, w.members, w.services), "seed %d, round %d: another order of the input", seed, round)
	}
}

// nearest is the domain of the level that a client asks.
func nearest(region, zone string) string {
	switch {
	case region == "":
		return "federation.internal"
	case zone == "":
		return strings.ToLower(region) + ".federation.internal"
	}
	return strings.ToLower(zone+"."+region) + ".federation.internal"
}

// nearest are the addresses that a client in a region and zone should get, said in another way than Compute does.
func (w world) nearest(s Service, region, zone string) []string {
	if !s.LoadBalancer {
		return nil
	}
	for _, near := range []func(Member) bool{
		func(m Member) bool { return region != "" && m.Region == region && slices.Contains(m.Zones, zone) },
		func(m Member) bool { return region != "" && m.Region == region },
		func(Member) bool { return true },
	} {
		var all []string
		for _, m := range w.members {
			if m.Healthy && near(m) {
				for _, address := range s.Addresses[m.Name] {
					all = append(all, address.String())
				}
			}
		}
		if len(all) > 0 {
			slices.Sort(all)
			return slices.Compact(all)
		}
	}
	return nil
}

// Whatever names come in, those that go out are names, there is one CNAME or none at each, and all lead somewhere.
func FuzzNames(f *testing.F) {
	f.Add("nginx", "default", "gondor", "a", "federation.internal.")
	f.Add("a.b", "c", "r.s", "t.", ".")
	f.Add("svc", "fellowship", "svc", "svc", "svc")
	f.Add("*", " ", "a..b", "\x00", "ü")
	f.Add(strings.Repeat("n", 63), strings.Repeat("s", 63), strings.Repeat("r", 63), strings.Repeat("z", 63), strings.Repeat("a.", 90))
	f.Fuzz(func(t *testing.T, name, namespace, region, zone, suffix string) {
		if name == namespace {
			return // the two Services below would be one
		}
		members := []Member{{Name: "a", Region: region, Zones: []string{zone, zone + "." + region}, Healthy: true}, {Name: "b", Region: zone + "." + region, Zones: []string{name}}}
		at := map[string][]netip.Addr{"a": {netip.MustParseAddr("10.0.0.1")}}
		r := Compute(Federation{Name: "fellowship", Zone: suffix}, members, []Service{
			{Namespace: namespace, Name: name, LoadBalancer: true, Addresses: at},
			{Namespace: name, Name: namespace, LoadBalancer: true, Addresses: at},
		})
		records := map[string][]*endpoint.Endpoint{}
		for _, e := range r.Endpoints {
			require.LessOrEqual(t, len(e.DNSName), maxName)
			require.True(t, isDomain(e.DNSName) && e.DNSName == strings.ToLower(e.DNSName), e.DNSName)
			records[e.DNSName] = append(records[e.DNSName], e)
		}
		for at := range records {
			got, err := resolve(records, at)
			require.NoError(t, err)
			require.NotEmpty(t, got, at)
		}
	})
}
