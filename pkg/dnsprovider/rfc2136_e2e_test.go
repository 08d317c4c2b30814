//go:build e2e

package dnsprovider

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

const (
	tsigSecret = "c3BlYWsgZnJpZW5kIGFuZCBlbnRlciwgc3BlYWsgZnJpZW5k"
	tsigKey    = "servers = 127.0.0.1\ntsig-key-name = gandalf\ntsig-secret = " + tsigSecret + "\n"
)

// bind starts Debian's BIND with the zone, which a key may transfer and update, and gives its port.
func bind(t *testing.T) string {
	t.Helper()
	named, err := exec.LookPath("named")
	require.NoError(t, err, "this test needs BIND: make tools-test installs Debian's package bind9")
	port, dir := freePort(t), t.TempDir()
	zoneFile := "$TTL 300\n@ IN SOA ns1 hostmaster 1 7200 900 1209600 86400\n@ IN NS ns1\nns1 IN A 127.0.0.1\n"
	for i := range 500 {
		zoneFile += fmt.Sprintf("stranger-%d IN A 198.51.100.1\nother-%d IN CNAME stranger-%d\n", i, i, i)
	}
	for _, name := range []string{"com", "org", "net"} { // BIND writes no file for two zones
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(zoneFile), 0o600))
	}
	config := fmt.Sprintf(`
key gandalf { algorithm hmac-sha256; secret "%s"; };
controls {};
options {
  directory "%s"; pid-file none; session-keyfile none; managed-keys-directory "%s";
  listen-on port %s { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; dnssec-validation no; notify no;
};
zone "example.com" { type primary; file "com"; allow-transfer { key gandalf; }; allow-update { key gandalf; }; };
zone "example.org" { type primary; file "org"; allow-transfer { none; }; };
zone "example.net" { type primary; file "net"; allow-transfer { key gandalf; }; };
`, tsigSecret, dir, dir, port)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "named.conf"), []byte(config), 0o600))
	start(t, named, "-g", "-c", filepath.Join(dir, "named.conf"))
	for _, name := range []string{"com", "org", "net"} { // it listens before it has read them
		require.Eventually(t, func() bool {
			answer, err := dns.Exchange(new(dns.Msg).SetQuestion("example."+name+".", dns.TypeSOA), "127.0.0.1:"+port)
			return err == nil && answer.Rcode == dns.RcodeSuccess
		}, 30*time.Second, 20*time.Millisecond, name)
	}
	return port
}

// transfer gives the zone's records, one a line, without SOA, whose serial changes.
func transfer(t *testing.T, port string) []string {
	t.Helper()
	m := new(dns.Msg).SetAxfr(zone)
	m.SetTsig("gandalf.", dns.HmacSHA256, 300, time.Now().Unix())
	records, err := (&dns.Transfer{TsigSecret: map[string]string{"gandalf.": tsigSecret}}).In(m, "127.0.0.1:"+port)
	require.NoError(t, err)
	all := []string{}
	for part := range records {
		require.NoError(t, part.Error)
		for _, rr := range part.RR {
			if h := rr.Header(); h.Rrtype != dns.TypeSOA {
				all = append(all, line(h.Name, int64(h.Ttl), dns.TypeToString[h.Rrtype], strings.TrimPrefix(rr.String(), h.String())))
			}
		}
	}
	slices.Sort(all)
	return all
}

func serial(t *testing.T, port string) int {
	t.Helper()
	answer, err := dns.Exchange(new(dns.Msg).SetQuestion(zone, dns.TypeSOA), "127.0.0.1:"+port)
	require.NoError(t, err)
	require.Len(t, answer.Answer, 1)
	return int(answer.Answer[0].(*dns.SOA).Serial)
}

func TestRFC2136(t *testing.T) {
	port := bind(t)
	text := "[Global]\nport = " + port + "\n" + tsigKey
	world{
		open:    func(owner string) *Zone { return open(t, RFC2136, text, nil, owner) },
		records: func() []string { return transfer(t, port) },
		writes:  func() int { return serial(t, port) },
		marks:   true,
	}.follow(t)
}

func TestRFC2136Checks(t *testing.T) {
	port := bind(t)
	check := func(zone, text string) error {
		c, err := Parse(RFC2136, zone, "[Global]\n"+text, "")
		require.NoError(t, err)
		z, err := Open(t.Context(), c, "fellowship")
		require.NoError(t, err)
		return z.Check(t.Context())
	}
	at := "port = " + port + "\n"
	require.NoError(t, check("example.com", at+tsigKey))
	const advice = "the server must have the zone as its primary"
	require.ErrorContains(t, check("example.com", at+strings.ReplaceAll(tsigKey, "c3Bl", "C3Bl")), advice, "another key")
	require.ErrorContains(t, check("example.com", at+"servers = 127.0.0.1\n"), advice, "no key")
	require.ErrorContains(t, check("example.org", at+tsigKey), advice, "no transfer")
	require.ErrorContains(t, check("example.net", at+tsigKey), "write record _fedhelm-check-", "no update")
	require.ErrorContains(t, check("example.info", at+tsigKey), advice, "no such zone")
	require.ErrorContains(t, check("example.com", "port = "+freePort(t)+"\n"+tsigKey), "connection refused")
}
