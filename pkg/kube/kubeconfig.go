package kube

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Choice says what of a kubeconfig to use.
type Choice struct {
	// Source names the kubeconfig for a person: "Secret federation-system/gondor-kubeconfig".
	Source string
	// Context to use; empty means the one named like Cluster, as in `kubefed join`, or else the only one.
	Context string
	// Cluster is the name that the cluster is to have in the federation.
	Cluster string
	// Server overrides the address in the kubeconfig, "https://host:port".
	Server string
}

// Expired is the error of a kubeconfig that was good once: its client certificate is past its time.
type Expired struct{ error }

// ParseKubeconfig reads a kubeconfig that somebody hands to a program in another place, and gives the configuration of a client for it. It must be
// self-contained: programs to run and files to read are refused, as is an address that means another machine there. It must name the CA of the
// API server, since the federation keeps that and trusts nothing else.
//
// Each error is one sentence that says what to do. None quotes the text, which is a secret.
func ParseKubeconfig(text []byte, choice Choice) (*rest.Config, error) {
	parsed, name, err := choice.load(text)
	if err != nil {
		return nil, err
	}
	context := parsed.Contexts[name]
	cluster, user := parsed.Clusters[context.Cluster], parsed.AuthInfos[context.AuthInfo]
	for _, missing := range []struct {
		kind, name string
		absent     bool
	}{{"cluster", context.Cluster, cluster == nil}, {"user", context.AuthInfo, user == nil}} {
		if missing.absent {
			return nil, choice.bad(name, "names %s %q, which is not there: %s", missing.kind, missing.name, flatten(name))
		}
	}
	if what := foreign(cluster, user); what != "" {
		return nil, choice.bad(name, "%s, which fedhook does not have: %s", what, flatten(name))
	}
	if err := choice.checkServer(name, cluster); err != nil {
		return nil, err
	}
	if err := choice.checkTrust(name, cluster); err != nil {
		return nil, err
	}
	if err := choice.checkUser(name, user); err != nil {
		return nil, err
	}

	config, err := clientcmd.NewNonInteractiveClientConfig(*parsed, name, nil, nil).ClientConfig()
	if err == nil {
		_, err = rest.TLSConfigFor(config)
	}
	if err != nil {
		return nil, choice.bad(name, "cannot be used, its cluster, user or certificates do not fit together: make it anew")
	}
	if choice.Server != "" {
		config.Host = choice.Server
	}
	return config, nil
}

// FlattenKubeconfig gives, of a kubeconfig that ParseKubeconfig takes, one with nothing but the chosen context, its cluster and its user, all named like the cluster: for whom the credentials
// are handed on to. Where a file is named beside what it holds, the name goes. The same kubeconfig gives the same bytes.
func FlattenKubeconfig(text []byte, choice Choice) ([]byte, error) {
	parsed, name, err := choice.load(text)
	if err != nil {
		return nil, err
	}
	context := parsed.Contexts[name]
	if parsed.Clusters[context.Cluster] == nil || parsed.AuthInfos[context.AuthInfo] == nil {
		return nil, choice.bad(name, "names a cluster or a user that is not there: %s", flatten(name))
	}
	cluster, user := parsed.Clusters[context.Cluster].DeepCopy(), parsed.AuthInfos[context.AuthInfo].DeepCopy()
	cluster.CertificateAuthority, user.ClientCertificate, user.ClientKey = "", "", ""
	cluster.Extensions, user.Extensions = nil, nil
	if choice.Server != "" {
		cluster.Server = choice.Server
	}
	return clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{choice.Cluster: cluster},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{choice.Cluster: user},
		Contexts:       map[string]*clientcmdapi.Context{choice.Cluster: {Cluster: choice.Cluster, AuthInfo: choice.Cluster}},
		CurrentContext: choice.Cluster,
	})
}

// load reads a kubeconfig and chooses its context.
func (c Choice) load(text []byte) (parsed *clientcmdapi.Config, context string, err error) {
	if strings.TrimSpace(string(text)) == "" {
		return nil, "", fmt.Errorf("the kubeconfig in %s is empty: put one there", c.Source)
	}
	parsed, err = clientcmd.Load(text)
	if err != nil || len(parsed.Clusters)+len(parsed.Contexts)+len(parsed.AuthInfos) == 0 {
		return nil, "", fmt.Errorf("what %s holds is no kubeconfig in YAML or JSON: put the output of `kubectl config view --flatten --minify --raw` there", c.Source)
	}
	context, err = c.context(parsed)
	return parsed, context, err
}

// flatten is the remedy for a kubeconfig that leans on its machine. A plugin's credentials cannot be flattened, so it says what else to take.
func flatten(context string) string {
	return fmt.Sprintf("flatten it with `kubectl config view --flatten --minify --context=%s --raw`, and where a plugin logs in use a token or client certificate in its place", context)
}

func (c Choice) bad(context, format string, args ...any) error {
	return fmt.Errorf("context %s of the kubeconfig in %s %s", context, c.Source, fmt.Sprintf(format, args...))
}

// context gives the name of the context to use.
func (c Choice) context(parsed *clientcmdapi.Config) (string, error) {
	names := slices.Sorted(maps.Keys(parsed.Contexts))
	list := strings.Join(names, ", ")
	switch {
	case len(names) == 0:
		return "", fmt.Errorf("the kubeconfig in %s has no context: write one that names a cluster and a user", c.Source)
	case c.Context != "" && parsed.Contexts[c.Context] == nil:
		return "", fmt.Errorf("the kubeconfig in %s has no context %q, it has: %s; set credentials.context to one of them", c.Source, c.Context, list)
	case c.Context != "":
		return c.Context, nil
	case parsed.Contexts[c.Cluster] != nil:
		return c.Cluster, nil
	case len(names) == 1:
		return names[0], nil
	}
	return "", fmt.Errorf("the kubeconfig in %s has several contexts and none is named %s, it has: %s; set credentials.context to one of them", c.Source, c.Cluster, list)
}

// foreign says what makes a kubeconfig depend on the machine it was made on.
func foreign(cluster *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) string {
	for _, f := range []struct {
		what string
		is   bool
	}{
		{"logs in with an exec plugin", user.Exec != nil},
		{"logs in with an auth provider", user.AuthProvider != nil},
		{"names the file of a CA", cluster.CertificateAuthority != "" && len(cluster.CertificateAuthorityData) == 0},
		{"names the file of a client certificate", user.ClientCertificate != "" && len(user.ClientCertificateData) == 0},
		{"names the file of a client key", user.ClientKey != "" && len(user.ClientKeyData) == 0},
		{"names the file of a token", user.TokenFile != ""},
	} {
		if f.is {
			return f.what
		}
	}
	return ""
}

func (c Choice) checkServer(context string, cluster *clientcmdapi.Cluster) error {
	server := c.Server
	if server == "" {
		server = cluster.Server
	}
	address, err := url.Parse(server)
	if err != nil || address.Scheme != "https" || address.Hostname() == "" {
		return c.bad(context, "has the server %q: give one like https://host:port, there or as the value server", server)
	}
	if c.Server == "" && loopback(address.Hostname()) {
		return c.bad(context, "has the server %s, which means another machine in a pod: give server=https://host:port, the address as the host cluster sees it", server)
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}

func (c Choice) checkTrust(context string, cluster *clientcmdapi.Cluster) error {
	switch {
	case cluster.InsecureSkipTLSVerify:
		return c.bad(context, "has insecure-skip-tls-verify, but the federation trusts only the cluster's CA: take it out and put the CA into certificate-authority-data")
	case len(cluster.CertificateAuthorityData) == 0:
		return c.bad(context, "has no certificate-authority-data: put the CA that signs the cluster's API server there")
	case !x509.NewCertPool().AppendCertsFromPEM(cluster.CertificateAuthorityData):
		return c.bad(context, "has no PEM certificate in certificate-authority-data: put the CA that signs the cluster's API server there")
	}
	return nil
}

func (c Choice) checkUser(context string, user *clientcmdapi.AuthInfo) error {
	if len(user.ClientCertificateData) == 0 && user.Token == "" && user.Username == "" {
		return c.bad(context, "has neither a token nor a client certificate: use a user that can log in")
	}
	if len(user.ClientCertificateData) == 0 {
		return nil
	}
	block, _ := pem.Decode(user.ClientCertificateData)
	if block == nil {
		return c.bad(context, "has no PEM certificate in client-certificate-data: make it anew")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return c.bad(context, "has a client certificate that cannot be read: make it anew")
	}
	if now := time.Now(); now.After(certificate.NotAfter) {
		return Expired{c.bad(context, "has a client certificate that expired on %s: renew it there", certificate.NotAfter.UTC().Format("2006-01-02 15:04 MST"))}
	} else if now.Before(certificate.NotBefore) {
		return c.bad(context, "has a client certificate that is not valid before %s: check the clocks", certificate.NotBefore.UTC().Format("2006-01-02 15:04 MST"))
	}
	return nil
}
