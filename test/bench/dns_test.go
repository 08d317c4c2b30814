//go:build e2e

package bench

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/plan"

	"github.com/fedhelm/fedhelm/pkg/dnsrecords"
	"github.com/fedhelm/fedhelm/test/measure"
)

const (
	fewServices, manyServices = 200, 2000
	recordRuns                = 10
)

// TestRecords compares the time of a Service's records, among many and among few, when one Service in ten has changed. It is one thread's, so it is CPU time.
func TestRecords(t *testing.T) {
	times := map[int][]float64{}
	for run := range 1 + recordRuns {
		for _, count := range []int{manyServices, fewServices} {
			before := compute(count, false)
			var changes *plan.Changes
			took := measure.Seconds(func() {
				changes = (&plan.Plan{
					Policies: []plan.Policy{&plan.SyncPolicy{}}, Current: before, Desired: compute(count, true), OwnerID: federation,
					ManagedRecords: []string{endpoint.RecordTypeA, endpoint.RecordTypeCNAME},
				}).Calculate().Changes
			})
			require.True(t, changes.HasChanges())
			if run > 0 {
				times[count] = append(times[count], took*1e6/float64(count))
			}
		}
	}
	name := func(count int) string {
		return fmt.Sprintf("records of %d Services computed and planned, a Service", count)
	}
	measure.Compare("dns records",
		measure.Figure{Name: name(manyServices), Unit: " µs", Values: times[manyServices]},
		measure.Figure{Name: name(fewServices), Unit: " µs", Values: times[fewServices]}, 1.5)
}

// compute gives the records of so many Services, each in four of six members with three regions and two zones in each; after a change one in ten is in one less.
func compute(count int, changed bool) []*endpoint.Endpoint {
	var members []dnsrecords.Member
	for i := range 6 {
		members = append(members, dnsrecords.Member{Name: fmt.Sprint("member-", i), Region: fmt.Sprint("region-", i/2), Zones: []string{"a", "b"}, Healthy: true})
	}
	services := make([]dnsrecords.Service, 0, count)
	for i := range count {
		at := map[string][]netip.Addr{}
		for j := range members {
			if (i+j)%3 > 0 && (!changed || i%10 > 0 || j > 2) {
				at[members[j].Name] = []netip.Addr{netip.AddrFrom4([4]byte{10, byte(j), byte(i >> 8), byte(i)})}
			}
		}
		services = append(services, dnsrecords.Service{Namespace: "bench", Name: fmt.Sprint("service-", i), LoadBalancer: true, Addresses: at})
	}
	all := dnsrecords.Compute(dnsrecords.Federation{Name: federation, Zone: "federation.internal."}, members, services).Endpoints
	for _, e := range all {
		e.Labels[endpoint.OwnerLabelKey] = federation
	}
	return all
}
