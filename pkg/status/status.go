// Package status looks at a federation from outside and says what it sees: its API, members, certificates and DNS. What is missing is a row, not an error.
package status

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controlplane"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/memberdns"
	"github.com/fedhelm/fedhelm/pkg/pki"
)

// callTimeout bounds each call: who looks at a federation that is down should not have to wait for it.
const callTimeout = 5 * time.Second

// Report is a federation as it was seen, in the shape of `fedhook status -o json`.
type Report struct {
	Federation string `json:"federation"`
	Namespace  string `json:"namespace"`
	API        API    `json:"api"`
	// Etcd are the servers of the API's etcd where somebody else runs it; none where the control plane does.
	Etcd         []string      `json:"etcd,omitempty"`
	DNS          DNS           `json:"dns"`
	Members      []Member      `json:"members"`
	Certificates []Certificate `json:"certificates"`
	// Problems are what is not as it should be, a sentence each; none means that all is well.
	Problems []string `json:"problems"`
	// Time of the look; ages and days count from it.
	Time metav1.Time `json:"time"`
}

// API is the federation's API.
type API struct {
	// Address is the one that was asked, or would have been: "https://host:port".
	Address string `json:"address,omitempty"`
	// Ready says that /readyz answered ok.
	Ready bool `json:"ready"`
	// Message says why it is not ready.
	Message string `json:"message,omitempty"`
}

// DNS is the federation's zone.
type DNS struct {
	Zone     string `json:"zone,omitempty"`
	Provider string `json:"provider,omitempty"`
	// Own says that the control plane serves the zone itself.
	Own bool `json:"own,omitempty"`
	// Nameservers are those given, or else those of the federation's own DNS.
	Nameservers []string `json:"nameservers,omitempty"`
	// Late says that there are no nameservers yet, but may be.
	Late bool `json:"late,omitempty"`
}

// Member is a cluster of the federation.
type Member struct {
	Name    string `json:"name"`
	Status  string `json:"status"`
	Version string `json:"version,omitempty"`
	Region  string `json:"region,omitempty"`
	// Joined is when its Cluster was made.
	Joined metav1.Time `json:"joined"`
	// Message says why it is not ready, or which types it does not get.
	Message string `json:"message,omitempty"`
	// DNS is what the member's own DNS is set to.
	DNS MemberDNS `json:"dns"`
}

// MemberDNS is what a member's own DNS knows of the federation.
type MemberDNS struct {
	// Mode is where it is written: kube-dns, coredns-custom or coredns; none where it is left alone, empty where nobody has said.
	Mode string `json:"mode,omitempty"`
	// Nearest is the domain that a name falls back to, Nameservers are whom it asks.
	Nearest     string   `json:"nearest,omitempty"`
	Nameservers []string `json:"nameservers,omitempty"`
	// Message says why it could not be set.
	Message string `json:"message,omitempty"`
}

// Certificate is one of the Secrets with a certificate.
type Certificate struct {
	Secret string `json:"secret"`
	// NotAfter is when it ends; nil where there is none to read.
	NotAfter *metav1.Time `json:"notAfter,omitempty"`
	// DaysLeft are whole days, negative once it has expired.
	DaysLeft *int `json:"daysLeft,omitempty"`
	// Message says what is wrong with it.
	Message string `json:"message,omitempty"`
}

// Viewer looks at federations.
type Viewer struct {
	// Host is the host cluster's API, Namespace the control plane's.
	Host      *kube.API
	Namespace string
	// InCluster says that the viewer runs in the host cluster, where the API's address there is the nearest.
	InCluster bool
	// Now is the time by which certificates age; nil means time.Now.
	Now func() time.Time
}

// Look gives the report of the federation of that name, or with none of the only one in the namespace. Errors: the host cluster does not answer; there is no such federation,
// or there are several.
func (v Viewer) Look(ctx context.Context, name string) (*Report, error) {
	configMap, err := v.find(ctx, name)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if v.Now != nil {
		now = v.Now()
	}
	l := &look{Viewer: v, now: now, report: &Report{
		Federation: configMap.Data["name"], Namespace: v.Namespace, Time: metav1.NewTime(now.UTC().Truncate(time.Second)),
		// A list that is empty is [] in JSON, not null.
		Members: []Member{}, Certificates: []Certificate{}, Problems: []string{},
	}}
	if servers := configMap.Data["etcdServers"]; servers != "" {
		l.report.Etcd = strings.Split(servers, ",")
	}
	l.dns(ctx, configMap)
	l.api(ctx, configMap.Data["server"])
	l.members(ctx)
	l.certificates(ctx)
	return l.report, nil
}

// find finds the ConfigMap with which a control plane tells of its federation.
func (v Viewer) find(ctx context.Context, name string) (*corev1.ConfigMap, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var list corev1.ConfigMapList
	err := v.Host.List(ctx, &list, client.InNamespace(v.Namespace), client.MatchingLabels{"federation.fedhelm.dev/kind": "federation"})
	if err != nil {
		return nil, fmt.Errorf("look for federations in namespace %s: %w", v.Namespace, err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Data["name"])
		if names[i] == name || name == "" && len(list.Items) == 1 {
			return &list.Items[i], nil
		}
	}
	slices.Sort(names)
	switch {
	case len(names) == 0:
		return nil, fmt.Errorf("there is no federation in namespace %s: name another with --namespace, or install one with `helm -n %s install fellowship charts/federation-control-plane`", v.Namespace, v.Namespace)
	case name == "":
		return nil, fmt.Errorf("namespace %s has several federations: choose one with --release: %s", v.Namespace, strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("there is no federation %q in namespace %s: choose one with --release: %s", name, v.Namespace, strings.Join(names, ", "))
}

// look is one look at a federation.
type look struct {
	Viewer
	now        time.Time
	report     *Report
	kubeconfig []byte
	federation *kube.API
}

func (l *look) problem(format string, args ...any) {
	l.report.Problems = append(l.report.Problems, fmt.Sprintf(format, args...))
}

// dns reads the federation's zone and name servers.
func (l *look) dns(ctx context.Context, federation *corev1.ConfigMap) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// Listed like the federation itself, so that it takes no other right to see them.
	var published corev1.ConfigMapList
	name := v1beta1.NameserversConfigMap(l.report.Federation)
	err := l.Host.List(ctx, &published, client.InNamespace(l.Namespace), client.MatchingFields{"metadata.name": name})
	if err != nil {
		l.problem("ConfigMap %s/%s cannot be read: %s", l.Namespace, name, brief(err))
	}
	var nameservers *corev1.ConfigMap
	if len(published.Items) > 0 {
		nameservers = &published.Items[0]
	}
	facts := memberdns.ReadFacts(federation, nameservers)
	l.report.DNS = DNS{Zone: facts.Zone, Provider: federation.Data["provider"], Own: facts.OwnDNS, Nameservers: facts.Nameservers, Late: facts.Late}
	if facts.OwnDNS && facts.Late {
		l.problem("the address of the federation's DNS is not known, so no member can ask it: see `kubectl -n %s get service %s-dns`, or set dns.server.service.type to NodePort, or dns.nameservers", l.Namespace, l.report.Federation)
	}
}

// api asks the API whether it is ready, at the address nearest to the viewer first.
func (l *look) api(ctx context.Context, inCluster string) {
	api := &l.report.API
	defer func() {
		switch {
		case api.Ready:
		case len(l.report.Etcd) > 0:
			l.problem("the API is not ready: %s; its etcd is at %s, see that this answers", api.Message, strings.Join(l.report.Etcd, ", "))
		default:
			l.problem("the API is not ready: %s", api.Message)
		}
	}()
	var err error
	if l.kubeconfig, err = l.secret(ctx, "kubeconfig", "kubeconfig"); err != nil {
		api.Message = err.Error() + ", which the hook publish writes: see the log of its Job"
		return
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(l.kubeconfig)
	if err != nil {
		api.Message = fmt.Sprintf("Secret %s/%s-kubeconfig holds no kubeconfig: upgrade the release, which writes it", l.Namespace, l.report.Federation)
		return
	}
	addresses := []string{config.Host}
	if l.InCluster && inCluster != "" {
		addresses = slices.Compact([]string{inCluster, config.Host})
	}
	for _, address := range addresses {
		message := l.ask(ctx, config, address)
		if api.Address == "" || message == "" {
			*api = API{Address: address, Ready: message == "", Message: message}
		}
		if api.Ready {
			return
		}
	}
	if !l.InCluster && config.Host == inCluster {
		api.Message += fmt.Sprintf(" (this address is good in the host cluster only: reach it with `kubectl -n %s port-forward service/%s-apiserver 8443:443`)", l.Namespace, l.report.Federation)
	}
}

// ask asks one address, and gives why it is not ready; empty when it is.
func (l *look) ask(ctx context.Context, config *rest.Config, address string) string {
	config = rest.CopyConfig(config)
	config.Host = address
	federation, err := kube.Connect(config)
	if err != nil {
		return brief(err)
	}
	l.federation = federation
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := federation.Raw(ctx, "/readyz"); err != nil {
		return "/readyz: " + brief(err)
	}
	return ""
}

// members lists the Clusters.
func (l *look) members(ctx context.Context) {
	if !l.report.API.Ready {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var clusters v1beta1.ClusterList
	if err := l.federation.List(ctx, &clusters); apierrors.IsNotFound(err) {
		l.problem("the API knows no Clusters yet, bootstrap has not run: see the init container of Deployment %s-controller-manager", l.report.Federation)
		return
	} else if err != nil {
		l.problem("the Clusters cannot be listed: %s", brief(err))
		return
	}
	for i := range clusters.Items {
		member := memberOf(&clusters.Items[i])
		l.report.Members = append(l.report.Members, member)
		if member.Status != string(v1beta1.ClusterPhaseReady) {
			l.problem("member %s is %s: %s", member.Name, member.Status, member.Message)
		}
		if member.DNS.Message != "" {
			l.problem("the DNS of member %s: %s", member.Name, member.DNS.Message)
		}
	}
}

func memberOf(cluster *v1beta1.Cluster) Member {
	m := Member{
		Name: cluster.Name, Status: string(cluster.Status.Phase), Version: cluster.Status.Version,
		Region: cluster.Status.Region, Joined: cluster.CreationTimestamp, DNS: dnsOf(cluster),
	}
	if m.Status == "" {
		m.Status = string(v1beta1.ClusterPhaseUnknown)
	}
	if cluster.DeletionTimestamp != nil {
		m.Status, m.Message = "Leaving", "is being deleted"
		return m
	}
	if m.Status == string(v1beta1.ClusterPhaseReady) {
		if served := meta.FindStatusCondition(cluster.Status.Conditions, v1beta1.ClusterTypesServed); served != nil && served.Status == metav1.ConditionFalse {
			m.Message = served.Message
		}
		return m
	}
	m.Message = "no controller has looked at it yet: see the pods of the controller manager"
	for _, kind := range []string{v1beta1.ClusterReady, v1beta1.ClusterOffline} {
		if condition := meta.FindStatusCondition(cluster.Status.Conditions, kind); condition != nil && condition.Message != "" && cluster.Status.Phase != v1beta1.ClusterPhaseUnknown {
			m.Message = condition.Message
			break
		}
	}
	return m
}

func dnsOf(cluster *v1beta1.Cluster) MemberDNS {
	var dns MemberDNS
	if spec := cluster.Spec.ClusterDNS; spec != nil {
		dns.Mode = string(spec.Mode)
	}
	if now := cluster.Status.ClusterDNS; now != nil {
		dns = MemberDNS{Mode: string(now.Mode), Nearest: now.Nearest, Nameservers: now.Nameservers}
	}
	condition := meta.FindStatusCondition(cluster.Status.Conditions, v1beta1.ClusterDNSConfigured)
	if condition != nil && condition.Status == metav1.ConditionFalse && cluster.DeletionTimestamp == nil {
		dns.Message = condition.Message
	}
	return dns
}

// certificates reads every certificate of the table, and the one in the administrator's kubeconfig. A federation without an etcd or a DNS of its own has none for it.
func (l *look) certificates(ctx context.Context) {
	cas, _, leaves := controlplane.Components()
	for _, component := range slices.Concat(cas, leaves) {
		if !l.report.DNS.Own && strings.HasPrefix(component, controlplane.DNSEtcd) || len(l.report.Etcd) > 0 && controlplane.OfEtcd(component) {
			continue
		}
		text, err := l.secret(ctx, component, corev1.TLSCertKey)
		l.certificate(component, text, err)
	}
	if config, err := clientcmd.RESTConfigFromKubeConfig(l.kubeconfig); err == nil {
		l.certificate("kubeconfig", config.CertData, nil)
	}
}

func (l *look) certificate(component string, text []byte, err error) {
	row := Certificate{Secret: l.report.Federation + "-" + component}
	defer func() {
		l.report.Certificates = append(l.report.Certificates, row)
		if row.Message != "" {
			l.problem("certificate %s: %s", row.Secret, row.Message)
		}
	}()
	if err != nil {
		row.Message = err.Error()
		return
	}
	certificate, err := pki.ParseCertificate(text)
	if err != nil {
		row.Message = err.Error()
		return
	}
	end, days := metav1.NewTime(certificate.NotAfter), int(certificate.NotAfter.Sub(l.now).Hours()/24)
	row.NotAfter, row.DaysLeft = &end, &days
	switch {
	case l.now.After(certificate.NotAfter):
		row.Message = fmt.Sprintf("expired on %s: run the keeper now with `%s`", certificate.NotAfter.Format(time.DateOnly), l.runKeeper())
	case l.now.After(lastSixth(certificate)) && certificate.IsCA:
		row.Message = "ends soon, and all that it signed with it: plan to uninstall and install the federation"
	case l.now.After(lastSixth(certificate)):
		row.Message = fmt.Sprintf("is not renewed though it ends soon: run the keeper now with `%s`, and see its log", l.runKeeper())
	}
}

func (l *look) runKeeper() string {
	return fmt.Sprintf("kubectl -n %s create job --from=cronjob/%s-keeper %s-keeper-$(date +%%s)", l.Namespace, l.report.Federation, l.report.Federation)
}

// lastSixth is when five sixths of a certificate's life are past; leaves are renewed long before, at two thirds.
func lastSixth(certificate *x509.Certificate) time.Time {
	return certificate.NotAfter.Add(-certificate.NotAfter.Sub(certificate.NotBefore) / 6)
}

// secret gives one key of a component's Secret. Errors: a clause that says what is missing.
func (l *look) secret(ctx context.Context, component, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	secret := &corev1.Secret{}
	name := client.ObjectKey{Namespace: l.Namespace, Name: l.report.Federation + "-" + component}
	err := l.Host.Get(ctx, name, secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("Secret %s is missing", name)
	case err != nil:
		return nil, fmt.Errorf("Secret %s cannot be read: %s", name, brief(err))
	case len(secret.Data[key]) == 0:
		return nil, fmt.Errorf("Secret %s has no key %s", name, key)
	}
	return secret.Data[key], nil
}

// brief is an error on one line of bearable length: an API server that is not ready answers with the list of all its checks.
func brief(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Code >= 500 {
		return fmt.Sprintf("answers %d", status.Status().Code)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s", callTimeout)
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// Err is nil when all is well, else one sentence with every problem.
func (r *Report) Err() error {
	if len(r.Problems) == 0 {
		return nil
	}
	return fmt.Errorf("federation %s in namespace %s is not well: %s", r.Federation, r.Namespace, strings.Join(r.Problems, "; "))
}
