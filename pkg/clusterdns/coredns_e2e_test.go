//go:build e2e

package clusterdns

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// The texts in a real CoreDNS, as two federations of one member: fellowship with a nameserver of its own, council in a public zone. Changed are only the
// ports, the address of the Kubernetes API, whose lists a small server gives, and the file of the public resolvers.
func TestRealCoreDNS(t *testing.T) {
	program := coreDNS(t)
	port, nameserver := freePort(t), freePort(t)
	kubernetes := newFakeAPI(t)
	kubernetes.set("local", "10.96.0.7", true)
	kubernetes.set("empty", "10.96.0.8", false)
	api := kubernetes.url

	fellowship := Federation{Name: "fellowship", Zone: "federation.internal.", MemberZone: "minas-tirith-a", MemberRegion: "gondor",
		Nameservers: []string{"127.0.0.1:" + nameserver}}
	council := Federation{Name: "council", Zone: "elrond.example"}

	corefile := ".:53 {\n    errors\n    reload 2s\n    hosts {\n        192.0.2.1 plain.example\n    }\n}" // no line break at its end
	user := corefile
	for _, f := range []Federation{fellowship, council} {
		f.FallbackPort = FallbackPort("", corefile, "reserved:"+port, "reserved:"+nameserver)
		text, err := Render(f, "")
		require.NoError(t, err)
		corefile, err = InsertBlock(corefile, f.Name, text)
		require.NoError(t, err)
	}
	runnable := func(corefile string) string {
		return strings.NewReplacer(
			":53 {", ":"+port+" {",
			"kubernetes cluster.local {", "kubernetes cluster.local {\n        endpoint "+api,
			"/etc/resolv.conf", "127.0.0.1:"+nameserver,
		).Replace(corefile)
	}
	zones := `
.:` + nameserver + ` {
    errors
    hosts {
        203.0.113.9 empty.default.fellowship.svc.minas-tirith-a.gondor.federation.internal
        203.0.113.8 nginx.default.fellowship.svc.federation.internal
        203.0.113.7 empty.default.council.svc.elrond.example
    }
}
`
	file := filepath.Join(t.TempDir(), "Corefile")
	require.NoError(t, os.WriteFile(file, []byte(runnable(corefile)+zones), 0o600))
	log := start(t, program, file)
	ask := func(name string, kind dnsmessage.Type) string { return ask(t, "127.0.0.1:"+port, name, kind) }
	require.Eventually(t, func() bool {
		return ask("plain.example", dnsmessage.TypeA) == "Success plain.example=192.0.2.1" &&
			strings.Contains(ask("local.default.fellowship.svc.cluster.local", dnsmessage.TypeA), "10.96.0.7")
	}, 30*time.Second, 200*time.Millisecond, "%s", log)

	const cname = "empty.default.fellowship.svc.minas-tirith-a.gondor.federation.internal"
	for _, c := range []struct {
		what, name string
		kind       dnsmessage.Type
		want       string
	}{
		{"a local service", "local.default.fellowship.svc.cluster.local", dnsmessage.TypeA, "Success local.default.fellowship.svc.cluster.local=10.96.0.7"},
		{"a local service has no IPv6", "local.default.fellowship.svc.cluster.local", dnsmessage.TypeAAAA, "Success"},
		{"no endpoints here", "empty.default.fellowship.svc.cluster.local", dnsmessage.TypeA,
			"Success empty.default.fellowship.svc.cluster.local=" + cname + " " + cname + "=203.0.113.9"},
		{"no endpoints here, IPv6", "empty.default.fellowship.svc.cluster.local", dnsmessage.TypeAAAA, "Success empty.default.fellowship.svc.cluster.local=" + cname},
		{"capitals", "EMPTY.default.Fellowship.svc.cluster.local", dnsmessage.TypeA, "203.0.113.9"},
		{"nowhere", "nosuch.default.fellowship.svc.cluster.local", dnsmessage.TypeA,
			"Success nosuch.default.fellowship.svc.cluster.local=nosuch.default.fellowship.svc.minas-tirith-a.gondor.federation.internal"},
		{"not two labels", "a.b.c.fellowship.svc.cluster.local", dnsmessage.TypeA, "NameError"},
		{"the zone itself", "nginx.default.fellowship.svc.federation.internal", dnsmessage.TypeA, "Success nginx.default.fellowship.svc.federation.internal=203.0.113.8"},
		{"the other federation, local", "local.default.council.svc.cluster.local", dnsmessage.TypeA, "Success local.default.council.svc.cluster.local=10.96.0.7"},
		{"the other federation, public zone", "empty.default.council.svc.cluster.local", dnsmessage.TypeA,
			"Success empty.default.council.svc.cluster.local=empty.default.council.svc.elrond.example empty.default.council.svc.elrond.example=203.0.113.7"},
		{"the rest", "plain.example", dnsmessage.TypeA, "Success plain.example=192.0.2.1"},
	} {
		got := ask(c.name, c.kind)
		if strings.HasPrefix(c.want, "Success") {
			assert.Equal(t, c.want, got, c.what)
		} else {
			assert.Contains(t, got, c.want, c.what)
		}
	}

	t.Run("after removing", func(t *testing.T) {
		for _, federation := range []string{"fellowship", "council"} {
			var err error
			corefile, err = RemoveBlock(corefile, federation)
			require.NoError(t, err)
		}
		require.Equal(t, user, corefile)
		require.NoError(t, os.WriteFile(file, []byte(runnable(corefile)+zones), 0o600))
		require.Eventually(t, func() bool {
			return !strings.Contains(ask("local.default.fellowship.svc.cluster.local", dnsmessage.TypeA), "Success") &&
				ask("plain.example", dnsmessage.TypeA) == "Success plain.example=192.0.2.1"
		}, 30*time.Second, 200*time.Millisecond, "%s", log)
	})

	t.Run("what CheckServers refuses, CoreDNS refuses", func(t *testing.T) {
		second, err := Render(with(fellowship, func(f *Federation) { f.Name, f.FallbackPort = "council", 20053 }), "")
		require.NoError(t, err)
		first, err := Render(fellowship, "")
		require.NoError(t, err)
		for _, corefile := range []string{
			first + second, // one zone twice
			"x.example:53\nerrors\n" + first,
			"x.example:53 {\n errors\n" + first,
		} {
			require.Error(t, CheckServers(corefile[len(corefile)-len(first):], corefile[:len(corefile)-len(first)]))
			require.NoError(t, os.WriteFile(file+".bad", []byte(runnable(corefile)), 0o600))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			out, err := exec.CommandContext(ctx, program, "-conf", file+".bad").CombinedOutput()
			assert.Error(t, err)
			assert.NoError(t, ctx.Err(), "CoreDNS runs with it: %s", out)
			assert.NotContains(t, string(out), "address already in use")
			t.Logf("CoreDNS: %s", out)
			cancel()
		}
	})
}

// coreDNS gives the path of the real program.
func coreDNS(t *testing.T) string {
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	program := filepath.Join(cmp.Or(os.Getenv("FEDHELM_CACHE"), filepath.Join(home, ".cache", "fedhelm")), "bin", "coredns")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%s is missing: run scripts/build-tools coredns", program)
	}
	return program
}

// start runs CoreDNS until the test's end and gives what it says.
func start(t *testing.T, program, corefile string) fmt.Stringer {
	log := &lockedBuffer{}
	cmd := exec.Command(program, "-conf", corefile)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return log
}

// lockedBuffer can be read while a program writes to it.
type lockedBuffer struct {
	sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.Lock()
	defer b.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.Lock()
	defer b.Unlock()
	return b.buffer.String()
}

// freePort gives a port that was free for UDP and TCP a moment ago.
func freePort(t *testing.T) string {
	for range 20 {
		udp, err := net.ListenPacket("udp", ":0")
		require.NoError(t, err)
		defer udp.Close()
		_, port, _ := net.SplitHostPort(udp.LocalAddr().String())
		if tcp, err := net.Listen("tcp", ":"+port); err == nil {
			tcp.Close()
			return port
		}
	}
	t.Fatal("no port is free for both UDP and TCP")
	return ""
}

// ask gives what the DNS server answers: the code, then name=value for each record; "" for no answer.
func ask(t *testing.T, server, name string, kind dnsmessage.Type) string {
	question := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 1, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name + "."), Type: kind, Class: dnsmessage.ClassINET}},
	}
	packet, err := question.Pack()
	require.NoError(t, err)
	conn, err := net.DialTimeout("udp", server, time.Second)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(3*time.Second)))
	answer := make([]byte, 4096)
	if _, err := conn.Write(packet); err != nil {
		return ""
	}
	n, err := conn.Read(answer)
	if err != nil {
		return ""
	}
	var message dnsmessage.Message
	require.NoError(t, message.Unpack(answer[:n]))
	said := []string{strings.TrimPrefix(message.RCode.String(), "RCode")}
	for _, record := range message.Answers {
		value := record.Body.GoString()
		switch body := record.Body.(type) {
		case *dnsmessage.AResource:
			value = netip.AddrFrom4(body.A).String()
		case *dnsmessage.CNAMEResource:
			value = strings.TrimSuffix(body.CNAME.String(), ".")
		}
		said = append(said, strings.TrimSuffix(record.Header.Name.String(), ".")+"="+value)
	}
	return strings.Join(said, " ")
}
