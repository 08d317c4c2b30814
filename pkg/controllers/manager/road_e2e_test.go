//go:build e2e

package manager_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// road leads to a member's API, and fails as a test wants.
type road struct {
	*httptest.Server
	onward http.Handler

	mutex  sync.Mutex
	trial  trial
	healed chan struct{}
	// requests to what the federation places, since the road fails, and of them the writes by path.
	requests int
	writes   map[string]int
}

// trial is what happens to a request on the road.
type trial func(w http.ResponseWriter, r *http.Request, onward http.Handler)

func newRoad(t *testing.T, to *api) *road {
	target, err := url.Parse(to.env.Config.Host)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(to.env.Config.CAData))
	r := &road{onward: &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 100},
		FlushInterval: -1, // a watch's events at once
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}}
	r.Server = httptest.NewUnstartedServer(r)
	r.EnableHTTP2 = true
	r.StartTLS()
	t.Cleanup(func() {
		r.heal()
		r.CloseClientConnections()
		r.Close()
	})
	return r
}

// ca signs the road's certificate.
func (r *road) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})
}

func (r *road) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mutex.Lock()
	trial := r.trial
	if trial != nil && !probed(request) {
		r.requests++
		if request.Method != http.MethodGet {
			r.writes[request.URL.Path]++
		}
	}
	r.mutex.Unlock()
	if trial == nil {
		r.onward.ServeHTTP(w, request)
		return
	}
	trial(w, request, r.onward)
}

// probed says whether a request only asks how the member is.
func probed(r *http.Request) bool {
	return r.URL.Path == "/healthz" || r.URL.Path == "/version" || strings.HasSuffix(r.URL.Path, "/nodes")
}

// fail makes the road fail from now on.
func (r *road) fail(trial trial) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.trial, r.healed, r.requests, r.writes = trial, make(chan struct{}), 0, map[string]int{}
}

// heal ends that, also for requests under way.
func (r *road) heal() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.trial != nil {
		r.trial = nil
		close(r.healed)
	}
}

// tried is how many requests there were since the road fails, and how often the write that was tried most was.
func (r *road) tried() (requests, most int) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, n := range r.writes {
		most = max(most, n)
	}
	return r.requests, most
}

// toObjects spares the requests that only ask how the member is.
func toObjects(of trial) trial {
	return func(w http.ResponseWriter, r *http.Request, onward http.Handler) {
		if probed(r) {
			onward.ServeHTTP(w, r)
			return
		}
		of(w, r, onward)
	}
}

func answers(code int) trial {
	return toObjects(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		if code == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		http.Error(w, "the road is closed", code)
	})
}

func delays(by time.Duration) trial {
	return toObjects(func(w http.ResponseWriter, r *http.Request, onward http.Handler) {
		select {
		case <-time.After(by):
			onward.ServeHTTP(w, r)
		case <-r.Context().Done():
			panic(http.ErrAbortHandler) // a client that has just closed its connection still takes an answer
		}
	})
}

// cuts ends each request in the middle: the API has got every second one.
func cuts() trial {
	var mutex sync.Mutex
	got := false
	return toObjects(func(_ http.ResponseWriter, r *http.Request, onward http.Handler) {
		mutex.Lock()
		got = !got
		gets := got && r.Method != http.MethodGet
		mutex.Unlock()
		if gets {
			onward.ServeHTTP(httptest.NewRecorder(), r)
		}
		panic(http.ErrAbortHandler)
	})
}

// swallows answers nothing, as long as the road is not healed.
func (r *road) swallows() trial {
	return func(_ http.ResponseWriter, request *http.Request, _ http.Handler) {
		r.mutex.Lock()
		healed := r.healed
		r.mutex.Unlock()
		select {
		case <-healed:
		case <-request.Context().Done():
		}
		panic(http.ErrAbortHandler)
	}
}
