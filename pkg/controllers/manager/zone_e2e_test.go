//go:build e2e

package manager_test

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
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/test/clusters"
)

const (
	zoneName = "federation.internal"
	// zoneFolder is where CoreDNS's etcd plugin has the zone.
	zoneFolder = "/skydns/internal/federation/"
)

// process is a program that a test stops and starts again.
type process struct {
	*testing.T
	path string
	args []string
	cmd  *exec.Cmd
	log  *bytes.Buffer
	done chan struct{}
}

func startProcess(t *testing.T, path string, args ...string) *process {
	t.Helper()
	p := &process{T: t, path: path, args: args}
	p.start()
	t.Cleanup(p.stop)
	return p
}

func (p *process) start() {
	cmd, log, done := exec.Command(p.path, p.args...), &bytes.Buffer{}, make(chan struct{})
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(p, cmd.Start())
	go func() { _ = cmd.Wait(); close(done) }()
	p.cmd, p.log, p.done = cmd, log, done
}

func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// zone is a DNS zone in a real CoreDNS, whose records are in a real etcd.
type zone struct {
	*testing.T
	etcd, coreDNS *process
	// endpoint is etcd's, server CoreDNS's ip:port, config the provider's configuration file.
	endpoint, server, config string
	store                    *clientv3.Client
}

func startZone(t *testing.T) *zone {
	t.Helper()
	bin := binaries(t)
	_, err := os.Stat(filepath.Join(bin, "coredns"))
	require.NoError(t, err, "this test needs coredns: run scripts/build-tools coredns")
	z := &zone{T: t, endpoint: "http://" + freePort(t), server: freePort(t), config: filepath.Join(t.TempDir(), "provider.conf")}
	peer := "http://" + freePort(t)
	z.etcd = startProcess(t, filepath.Join(bin, "etcd"), "--data-dir", t.TempDir(), "--listen-client-urls", z.endpoint, "--advertise-client-urls", z.endpoint,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	host, port, err := net.SplitHostPort(z.server)
	require.NoError(t, err)
	corefile := filepath.Join(t.TempDir(), "Corefile")
	require.NoError(t, os.WriteFile(corefile, []byte(fmt.Sprintf(".:%s {\n    bind %s\n    errors\n    etcd %s {\n        path /skydns\n        endpoint %s\n    }\n}\n",
		port, host, zoneName, z.endpoint)), 0o600))
	z.coreDNS = startProcess(t, filepath.Join(bin, "coredns"), "-conf", corefile)
	z.store, err = clientv3.New(clientv3.Config{Endpoints: []string{z.endpoint}, DialTimeout: bound})
	require.NoError(t, err)
	t.Cleanup(func() { _ = z.store.Close() })
	z.configure("etcd-endpoints = " + z.endpoint + "\nzones = " + zoneName + ".\n")
	z.put("ready", "192.0.2.1") // which is a stranger's record from then on
	z.eventually("ready."+zoneName, "A 192.0.2.1")
	return z
}

func (z *zone) configure(keys string) {
	require.NoError(z, os.WriteFile(z.config, []byte("[Global]\n"+keys), 0o600))
}

// flags of the program. It leads without asking: what is killed has a successor at once, and nobody loses the lease because the machine is busy.
func (z *zone) flags() []string {
	return []string{"--leader-elect=false", "--dns-provider=coredns", "--zone-name=" + zoneName + ".", "--dns-provider-config=" + z.config, "--dns-check-period=2s", "--load-balancer-resolve-period=1s"}
}

// put writes a record that is nobody's, below the zone.
func (z *zone) put(label, address string) {
	_, err := z.store.Put(z.Context(), zoneFolder+label, fmt.Sprintf(`{"host":%q,"ttl":5}`, address))
	require.NoError(z, err)
}

// keys are those of the records, without the strangers'.
func (z *zone) keys() []string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	found, err := z.store.Get(ctx, zoneFolder, clientv3.WithPrefix())
	if err != nil {
		return []string{err.Error()}
	}
	keys := []string{}
	for _, kv := range found.Kvs {
		if bytes.Contains(kv.Value, []byte(`"owner"`)) {
			keys = append(keys, string(kv.Key))
		}
	}
	return keys
}

// ask gives what CoreDNS answers to a question for A: "A 10.0.0.1 10.0.0.2", before it "CNAME name " for each that it followed, "NXDOMAIN", "NODATA" for a name
// without addresses, "" for no answer.
func (z *zone) ask(name string) string { return ask(z.server, name, dns.TypeA) }

func ask(server, name string, kind uint16) string {
	question := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	var (
		answer *dns.Msg
		err    error
	)
	for range 3 { // as a resolver does, when a server gives none or says that it failed
		answer, _, err = (&dns.Client{Timeout: 3 * time.Second}).Exchange(question, server)
		if err == nil && answer.Rcode != dns.RcodeServerFailure {
			break
		}
	}
	if err != nil {
		return ""
	}
	if answer.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[answer.Rcode]
	}
	var said, addresses []string
	for _, record := range answer.Answer {
		switch r := record.(type) {
		case *dns.CNAME:
			said = append(said, "CNAME", strings.TrimSuffix(r.Target, "."))
		case *dns.A:
			addresses = append(addresses, r.A.String())
		case *dns.AAAA:
			addresses = append(addresses, r.AAAA.String())
		}
	}
	if len(addresses) > 0 {
		slices.Sort(addresses)
		said = append(append(said, dns.TypeToString[kind]), slices.Compact(addresses)...)
	}
	if len(said) == 0 {
		return "NODATA"
	}
	return strings.Join(said, " ")
}

// eventually waits for an answer.
func (z *zone) eventually(name, want string) {
	z.Helper()
	clusters.EventuallySeen(z.T, bound, name+" is "+want, func() (bool, string) {
		got := z.ask(name)
		return got == want, fmt.Sprintf("%s is %s", name, got)
	})
}

// serviceName is a Service's name at a level: "" for the global one.
func serviceName(service, level string) string {
	if level != "" {
		level += "."
	}
	return service + ".shop.fellowship.svc." + level + zoneName
}

// eventuallyReached waits until a Service has addresses at each level.
func (z *zone) eventuallyReached(service string, levels map[string]string) {
	z.Helper()
	for level, want := range levels {
		z.eventually(serviceName(service, level), want)
	}
}

// gone is the answer to the names of a Service that is nowhere.
var gone = map[string]string{"": "NXDOMAIN", "west": "NXDOMAIN", "west-a.west": "NXDOMAIN", "west-b.west": "NXDOMAIN", "east": "NXDOMAIN", "east-a.east": "NXDOMAIN"}

// reachedEarth is a middleEarth with topology, and a zone.
type reachedEarth struct {
	*middleEarth
	zone *zone
}

// newReachedEarth has gondor in zones west-a and west-b of region west, shire in zone east-a of region east.
func newReachedEarth(t *testing.T, args ...string) *reachedEarth {
	t.Helper()
	e := &reachedEarth{&middleEarth{api: federation(t), gondor: startAPI(t), shire: startAPI(t)}, startZone(t)}
	e.gondor.node("minas-tirith", "West", "west-a") // which DNS has in lower case
	e.gondor.node("osgiliath", "West", "west-b")
	e.shire.node("hobbiton", "east", "east-a")
	e.begin(append(e.zone.flags(), args...)...)
	e.create(object(t, shop))
	for _, member := range e.members() {
		member.eventuallyThere(object(t, shop))
	}
	return e
}

func loadBalancer(name string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80}}}}
}

// balance does what a load balancer's controller does: it gives a copy addresses, IPs or host names.
func (a *api) balance(service string, addresses ...string) {
	a.Helper()
	clusters.EventuallySeen(a.T, bound, service+" is there", func() (bool, string) {
		s := loadBalancer(service)
		err := a.Get(a.Context(), client.ObjectKeyFromObject(s), s)
		return err == nil && s.Labels[v1beta1.LabelFederated] != "" && s.Spec.Type == corev1.ServiceTypeLoadBalancer, fmt.Sprint(err)
	})
	var ingress []string
	for _, address := range addresses {
		kind := "hostname"
		if net.ParseIP(address) != nil {
			kind = "ip"
		}
		ingress = append(ingress, fmt.Sprintf(`{%q:%q}`, kind, address))
	}
	patch := `{"status":{"loadBalancer":{"ingress":[` + strings.Join(ingress, ",") + `]}}}`
	require.NoError(a, a.Status().Patch(context.Background(), loadBalancer(service), merge(patch)))
}

// endpoints does what the endpointslice controller does, for a Service with one endpoint or, if that is not ready, none.
func (a *api) endpoints(service string, ready bool) {
	a.Helper()
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: service + "-x1", Namespace: "shop", Labels: map[string]string{
			discoveryv1.LabelServiceName: service, v1beta1.LabelFederated: "fellowship", discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.244.0.7"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(ready)}}},
	}
	err := a.Create(context.Background(), s)
	if apierrors.IsAlreadyExists(err) {
		err = a.Patch(context.Background(), s, merge(fmt.Sprintf(`{"endpoints":[{"addresses":["10.244.0.7"],"conditions":{"ready":%t}}]}`, ready)))
	}
	require.NoError(a, err)
}

// resolver is a DNS server that knows what a test tells it.
type resolver struct {
	address string
	mutex   sync.Mutex
	// hosts have addresses, IPv4; failing says that the server is out of order.
	hosts   map[string][]string
	failing bool
}

func startResolver(t *testing.T) *resolver {
	t.Helper()
	listener, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &resolver{address: listener.LocalAddr().String(), hosts: map[string][]string{}}
	started := make(chan struct{})
	server := &dns.Server{PacketConn: listener, Handler: dns.HandlerFunc(r.answer), NotifyStartedFunc: func() { close(started) }}
	go func() { _ = server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = server.Shutdown() })
	return r
}

func (r *resolver) set(failing bool, host string, addresses ...string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.failing, r.hosts[host] = failing, addresses
}

func (r *resolver) answer(w dns.ResponseWriter, question *dns.Msg) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	answer := new(dns.Msg).SetReply(question)
	name := question.Question[0].Name
	addresses := r.hosts[strings.TrimSuffix(name, ".")]
	switch {
	case r.failing:
		answer.Rcode = dns.RcodeServerFailure
	case len(addresses) == 0:
		answer.Rcode = dns.RcodeNameError
	case question.Question[0].Qtype == dns.TypeA:
		for _, address := range addresses {
			answer.Answer = append(answer.Answer, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.ParseIP(address)})
		}
	}
	_ = w.WriteMsg(answer)
}
