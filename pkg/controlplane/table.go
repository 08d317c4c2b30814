package controlplane

import (
	"slices"

	"github.com/fedhelm/fedhelm/pkg/controllers/rbac"
	"github.com/fedhelm/fedhelm/pkg/pki"
	"github.com/fedhelm/fedhelm/pkg/values"
)

// Names in the federation's API.
const (
	adminUser      = "admin" // kubefed's
	registrarUser  = "federation-registrar"
	bootstrapUser  = "federation-bootstrap"
	mastersGroup   = "system:masters"
	frontProxyName = "front-proxy-client" // the chart's --requestheader-allowed-names
)

// AdminGroup is the group of the federation's administrators.
const AdminGroup = "federation-admins"

// DNSEtcd begins the components of the etcd behind the federation's own DNS.
const DNSEtcd = "dns-etcd"

// Components whose Secrets others read: <federation>-<component>.
const (
	authorityOfAPI        = "ca"
	authorityOfEtcd       = "etcd-ca"
	authorityOfFrontProxy = "front-proxy-ca"
	authorityOfDNS        = DNSEtcd + "-ca"
	serviceAccountKeys    = "service-account"
	servingCertificate    = "apiserver-tls"
	etcdClientCertificate = "apiserver-etcd-client"
	etcdServerCertificate = "etcd-tls"
	etcdPeerCertificate   = "etcd-peer"
	adminCertificate      = "admin"
	bootstrapCertificate  = "bootstrap"
	registrarCertificate  = "registrar"
	dnsServingCertificate = DNSEtcd + "-tls"
	dnsClientCertificate  = DNSEtcd + "-client"
	adminKubeconfig       = "kubeconfig"
	dnsProvider           = "dns-provider"
	basicAuth             = "apiserver-basic-auth"
	tokenAuth             = "apiserver-token"
)

// ofEtcd are the components of the etcd of the API, a CA after what it signs.
var ofEtcd = []string{etcdClientCertificate, etcdServerCertificate, etcdPeerCertificate, authorityOfEtcd}

// authorities are the CAs. There is one each, because one for all would let every client of the API into etcd. That of an etcd, the API's or the DNS's, is made only where the federation runs
// that etcd itself.
func (h Hook) authorities() []string {
	all := []string{authorityOfAPI}
	if h.Values.Etcd.Own() {
		all = append(all, authorityOfEtcd)
	}
	all = append(all, authorityOfFrontProxy)
	if h.Values.DNS.Own() {
		all = append(all, authorityOfDNS)
	}
	return all
}

// leaves is the table of certificates, those that the authorities sign; a row's Name is the component that holds it. addresses are those under which the API is reached from outside.
func (h Hook) leaves(addresses []string) []pki.Leaf {
	local := []string{"localhost", "127.0.0.1"}
	etcd := slices.Concat(h.etcdNames("etcd"), local)
	apiserver := slices.Concat(h.serviceNames(h.object("apiserver")), local,
		[]string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + h.domain()}, h.Values.APIServer.CertificateSANs, addresses)
	rows := []pki.Leaf{
		{Name: servingCertificate, Authority: authorityOfAPI, CommonName: "kube-apiserver", Names: unique(apiserver), Usages: pki.Server},
		{Name: etcdClientCertificate, Authority: authorityOfEtcd, CommonName: "kube-apiserver-etcd-client", Usages: pki.Client},
		{Name: "front-proxy-client", Authority: authorityOfFrontProxy, CommonName: frontProxyName, Usages: pki.Client},
		// etcd asks itself too, with its own certificate.
		{Name: etcdServerCertificate, Authority: authorityOfEtcd, CommonName: "etcd", Names: etcd, Usages: pki.ServerAndClient},
		{Name: etcdPeerCertificate, Authority: authorityOfEtcd, CommonName: etcdPeerCertificate, Names: etcd, Usages: pki.ServerAndClient},
		{Name: "kube-controller-manager", Authority: authorityOfAPI, CommonName: "system:kube-controller-manager", Usages: pki.Client},
		{Name: "controller-manager", Authority: authorityOfAPI, CommonName: rbac.User, Usages: pki.Client},
		{Name: bootstrapCertificate, Authority: authorityOfAPI, CommonName: bootstrapUser, Organizations: []string{mastersGroup}, Usages: pki.Client},
		{Name: adminCertificate, Authority: authorityOfAPI, CommonName: adminUser, Organizations: []string{AdminGroup}, Usages: pki.Client},
		{Name: registrarCertificate, Authority: authorityOfAPI, CommonName: registrarUser, Usages: pki.Client},
		{Name: dnsServingCertificate, Authority: authorityOfDNS, CommonName: DNSEtcd, Names: slices.Concat(h.etcdNames(DNSEtcd), local), Usages: pki.ServerAndClient},
		{Name: dnsClientCertificate, Authority: authorityOfDNS, CommonName: dnsClientCertificate, Usages: pki.Client},
	}
	authorities := h.authorities()
	return slices.DeleteFunc(rows, func(row pki.Leaf) bool { return !slices.Contains(authorities, row.Authority) })
}

// etcdNames are the names of an etcd's Service, and of its pods.
func (h Hook) etcdNames(component string) []string {
	return slices.Concat(h.serviceNames(h.object(component)), h.serviceNames("*." + h.object(component))[1:])
}

// Components of the Secrets that certs may make, each Secret named <federation>-<component>: the CAs, the key pair that signs service account tokens, the leaves. Those that begin
// with DNSEtcd are there only where the federation runs a DNS of its own, those that OfEtcd knows where it runs the etcd of its API.
func Components() (cas []string, keys string, leaves []string) {
	all := Hook{Values: values.DefaultControlPlane()}
	for _, row := range all.leaves(nil) {
		leaves = append(leaves, row.Name)
	}
	return all.authorities(), serviceAccountKeys, leaves
}

// OfEtcd reports whether a component is the API's etcd's.
func OfEtcd(component string) bool { return slices.Contains(ofEtcd, component) }

func unique(names []string) []string {
	var result []string
	for _, name := range names {
		if !slices.Contains(result, name) {
			result = append(result, name)
		}
	}
	return result
}
