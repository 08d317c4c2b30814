package dnsprovider

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/plan"
	"sigs.k8s.io/external-dns/provider"
	"sigs.k8s.io/external-dns/provider/rfc2136"
)

// Name servers that take dynamic updates, such as BIND, Knot or PowerDNS. The zone is read by a transfer.
var rfc2136Kind = kind{
	keys: []key{
		{name: "servers"}, {name: "port"}, {name: "tsig-key-name"}, {name: "tsig-secret"}, {name: "tsig-algorithm", words: tsigAlgorithms},
	},
	check:  checkRFC2136,
	open:   openRFC2136,
	verify: verifyRFC2136,
	chunk:  25, // a message holds 64 KiB
	advice: "the server must have the zone as its primary, and let this key, or address, transfer and update it (in BIND: allow-transfer, update-policy); see whether servers, port and the TSIG key are right, and the clocks alike",
}

var tsigAlgorithms = []string{"hmac-sha256", "hmac-sha224", "hmac-sha384", "hmac-sha512", "hmac-sha1"}

func checkRFC2136(c Config) error {
	if port := c.get("port"); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("key port is %s: give a number from 1 to 65535", port)
		}
	}
	if c.get("tsig-algorithm") != "" && c.get("tsig-key-name") == "" {
		return errors.New("key tsig-algorithm is given without tsig-key-name: give both, or neither")
	}
	if _, err := base64.StdEncoding.DecodeString(c.get("tsig-secret")); err != nil {
		return errors.New("key tsig-secret is no base64: write it as tsig-keygen or the server's configuration has it")
	}
	return first(c.required("servers", "the host names or addresses of the zone's primary name servers"), c.together("tsig-key-name", "tsig-secret"))
}

func openRFC2136(ctx context.Context, c Config, base externaldns.Config, _ string, _ zoneID) (provider.Provider, error) {
	base.RFC2136Host, base.RFC2136Port = split(c.get("servers")), 53
	if port := c.get("port"); port != "" {
		base.RFC2136Port, _ = strconv.Atoi(port) // checked
	}
	base.RFC2136Zone = []string{c.domain()}
	base.RFC2136TSIGKeyName, base.RFC2136TSIGSecret, base.RFC2136TSIGSecretAlg = c.get("tsig-key-name"), c.get("tsig-secret"), tsigAlgorithms[0]
	if algorithm := c.get("tsig-algorithm"); algorithm != "" {
		base.RFC2136TSIGSecretAlg = algorithm
	}
	base.RFC2136Insecure = c.get("tsig-key-name") == ""
	base.RFC2136AXFR = true
	base.RFC2136BatchChangeSize = 1 << 20 // chunks are small enough
	inner, err := rfc2136.New(ctx, &base, endpoint.NewDomainFilter([]string{c.domain()}))
	return &oneMessage{inner}, err
}

// oneMessage puts all changes into one update, which the server makes at once: external-dns would create, update and delete one after the other, and of an address that is to
// take a CNAME's place the server would drop the address, since the CNAME is still there.
type oneMessage struct{ provider.Provider }

func (p *oneMessage) ApplyChanges(ctx context.Context, changes *plan.Changes) error {
	all := &plan.Changes{}
	pair := func(old, updated *endpoint.Endpoint) {
		all.UpdateOld, all.UpdateNew = append(all.UpdateOld, old), append(all.UpdateNew, updated)
	}
	nothing := func(of *endpoint.Endpoint) *endpoint.Endpoint {
		empty := of.DeepCopy()
		empty.Targets = nil
		return empty
	}
	for _, e := range changes.Delete {
		pair(e, nothing(e))
	}
	for i, e := range changes.UpdateNew {
		pair(changes.UpdateOld[i], e)
	}
	for _, e := range changes.Create {
		pair(nothing(e), e)
	}
	return p.Provider.ApplyChanges(ctx, all)
}

// verifyRFC2136 sees whether the zone was transferred.
func verifyRFC2136(c Config, all records) error {
	if !hasApex(c, all) {
		return fmt.Errorf("%w: the server did not transfer it", errNoTransfer)
	}
	return nil
}

// hasApex says whether the records are a zone's: one without name servers is none.
func hasApex(c Config, all records) bool {
	return slices.ContainsFunc(all, func(e *endpoint.Endpoint) bool {
		return e.RecordType == endpoint.RecordTypeNS && strings.EqualFold(e.DNSName, c.domain())
	})
}

var errNoTransfer = errors.New("the zone could not be read")
