package controlplane

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controllers/rbac"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
	"github.com/fedhelm/fedhelm/pkg/kube"
)

// Bootstrap waits for the federation's API, for a bounded time, and ensures in it what it needs to be one: the definition of Cluster, the namespace of the
// controllers' lease, the rights of the controllers, the registrar and the administrators, and the admission policies for federated objects. config is that of a cluster-admin.
func (h Hook) Bootstrap(ctx context.Context, config *rest.Config) error {
	api, err := h.waitForAPI(ctx, config)
	if err != nil {
		return err
	}
	types, err := federatedtypes.All(h.Values.ControllerManager.FederatedTypes)
	if err != nil {
		return err
	}
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(v1beta1.CustomResourceDefinition(), definition); err != nil {
		return fmt.Errorf("read the definition of Cluster in this program: %w", err)
	}
	objects := []client.Object{
		definition,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1beta1.NamespaceFederationSystem}},
	}
	objects = append(objects, clusterAccess(v1beta1.ControllerManager, rbac.User, rbac.ClusterRules(types))...)
	objects = append(objects, namespaceAccess(v1beta1.ControllerManager, rbac.User, rbac.NamespaceRules())...)
	objects = append(objects, clusterAccess(registrarUser, registrarUser, registrarRules())...)
	objects = append(objects, administrators())
	for _, object := range objects {
		// Whoever made it: this API is the release's own, though its data may have come with a volume of an older one.
		object.SetLabels(h.release().Labels())
		if err := kube.Apply(ctx, api, object); err != nil {
			return err
		}
	}
	if err := h.ensureAdmission(ctx, api, h.placed(types)); err != nil {
		return err
	}
	h.Log.Info("the federation's API is set up", "server", config.Host)
	return errors.Join(h.waitForDefinition(ctx, api, definition), h.waitForIdentity(ctx, api))
}

// waitForIdentity waits for the namespace that a new API server makes by itself, a moment after it is ready: by its UID the controllers know whether this is the same federation as before, and one that
// they find without it has lost its data.
func (h Hook) waitForIdentity(ctx context.Context, api *kube.API) error {
	what := "the federation's API to make namespace " + metav1.NamespaceSystem
	return kube.Wait(ctx, pollInterval, readyTimeout, what, func(ctx context.Context) (bool, error) {
		err := api.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, &corev1.Namespace{})
		return err == nil, err
	})
}

// waitForAPI waits until the federation's API is ready.
func (h Hook) waitForAPI(ctx context.Context, config *rest.Config) (*kube.API, error) {
	api, err := kube.Connect(config)
	if err != nil {
		return nil, err
	}
	what := "the federation's API at " + config.Host
	return api, kube.Wait(ctx, pollInterval, readyTimeout, what, func(ctx context.Context) (bool, error) {
		if _, err := api.Raw(ctx, "/readyz"); err != nil {
			return false, fmt.Errorf("%w; %s", err, h.whereToLook())
		}
		return true, nil
	})
}

func (h Hook) waitForDefinition(ctx context.Context, api *kube.API, definition *apiextensionsv1.CustomResourceDefinition) error {
	what := "the federation's API to serve " + definition.Name
	return kube.Wait(ctx, pollInterval, readyTimeout, what, func(ctx context.Context) (bool, error) {
		if err := api.Get(ctx, client.ObjectKeyFromObject(definition), definition); err != nil {
			return false, err
		}
		for _, condition := range definition.Status.Conditions {
			if condition.Type == apiextensionsv1.Established && condition.Status == apiextensionsv1.ConditionTrue {
				return true, nil
			}
		}
		return false, nil
	})
}

// registrarRules are those of a member's hook: to keep Clusters, and nothing else.
func registrarRules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{
		APIGroups: []string{v1beta1.GroupVersion.Group}, Resources: []string{"clusters"},
		Verbs: []string{"get", "list", "watch", "create", "update", "patch", "delete"},
	}}
}

// administrators may do everything, by a role that can be taken from them, which system:masters cannot.
func administrators() client.Object {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: AdminGroup},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: AdminGroup}},
	}
}

func clusterAccess(name, user string, rules []rbacv1.PolicyRule) []client.Object {
	return []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		},
	}
}

func namespaceAccess(name, user string, rules []rbacv1.PolicyRule) []client.Object {
	metadata := metav1.ObjectMeta{Namespace: v1beta1.NamespaceFederationSystem, Name: name}
	return []client.Object{
		&rbacv1.Role{ObjectMeta: metadata, Rules: rules},
		&rbacv1.RoleBinding{
			ObjectMeta: metadata,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		},
	}
}
