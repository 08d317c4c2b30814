package faults

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A program that puts three keys into a server converges wherever it is killed. Every write is cut twice in the whole matrix, every second one once outside of it.
func TestKillAtEveryWrite(t *testing.T) {
	for size, want := range map[string]int{"": 2, "long": 6} {
		t.Setenv("FEDHELM_TEST", size)
		testKillAtEveryWrite(t, want)
	}
}

func testKillAtEveryWrite(t *testing.T, want int) {
	t.Helper()
	cuts := KillAtEveryWrite(t, func(t *testing.T) Stage {
		stored := map[string]int{}
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				stored[r.URL.Path]++
			}
		}))
		t.Cleanup(server.Close)
		return Stage{
			Run: func(ctx context.Context, wire *Transport) error {
				c := &http.Client{Transport: wire.Wrap(http.DefaultTransport)}
				for _, path := range []string{"/a", "/b", "/c"} {
					for _, method := range []string{http.MethodGet, http.MethodPut} {
						request, _ := http.NewRequestWithContext(ctx, method, server.URL+path, nil)
						response, err := c.Do(request)
						if err != nil {
							return err
						}
						_ = response.Body.Close()
					}
				}
				return nil
			},
			Check: func(t *testing.T) {
				if len(stored) != 3 {
					t.Errorf("stored %v", stored)
				}
			},
		}
	})
	if cuts != want {
		t.Errorf("%d cuts, want %d", cuts, want)
	}
}

func TestDeadProgramMakesNoMoreCalls(t *testing.T) {
	sent := 0
	next := roundTripper(func(*http.Request) (*http.Response, error) { sent++; return httptest.NewRecorder().Result(), nil })
	for mode, want := range map[Mode]int{BeforeRequest: 0, BeforeAnswer: 1} {
		sent = 0
		wire := (&Transport{CutAt: 1, Mode: mode}).Wrap(next)
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			if _, err := wire.RoundTrip(httptest.NewRequest(method, "/", strings.NewReader(""))); !errors.Is(err, ErrKilled) {
				t.Errorf("%s: %v", mode, err)
			}
		}
		if sent != want {
			t.Errorf("%s: %d requests sent, want %d", mode, sent, want)
		}
	}
}

func TestReviewsAreNoWrites(t *testing.T) {
	transport := &Transport{CutAt: 1}
	wire := transport.Wrap(roundTripper(func(*http.Request) (*http.Response, error) { return httptest.NewRecorder().Result(), nil }))
	request := httptest.NewRequest(http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", nil)
	if _, err := wire.RoundTrip(request); err != nil || transport.Cut() {
		t.Errorf("a review was cut: %v", err)
	}
}
