package dnsprovider

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"sigs.k8s.io/external-dns/endpoint"
)

// What stays in a zone beside what is wanted there.
func TestKept(t *testing.T) {
	record := func(name, kind string, targets ...string) *endpoint.Endpoint {
		return endpoint.NewEndpointWithTTL(name, kind, 180, targets...)
	}
	whose := func(owner string, e *endpoint.Endpoint) *endpoint.Endpoint {
		e.Labels[endpoint.OwnerLabelKey] = owner
		return e
	}
	const ours = "fellowship/1"
	address, alias, further := record("a.example", "A", "10.0.0.1"), record("a.example", "CNAME", "c.example"), record("b.example", "CNAME", "a.example")
	for name, c := range map[string]struct {
		there        *endpoint.Endpoint
		wanted, want records
	}{
		"addresses join the wanted ones": {whose(ours, record("A.example", "A", "10.0.0.2", "10.0.0.1")),
			records{record("a.example", "A", "10.0.0.1", "10.0.0.3")}, records{record("a.example", "A", "10.0.0.1", "10.0.0.2", "10.0.0.3")}},
		"addresses stay where nothing is wanted": {whose(ours, record("a.example", "A", "10.0.0.1")), nil, records{address}},
		"addresses go before a CNAME":            {whose(ours, record("a.example", "A", "10.0.0.1")), records{alias}, records{address}},
		"a CNAME leads to them":                  {whose(ours, record("a.example", "A", "10.0.0.1")), records{further}, records{further, address}},
		"a CNAME leads to none":                  {whose(ours, record("c.example", "A", "10.0.0.1")), records{further, alias}, records{}},
		"another type":                           {whose(ours, record("a.example", "AAAA", "fd00::1")), records{address}, records{address}},
		"somebody else's":                        {whose("council/1", record("a.example", "A", "10.0.0.2")), records{address}, records{address}},
		"what has no owner":                      {record("a.example", "A", "10.0.0.2"), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			z := &Zone{owner: ours}
			got := leading(withKept(z.ours(records{c.there}, []endpoint.EndpointKey{{DNSName: "a.example", RecordType: "A"}}), c.wanted))
			assert.Equal(t, fmt.Sprint(c.want), fmt.Sprint(got))
		})
	}
}
