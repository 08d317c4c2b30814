package basicauth

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fedhelm/fedhelm/pkg/pki"
)

// bound is how long anything here may take.
const bound = 30 * time.Second

// world is a proxy before an API server that takes nobody's word but the front proxy's.
type world struct {
	*testing.T
	options Options
	// server is the API server, asked how often a request came to it.
	server *httptest.Server
	asked  atomic.Int32
	// url is where the proxy is, probes where it is asked whether it is.
	url, probes string
	log         *logged
	frontProxy  *pki.Authority
	authority   *pki.Authority
	end         context.CancelFunc
	ended       chan error
}

// newWorld starts it; api answers for the API server, once it has found the front proxy's certificate.
func newWorld(t *testing.T, api http.HandlerFunc) *world {
	t.Helper()
	w := &world{T: t, log: &logged{}, ended: make(chan error, 1)}
	dir := t.TempDir()
	authority := func(name string) *pki.Authority {
		a, err := pki.NewAuthority(name, time.Now())
		require.NoError(t, err)
		return a
	}
	w.authority, w.frontProxy = authority("ca"), authority("front-proxy-ca")
	w.options = Options{
		CertificateAuthority: filepath.Join(dir, "ca.crt"), TLSCertificate: filepath.Join(dir, "tls.crt"), TLSKey: filepath.Join(dir, "tls.key"),
		ProxyCertificate: filepath.Join(dir, "proxy.crt"), ProxyKey: filepath.Join(dir, "proxy.key"), Passwords: filepath.Join(dir, "auth"), Group: "wizards",
	}
	require.NoError(t, os.WriteFile(w.options.CertificateAuthority, w.authority.Pair().Certificate, 0o600))
	serving := w.issue(w.authority, pki.Leaf{CommonName: "kube-apiserver", Names: []string{"127.0.0.1"}, Usages: pki.Server}, w.options.TLSCertificate, w.options.TLSKey)
	w.issue(w.frontProxy, frontProxyLeaf, w.options.ProxyCertificate, w.options.ProxyKey)
	replace(t, w.options.Passwords, line(t, "frodo", "mellon"))

	w.server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		if !w.fromFrontProxy(r) {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		api(rw, r)
	}))
	certificate, err := tls.X509KeyPair(serving.Certificate, serving.Key)
	require.NoError(t, err)
	w.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert}
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	w.options.Server = w.server.URL

	clients, probes := listen(t), listen(t)
	w.url, w.probes = "https://"+clients.Addr().String(), "http://"+probes.Addr().String()
	var ctx context.Context
	ctx, w.end = context.WithCancel(context.WithoutCancel(t.Context())) // which ends before the cleanup
	go func() { w.ended <- Serve(ctx, w.options, clients, probes, slog.New(slog.NewTextHandler(w.log, nil))) }()
	t.Cleanup(func() {
		w.end()
		select {
		case err := <-w.ended:
			assert.NoError(t, err)
		case <-time.After(bound):
			t.Error("the proxy does not end")
		}
		assert.NotContains(t, w.log.String(), "mellon", "no password in a log")
	})
	return w
}

var frontProxyLeaf = pki.Leaf{CommonName: "front-proxy-client", Usages: pki.Client}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return listener
}

// issue writes a new certificate and its key.
func (w *world) issue(authority *pki.Authority, leaf pki.Leaf, certificate, key string) pki.Pair {
	w.Helper()
	pair, err := authority.Issue(leaf, time.Now())
	require.NoError(w, err)
	replace(w.T, certificate, string(pair.Certificate))
	replace(w.T, key, string(pair.Key))
	return pair
}

// fromFrontProxy judges a client's certificate as a kube-apiserver does.
func (w *world) fromFrontProxy(r *http.Request) bool {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.frontProxy.Pair().Certificate)
	if len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	leaf := r.TLS.PeerCertificates[0]
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err == nil && leaf.Subject.CommonName == frontProxyLeaf.CommonName
}

// client is one with connections of its own, by HTTP/2 or 1.1.
func (w *world) client(http2 bool) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.authority.Pair().Certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2}
	w.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// request is one of frodo's, with his password.
func (w *world) request(method, path string, body io.Reader) *http.Request {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), bound)
	w.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, w.url+path, body)
	require.NoError(w, err)
	r.SetBasicAuth("frodo", "mellon")
	return r
}

// answer gives the code, headers and body of an answer.
func (w *world) answer(client *http.Client, r *http.Request) (int, http.Header, string) {
	w.Helper()
	response, err := client.Do(r)
	require.NoError(w, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(w, err)
	return response.StatusCode, response.Header, string(body)
}

// echo answers with the headers of the request, as JSON.
func echo(rw http.ResponseWriter, r *http.Request) {
	r.Header.Set("Path", r.URL.RequestURI())
	_ = json.NewEncoder(rw).Encode(r.Header)
}

func headers(t *testing.T, body string) http.Header {
	t.Helper()
	got := http.Header{}
	require.NoError(t, json.Unmarshal([]byte(body), &got), body)
	return got
}

func TestWhoIsLetIn(t *testing.T) {
	w := newWorld(t, echo)
	for _, http2 := range []bool{true, false} {
		client := w.client(http2)
		for range 2 {
			code, _, body := w.answer(client, w.request(http.MethodGet, "/api/v1/namespaces/a%2Fb?watch=true&limit=1", nil))
			require.Equal(t, http.StatusOK, code)
			got := headers(t, body)
			assert.Equal(t, []string{"frodo"}, got["X-Remote-User"])
			assert.Equal(t, []string{"wizards"}, got["X-Remote-Group"])
			assert.Equal(t, "/api/v1/namespaces/a%2Fb?watch=true&limit=1", got.Get("Path"))
			assert.NotContains(t, got, "Authorization", "the password stays with the proxy")
			assert.Equal(t, "127.0.0.1", got.Get("X-Forwarded-For"))
		}
	}
	before := w.asked.Load()
	for name, ask := range map[string]func(*http.Request){
		"nothing":          func(r *http.Request) { r.Header.Del("Authorization") },
		"a wrong password": func(r *http.Request) { r.SetBasicAuth("frodo", "mellom") },
		"no password":      func(r *http.Request) { r.SetBasicAuth("frodo", "") },
		"another name":     func(r *http.Request) { r.SetBasicAuth("gollum", "mellon") },
		"no name":          func(r *http.Request) { r.SetBasicAuth("", "") },
		"a token":          func(r *http.Request) { r.Header.Set("Authorization", "Bearer mellon") },
		"no base64":        func(r *http.Request) { r.Header.Set("Authorization", "Basic mellon") },
		"his word": func(r *http.Request) {
			r.Header = http.Header{"X-Remote-User": {"frodo"}, "X-Remote-Group": {"system:masters"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.request(http.MethodGet, "/healthz", nil)
			ask(r)
			code, header, body := w.answer(w.client(true), r)
			assert.Equal(t, http.StatusUnauthorized, code)
			assert.Equal(t, challenge, header.Get("WWW-Authenticate"))
			var status metav1.Status
			require.NoError(t, json.Unmarshal([]byte(body), &status))
			assert.Equal(t, metav1.StatusReasonUnauthorized, status.Reason)
			assert.Equal(t, "Status", status.Kind)
		})
	}
	assert.Equal(t, before, w.asked.Load(), "none of these came through")
}

// A password that was taken out of the file is good for nothing, even on a connection on which it was good.
func TestRevoked(t *testing.T) {
	w := newWorld(t, echo)
	client := w.client(true)
	code := func() int {
		t.Helper()
		code, _, _ := w.answer(client, w.request(http.MethodGet, "/", nil))
		return code
	}
	require.Equal(t, http.StatusOK, code())
	replace(t, w.options.Passwords, line(t, "frodo", "friend")+line(t, "sam", "mellon"))
	require.Equal(t, http.StatusUnauthorized, code())
	require.NoError(t, os.Remove(w.options.Passwords))
	require.Equal(t, http.StatusServiceUnavailable, code())
	replace(t, w.options.Passwords, line(t, "frodo", "mellon"))
	require.Equal(t, http.StatusOK, code())
}

// Who somebody is, the proxy says alone, whichever way its headers are written; what somebody wants to be is the API server's to judge.
func TestNobodySaysWhoHeIs(t *testing.T) {
	w := newWorld(t, echo)
	for _, http2 := range []bool{true, false} {
		r := w.request(http.MethodGet, "/", nil)
		for key, value := range map[string]string{
			"X-Remote-User": "sauron", "X-Remote-Group": "system:masters", "x-remote-group": "system:masters", "X-REMOTE-UID": "1", "X-Remote-Extra-Scopes": "all",
			"Impersonate-User": "sam", "X-Forwarded-For": "192.0.2.1",
		} {
			r.Header[key] = []string{value}
		}
		if !http2 {
			r.Header.Set("Connection", "X-Remote-User, X-Remote-Group, Impersonate-User")
		}
		code, _, body := w.answer(w.client(http2), r)
		require.Equal(t, http.StatusOK, code)
		got := headers(t, body)
		assert.Equal(t, []string{"frodo"}, got["X-Remote-User"])
		assert.Equal(t, []string{"wizards"}, got["X-Remote-Group"])
		assert.NotContains(t, got, "X-Remote-Uid")
		assert.NotContains(t, got, "X-Remote-Extra-Scopes")
		assert.Equal(t, "127.0.0.1", got.Get("X-Forwarded-For"))
		if http2 {
			assert.Equal(t, "sam", got.Get("Impersonate-User"))
		}
	}
}

// What is sent arrives at once, both ways, before the rest is there.
func TestStreams(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).EnableFullDuplex()
		in := bufio.NewReader(r.Body)
		for {
			text, err := in.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(rw, "heard "+text)
			_ = http.NewResponseController(rw).Flush()
		}
	})
	body, say := io.Pipe()
	go func() { _, _ = io.WriteString(say, "one\n") }() // which the first line of the answer waits for
	response, err := w.client(true).Do(w.request(http.MethodPost, "/", body))
	require.NoError(t, err)
	defer response.Body.Close()
	out := bufio.NewReader(response.Body)
	for _, word := range []string{"one\n", "two\n", "three\n"} {
		if word != "one\n" {
			_, err := io.WriteString(say, word)
			require.NoError(t, err)
		}
		heard, err := out.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "heard "+word, heard)
	}
	require.NoError(t, say.Close())
	_, err = out.ReadString('\n')
	require.ErrorIs(t, err, io.EOF)
}

// A watch ends at the API server when its client goes.
func TestWatchEndsWithItsClient(t *testing.T) {
	gone := make(chan struct{})
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, "event\n")
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
		close(gone)
	})
	response, err := w.client(true).Do(w.request(http.MethodGet, "/?watch=true", nil))
	require.NoError(t, err)
	_, err = bufio.NewReader(response.Body).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	select {
	case <-gone:
	case <-time.After(bound):
		t.Fatal("the API server still serves the watch")
	}
}

func TestLargeBody(t *testing.T) {
	const size = 64 << 20
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n != size {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = io.CopyN(rw, zeros{}, size)
	})
	for _, http2 := range []bool{true, false} {
		response, err := w.client(http2).Do(w.request(http.MethodPut, "/", io.LimitReader(zeros{}, size)))
		require.NoError(t, err)
		n, err := io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.EqualValues(t, size, n)
	}
}

// zeros are without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Fifty clients, each with a watch that goes on while all the others' do, and with other requests beside it.
func TestFiftyClients(t *testing.T) {
	const clients = 50
	all := make(chan struct{})
	var watching atomic.Int32
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			echo(rw, r)
			return
		}
		_, _ = io.WriteString(rw, "first\n")
		_ = http.NewResponseController(rw).Flush()
		if watching.Add(1) == clients {
			close(all)
		}
		select {
		case <-all:
			_, _ = io.WriteString(rw, "second\n")
		case <-r.Context().Done():
		}
	})
	var group sync.WaitGroup
	for i := range clients {
		client := w.client(i%2 == 0)
		watch, good, wrong := w.request(http.MethodGet, "/?watch=true", nil), w.request(http.MethodGet, "/", nil), w.request(http.MethodGet, "/", nil)
		wrong.SetBasicAuth("frodo", fmt.Sprint("wrong", i))
		group.Go(func() {
			response, err := client.Do(watch)
			if !assert.NoError(t, err) {
				return
			}
			defer response.Body.Close()
			for request, code := range map[*http.Request]int{good: http.StatusOK, wrong: http.StatusUnauthorized} {
				answer, err := client.Do(request)
				if assert.NoError(t, err) {
					assert.Equal(t, code, answer.StatusCode)
					_ = answer.Body.Close()
				}
			}
			events, err := io.ReadAll(response.Body)
			assert.NoError(t, err)
			assert.Equal(t, "first\nsecond\n", string(events))
		})
	}
	group.Wait()
}

// What kubectl exec does: the connection becomes another protocol's.
func TestUpgrade(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "SPDY/3.1" || r.Header.Get("X-Remote-User") != "frodo" {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		connection, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		defer connection.Close()
		_, _ = io.WriteString(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
		text, _ := buffered.ReadString('\n')
		_, _ = io.WriteString(connection, "heard "+text)
	})
	r := w.request(http.MethodPost, "/exec", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "SPDY/3.1")
	response, err := w.client(false).Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
	both := response.Body.(io.ReadWriter)
	_, err = io.WriteString(both, "hello\n")
	require.NoError(t, err)
	heard, err := bufio.NewReader(both).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "heard hello\n", heard)
}

// A renewed certificate is used without a restart: the front proxy's, after its CA took the old one back, and the one for clients.
func TestCertificatesAreReadAgain(t *testing.T) {
	var serial atomic.Value
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		serial.Store(r.TLS.PeerCertificates[0].SerialNumber.String())
		echo(rw, r)
	})
	seen := func() (own, serving string) {
		t.Helper()
		w.server.CloseClientConnections()
		response, err := w.client(true).Do(w.request(http.MethodGet, "/", nil))
		if err != nil {
			return "", "" // a connection was closed while it was used
		}
		_ = response.Body.Close()
		own, _ = serial.Load().(string)
		return own, response.TLS.PeerCertificates[0].SerialNumber.String()
	}
	own, serving := seen()
	w.issue(w.frontProxy, frontProxyLeaf, w.options.ProxyCertificate, w.options.ProxyKey)
	w.issue(w.authority, pki.Leaf{CommonName: "kube-apiserver", Names: []string{"127.0.0.1"}, Usages: pki.Server}, w.options.TLSCertificate, w.options.TLSKey)
	require.Eventually(t, func() bool {
		nowOwn, nowServing := seen()
		return nowOwn != "" && nowOwn != own && nowServing != serving
	}, bound, 100*time.Millisecond)
}

func TestAPIServerThatFails(t *testing.T) {
	w := newWorld(t, echo)
	// Another front proxy's certificate: what the API server says is passed on, and the log says why.
	other, err := pki.NewAuthority("other", time.Now())
	require.NoError(t, err)
	w.frontProxy = other
	code, header, _ := w.answer(w.client(true), w.request(http.MethodGet, "/", nil))
	assert.Equal(t, http.StatusUnauthorized, code)
	assert.Empty(t, header.Get("WWW-Authenticate"), "the password was good")
	assert.Contains(t, w.log.String(), "--requestheader-allowed-names")

	w.server.Close()
	code, _, body := w.answer(w.client(true), w.request(http.MethodGet, "/", nil))
	assert.Equal(t, http.StatusBadGateway, code)
	assert.Contains(t, body, "the API server behind this proxy does not answer")
	assert.NotContains(t, body, "127.0.0.1", "its address is nobody's business")
}

// Probes have a listener of their own, since the same paths are the API server's where clients are.
func TestProbes(t *testing.T) {
	w := newWorld(t, echo)
	for _, path := range []string{"/healthz", "/readyz"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.probes+path, nil)
		require.NoError(t, err)
		code, _, body := w.answer(http.DefaultClient, r)
		assert.Equal(t, http.StatusOK, code)
		assert.Equal(t, "ok", body)
		_, _, body = w.answer(w.client(true), w.request(http.MethodGet, path, nil))
		assert.Equal(t, path, headers(t, body).Get("Path"))
	}
}

// A request that is being answered when the proxy is told to end is answered to its end.
func TestEndsAfterItsRequests(t *testing.T) {
	told := make(chan struct{})
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, "first\n")
		_ = http.NewResponseController(rw).Flush()
		select {
		case <-told:
			_, _ = io.WriteString(rw, "second\n")
		case <-r.Context().Done():
		}
	})
	response, err := w.client(true).Do(w.request(http.MethodGet, "/", nil))
	require.NoError(t, err)
	defer response.Body.Close()
	out := bufio.NewReader(response.Body)
	_, err = out.ReadString('\n')
	require.NoError(t, err)
	w.end()
	close(told)
	rest, err := io.ReadAll(out)
	require.NoError(t, err)
	require.Equal(t, "second\n", string(rest))
}

func TestServeRefuses(t *testing.T) {
	w := newWorld(t, echo)
	for name, test := range map[string]struct {
		change func(*Options)
		says   string
	}{
		"no address":                {func(o *Options) { o.Server = "http://127.0.0.1" }, "give one like https://127.0.0.1:8443"},
		"no passwords":              {func(o *Options) { o.Passwords = "/nowhere" }, "look at the htpasswd file"},
		"no serving certificate":    {func(o *Options) { o.TLSKey = "/nowhere" }, "read the serving certificate"},
		"another's key":             {func(o *Options) { o.TLSKey = o.ProxyKey }, "read the serving certificate"},
		"no certificate of its own": {func(o *Options) { o.ProxyCertificate = "/nowhere" }, "read the front proxy's certificate"},
		"no CA":                     {func(o *Options) { o.CertificateAuthority = "/nowhere" }, "read the CA of the API server"},
		"a CA that is none":         {func(o *Options) { o.CertificateAuthority = o.Passwords }, "holds no certificate in PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			options := w.options
			test.change(&options)
			err := Serve(t.Context(), options, listen(t), listen(t), slog.New(slog.DiscardHandler))
			require.ErrorContains(t, err, test.says)
		})
	}
	// A listener that is closed under it ends it all.
	clients, probes := listen(t), listen(t)
	require.NoError(t, probes.Close())
	require.ErrorContains(t, Serve(t.Context(), w.options, clients, probes, slog.New(slog.DiscardHandler)), "serve: ")
}
