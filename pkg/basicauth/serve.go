package basicauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

const (
	// headerTimeout bounds how long a client takes to say what it wants. A request itself may last: a watch does.
	headerTimeout = 10 * time.Second
	// idleTimeout is how long a connection waits for its next request.
	idleTimeout = 90 * time.Second
	// drainTimeout is how long requests have to end when the proxy does.
	drainTimeout = 10 * time.Second
	// idleConnections to the kube-apiserver are kept for the next requests.
	idleConnections = 100
)

// Options say what the proxy is given. Certificates and keys are files in PEM, and are read again when they change.
type Options struct {
	// Server is the URL of the kube-apiserver, CertificateAuthority the file of the CA that signs its certificate.
	Server, CertificateAuthority string
	// TLSCertificate and TLSKey are what the proxy shows its clients.
	TLSCertificate, TLSKey string
	// ProxyCertificate and ProxyKey are what it shows the kube-apiserver: the front proxy's.
	ProxyCertificate, ProxyKey string
	// Passwords is the htpasswd file.
	Passwords string
	// Group is the one that every user is in.
	Group string
}

// Serve is the proxy, until ctx ends: for clients on one listener, by TLS, HTTP/1.1 and 2; for probes on the other, by plain HTTP, at /healthz and /readyz, which are paths of the
// kube-apiserver's on the first. It closes both. Errors: a file that cannot be read at the start; a listener that fails.
func Serve(ctx context.Context, o Options, clients, probes net.Listener, log *slog.Logger) error {
	defer func() { _, _ = clients.Close(), probes.Close() }()
	server, err := url.Parse(o.Server)
	if err != nil || server.Scheme != "https" || server.Host == "" {
		return fmt.Errorf("the API server %q is no address: give one like https://127.0.0.1:8443", o.Server)
	}
	passwords, err := OpenPasswords(o.Passwords, log)
	if err != nil {
		return err
	}
	serving, err := certwatcher.New(o.TLSCertificate, o.TLSKey)
	if err != nil {
		return fmt.Errorf("read the serving certificate %s and its key: %w", o.TLSCertificate, err)
	}
	own, err := certwatcher.New(o.ProxyCertificate, o.ProxyKey)
	if err != nil {
		return fmt.Errorf("read the front proxy's certificate %s and its key: %w", o.ProxyCertificate, err)
	}
	transport, err := newTransport(o.CertificateAuthority, own)
	if err != nil {
		return err
	}
	// A kube-apiserver looks at every request whether its connection's certificate has expired.
	own.RegisterCallback(func(tls.Certificate) { transport.CloseIdleConnections() })

	proxy := Proxy{Server: server, Transport: transport, Passwords: passwords, Group: o.Group, Log: log}
	errorLog := slog.NewLogLogger(log.Handler(), slog.LevelDebug) // clients that break off
	forClients := &http.Server{
		Handler: proxy.Handler(), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, ErrorLog: errorLog,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: serving.GetCertificate},
	}
	forProbes := &http.Server{Handler: health(), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, ErrorLog: errorLog}

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serving.Start(ctx) })
	group.Go(func() error { return own.Start(ctx) })
	group.Go(func() error {
		return serve(ctx, forClients, func() error { return forClients.ServeTLS(clients, "", "") })
	})
	group.Go(func() error { return serve(ctx, forProbes, func() error { return forProbes.Serve(probes) }) })
	log.Info("serving", "address", clients.Addr().String(), "server", o.Server)
	return group.Wait()
}

// newTransport reaches the kube-apiserver with the certificate that own has at the time. It speaks HTTP/1.1, in which connections can be upgraded.
func newTransport(authority string, own *certwatcher.CertWatcher) (*http.Transport, error) {
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, fmt.Errorf("read the CA of the API server: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM: give the CA of the API server", authority)
	}
	return &http.Transport{
		DialContext: (&net.Dialer{Timeout: headerTimeout}).DialContext,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			RootCAs:    pool,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return own.GetCertificate(nil)
			},
		},
		TLSHandshakeTimeout: headerTimeout,
		MaxIdleConnsPerHost: idleConnections,
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true, // that is between the client and the kube-apiserver
	}, nil
}

// health says that the proxy is there. Whether the kube-apiserver is, it says itself; and passwords that cannot be read are no reason to take its pod out of service.
func health() http.Handler {
	mux := http.NewServeMux()
	for _, path := range []string{"/healthz", "/readyz"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	}
	return mux
}

// serve runs a server until ctx ends, and lets its requests end, for a bounded time.
func serve(ctx context.Context, server *http.Server, run func() error) error {
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	}()
	if err := run(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	<-drained
	return nil
}
