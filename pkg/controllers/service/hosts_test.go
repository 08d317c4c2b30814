package service

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// answers are what a resolver would give.
type answers struct {
	mutex   sync.Mutex
	found   map[string][]netip.Addr
	failure error
	// failing is the family that has the failure, empty for both.
	failing string
	// silent says that nothing is answered to this name.
	silent string
	asked  int
}

func (a *answers) set(change func()) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	change()
}

func (a *answers) lookup(ctx context.Context, family, name string) ([]netip.Addr, error) {
	if name == a.silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.asked++
	if a.failure != nil && (a.failing == "" || a.failing == family) {
		return nil, a.failure
	}
	found := a.found[family+" "+name]
	if len(found) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return found, nil
}

func TestHostNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v4, v6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
		a := &answers{found: map[string][]netip.Addr{"ip4 lb": {v4}, "ip6 lb": {v6}}}
		changes := 0
		h := newHosts("", 30*time.Second, func() { a.set(func() { changes++ }) })
		h.lookup = a.lookup
		ctx, stop := context.WithCancel(t.Context())
		go h.run(ctx)
		defer synctest.Wait()
		defer stop()

		assert.Empty(t, h.addresses("lb"), "nobody wants it yet")
		assert.Equal(t, []string{"A", "AAAA"}, h.unanswered("lb"))
		began := time.Now()
		h.want(ctx, map[string]bool{"lb": true})
		assert.Equal(t, []netip.Addr{v4, v6}, h.addresses("lb"), "a new name is resolved at once")
		assert.Empty(t, h.unknown())
		assert.Empty(t, h.unanswered("lb"))
		assert.Zero(t, time.Since(began))
		synctest.Wait()
		assert.Equal(t, 1, changes)

		a.set(func() { a.asked = 0 })
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		assert.InDelta(t, 19, a.asked, 3, "each family once a period")
		assert.Equal(t, 1, changes, "the same again is no change")

		a.set(func() { a.found["ip4 lb"] = []netip.Addr{v4.Next()} })
		time.Sleep(35 * time.Second)
		synctest.Wait()
		assert.Equal(t, []netip.Addr{v4.Next(), v6}, h.addresses("lb"), "another address")

		a.set(func() { a.failure = &net.DNSError{Err: "server misbehaving", IsTemporary: true} })
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, []netip.Addr{v4.Next(), v6}, h.addresses("lb"), "a failure keeps the last answer")
		a.set(func() { a.failure = errors.New("read: connection refused") })
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Len(t, h.addresses("lb"), 2)
		assert.Empty(t, h.unanswered("lb"), "nor makes it forget that there was one")

		a.set(func() { a.failure = nil; delete(a.found, "ip6 lb") })
		time.Sleep(35 * time.Second)
		synctest.Wait()
		assert.Equal(t, []netip.Addr{v4.Next()}, h.addresses("lb"), "no IPv6 any more")
		a.set(func() { delete(a.found, "ip4 lb") })
		time.Sleep(35 * time.Second)
		synctest.Wait()
		assert.Empty(t, h.addresses("lb"), "the name is gone")
		assert.Empty(t, h.unknown(), "which is an answer")
		assert.Empty(t, h.unanswered("lb"))

		h.want(ctx, map[string]bool{})
		a.set(func() { a.asked = 0 })
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		assert.Zero(t, a.asked, "nobody needs it any more")
	})
}

func TestAHostNameThatIsNotAnsweredHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{found: map[string][]netip.Addr{"ip4 lb": {netip.MustParseAddr("10.0.0.1")}}, silent: "mordor"}
		h := newHosts("", 30*time.Second, func() {})
		h.lookup = a.lookup
		ctx, stop := context.WithCancel(t.Context())
		go h.run(ctx)
		defer synctest.Wait()
		defer stop()

		began := time.Now()
		h.want(ctx, map[string]bool{"mordor": true})
		assert.Equal(t, lookupTimeout, time.Since(began))
		assert.Equal(t, "the addresses of mordor", h.unknown())
		for range 10 {
			h.want(ctx, map[string]bool{"mordor": true})
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		h.want(ctx, map[string]bool{"mordor": true, "lb": true})
		assert.Len(t, h.addresses("lb"), 1)
		assert.LessOrEqual(t, time.Since(began), lookupTimeout+6*time.Second, "only what is new is waited for")
	})
}

func TestAHostNameThatDNSIsInTroubleForIsUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{found: map[string][]netip.Addr{"ip4 lb": {netip.MustParseAddr("10.0.0.1")}}, failure: errors.New("read: connection refused")}
		changes := 0
		h := newHosts("", 30*time.Second, func() { a.set(func() { changes++ }) })
		h.lookup = a.lookup
		ctx, stop := context.WithCancel(t.Context())
		go h.run(ctx)
		defer synctest.Wait()
		defer stop()

		h.want(ctx, map[string]bool{"lb": true})
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, []string{"A", "AAAA"}, h.unanswered("lb"))
		assert.Zero(t, changes)

		a.set(func() { a.failing = "ip6" })
		time.Sleep(4 * time.Second)
		synctest.Wait()
		assert.Equal(t, []string{"AAAA"}, h.unanswered("lb"), "each family by itself")
		assert.Equal(t, 1, changes)

		a.set(func() { a.failure = nil })
		time.Sleep(4 * time.Second)
		synctest.Wait()
		assert.Empty(t, h.unanswered("lb"))
		assert.Equal(t, 2, changes, "that there are none is news too")
	})
}
