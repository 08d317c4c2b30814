package controlplane

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/kube"
)

// kubeconfigKey is the key of a kubeconfig in its Secret.
const kubeconfigKey = "kubeconfig"

// Publish ensures that the federation can be used, and that nothing is left of an etcd or a DNS of its own, or of a password or token, where it has one no more. The keeper does not remove
// those: a run that began with the values before an upgrade would take away what the upgrade has just made.
func (h Hook) Publish(ctx context.Context) error {
	if err := h.publish(ctx); err != nil {
		return err
	}
	return errors.Join(h.removeDNS(ctx), h.removeEtcd(ctx), h.removeLogins(ctx))
}

// publish ensures that the API can be used: the address at which it is reached, for which it waits a bounded time, goes into the serving certificate and into the
// administrator's kubeconfig; the members' releases get one that may do nothing but keep Clusters. Then that of the federation's own DNS is published likewise, for which it
// waits no longer than for the API's; and an API server that is older than its tokens is replaced. It ends with what to do next.
func (h Hook) publish(ctx context.Context) error {
	until := h.addressDeadline(ctx)
	r, err := h.waitForAPIAddress(ctx, until)
	if err != nil {
		return err
	}
	if err := h.ensureCertificates(ctx, r.names); err != nil {
		return err
	}
	if err := h.ensureAdminKubeconfig(ctx, r); err != nil {
		return err
	}
	if err := h.ensureRegistrar(ctx); err != nil {
		return err
	}
	if err := h.publishDNS(ctx, until); err != nil {
		return err
	}
	if err := h.rollAPIServer(ctx); err != nil {
		return err
	}
	h.Log.Info(fmt.Sprintf("federation %s is at %s", h.Federation, r.server))
	h.Log.Info(fmt.Sprintf("get its kubeconfig with `kubectl -n %s get secret %s -o jsonpath='{.data.%s}' | base64 -d`", h.Namespace, h.object(adminKubeconfig), kubeconfigKey))
	return nil
}

// ensureAdminKubeconfig ensures the administrator's kubeconfig: his certificate and, where the values turn them on, his password and his token, each in a context of its own.
func (h Hook) ensureAdminKubeconfig(ctx context.Context, r reach) error {
	config, err := h.clientConfig(ctx, adminCertificate, r.server)
	if err != nil {
		return err
	}
	if err := h.addLogins(ctx, config, r); err != nil {
		return err
	}
	text, err := clientcmd.Write(*config)
	if err != nil {
		return err
	}
	secret := h.secret(adminKubeconfig)
	if found, err := h.release().Get(ctx, h.Host, secret); err != nil || found && string(secret.Data[kubeconfigKey]) == string(text) {
		return err
	}
	secret = h.secret(adminKubeconfig)
	secret.Type, secret.Data = corev1.SecretTypeOpaque, map[string][]byte{kubeconfigKey: text}
	return h.release().Ensure(ctx, h.Host, secret)
}

// ensureRegistrar puts this federation's key into the Secret that the namespace's federations share. Each owns its key under a field manager of its own.
func (h Hook) ensureRegistrar(ctx context.Context) error {
	shared, err := h.readRegistrars(ctx)
	if err != nil {
		return err
	}
	text, err := h.kubeconfig(ctx, registrarCertificate, h.inCluster())
	if err != nil {
		return err
	}
	if shared != nil && string(shared.Data[h.Federation]) == string(text) {
		return nil
	}
	return h.applyRegistrars(ctx, map[string][]byte{h.Federation: text})
}

// readRegistrars gives the shared Secret, nil where there is none. Errors: it is somebody else's.
func (h Hook) readRegistrars(ctx context.Context) (*corev1.Secret, error) {
	shared := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.Namespace, Name: registrars}}
	err := h.Host.Get(ctx, client.ObjectKeyFromObject(shared), shared)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get Secret %s/%s: %w", h.Namespace, registrars, err)
	}
	if owner := shared.Labels[v1beta1.LabelManagedBy]; owner != v1beta1.ManagedByFedhook {
		return nil, kube.Foreign(fmt.Sprintf("Secret %s/%s", h.Namespace, registrars), h.Federation, v1beta1.LabelManagedBy, owner)
	}
	return shared, nil
}

// applyRegistrars makes data all that this federation has in the shared Secret.
func (h Hook) applyRegistrars(ctx context.Context, data map[string][]byte) error {
	secret := corev1apply.Secret(registrars, h.Namespace).
		WithLabels(map[string]string{v1beta1.LabelManagedBy: v1beta1.ManagedByFedhook}).
		WithType(corev1.SecretTypeOpaque).WithData(data)
	if err := h.Host.Apply(ctx, secret, client.FieldOwner("fedhook-"+h.Federation), client.ForceOwnership); err != nil {
		return fmt.Errorf("apply Secret %s/%s: %w", h.Namespace, registrars, err)
	}
	return nil
}

// kubeconfig gives a self-contained kubeconfig with the certificate of a component.
func (h Hook) kubeconfig(ctx context.Context, component, server string) ([]byte, error) {
	config, err := h.clientConfig(ctx, component, server)
	if err != nil {
		return nil, err
	}
	return clientcmd.Write(*config)
}

// clientConfig is what kubeconfig writes. The context is named like the federation, as kubefed's was, and the server's certificate is checked for a name that it always has, so that
// the kubeconfig works before the certificate names a new address.
func (h Hook) clientConfig(ctx context.Context, component, server string) (*clientcmdapi.Config, error) {
	secret := h.secret(component)
	if err := h.Host.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
		return nil, fmt.Errorf("get Secret %s/%s: %w", h.Namespace, secret.Name, err)
	}
	return &clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{h.Federation: {
			Server: server, TLSServerName: h.serverName(), CertificateAuthorityData: secret.Data[authorityKey],
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{h.Federation: {
			ClientCertificateData: secret.Data[corev1.TLSCertKey], ClientKeyData: secret.Data[corev1.TLSPrivateKeyKey],
		}},
		Contexts:       map[string]*clientcmdapi.Context{h.Federation: {Cluster: h.Federation, AuthInfo: h.Federation}},
		CurrentContext: h.Federation,
	}, nil
}
