// Package pki makes and judges the certificates of a control plane: authorities, the leaves they sign, and the key that signs service account tokens.
// It is pure: it takes the time as an argument, gives PEM text, and knows no Kubernetes.
package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

const (
	// AuthorityLife is how long an authority is valid.
	AuthorityLife = 10 * 365 * 24 * time.Hour
	// LeafLife is how long a leaf is valid, unless its authority ends before.
	LeafLife = 365 * 24 * time.Hour
	// Backdate is how long before its making a certificate becomes valid, for the sake of clocks that are behind.
	Backdate = 5 * time.Minute
)

// Pair is a certificate and its private key as PEM text: the tls.crt and tls.key of a Secret.
type Pair struct {
	Certificate []byte
	Key         []byte
}

// Authority signs leaves. Make one with NewAuthority or read one with ParseAuthority.
type Authority struct {
	pair        Pair
	certificate *x509.Certificate
	key         crypto.Signer
}

// NewAuthority makes a self-signed authority that is valid for AuthorityLife.
func NewAuthority(commonName string, now time.Time) (*Authority, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              now.Add(AuthorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, err
	}
	certificatePEM, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the authority %q: %w", commonName, err)
	}
	return ParseAuthority(Pair{Certificate: certificatePEM, Key: keyPEM})
}

// ParseAuthority reads an authority. Errors: ErrUnparsable, ErrKeyMismatch, ErrNoAuthority. One that has expired is no error: see Expired.
func ParseAuthority(pair Pair) (*Authority, error) {
	certificate, key, err := pair.parse()
	if err != nil {
		return nil, err
	}
	if !certificate.IsCA || certificate.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, ErrNoAuthority
	}
	return &Authority{pair: pair, certificate: certificate, key: key}, nil
}

// Pair gives the authority's own certificate and key.
func (a *Authority) Pair() Pair { return a.pair }

// NotAfter is when the authority ends.
func (a *Authority) NotAfter() time.Time { return a.certificate.NotAfter }

// Expired says whether the authority is past its end.
func (a *Authority) Expired(now time.Time) bool { return now.After(a.certificate.NotAfter) }

// Issue makes a new key and a certificate for it as spec says, valid for LeafLife, but never longer than the authority. Errors: the authority has
// expired; a name that no certificate can carry.
func (a *Authority) Issue(spec Leaf, now time.Time) (Pair, error) {
	if a.Expired(now) {
		return Pair{}, fmt.Errorf("the authority %q expired on %s", a.certificate.Subject.CommonName, a.certificate.NotAfter.Format(time.DateOnly))
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: spec.CommonName, Organization: spec.Organizations},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              a.leafEnd(now),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           spec.Usages,
		BasicConstraintsValid: true,
	}
	template.DNSNames, template.IPAddresses = splitNames(spec.Names)
	key, keyPEM, err := newKey()
	if err != nil {
		return Pair{}, err
	}
	certificatePEM, err := sign(template, a.certificate, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("issue the certificate %q for %q: %w", spec.CommonName, spec.Names, err)
	}
	return Pair{Certificate: certificatePEM, Key: keyPEM}, nil
}

// leafEnd is when a leaf issued now ends.
func (a *Authority) leafEnd(now time.Time) time.Time {
	end := now.Add(LeafLife)
	if end.After(a.certificate.NotAfter) {
		return a.certificate.NotAfter
	}
	return end
}

// parse reads both texts. Errors: ErrUnparsable, ErrKeyMismatch.
func (p Pair) parse() (*x509.Certificate, crypto.Signer, error) {
	certificate, err := ParseCertificate(p.Certificate)
	if err != nil {
		return nil, nil, err
	}
	key, err := parseKey(p.Key)
	if err != nil {
		return nil, nil, err
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(certificate.PublicKey) {
		return nil, nil, ErrKeyMismatch
	}
	return certificate, key, nil
}

// ParseCertificate reads the first certificate of a PEM text. Errors: ErrUnparsable.
func ParseCertificate(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%w: no PEM certificate", ErrUnparsable)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnparsable, err)
	}
	return certificate, nil
}

// newKey makes an ECDSA P-256 key: thousands of times cheaper to make than RSA 2048, and every TLS client of the last decade takes it.
func newKey() (crypto.Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode a key: %w", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// parseKey reads a private key in any of the forms that Kubernetes' programs take. Errors: ErrUnparsable, which never quotes the text.
func parseKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%w: no PEM key", ErrUnparsable)
	}
	var key any
	var err error
	switch block.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the key cannot be read", ErrUnparsable)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: the key cannot sign", ErrUnparsable)
	}
	return signer, nil
}

// sign gives the PEM text of a certificate with a random serial number.
func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// SigningKey is the key that signs service account tokens, as PEM text: the sa.key and sa.pub of a Secret.
type SigningKey struct {
	Private []byte
	Public  []byte
}

// NewSigningKey makes a service account key. It is ECDSA as all others (kube-apiserver then signs with ES256): making RSA 2048 costs up to a second of a
// small node, and nothing but kube-apiserver itself ever checks these tokens.
func NewSigningKey() (SigningKey, error) {
	key, private, err := newKey()
	if err != nil {
		return SigningKey{}, err
	}
	public, err := publicPEM(key)
	if err != nil {
		return SigningKey{}, err
	}
	return SigningKey{Private: private, Public: public}, nil
}

// Repair gives the key with the public half that belongs to its private one. Errors: ErrUnparsable, when the private half is lost.
func (s SigningKey) Repair() (SigningKey, error) {
	key, err := parseKey(s.Private)
	if err != nil {
		return SigningKey{}, err
	}
	public, err := publicPEM(key)
	if err != nil {
		return SigningKey{}, err
	}
	// Older public keys may follow the current one, so that their tokens go on being accepted.
	if bytes.HasPrefix(s.Public, bytes.TrimSpace(public)) {
		return s, nil
	}
	return SigningKey{Private: s.Private, Public: public}, nil
}

func publicPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("encode a public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// Why a certificate is not as it should be.
var (
	// ErrUnparsable: the text is no PEM certificate or key.
	ErrUnparsable = errors.New("cannot be read")
	// ErrKeyMismatch: the private key is not the certificate's.
	ErrKeyMismatch = errors.New("the key does not belong to the certificate")
	// ErrNoAuthority: the certificate may not sign others.
	ErrNoAuthority = errors.New("the certificate may not sign others")
	// ErrOtherAuthority: another authority signed it.
	ErrOtherAuthority = errors.New("signed by another authority")
	// ErrNotYetValid: its validity begins later.
	ErrNotYetValid = errors.New("not valid yet")
	// ErrExpired: its validity is over.
	ErrExpired = errors.New("expired")
	// ErrAgeing: over two thirds of its life are past.
	ErrAgeing = errors.New("past two thirds of its life")
	// ErrSubject: common name or organizations are others.
	ErrSubject = errors.New("for another subject")
	// ErrUsages: the extended key usages are others.
	ErrUsages = errors.New("for other usages")
	// ErrNames: a DNS name or an IP address is missing.
	ErrNames = errors.New("lacks a name")
)
