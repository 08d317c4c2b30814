package controlplane

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/kube"
)

// Cleanup removes what the hooks made, by the table of names: certificates, kubeconfigs, password and token, the configuration of the DNS provider, the published name servers, and this
// federation's key of the Secret that the namespace's federations share; and what is left of hooks and tests that failed, or were killed. What is gone already is well, what is not the release's own stays with a warning.
func (h Hook) Cleanup(ctx context.Context) error {
	return kube.RetryTransient(ctx, forbiddenTimeout, h.cleanup)
}

func (h Hook) cleanup(ctx context.Context) error {
	cas, keys, leaves := Components()
	objects := []client.Object{h.nameserversConfigMap()}
	// The leaves first: to run this again after a CA is gone and a leaf is not would leave certs without a way on.
	for _, component := range slices.Concat(leaves, []string{adminKubeconfig, dnsProvider, basicAuth, tokenAuth, keys}, cas) {
		objects = append(objects, h.secret(component))
	}
	return errors.Join(
		h.remove(ctx, objects...),
		h.unlessForeign(h.removeRegistrar(ctx)),
		kube.DeleteHooks(ctx, h.Host, h.Namespace, h.Federation, h.object("prepare"), h.object("publish"), h.object("teardown")),
		kube.DeleteTest(ctx, h.Host, h.Namespace, h.Federation, h.object("status")),
	)
}

// remove deletes objects, in their order. What is gone already is well, what is not the release's own stays with a warning.
func (h Hook) remove(ctx context.Context, objects ...client.Object) error {
	var failed []error
	for _, object := range objects {
		deleted, err := h.release().Delete(ctx, h.Host, object)
		if deleted {
			h.Log.Info("deleted " + kube.Describe(h.Host, object))
		}
		failed = append(failed, h.unlessForeign(err))
	}
	return errors.Join(failed...)
}

// unlessForeign turns the error of an object that is not the release's own into a warning.
func (h Hook) unlessForeign(err error) error {
	if errors.Is(err, kube.ErrForeign) {
		h.Log.Warn("left where it is: " + err.Error())
		return nil
	}
	return err
}

// removeRegistrar takes this federation's key out of the shared Secret, and deletes it when it was the last.
func (h Hook) removeRegistrar(ctx context.Context) error {
	shared, err := h.readRegistrars(ctx)
	if shared == nil || err != nil {
		return err
	}
	if _, ours := shared.Data[h.Federation]; !ours && len(shared.Data) > 0 {
		return nil
	}
	if len(shared.Data) > 1 {
		return h.applyRegistrars(ctx, nil)
	}
	version := shared.ResourceVersion
	err = client.IgnoreNotFound(h.Host.Delete(ctx, shared, client.Preconditions{ResourceVersion: &version}))
	if err != nil {
		return fmt.Errorf("delete Secret %s/%s: %w", h.Namespace, registrars, err)
	}
	h.Log.Info("deleted", "secret", registrars)
	return nil
}
