//go:build e2e && scale

package manager_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fedhelm/fedhelm/test/measure"
)

// From a change of a member's endpoints to the changed answer, in turns with the provider's own time from a write to the answer.
func TestTimeToAnswer(t *testing.T) {
	const rounds = 100
	e := newReachedEarth(t)
	e.create(loadBalancer("web"))
	e.gondor.balance("web", atGondor)
	e.shire.balance("web", atShire)
	e.gondor.endpoints("web", true)
	e.shire.endpoints("web", true)
	e.zone.eventuallyReached("web", both)
	// until asks until an answer is there, without a pause.
	until := func(name, want string) float64 {
		began := time.Now()
		for e.zone.ask(name) != want {
			require.Less(t, time.Since(began), bound, "%s is not %s", name, want)
		}
		return time.Since(began).Seconds()
	}
	var times, floor []float64
	for round := range rounds {
		ready := round%2 == 1
		want := map[bool]string{true: both[""], false: gondorAlone[""]}[ready]
		began := time.Now()
		e.shire.endpoints("web", ready)
		until(serviceName("web", ""), want)
		times = append(times, time.Since(began).Seconds())

		address := fmt.Sprintf("192.0.2.%d", round+1)
		began = time.Now()
		e.zone.put("floor", address)
		until("floor."+zoneName, "A "+address)
		floor = append(floor, time.Since(began).Seconds())
	}
	t.Logf("from a change to the answer: %s; from a write in etcd to the answer: %s", distribution(times), distribution(floor))
	for _, p := range []float64{0.5, 0.99} {
		measure.Compare("dns",
			measure.Figure{Name: fmt.Sprintf("from a change of endpoints to the changed answer, p%g", 100*p), Unit: " ms", Values: []float64{1000 * measure.Percentile(times, p)}},
			measure.Figure{Name: fmt.Sprintf("from a write in etcd to CoreDNS's answer, p%g", 100*p), Unit: " ms", Values: []float64{1000 * measure.Percentile(floor, p)}}, 0)
	}
}
