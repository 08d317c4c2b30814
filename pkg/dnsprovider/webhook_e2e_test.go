//go:build e2e

package dnsprovider

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/plan"
)

// hook is a webhook for external-dns with a zone in memory.
type hook struct {
	zone    string
	records []*endpoint.Endpoint
	writes  int
	down    atomic.Bool
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.down.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/external.dns.webhook+json;version=1")
	switch r.Method + " " + r.URL.Path {
	case "GET /":
		_ = json.NewEncoder(w).Encode(map[string]any{"include": []string{h.zone}})
	case "GET /records":
		_ = json.NewEncoder(w).Encode(h.records)
	case "POST /adjustendpoints":
		var all []*endpoint.Endpoint
		_ = json.NewDecoder(r.Body).Decode(&all)
		_ = json.NewEncoder(w).Encode(all)
	case "POST /records":
		h.writes++
		var changes plan.Changes
		_ = json.NewDecoder(r.Body).Decode(&changes)
		for _, gone := range slices.Concat(changes.Delete, changes.UpdateOld) {
			h.records = slices.DeleteFunc(h.records, func(e *endpoint.Endpoint) bool { return e.Key() == gone.Key() })
		}
		for _, made := range slices.Concat(changes.Create, changes.UpdateNew) {
			made.Labels = nil // a real provider keeps no labels
			h.records = append(h.records, made)
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (h *hook) lines() []string {
	all := []string{}
	for _, e := range h.records {
		for _, target := range e.Targets {
			all = append(all, line(e.DNSName, int64(e.RecordTTL), e.RecordType, target))
		}
	}
	slices.Sort(all)
	return all
}

func TestWebhook(t *testing.T) {
	h := &hook{zone: "example.com", records: []*endpoint.Endpoint{a("stranger", "198.51.100.1")}}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	text := "[Global]\nurl = " + server.URL + "\n"
	world{
		open:    func(owner string) *Zone { return open(t, Webhook, text, nil, owner) },
		records: h.lines,
		writes:  func() int { return h.writes },
		marks:   true,
	}.follow(t)

	z := open(t, Webhook, text, nil, "fellowship/1")
	h.zone = "example.org"
	require.ErrorContains(t, z.Check(t.Context()), "the webhook keeps [example.org]: set dns.zoneName to one of those")
	h.down.Store(true)
	require.ErrorContains(t, z.Check(t.Context()), "see whether the webhook is up at its url")
}
