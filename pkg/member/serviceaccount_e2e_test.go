//go:build e2e

package member

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/memberdns"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/faults"
)

// kept is the credentials Secret of the release.
func (r *release) kept() *corev1.Secret {
	r.Helper()
	secret := &corev1.Secret{}
	require.NoError(r, host.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: "gondor-federation-credentials"}, secret))
	return secret
}

// usesAccount says that the federation has its account in the member and its token in the host; the account may take a moment to be collected.
func (r *release) usesAccount(own bool) {
	r.Helper()
	keys := r.kept().Data
	assert.Equal(r, own, len(keys["token"]) > 0, "the token")
	assert.Equal(r, own, len(keys["ca.crt"]) > 0, "the CA")
	assert.Equal(r, !own, len(keys["kubeconfig"]) > 0, "the kubeconfig")
	for _, obj := range []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: names{"gondor", fellowship}.role()}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: names{"gondor", fellowship}.role()}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1beta1.NamespaceFederationSystem, Name: "gondor-fellowship"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1beta1.NamespaceFederationSystem, Name: "gondor-fellowship-token"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1beta1.NamespaceFederationSystem}},
	} {
		clusters.EventuallySeen(r.T, bound, fmt.Sprintf("%T %s there: %v", obj, obj.GetName(), own), func() (bool, string) {
			err := memberServer.Get(r.Context(), client.ObjectKeyFromObject(obj), obj)
			return own && err == nil || !own && apierrors.IsNotFound(err), fmt.Sprint(err)
		})
	}
}

// The federation uses the given credentials themselves: it is Ready with them, there is nothing but its DNS in the member, and they may be dropped where they were given.
func TestWithoutAccount(t *testing.T) {
	asBefore := unchanged(t)
	gondor := newRelease(t, "gondor")
	gondor.values.ServiceAccount.Create = false
	require.NoError(t, gondor.join(), gondor.log.String())
	gondor.usesAccount(false)
	assert.Contains(t, gondor.log.String(), "the federation uses these credentials itself, and they end")

	before := world(t, true)
	require.NoError(t, gondor.join(), gondor.log.String())
	assert.Empty(t, difference(before, world(t, true))[1:], "a second join")
	gondor.values.Credentials.Kubeconfig, gondor.values.Server = "", ""
	require.NoError(t, gondor.join(), gondor.log.String())
	assert.Empty(t, difference(before, world(t, true))[1:], "a join with what the federation keeps")

	gondor.log.Reset()
	require.NoError(t, gondor.unjoin(), gondor.log.String())
	asBefore()
	assert.NotContains(t, gondor.log.String(), "level=WARN")
	require.NoError(t, gondor.unjoin(), "again")
}

// Other credentials take the place of those that the federation keeps.
func TestCredentialsAreReplaced(t *testing.T) {
	asBefore := unchanged(t)
	gondor := newRelease(t, "gondor")
	gondor.values.ServiceAccount.Create = false
	require.NoError(t, gondor.join(), gondor.log.String())
	before := gondor.kept()
	other, err := memberServer.env.AddUser(envtest.User{Name: "denethor", Groups: []string{"system:masters"}}, nil)
	require.NoError(t, err)
	gondor.values.Credentials.Kubeconfig = string(kubeconfig(t, other.Config(), "gondor"))
	require.NoError(t, gondor.join(), gondor.log.String())
	assert.NotEqual(t, before.Data["kubeconfig"], gondor.kept().Data["kubeconfig"])
	assert.Equal(t, gondor.kept().ResourceVersion, clusterOf(t, "gondor").Annotations[v1beta1.AnnotationCredentials], "the controllers hear of it")
	require.NoError(t, gondor.unjoin(), gondor.log.String())
	asBefore()
}

// An upgrade leads from the account to the given credentials and back, and leaves nothing of what was before.
func TestAccountComesAndGoes(t *testing.T) {
	asBefore := unchanged(t)
	gondor := newRelease(t, "gondor")
	given := gondor.values.Credentials.Kubeconfig
	require.NoError(t, gondor.join(), gondor.log.String())
	gondor.usesAccount(true)

	gondor.values.ServiceAccount.Create, gondor.values.Credentials.Kubeconfig = false, ""
	before := world(t, true)
	err := gondor.join()
	require.ErrorContains(t, err, "there is no kubeconfig for cluster gondor: make one with")
	require.ErrorContains(t, err, "it is to use no account of its own any more")
	assert.Equal(t, "\n", difference(before, world(t, true)), "nothing is written")

	gondor.values.Credentials.Kubeconfig = given
	require.NoError(t, gondor.join(), gondor.log.String())
	gondor.usesAccount(false)
	corefile := &corev1.ConfigMap{}
	require.NoError(t, memberServer.Get(t.Context(), client.ObjectKey{Namespace: memberdns.Namespace, Name: memberdns.CoreDNS}, corefile))
	assert.Contains(t, corefile.Data[memberdns.CorefileKey], "federation.internal:53", "its DNS stays")

	gondor.values.ServiceAccount.Create, gondor.values.Credentials.Kubeconfig = true, ""
	require.NoError(t, gondor.join(), "with the kubeconfig that the federation keeps: "+gondor.log.String())
	gondor.usesAccount(true)
	require.NoError(t, gondor.unjoin(), gondor.log.String())
	asBefore()
	assert.NotContains(t, gondor.log.String(), "left behind")
}

// Killed at any write, a join that leads from one to the other converges when it is run again.
func TestAccountComesAndGoesKilled(t *testing.T) {
	for name, create := range map[string]bool{"to the account": true, "to the given credentials": false} {
		t.Run(name, func(t *testing.T) {
			cuts := faults.KillAtEveryWrite(t, func(t *testing.T) faults.Stage {
				asBefore := unchanged(t)
				gondor := newRelease(t, "gondor")
				gondor.values.ServiceAccount.Create = !create
				require.NoError(t, gondor.join(), gondor.log.String())
				gondor.usesAccount(!create)
				gondor.values.ServiceAccount.Create = create
				return faults.Stage{
					Run: func(ctx context.Context, wire *faults.Transport) error { return gondor.hook("join", wire).Join(ctx) },
					Check: func(t *testing.T) {
						require.NoError(t, gondor.join(), gondor.log.String())
						gondor.usesAccount(create)
						require.NoError(t, gondor.unjoin())
						asBefore()
						require.NotContains(t, gondor.log.String(), "left behind")
					},
				}
			})
			t.Logf("%s: %d cuts", name, cuts)
		})
	}
}

// A role of another release that has the name of ours is no concern of a join without an account.
func TestWithoutAccountBesideAnother(t *testing.T) {
	gondor := newRelease(t, "gondor")
	gondor.makeInMember(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: names{"gondor", fellowship}.role()}})
	asBefore := unchanged(t)
	gondor.values.ServiceAccount.Create = false
	require.NoError(t, gondor.join(), gondor.log.String())
	require.NoError(t, memberServer.Get(t.Context(), client.ObjectKey{Name: names{"gondor", fellowship}.role()}, &rbacv1.ClusterRole{}))
	require.NoError(t, gondor.unjoin(), gondor.log.String())
	asBefore()
}

// The rights that the federation needs are asked for as they are for its account.
func TestWithoutAccountAndRights(t *testing.T) {
	frodo, err := memberServer.env.AddUser(envtest.User{Name: "frodo"}, nil)
	require.NoError(t, err)
	gondor := newRelease(t, "gondor")
	gondor.values.ServiceAccount.Create = false
	gondor.values.Credentials.Kubeconfig = string(kubeconfig(t, frodo.Config(), "gondor"))
	before := world(t, true)
	require.ErrorContains(t, gondor.join(), "lack the right to do everything with all resources in the member, which the federation, which is to use them itself, needs")
	assert.Equal(t, "\n", difference(before, world(t, true)), "nothing is written")
}

// A member that is down when it leaves keeps its DNS entries, and is told of nothing else.
func TestWithoutAccountAndMember(t *testing.T) {
	asBefore := unchanged(t)
	gondor := newRelease(t, "gondor")
	gondor.values.ServiceAccount.Create = false
	require.NoError(t, gondor.join(), gondor.log.String())
	gondor.values.Credentials.Kubeconfig, gondor.values.Server = "", "https://127.0.0.1:1"
	gondor.log.Reset()
	require.NoError(t, gondor.unjoin(), gondor.log.String())
	assert.Contains(t, gondor.log.String(), "refuses connections")
	assert.Contains(t, gondor.log.String(), "take the entries of federation fellowship out of the ConfigMap")
	assert.NotContains(t, gondor.log.String(), "kubectl delete clusterrole")
	for _, place := range memberdns.Places {
		require.NoError(t, place.Remove(t.Context(), memberServer.API, fellowship))
	}
	asBefore()
}

// The control plane's teardown lets such a member go with what it keeps, and the uninstall of the member's release finds the rest.
func TestLetGoWithoutAccount(t *testing.T) {
	asBefore := unchanged(t)
	gondor := newRelease(t, "gondor")
	gondor.values.ServiceAccount.Create = false
	require.NoError(t, gondor.join(), gondor.log.String())
	gondor.values.Credentials.Kubeconfig = ""
	gondor.log.Reset()
	require.NoError(t, LetGo(t.Context(), LetGoOptions{
		Host: host.Config, Federation: federationServer.Config, Namespace: rivendell, FederationName: fellowship, Timeout: bound, Log: gondor.hook("unjoin", nil).Log,
	}, clusterOf(t, "gondor")), gondor.log.String())
	require.NoError(t, host.Delete(t.Context(), federationConfigMap(rivendell, fellowship)))
	require.NoError(t, gondor.unjoin(), gondor.log.String())
	assert.NotContains(t, gondor.log.String(), "WARN")
	require.NoError(t, host.Create(t.Context(), federationConfigMap(rivendell, fellowship)))
	asBefore()
}
