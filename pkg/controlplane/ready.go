package controlplane

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/kube"
)

// usableTimeout is how long an install waits for the API that it published.
const usableTimeout = time.Minute

// EnsureUsable waits, for a bounded time, until the published API is ready, and ensures in it what it needs (see Bootstrap), so that who comes next finds it so. The
// controller manager ensured that too before it started, but in an upgrade maybe through an API server that was about to go, with another etcd than the new one's. Errors:
// etcd's claim does not bind, or somebody else's etcd does not answer, without which the API never will be ready. An API that takes longer is a warning.
func (h Hook) EnsureUsable(ctx context.Context) error {
	text, err := h.kubeconfig(ctx, bootstrapCertificate, h.inCluster())
	if err != nil {
		return err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(text)
	if err != nil {
		return err
	}
	return h.ensureUsable(ctx, config)
}

func (h Hook) ensureUsable(ctx context.Context, config *rest.Config) error {
	api, err := kube.Connect(config)
	if err != nil {
		return err
	}
	late := kube.Wait(ctx, pollInterval, usableTimeout, "the federation's API at "+config.Host, func(ctx context.Context) (bool, error) {
		if done, err := h.apiServerIsNew(ctx); !done {
			return false, err
		}
		_, err := api.Raw(ctx, "/readyz")
		return err == nil, err
	})
	if late == nil {
		return h.Bootstrap(ctx, config)
	}
	if err := h.checkStore(ctx); err != nil && ctx.Err() == nil { // else there is no time left to know
		return err
	}
	h.Log.Warn("the federation's API is not ready yet: "+h.whereToLook(), "reason", late.Error())
	return nil
}

// checkStore says why the API has no store, if it has none.
func (h Hook) checkStore(ctx context.Context) error {
	if h.Values.Etcd.Own() {
		return h.checkClaim(ctx)
	}
	if err := h.etcdAnswers(ctx); err != nil {
		return fmt.Errorf("the federation's API is not ready, because the etcd of etcd.external.servers does not answer (%w): see that it runs and lets the pods of namespace %s in, then upgrade the release", err, h.Namespace)
	}
	return nil
}

// checkClaim says why etcd has no volume, if it has none.
func (h Hook) checkClaim(ctx context.Context) error {
	if !h.Values.Etcd.Persistence.Enabled {
		return nil
	}
	claim := &corev1.PersistentVolumeClaim{}
	key := client.ObjectKey{Namespace: h.Namespace, Name: h.claimName()}
	err := h.Host.Get(ctx, key, claim)
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("etcd's claim %s is not there: make it, or unset etcd.persistence.existingClaim", key)
	case err != nil:
		return fmt.Errorf("get PersistentVolumeClaim %s: %w", key, err)
	case claim.Status.Phase == corev1.ClaimBound:
		return nil
	}
	class := "the default storage class"
	if claim.Spec.StorageClassName != nil {
		class = fmt.Sprintf("storage class %q", *claim.Spec.StorageClassName)
	}
	return fmt.Errorf("etcd's claim %s is %s and binds to no volume of %s: see why with `kubectl -n %s describe pvc %s`, then uninstall the release and install it with an etcd.persistence.storageClass of `kubectl get storageclass`, or with etcd.persistence.enabled=false",
		key, claim.Status.Phase, class, h.Namespace, claim.Name)
}

// claimName is the name of etcd's claim: kubefed's, unless the values name another.
func (h Hook) claimName() string {
	if name := h.Values.Etcd.Persistence.ExistingClaim; name != "" {
		return name
	}
	return h.object("federation-apiserver-etcd-claim")
}
