package service

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/external-dns/endpoint"

	"github.com/fedhelm/fedhelm/pkg/dnsrecords"
)

// Zone is where the records are kept. dnsprovider.Zone is one.
type Zone interface {
	// Check says in a sentence what keeps the zone from being written, nil if nothing does.
	Check(ctx context.Context) error
	// Sync makes our records the desired ones, beside which the addresses that are kept stay where there are some, and says how many it changed. It may change what it is given.
	Sync(ctx context.Context, desired []*endpoint.Endpoint, kept ...endpoint.EndpointKey) (changed int, err error)
	Close()
}

// Provider is how one gets a Zone.
type Provider struct {
	// Open gives the zone as it is configured now.
	Open func(ctx context.Context) (Zone, error)
	// Version is another text once the configuration has changed; it is asked for often.
	Version func() string
	// Check says that a zone is to be checked whose records are right already, so that nobody knows yet whether it may be written.
	Check bool
	// Held gives the names of an error of Sync that says that all is written but names that others hold; nil for any other error.
	Held func(error) []string
}

const (
	// Changes come together: until none has come for quietTime, but no longer than mostDelay.
	quietTime = 200 * time.Millisecond
	mostDelay = time.Second
	// After a failure the next try is leastBackoff away, twice as far each time, up to mostBackoff.
	leastBackoff = time.Second
	mostBackoff  = 5 * time.Minute
	// versionPeriod is the time between two looks at the provider's configuration.
	versionPeriod = 5 * time.Second
	// openTimeout bounds opening a zone, syncTimeout one Sync: a provider that throttles may take long for thousands of records.
	openTimeout = 30 * time.Second
	syncTimeout = 5 * time.Minute
	// reopenAfter failures in a row a zone is opened anew: its client may be of no use any more.
	reopenAfter = 5
	// witnesses is how many of the Services that wait for their records are told why.
	witnesses = 10
)

// wanted is what a zone should have.
type wanted struct {
	dnsrecords.Records
	// leave says that what it has is not to be changed, since it is from a time that nobody remembers.
	leave bool
}

// keeper keeps a zone as records says, all records at once.
type keeper struct {
	provider    Provider
	checkPeriod time.Duration
	records     func(context.Context) (wanted, error)
	report      func(outcome)
	log         logr.Logger

	zone    Zone
	version string
	// proven says that the zone may be written: it was, since it was opened.
	proven   bool
	failures int
	// synced is a hash of the records that were written last, 0 when the zone may have others; held are those of their names that others have.
	synced uint64
	held   []string

	// wake says that something has changed, since the time in since.
	wake    chan struct{}
	mutex   sync.Mutex
	since   time.Time
	waiting map[types.NamespacedName]bool
}

// outcome is what came of a try to write the records.
type outcome struct {
	records dnsrecords.Records
	// failure is why they are not written, nil if they are; recovered says that they were not, the last time.
	failure   error
	recovered bool
	// held are names that others have in the zone.
	held []string
	// again is when it is tried again.
	again time.Duration
	// waiting are some of the Services that have changed since it last succeeded.
	waiting []types.NamespacedName
}

func newKeeper(provider Provider, checkPeriod time.Duration, records func(context.Context) (wanted, error), report func(outcome), log logr.Logger) *keeper {
	return &keeper{provider: provider, checkPeriod: checkPeriod, records: records, report: report, log: log,
		wake: make(chan struct{}, 1), waiting: map[types.NamespacedName]bool{}}
}

// changed makes run look at all records soon. The name is of the Service that changed, empty for anything else.
func (k *keeper) changed(name types.NamespacedName) {
	k.mutex.Lock()
	if k.since.IsZero() {
		k.since = time.Now()
	}
	if name != (types.NamespacedName{}) && len(k.waiting) < witnesses {
		k.waiting[name] = true
	}
	k.mutex.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run keeps the zone until ctx ends: after changes, every checkPeriod, and when the provider's configuration changes.
func (k *keeper) run(ctx context.Context) {
	defer k.close()
	var check time.Time // when it is looked at though nothing changed; after a failure, when it is tried again
	for ctx.Err() == nil {
		whole := k.await(ctx, check)
		if ctx.Err() != nil {
			return
		}
		since := k.take()
		want, err := k.records(ctx)
		if ctx.Err() != nil {
			return
		}
		records, hash := want.Records, hashOf(want)
		if err == nil && !whole && hash == k.synced && k.provider.Version() == k.version {
			k.forgetWaiting()
			k.report(outcome{records: records, held: k.held})
			continue
		}
		failed := k.failures > 0
		var held []string
		if err == nil {
			held, err = k.sync(ctx, want)
		}
		if ctx.Err() != nil {
			return // stopping says nothing about the provider
		}
		if err != nil {
			k.synced = 0
			k.failures++
			again := wait.Jitter(backoff(k.failures), 0.3)
			check = time.Now().Add(again)
			k.mutex.Lock()
			if !since.IsZero() {
				k.since = since
			}
			waiting := make([]types.NamespacedName, 0, len(k.waiting))
			for name := range k.waiting {
				waiting = append(waiting, name)
			}
			k.mutex.Unlock()
			k.report(outcome{records: records, failure: err, again: again, waiting: waiting})
			continue
		}
		k.synced, k.held, k.failures = hash, held, 0
		k.forgetWaiting()
		check = time.Now().Add(wait.Jitter(k.checkPeriod, 0.1))
		if !since.IsZero() {
			latencyMetric.Observe(time.Since(since).Seconds())
		}
		k.report(outcome{records: records, recovered: failed, held: held})
	}
}

// await waits for changes and lets them come together, or for the time of the next check. It says whether the zone is to be looked at even if the
// records are those written last. After a failure nothing but time, or another configuration, makes it try again.
func (k *keeper) await(ctx context.Context, check time.Time) (whole bool) {
	timer := time.NewTimer(time.Until(check))
	defer timer.Stop()
	versions := time.NewTicker(versionPeriod)
	defer versions.Stop()
	wake := k.wake
	if k.failures > 0 {
		wake = nil
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-versions.C:
			if k.provider.Version() != k.version {
				return true
			}
		case <-wake:
			k.settle(ctx)
			return k.synced == 0
		}
	}
}

// settle waits while changes keep coming, though not for long.
func (k *keeper) settle(ctx context.Context) {
	enough := time.NewTimer(mostDelay)
	defer enough.Stop()
	quiet := time.NewTimer(quietTime)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-enough.C:
			return
		case <-quiet.C:
			return
		case <-k.wake:
			quiet.Reset(quietTime)
		}
	}
}

// take gives the time since which there are changes that are not written, zero without any.
func (k *keeper) take() time.Time {
	select {
	case <-k.wake:
	default:
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	since := k.since
	k.since = time.Time{}
	return since
}

func (k *keeper) forgetWaiting() {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	clear(k.waiting)
}

// sync writes the records, with a zone that is opened anew when its configuration has changed, or when it has failed for long. It gives the names that
// are not written since others hold them.
func (k *keeper) sync(ctx context.Context, desired wanted) (held []string, err error) {
	began := time.Now()
	if err = k.open(ctx); err == nil {
		ctx, cancel := context.WithTimeout(ctx, syncTimeout)
		defer cancel()
		var changed int
		if !desired.leave {
			changed, err = k.zone.Sync(ctx, desired.Endpoints, desired.Kept...)
		}
		changesMetric.Add(float64(changed))
		k.proven = k.proven || changed > 0
		if err != nil && k.provider.Held != nil {
			if held = k.provider.Held(err); len(held) > 0 {
				err = nil
			}
		}
		if err == nil && !k.proven && k.provider.Check {
			err = k.zone.Check(ctx)
			k.proven = err == nil
		}
	}
	result := "written"
	if err != nil {
		result = "failed"
	}
	syncMetric.WithLabelValues(result).Observe(time.Since(began).Seconds())
	return held, err
}

func (k *keeper) open(ctx context.Context) error {
	version := k.provider.Version()
	if k.zone != nil && version == k.version && (k.failures == 0 || k.failures%reopenAfter != 0) {
		return nil
	}
	k.close()
	k.version, k.proven = version, false
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	zone, err := k.provider.Open(ctx)
	if err != nil {
		return fmt.Errorf("opening the zone: %w", err)
	}
	k.zone = zone
	return nil
}

func (k *keeper) close() {
	if k.zone != nil {
		k.zone.Close()
		k.zone = nil
	}
}

func backoff(failures int) time.Duration {
	return min(mostBackoff, leastBackoff<<min(failures-1, 20))
}

// hashOf is never 0.
func hashOf(records wanted) uint64 {
	hash := fnv.New64a()
	_, _ = fmt.Fprint(hash, records.leave)
	write := func(texts ...string) {
		for _, text := range texts {
			_, _ = hash.Write([]byte(text))
			_, _ = hash.Write([]byte{0})
		}
		_, _ = hash.Write([]byte{0})
	}
	for _, e := range records.Endpoints {
		write(append([]string{e.DNSName, e.RecordType}, e.Targets...)...)
	}
	for _, key := range records.Kept {
		write(key.DNSName, key.RecordType)
	}
	return max(1, hash.Sum64())
}
