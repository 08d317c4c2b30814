package values

import (
	"fmt"
	"regexp"
	"strings"
)

// ExternalEtcd is an etcd that somebody else runs, in place of the chart's own.
type ExternalEtcd struct {
	// URLs of its servers, all https:// or all http:// (kubefed's --etcd-servers). With any given the chart runs no etcd of its own; empty means that one.
	Servers []string `json:"servers"`
	// Prefix of the federation's keys in it; empty means `/federation/<federation>`, so that federations can share an etcd with each other and with the API servers of clusters.
	Prefix string `json:"prefix" jsonschema:"pattern=^(/[-._a-zA-Z0-9]+)*$"`
	// Name of a Secret in the release's namespace with what https needs: ca.crt, the CA of the servers' certificates, and tls.crt and tls.key, the client certificate to present to
	// them, and its key.
	ExistingSecret string `json:"existingSecret"`
	// CA of the servers' certificates, in PEM; with certificate and key, instead of the Secret.
	CA string `json:"ca"`
	// Client certificate to present to them, in PEM.
	Certificate string `json:"certificate"`
	// Key of that certificate, in PEM.
	Key string `json:"key"`
}

// Own reports whether the chart runs the etcd of the API itself. Template controlPlane.ownEtcd says the same.
func (e Etcd) Own() bool { return len(e.External.Servers) == 0 }

// HTTPS reports whether the servers are asked by https, after Validate has seen that they agree.
func (e ExternalEtcd) HTTPS() bool {
	return len(e.Servers) > 0 && strings.HasPrefix(e.Servers[0], "https://")
}

// etcdURL is the URL of an etcd's server; kube-apiserver takes no path and no credentials in it.
var etcdURL = regexp.MustCompile(`^https?://[^/@, ]+/?$`)

// Validate says which values contradict each other, as the chart's template does. Errors: one sentence.
func (e Etcd) Validate() error {
	x := e.External
	var given []string
	for _, f := range []struct{ key, value string }{{"existingSecret", x.ExistingSecret}, {"ca", x.CA}, {"certificate", x.Certificate}, {"key", x.Key}, {"prefix", x.Prefix}} {
		if f.value != "" {
			given = append(given, f.key)
		}
	}
	if e.Own() {
		if len(given) > 0 {
			return fmt.Errorf("etcd.external.%s is for an etcd of yours, but etcd.external.servers names none: name its servers, or leave etcd.external.%s out", given[0], given[0])
		}
		return nil
	}
	https := 0
	for _, server := range x.Servers {
		if !etcdURL.MatchString(server) {
			return fmt.Errorf("etcd.external.servers has %q, which is no server of an etcd: write it as https://host:2379 or http://host:2379", server)
		}
		if strings.HasPrefix(server, "https://") {
			https++
		}
	}
	if https > 0 && https < len(x.Servers) {
		return fmt.Errorf("etcd.external.servers has both https:// and http://, but servers of one etcd are asked in one way: write all of them as the one or the other")
	}
	if claim := e.Persistence.ExistingClaim; claim != "" {
		return fmt.Errorf("etcd.persistence.existingClaim names claim %q, but with etcd.external.servers the chart runs no etcd that would use it: leave one of them out", claim)
	}
	return x.validateCertificates()
}

// validateCertificates sees that https has all it takes, from one source, and http nothing.
func (e ExternalEtcd) validateCertificates() error {
	var given, missing []string
	for _, f := range []struct{ key, value string }{{"ca", e.CA}, {"certificate", e.Certificate}, {"key", e.Key}} {
		if f.value != "" {
			given = append(given, f.key)
		} else {
			missing = append(missing, f.key)
		}
	}
	if e.ExistingSecret != "" && len(given) > 0 {
		return fmt.Errorf("etcd.external.existingSecret and etcd.external.%s both give the certificates for etcd: give one of them", given[0])
	}
	if e.ExistingSecret != "" {
		given, missing = []string{"existingSecret"}, nil
	}
	switch {
	case !e.HTTPS() && len(given) > 0:
		return fmt.Errorf("etcd.external.%s is for https, but etcd.external.servers has http://: write https://, or leave etcd.external.%s out", given[0], given[0])
	case e.HTTPS() && len(given) == 0:
		return fmt.Errorf("etcd.external.servers has https://, which takes a CA, a certificate and its key: name a Secret that has them in keys ca.crt, tls.crt and tls.key in etcd.external.existingSecret, or give etcd.external.ca, certificate and key")
	case e.HTTPS() && len(missing) > 0:
		return fmt.Errorf("etcd.external.ca, certificate and key go together, but %s is missing: give all three", missing[0])
	}
	return nil
}
