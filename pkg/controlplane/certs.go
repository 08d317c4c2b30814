package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fedhelm/fedhelm/pkg/pki"
)

// Keys of the Secret with the pair that signs service account tokens, as kubeadm names the files.
const (
	serviceAccountPrivateKey = "sa.key"
	serviceAccountPublicKey  = "sa.pub"
	authorityKey             = "ca.crt"
)

// Certs ensures every certificate of the table, each in a Secret of its own. What is there and good is not touched; a leaf past two thirds of its life, or with
// another subject, name or CA than the table's, is issued anew. A CA is never replaced. Then it ensures the password and the token of the administrator, where the values turn them on.
func (h Hook) Certs(ctx context.Context) error {
	addresses, err := h.knownAddresses(ctx)
	if err != nil {
		return err
	}
	if err := h.ensureCertificates(ctx, addresses); err != nil {
		return err
	}
	return h.ensureLogins(ctx)
}

// ensureCertificates reads all Secrets, makes all that is wanting, and then stores it, the CAs first.
func (h Hook) ensureCertificates(ctx context.Context, addresses []string) error {
	var err error
	for range len(h.authorities()) + 2 {
		// A conflict says that another run was faster, such as the keeper's, with one of the CAs or the service account key: what it made is as good.
		if err = h.ensureCertificatesOnce(ctx, addresses); !apierrors.IsConflict(err) {
			return err
		}
	}
	return err
}

func (h Hook) ensureCertificatesOnce(ctx context.Context, addresses []string) error {
	table := h.leaves(addresses)
	s := &secretStore{Hook: h, found: map[string]*corev1.Secret{}}
	for _, component := range append([]string{serviceAccountKeys}, h.authorities()...) {
		if err := s.read(ctx, component); err != nil {
			return err
		}
	}
	for _, row := range table {
		if err := s.read(ctx, row.Name); err != nil {
			return err
		}
	}

	signers := map[string]*pki.Authority{}
	for _, component := range h.authorities() {
		signer, err := s.authority(component, table)
		if err != nil {
			return err
		}
		signers[component] = signer
	}
	if err := s.serviceAccount(); err != nil {
		return err
	}
	for _, row := range table {
		if err := s.leaf(row, signers[row.Authority]); err != nil {
			return err
		}
	}
	return s.write(ctx)
}

// secretStore is what was found and what is to be stored.
type secretStore struct {
	Hook
	found   map[string]*corev1.Secret
	pending []pendingSecret
}

type pendingSecret struct {
	secret *corev1.Secret
	reason string
	// once marks what is created and never replaced.
	once bool
}

func (s *secretStore) read(ctx context.Context, component string) error {
	secret := s.secret(component)
	found, err := s.release().Get(ctx, s.Host, secret)
	if found {
		s.found[component] = secret
	}
	return err
}

func (h Hook) secret(component string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.Namespace, Name: h.object(component)}}
}

// authority gives the CA, and makes it where it is missing and nothing was signed by it yet.
func (s *secretStore) authority(component string, table []pki.Leaf) (*pki.Authority, error) {
	if secret, found := s.found[component]; found {
		signer, err := pki.ParseAuthority(pair(secret))
		if err != nil {
			return nil, fmt.Errorf("Secret %s/%s cannot serve as the CA (%w): put the CA back from a copy, or uninstall and install the federation, which makes every kubeconfig void",
				s.Namespace, secret.Name, err)
		}
		s.warnOfEnd(secret, signer)
		return signer, nil
	}
	for _, row := range table {
		if row.Authority != component || s.found[row.Name] == nil {
			continue
		}
		return nil, fmt.Errorf("Secret %s/%s with the CA is missing though certificates it signed are there (%s): put it back from a copy, or delete these too to start afresh, which makes every kubeconfig void",
			s.Namespace, s.object(component), s.object(row.Name))
	}
	signer, err := pki.NewAuthority(s.object(component), s.now())
	if err != nil {
		return nil, err
	}
	made := signer.Pair()
	s.store(component, corev1.SecretTypeTLS, map[string][]byte{corev1.TLSCertKey: made.Certificate, corev1.TLSPrivateKeyKey: made.Key}, "it was missing", true)
	return signer, nil
}

// warnOfEnd says early that a CA ends, because only a person can replace it: in its last year its leaves get shorter and shorter.
func (s *secretStore) warnOfEnd(secret *corev1.Secret, signer *pki.Authority) {
	if left := signer.NotAfter().Sub(s.now()); left < pki.LeafLife {
		s.Log.Warn(fmt.Sprintf("the CA in Secret %s/%s ends on %s, and every certificate it signed with it: plan to uninstall and install the federation, which makes every kubeconfig void",
			s.Namespace, secret.Name, signer.NotAfter().Format(time.DateOnly)))
	}
}

// serviceAccount ensures the key that signs service account tokens.
func (s *secretStore) serviceAccount() error {
	secret, found := s.found[serviceAccountKeys]
	if !found {
		return s.newServiceAccountKey("it was missing", true)
	}
	key := pki.SigningKey{Private: secret.Data[serviceAccountPrivateKey], Public: secret.Data[serviceAccountPublicKey]}
	repaired, err := key.Repair()
	if err != nil {
		return s.newServiceAccountKey(err.Error(), false)
	}
	if !bytes.Equal(repaired.Public, key.Public) {
		s.storeServiceAccountKey(repaired, "its public key was another's", false)
	}
	return nil
}

func (s *secretStore) newServiceAccountKey(reason string, once bool) error {
	key, err := pki.NewSigningKey()
	if err == nil {
		s.storeServiceAccountKey(key, reason, once)
	}
	return err
}

func (s *secretStore) storeServiceAccountKey(key pki.SigningKey, reason string, once bool) {
	s.store(serviceAccountKeys, corev1.SecretTypeOpaque, map[string][]byte{serviceAccountPublicKey: key.Public, serviceAccountPrivateKey: key.Private}, reason, once)
}

func (s *secretStore) leaf(row pki.Leaf, authority *pki.Authority) error {
	reason := errors.New("it was missing")
	if secret, found := s.found[row.Name]; found {
		reason = authority.Check(row, pair(secret), s.now())
		if reason == nil && !bytes.Equal(secret.Data[authorityKey], authority.Pair().Certificate) {
			reason = errors.New("it came with another CA's certificate")
		}
		if reason == nil {
			s.Log.Debug("unchanged", "secret", secret.Name)
			return nil
		}
	}
	issued, err := authority.Issue(row, s.now())
	if err != nil {
		return fmt.Errorf("issue the certificate of Secret %s/%s: %w", s.Namespace, s.object(row.Name), err)
	}
	s.store(row.Name, corev1.SecretTypeTLS, map[string][]byte{
		corev1.TLSCertKey: issued.Certificate, corev1.TLSPrivateKeyKey: issued.Key, authorityKey: authority.Pair().Certificate,
	}, reason.Error(), false)
	return nil
}

func (s *secretStore) store(component string, kind corev1.SecretType, data map[string][]byte, reason string, once bool) {
	secret := s.secret(component)
	secret.Type, secret.Data = kind, data
	s.pending = append(s.pending, pendingSecret{secret, reason, once})
}

func (s *secretStore) write(ctx context.Context) error {
	for _, p := range s.pending {
		store := s.release().Ensure
		if p.once {
			store = s.release().CreateOnly
		}
		if err := store(ctx, s.Host, p.secret); err != nil {
			return fmt.Errorf("store Secret %s/%s: %w", s.Namespace, p.secret.Name, err)
		}
		s.Log.Info("issued", "secret", p.secret.Name, "because", p.reason)
	}
	return nil
}

func pair(secret *corev1.Secret) pki.Pair {
	return pki.Pair{Certificate: secret.Data[corev1.TLSCertKey], Key: secret.Data[corev1.TLSPrivateKeyKey]}
}
