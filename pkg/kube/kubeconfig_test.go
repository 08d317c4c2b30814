package kube

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const secretToken = "a-token-nobody-may-see"

// certificate makes a self-signed certificate and its key, in PEM.
func certificate(t *testing.T, notBefore, notAfter time.Time) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: notBefore, NotAfter: notAfter}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

func TestParseKubeconfig(t *testing.T) {
	now := time.Now()
	ca, _ := certificate(t, now.Add(-time.Hour), now.Add(time.Hour))
	expired, expiredKey := certificate(t, now.Add(-2*time.Hour), time.Date(2020, 1, 2, 3, 4, 0, 0, time.UTC))
	early, earlyKey := certificate(t, now.Add(time.Hour), now.Add(2*time.Hour))
	valid, validKey := certificate(t, now.Add(-time.Hour), now.Add(time.Hour))

	type config = clientcmdapi.Config
	for name, c := range map[string]struct {
		change func(*config)
		text   string // in place of a kubeconfig
		choice Choice
		want   string // the host of the client, where the kubeconfig is good
		error  string
	}{
		"good":                               {want: "https://gondor:6443"},
		"the context named like the cluster": {change: func(c *config) { c.Contexts["shire"] = &clientcmdapi.Context{Cluster: "x", AuthInfo: "y"} }, want: "https://gondor:6443"},
		"the only context":                   {choice: Choice{Cluster: "lorien"}, want: "https://gondor:6443"},
		"another server":                     {choice: Choice{Server: "https://10.1.2.3:6443"}, change: func(c *config) { c.Clusters["gondor"].Server = "https://localhost:6443" }, want: "https://10.1.2.3:6443"},
		"a proxy":                            {change: func(c *config) { c.Clusters["gondor"].ProxyURL = "http://proxy:3128" }, want: "https://gondor:6443"},
		"a client certificate": {change: func(c *config) {
			c.AuthInfos["gondor"] = &clientcmdapi.AuthInfo{ClientCertificateData: valid, ClientKeyData: validKey}
		}, want: "https://gondor:6443"},
		"empty":                  {text: " \n", error: "the kubeconfig in Secret a/b is empty"},
		"not YAML":               {text: "\t" + secretToken + ": [", error: "what Secret a/b holds is no kubeconfig in YAML or JSON"},
		"YAML of something else": {text: "token: " + secretToken, error: "is no kubeconfig in YAML or JSON"},
		"a list":                 {text: "- " + secretToken, error: "is no kubeconfig in YAML or JSON"},
		"no such context":        {choice: Choice{Context: "mordor"}, change: func(c *config) { c.Contexts["shire"] = c.Contexts["gondor"] }, error: `has no context "mordor", it has: gondor, shire; set credentials.context`},
		"several contexts, none like the cluster": {choice: Choice{Cluster: "lorien"}, change: func(c *config) { c.Contexts["shire"] = c.Contexts["gondor"] }, error: "has several contexts and none is named lorien, it has: gondor, shire; set credentials.context"},
		"no context": {change: func(c *config) { delete(c.Contexts, "gondor") }, error: "has no context: write one"},
		"no cluster": {change: func(c *config) { c.Contexts["gondor"].Cluster = "x" }, error: `names cluster "x", which is not there`},
		"no user":    {change: func(c *config) { c.Contexts["gondor"].AuthInfo = "x" }, error: `names user "x", which is not there`},
		"an exec plugin": {change: func(c *config) {
			c.AuthInfos["gondor"].Exec = &clientcmdapi.ExecConfig{Command: "aws", APIVersion: "client.authentication.k8s.io/v1"}
		}, error: "logs in with an exec plugin, which fedhook does not have: flatten it with `kubectl config view --flatten --minify --context=gondor --raw`"},
		"an auth provider": {change: func(c *config) { c.AuthInfos["gondor"].AuthProvider = &clientcmdapi.AuthProviderConfig{Name: "gcp"} }, error: "logs in with an auth provider"},
		"a CA file": {change: func(c *config) {
			c.Clusters["gondor"].CertificateAuthorityData = nil
			c.Clusters["gondor"].CertificateAuthority = "/ca"
		}, error: "names the file of a CA, which fedhook does not have: flatten it"},
		"a certificate file": {change: func(c *config) { c.AuthInfos["gondor"].ClientCertificate = "/crt" }, error: "names the file of a client certificate"},
		"a key file":         {change: func(c *config) { c.AuthInfos["gondor"].ClientKey = "/key" }, error: "names the file of a client key"},
		"a token file":       {change: func(c *config) { c.AuthInfos["gondor"].TokenFile = "/token" }, error: "names the file of a token"},
		"127.0.0.1":          {change: server("https://127.0.0.1:6443"), error: "has the server https://127.0.0.1:6443, which means another machine in a pod: give server=https://host:port, the address as the host cluster sees it"},
		"127.1.2.3":          {change: server("https://127.1.2.3:6443"), error: "means another machine in a pod"},
		"localhost":          {change: server("https://localhost:6443"), error: "means another machine in a pod"},
		"::1":                {change: server("https://[::1]:6443"), error: "means another machine in a pod"},
		"0.0.0.0":            {change: server("https://0.0.0.0:6443"), error: "means another machine in a pod"},
		"http":               {change: server("http://gondor:8080"), error: `has the server "http://gondor:8080": give one like https://host:port`},
		"no server":          {change: server(""), error: "give one like https://host:port"},
		"no verification": {change: func(c *config) {
			c.Clusters["gondor"].InsecureSkipTLSVerify = true
			c.Clusters["gondor"].CertificateAuthorityData = nil
		}, error: "has insecure-skip-tls-verify, but the federation trusts only the cluster's CA"},
		"no CA":             {change: func(c *config) { c.Clusters["gondor"].CertificateAuthorityData = nil }, error: "has no certificate-authority-data"},
		"a CA that is none": {change: func(c *config) { c.Clusters["gondor"].CertificateAuthorityData = []byte(secretToken) }, error: "has no PEM certificate in certificate-authority-data"},
		"no credentials":    {change: func(c *config) { c.AuthInfos["gondor"].Token = "" }, error: "has neither a token nor a client certificate"},
		"an expired certificate": {change: func(c *config) {
			c.AuthInfos["gondor"] = &clientcmdapi.AuthInfo{ClientCertificateData: expired, ClientKeyData: expiredKey}
		}, error: "has a client certificate that expired on 2020-01-02 03:04 UTC: renew it there"},
		"a certificate of tomorrow": {change: func(c *config) {
			c.AuthInfos["gondor"] = &clientcmdapi.AuthInfo{ClientCertificateData: early, ClientKeyData: earlyKey}
		}, error: "has a client certificate that is not valid before"},
		"a certificate that is none": {change: func(c *config) {
			c.AuthInfos["gondor"] = &clientcmdapi.AuthInfo{ClientCertificateData: []byte(secretToken)}
		}, error: "has no PEM certificate in client-certificate-data"},
		"a key of another certificate": {change: func(c *config) {
			c.AuthInfos["gondor"] = &clientcmdapi.AuthInfo{ClientCertificateData: valid, ClientKeyData: earlyKey}
		}, error: "do not fit together"},
	} {
		t.Run(name, func(t *testing.T) {
			kubeconfig := clientcmdapi.NewConfig()
			kubeconfig.Clusters["gondor"] = &clientcmdapi.Cluster{Server: "https://gondor:6443", CertificateAuthorityData: ca}
			kubeconfig.AuthInfos["gondor"] = &clientcmdapi.AuthInfo{Token: secretToken}
			kubeconfig.Contexts["gondor"] = &clientcmdapi.Context{Cluster: "gondor", AuthInfo: "gondor"}
			if c.change != nil {
				c.change(kubeconfig)
			}
			text, err := clientcmd.Write(*kubeconfig)
			require.NoError(t, err)
			if c.text != "" {
				text = []byte(c.text)
			}
			c.choice.Source = "Secret a/b"
			if c.choice.Cluster == "" {
				c.choice.Cluster = "gondor"
			}
			got, err := ParseKubeconfig(text, c.choice)
			if c.error != "" {
				require.Error(t, err)
				assert.Contains(t, err.Error(), c.error)
				assert.NotContains(t, err.Error(), secretToken)
				assert.NotContains(t, err.Error(), "\n")
				assert.Equal(t, name == "an expired certificate", errors.As(err, &Expired{}))
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, got.Host)
			assert.NotEmpty(t, got.CAData)
		})
	}
}

func server(address string) func(*clientcmdapi.Config) {
	return func(c *clientcmdapi.Config) { c.Clusters["gondor"].Server = address }
}

// Of a kubeconfig with much in it the one context remains, under the cluster's name, without what only its own machine has.
func TestFlattenKubeconfig(t *testing.T) {
	now := time.Now()
	ca, _ := certificate(t, now.Add(-time.Hour), now.Add(time.Hour))
	valid, validKey := certificate(t, now.Add(-time.Hour), now.Add(time.Hour))
	given := clientcmdapi.NewConfig()
	given.Clusters["c"] = &clientcmdapi.Cluster{Server: "https://localhost:6443", CertificateAuthorityData: ca, CertificateAuthority: "/ca", TLSServerName: "kubernetes", ProxyURL: "http://proxy:3128"}
	given.Clusters["mordor"] = &clientcmdapi.Cluster{Server: "https://mordor:6443"}
	given.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: valid, ClientCertificate: "/crt", ClientKeyData: validKey, ClientKey: "/key", Impersonate: "elrond"}
	given.AuthInfos["sauron"] = &clientcmdapi.AuthInfo{Token: secretToken}
	given.Contexts["admin@gondor"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u", Namespace: "kube-system"}
	given.Contexts["mordor"] = &clientcmdapi.Context{Cluster: "mordor", AuthInfo: "sauron"}
	given.CurrentContext = "mordor"
	text, err := clientcmd.Write(*given)
	require.NoError(t, err)

	choice := Choice{Source: "Secret a/b", Context: "admin@gondor", Cluster: "gondor", Server: "https://gondor:6443"}
	flat, err := FlattenKubeconfig(text, choice)
	require.NoError(t, err)
	assert.NotContains(t, string(flat), secretToken)
	got, err := clientcmd.Load(flat)
	require.NoError(t, err)
	assert.Equal(t, "gondor", got.CurrentContext)
	assert.Len(t, got.Contexts, 1)
	assert.Empty(t, got.Contexts["gondor"].Namespace)
	assert.Len(t, got.Clusters, 1)
	assert.Len(t, got.AuthInfos, 1)
	cluster, user := got.Clusters["gondor"], got.AuthInfos["gondor"]
	assert.Equal(t, "https://gondor:6443", cluster.Server)
	assert.Equal(t, ca, cluster.CertificateAuthorityData)
	assert.Equal(t, "kubernetes", cluster.TLSServerName)
	assert.Equal(t, "http://proxy:3128", cluster.ProxyURL)
	assert.Equal(t, validKey, user.ClientKeyData)
	assert.Equal(t, "elrond", user.Impersonate)
	for _, file := range []string{cluster.CertificateAuthority, user.ClientCertificate, user.ClientKey} {
		assert.Empty(t, file)
	}

	again, err := FlattenKubeconfig(flat, Choice{Source: "Secret a/b", Cluster: "gondor"})
	require.NoError(t, err)
	assert.Equal(t, string(flat), string(again), "what is flat stays as it is")
	for text, says := range map[string]string{" ": "is empty", "- x": "is no kubeconfig"} {
		_, err := FlattenKubeconfig([]byte(text), choice)
		assert.ErrorContains(t, err, says)
	}
	given.Contexts["admin@gondor"].Cluster = "x"
	text, err = clientcmd.Write(*given)
	require.NoError(t, err)
	_, err = FlattenKubeconfig(text, choice)
	assert.ErrorContains(t, err, "names a cluster or a user that is not there")
}
