//go:build e2e

package clusterdns

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// zoneOf is a federation's zone with v1's chain of records: service away has addresses in another region alone, service here in this zone.
func zoneOf(suffix string, serial int, more string) string {
	return fmt.Sprintf(`$ORIGIN %s.
@ 30 IN SOA ns hostmaster %d 60 60 60 5
@ 30 IN NS ns
ns 30 IN A 127.0.0.1
away.default.fellowship.svc.minas-tirith-a.gondor 180 IN CNAME away.default.fellowship.svc.gondor
away.default.fellowship.svc.gondor 180 IN CNAME away.default.fellowship.svc
away.default.fellowship.svc.bree.eriador 180 IN A 203.0.113.5
away.default.fellowship.svc.eriador 180 IN A 203.0.113.5
away.default.fellowship.svc 180 IN A 203.0.113.5
away.default.fellowship.svc 180 IN AAAA 2001:db8::5
%s`, suffix, serial, more)
}

// dnsWorld is a pod's view of DNS in a member: a real CoreDNS as its cluster DNS, and another as the federation's nameserver.
type dnsWorld struct {
	*testing.T
	server, nameserver string
	zone               string // the file of the zone
	api                *fakeAPI
}

func newDNSWorld(t *testing.T) *dnsWorld {
	program := coreDNS(t)
	port, nameserver := freePort(t), freePort(t)
	w := &dnsWorld{T: t, server: "127.0.0.1:" + port, nameserver: "127.0.0.1:" + nameserver, zone: filepath.Join(t.TempDir(), "zone"), api: newFakeAPI(t)}
	w.api.set("local", "10.96.0.1", true)
	w.api.set("away", "10.96.0.2", false)
	w.write(1, "")

	nameservers := filepath.Join(t.TempDir(), "nameserver")
	require.NoError(t, os.WriteFile(nameservers, []byte("federation.internal:"+nameserver+" {\n    errors\n    file "+w.zone+" {\n        reload 500ms\n    }\n}\n"), 0o600))
	f := Federation{Name: "fellowship", Zone: "federation.internal", MemberZone: "Minas-Tirith-a", MemberRegion: "Gondor", Nameservers: []string{w.nameserver}}
	f.FallbackPort = FallbackPort("", "reserved:"+port, "reserved:"+nameserver)
	text, err := Render(f, "")
	require.NoError(t, err)
	corefile, err := InsertBlock(".:53 {\n    errors\n    kubernetes cluster.local {\n    }\n    cache 30\n}\n", f.Name, text)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "Corefile")
	require.NoError(t, os.WriteFile(file, []byte(strings.NewReplacer(
		":53 {", ":"+port+" {",
		"kubernetes cluster.local {", "kubernetes cluster.local {\n        endpoint "+w.api.url,
		"/etc/resolv.conf", w.nameserver,
	).Replace(corefile)), 0o600))
	logs := []fmt.Stringer{start(t, program, nameservers), start(t, program, file)}
	require.Eventually(t, func() bool {
		return strings.Contains(w.lookup("udp", "local.default", dnsmessage.TypeA), "10.96.") && strings.Contains(w.lookup("udp", "away.default.fellowship", dnsmessage.TypeA), "203.0.113.5")
	}, 60*time.Second, 200*time.Millisecond, "%v", logs)
	return w
}

// write writes the zone, with more records in it.
func (w *dnsWorld) write(serial int, more string) {
	require.NoError(w, os.WriteFile(w.zone+".new", []byte(zoneOf("federation.internal", serial, more)), 0o600))
	require.NoError(w, os.Rename(w.zone+".new", w.zone))
}

// lookup asks as a pod's resolver does: names with fewer dots than ndots by the search list first, the first name that exists is the answer.
func (w *dnsWorld) lookup(network, name string, kind dnsmessage.Type) string {
	var names []string
	for _, domain := range []string{"default.svc.cluster.local", "svc.cluster.local", "cluster.local"} {
		names = append(names, name+"."+domain)
	}
	if strings.Count(name, ".") >= 5 {
		names = slices.Insert(names, 0, name)
	} else {
		names = append(names, name)
	}
	answer := ""
	for _, name := range names {
		if answer = askOver(w.T, network, w.server, name, kind); answer != "" && !strings.HasPrefix(answer, "NameError") {
			return answer
		}
	}
	return answer
}

// Each form of a federated service's name, each type that a resolver asks for, over UDP and TCP: the local service where it has endpoints, else the nearest in the federation; under
// the name that was asked.
func TestForms(t *testing.T) {
	w := newDNSWorld(t)
	const chain = "away.default.fellowship.svc.minas-tirith-a.gondor.federation.internal 180=away.default.fellowship.svc.gondor.federation.internal " +
		"away.default.fellowship.svc.gondor.federation.internal 180=away.default.fellowship.svc.federation.internal "
	for _, network := range []string{"udp", "tcp"} {
		for _, form := range []string{"default.fellowship", "default.fellowship.svc", "default.fellowship.svc.cluster.local"} {
			asked := func(name string) string { return name + ".default.fellowship.svc.cluster.local" }
			what := network + " " + form
			assert.Equal(t, "Success "+asked("local")+" 5=10.96.0.1", w.lookup(network, "local."+form, dnsmessage.TypeA), what)
			assert.Equal(t, "Success", w.lookup(network, "local."+form, dnsmessage.TypeAAAA), "no IPv6 here, and so none elsewhere: "+what)
			cname := asked("away") + " 30=away.default.fellowship.svc.minas-tirith-a.gondor.federation.internal"
			assert.Equal(t, "Success "+cname, w.lookup(network, "away."+form, dnsmessage.TypeTXT), "CoreDNS follows for addresses, which are all that a federation has: "+what)
			for kind, want := range map[dnsmessage.Type]string{dnsmessage.TypeA: "203.0.113.5", dnsmessage.TypeAAAA: "2001:db8::5"} {
				assert.Equal(t, "Success "+cname+" "+chain+"away.default.fellowship.svc.federation.internal 180="+want, w.lookup(network, "away."+form, kind), what)
			}
			assert.NotContains(t, w.lookup(network, "nosuch."+form, dnsmessage.TypeA), "203.0.113", what)
		}
		for _, level := range []string{"svc", "svc.eriador", "svc.bree.eriador"} {
			name := "away.default.fellowship." + level + ".federation.internal"
			assert.Equal(t, "Success "+name+" 180=203.0.113.5", w.lookup(network, name, dnsmessage.TypeA), network)
		}
		name := "away.default.fellowship.svc.minas-tirith-a.gondor.federation.internal"
		assert.Equal(t, "Success "+chain+"away.default.fellowship.svc.federation.internal 180=203.0.113.5", w.lookup(network, name, dnsmessage.TypeA), network)
		assert.Contains(t, w.lookup(network, "nosuch.default.fellowship.svc.federation.internal", dnsmessage.TypeA), "NameError", network)
		assert.Contains(t, w.lookup(network, "local.default", dnsmessage.TypeA), "10.96.0.1", "what is not federated: "+network)
	}
}

// Our blocks keep no answer, good or bad: what the member's API and the federation's nameserver say is what is answered, although the user's block has a cache. What others may keep says
// the time to live: 5 s for a local service, 30 s for a name that fell back.
func TestNothingIsKept(t *testing.T) {
	w := newDNSWorld(t)
	const name = "local.default.fellowship"
	require.Contains(t, w.lookup("udp", name, dnsmessage.TypeA), " 5=10.96.0.1")
	require.NotContains(t, w.lookup("udp", "late.default.fellowship", dnsmessage.TypeA), "203.0.113")
	require.Contains(t, w.lookup("udp", "late.default.fellowship.svc.federation.internal", dnsmessage.TypeA), "NameError")

	w.write(2, "late.default.fellowship.svc.minas-tirith-a.gondor 180 IN A 203.0.113.6\nlocal.default.fellowship.svc.minas-tirith-a.gondor 180 IN A 203.0.113.7\n"+
		"late.default.fellowship.svc 180 IN A 203.0.113.6\n")
	require.Eventually(t, func() bool {
		return strings.Contains(askOver(t, "udp", w.nameserver, "late.default.fellowship.svc.federation.internal", dnsmessage.TypeA), "203.0.113.6")
	}, 30*time.Second, 50*time.Millisecond, "the nameserver has read its zone")
	assert.Contains(t, w.lookup("udp", "late.default.fellowship", dnsmessage.TypeA), "203.0.113.6", "at once")
	assert.Contains(t, w.lookup("udp", "late.default.fellowship.svc.federation.internal", dnsmessage.TypeA), "203.0.113.6", "at once")

	w.api.set("local", "10.96.0.1", false)
	require.Eventually(t, func() bool {
		return strings.Contains(w.lookup("udp", name, dnsmessage.TypeA), "203.0.113.7")
	}, 60*time.Second, 50*time.Millisecond, "CoreDNS has seen that the endpoints are gone")
	w.api.set("local", "10.96.0.1", true)
	require.Eventually(t, func() bool {
		return w.lookup("udp", name, dnsmessage.TypeA) == "Success local.default.fellowship.svc.cluster.local 5=10.96.0.1"
	}, 60*time.Second, 50*time.Millisecond, "and are back")
}

// askOver gives what a DNS server answers over UDP or TCP: the code, then "name ttl=value" for each record; "" for no answer.
func askOver(t *testing.T, network, server, name string, kind dnsmessage.Type) string {
	question := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 1, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name + "."), Type: kind, Class: dnsmessage.ClassINET}},
	}
	packet, err := question.Pack()
	require.NoError(t, err)
	conn, err := net.DialTimeout(network, server, time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
	answer := make([]byte, 1<<16)
	if network == "tcp" {
		packet = append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
	}
	if _, err := conn.Write(packet); err != nil {
		return ""
	}
	n := 0
	if network == "tcp" {
		if _, err = io.ReadFull(conn, answer[:2]); err == nil {
			n, err = io.ReadFull(conn, answer[:binary.BigEndian.Uint16(answer)])
		}
	} else {
		n, err = conn.Read(answer)
	}
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
			value = net.IP(body.A[:]).String()
		case *dnsmessage.AAAAResource:
			value = net.IP(body.AAAA[:]).String()
		case *dnsmessage.CNAMEResource:
			value = strings.TrimSuffix(body.CNAME.String(), ".")
		case *dnsmessage.TXTResource:
			value = strings.Join(body.TXT, "")
		}
		said = append(said, fmt.Sprintf("%s %d=%s", strings.TrimSuffix(record.Header.Name.String(), "."), record.Header.TTL, value))
	}
	return strings.Join(said, " ")
}
