package clusterdns

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var fellowship = Federation{
	Name: "fellowship", Zone: "federation.internal.", Nameservers: []string{"10.0.0.1", "10.0.0.2:5353"},
	ClusterDomain: "cluster.local", MemberZone: "minas-tirith-a", MemberRegion: "gondor",
}

func with(f Federation, change func(*Federation)) Federation {
	change(&f)
	return f
}

func TestNearestLeavesOutEmptyLevels(t *testing.T) {
	for _, c := range []struct{ zone, region, want string }{
		{"a", "gondor", "a.gondor.federation.internal"},
		{"", "gondor", "gondor.federation.internal"},
		{"", "", "federation.internal"},
		{"a", "", "federation.internal"},
		{"Minas_Tirith", "Gondor", "minas_tirith.gondor.federation.internal"},
	} {
		f, err := Federation{Name: "f", Zone: "Federation.Internal.", MemberZone: c.zone, MemberRegion: c.region}.normalise()
		require.NoError(t, err)
		assert.Equal(t, c.want, f.Nearest())
	}
}

func TestBadFederations(t *testing.T) {
	for want, change := range map[string]func(*Federation){
		`the federation name "gondor_needs" is no RFC 1035 label`:                      func(f *Federation) { f.Name = "gondor_needs" },
		`the federation name "a.*" is no RFC 1035 label`:                               func(f *Federation) { f.Name = "a.*" },
		`the zone "" of federation fellowship is no DNS name`:                          func(f *Federation) { f.Zone = "." },
		`the zone "a b" of federation fellowship is no DNS name`:                       func(f *Federation) { f.Zone = "a b" },
		`is the member's own cluster domain`:                                           func(f *Federation) { f.Zone = "cluster.local" },
		`the cluster domain "a{" is no DNS name`:                                       func(f *Federation) { f.ClusterDomain = "a{" },
		`the nameserver "ns.example.com" is no address: give an IP address or ip:port`: func(f *Federation) { f.Nameservers = []string{"ns.example.com"} },
		`the member's zone or region "a\nb" cannot be part of a DNS name`:              func(f *Federation) { f.MemberRegion = "a\nb" },
		`the member's zone or region "a..b" cannot be part of a DNS name`:              func(f *Federation) { f.MemberRegion = "a..b" },
		`the fallback port 70000 of federation fellowship is no port`:                  func(f *Federation) { f.FallbackPort = 70000 },
	} {
		f := with(fellowship, change)
		_, err := MergeKubeDNS(nil, f)
		assert.ErrorContains(t, err, want)
		_, err = Render(f, "")
		assert.ErrorContains(t, err, want)
	}
}
