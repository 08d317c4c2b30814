//go:build e2e

package clusterdns

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fakeAPI serves what CoreDNS's kubernetes plugin asks for: Services in namespace default, each with one ready endpoint or with none. They may change.
type fakeAPI struct {
	url string

	mutex    sync.Mutex
	version  int
	services map[string]fakeService
	changed  chan struct{} // closed by the next change
	stopped  chan struct{}
}

type fakeService struct {
	ip    string
	ready bool
}

func newFakeAPI(t *testing.T) *fakeAPI {
	a := &fakeAPI{version: 1, services: map[string]fakeService{}, changed: make(chan struct{}), stopped: make(chan struct{})}
	server := httptest.NewServer(a)
	a.url = server.URL
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(a.stopped) })
	return a
}

func (a *fakeAPI) set(name, ip string, ready bool) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.services[name] = fakeService{ip, ready}
	a.version++
	close(a.changed)
	a.changed = make(chan struct{})
}

// state gives the objects of a path as JSON, nil for one that is not served, their version, and what tells of the next.
func (a *fakeAPI) state(path string) (objects []string, kind string, version int, changed chan struct{}) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	objects = []string{}
	meta := func(name string) string {
		return fmt.Sprintf(`"metadata":{"name":%q,"namespace":"default","resourceVersion":"%d"`, name, a.version)
	}
	switch path {
	case "/api/v1/namespaces":
		kind = "v1/Namespace"
		objects = append(objects, fmt.Sprintf(`{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"default","resourceVersion":"%d"}}`, a.version))
	case "/api/v1/services":
		kind = "v1/Service"
		for name, s := range a.services {
			objects = append(objects, fmt.Sprintf(`{"kind":"Service","apiVersion":"v1",%s},"spec":{"type":"ClusterIP","clusterIP":%q,"clusterIPs":[%[2]q],"ports":[{"port":80,"protocol":"TCP"}]}}`, meta(name), s.ip))
		}
	case "/apis/discovery.k8s.io/v1/endpointslices":
		kind = "discovery.k8s.io/v1/EndpointSlice"
		for name, s := range a.services {
			endpoints := ""
			if s.ready {
				endpoints = `{"addresses":["10.244.0.5"],"conditions":{"ready":true}}`
			}
			objects = append(objects, fmt.Sprintf(`{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1",%s,"labels":{"kubernetes.io/service-name":%q}},"addressType":"IPv4","endpoints":[%s],"ports":[{"port":80,"protocol":"TCP"}]}`,
				meta(name+"-x"), name, endpoints))
		}
	default:
		objects = nil
	}
	return objects, kind, a.version, a.changed
}

// ServeHTTP answers lists, and watches with all objects whenever something has changed. Streaming lists it does not know, so that its client lists.
func (a *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	objects, kind, version, _ := a.state(r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case objects == nil:
		http.NotFound(w, r)
		return
	case r.URL.Query().Get("sendInitialEvents") == "true":
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`)
		return
	case r.URL.Query().Get("watch") == "":
		at := strings.LastIndex(kind, "/")
		_, _ = fmt.Fprintf(w, `{"kind":"%sList","apiVersion":%q,"metadata":{"resourceVersion":"%d"},"items":[%s]}`, kind[at+1:], kind[:at], version, strings.Join(objects, ","))
		return
	}
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	seen, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	for {
		objects, _, version, changed := a.state(r.URL.Path)
		if version > seen {
			for _, object := range objects {
				event, _ := json.Marshal(map[string]any{"type": "MODIFIED", "object": json.RawMessage(object)})
				_, _ = w.Write(append(event, '\n'))
			}
			w.(http.Flusher).Flush()
			seen = version
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-a.stopped:
			return
		}
	}
}
