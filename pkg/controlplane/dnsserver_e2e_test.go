//go:build e2e

package controlplane

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/plan"
	"sigs.k8s.io/external-dns/provider"
	"sigs.k8s.io/external-dns/provider/coredns"
	"sigs.k8s.io/yaml"
)

const (
	region = "gondor.federation.internal"
	zone   = "minas-tirith.gondor.federation.internal"
)

// The federation's own DNS, real CoreDNS before real etcd, as the chart runs them with the certificates that certs makes; changed are only addresses and paths. Records are written by
// external-dns's own provider, as the controllers write them.
func TestOwnDNSServer(t *testing.T) {
	d := newDNS(t)
	d.startCoreDNS()

	// Without its etcd it is Ready, which is all that an installation waits for, and what is not its own it refuses.
	d.eventually("ready", func() string { return d.ready() })
	require.Equal(t, "Refused", d.ask("udp", "nginx.default.fellowship.svc.elsewhere.example", dnsmessage.TypeA))

	d.startEtcd()
	d.eventually("NameError", func() string {
		return d.ask("udp", "nosuch.default.fellowship.svc.federation.internal", dnsmessage.TypeA)
	})

	name := func(service, below string) string { return service + ".default.fellowship.svc." + below }
	var many []string
	for i := range 60 {
		many = append(many, fmt.Sprintf("203.0.113.%d", i))
	}
	d.write(
		// In all three levels; in the zone no more, so that it leads to the region; and nowhere but globally.
		record(name("nginx", zone), "A", "192.0.2.1", "192.0.2.2"), record(name("nginx", region), "A", "192.0.2.1", "192.0.2.2"),
		record(name("nginx", "federation.internal"), "A", "192.0.2.1", "192.0.2.2", "198.51.100.1"),
		record(name("nginx-2", zone), "CNAME", name("nginx-2", region)), record(name("nginx-2", region), "A", "192.0.2.3"),
		record(name("nginx-2", "federation.internal"), "A", "192.0.2.3"),
		record(name("far", zone), "CNAME", name("far", region)), record(name("far", region), "CNAME", name("far", "federation.internal")),
		record(name("far", "federation.internal"), "A", "198.51.100.2"),
		record(name("six", "federation.internal"), "AAAA", "2001:db8::6"),
		record(name("many", "federation.internal"), "A", many...),
		record(name("any", "federation.internal"), "A", "192.0.2.9"),
		record("web.any.fellowship.svc.federation.internal", "A", "192.0.2.9"),
	)
	far := []string{name("far", zone) + "=" + name("far", region), name("far", region) + "=" + name("far", "federation.internal"), name("far", "federation.internal") + "=198.51.100.2"}
	const a, aaaa = dnsmessage.TypeA, dnsmessage.TypeAAAA
	for _, network := range []string{"udp", "tcp"} {
		for _, c := range []struct {
			name string
			kind dnsmessage.Type
			want string
		}{
			{name("nginx", zone), a, "Success " + name("nginx", zone) + "=192.0.2.1 " + name("nginx", zone) + "=192.0.2.2"},
			{name("nginx", region), a, "Success " + name("nginx", region) + "=192.0.2.1 " + name("nginx", region) + "=192.0.2.2"},
			{name("nginx", "federation.internal"), a, "Success nginx.default.fellowship.svc.federation.internal=192.0.2.1 nginx.default.fellowship.svc.federation.internal=192.0.2.2 nginx.default.fellowship.svc.federation.internal=198.51.100.1"},
			{"NGINX.Default.fellowship.SVC." + zone, a, "Success NGINX.Default.fellowship.SVC." + zone + "=192.0.2.1 NGINX.Default.fellowship.SVC." + zone + "=192.0.2.2"},
			// A chain is one answer.
			{name("nginx-2", zone), a, "Success " + name("nginx-2", region) + "=192.0.2.3 " + name("nginx-2", zone) + "=" + name("nginx-2", region)},
			{name("far", zone), a, "Success " + strings.Join(sorted(far), " ")},
			{name("far", zone), dnsmessage.TypeCNAME, "Success " + strings.Join(sorted(far), " ")},
			{name("six", "federation.internal"), aaaa, "Success six.default.fellowship.svc.federation.internal=2001:db8::6"},
			// A name that is there without data of the kind is no error; one that is not there is.
			{name("nginx", zone), aaaa, "Success"}, {name("far", zone), aaaa, "Success"}, {name("nginx", zone), dnsmessage.TypeTXT, "Success"},
			{name("nginx", zone), dnsmessage.TypePTR, "Success"}, {name("nginx", zone), dnsmessage.TypeSRV, "Success"}, {name("nginx", zone), dnsmessage.TypeMX, "Success"},
			{name("nosuch", zone), a, "NameError"}, {name("nosuch", region), aaaa, "NameError"}, {name("nginx", "shire.federation.internal"), a, "NameError"},
			{name("six", "federation.internal"), a, "Success"},
			// What is above services gives nothing away, and neither do wildcards.
			{"federation.internal", a, "Success"}, {"federation.internal", dnsmessage.TypeNS, "Success"}, {"federation.internal", dnsmessage.TypeALL, "Success federation.internal=30"},
			{"svc.federation.internal", a, "Success"}, {"fellowship.svc." + zone, a, "Success"}, {"default.fellowship.svc.federation.internal", a, "Success"},
			{region, a, "Success"}, {name("*", "federation.internal"), a, "Success"}, {name("any", "federation.internal"), a, "Success"},
			{"web.any.fellowship.svc.federation.internal", a, "Success"}, {"nginx.*.fellowship.svc.federation.internal", a, "Success"},
			{"federation.internal", dnsmessage.TypeSOA, "Success federation.internal=30"},
			// And nothing else is answered for.
			{"example.com", a, "Refused"}, {".", dnsmessage.TypeNS, "Refused"}, {"internal", a, "Refused"}, {"xfederation.internal", a, "Refused"},
		} {
			start := time.Now()
			assert.Equal(t, c.want, d.ask(network, c.name, c.kind), "%s %s by %s", c.name, c.kind, network)
			assert.Less(t, time.Since(start), 2*time.Second, c.name)
		}
	}

	t.Run("lifetimes", func(t *testing.T) {
		answer, err := d.exchange("udp", name("nginx", zone), a)
		require.NoError(t, err)
		require.True(t, answer.Authoritative)
		require.EqualValues(t, 180, answer.Answers[0].Header.TTL)
		for _, missing := range []struct {
			name string
			kind dnsmessage.Type
		}{{name("nosuch", zone), a}, {name("nginx", zone), aaaa}, {"svc.federation.internal", a}} {
			answer, err = d.exchange("udp", missing.name, missing.kind)
			require.NoError(t, err)
			require.True(t, answer.Authoritative)
			require.Len(t, answer.Authorities, 1)
			soa := answer.Authorities[0]
			require.Equal(t, "federation.internal.", soa.Header.Name.String())
			require.EqualValues(t, 30, min(soa.Header.TTL, soa.Body.(*dnsmessage.SOAResource).MinTTL), "%s is looked for again soon", missing.name)
		}
	})

	t.Run("an answer too large for UDP", func(t *testing.T) {
		answer, err := d.exchange("udp", name("many", "federation.internal"), a)
		require.NoError(t, err)
		require.True(t, answer.Truncated)
		answer, err = d.exchange("tcp", name("many", "federation.internal"), a)
		require.NoError(t, err)
		require.Len(t, answer.Answers, len(many))
		again, err := d.exchange("tcp", name("many", "federation.internal"), a)
		require.NoError(t, err)
		require.NotEqual(t, answer.Answers, again.Answers, "the load is balanced")
	})

	t.Run("what is deleted is gone at once", func(t *testing.T) {
		d.delete(record(name("six", "federation.internal"), "AAAA", "2001:db8::6"))
		require.Equal(t, "NameError", d.ask("udp", name("six", "federation.internal"), aaaa))
	})

	t.Run("nobody without its certificate gets in", func(t *testing.T) {
		for component, says := range map[string]string{"": "remote error: tls: certificate required", "apiserver-etcd-client": "remote error: tls"} {
			require.ErrorContains(t, d.knock(component), says)
		}
		require.NoError(t, d.knock("dns-etcd-client"))
	})

	t.Run("etcd restarted", func(t *testing.T) {
		asked := name("nginx", region)
		want := d.ask("udp", asked, a)
		d.etcd.stop()
		require.Contains(t, []string{"ServerFailure", ""}, d.ask("udp", asked, a))
		require.Equal(t, "ready", d.ready(), "its pods stay Ready, so that the zone is never nobody's")
		d.startEtcd()
		d.eventually(want, func() string { return d.ask("udp", asked, a) })

		// Its data was lost: names are gone until they are written anew.
		d.etcd.stop()
		require.NoError(t, os.RemoveAll(filepath.Join(d.dir, "data")))
		d.startEtcd()
		d.eventually("NameError", func() string { return d.ask("udp", asked, a) })
		d.write(record(asked, "A", "192.0.2.1", "192.0.2.2"))
		require.Equal(t, want, d.ask("udp", asked, a))
	})
}

// dns is the DNS of a release in processes.
type dns struct {
	*testing.T
	dir                         string
	port, health, readiness     string
	client, peer, metrics, stat string
	corefile                    string
	command                     []string
	etcd                        *process
	records                     provider.Provider
}

// newDNS renders the chart for a release whose certificates are made.
func newDNS(t *testing.T) *dns {
	t.Helper()
	r := newRelease(t)
	require.NoError(t, r.certs())
	d := &dns{T: t, dir: t.TempDir()}
	for _, port := range []*string{&d.port, &d.health, &d.readiness, &d.client, &d.peer, &d.metrics, &d.stat} {
		*port = freePort(t)
	}
	for component, secret := range r.secrets() {
		folder := filepath.Join(d.dir, component)
		require.NoError(t, os.Mkdir(folder, 0o700))
		for key, data := range secret.Data {
			require.NoError(t, os.WriteFile(filepath.Join(folder, key), data, 0o600))
		}
	}

	chart, err := loader.Load("../../charts/federation-control-plane")
	require.NoError(t, err)
	values, err := chartutil.ToRenderValues(chart, nil, chartutil.ReleaseOptions{Name: fellowship, Namespace: r.namespace}, nil)
	require.NoError(t, err)
	files, err := engine.Render(chart, values)
	require.NoError(t, err)
	rendered := func(file string, into any) {
		require.NoError(t, yaml.UnmarshalStrict([]byte(files["federation-control-plane/templates/"+file]), into))
	}
	var corefile corev1.ConfigMap
	rendered("dns/configmap.yaml", &corefile)
	d.corefile = filepath.Join(d.dir, "Corefile")
	text := d.replace(corefile.Data["Corefile"], ":1053", ":"+d.port, ":8080", "127.0.0.1:"+d.health, ":8181", "127.0.0.1:"+d.readiness, ":9153", "127.0.0.1:"+d.stat,
		"https://fellowship-dns-etcd."+r.namespace+".svc:2379", "https://127.0.0.1:"+d.client, "/etc/federation/pki", filepath.Join(d.dir, "dns-etcd-client"))
	require.NoError(t, os.WriteFile(d.corefile, []byte(text), 0o600))
	var etcd appsv1.StatefulSet
	rendered("dns-etcd/statefulset.yaml", &etcd)
	d.command = strings.Split(d.replace(strings.Join(etcd.Spec.Template.Spec.Containers[0].Command, "\n"), "/var/lib/etcd", d.dir,
		"/etc/federation/pki/server", filepath.Join(d.dir, "dns-etcd-tls"), "0.0.0.0", "127.0.0.1", ":2379", ":"+d.client, ":2380", ":"+d.peer, ":2381", ":"+d.metrics), "\n")
	return d
}

// replace replaces each of the old texts, which must be there, by the new one after it.
func (d *dns) replace(text string, oldNew ...string) string {
	d.Helper()
	for i := 0; i < len(oldNew); i += 2 {
		require.Contains(d, text, oldNew[i])
	}
	return strings.NewReplacer(oldNew...).Replace(text)
}

func (d *dns) startCoreDNS() { start(d.T, "coredns", "--conf="+d.corefile) }

// startEtcd starts etcd, anew on the same data if it ran before, and waits until it is ready.
func (d *dns) startEtcd() {
	d.Helper()
	d.etcd = start(d.T, d.command[0], d.command[1:]...)
	d.eventually("200", func() string { return get("http://127.0.0.1:" + d.metrics + "/readyz") })
	if d.records != nil {
		return
	}
	client := filepath.Join(d.dir, "dns-etcd-client")
	for key, value := range map[string]string{
		"ETCD_URLS": "https://127.0.0.1:" + d.client, "ETCD_CA_FILE": filepath.Join(client, "ca.crt"),
		"ETCD_CERT_FILE": filepath.Join(client, "tls.crt"), "ETCD_KEY_FILE": filepath.Join(client, "tls.key"),
	} {
		d.Setenv(key, value)
	}
	var err error
	d.records, err = coredns.New(d.Context(), &externaldns.Config{CoreDNSPrefix: "/skydns/", TXTOwnerID: fellowship, CoreDNSStrictlyOwned: true},
		endpoint.NewDomainFilter([]string{"federation.internal"}))
	require.NoError(d, err)
}

func record(name, kind string, targets ...string) *endpoint.Endpoint {
	return endpoint.NewEndpointWithTTL(name, kind, 180, targets...)
}

func (d *dns) write(records ...*endpoint.Endpoint) {
	d.Helper()
	require.NoError(d, d.records.ApplyChanges(d.Context(), &plan.Changes{Create: records}))
}

func (d *dns) delete(records ...*endpoint.Endpoint) {
	d.Helper()
	require.NoError(d, d.records.ApplyChanges(d.Context(), &plan.Changes{Delete: records}))
}

// knock asks etcd for its health with a component's certificate, or with none.
func (d *dns) knock(component string) error {
	authority, err := os.ReadFile(filepath.Join(d.dir, "dns-etcd-client", "ca.crt"))
	require.NoError(d, err)
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(authority)
	if component != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(d.dir, component, "tls.crt"), filepath.Join(d.dir, component, "tls.key"))
		require.NoError(d, err)
		// Whatever CAs the server says that it takes.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	client := http.Client{Timeout: bound, Transport: &http.Transport{TLSClientConfig: config}}
	answer, err := client.Get("https://127.0.0.1:" + d.client + "/health")
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

func (d *dns) ready() string {
	if code := get("http://127.0.0.1:" + d.readiness + "/ready"); code != "200" {
		return code
	}
	if code := get("http://127.0.0.1:" + d.health + "/health"); code != "200" {
		return code
	}
	return "ready"
}

// get gives the code of the answer, or the error.
func get(url string) string {
	client := http.Client{Timeout: 3 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return err.Error()
	}
	_ = answer.Body.Close()
	return fmt.Sprint(answer.StatusCode)
}

// eventually waits until look gives what is wanted.
func (d *dns) eventually(want string, look func() string) {
	d.Helper()
	var got string
	require.Eventually(d, func() bool { got = look(); return got == want }, bound, 100*time.Millisecond, "want %s", want)
}

// ask gives what is answered: the code, and each record as name=value, sorted; empty for no answer. Of an SOA the value is its TTL for names that are not there.
func (d *dns) ask(network, name string, kind dnsmessage.Type) string {
	message, err := d.exchange(network, name, kind)
	if err != nil {
		return ""
	}
	var records []string
	for _, r := range message.Answers {
		value := r.Body.GoString()
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			value = netip.AddrFrom4(body.A).String()
		case *dnsmessage.AAAAResource:
			value = netip.AddrFrom16(body.AAAA).String()
		case *dnsmessage.CNAMEResource:
			value = strings.TrimSuffix(body.CNAME.String(), ".")
		case *dnsmessage.SOAResource:
			value = fmt.Sprint(body.MinTTL)
		}
		records = append(records, strings.TrimSuffix(r.Header.Name.String(), ".")+"="+value)
	}
	return strings.Join(append([]string{strings.TrimPrefix(message.RCode.String(), "RCode")}, sorted(records)...), " ")
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// exchange asks the DNS one question.
func (d *dns) exchange(network, name string, kind dnsmessage.Type) (message dnsmessage.Message, err error) {
	question := dnsmessage.Message{Header: dnsmessage.Header{ID: 1}, Questions: []dnsmessage.Question{{
		Name: dnsmessage.MustNewName(strings.TrimSuffix(name, ".") + "."), Type: kind, Class: dnsmessage.ClassINET}}}
	packet, err := question.Pack()
	require.NoError(d, err)
	conn, err := net.DialTimeout(network, "127.0.0.1:"+d.port, 3*time.Second)
	if err != nil {
		return message, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(8 * time.Second)); err != nil { // the etcd plugin gives up after 5
		return message, err
	}
	answer := make([]byte, 65535)
	if network == "tcp" {
		packet = append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
	}
	if _, err := conn.Write(packet); err != nil {
		return message, err
	}
	if network == "tcp" {
		length := make([]byte, 2)
		if _, err := io.ReadFull(conn, length); err != nil {
			return message, err
		}
		answer = answer[:binary.BigEndian.Uint16(length)]
		_, err = io.ReadFull(conn, answer)
	} else {
		var n int
		n, err = conn.Read(answer)
		answer = answer[:n]
	}
	if err != nil {
		return message, err
	}
	return message, message.Unpack(answer)
}

// process is a program that runs until the test's end, if it is not stopped before.
type process struct {
	command *exec.Cmd
	output  *lockedBuffer
	once    sync.Once
}

// start starts a program that scripts/build-tools builds.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	program := filepath.Join(cmp.Or(os.Getenv("FEDHELM_CACHE"), filepath.Join(home, ".cache", "fedhelm")), "bin", name)
	_, err = os.Stat(program)
	require.NoError(t, err, "this test needs %s: run scripts/build-tools %[1]s, or set FEDHELM_CACHE to where it put its binaries", name)
	p := &process{command: exec.Command(program, args...), output: &lockedBuffer{}}
	p.command.Stdout, p.command.Stderr = p.output, p.output
	p.command.Env = []string{"HOME=" + home} // not the settings by which another test opens its zone meanwhile
	require.NoError(t, p.command.Start())
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.output)
		}
	})
	return p
}

// stop kills the program and waits until it is gone.
func (p *process) stop() {
	p.once.Do(func() {
		_ = p.command.Process.Kill()
		_ = p.command.Wait()
	})
}

// lockedBuffer can be read while a program writes to it.
type lockedBuffer struct {
	sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.Lock()
	defer b.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.Lock()
	defer b.Unlock()
	return b.Buffer.String()
}

// freePort gives a port that was free for UDP and TCP a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	for range 20 {
		udp, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = udp.Close() }()
		_, port, _ := net.SplitHostPort(udp.LocalAddr().String())
		if tcp, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			_ = tcp.Close()
			return port
		}
	}
	t.Fatal("no port is free for both UDP and TCP")
	return ""
}
