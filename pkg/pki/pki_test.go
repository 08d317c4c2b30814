package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	now  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	spec = Leaf{
		CommonName:    "kube-apiserver",
		Organizations: []string{"elves", "men"},
		Names:         []string{"fellowship-apiserver", "fellowship-apiserver.shire.svc", "127.0.0.1", "fd00::1"},
		Usages:        Server,
	}
)

func newAuthority(t *testing.T, at time.Time) *Authority {
	t.Helper()
	a, err := NewAuthority("fellowship", at)
	require.NoError(t, err)
	return a
}

func issue(t *testing.T, a *Authority, spec Leaf, at time.Time) Pair {
	t.Helper()
	pair, err := a.Issue(spec, at)
	require.NoError(t, err)
	return pair
}

func TestCheck(t *testing.T) {
	a, other := newAuthority(t, now), newAuthority(t, now)
	good := issue(t, a, spec, now)
	with := func(change func(*Leaf)) Leaf { s := spec; change(&s); return s }
	for name, test := range map[string]struct {
		pair Pair
		spec Leaf
		at   time.Time
		want error
	}{
		"as issued":                        {good, spec, now, nil},
		"a clock that is behind":           {good, spec, now.Add(-Backdate), nil},
		"just before two thirds":           {good, spec, now.Add(LeafLife * 66 / 100), nil},
		"fewer names needed than it has":   {good, with(func(s *Leaf) { s.Names = s.Names[:1] }), now, nil},
		"the same names in another order":  {good, with(func(s *Leaf) { s.Names = []string{"127.0.0.1", "FELLOWSHIP-apiserver.", "fd00:0::1"} }), now, nil},
		"organizations in another order":   {good, with(func(s *Leaf) { s.Organizations = []string{"men", "elves"} }), now, nil},
		"past two thirds":                  {good, spec, now.Add(LeafLife * 67 / 100), ErrAgeing},
		"expired":                          {good, spec, now.Add(LeafLife + time.Second), ErrExpired},
		"a clock that is far behind":       {good, spec, now.Add(-time.Hour), ErrNotYetValid},
		"a new DNS name":                   {good, with(func(s *Leaf) { s.Names = append([]string{"lb.example"}, s.Names...) }), now, ErrNames},
		"a new address":                    {good, with(func(s *Leaf) { s.Names = append([]string{"192.0.2.1"}, s.Names...) }), now, ErrNames},
		"another common name":              {good, with(func(s *Leaf) { s.CommonName = "sauron" }), now, ErrSubject},
		"another group":                    {good, with(func(s *Leaf) { s.Organizations = []string{"orcs", "men"} }), now, ErrSubject},
		"one group less":                   {good, with(func(s *Leaf) { s.Organizations = []string{"men"} }), now, ErrSubject},
		"another usage":                    {good, with(func(s *Leaf) { s.Usages = Client }), now, ErrUsages},
		"one usage more":                   {good, with(func(s *Leaf) { s.Usages = ServerAndClient }), now, ErrUsages},
		"another authority, the same name": {issue(t, other, spec, now), spec, now, ErrOtherAuthority},
		"another's key":                    {Pair{good.Certificate, issue(t, a, spec, now).Key}, spec, now, ErrKeyMismatch},
		"nothing":                          {Pair{}, spec, now, ErrUnparsable},
		"no key":                           {Pair{Certificate: good.Certificate}, spec, now, ErrUnparsable},
		"garbage":                          {Pair{[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), good.Key}, spec, now, ErrUnparsable},
		"texts swapped":                    {Pair{good.Key, good.Certificate}, spec, now, ErrUnparsable},
	} {
		t.Run(name, func(t *testing.T) {
			err := a.Check(test.spec, test.pair, test.at)
			if test.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, test.want)
		})
	}
}

func TestLeafNeverOutlivesItsAuthority(t *testing.T) {
	a := newAuthority(t, now)
	late := now.Add(AuthorityLife - 30*24*time.Hour)
	pair := issue(t, a, spec, late)
	certificate, err := ParseCertificate(pair.Certificate)
	require.NoError(t, err)
	require.Equal(t, a.NotAfter(), certificate.NotAfter)
	require.NoError(t, a.Check(spec, pair, late.Add(29*24*time.Hour)), "renewing it would gain nothing")

	require.True(t, a.Expired(now.Add(AuthorityLife+time.Second)))
	_, err = a.Issue(spec, now.Add(AuthorityLife+time.Second))
	require.ErrorContains(t, err, "expired on 2036")
}

func TestParseAuthority(t *testing.T) {
	a, other := newAuthority(t, now), newAuthority(t, now)
	back, err := ParseAuthority(a.Pair())
	require.NoError(t, err)
	require.NoError(t, a.Check(spec, issue(t, back, spec, now), now), "an authority read again signs as before")

	for name, test := range map[string]struct {
		pair Pair
		want error
	}{
		"a leaf":        {issue(t, a, spec, now), ErrNoAuthority},
		"another's key": {Pair{a.Pair().Certificate, other.Pair().Key}, ErrKeyMismatch},
		"no key":        {Pair{Certificate: a.Pair().Certificate}, ErrUnparsable},
		"garbage":       {Pair{[]byte("mellon"), []byte("mellon")}, ErrUnparsable},
	} {
		_, err := ParseAuthority(test.pair)
		require.ErrorIs(t, err, test.want, name)
		require.NotContains(t, err.Error(), "mellon")
	}
}

func TestIssueRefusesNamesThatNoCertificateCarries(t *testing.T) {
	s := spec
	s.Names = []string{"lothlórien.example"}
	_, err := newAuthority(t, now).Issue(s, now)
	require.ErrorContains(t, err, "lothlórien")
}

func TestSigningKey(t *testing.T) {
	key, err := NewSigningKey()
	require.NoError(t, err)
	repaired, err := key.Repair()
	require.NoError(t, err)
	require.Equal(t, key, repaired)

	other, err := NewSigningKey()
	require.NoError(t, err)
	for name, public := range map[string][]byte{"lost": nil, "another's": other.Public} {
		repaired, err = SigningKey{Private: key.Private, Public: public}.Repair()
		require.NoError(t, err, name)
		require.Equal(t, key, repaired, name)
	}
	both := SigningKey{Private: key.Private, Public: append(append([]byte(nil), key.Public...), other.Public...)}
	repaired, err = both.Repair()
	require.NoError(t, err)
	require.Equal(t, both, repaired, "older public keys stay")

	_, err = SigningKey{Public: key.Public}.Repair()
	require.ErrorIs(t, err, ErrUnparsable)
}

// A TLS server and client made of the leaves talk to each other; a client of another authority is turned away.
func TestHandshake(t *testing.T) {
	now := time.Now()
	a, other := newAuthority(t, now), newAuthority(t, now)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(a.Pair().Certificate))
	keyPair := func(p Pair) []tls.Certificate {
		c, err := tls.X509KeyPair(p.Certificate, p.Key)
		require.NoError(t, err)
		return []tls.Certificate{c}
	}
	clientSpec := Leaf{CommonName: "frodo", Usages: Client}
	shake := func(client Pair) error {
		here, there := net.Pipe()
		server := tls.Server(there, &tls.Config{Certificates: keyPair(issue(t, a, spec, now)), ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})
		go func() {
			_ = tls.Client(here, &tls.Config{Certificates: keyPair(client), RootCAs: pool, ServerName: "fellowship-apiserver.shire.svc"}).Handshake()
			_ = here.Close()
		}()
		return server.Handshake()
	}
	require.NoError(t, shake(issue(t, a, clientSpec, now)))
	require.Error(t, shake(issue(t, other, clientSpec, now)))
	require.Error(t, shake(issue(t, a, spec, now)), "a server's leaf is no client's")
}

// openssl, which shares no code with us, verifies chain, usage and name.
func TestOpenSSLVerifies(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("openssl is missing: apt-get install openssl")
	}
	now := time.Now()
	a, other := newAuthority(t, now), newAuthority(t, now)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	ca, otherCA := write("ca.crt", a.Pair().Certificate), write("other.crt", other.Pair().Certificate)
	server := write("server.crt", issue(t, a, spec, now).Certificate)
	client := write("client.crt", issue(t, a, Leaf{CommonName: "frodo", Usages: Client}, now).Certificate)
	wild := write("wild.crt", issue(t, a, Leaf{CommonName: "etcd", Names: []string{"*.etcd.shire.svc"}, Usages: ServerAndClient}, now).Certificate)

	for _, test := range []struct {
		good bool
		args []string
	}{
		{true, []string{"-CAfile", ca, "-purpose", "sslserver", "-verify_hostname", "fellowship-apiserver.shire.svc", server}},
		{true, []string{"-CAfile", ca, "-purpose", "sslserver", "-verify_ip", "127.0.0.1", server}},
		{true, []string{"-CAfile", ca, "-purpose", "sslclient", client}},
		{true, []string{"-CAfile", ca, "-purpose", "sslserver", "-verify_hostname", "etcd-0.etcd.shire.svc", wild}},
		{true, []string{"-CAfile", ca, "-purpose", "sslclient", wild}},
		{false, []string{"-CAfile", ca, "-purpose", "sslserver", "-verify_hostname", "mordor", server}},
		{false, []string{"-CAfile", ca, "-purpose", "sslclient", server}},
		{false, []string{"-CAfile", ca, "-purpose", "sslserver", client}},
		{false, []string{"-CAfile", otherCA, "-purpose", "sslserver", server}},
	} {
		out, err := exec.CommandContext(t.Context(), "openssl", append([]string{"verify", "-x509_strict"}, test.args...)...).CombinedOutput()
		require.Equal(t, test.good, err == nil, "openssl verify %v: %s", test.args, out)
	}
}

// The whole table from nothing has a budget of one second of CPU.
func BenchmarkFromNothing(b *testing.B) {
	for b.Loop() {
		for range 3 {
			a, err := NewAuthority("fellowship", now)
			require.NoError(b, err)
			for range 4 {
				_, err = a.Issue(spec, now)
				require.NoError(b, err)
			}
		}
	}
}
