package clusterclient

import (
	"encoding/pem"
	"errors"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

func testCA(t *testing.T) []byte {
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func gondor(addresses ...v1beta1.ServerAddressByClientCIDR) *v1beta1.Cluster {
	if addresses == nil {
		addresses = []v1beta1.ServerAddressByClientCIDR{{ServerAddress: "https://gondor:6443"}}
	}
	return &v1beta1.Cluster{
		ObjectMeta: metav1.ObjectMeta{Name: "gondor", UID: "u1"},
		Spec: v1beta1.ClusterSpec{
			ServerAddressByClientCIDRs: addresses,
			SecretRef:                  v1beta1.SecretReference{Name: "gondor-federation-credentials"},
		},
	}
}

func credentials(data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "gondor-federation-credentials", UID: "s1", ResourceVersion: "1"}, Data: data}
}

func kubeconfig(t *testing.T, change func(*clientcmdapi.Config)) []byte {
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:1", CertificateAuthorityData: testCA(t), TLSServerName: "of-kubeconfig"}
	c.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: "SECRET-u"}
	c.Contexts["gondor"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	c.Contexts["other"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	c.CurrentContext = "gondor"
	if change != nil {
		change(c)
	}
	data, err := clientcmd.Write(*c)
	require.NoError(t, err)
	return data
}

func TestConfigFromToken(t *testing.T) {
	ca := testCA(t)
	config, err := Config(gondor(), credentials(map[string][]byte{"token": []byte("t\n"), "ca.crt": ca}), nil)
	require.NoError(t, err)
	require.Equal(t, "https://gondor:6443", config.Host)
	require.Equal(t, "t", config.BearerToken)
	require.Equal(t, ca, config.CAData)
	require.False(t, config.Insecure)
	require.Empty(t, config.ServerName)
	require.Negative(t, config.QPS, "members are not throttled on our side")

	config, err = Config(gondor(), credentials(map[string][]byte{"token": []byte("t"), "ca.crt": ca, "tls-server-name": []byte("kubernetes\n")}), nil)
	require.NoError(t, err)
	require.Equal(t, "kubernetes", config.ServerName)
}

func TestConfigFromKubeconfig(t *testing.T) {
	config, err := Config(gondor(), credentials(map[string][]byte{"kubeconfig": kubeconfig(t, nil)}), nil)
	require.NoError(t, err)
	require.Equal(t, "https://gondor:6443", config.Host, "the address is the Cluster's, as in v1")
	require.Equal(t, "SECRET-u", config.BearerToken)
	require.Equal(t, "of-kubeconfig", config.ServerName)
}

func TestAddress(t *testing.T) {
	secret := credentials(map[string][]byte{"token": []byte("t"), "ca.crt": testCA(t)})
	type a = v1beta1.ServerAddressByClientCIDR
	inside, outside := a{ClientCIDR: "10.0.0.0/8", ServerAddress: "https://inside"}, a{ClientCIDR: "0.0.0.0/0", ServerAddress: "https://outside"}
	for _, test := range []struct {
		name      string
		addresses []a
		ip        string
		want      string // empty: an error
	}{
		{"first match", []a{inside, outside}, "10.1.2.3", "https://inside"},
		{"second", []a{inside, outside}, "192.168.0.1", "https://outside"},
		{"order counts, not length", []a{outside, inside}, "10.1.2.3", "https://outside"},
		{"none", []a{inside}, "192.168.0.1", ""},
		{"own address unknown", []a{inside, outside}, "", "https://outside"},
		{"own address unknown, none for all", []a{inside}, "", ""},
		{"everyone includes IPv6", []a{inside, outside}, "fd00::1", "https://outside"},
		{"IPv6 everyone includes IPv4", []a{{ClientCIDR: "::/0", ServerAddress: "https://six"}}, "10.0.0.1", "https://six"},
		{"no CIDR is everyone", []a{{ClientCIDR: "", ServerAddress: "https://x"}}, "10.0.0.1", "https://x"},
		{"host and port", []a{{ClientCIDR: "", ServerAddress: "x:6443"}}, "10.0.0.1", "https://x:6443"},
		{"nonsense", []a{{ClientCIDR: "ten", ServerAddress: "https://x"}}, "10.0.0.1", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			config, err := Config(gondor(test.addresses...), secret, net.ParseIP(test.ip))
			if test.want == "" {
				var fault *Error
				require.ErrorAs(t, err, &fault)
				require.Equal(t, v1beta1.ReasonAddressInvalid, fault.Reason)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, config.Host)
		})
	}
}

func TestBadCredentials(t *testing.T) {
	ca := testCA(t)
	for _, test := range []struct {
		name string
		data map[string][]byte
		want string
	}{
		{"empty", nil, `Secret "gondor-federation-credentials" lacks token and ca.crt: give it keys "token" and "ca.crt", or "kubeconfig"`},
		{"no token", map[string][]byte{"ca.crt": ca, "token": []byte(" ")}, `lacks token:`},
		{"no CA", map[string][]byte{"token": []byte("SECRET")}, `lacks ca.crt:`},
		{"CA is no PEM", map[string][]byte{"token": []byte("SECRET"), "ca.crt": []byte("SECRET")}, `holds no PEM certificate`},
		{"not a kubeconfig", map[string][]byte{"kubeconfig": []byte("SECRET")}, `is not a kubeconfig`},
		{"token where a kubeconfig's field is", map[string][]byte{"kubeconfig": []byte("users: SECRET")}, `is not a kubeconfig`},
		{"no such context", map[string][]byte{"kubeconfig": kubeconfig(t, func(c *clientcmdapi.Config) { c.CurrentContext = "x" })},
			`has no context "x": set current-context to one of [gondor, other]`},
		{"exec", map[string][]byte{"kubeconfig": kubeconfig(t, func(c *clientcmdapi.Config) {
			c.AuthInfos["u"] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{Command: "aws", APIVersion: "client.authentication.k8s.io/v1"}}
		})}, `has an exec plugin: flatten it with`},
		{"token file", map[string][]byte{"kubeconfig": kubeconfig(t, func(c *clientcmdapi.Config) { c.AuthInfos["u"].TokenFile = "/etc/passwd" })}, `has paths of files`},
		{"CA file", map[string][]byte{"kubeconfig": kubeconfig(t, func(c *clientcmdapi.Config) {
			c.Clusters["c"].CertificateAuthority, c.Clusters["c"].CertificateAuthorityData = "/etc/passwd", nil
		})}, `has paths of files`},
		{"client certificate is no PEM", map[string][]byte{"kubeconfig": kubeconfig(t, func(c *clientcmdapi.Config) {
			c.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: []byte("SECRET"), ClientKeyData: []byte("SECRET")}
		})}, `cannot be used for context "gondor"`},
		{"no such user", map[string][]byte{"kubeconfig": kubeconfig(t, func(c *clientcmdapi.Config) { delete(c.AuthInfos, "u") })}, `names a cluster or user that the kubeconfig lacks`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Config(gondor(), credentials(test.data), nil)
			var fault *Error
			require.True(t, errors.As(err, &fault), "%v", err)
			require.Equal(t, v1beta1.ReasonCredentialsInvalid, fault.Reason)
			require.Contains(t, fault.Message, test.want)
			require.NotContains(t, fault.Message, "SECRET", "credentials never get into messages")
		})
	}
}
