package pki

import (
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Usages of a leaf.
var (
	Server          = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	Client          = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	ServerAndClient = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
)

// Leaf is what a certificate must be: a row of the table.
type Leaf struct {
	// Name of the row; nothing in the certificate.
	Name string
	// Authority is the name of the authority that signs it; nothing in the certificate.
	Authority string
	// CommonName is the user's name in a client certificate.
	CommonName string
	// Organizations are the user's groups in a client certificate.
	Organizations []string
	// Names are the DNS names and IP addresses that a server is called by.
	Names []string
	// Usages: Server, Client or ServerAndClient.
	Usages []x509.ExtKeyUsage
}

// Check says what is wrong with a pair that should be spec, signed by this authority, at the time now; nil when it can stay. A certificate may carry
// more names than it must: an address that was published once goes on working until the next renewal. Errors: ErrUnparsable, ErrKeyMismatch,
// ErrOtherAuthority, ErrSubject, ErrUsages, ErrNames, ErrNotYetValid, ErrExpired, ErrAgeing.
func (a *Authority) Check(spec Leaf, pair Pair, now time.Time) error {
	certificate, _, err := pair.parse()
	if err != nil {
		return err
	}
	if certificate.CheckSignatureFrom(a.certificate) != nil {
		return ErrOtherAuthority
	}
	if certificate.Subject.CommonName != spec.CommonName || !sameSet(certificate.Subject.Organization, spec.Organizations) {
		return fmt.Errorf("%w: %s", ErrSubject, certificate.Subject)
	}
	if !sameSet(certificate.ExtKeyUsage, spec.Usages) {
		return ErrUsages
	}
	if missing := missingNames(certificate, spec.Names); len(missing) > 0 {
		return fmt.Errorf("%w: %s", ErrNames, strings.Join(missing, ", "))
	}
	return a.checkAge(certificate, now)
}

func (a *Authority) checkAge(certificate *x509.Certificate, now time.Time) error {
	if now.Before(certificate.NotBefore) {
		return fmt.Errorf("%w: from %s", ErrNotYetValid, certificate.NotBefore.Format(time.RFC3339))
	}
	if now.After(certificate.NotAfter) {
		return fmt.Errorf("%w: on %s", ErrExpired, certificate.NotAfter.Format(time.RFC3339))
	}
	// In the authority's last year a new leaf would end no later, so that renewing it again and again would gain nothing.
	if now.After(RenewAt(certificate)) && a.leafEnd(now).After(certificate.NotAfter) {
		return fmt.Errorf("%w: ends on %s", ErrAgeing, certificate.NotAfter.Format(time.DateOnly))
	}
	return nil
}

// RenewAt is when two thirds of a certificate's life are past.
func RenewAt(certificate *x509.Certificate) time.Time {
	return certificate.NotAfter.Add(-certificate.NotAfter.Sub(certificate.NotBefore) / 3)
}

// missingNames gives those of names that the certificate is not for.
func missingNames(certificate *x509.Certificate, names []string) []string {
	dnsNames, addresses := splitNames(names)
	var missing []string
	for _, name := range dnsNames {
		if !slices.ContainsFunc(certificate.DNSNames, func(has string) bool { return strings.EqualFold(has, name) }) {
			missing = append(missing, name)
		}
	}
	for _, address := range addresses {
		if !slices.ContainsFunc(certificate.IPAddresses, address.Equal) {
			missing = append(missing, address.String())
		}
	}
	return missing
}

// splitNames sorts names into DNS names and IP addresses, each once, in the order given.
func splitNames(names []string) (dnsNames []string, addresses []net.IP) {
	for _, name := range names {
		if address := net.ParseIP(name); address != nil {
			if !slices.ContainsFunc(addresses, address.Equal) {
				addresses = append(addresses, address)
			}
			continue
		}
		name = strings.TrimSuffix(name, ".")
		if name != "" && !slices.Contains(dnsNames, name) {
			dnsNames = append(dnsNames, name)
		}
	}
	return dnsNames, addresses
}

func sameSet[T comparable](a, b []T) bool {
	in := func(list []T) func(T) bool { return func(x T) bool { return !slices.Contains(list, x) } }
	return len(a) == len(b) && !slices.ContainsFunc(a, in(b)) && !slices.ContainsFunc(b, in(a))
}
