package controlplane

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/member"
)

const (
	// forbiddenTimeout is how long teardown and cleanup wait for their role: Argo CD starts the hooks of a delete phase in any order.
	forbiddenTimeout = 20 * time.Second
	// letGoTimeout bounds the wait for one member.
	letGoTimeout = 30 * time.Second
	// goneTimeout bounds the wait for an API that may never have come up.
	goneTimeout = 10 * time.Second
)

// Teardown lets every member go that is still joined, and then removes the federation's DNS records. It is best effort: what is left behind is a warning that says where, and an error only with teardown.strict.
func (h Hook) Teardown(ctx context.Context) error {
	clusters, federation, err := h.members(ctx)
	if err != nil {
		err = fmt.Errorf("the members of federation %s cannot be asked for (%w): those still joined keep namespace %s with the federation's account, its ClusterRole and ClusterRoleBinding, and its entry in their DNS; uninstall their releases to remove these",
			h.Federation, err, v1beta1.NamespaceFederationSystem)
		h.Log.Warn(err.Error())
	} else {
		err = h.letGo(ctx, clusters, federation) // which warns of each thing itself
	}
	records := h.dropRecords(ctx)
	if records != nil {
		h.Log.Warn(records.Error())
	}
	if h.Values.Teardown.Strict {
		return errors.Join(err, records)
	}
	return nil
}

// letGo lets the members go, and gives what was left behind.
func (h Hook) letGo(ctx context.Context, clusters []v1beta1.Cluster, federation *kube.API) error {
	// All at once: each may take letGoTimeout to find that a member does not answer.
	var (
		group sync.WaitGroup
		left  = make([]error, len(clusters))
	)
	for i := range clusters {
		group.Go(func() {
			h.Log.Info("letting go", "cluster", clusters[i].Name)
			left[i] = member.LetGo(ctx, member.LetGoOptions{
				Host: h.Host.Config, Federation: federation.Config, Namespace: h.Namespace, FederationName: h.Federation, Timeout: letGoTimeout, Log: h.Log,
			}, &clusters[i])
		})
	}
	group.Wait()
	return errors.Join(left...)
}

// members lists the Clusters, as the registrar. A federation that was never published has none.
func (h Hook) members(ctx context.Context) ([]v1beta1.Cluster, *kube.API, error) {
	var text []byte
	err := kube.RetryTransient(ctx, forbiddenTimeout, func(ctx context.Context) error {
		shared, err := h.readRegistrars(ctx)
		if shared != nil {
			text = shared.Data[h.Federation]
		}
		return err
	})
	if err != nil || len(text) == 0 {
		return nil, nil, err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(text)
	if err != nil {
		return nil, nil, fmt.Errorf("key %s of Secret %s/%s is no kubeconfig", h.Federation, h.Namespace, registrars)
	}
	federation, err := kube.Connect(config)
	if err != nil {
		return nil, nil, err
	}
	var clusters v1beta1.ClusterList
	err = kube.Wait(ctx, pollInterval, goneTimeout, "the federation's API at "+config.Host, func(ctx context.Context) (bool, error) {
		err := federation.List(ctx, &clusters)
		return err == nil, err
	})
	return clusters.Items, federation, err
}
