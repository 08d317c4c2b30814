package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/dnsprovider"
	"github.com/fedhelm/fedhelm/pkg/memberdns"
	"github.com/fedhelm/fedhelm/pkg/pki"
)

// The federation's own DNS, where it runs one: where it is reached, and that it uses the certificate it has.

const (
	// resolveTimeout bounds the look-up of a load balancer's host name.
	resolveTimeout = 5 * time.Second
	// annotationCertificate on the DNS's pod template is the serial number of its client certificate, and rolls the DNS when that was renewed.
	annotationCertificate = "federation.fedhelm.dev/certificate"
)

// publishDNS ensures that the members find the federation's own DNS, where it has one: the addresses at which it is reached, for which it waits until the deadline, go into a
// ConfigMap. Without any it says so, and leaves what was published before. For a CoreDNS of the user's own, what its configuration says goes there.
func (h Hook) publishDNS(ctx context.Context, until time.Time) error {
	if !h.Values.DNS.Own() {
		servers, err := h.givenNameservers(ctx)
		if err != nil || len(servers) == 0 {
			return err
		}
		return h.ensureNameservers(ctx, servers)
	}
	if len(h.Values.DNS.Nameservers) > 0 {
		until = time.Now() // the members are told of these
	}
	servers, pending, err := waitForAddress(ctx, h, "the federation's DNS", until, h.nameservers)
	switch {
	case err != nil:
		return err
	case pending != nil:
		h.Log.Warn("the federation's DNS cannot be reached from outside yet; the keeper publishes its address when it comes", "reason", pending.Error())
	default:
		if err := h.ensureNameservers(ctx, servers); err != nil {
			return err
		}
		host, port, _ := net.SplitHostPort(servers[0])
		h.Log.Info(fmt.Sprintf("the federation's DNS is at %s: ask it with `dig @%s -p %s %s SOA`", strings.Join(servers, " and "), host, port, h.Values.DNS.Zone()))
	}
	return h.rollDNS(ctx)
}

// nameservers looks under which addresses the DNS is reached at this moment, each as "ip:port", or else gives what is pending. Errors: the Service is missing, cannot be read, or has
// another node port for TCP than for UDP.
func (h Hook) nameservers(ctx context.Context) (servers []string, pending, err error) {
	service, err := h.service(ctx, exposedDNS.component)
	if err != nil {
		return nil, nil, err
	}
	if err := sameNodePort(service); err != nil {
		return nil, nil, err
	}
	o, err := h.outside(ctx, exposedDNS, service)
	if err != nil || o.pending != nil {
		return nil, o.pending, err
	}
	if service.Spec.Type == corev1.ServiceTypeClusterIP {
		o.hosts = service.Spec.ClusterIPs
	}
	addresses, pending := resolve(ctx, o.hosts)
	for _, address := range addresses {
		servers = append(servers, net.JoinHostPort(address, strconv.Itoa(int(o.port))))
	}
	return servers, pending, nil
}

// givenNameservers are those that v1's key coredns-endpoints names, where the zone is served by a CoreDNS of the user's own: kubefed join told the members of them. Errors: one that
// is no address.
func (h Hook) givenNameservers(ctx context.Context) ([]string, error) {
	d := h.Values.DNS
	if d.Provider != dnsprovider.CoreDNS || d.Own() {
		return nil, nil
	}
	secret := h.secret(dnsProvider)
	if found, err := h.release().Get(ctx, h.Host, secret); err != nil || !found {
		return nil, err
	}
	c, err := dnsprovider.Parse(d.Provider, d.Zone(), string(secret.Data[dnsprovider.ConfigKey]), "")
	if err != nil {
		return nil, fmt.Errorf("Secret %s/%s: %w", h.Namespace, secret.Name, err)
	}
	return c.Nameservers(), nil
}

// sameNodePort sees that a Service of type NodePort has one port for both protocols. Helm 3 changes it for UDP alone: its patches tell ports apart by their number, which is the same.
func sameNodePort(service *corev1.Service) error {
	first := service.Spec.Ports[0]
	for _, port := range service.Spec.Ports[1:] {
		if service.Spec.Type == corev1.ServiceTypeNodePort && port.NodePort != first.NodePort {
			return fmt.Errorf("Service %s/%s has node port %d for %s and %d for %s, as Helm 3 leaves it when dns.server.service.nodePort is changed: delete the Service, and upgrade the release",
				service.Namespace, service.Name, first.NodePort, first.Protocol, port.NodePort, port.Protocol)
		}
	}
	return nil
}

// resolve gives the IP addresses of hosts, each once: a name server is given by its address. With none it says why.
func resolve(ctx context.Context, hosts []string) (addresses []string, pending error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	var failed []error
	for _, host := range hosts {
		if _, err := netip.ParseAddr(host); err == nil {
			addresses = append(addresses, host)
			continue
		}
		name := host
		if strings.Contains(host, ".") {
			name = strings.TrimSuffix(host, ".") + "." // not one of the cluster's search domains
		}
		found, err := net.DefaultResolver.LookupHost(ctx, name)
		if err != nil {
			failed = append(failed, fmt.Errorf("host name %s of the load balancer cannot be resolved: %w", host, err))
		}
		slices.Sort(found) // which the resolver shuffles
		addresses = append(addresses, found...)
	}
	if len(addresses) == 0 {
		return nil, errors.Join(failed...)
	}
	return unique(addresses), nil
}

func (h Hook) ensureNameservers(ctx context.Context, servers []string) error {
	text := strings.Join(servers, " ")
	current := h.nameserversConfigMap()
	if found, err := h.release().Get(ctx, h.Host, current); err != nil || found && current.Data[memberdns.KeyNameservers] == text {
		return err
	}
	desired := h.nameserversConfigMap()
	desired.Data = map[string]string{memberdns.KeyNameservers: text}
	return h.release().Ensure(ctx, h.Host, desired)
}

func (h Hook) nameserversConfigMap() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: h.Namespace, Name: v1beta1.NameserversConfigMap(h.Federation)}}
}

// removeDNS removes what fedhook made for the federation's own DNS where it has none any more, the leaves before their CA, and name servers that are no longer given.
func (h Hook) removeDNS(ctx context.Context) error {
	if h.Values.DNS.Own() {
		return nil
	}
	given, err := h.givenNameservers(ctx)
	if err != nil {
		return err
	}
	if len(given) == 0 {
		if err := h.remove(ctx, h.nameserversConfigMap()); err != nil {
			return err
		}
	}
	return h.remove(ctx, h.secret(dnsClientCertificate), h.secret(dnsServingCertificate), h.secret(authorityOfDNS))
}

// rollDNS replaces the pods of the DNS when one of them is older than its client certificate, which CoreDNS's etcd plugin reads only once.
func (h Hook) rollDNS(ctx context.Context) error {
	secret := h.secret(dnsClientCertificate)
	if err := h.Host.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
		return fmt.Errorf("get Secret %s/%s: %w", h.Namespace, secret.Name, err)
	}
	certificate, err := pki.ParseCertificate(secret.Data[corev1.TLSCertKey])
	if err != nil {
		return fmt.Errorf("the certificate of Secret %s/%s %w: delete it, and run this again", h.Namespace, secret.Name, err)
	}
	return h.rollOlder(ctx, "dns", secret, annotationCertificate, certificate.SerialNumber.Text(16), func(corev1.Pod) bool { return true })
}
