package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
)

// loadBalancer writes an address of the pool into the status of each Service
// that asks for one; kube-proxy serves it from there. An address is free again
// when no Service has it.
type loadBalancer struct {
	client     kubernetes.Interface
	services   corelisters.ServiceLister
	pool       []netip.Addr
	switchFile string

	// given is what this process gave, by address: the cache may be behind.
	given map[netip.Addr]string
}

func (b *loadBalancer) reconcile(ctx context.Context) error {
	services, err := b.services.List(labels.Everything())
	if err != nil {
		return err
	}
	taken := b.taken(services)

	var errs []error
	for _, service := range services {
		switch {
		case !wantsAddress(service):
			errs = append(errs, b.release(ctx, service))
		case len(service.Status.LoadBalancer.Ingress) == 0 && b.on():
			errs = append(errs, b.assign(ctx, service, taken))
		}
	}
	return errors.Join(errs...)
}

// taken is every address that a Service shows, and those just given to one
// that still exists and does not show it yet.
func (b *loadBalancer) taken(services []*corev1.Service) map[netip.Addr]string {
	taken, waiting := map[netip.Addr]string{}, map[string]bool{}
	for _, service := range services {
		waiting[string(service.UID)] = wantsAddress(service) && len(service.Status.LoadBalancer.Ingress) == 0
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			if address, err := netip.ParseAddr(ingress.IP); err == nil {
				taken[address] = string(service.UID)
			}
		}
	}
	for address, uid := range b.given {
		if _, shown := taken[address]; waiting[uid] && !shown {
			taken[address] = uid
		} else {
			delete(b.given, address)
		}
	}
	return taken
}

func (b *loadBalancer) assign(ctx context.Context, service *corev1.Service, taken map[netip.Addr]string) error {
	address, err := b.choose(service, taken)
	if err != nil {
		return err
	}
	updated := service.DeepCopy()
	updated.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address.String()}}
	if err := b.write(ctx, updated); err != nil {
		return err
	}
	taken[address], b.given[address] = string(service.UID), string(service.UID)
	log.Printf("service %s/%s has %s", service.Namespace, service.Name, address)
	return nil
}

// choose keeps an address that was given a moment ago, then honours
// spec.loadBalancerIP, then takes the first one that is free.
func (b *loadBalancer) choose(service *corev1.Service, taken map[netip.Addr]string) (netip.Addr, error) {
	for address, uid := range b.given {
		if uid == string(service.UID) {
			return address, nil
		}
	}
	for _, address := range b.pool {
		wanted := service.Spec.LoadBalancerIP == "" || service.Spec.LoadBalancerIP == address.String()
		if _, used := taken[address]; wanted && !used {
			return address, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no free address for service %s/%s", service.Namespace, service.Name)
}

// release takes the address from a Service that is no load balancer any more.
func (b *loadBalancer) release(ctx context.Context, service *corev1.Service) error {
	if service.Spec.Type == corev1.ServiceTypeLoadBalancer || len(service.Status.LoadBalancer.Ingress) == 0 {
		return nil
	}
	updated := service.DeepCopy()
	updated.Status.LoadBalancer = corev1.LoadBalancerStatus{}
	return b.write(ctx, updated)
}

func (b *loadBalancer) write(ctx context.Context, service *corev1.Service) error {
	_, err := b.client.CoreV1().Services(service.Namespace).UpdateStatus(ctx, service, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // the cache is behind; its next event brings us back
	}
	return err
}

func (b *loadBalancer) on() bool {
	state, err := os.ReadFile(b.switchFile)
	return err == nil && strings.TrimSpace(string(state)) == "on"
}

func wantsAddress(service *corev1.Service) bool {
	return service.Spec.Type == corev1.ServiceTypeLoadBalancer && service.Spec.LoadBalancerClass == nil && service.DeletionTimestamp == nil
}

// parsePool lists the addresses of "first-last".
func parsePool(pool string) ([]netip.Addr, error) {
	first, last, _ := strings.Cut(pool, "-")
	from, err := netip.ParseAddr(first)
	if err != nil {
		return nil, fmt.Errorf("pool %q: %w", pool, err)
	}
	to, err := netip.ParseAddr(last)
	if err != nil {
		return nil, fmt.Errorf("pool %q: %w", pool, err)
	}
	var addresses []netip.Addr
	for address := from; address.Compare(to) <= 0; address = address.Next() {
		addresses = append(addresses, address)
	}
	return addresses, nil
}
