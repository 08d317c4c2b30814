package member

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/pki"
)

// inClusterServer is the address of the host cluster's API for its own pods.
const inClusterServer = "https://kubernetes.default.svc"

// access is a way to a member's API, and what the federation is to know of it.
type access struct {
	// config reaches the API.
	config *rest.Config
	// server is the address for the federation, ca what signs the serving certificate, in PEM, serverName the name to expect in it, if not the address's.
	server     string
	ca         []byte
	serverName string
	// kubeconfig is the self-contained kubeconfig of these credentials alone, nil for those that have none.
	kubeconfig []byte
	// kept says that these are the credentials that the federation keeps already, not given ones.
	kept bool
	// from names the credentials for a person.
	from string
}

// errNothingGiven is the error of a given kubeconfig that is not there.
var errNothingGiven = errors.New("there is no kubeconfig")

// given gives the access that the values describe: the host cluster's own, a kubeconfig among the values, or one in a Secret.
func (h Hook) given(ctx context.Context) (*access, error) {
	if h.Values.Credentials.InCluster {
		return h.inCluster()
	}
	text, source := []byte(h.Values.Credentials.Kubeconfig), "the value credentials.kubeconfig"
	if len(text) == 0 {
		var err error
		if text, source, err = h.givenSecret(ctx); err != nil {
			return nil, err
		}
	}
	return fromKubeconfig(text, kube.Choice{Source: source, Context: h.Values.Credentials.Context, Cluster: h.clusterName(), Server: h.Values.Server})
}

func fromKubeconfig(text []byte, choice kube.Choice) (*access, error) {
	config, err := kube.ParseKubeconfig(text, choice)
	if err != nil {
		return nil, err
	}
	flat, err := kube.FlattenKubeconfig(text, choice)
	if err != nil {
		return nil, err
	}
	return &access{config: config, server: config.Host, ca: config.CAData, serverName: config.ServerName, kubeconfig: flat, from: choice.Source}, nil
}

func (h Hook) givenSecret(ctx context.Context) (text []byte, source string, err error) {
	name, key := h.Values.Credentials.ExistingSecret, h.Values.Credentials.Key
	if name == "" {
		name = h.clusterName() + "-kubeconfig"
	}
	secret := &corev1.Secret{}
	err = h.Host.Get(ctx, client.ObjectKey{Namespace: h.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, "", fmt.Errorf("%w for cluster %s: make one with `kubectl -n %s create secret generic %s --from-file=%s=FILE`", errNothingGiven, h.clusterName(), h.Namespace, name, key)
	}
	if err != nil {
		return nil, "", fmt.Errorf("get Secret %s/%s with the kubeconfig: %w", h.Namespace, name, err)
	}
	if _, found := secret.Data[key]; !found {
		return nil, "", fmt.Errorf("key %q is not in Secret %s/%s, which has: %s; set credentials.key to one of them or put the kubeconfig under %s",
			key, h.Namespace, name, strings.Join(slices.Sorted(maps.Keys(secret.Data)), ", "), key)
	}
	return secret.Data[key], fmt.Sprintf("Secret %s/%s", h.Namespace, name), nil
}

// inCluster gives the host cluster as a member of its own federation.
func (h Hook) inCluster() (*access, error) {
	server := h.Values.Server
	if server == "" {
		server = inClusterServer
	}
	ca := h.Host.Config.CAData
	if len(ca) == 0 && h.Host.Config.CAFile != "" {
		var err error
		if ca, err = os.ReadFile(h.Host.Config.CAFile); err != nil {
			return nil, fmt.Errorf("read the host cluster's CA beside the pod's service account: %w", err)
		}
	}
	if len(ca) == 0 {
		return nil, errors.New("with credentials.inCluster fedhook must run in the host cluster, where its service account brings the CA: run it as the chart's Job")
	}
	return &access{config: h.Host.Config, server: server, ca: ca, serverName: h.Host.Config.ServerName, from: "fedhook's own service account"}, nil
}

// kept gives the access that the federation keeps in the credentials Secret, its account's token or a kubeconfig; nil where a join has not come so far.
func kept(secret *corev1.Secret, server string) *access {
	source := fmt.Sprintf("Secret %s/%s", secret.Namespace, secret.Name)
	if server == "" {
		server = secret.Annotations[annotationServer]
	}
	if text := secret.Data[v1beta1.SecretKeyKubeconfig]; len(text) > 0 {
		a, err := fromKubeconfig(text, kube.Choice{Source: source, Cluster: secret.Annotations[annotationCluster], Server: server})
		if err != nil {
			return nil
		}
		a.kept = true
		return a
	}
	token, ca := strings.TrimSpace(string(secret.Data[v1beta1.SecretKeyToken])), secret.Data[v1beta1.SecretKeyCA]
	if token == "" || len(ca) == 0 || server == "" {
		return nil
	}
	serverName := string(secret.Data[v1beta1.SecretKeyTLSServerName])
	config := &rest.Config{Host: server, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: ca, ServerName: serverName}}
	return &access{config: config, server: server, ca: ca, serverName: serverName, kept: true, from: source}
}

// end is when the credentials end, as far as a client certificate or a token says so itself; zero where they say nothing.
func (a *access) end() time.Time {
	if certificate, err := pki.ParseCertificate(a.config.CertData); err == nil {
		return certificate.NotAfter
	}
	parts := strings.Split(a.config.BearerToken, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	var claims struct {
		Expires int64 `json:"exp"`
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(claims.Expires, 0)
}
