// Package faults kills a program at any one of its API writes, at the HTTP transport, to show that it converges when it is run again.
package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/fedhelm/fedhelm/test/matrix"
)

// Mode says on which side of a write the program is killed.
type Mode string

const (
	// BeforeRequest kills before the request is sent: the API never sees it.
	BeforeRequest Mode = "before the request"
	// BeforeAnswer kills after the API has done what was asked, before its answer arrives.
	BeforeAnswer Mode = "before the answer"
)

// ErrKilled is what every call answers from the cut on: a dead program makes no more calls.
var ErrKilled = errors.New("killed by the test")

// Transport cuts the wire of every client that it wraps at the CutAt-th write counted over all of them (from 1; 0 never cuts). The zero value
// only counts. Reviews of rights are POSTs that store nothing, and are no writes.
type Transport struct {
	CutAt int
	Mode  Mode
	// OnCut is called once at the cut, for instance to cancel the program's context.
	OnCut func()

	mutex  sync.Mutex
	writes []string
	dead   bool
}

// Wrap puts next under this transport; the shape is rest.Config.Wrap's argument.
func (t *Transport) Wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) { return t.roundTrip(next, request) })
}

// Writes gives the writes seen up to the cut, as `METHOD /path`.
func (t *Transport) Writes() []string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return append([]string(nil), t.writes...)
}

// Cut says whether the wire was cut.
func (t *Transport) Cut() bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.dead
}

func (t *Transport) roundTrip(next http.RoundTripper, request *http.Request) (*http.Response, error) {
	dead, cutNow := t.count(request)
	if dead {
		return nil, ErrKilled
	}
	if !cutNow {
		return next.RoundTrip(request)
	}
	if t.OnCut != nil {
		defer t.OnCut()
	}
	if t.Mode == BeforeRequest {
		return nil, ErrKilled
	}
	response, err := next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, response.Body)
	if response.StatusCode >= http.StatusBadRequest {
		return nil, fmt.Errorf("%w, and the API refused the write: %s", ErrKilled, response.Status)
	}
	return nil, ErrKilled
}

// count notes a write, and says whether the program is dead already or dies of this request.
func (t *Transport) count(request *http.Request) (dead, cutNow bool) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.dead {
		return true, false
	}
	if !isWrite(request) {
		return false, false
	}
	t.writes = append(t.writes, request.Method+" "+request.URL.Path)
	t.dead = t.CutAt > 0 && len(t.writes) == t.CutAt
	return false, t.dead
}

func isWrite(request *http.Request) bool {
	switch request.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return false
	}
	path := request.URL.Path
	return !strings.HasPrefix(path, "/apis/authorization.k8s.io/") && !strings.HasPrefix(path, "/apis/authentication.k8s.io/")
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

// Stage is a world of its own for one try.
type Stage struct {
	// Run is the program. It makes its clients over wire.Wrap, and is run again on the same world after it was killed.
	Run func(ctx context.Context, wire *Transport) error
	// Check fails the test unless the world is as a run that was never killed leaves it.
	Check func(t *testing.T)
}

// KillAtEveryWrite runs the program once whole, and then kills it at each of its writes in turn, each time in a new world, and runs it again, which
// must succeed and pass the check: in both modes in the whole matrix, else every second write, in one mode and the other in turns. It gives the number of cuts made.
func KillAtEveryWrite(t *testing.T, newStage func(t *testing.T) Stage) int {
	t.Helper()
	whole := newStage(t)
	wire := &Transport{}
	if err := whole.Run(t.Context(), wire); err != nil {
		t.Fatalf("the run that is not killed: %v", err)
	}
	whole.Check(t)

	cuts := 0
	for m, mode := range []Mode{BeforeRequest, BeforeAnswer} {
		for n, write := range wire.Writes() {
			if !matrix.Whole() && n%4 != 2*m {
				continue
			}
			t.Run(fmt.Sprintf("killed %s of write %d", mode, n+1), func(t *testing.T) {
				killAt(t, newStage(t), mode, n+1, write)
				cuts++
			})
		}
	}
	t.Logf("%d writes, cut before the request or before the answer: %d cuts", len(wire.Writes()), cuts)
	return cuts
}

func killAt(t *testing.T, stage Stage, mode Mode, n int, write string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wire := &Transport{CutAt: n, Mode: mode, OnCut: cancel}
	err := stage.Run(ctx, wire)
	if !wire.Cut() {
		t.Fatalf("the run made only %d writes: %v", len(wire.Writes()), err)
	}
	if err == nil {
		t.Fatalf("killed %s of %s, the run says that it succeeded", mode, write)
	}
	if err := stage.Run(t.Context(), &Transport{}); err != nil {
		t.Fatalf("killed %s of %s, the next run: %v", mode, write, err)
	}
	stage.Check(t)
}
