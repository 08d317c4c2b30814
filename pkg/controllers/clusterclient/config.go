package clusterclient

import (
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

// Error says why no client can be made for a member. Its message is one
// sentence for the person who must act, and never holds credentials.
type Error struct {
	// Reason is one of v1beta1's condition reasons.
	Reason  string
	Message string
}

func (e *Error) Error() string { return e.Message }

// Config makes the client configuration of a member from its Cluster and its
// credentials Secret. clientIP is the client's own address, by which the server
// address is chosen; nil means unknown. Errors are of type *Error.
//
// The Secret has one of v1's two shapes: a "token" with its "ca.crt", or a
// "kubeconfig", whose server is replaced by the Cluster's. A kubeconfig that
// runs a program or reads files is refused: it would do so in our pod.
func Config(cluster *v1beta1.Cluster, secret *corev1.Secret, clientIP net.IP) (*rest.Config, error) {
	address, err := serverAddress(cluster.Spec.ServerAddressByClientCIDRs, clientIP)
	if err != nil {
		return nil, err
	}

	var config *rest.Config
	if kubeconfig := secret.Data[v1beta1.SecretKeyKubeconfig]; len(kubeconfig) > 0 {
		config, err = fromKubeconfig(kubeconfig, secret.Name)
	} else {
		config, err = fromToken(secret)
	}
	if err != nil {
		return nil, err
	}
	config.Host = address
	if name := strings.TrimSpace(string(secret.Data[v1beta1.SecretKeyTLSServerName])); name != "" {
		config.ServerName = name
	}
	// The member's API priority and fairness slows us down when it must, and
	// says so with 429; a limit on our side would only guess.
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	return config, nil
}

// serverAddress is the first address whose CIDR contains clientIP, as in v1.
// A /0 is for everyone: 0.0.0.0/0 is what people write, on IPv6 clusters too.
func serverAddress(addresses []v1beta1.ServerAddressByClientCIDR, clientIP net.IP) (string, error) {
	for _, a := range addresses {
		cidr := a.ClientCIDR
		if cidr == "" {
			cidr = "0.0.0.0/0"
		}
		_, network, err := net.ParseCIDR(cidr)
		if err != nil {
			return "", &Error{v1beta1.ReasonAddressInvalid, fmt.Sprintf(
				"clientCIDR %q is not a range such as 0.0.0.0/0: correct it in the Cluster's serverAddressByClientCIDRs", a.ClientCIDR)}
		}
		if ones, _ := network.Mask.Size(); ones == 0 || clientIP != nil && network.Contains(clientIP) {
			if strings.Contains(a.ServerAddress, "://") {
				return a.ServerAddress, nil
			}
			// client-go would take plain http for some credentials.
			return "https://" + a.ServerAddress, nil
		}
	}
	return "", &Error{v1beta1.ReasonAddressInvalid, fmt.Sprintf(
		"no clientCIDR contains the controller manager's address %v: add one, or 0.0.0.0/0, to the Cluster's serverAddressByClientCIDRs", clientIP)}
}

func fromToken(secret *corev1.Secret) (*rest.Config, error) {
	token := strings.TrimSpace(string(secret.Data[v1beta1.SecretKeyToken]))
	ca := secret.Data[v1beta1.SecretKeyCA]
	var missing []string
	if token == "" {
		missing = append(missing, v1beta1.SecretKeyToken)
	}
	if len(ca) == 0 {
		missing = append(missing, v1beta1.SecretKeyCA)
	}
	if len(missing) > 0 {
		return nil, invalid("Secret %q lacks %s: give it keys %q and %q, or %q", secret.Name, strings.Join(missing, " and "),
			v1beta1.SecretKeyToken, v1beta1.SecretKeyCA, v1beta1.SecretKeyKubeconfig)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(ca) {
		return nil, invalid("key %q of Secret %q holds no PEM certificate: put the member's CA there", v1beta1.SecretKeyCA, secret.Name)
	}
	return &rest.Config{BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}, nil
}

func fromKubeconfig(kubeconfig []byte, secretName string) (*rest.Config, error) {
	// Causes are left out where the parser could quote what it parsed.
	parsed, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, invalid("key %q of Secret %q is not a kubeconfig: write it anew", v1beta1.SecretKeyKubeconfig, secretName)
	}
	context, ok := parsed.Contexts[parsed.CurrentContext]
	if !ok {
		names := make([]string, 0, len(parsed.Contexts))
		for name := range parsed.Contexts {
			names = append(names, name)
		}
		slices.Sort(names)
		return nil, invalid("the kubeconfig in Secret %q has no context %q: set current-context to one of [%s]",
			secretName, parsed.CurrentContext, strings.Join(names, ", "))
	}
	cluster, user := parsed.Clusters[context.Cluster], parsed.AuthInfos[context.AuthInfo]
	if cluster == nil || user == nil {
		return nil, invalid("context %q of the kubeconfig in Secret %q names a cluster or user that the kubeconfig lacks: write it anew",
			parsed.CurrentContext, secretName)
	}
	if what := notSelfContained(cluster, user); what != "" {
		return nil, invalid("the kubeconfig in Secret %q has %s: flatten it with kubectl config view --flatten --minify, with a token or client certificate in it",
			secretName, what)
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*parsed, parsed.CurrentContext, nil, nil).ClientConfig()
	if err == nil {
		_, err = rest.TLSConfigFor(config)
	}
	if err != nil {
		return nil, invalid("the kubeconfig in Secret %q cannot be used for context %q: check its cluster, user and certificates",
			secretName, parsed.CurrentContext)
	}
	return config, nil
}

// notSelfContained names what makes a kubeconfig depend on the machine it was
// made on, or is empty.
func notSelfContained(cluster *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) string {
	switch {
	case user.Exec != nil:
		return "an exec plugin"
	case user.AuthProvider != nil:
		return "an auth provider"
	case (user.ClientCertificate != "" || user.ClientKey != "" || user.TokenFile != ""),
		cluster.CertificateAuthority != "":
		return "paths of files"
	}
	return ""
}

func invalid(format string, args ...any) *Error {
	return &Error{v1beta1.ReasonCredentialsInvalid, fmt.Sprintf(format, args...)}
}
