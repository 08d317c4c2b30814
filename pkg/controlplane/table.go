package controlplane

import (
	"slices"

	"github.com/fedhelm/fedhelm/pkg/controllers/rbac"
	"github.com/fedhelm/fedhelm/pkg/pki"
)

// Names in the federation's API.
const (
	adminUser      = "admin" // kubefed's
	adminGroup     = "federation-admins"
	registrarUser  = "federation-registrar"
	bootstrapUser  = "federation-bootstrap"
	mastersGroup   = "system:masters"
	frontProxyName = "front-proxy-client" // the chart's --requestheader-allowed-names
)

// Components whose Secrets others read: <federation>-<component>.
const (
	authorityOfAPI        = "ca"
	authorityOfEtcd       = "etcd-ca"
	authorityOfFrontProxy = "front-proxy-ca"
	serviceAccountKeys    = "service-account"
	servingCertificate    = "apiserver-tls"
	adminCertificate      = "admin"
	registrarCertificate  = "registrar"
	adminKubeconfig       = "kubeconfig"
)

// authorities are the CAs. There is one each, because one for all would let every client of the API into etcd.
var authorities = []string{authorityOfAPI, authorityOfEtcd, authorityOfFrontProxy}

// leaves is the table of certificates; a row's Name is the component that holds it. addresses are those under which the API is reached from outside.
func (h Hook) leaves(addresses []string) []pki.Leaf {
	local := []string{"localhost", "127.0.0.1"}
	etcd := slices.Concat(h.serviceNames(h.object("etcd")), h.serviceNames("*." + h.object("etcd"))[1:], local) // the service's and its pods'
	apiserver := slices.Concat(h.serviceNames(h.object("apiserver")), local,
		[]string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + h.domain()}, h.Values.APIServer.CertificateSANs, addresses)
	return []pki.Leaf{
		{Name: servingCertificate, Authority: authorityOfAPI, CommonName: "kube-apiserver", Names: unique(apiserver), Usages: pki.Server},
		{Name: "apiserver-etcd-client", Authority: authorityOfEtcd, CommonName: "kube-apiserver-etcd-client", Usages: pki.Client},
		{Name: "front-proxy-client", Authority: authorityOfFrontProxy, CommonName: frontProxyName, Usages: pki.Client},
		// etcd asks itself too, with its own certificate.
		{Name: "etcd-tls", Authority: authorityOfEtcd, CommonName: "etcd", Names: etcd, Usages: pki.ServerAndClient},
		{Name: "etcd-peer", Authority: authorityOfEtcd, CommonName: "etcd-peer", Names: etcd, Usages: pki.ServerAndClient},
		{Name: "kube-controller-manager", Authority: authorityOfAPI, CommonName: "system:kube-controller-manager", Usages: pki.Client},
		{Name: "controller-manager", Authority: authorityOfAPI, CommonName: rbac.User, Usages: pki.Client},
		{Name: "bootstrap", Authority: authorityOfAPI, CommonName: bootstrapUser, Organizations: []string{mastersGroup}, Usages: pki.Client},
		{Name: adminCertificate, Authority: authorityOfAPI, CommonName: adminUser, Organizations: []string{adminGroup}, Usages: pki.Client},
		{Name: registrarCertificate, Authority: authorityOfAPI, CommonName: registrarUser, Usages: pki.Client},
	}
}

// Components of the Secrets that certs makes, each Secret named <federation>-<component>: the CAs, the key pair that signs service account tokens, the leaves.
func Components() (cas []string, keys string, leaves []string) {
	for _, row := range (Hook{}).leaves(nil) {
		leaves = append(leaves, row.Name)
	}
	return slices.Clone(authorities), serviceAccountKeys, leaves
}

func unique(names []string) []string {
	var result []string
	for _, name := range names {
		if !slices.Contains(result, name) {
			result = append(result, name)
		}
	}
	return result
}
