package service

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/external-dns/endpoint"
)

const (
	// lookupTimeout bounds the wait for one answer, and that for the first answers to new names.
	lookupTimeout = 5 * time.Second
	// lookups is how many names are resolved at once.
	lookups = 16
)

// families are the two kinds of addresses, which are asked for apart: a failure of one says nothing of the other. recordTypes are their records'.
var (
	families    = [...]string{"ip4", "ip6"}
	recordTypes = [len(families)]string{endpoint.RecordTypeA, endpoint.RecordTypeAAAA}
)

// hosts keeps the addresses of load balancers' host names.
type hosts struct {
	lookup func(ctx context.Context, family, name string) ([]netip.Addr, error)
	period time.Duration
	// changed is called when a name has other addresses than before.
	changed func()
	wake    chan struct{}

	mutex sync.Mutex
	names map[string]*host
}

// host is what is known of one name.
type host struct {
	addresses [len(families)][]netip.Addr
	// answered says whether an answer has come yet: addresses, or that there are none.
	answered [len(families)]bool
	asked    time.Time
	asking   bool
	// tried is closed when it has been asked for once.
	tried chan struct{}
}

// newHosts resolves by a DNS server, ip:port, or by the system's if that is empty.
func newHosts(server string, period time.Duration, changed func()) *hosts {
	resolver := &net.Resolver{PreferGo: true}
	if server != "" {
		resolver.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server)
		}
	}
	lookup := func(ctx context.Context, family, name string) ([]netip.Addr, error) {
		return resolver.LookupNetIP(ctx, family, strings.TrimSuffix(name, ".")+".") // as it is, in no search domain
	}
	return &hosts{lookup: lookup, period: period, changed: changed, wake: make(chan struct{}, 1), names: map[string]*host{}}
}

// want says which names there are. It waits a short while for the first answers to those that are new: a load balancer that is given another name would
// lose its records meanwhile.
func (h *hosts) want(ctx context.Context, names map[string]bool) {
	enough := time.NewTimer(lookupTimeout)
	defer enough.Stop()
	for _, tried := range h.keep(names) {
		select {
		case <-tried:
		case <-enough.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// keep forgets all other names, and has those resolved that are new. It gives what is closed when they have been asked for.
func (h *hosts) keep(names map[string]bool) (tried []chan struct{}) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for name := range h.names {
		if !names[name] {
			delete(h.names, name)
		}
	}
	for name := range names {
		if h.names[name] == nil {
			h.names[name] = &host{tried: make(chan struct{})}
			tried = append(tried, h.names[name].tried)
		}
	}
	if len(tried) > 0 {
		select {
		case h.wake <- struct{}{}:
		default:
		}
	}
	return tried
}

// addresses are a name's, as far as they are known.
func (h *hosts) addresses(name string) []netip.Addr {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if known := h.names[name]; known != nil {
		return slices.Concat(known.addresses[:]...)
	}
	return nil
}

// unanswered are the types of a name's addresses for which nobody has answered yet.
func (h *hosts) unanswered(name string) []string {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	known := h.names[name]
	var all []string
	for i, kind := range recordTypes {
		if known == nil || !known.answered[i] {
			all = append(all, kind)
		}
	}
	return all
}

// unknown is a name that nobody has answered for yet, empty if there is none.
func (h *hosts) unknown() string {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for name, known := range h.names {
		if known.answered != [len(families)]bool{true, true} {
			return "the addresses of " + name
		}
	}
	return ""
}

// run resolves the names that are due until ctx ends. One that gets no answer holds up no other.
func (h *hosts) run(ctx context.Context) {
	slots := make(chan struct{}, lookups)
	for ctx.Err() == nil {
		for _, name := range h.due() {
			go func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				h.resolve(ctx, name)
			}()
		}
		timer := time.NewTimer(wait.Jitter(h.period/10, 0.1))
		select {
		case <-ctx.Done():
		case <-h.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// due are the names that are new, or were asked for a period ago. One that has no answer yet is asked for sooner.
func (h *hosts) due() []string {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	var due []string
	for name, known := range h.names {
		period := h.period
		if !known.answered[0] || !known.answered[1] {
			period /= 10
		}
		if !known.asking && time.Since(known.asked) >= period {
			known.asked, known.asking = time.Now(), true
			due = append(due, name)
		}
	}
	return due
}

// resolve asks for a name, for both families at once. That there is no such name is an answer; on any other failure the last answer stays.
func (h *hosts) resolve(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var (
		found   [len(families)][]netip.Addr
		failure [len(families)]error
		group   sync.WaitGroup
	)
	for i, family := range families {
		group.Go(func() { found[i], failure[i] = h.lookup(ctx, family, name) })
	}
	group.Wait()
	if h.note(name, found, failure) {
		h.changed()
	}
}

// note keeps the answers for a name, and says whether they are others than before.
func (h *hosts) note(name string, found [len(families)][]netip.Addr, failure [len(families)]error) (changed bool) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	known := h.names[name]
	if known == nil {
		return false // nobody wants it any more
	}
	for i := range families {
		var answer *net.DNSError
		if err := failure[i]; err != nil && !(errors.As(err, &answer) && answer.IsNotFound) {
			continue
		}
		slices.SortFunc(found[i], netip.Addr.Compare)
		if !known.answered[i] || !slices.Equal(known.addresses[i], found[i]) {
			known.addresses[i], known.answered[i], changed = found[i], true, true
		}
	}
	known.asking = false
	if known.tried != nil {
		close(known.tried)
		known.tried = nil
	}
	return changed
}
