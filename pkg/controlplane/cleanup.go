package controlplane

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/kube"
)

// Cleanup removes what the hooks made, by the table of names: certificates, kubeconfigs, and this federation's key of the Secret that the namespace's federations
// share. What is gone already is well, what is not the release's own stays with a warning.
func (h Hook) Cleanup(ctx context.Context) error {
	cas, keys, leaves := Components()
	var failed []error
	for _, component := range slices.Concat(leaves, []string{adminKubeconfig, keys}, cas) {
		secret := h.secret(component)
		err := kube.RetryForbidden(ctx, forbiddenTimeout, func(ctx context.Context) error {
			deleted, err := h.release().Delete(ctx, h.Host, secret)
			if deleted {
				h.Log.Info("deleted", "secret", secret.Name)
			}
			return err
		})
		failed = append(failed, h.warnOrFail(err))
	}
	failed = append(failed, kube.RetryForbidden(ctx, forbiddenTimeout, h.removeRegistrar))
	return errors.Join(failed...)
}

// warnOrFail keeps the API's own errors, for which a second try is worth it, and warns of the others.
func (h Hook) warnOrFail(err error) error {
	if err == nil || apierrors.ReasonForError(err) != "" {
		return err
	}
	h.Log.Warn("left where it is: " + err.Error())
	return nil
}

// removeRegistrar takes this federation's key out of the shared Secret, and deletes it when it was the last.
func (h Hook) removeRegistrar(ctx context.Context) error {
	shared, err := h.readRegistrars(ctx)
	if shared == nil || err != nil {
		return h.warnOrFail(err)
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
