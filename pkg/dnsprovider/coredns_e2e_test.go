//go:build e2e

package dnsprovider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"sigs.k8s.io/external-dns/endpoint"

	"github.com/fedhelm/fedhelm/pkg/pki"
)

// etcd is a real one, and how it is reached.
type etcd struct {
	text   string
	files  map[string][]byte
	client *clientv3.Client
	// corefile is what CoreDNS needs to know of it.
	corefile string
}

// startEtcd starts etcd, with TLS for those who have a client's certificate, or without.
func startEtcd(t *testing.T, secure bool) *etcd {
	t.Helper()
	port, peer, dir := freePort(t), freePort(t), t.TempDir()
	url := "http://127.0.0.1:" + port
	e := &etcd{files: map[string][]byte{}}
	config := clientv3.Config{DialTimeout: bound}
	args := []string{"--name=test", "--data-dir=" + filepath.Join(dir, "data"), "--listen-peer-urls=http://127.0.0.1:" + peer, "--initial-advertise-peer-urls=http://127.0.0.1:" + peer,
		"--initial-cluster=test=http://127.0.0.1:" + peer, "--log-level=error", "--unsafe-no-fsync"}
	if secure {
		url = "https://127.0.0.1:" + port
		authority, err := pki.NewAuthority("dns-etcd-ca", time.Now())
		require.NoError(t, err)
		for name, leaf := range map[string]pki.Leaf{
			"server": {CommonName: "etcd", Names: []string{"127.0.0.1"}, Usages: pki.ServerAndClient},
			"client": {CommonName: "client", Usages: pki.Client},
		} {
			pair, err := authority.Issue(leaf, time.Now())
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name+".crt"), pair.Certificate, 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, name+".key"), pair.Key, 0o600))
			if name == "client" {
				e.files["tls.crt"], e.files["tls.key"] = pair.Certificate, pair.Key
			}
		}
		e.files["ca.crt"] = authority.Pair().Certificate
		require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.crt"), e.files["ca.crt"], 0o600))
		args = append(args, "--cert-file="+filepath.Join(dir, "server.crt"), "--key-file="+filepath.Join(dir, "server.key"), "--client-cert-auth", "--trusted-ca-file="+filepath.Join(dir, "ca.crt"))
		certificate, err := tls.X509KeyPair(e.files["tls.crt"], e.files["tls.key"])
		require.NoError(t, err)
		roots := x509.NewCertPool()
		require.True(t, roots.AppendCertsFromPEM(e.files["ca.crt"]))
		config.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, RootCAs: roots}
		e.text = "[Global]\netcd-endpoints = " + url + "\nzones = example.com.\netcd-ca-file = ca.crt\netcd-cert-file = tls.crt\netcd-key-file = tls.key\n"
		e.corefile = "        tls " + strings.Join([]string{filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key"), filepath.Join(dir, "ca.crt")}, " ") + "\n"
	} else {
		e.text = "[Global]\netcd-endpoints = " + url + "\nzones = example.com.\n" // as the guide of kubefed has it
	}
	e.corefile = "        path /skydns\n        endpoint " + url + "\n" + e.corefile
	args = append(args, "--listen-client-urls="+url, "--advertise-client-urls="+url)
	start(t, program(t, "etcd"), args...)
	listening(t, "127.0.0.1:"+port)
	config.Endpoints = []string{url}
	client, err := clientv3.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	e.client = client
	return e
}

// coreDNS starts a real CoreDNS with the zone in etcd, and gives its address.
func (e *etcd) coreDNS(t *testing.T) string {
	t.Helper()
	port := freePort(t)
	file := filepath.Join(t.TempDir(), "Corefile")
	require.NoError(t, os.WriteFile(file, []byte(".:"+port+" {\n    bind 127.0.0.1\n    errors\n    etcd example.com {\n"+e.corefile+"    }\n}\n"), 0o600))
	start(t, program(t, "coredns"), "-conf", file)
	listening(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}

// ask gives the answer's records of the types A, AAAA and CNAME, sorted, without time to live.
func ask(t *testing.T, server, name string, kind uint16) []string {
	t.Helper()
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	answer, err := dns.Exchange(m, server)
	require.NoError(t, err)
	all := []string{}
	for _, rr := range answer.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			all = append(all, rr.A.String())
		case *dns.AAAA:
			all = append(all, rr.AAAA.String())
		case *dns.CNAME:
			all = append(all, "CNAME "+rr.Target)
		}
	}
	slices.Sort(all)
	return all
}

// lines are all keys of etcd, as records.
func (e *etcd) lines(t *testing.T) []string {
	t.Helper()
	read, err := e.client.Get(t.Context(), skyDNS, clientv3.WithPrefix())
	require.NoError(t, err)
	all := []string{}
	for _, kv := range read.Kvs {
		labels := strings.Split(strings.TrimPrefix(string(kv.Key), skyDNS), "/")
		slices.Reverse(labels)
		var value struct {
			Host string
			TTL  int64
		}
		require.NoError(t, json.Unmarshal(kv.Value, &value))
		kind := endpoint.SuitableType(value.Host)
		all = append(all, line(strings.Join(labels[1:], "."), value.TTL, kind, value.Host))
	}
	slices.Sort(all)
	return all
}

func TestCoreDNS(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "tls": true} {
		t.Run(name, func(t *testing.T) {
			e := startEtcd(t, secure)
			for i := range 300 { // of a zone beside, of ours without an owner, and of another's
				e.put(t, fmt.Sprintf("/skydns/org/example/s%d/x", i), `{"host":"198.51.100.1","ttl":60}`)
				e.put(t, fmt.Sprintf("/skydns/com/example/s%d/x", i), `{"host":"198.51.100.2","ttl":60}`)
				e.put(t, fmt.Sprintf("/skydns/com/example/t%d/deadbeef", i), `{"host":"198.51.100.3","ttl":60,"targetstrip":1,"owner":"saruman"}`)
			}
			world{
				open:    func(owner string) *Zone { return open(t, CoreDNS, e.text, e.files, owner) },
				records: func() []string { return e.lines(t) },
				writes:  func() int { return e.revision(t) },
			}.follow(t)
		})
	}
}

// Values of somebody else at a name of ours, as v1 left them: the name is theirs until they are gone, and what is ours already stays.
func TestCoreDNSSharedNames(t *testing.T) {
	e := startEtcd(t, false)
	z := open(t, CoreDNS, e.text, nil, "fellowship/1")
	theirs := "/skydns/com/example/" + path(global) + "/v1"
	e.put(t, theirs, `{"host":"198.51.100.9","ttl":180}`)
	desired := func() records { return records{a(global, "192.0.2.1"), cname(region, global)} }
	held := &HeldError{}
	_, err := z.Sync(t.Context(), desired())
	require.ErrorAs(t, err, &held)
	require.Equal(t, []string{global + ".example.com"}, held.Names)
	require.Equal(t, []string{line(global+".example.com", 180, "A", "198.51.100.9"), line(region+".example.com", 180, "CNAME", global+".example.com")}, e.lines(t))

	_, err = e.client.Delete(t.Context(), theirs)
	require.NoError(t, err)
	_, err = z.Sync(t.Context(), desired())
	require.NoError(t, err)
	e.put(t, theirs, `{"host":"192.0.2.1","ttl":180}`)
	changed, err := z.Sync(t.Context(), desired())
	require.ErrorAs(t, err, &held)
	require.Zero(t, changed)
	require.Equal(t, []string{global + ".example.com"}, held.Names)
	require.Len(t, e.lines(t), 3)
}

// path is a name's in etcd.
func path(name string) string {
	labels := strings.Split(name, ".")
	slices.Reverse(labels)
	return strings.Join(labels, "/")
}

func (e *etcd) put(t *testing.T, key, value string) {
	t.Helper()
	_, err := e.client.Put(t.Context(), key, value)
	require.NoError(t, err)
}

func (e *etcd) revision(t *testing.T) int {
	t.Helper()
	read, err := e.client.Get(t.Context(), "none")
	require.NoError(t, err)
	return int(read.Header.Revision)
}

// What a real CoreDNS answers, while addresses change all the time: never nothing, and nothing that was never said.
func TestCoreDNSAnswers(t *testing.T) {
	e := startEtcd(t, true)
	server := e.coreDNS(t)
	z := open(t, CoreDNS, e.text, e.files, "fellowship/1")
	keep := func(desired ...*endpoint.Endpoint) {
		t.Helper()
		_, err := z.Sync(t.Context(), desired)
		require.NoError(t, err)
	}
	keep(a(global, "192.0.2.1", "192.0.2.2"), aaaa(global, "2001:db8::1"), cname(region, global), cname(inZone, region))
	assert.Equal(t, []string{"192.0.2.1", "192.0.2.2"}, ask(t, server, global+".example.com", dns.TypeA))
	assert.Equal(t, []string{"2001:db8::1"}, ask(t, server, global+".example.com", dns.TypeAAAA))
	assert.Equal(t, []string{"192.0.2.1", "192.0.2.2", "CNAME " + global + ".example.com.", "CNAME " + region + ".example.com."}, ask(t, server, inZone+".example.com", dns.TypeA))

	ctx, stop := context.WithCancel(t.Context())
	asked := make(chan error, 1)
	go func() {
		defer close(asked)
		for ctx.Err() == nil {
			for _, name := range []string{global, region} {
				answer, err := dns.Exchange(new(dns.Msg).SetQuestion(name+".example.com.", dns.TypeA), server)
				addresses := 0
				if err == nil {
					for _, rr := range answer.Answer {
						if rr, is := rr.(*dns.A); is && strings.HasPrefix(rr.A.String(), "192.0.2.") {
							addresses++
						}
					}
				}
				if addresses == 0 {
					asked <- fmt.Errorf("%s has no address: %v, %s", name, answer, fmt.Sprint(err))
					return
				}
			}
		}
	}()
	for i := range 100 {
		address := fmt.Sprintf("192.0.2.%d", 10+i)
		if i%2 == 0 {
			keep(a(global, address), a(region, address))
		} else {
			keep(a(global, address), cname(region, global))
		}
	}
	stop()
	require.NoError(t, <-asked)
	keep()
	assert.Empty(t, ask(t, server, global+".example.com", dns.TypeA))
}

// An etcd that is away, answers nobody without a certificate, or is another than the one that was meant.
func TestCoreDNSChecks(t *testing.T) {
	e := startEtcd(t, true)
	check := func(text string) error {
		return open(t, CoreDNS, text, e.files, "fellowship/1").Check(t.Context())
	}
	require.NoError(t, check(e.text))
	const advice = "see whether etcd is up at etcd-endpoints"
	require.ErrorContains(t, check("[Global]\netcd-endpoints = http://127.0.0.1:"+freePort(t)+"\n"), advice)
	require.ErrorContains(t, check(strings.ReplaceAll(e.text, "etcd-cert-file = tls.crt\netcd-key-file = tls.key\n", "")), advice)
	require.ErrorContains(t, check(strings.ReplaceAll(e.text, "etcd-ca-file = ca.crt", "etcd-ca-file = tls.crt")), advice)
	require.ErrorContains(t, check(strings.ReplaceAll(e.text, "etcd-ca-file = ca.crt", "etcd-ca-file = none.crt")), "none.crt")
	_, err := open(t, CoreDNS, "[Global]\netcd-endpoints = http://127.0.0.1:"+freePort(t)+"\n", nil, "fellowship/1").Sync(t.Context(), nil)
	require.ErrorContains(t, err, "keep the records in zone example.com. at coredns: ")
}
