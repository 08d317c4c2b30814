//go:build e2e

package manager_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/matrix"
	"github.com/fedhelm/fedhelm/test/measure"
)

const (
	churnServices = 24
	// staleBound is how long after a change the old answer may be given, on a busy machine; awayBound how long an unreachable member's may, on top of
	// which it is staleBound: three failed probes, of which each may take a second.
	staleBound = 10 * time.Second
	awayBound  = 10 * time.Second
)

// truth is what addresses a Service has had in a member, and since when.
type truth struct {
	healthy bool
	since   time.Time
	// seen says that the answer has followed the last change.
	seen bool
}

// churn is a federation whose Services, endpoints and members come and go, and what an answer may be.
type churn struct {
	*reachedEarth
	random *rand.Rand

	mutex sync.Mutex
	// truths by Service and member; away since when a member does not answer, back since when it does again, zero for ever.
	truths     map[string]map[string]*truth
	away, back map[string]time.Time
	// latencies are the times from a change until the answer had it; wrong are answers that were not to be given.
	latencies []float64
	wrong     []string
	answers   int
}

func newChurn(t *testing.T) *churn {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("CHAOS_SEED=%d", seed)
	c := &churn{reachedEarth: newReachedEarth(t), random: rand.New(rand.NewPCG(seed, 0)),
		truths: map[string]map[string]*truth{}, away: map[string]time.Time{}, back: map[string]time.Time{}}
	for i := range churnServices {
		service := fmt.Sprintf("s%d", i)
		c.create(loadBalancer(service))
		c.truths[service] = map[string]*truth{}
		for j, member := range []string{"gondor", "shire"} {
			c.members()[member].balance(service, churnAddress(j, i))
			c.truths[service][member] = &truth{since: time.Now(), seen: true}
			c.flip(service, member)
		}
	}
	for service := range c.truths {
		c.zone.eventually(serviceName(service, ""), "A "+churnAddress(0, number(service))+" "+churnAddress(1, number(service)))
	}
	return c
}

func number(service string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(service, "s"))
	return n
}

// churnAddress is a Service's in a member, and nobody else's.
func churnAddress(member, service int) string {
	return fmt.Sprintf("10.%d.7.%d", member+1, service+1)
}

// flip makes a Service's endpoints in a member ready, or not ready any more.
func (c *churn) flip(service, member string) {
	c.Helper()
	c.mutex.Lock()
	ready := !c.truths[service][member].healthy
	c.mutex.Unlock()
	c.members()[member].endpoints(service, ready)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.truths[service][member] = &truth{healthy: ready, since: time.Now(), seen: !c.back[member].IsZero() && time.Since(c.back[member]) < staleBound}
}

// judge looks at an answer for a Service at a level, asked for between two times.
func (c *churn) judge(service, level, answer string, asked, answered time.Time) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.answers++
	if answer == "" {
		c.wrong = append(c.wrong, fmt.Sprintf("no answer for %s %s", service, level))
		return
	}
	var given []string
	if _, addresses, found := strings.Cut(" "+answer, " A "); found {
		given = strings.Fields(addresses)
	}
	expected := map[string]string{}
	for i, member := range []string{"gondor", "shire"} {
		address := churnAddress(i, number(service))
		expected[address] = member
		now := c.truths[service][member]
		is := slices.Contains(given, address)
		if level == "" && is == now.healthy && !now.seen && asked.After(now.since) && c.away[member].IsZero() {
			now.seen = true
			c.latencies = append(c.latencies, answered.Sub(now.since).Seconds())
		}
		settled := asked.Sub(now.since) > staleBound
		away, back := c.away[member], c.back[member]
		switch {
		case is && !now.healthy && settled && away.IsZero() && asked.Sub(back) > staleBound:
			c.wrong = append(c.wrong, fmt.Sprintf("%s %s has %s, which has not been healthy for %v", service, level, address, asked.Sub(now.since)))
		case is && !away.IsZero() && asked.Sub(away) > awayBound+staleBound:
			c.wrong = append(c.wrong, fmt.Sprintf("%s %s has %s, whose member is away for %v", service, level, address, asked.Sub(away)))
		// Any level leads to what is healthy anywhere, the global one to all of it.
		case !is && (level == "" || len(given) == 0) && now.healthy && settled && away.IsZero() && asked.Sub(back) > awayBound+staleBound:
			c.wrong = append(c.wrong, fmt.Sprintf("%s %s is %s, without %s, which has been healthy for %v", service, level, answer, address, asked.Sub(now.since)))
		}
	}
	for _, address := range given {
		if expected[address] == "" {
			c.wrong = append(c.wrong, fmt.Sprintf("%s %s has %s, which is another's", service, level, address))
		}
	}
}

// check asks for the names of all Services at all levels until stop is closed.
func (c *churn) check(stop <-chan struct{}) {
	for {
		for i := range churnServices {
			for _, level := range []string{"", "west", "east", "west-a.west", "west-b.west", "east-a.east"} {
				select {
				case <-stop:
					return
				default:
				}
				service := fmt.Sprintf("s%d", i)
				asked := time.Now()
				c.judge(service, level, c.zone.ask(serviceName(service, level)), asked, time.Now())
			}
		}
	}
}

// Endpoints and members come and go for two minutes, or twenty (make test-long), while somebody asks for all names all the time: no answer may have an
// address that was not the Service's a short while ago. CHAOS_SEED repeats a run.
func TestChurn(t *testing.T) {
	length := 2 * time.Minute
	if matrix.Whole() {
		length = 20 * time.Minute
	}
	c := newChurn(t)
	stop := make(chan struct{})
	var checkers sync.WaitGroup
	for range 2 {
		checkers.Go(func() { c.check(stop) })
	}
	end := time.Now().Add(length)
	nextMember := time.Now().Add(20 * time.Second)
	pace := time.NewTicker(250 * time.Millisecond)
	defer pace.Stop()
	flips, outages := 0, 0
	for time.Now().Before(end) {
		<-pace.C
		if time.Now().After(nextMember) {
			if c.isAway("shire") {
				c.comeBack("shire", c.shire)
				nextMember = time.Now().Add(30 * time.Second)
			} else {
				c.goAway("shire", c.shire)
				nextMember = time.Now().Add(25 * time.Second)
				outages++
			}
		}
		member := []string{"gondor", "shire"}[c.random.IntN(2)]
		if !c.isAway(member) {
			c.flip(fmt.Sprintf("s%d", c.random.IntN(churnServices)), member)
			flips++
		}
	}
	if c.isAway("shire") {
		c.comeBack("shire", c.shire)
	}
	c.eventuallyReady("shire", v1beta1.ClusterPhaseReady, "ClusterReady")
	clusters.EventuallySeen(t, bound, "the last answers", func() (bool, string) { return c.isRight() })
	close(stop)
	checkers.Wait()
	require.NotEmpty(t, c.latencies)
	t.Logf("%d changes, %d outages, %d answers; time from a change to the answer: %s", flips, outages, c.answers, distribution(c.latencies))
	require.Empty(t, c.wrong, "%d answers were wrong", len(c.wrong))
	for _, p := range []float64{0.5, 0.9, 0.99, 1} {
		measure.Add("dns churn", measure.Figure{Name: fmt.Sprintf("stale under %s of churn, of %d changes %g %%", length, len(c.latencies), 100*p), Unit: " s",
			Values: []float64{measure.Percentile(c.latencies, p)}})
	}
}

func (c *churn) isAway(member string) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return !c.away[member].IsZero()
}

func (c *churn) goAway(name string, member *api) {
	c.mutex.Lock()
	c.away[name] = time.Now()
	for _, of := range c.truths {
		of[name].seen = true // what changes now is of no use for the times
	}
	c.mutex.Unlock()
	member.stop()
}

func (c *churn) comeBack(name string, member *api) {
	member.start()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.away[name], c.back[name] = time.Time{}, time.Now()
}

// isRight says whether all names are as they should be now.
func (c *churn) isRight() (bool, string) {
	for n := range churnServices {
		service := fmt.Sprintf("s%d", n)
		var want []string
		c.mutex.Lock()
		for i, member := range []string{"gondor", "shire"} {
			if c.truths[service][member].healthy {
				want = append(want, churnAddress(i, n))
			}
		}
		c.mutex.Unlock()
		answer := "NXDOMAIN"
		if len(want) > 0 {
			answer = "A " + strings.Join(want, " ")
		}
		if got := c.zone.ask(serviceName(service, "")); got != answer {
			return false, fmt.Sprintf("%s is %s, wanted %s", service, got, answer)
		}
	}
	return true, ""
}

// distribution of times, in seconds.
func distribution(times []float64) string {
	return fmt.Sprintf("p50 %.2fs, p99 %.2fs, max %.2fs of %d", measure.Percentile(times, 0.5), measure.Percentile(times, 0.99), slices.Max(times), len(times))
}
