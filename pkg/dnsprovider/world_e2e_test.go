//go:build e2e

package dnsprovider

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/external-dns/endpoint"
)

const (
	bound = 30 * time.Second
	zone  = "example.com."
)

// world is a provider with a zone.
type world struct {
	// open gives the zone to a federation.
	open func(owner string) *Zone
	// records are all that are in it, with those of strangers.
	records func() []string
	// writes is how often it was asked to change something.
	writes func() int
	// marks says whether records of ours have TXT records beside them.
	marks bool
}

func a(name string, targets ...string) *endpoint.Endpoint {
	return endpoint.NewEndpointWithTTL(name+".example.com", endpoint.RecordTypeA, 180, targets...)
}

func aaaa(name string, targets ...string) *endpoint.Endpoint {
	return endpoint.NewEndpointWithTTL(name+".example.com", endpoint.RecordTypeAAAA, 180, targets...)
}

func cname(name, target string) *endpoint.Endpoint {
	return endpoint.NewEndpointWithTTL(name+".example.com", endpoint.RecordTypeCNAME, 180, target+".example.com")
}

const (
	global = "nginx.default.fellowship.svc"
	region = "nginx.default.fellowship.svc.south"
	inZone = "nginx.default.fellowship.svc.minas-tirith.south"
)

// follow leads a zone through everything that a federation does with it, beside a federation of the same zone, and strangers.
func (w world) follow(t *testing.T) {
	strangers := w.records()
	fellowship, council := w.open("fellowship/1"), w.open("council/1")
	others := []*endpoint.Endpoint{a("nginx.default.council.svc", "198.51.100.9"), cname("nginx.default.council.svc.south", "nginx.default.council.svc")}
	changed, err := council.Sync(t.Context(), others)
	require.NoError(t, err)
	require.Equal(t, 2, changed)
	beside := w.records()

	require.NoError(t, fellowship.Check(t.Context()))
	require.Equal(t, beside, w.records(), "a check leaves nothing")

	for i, step := range []struct {
		what    string
		desired []*endpoint.Endpoint
		changed int
	}{
		{"all levels", []*endpoint.Endpoint{a(global, "192.0.2.1", "192.0.2.2"), a(region, "192.0.2.1"), a(inZone, "192.0.2.1")}, 3},
		{"the zone is down", []*endpoint.Endpoint{a(global, "192.0.2.1", "192.0.2.2"), a(region, "192.0.2.1"), cname(inZone, region)}, 2},
		{"the region too, and both families", []*endpoint.Endpoint{a(global, "192.0.2.2"), aaaa(global, "2001:db8::2"), cname(region, global), cname(inZone, region)}, 4},
		{"an address changes", []*endpoint.Endpoint{a(global, "192.0.2.3"), aaaa(global, "2001:db8::2"), cname(region, global), cname(inZone, region)}, 1},
		{"IPv6 alone", []*endpoint.Endpoint{aaaa(global, "2001:db8::2", "2001:db8::3"), cname(region, global), cname(inZone, region)}, 2},
		{"all back", []*endpoint.Endpoint{a(global, "192.0.2.1", "192.0.2.2"), a(region, "192.0.2.1"), a(inZone, "192.0.2.1")}, 6},
		{"one gone", []*endpoint.Endpoint{a(global, "192.0.2.2"), a(region, "192.0.2.1")}, 2},
		{"none", nil, 2},
		{"a name of its own", []*endpoint.Endpoint{a(strings.Repeat("s", 63)+"."+strings.Repeat("n", 63)+".fellowship.svc", "192.0.2.1")}, 1},
	} {
		given := fmt.Sprint(step.desired)
		changed, err := fellowship.Sync(t.Context(), step.desired)
		require.NoError(t, err, step.what)
		assert.Equal(t, step.changed, changed, step.what)
		assert.Equal(t, w.expect(beside, step.desired), w.unmarked(w.records()), step.what)
		assert.Equal(t, given, fmt.Sprint(step.desired), "what is given is not changed")

		writes := w.writes()
		for _, z := range []*Zone{fellowship, w.open("fellowship/1")} { // one that remembers, and one that does not
			changed, err = z.Sync(t.Context(), step.desired)
			require.NoError(t, err, step.what)
			assert.Zero(t, changed, "%d %s: again", i, step.what)
		}
		assert.Equal(t, writes, w.writes(), "%s: nothing is written again", step.what)
	}
	_, err = fellowship.Sync(t.Context(), []*endpoint.Endpoint{a(global, "192.0.2.1", "192.0.2.2"), a(region, "192.0.2.2"), cname(inZone, region)})
	require.NoError(t, err)
	before := w.records()
	changed, err = fellowship.Sync(t.Context(), []*endpoint.Endpoint{a(global, "192.0.2.1"), cname(region, global), cname(inZone, region)},
		a(global).Key(), a(region).Key(), a("nginx.default.council.svc").Key())
	require.NoError(t, err)
	require.Zero(t, changed, "what is kept stays")
	require.Equal(t, before, w.records())
	_, err = fellowship.Sync(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, beside, w.records())
	_, err = w.open("council/1").Sync(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, strangers, w.records(), "the zone is as it was")
}

// expect gives the lines of a zone with the records in it.
func (w world) expect(beside []string, desired []*endpoint.Endpoint) []string {
	all := w.unmarked(beside)
	for _, e := range desired {
		for _, target := range e.Targets {
			all = append(all, line(e.DNSName, int64(e.RecordTTL), e.RecordType, target))
		}
	}
	slices.Sort(all)
	return all
}

// unmarked are the lines without the TXT records that say whose they are, of which there is one for each name and type.
func (w world) unmarked(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return strings.Contains(line, "._fedhelm.") })
}

func line(name string, ttl int64, kind, value string) string {
	return fmt.Sprintf("%s %d %s %s", strings.TrimSuffix(name, "."), ttl, kind, strings.TrimSuffix(value, "."))
}

// open opens a zone with a configuration and files beside it.
func open(t *testing.T, provider, text string, files map[string][]byte, owner string) *Zone {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, ConfigKey), []byte(text), 0o600))
	c, err := Read(provider, zone, filepath.Join(dir, ConfigKey))
	require.NoError(t, err)
	z, err := Open(t.Context(), c, owner)
	require.NoError(t, err)
	t.Cleanup(z.Close)
	return z
}

// program is where one of the tests' programs is.
func program(t *testing.T, name string) string {
	t.Helper()
	cache := os.Getenv("FEDHELM_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		require.NoError(t, err)
		cache = filepath.Join(home, ".cache", "fedhelm")
	}
	path := filepath.Join(cache, "bin", name)
	_, err := os.Stat(path)
	require.NoError(t, err, "this test needs %s: run scripts/build-tools %s, or set FEDHELM_CACHE to where it put its binaries", name, name)
	return path
}

// start runs a program until the test ends, and gives what it says.
func start(t *testing.T, path string, args ...string) *bytes.Buffer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, path, args...)
	log := &bytes.Buffer{}
	command.Stdout, command.Stderr = log, log
	require.NoError(t, command.Start())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = command.Wait()
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if t.Failed() {
			t.Logf("%s: %s", filepath.Base(path), log)
		}
	})
	return log
}

// freePort is one that nobody uses, for UDP and TCP.
func freePort(t *testing.T) string {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = tcp.Close() }()
	_, port, err := net.SplitHostPort(tcp.Addr().String())
	require.NoError(t, err)
	return port
}

func listening(t *testing.T, address string) {
	t.Helper()
	require.Eventually(t, func() bool {
		connection, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return false
		}
		return connection.Close() == nil
	}, bound, 50*time.Millisecond, "%s", address)
}
