package dnsrecords

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/external-dns/endpoint"
)

var (
	fellowship = Federation{Name: "fellowship", Zone: "federation.internal."}
	gondor     = Member{Name: "gondor", Region: "gondor", Zones: []string{"minas-tirith-a", "minas-tirith-b"}, Healthy: true}
	shire      = Member{Name: "shire", Region: "eriador", Zones: []string{"hobbiton-a"}, Healthy: true}
)

func with(m Member, change func(*Member)) Member {
	change(&m)
	return m
}

func addresses(texts ...string) []netip.Addr {
	all := make([]netip.Addr, 0, len(texts))
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func nginx(at map[string][]netip.Addr) []Service {
	return []Service{{Namespace: "default", Name: "nginx", LoadBalancer: true, Addresses: at}}
}

// lines are the records of nginx.default, each as "zone A 1.2.3.4" with what follows svc. in its name.
func lines(r Records) []string {
	var all []string
	for _, e := range r.Endpoints {
		all = append(all, fmt.Sprintf("%s %s %s", strings.TrimPrefix(e.DNSName, "nginx.default.fellowship.svc."), e.RecordType,
			strings.ReplaceAll(strings.Join(e.Targets, " "), "nginx.default.fellowship.svc.", "")))
	}
	return all
}

func TestLevels(t *testing.T) {
	offline := func(m *Member) { m.Healthy = false }
	for _, test := range []struct {
		name    string
		members []Member
		at      map[string][]netip.Addr
		want    []string
	}{
		{"both members", []Member{gondor, shire}, map[string][]netip.Addr{"gondor": addresses("10.1.0.1"), "shire": addresses("10.2.0.1")}, []string{
			"hobbiton-a.eriador.federation.internal A 10.2.0.1",
			"minas-tirith-a.gondor.federation.internal A 10.1.0.1",
			"minas-tirith-b.gondor.federation.internal A 10.1.0.1",
			"eriador.federation.internal A 10.2.0.1",
			"gondor.federation.internal A 10.1.0.1",
			"federation.internal A 10.1.0.1 10.2.0.1",
		}},
		{"one has none: its names follow the chain", []Member{gondor, shire}, map[string][]netip.Addr{"gondor": addresses("10.1.0.1"), "shire": nil}, []string{
			"hobbiton-a.eriador.federation.internal CNAME eriador.federation.internal",
			"minas-tirith-a.gondor.federation.internal A 10.1.0.1",
			"minas-tirith-b.gondor.federation.internal A 10.1.0.1",
			"eriador.federation.internal CNAME federation.internal",
			"gondor.federation.internal A 10.1.0.1",
			"federation.internal A 10.1.0.1",
		}},
		{"one is offline", []Member{gondor, with(shire, offline)}, map[string][]netip.Addr{"gondor": addresses("10.1.0.1"), "shire": addresses("10.2.0.1")}, []string{
			"hobbiton-a.eriador.federation.internal CNAME eriador.federation.internal",
			"minas-tirith-a.gondor.federation.internal A 10.1.0.1",
			"minas-tirith-b.gondor.federation.internal A 10.1.0.1",
			"eriador.federation.internal CNAME federation.internal",
			"gondor.federation.internal A 10.1.0.1",
			"federation.internal A 10.1.0.1",
		}},
		{"another zone of the region", []Member{with(gondor, func(m *Member) { m.Zones = []string{"a"} }), with(shire, func(m *Member) { m.Region, m.Zones = "gondor", []string{"b"} })},
			map[string][]netip.Addr{"gondor": addresses("10.1.0.1")}, []string{
				"a.gondor.federation.internal A 10.1.0.1",
				"b.gondor.federation.internal CNAME gondor.federation.internal",
				"gondor.federation.internal A 10.1.0.1",
				"federation.internal A 10.1.0.1",
			}},
		{"nowhere healthy", []Member{gondor, with(shire, offline)}, map[string][]netip.Addr{"gondor": {}, "shire": addresses("10.2.0.1")}, nil},
		{"a member that is gone", []Member{gondor}, map[string][]netip.Addr{"shire": addresses("10.2.0.1")}, nil},
		{"without topology", []Member{{Name: "gondor", Healthy: true}}, map[string][]netip.Addr{"gondor": addresses("10.1.0.1")}, []string{"federation.internal A 10.1.0.1"}},
		{"without zones", []Member{{Name: "gondor", Region: "gondor", Healthy: true}}, map[string][]netip.Addr{"gondor": addresses("10.1.0.1")}, []string{
			"gondor.federation.internal A 10.1.0.1",
			"federation.internal A 10.1.0.1",
		}},
		{"without region", []Member{{Name: "gondor", Zones: []string{"a"}, Healthy: true}}, map[string][]netip.Addr{"gondor": addresses("10.1.0.1")},
			[]string{"federation.internal A 10.1.0.1"}},
		{"capitals", []Member{{Name: "gondor", Region: "Gondor", Zones: []string{"Minas_Tirith"}, Healthy: true}}, map[string][]netip.Addr{"gondor": addresses("10.1.0.1")}, []string{
			"minas_tirith.gondor.federation.internal A 10.1.0.1",
			"gondor.federation.internal A 10.1.0.1",
			"federation.internal A 10.1.0.1",
		}},
		{"both families, each address once, unusable ones not", []Member{{Name: "gondor", Healthy: true}, {Name: "shire", Healthy: true}},
			map[string][]netip.Addr{"gondor": addresses("fd00::2", "10.1.0.2", "10.1.0.1", "::ffff:10.1.0.1", "0.0.0.0", "ff02::1", "fe80::1%eth0"), "shire": addresses("10.1.0.2", "fd00::1")},
			[]string{"federation.internal A 10.1.0.1 10.1.0.2", "federation.internal AAAA fd00::1 fd00::2"}},
		{"a zone like another's region", []Member{{Name: "gondor", Region: "b", Zones: []string{"a"}, Healthy: true}, {Name: "shire", Region: "a.b", Zones: []string{"c"}, Healthy: true}},
			map[string][]netip.Addr{"gondor": addresses("10.1.0.1"), "shire": nil}, []string{
				"a.b.federation.internal A 10.1.0.1",
				"c.a.b.federation.internal CNAME a.b.federation.internal",
				"b.federation.internal A 10.1.0.1",
				"federation.internal A 10.1.0.1",
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := Compute(fellowship, test.members, nginx(test.at))
			assert.Equal(t, test.want, lines(r))
			assert.Empty(t, r.Problems)
			total := 0
			for _, n := range r.Levels {
				total += n
			}
			assert.Len(t, r.Endpoints, total)
			for _, e := range r.Endpoints {
				assert.Equal(t, endpoint.TTL(180), e.RecordTTL)
				assert.False(t, strings.HasSuffix(e.DNSName, "."))
			}
		})
	}
}

// What is not known of a member's addresses keeps what the zone has at the member's own levels, and no other's.
func TestUnknownAddresses(t *testing.T) {
	kept := func(r Records) (all []string) {
		for _, key := range r.Kept {
			all = append(all, strings.TrimPrefix(key.DNSName, "nginx.default.fellowship.svc.")+" "+key.RecordType)
		}
		return all
	}
	services := nginx(map[string][]netip.Addr{"gondor": addresses("10.1.0.1")})
	services[0].Unknown = map[string][]string{"shire": {"A", "AAAA", "A"}}
	r := Compute(fellowship, []Member{gondor, shire}, services)
	assert.Equal(t, []string{
		"hobbiton-a.eriador.federation.internal A", "hobbiton-a.eriador.federation.internal AAAA",
		"eriador.federation.internal A", "eriador.federation.internal AAAA",
		"federation.internal A", "federation.internal AAAA",
	}, kept(r))
	assert.Equal(t, []string{
		"hobbiton-a.eriador.federation.internal CNAME eriador.federation.internal",
		"minas-tirith-a.gondor.federation.internal A 10.1.0.1",
		"minas-tirith-b.gondor.federation.internal A 10.1.0.1",
		"eriador.federation.internal CNAME federation.internal",
		"gondor.federation.internal A 10.1.0.1",
		"federation.internal A 10.1.0.1",
	}, lines(r))

	services[0].Addresses = nil
	services[0].Unknown = map[string][]string{"shire": {"AAAA"}}
	r = Compute(fellowship, []Member{with(gondor, func(m *Member) { m.Zones = nil }), shire}, services)
	assert.Equal(t, []string{
		"hobbiton-a.eriador.federation.internal CNAME eriador.federation.internal",
		"eriador.federation.internal CNAME federation.internal",
		"gondor.federation.internal CNAME federation.internal",
	}, lines(r), "they lead to what is kept")
	assert.Equal(t, []string{"hobbiton-a.eriador.federation.internal AAAA", "eriador.federation.internal AAAA", "federation.internal AAAA"}, kept(r))

	for _, members := range [][]Member{{gondor}, {gondor, with(shire, func(m *Member) { m.Healthy = false })}} {
		assert.Empty(t, Compute(fellowship, members, services), "of a member that has left or is away nothing is to be used")
	}
}

func TestOnlyLoadBalancers(t *testing.T) {
	services := nginx(map[string][]netip.Addr{"gondor": addresses("10.1.0.1")})
	services[0].LoadBalancer = false
	assert.Empty(t, Compute(fellowship, []Member{gondor}, services).Endpoints)
}

func TestProblemsSayWhatToDo(t *testing.T) {
	at := map[string][]netip.Addr{"gondor": addresses("10.1.0.1")}
	label := strings.Repeat("x", 63)

	long := Service{Namespace: label, Name: label, LoadBalancer: true, Addresses: at}
	member := Member{Name: "gondor", Region: label, Zones: []string{label}, Healthy: true}
	r := Compute(fellowship, []Member{member}, []Service{long, {Namespace: "default", Name: "nginx", LoadBalancer: true, Addresses: at}})
	require.Len(t, r.Problems, 1)
	assert.Equal(t, label, r.Problems[0].Name)
	assert.Regexp(t, `has \d+ characters and may have 229; give the Service or its namespace a shorter name, or the federation a shorter zone$`, r.Problems[0].Message)
	assert.Equal(t, [3]int{1, 2, 2}, r.Levels, "the levels that fit stay, and so do other Services")

	r = Compute(fellowship, []Member{gondor}, []Service{{Namespace: "default", Name: "a.b", LoadBalancer: true, Addresses: at}})
	require.Len(t, r.Problems, 1)
	assert.Contains(t, r.Problems[0].Message, `its name "a.b" is no label of a DNS name`)

	r = Compute(fellowship, []Member{with(gondor, func(m *Member) { m.Region = "a..b" })}, nginx(at))
	require.Len(t, r.Problems, 1)
	assert.Equal(t, "gondor", r.Problems[0].Cluster)
	assert.Contains(t, r.Problems[0].Message, `its region "a..b" cannot be part of a DNS name`)
	assert.Equal(t, []string{"federation.internal A 10.1.0.1"}, lines(r))

	r = Compute(fellowship, []Member{with(gondor, func(m *Member) { m.Zones = []string{"a..b", "c"} })}, nginx(at))
	require.Len(t, r.Problems, 1)
	assert.Equal(t, [3]int{1, 1, 1}, r.Levels)
}

func TestAnnotationIsOfV1(t *testing.T) {
	text := Annotation([]Ingresses{{Cluster: "c2"}, {Cluster: "c1", Items: []Ingress{{IP: "1.2.3.4"}, {Hostname: "lb.example.com"}}}})
	assert.Equal(t, `{"items":[{"cluster":"c1","items":[{"ip":"1.2.3.4"},{"hostname":"lb.example.com"}]},{"cluster":"c2","items":[]}]}`, text)
	assert.Equal(t, []Ingresses{{Cluster: "c1", Items: []Ingress{{IP: "1.2.3.4"}, {Hostname: "lb.example.com"}}}, {Cluster: "c2", Items: []Ingress{}}}, ParseAnnotation(text))
	assert.Empty(t, Annotation(nil))
	assert.Empty(t, ParseAnnotation(""))
	assert.Empty(t, ParseAnnotation(`["mine"]`))
}
