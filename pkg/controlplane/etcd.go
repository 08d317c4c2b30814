package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/pki"
)

// The etcd of the federation's API, where somebody else runs it.

// etcdTimeout bounds the question to each of its servers.
const etcdTimeout = 5 * time.Second

// checkEtcd sees that kube-apiserver will have what it needs for an etcd of somebody else's, before a pod waits for it. Errors: values that contradict each other; a Secret that is missing or lacks
// a key; certificates that cannot be used.
func (h Hook) checkEtcd(ctx context.Context) error {
	_, err := h.etcdTLS(ctx)
	return err
}

// etcdTLS is what somebody else's etcd is asked with by https; nil for one that is asked by http, and for the federation's own.
func (h Hook) etcdTLS(ctx context.Context) (*tls.Config, error) {
	if err := h.Values.Etcd.Validate(); err != nil {
		return nil, err
	}
	external := h.Values.Etcd.External
	if !external.HTTPS() {
		return nil, nil
	}
	data, source := map[string][]byte{
		authorityKey: []byte(external.CA), corev1.TLSCertKey: []byte(external.Certificate), corev1.TLSPrivateKeyKey: []byte(external.Key),
	}, "etcd.external"
	if external.ExistingSecret != "" {
		var err error
		if data, source, err = h.existingEtcdSecret(ctx, external.ExistingSecret); err != nil {
			return nil, err
		}
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !config.RootCAs.AppendCertsFromPEM(data[authorityKey]) {
		return nil, fmt.Errorf("the CA of %s is no certificate in PEM: put there the one that signs the certificates of etcd's servers", source)
	}
	pair, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, fmt.Errorf("the certificate and key of %s cannot be used (%w): put there the certificate that etcd knows kube-apiserver by, and its key, in PEM", source, err)
	}
	config.Certificates = []tls.Certificate{pair}
	if certificate, err := pki.ParseCertificate(data[corev1.TLSCertKey]); err == nil && h.now().After(certificate.NotAfter) {
		return nil, fmt.Errorf("the certificate of %s has expired on %s: put a new one there", source, certificate.NotAfter.Format(time.DateOnly))
	}
	return config, nil
}

// existingEtcdSecret reads the Secret that the values name. Errors: it is missing, cannot be read, or lacks a key.
func (h Hook) existingEtcdSecret(ctx context.Context, name string) (data map[string][]byte, source string, err error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: h.Namespace, Name: name}
	err = h.Host.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		return nil, "", fmt.Errorf("Secret %s of etcd.external.existingSecret is not there: make it with `kubectl -n %s create secret generic %s --from-file=%s=… --from-file=%s=… --from-file=%s=…`",
			key, key.Namespace, key.Name, authorityKey, corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	}
	if err != nil {
		return nil, "", fmt.Errorf("get Secret %s of etcd.external.existingSecret: %w", key, err)
	}
	var missing []string
	for _, wanted := range []string{authorityKey, corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
		if len(secret.Data[wanted]) == 0 {
			missing = append(missing, wanted)
		}
	}
	if len(missing) > 0 {
		return nil, "", fmt.Errorf("Secret %s of etcd.external.existingSecret lacks %s: give it the keys %s, %s and %s",
			key, strings.Join(missing, " and "), authorityKey, corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	}
	return secret.Data, fmt.Sprintf("Secret %s", key), nil
}

// etcdAnswers asks the servers of somebody else's etcd all at once whether they are well. One that is, is enough, as it is for kube-apiserver. Errors: none is; why, of each.
func (h Hook) etcdAnswers(ctx context.Context) error {
	config, err := h.etcdTLS(ctx)
	if err != nil {
		return err
	}
	asking := &http.Client{Timeout: etcdTimeout, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	var (
		group   sync.WaitGroup
		servers = h.Values.Etcd.External.Servers
		answers = make([]error, len(servers))
	)
	for i, server := range servers {
		group.Go(func() { answers[i] = askEtcd(ctx, asking, server) })
	}
	group.Wait()
	var failed []string
	for i, answer := range answers {
		if answer == nil {
			return nil
		}
		failed = append(failed, fmt.Sprintf("%s: %s", servers[i], answer))
	}
	return errors.New(strings.Join(failed, ", "))
}

// askEtcd asks one server of an etcd for its health. What answers in another way than an etcd that is ill is taken for one that is well.
func askEtcd(ctx context.Context, asking *http.Client, server string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(server, "/")+"/health", nil)
	if err != nil {
		return err
	}
	response, err := asking.Do(request)
	if err != nil {
		if with := (*url.Error)(nil); errors.As(err, &with) { // it names the address again
			err = with.Err
		}
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusServiceUnavailable {
		says, _ := io.ReadAll(io.LimitReader(response.Body, 200))
		return fmt.Errorf("it says that it is not well: %s", strings.Join(strings.Fields(string(says)), " "))
	}
	return nil
}

// removeEtcd removes the certificates of the federation's own etcd where it has none any more, the leaves before their CA.
func (h Hook) removeEtcd(ctx context.Context) error {
	if h.Values.Etcd.Own() {
		return nil
	}
	var certificates []client.Object
	for _, component := range ofEtcd {
		certificates = append(certificates, h.secret(component))
	}
	return h.remove(ctx, certificates...)
}

// whereToLook says what a person looks at when the API is not ready.
func (h Hook) whereToLook() string {
	if h.Values.Etcd.Own() {
		return fmt.Sprintf("look at the pods of %s and %s in namespace %s", h.object("apiserver"), h.object("etcd"), h.Namespace)
	}
	return fmt.Sprintf("see that the etcd at %s answers the pods of namespace %s, then look at those of %s", strings.Join(h.Values.Etcd.External.Servers, ", "), h.Namespace, h.object("apiserver"))
}
