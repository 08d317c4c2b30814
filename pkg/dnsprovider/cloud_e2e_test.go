//go:build e2e

package dnsprovider

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/external-dns/endpoint"

	"github.com/fedhelm/fedhelm/test/cloud"
)

// lines are a cloud's records, one value a line.
func lines(z *cloud.Zone) []string {
	var all []string
	for _, s := range z.Sets() {
		for _, value := range s.Values {
			all = append(all, line(s.Name, s.TTL, s.Type, value))
		}
	}
	slices.Sort(all)
	return all
}

// strangers are records of somebody who uses external-dns too, or not.
func strangers(count int) (sets []cloud.Set) {
	for i := range count {
		name := fmt.Sprintf("stranger-%d.example.com.", i)
		switch i % 3 {
		case 0:
			sets = append(sets, cloud.Set{Name: name, Type: "A", TTL: 60, Values: []string{"198.51.100.1", "198.51.100.2"}})
		case 1:
			sets = append(sets, cloud.Set{Name: name, Type: "CNAME", TTL: 60, Values: []string{"stranger-0.example.com."}})
		default:
			sets = append(sets, cloud.Set{Name: name, Type: "AAAA", TTL: 300, Values: []string{"2001:db8::1"}},
				cloud.Set{Name: "aaaa-" + name, Type: "TXT", TTL: 300, Values: []string{`"heritage=external-dns,external-dns/owner=saruman"`}})
		}
	}
	return sets
}

// many are the records of many services.
func many(count int, address string) (all []*endpoint.Endpoint) {
	for i := range count {
		name := fmt.Sprintf("s%d.default.fellowship.svc", i)
		all = append(all, a(name, address), cname("south."+name, name))
	}
	return all
}

const awsKeys = "access-key-id = AKIDGANDALF\nsecret-access-key = mellon/+=\n"

func route53(t *testing.T, zones ...*cloud.Zone) (*cloud.Route53, func(owner string) *Zone) {
	server := cloud.NewRoute53(t, zones...)
	return server, func(owner string) *Zone {
		return open(t, AWS, "[Global]\n"+awsKeys+"endpoint-url = "+server.URL+"\n", nil, owner)
	}
}

func TestRoute53(t *testing.T) {
	held := cloud.NewZone("Z1MORDOR", zone, false)
	held.Put(strangers(1000)...)
	server, open := route53(t, cloud.NewZone("Z0SUB", "sub.example.com.", false), held, cloud.NewZone("Z2SHIRE", "example.org.", false))
	world{open: open, records: func() []string { return lines(held) }, writes: func() int { return server.Of(cloud.ChangeResourceRecordSets) }, marks: true}.follow(t)
}

// Two thousand services, with five calls a second allowed, and of a thousand changes each at most.
func TestRoute53Limits(t *testing.T) {
	held := cloud.NewZone("Z1MORDOR", zone, false)
	held.Put(strangers(1000)...)
	before := lines(held)
	server, open := route53(t, held)
	server.Limit(5)
	z := open("fellowship/1")
	desired := many(2000, "192.0.2.1")
	settle(t, z, desired)
	assert.Equal(t, world{}.expect(before, desired), world{}.unmarked(lines(held)))
	assert.Less(t, server.Of(cloud.ChangeResourceRecordSets), 60)
	reads := server.Of(cloud.ListResourceRecordSets)
	for range 20 {
		changed, err := z.Sync(t.Context(), desired)
		require.NoError(t, err)
		require.Zero(t, changed)
	}
	assert.Equal(t, reads, server.Of(cloud.ListResourceRecordSets), "strangers' records are not read at each look")
	server.Limit(0)
	settle(t, z, nil)
	assert.Equal(t, before, lines(held))
}

// settle tries until it succeeds, as a controller does.
func settle(t *testing.T, z *Zone, desired []*endpoint.Endpoint) {
	t.Helper()
	var err error
	for range 10 {
		if _, err = z.Sync(t.Context(), desired); err == nil {
			return
		}
	}
	require.NoError(t, err)
}

// A provider that refuses for long is asked a few times at each try and no more, says why, and has the right records in the end.
func TestRoute53Throttles(t *testing.T) {
	held := cloud.NewZone("Z1MORDOR", zone, false)
	held.Put(strangers(10)...)
	before := lines(held)
	server, open := route53(t, held)
	z := open("fellowship/1")
	settle(t, z, many(200, "192.0.2.1"))

	for _, operation := range []string{cloud.ChangeResourceRecordSets, cloud.ListResourceRecordSets, cloud.ListHostedZones} {
		server.Limit(0, operation)
		asked := server.Of(operation)
		const tries = 3
		for i := range tries {
			_, err := z.Sync(t.Context(), many(200, fmt.Sprintf("192.0.2.%d", 10+i)))
			require.ErrorContains(t, err, "keep the records in zone example.com. at aws-route53: ")
			require.ErrorContains(t, err, "Throttling")
		}
		assert.LessOrEqual(t, server.Of(operation)-asked, tries*(route53Retries+1), operation)
	}
	server.Limit(0)
	desired := many(150, "192.0.2.9")
	_, err := z.Sync(t.Context(), desired)
	require.NoError(t, err)
	assert.Equal(t, world{}.expect(before, desired), world{}.unmarked(lines(held)))
}

// One record that the provider refuses keeps no other from being right, and the error says which it is.
func TestRoute53RefusesOne(t *testing.T) {
	held := cloud.NewZone("Z1MORDOR", zone, false)
	held.Put(cloud.Set{Name: "s1.default.fellowship.svc.example.com.", Type: "TXT", TTL: 60, Values: []string{`"a stranger's"`}})
	_, open := route53(t, held)
	z := open("fellowship/1")
	desired := append(many(1, "192.0.2.1"), cname("s1.default.fellowship.svc", "s0.default.fellowship.svc"), a("s2.default.fellowship.svc", "192.0.2.1"))
	_, err := z.Sync(t.Context(), desired)
	require.ErrorContains(t, err, "s1.default.fellowship.svc.example.com. is not permitted as it conflicts with other records")
	got := strings.Join(lines(held), "\n")
	assert.Contains(t, got, "s0.default.fellowship.svc.example.com 180 A 192.0.2.1")
	assert.Contains(t, got, "s2.default.fellowship.svc.example.com 180 A 192.0.2.1")
}

// A name that somebody else has is left to them, and said, while all others are kept.
func TestHeldNames(t *testing.T) {
	held := cloud.NewZone("Z1MORDOR", zone, false)
	held.Put(cloud.Set{Name: global + ".example.com.", Type: "A", TTL: 60, Values: []string{"198.51.100.1"}})
	_, open := route53(t, held)
	z := open("fellowship/1")
	for range 2 {
		_, err := z.Sync(t.Context(), []*endpoint.Endpoint{a(global, "192.0.2.1"), a(region, "192.0.2.1")})
		require.Equal(t, []string{global + ".example.com"}, Held(err), "%v", err)
		require.ErrorContains(t, err, "1 records are not ours to change, since others hold their names ("+global+".example.com)")
	}
	assert.Contains(t, lines(held), global+".example.com 60 A 198.51.100.1")
	assert.Contains(t, lines(held), region+".example.com 180 A 192.0.2.1")
	_, err := z.Sync(t.Context(), nil)
	require.NoError(t, err)
	assert.Contains(t, lines(held), global+".example.com 60 A 198.51.100.1")
}

// A mark whose record is gone is no reason for the zone not to be empty in the end.
func TestLeftMarks(t *testing.T) {
	held := cloud.NewZone("Z1MORDOR", zone, false)
	before := lines(held)
	held.Put(cloud.Set{Name: "a._fedhelm." + global + ".example.com.", Type: "TXT", TTL: 300, Values: []string{`"heritage=external-dns,external-dns/owner=fellowship/1"`}})
	_, open := route53(t, held)
	_, err := open("council/1").Sync(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, lines(held), len(before)+1, "another's mark")
	z := open("fellowship/1")
	_, err = z.Sync(t.Context(), []*endpoint.Endpoint{a(global, "192.0.2.1")})
	require.NoError(t, err)
	require.Len(t, lines(held), len(before)+2, "it is used again")
	_, err = open("fellowship/1").Sync(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, before, lines(held))
}

func TestRoute53Checks(t *testing.T) {
	public, private := cloud.NewZone("Z1MORDOR", zone, false), cloud.NewZone("Z2MORIA", zone, true)
	server := cloud.NewRoute53(t, public, private)
	at := "endpoint-url = " + server.URL + "\n"
	check := func(text string) error {
		return open(t, AWS, "[Global]\n"+at+text, nil, "fellowship").Check(t.Context())
	}

	require.ErrorContains(t, check(awsKeys), "check zone example.com. at aws-route53: the zone is not to be found: this account has 2 of that name (Z1MORDOR, public; Z2MORIA, private): choose one with zone-id, or with zone-visibility public or private")
	require.NoError(t, check(awsKeys+"zone-visibility = private\n"))
	require.NoError(t, check(awsKeys+"zone-id = Z1MORDOR\n"))
	require.ErrorContains(t, check("access-key-id = AKIDGANDALF\nsecret-access-key = friend\n"), "SignatureDoesNotMatch")
	require.ErrorContains(t, check("access-key-id = AKIDGANDALF\nsecret-access-key = friend\n"), "its identity needs route53:ListHostedZones")

	require.NoError(t, open(t, AWS, "[Global]\nzone-visibility = public\ncredentials-file = credentials\n"+at,
		map[string][]byte{"credentials": []byte("[default]\naws_access_key_id = AKIDGANDALF\naws_secret_access_key = mellon/+=\n")}, "fellowship").Check(t.Context()))

	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDGANDALF") // the pod's own identity
	t.Setenv("AWS_SECRET_ACCESS_KEY", "mellon/+=")
	require.NoError(t, check("zone-visibility = public\n"))
	require.Error(t, check("zone-visibility = public\naccess-key-id = AKIDSAURON\nsecret-access-key = x\n"), "the configuration's win over it")

	server.Zones = nil
	require.ErrorContains(t, check(""), "this account has none of that name: make it, or set dns.zoneName to one that is there")
	server.Limit(0, cloud.ListHostedZones)
	require.ErrorContains(t, check(""), "Throttling")
}

func TestCloudDNS(t *testing.T) {
	held := cloud.NewZone("mordor", zone, false)
	held.Put(strangers(1000)...)
	server := cloud.NewCloudDNS(t, cloud.NewZone("sub", "sub.example.com.", false), held, cloud.NewZone("shire", "example.org.", false))
	files := map[string][]byte{"key.json": server.Credentials()}
	text := "[Global]\ncredentials-file = key.json\nendpoint-url = " + server.URL + "\n"
	world{
		open:    func(owner string) *Zone { return open(t, Google, text, files, owner) },
		records: func() []string { return lines(held) },
		writes:  func() int { return server.Of(cloud.CreateChange) },
		marks:   true,
	}.follow(t)

	before := lines(held)
	z := open(t, Google, text, files, "fellowship/1")
	desired := many(1000, "192.0.2.1")
	_, err := z.Sync(t.Context(), desired)
	require.NoError(t, err)
	assert.Equal(t, world{}.expect(before, desired), world{}.unmarked(lines(held)))

	server.Down(true)
	asked := server.Of()
	const tries = 20
	for range tries {
		_, err = z.Sync(t.Context(), nil)
		require.ErrorContains(t, err, "Rate Limit Exceeded")
	}
	assert.LessOrEqual(t, server.Of()-asked, 3*tries)
	server.Down(false)
	_, err = z.Sync(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, before, lines(held))

	// The zone is deleted and made anew, under another id: nothing counts as written until that is found, neither by what is known of the zone nor by a look at it.
	anew := cloud.NewZone("mordor-again", zone, false)
	server.Zones = []*cloud.Zone{anew}
	_, err = z.Sync(t.Context(), []*endpoint.Endpoint{a(global, "192.0.2.1")})
	require.ErrorContains(t, err, "No matching zone for record addition")
	_, err = z.Sync(t.Context(), []*endpoint.Endpoint{a(global, "192.0.2.1")})
	require.NoError(t, err)
	assert.Contains(t, lines(anew), global+".example.com 180 A 192.0.2.1")
}

// v1's token-url, and the checks.
func TestCloudDNSChecks(t *testing.T) {
	public, private := cloud.NewZone("mordor", zone, false), cloud.NewZone("moria", zone, true)
	server := cloud.NewCloudDNS(t, public, private)
	at := "endpoint-url = " + server.URL + "\n"
	tokens := "project-id = middle-earth\ntoken-url = " + server.URL + "/token-url\ntoken-body = \"{\\\"ring\\\": \\\"one\\\"}\"\n"
	check := func(text string) error {
		return open(t, Google, "[Global]\n"+at+text, map[string][]byte{"key.json": server.Credentials(), "other.json": []byte("no key")}, "fellowship").Check(t.Context())
	}
	require.NoError(t, check("credentials-file = key.json\nzone-visibility = private\n"))
	require.NoError(t, check("credentials-file = key.json\nzone-id = mordor\n"))
	require.ErrorContains(t, check("credentials-file = key.json\n"), "the project has 2 of that name (mordor, public; moria, private): choose one")
	require.ErrorContains(t, check("credentials-file = key.json\nproject-id = isengard\n"), "its identity needs the role roles/dns.admin")
	require.ErrorContains(t, check("credentials-file = other.json\n"), "file other.json is no key of a service account")
	require.NoError(t, check(tokens+"zone-id = mordor\n"))
	require.ErrorContains(t, check(strings.Replace(tokens, "one", "two", 1)+"zone-id = mordor\n"), "token-url answers 403 Forbidden")
}

// Until the time is up nobody waits for a server that takes a call and does not answer.
func TestCheckIsBounded(t *testing.T) {
	server := cloud.NewRoute53(t, cloud.NewZone("Z1MORDOR", zone, false))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	server.Limit(0, cloud.ListHostedZones)
	started := time.Now()
	err := open(t, AWS, "[Global]\n"+awsKeys+"endpoint-url = "+server.URL+"\n", nil, "fellowship").Check(ctx)
	require.Error(t, err)
	require.Less(t, time.Since(started), bound)
}
