package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/external-dns/endpoint"
)

// fakeProvider counts what is asked of it, and fails while it has an error. The real ones are in the tests of package manager: this one is for the times.
type fakeProvider struct {
	mutex                         sync.Mutex
	failure                       error
	held                          []string
	unwritable                    error
	opened, closed, syncs, checks int
	version                       string
	has                           string
}

func (p *fakeProvider) set(change func(*fakeProvider)) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	change(p)
}

func (p *fakeProvider) Check(context.Context) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.checks++
	return p.unwritable
}

func (p *fakeProvider) Sync(_ context.Context, desired []*endpoint.Endpoint, kept ...endpoint.EndpointKey) (int, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.syncs++
	if p.failure != nil {
		return 0, p.failure
	}
	had := p.has
	p.has = ""
	for _, e := range desired {
		p.has += e.DNSName + " "
	}
	for _, key := range kept {
		p.has += "kept:" + key.DNSName + " "
	}
	changed := 0
	if p.has != had {
		changed = 1
	}
	if len(p.held) > 0 {
		return changed, heldError{p.held}
	}
	return changed, nil
}

func (p *fakeProvider) Close() { p.set(func(p *fakeProvider) { p.closed++ }) }

type heldError struct{ names []string }

func (heldError) Error() string { return "names are held" }

func (p *fakeProvider) provider() Provider {
	return Provider{
		Check: true,
		Open: func(context.Context) (Zone, error) {
			p.mutex.Lock()
			defer p.mutex.Unlock()
			if strings.Contains(p.version, "bad") {
				return nil, errors.New("line 3: no such key")
			}
			p.opened++
			return p, nil
		},
		Version: func() string {
			p.mutex.Lock()
			defer p.mutex.Unlock()
			return p.version
		},
		Held: func(err error) []string {
			var held heldError
			if errors.As(err, &held) {
				return held.names
			}
			return nil
		},
	}
}

// world is a keeper of records that a test changes.
type world struct {
	*fakeProvider
	*keeper
	wanted   string
	leave    bool
	void     error
	outcomes []outcome
}

func (w *world) want(names ...string) {
	w.fakeProvider.set(func(*fakeProvider) { w.wanted = strings.Join(names, " ") })
	w.changed(types.NamespacedName{Namespace: "default", Name: strings.Join(names, " ")})
}

// count is how many calls of Sync there were, and reset.
func (w *world) count() (n int) {
	w.fakeProvider.set(func(p *fakeProvider) { n, p.syncs = p.syncs, 0 })
	return n
}

func inWorld(t *testing.T, test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{fakeProvider: &fakeProvider{}, wanted: "a"}
		w.keeper = newKeeper(w.fakeProvider.provider(), time.Minute, func(context.Context) (r wanted, err error) {
			w.fakeProvider.set(func(*fakeProvider) {
				for _, name := range strings.Fields(w.wanted) {
					if kept, is := strings.CutPrefix(name, "kept:"); is {
						r.Kept = append(r.Kept, endpoint.EndpointKey{DNSName: kept, RecordType: "A"})
						continue
					}
					r.Endpoints = append(r.Endpoints, endpoint.NewEndpoint(name, "A", "10.0.0.1"))
				}
				r.leave, err = w.leave, w.void
			})
			return r, err
		}, func(o outcome) { w.fakeProvider.set(func(*fakeProvider) { w.outcomes = append(w.outcomes, o) }) }, logr.Discard())
		ctx, stop := context.WithCancel(t.Context())
		go w.run(ctx)
		synctest.Wait()
		assert.Equal(t, 1, w.count())
		assert.Equal(t, "a ", w.has)
		test(w)
		stop()
		synctest.Wait()
		assert.Equal(t, w.opened, w.closed)
	})
}

func TestChangesComeTogether(t *testing.T) {
	inWorld(t, func(w *world) {
		for i := range 100 { // for a second, one every ten milliseconds
			w.want(fmt.Sprintf("n%d", i))
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		time.Sleep(quietTime + time.Millisecond)
		synctest.Wait()
		assert.Equal(t, "n99 ", w.has)
		assert.LessOrEqual(t, w.count(), 2)

		w.want("x")
		began := time.Now()
		has := func() (records string) {
			w.fakeProvider.set(func(p *fakeProvider) { records = p.has })
			return records
		}
		for has() != "x " {
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		assert.LessOrEqual(t, time.Since(began), quietTime+2*time.Millisecond)
	})
}

func TestNothingIsAskedWhenNothingDiffers(t *testing.T) {
	inWorld(t, func(w *world) {
		for range 50 {
			w.want("a")
			time.Sleep(time.Second)
			synctest.Wait()
		}
		assert.Zero(t, w.count())
		w.fakeProvider.set(func(p *fakeProvider) { p.has = "" })
		time.Sleep(70 * time.Second)
		synctest.Wait()
		assert.Equal(t, "a ", w.has, "lost records come back")
		assert.Equal(t, 1, w.count())
	})
}

func TestAnHourOfFailuresIsNoFloodOfCalls(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fakeProvider.set(func(p *fakeProvider) { p.failure = errors.New("throttled") })
		for i := range 3600 {
			w.want(fmt.Sprintf("n%d", i), "b")
			time.Sleep(time.Second)
			synctest.Wait()
		}
		calls := w.count()
		t.Logf("%d calls in an hour", calls)
		assert.Less(t, calls, 30)
		assert.Greater(t, calls, 12)
		assert.Zero(t, w.checks)
		last := w.outcomes[len(w.outcomes)-1]
		assert.ErrorContains(t, last.failure, "throttled")
		assert.Len(t, last.waiting, witnesses)

		w.fakeProvider.set(func(p *fakeProvider) { p.failure = nil })
		time.Sleep(7 * time.Minute)
		synctest.Wait()
		assert.Equal(t, "n3599 b ", w.has)
		assert.LessOrEqual(t, w.count(), 8, "the try after the pause, and then one a minute")
		assert.True(t, w.failures == 0 && w.outcomes[len(w.outcomes)-1].failure == nil)
	})
}

func TestAnotherConfigurationIsTriedAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fakeProvider.set(func(p *fakeProvider) { p.version = "bad" })
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		assert.ErrorContains(t, w.outcomes[len(w.outcomes)-1].failure, "opening the zone: line 3")
		assert.Zero(t, w.count())
		w.want("b")
		w.fakeProvider.set(func(p *fakeProvider) { p.version = "good" })
		time.Sleep(versionPeriod + time.Millisecond)
		synctest.Wait()
		assert.Equal(t, "b ", w.has)
		assert.True(t, w.outcomes[len(w.outcomes)-1].recovered)
	})
}

func TestAZoneThatHasAllAlreadyIsCheckedOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fakeProvider.set(func(p *fakeProvider) { p.version, p.unwritable = "other", errors.New("write record: forbidden") })
		time.Sleep(versionPeriod + time.Millisecond)
		synctest.Wait()
		assert.ErrorContains(t, w.outcomes[len(w.outcomes)-1].failure, "forbidden")
		assert.Equal(t, 1, w.checks)
		w.fakeProvider.set(func(p *fakeProvider) { p.unwritable = nil })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		assert.NoError(t, w.outcomes[len(w.outcomes)-1].failure)
		assert.Equal(t, 2, w.checks)
	})
}

func TestHeldNamesHoldUpNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fakeProvider.set(func(p *fakeProvider) { p.held = []string{"b"} })
		w.want("a", "b")
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, "a b ", w.has)
		w.want("a", "b")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.Equal(t, 1, w.count())
		last := w.outcomes[len(w.outcomes)-1]
		assert.NoError(t, last.failure)
		assert.Equal(t, []string{"b"}, last.held)
	})
}

func TestWhatIsNoLongerKeptIsWritten(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, wanted := range [][]string{{"a", "kept:a"}, {"a"}} {
			w.want(wanted...)
			time.Sleep(time.Second)
			synctest.Wait()
			assert.Equal(t, strings.Join(wanted, " ")+" ", w.has)
			assert.Equal(t, 1, w.count())
		}
	})
}

// What nobody remembers is left alone, though the zone is looked at, and what is known again is written at once, even if it is nothing.
func TestAZoneThatNobodyRemembersIsLeftAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fakeProvider.set(func(p *fakeProvider) { w.leave, p.version = true, "other" })
		w.want()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		assert.Zero(t, w.count())
		assert.Equal(t, 1, w.checks)
		assert.Equal(t, "a ", w.has)
		assert.NoError(t, w.outcomes[len(w.outcomes)-1].failure)

		w.fakeProvider.set(func(*fakeProvider) { w.leave = false })
		w.want()
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Empty(t, w.has)
	})
}

// While what is known is void, nothing is written.
func TestVoidRecordsAreNotWritten(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fakeProvider.set(func(*fakeProvider) { w.void = errLost })
		w.want()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.Zero(t, w.count())
		assert.Equal(t, "a ", w.has)
		assert.ErrorIs(t, w.outcomes[len(w.outcomes)-1].failure, errLost)

		w.fakeProvider.set(func(*fakeProvider) { w.void = nil })
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, w.has)
		assert.True(t, w.outcomes[len(w.outcomes)-1].failure == nil)
	})
}

func TestEachProblemIsToldOnce(t *testing.T) {
	var told told
	now := time.Now()
	assert.True(t, told.news("zone", "no", now))
	assert.False(t, told.news("zone", "no", now.Add(time.Minute)))
	assert.True(t, told.news("zone", "never", now.Add(time.Minute)))
	assert.True(t, told.news("zone", "never", now.Add(2*tellAgain)), "after long, again")
	assert.True(t, told.news("other", "never", now))
	assert.True(t, told.news("zone", "", now), "all is well again")
	assert.False(t, told.news("zone", "", now))
	assert.True(t, told.news("zone", "never", now))
	told.forget(func(about string) bool { return about == "zone" })
	assert.True(t, told.news("other", "never", now))
}
