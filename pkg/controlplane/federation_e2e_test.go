//go:build e2e

package controlplane

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/values"
	"github.com/fedhelm/fedhelm/test/faults"
)

// wired gives a configuration whose wire may be cut.
func wired(config *rest.Config, wire *faults.Transport) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(wire.Wrap)
	return config
}

func TestBootstrapTwiceChangesNothing(t *testing.T) {
	r := newRelease(t)
	hook := r.hook("prepare", nil)
	require.NoError(t, hook.Bootstrap(t.Context(), federation.Config))
	checkBootstrapped(t)
	before := federationVersions(t)
	require.NoError(t, hook.Bootstrap(t.Context(), federation.Config))
	require.Equal(t, before, federationVersions(t))

	// What somebody took away or altered is put back.
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: registrarUser}}
	require.NoError(t, federation.Get(t.Context(), client.ObjectKeyFromObject(role), role))
	role.Rules, role.Labels = nil, nil
	require.NoError(t, federation.Update(t.Context(), role))
	require.NoError(t, hook.Bootstrap(t.Context(), federation.Config))
	checkBootstrapped(t)
}

// A federation that federates no type is one all the same: it gives no finalizer to anything.
func TestBootstrapWithoutTypes(t *testing.T) {
	r := newRelease(t)
	policies := func() int {
		list := &admissionv1.MutatingAdmissionPolicyList{}
		require.NoError(t, federation.List(t.Context(), list, client.MatchingLabels{v1beta1.LabelManagedBy: v1beta1.ManagedByFedhook}))
		bindings := &admissionv1.MutatingAdmissionPolicyBindingList{}
		require.NoError(t, federation.List(t.Context(), bindings, client.MatchingLabels{v1beta1.LabelManagedBy: v1beta1.ManagedByFedhook}))
		return len(list.Items) + len(bindings.Items)
	}
	require.NoError(t, r.hook("prepare", nil).Bootstrap(t.Context(), federation.Config))
	require.Equal(t, 4, policies())
	var off []string
	for _, of := range federatedtypes.Defaults() {
		off = append(off, of.Name()+"=false")
	}
	r.values.ControllerManager.ArgOverrides = map[string]values.Argument{"controllers": {Text: new(strings.Join(off, ","))}}
	for range 2 {
		require.NoError(t, r.hook("prepare", nil).Bootstrap(t.Context(), federation.Config))
		require.Zero(t, policies())
	}
	checkBootstrapped(t)
}

// The registrar may keep Clusters and do nothing else; the admin's group may do everything.
func TestRightsInTheFederation(t *testing.T) {
	r := newRelease(t)
	require.NoError(t, r.hook("prepare", nil).Bootstrap(t.Context(), federation.Config))
	as := func(name string, groups ...string) *kube.API {
		user, err := federation.env.AddUser(envtest.User{Name: name, Groups: groups}, nil)
		require.NoError(t, err)
		api, err := kube.Connect(user.Config())
		require.NoError(t, err)
		return api
	}
	registrar, admin := as(registrarUser), as("admin", AdminGroup)
	cluster := &v1beta1.Cluster{
		ObjectMeta: metav1.ObjectMeta{Name: "gondor"},
		Spec: v1beta1.ClusterSpec{
			ServerAddressByClientCIDRs: []v1beta1.ServerAddressByClientCIDR{{ServerAddress: "https://gondor.example"}},
			SecretRef:                  v1beta1.SecretReference{Name: "gondor"},
		},
	}
	require.NoError(t, kube.RetryTransient(t.Context(), bound, func(ctx context.Context) error { return registrar.Create(ctx, cluster) }))
	require.NoError(t, registrar.Delete(t.Context(), cluster))
	require.True(t, apierrors.IsForbidden(registrar.List(t.Context(), &corev1.SecretList{})))
	require.True(t, apierrors.IsForbidden(registrar.List(t.Context(), &corev1.NamespaceList{})))
	require.NoError(t, admin.List(t.Context(), &corev1.SecretList{}))
}

// An API server with another etcd knows nobody: the release's last hook sets it up, once the one before has gone.
func TestPublishSetsUpTheAPI(t *testing.T) {
	r := newRelease(t)
	hook := r.hook("publish", nil)
	_, err := hook.apiServerIsNew(t.Context())
	require.ErrorContains(t, err, "get Deployment "+r.namespace+"/fellowship-apiserver: ")

	deployment := r.apiServer()
	status := func(s appsv1.DeploymentStatus) {
		deployment.Status = s
		require.NoError(t, host.Status().Update(t.Context(), deployment))
	}
	status(appsv1.DeploymentStatus{ObservedGeneration: deployment.Generation, Replicas: 2, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1})
	done, err := hook.apiServerIsNew(t.Context())
	require.False(t, done)
	require.EqualError(t, err, "1 of 2 pods of Deployment "+r.namespace+"/fellowship-apiserver are new, 1 available")

	status(allNew(deployment))
	for _, object := range []client.Object{&rbacv1.ClusterRoleBinding{}, &rbacv1.ClusterRole{}} {
		object.SetName(registrarUser)
		require.NoError(t, client.IgnoreNotFound(federation.Delete(t.Context(), object)))
	}
	require.NoError(t, hook.ensureUsable(t.Context(), federation.Config))
	checkBootstrapped(t)
	before := federationVersions(t)
	require.NoError(t, hook.ensureUsable(t.Context(), federation.Config))
	require.Equal(t, before, federationVersions(t))
}

// The keeper brings a federation back whose etcd was emptied under a running API server, which goes on as if nothing had happened.
func TestKeepAfterEtcdWasEmptied(t *testing.T) {
	r := newRelease(t)
	r.values.APIServer.Service.Type = "ClusterIP"
	require.NoError(t, r.certs())
	r.service()
	lost, err := startServer(t.TempDir(), nil)
	require.NoError(t, err)
	defer func() { _ = lost.env.Stop() }()
	keep := func() error { return r.hook("keeper", nil).Keep(t.Context(), lost.Config) }
	require.NoError(t, keep())

	deployment := r.apiServer()
	require.NoError(t, keep(), "an API that has its data")
	require.NoError(t, host.Get(t.Context(), client.ObjectKeyFromObject(deployment), deployment))
	require.Empty(t, deployment.Spec.Template.Annotations, "is not restarted")

	etcd := lost.env.ControlPlane.Etcd
	emptied := etcd.DataDir
	require.NoError(t, etcd.Stop())
	require.NoError(t, os.RemoveAll(emptied))
	require.NoError(t, os.MkdirAll(emptied, 0o700))
	require.NoError(t, etcd.Start())
	require.NoError(t, kube.Wait(t.Context(), pollInterval, bound, "the API to come back", func(ctx context.Context) (bool, error) {
		_, err := lost.Raw(ctx, "/readyz")
		return err == nil, err
	}))

	// The Deployment's controller and kubelet, as far as it matters here.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			d := &appsv1.Deployment{}
			if err := host.Get(ctx, client.ObjectKeyFromObject(deployment), d); err == nil && d.Spec.Template.Annotations[annotationRestarted] != "" && d.Status.ObservedGeneration < d.Generation {
				server := lost.env.ControlPlane.GetAPIServer()
				_ = server.Stop()
				if err := server.Start(); err != nil {
					slog.Error("start the API server again", "error", err)
				}
				d.Status = allNew(d)
				_ = host.Status().Update(ctx, d)
			}
			select {
			case <-ctx.Done():
			case <-time.After(pollInterval):
			}
		}
	}()
	require.NoError(t, keep())
	require.Contains(t, r.log.String(), "has lost its data")
	require.NoError(t, lost.List(t.Context(), &v1beta1.ClusterList{}))
	for _, name := range []string{"default", "kube-system", v1beta1.NamespaceFederationSystem} {
		require.NoError(t, kube.Wait(t.Context(), pollInterval, bound, name, func(ctx context.Context) (bool, error) {
			err := lost.Get(ctx, client.ObjectKey{Name: name}, &corev1.Namespace{})
			return err == nil, err
		}))
	}
}

// checkBootstrapped holds the federation's API against what bootstrap makes.
func checkBootstrapped(t *testing.T) {
	t.Helper()
	require.NoError(t, federation.List(t.Context(), &v1beta1.ClusterList{}))
	for name, rules := range map[string][]rbacv1.PolicyRule{registrarUser: registrarRules()} {
		role := &rbacv1.ClusterRole{}
		require.NoError(t, federation.Get(t.Context(), client.ObjectKey{Name: name}, role))
		require.Equal(t, rules, role.Rules)
	}
	for _, name := range []string{registrarUser, v1beta1.ControllerManager, AdminGroup} {
		require.NoError(t, federation.Get(t.Context(), client.ObjectKey{Name: name}, &rbacv1.ClusterRoleBinding{}), name)
	}
	require.NoError(t, federation.Get(t.Context(), client.ObjectKey{Namespace: v1beta1.NamespaceFederationSystem, Name: v1beta1.ControllerManager}, &rbacv1.RoleBinding{}))
}

// federationVersions are the resourceVersions of what bootstrap makes.
func federationVersions(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, list := range []client.ObjectList{
		&rbacv1.ClusterRoleList{}, &rbacv1.ClusterRoleBindingList{}, &rbacv1.RoleList{}, &rbacv1.RoleBindingList{}, &corev1.NamespaceList{}, &apiextensionsv1.CustomResourceDefinitionList{},
	} {
		require.NoError(t, federation.List(t.Context(), list, client.MatchingLabels{v1beta1.LabelManagedBy: v1beta1.ManagedByFedhook}))
		require.NoError(t, meta.EachListItem(list, func(obj runtime.Object) error {
			o := obj.(client.Object)
			all = append(all, fmt.Sprintf("%T %s %s", o, o.GetName(), o.GetResourceVersion()))
			return nil
		}))
	}
	require.Len(t, all, 9)
	return all
}
