package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/memberdns"
)

// Unjoin lets the cluster go: it takes back in the federation, the member and the host cluster what Join made there. It is best effort: what is gone already is well,
// what cannot be taken back is a warning that says what was left where and how to remove it by hand, and the rest goes on. With unjoin.strict
// anything left behind is an error in the end, and the host cluster keeps the credentials for the next try. Killed half-way, it is run again.
func (h Hook) Unjoin(ctx context.Context) error {
	l := &leaving{
		Log: h.Log, connect: h.connect, namespace: h.Namespace, credentials: h.secretName(), releaseName: h.Release,
		names: names{cluster: h.clusterName()}, withoutAccount: !h.Values.ServiceAccount.Create, policy: v1beta1.UnjoinPolicy(h.Values.Unjoin.Policy), timeout: withinDeadline(ctx, seconds(h.Values.Unjoin.TimeoutSeconds)),
	}
	u := &unjoin{Hook: h, leaving: l, host: h.Host, began: time.Now()}
	for _, step := range []func(context.Context){
		u.EnsureFailedJoinGone,
		u.findRecord,
		u.findFederation,
		u.findCluster,
		l.EnsureClusterGone,
		u.findMember,
		l.EnsureFederatedObjectsGone,
		l.EnsureClusterDNSGone,
		u.EnsureJoinRoleGone,
		u.noteLeft,
		l.EnsureAccountGone,
		u.EnsureCredentialsGone,
	} {
		step(ctx)
		if errors.Is(context.Cause(ctx), context.Canceled) {
			return fmt.Errorf("interrupted while letting cluster %s go: run this again", l.cluster)
		}
		if u.done {
			break
		}
	}
	return u.end()
}

// withinDeadline bounds a wait, of which there may be three in a run, so that time is left for the host cluster's side.
func withinDeadline(ctx context.Context, timeout time.Duration) time.Duration {
	deadline, bounded := ctx.Deadline()
	if !bounded {
		return timeout
	}
	return max(time.Second, min(timeout, (time.Until(deadline)-forbiddenTimeout)/3))
}

// LetGoOptions says whose Clusters are let go, and with what.
type LetGoOptions struct {
	// Host is the host cluster's API, Federation the federation's with the right to keep Clusters.
	Host, Federation *rest.Config
	// Namespace of the control plane in the host cluster, FederationName the federation's.
	Namespace, FederationName string
	// Timeout bounds the wait for a member that does not answer, and for the Cluster to be gone.
	Timeout time.Duration
	Log     *slog.Logger
}

// LetGo lets a member go without its release, on behalf of the control plane's teardown: its Cluster, its DNS, its account and role, and, as the Cluster's
// unjoinPolicy says, what the federation placed there. The credentials Secret in the host cluster stays for the uninstall of the member's own release. Each thing
// left behind is one sentence of the error.
func LetGo(ctx context.Context, o LetGoOptions, cluster *v1beta1.Cluster) error {
	l := &leaving{
		Log: o.Log, connect: Hook{}.connect, namespace: o.Namespace, credentials: cluster.Spec.SecretRef.Name, releaseName: ownerOf(cluster),
		names: names{cluster: cluster.Name, federation: o.FederationName}, policy: cluster.Spec.UnjoinPolicy, timeout: o.Timeout, object: cluster,
	}
	host, err := l.connect(o.Host)
	if err != nil {
		return err
	}
	if l.federationAPI, err = l.connect(o.Federation); err != nil {
		return err
	}
	record := &corev1.Secret{}
	if err := host.Get(ctx, client.ObjectKey{Namespace: o.Namespace, Name: l.credentials}, record); err != nil && !apierrors.IsNotFound(err) {
		l.leave(fmt.Errorf("get Secret %s/%s with the credentials of cluster %s: %w", o.Namespace, l.credentials, l.cluster, err))
	}
	l.withoutAccount = usesGiven(record)
	l.EnsureClusterGone(ctx)
	l.reachMember(ctx, kept(record, addressOf(cluster)))
	l.EnsureFederatedObjectsGone(ctx)
	l.EnsureClusterDNSGone(ctx)
	l.EnsureAccountGone(ctx)
	return errors.Join(l.left...)
}

// leaving is a cluster on its way out, by its own release's uninstall or by its control plane's.
type leaving struct {
	Log *slog.Logger
	names
	namespace, credentials, releaseName string
	// withoutAccount says that the federation has no account of its own in the member, but uses given credentials.
	withoutAccount bool
	policy         v1beta1.UnjoinPolicy
	timeout        time.Duration

	connect func(*rest.Config) (*kube.API, error)

	// federationAPI and member are nil where they cannot be asked.
	federationAPI, member *kube.API
	// object is the Cluster, nil where it is gone.
	object *v1beta1.Cluster
	// left is what was left behind, a sentence each.
	left []error
}

func (l *leaving) ours() kube.Release {
	return kube.Release{Name: l.releaseName, Federation: l.federation}
}

// leave notes what is left behind.
func (l *leaving) leave(err error) {
	l.left = append(l.left, err)
	l.Log.Warn(err.Error())
}

// EnsureClusterGone deletes the Cluster, on which the policy is written first, for the controllers to act by, and waits until they let it go.
func (l *leaving) EnsureClusterGone(ctx context.Context) {
	if l.federationAPI == nil || l.object == nil {
		return
	}
	byHand := fmt.Sprintf("delete it with `kubectl --context=%s delete cluster %s`", l.federation, l.cluster)
	if err := l.deleteCluster(ctx); err != nil {
		l.leave(fmt.Errorf("cluster %s is left in federation %s (%w): %s", l.cluster, l.federation, err, byHand))
		return
	}
	what := fmt.Sprintf("Cluster %s of federation %s to be gone", l.cluster, l.federation)
	err := kube.Wait(ctx, pollInterval, l.timeout, what, func(ctx context.Context) (bool, error) {
		current := &v1beta1.Cluster{}
		err := l.federationAPI.Get(ctx, client.ObjectKeyFromObject(l.object), current)
		if apierrors.IsNotFound(err) || err == nil && current.UID != l.object.UID {
			return true, nil
		}
		if err == nil {
			l.object = current // as it is now, with the finalizers that hold it; not what a failed request leaves
		}
		return false, err
	})
	if err != nil {
		l.Log.Warn("the federation's controllers have not let the cluster go; going on without them", "reason", err.Error())
		return
	}
	l.object = nil
	l.Log.Info("deleted", "object", "Cluster "+l.cluster, "in", "federation")
}

func (l *leaving) deleteCluster(ctx context.Context) error {
	if l.object.Spec.UnjoinPolicy != l.policy && l.object.DeletionTimestamp == nil {
		patch := fmt.Sprintf(`{"spec":{"unjoinPolicy":%q}}`, l.policy)
		err := l.federationAPI.Patch(ctx, l.object, client.RawPatch("application/merge-patch+json", []byte(patch)), client.FieldOwner(kube.FieldManager))
		if client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	uid := l.object.UID
	return client.IgnoreNotFound(l.federationAPI.Delete(ctx, l.object, client.Preconditions{UID: &uid}))
}

// reachMember takes the first access by which the member answers. A member that does not answer is waited for; one that refuses the credentials is not.
func (l *leaving) reachMember(ctx context.Context, candidates ...*access) {
	var last error
	for _, a := range candidates {
		if a == nil {
			continue
		}
		member, err := l.connect(a.config)
		if err != nil {
			last = err
			continue
		}
		timeout := l.timeout
		if last != nil && !errors.As(last, &refused{}) {
			timeout = 0 // it has been waited for
		}
		last = l.answers(ctx, member, a, timeout)
		if last == nil {
			l.member = member
			return
		}
	}
	if last == nil {
		last = errors.New("there are no credentials for it that are good")
	}
	l.leaveMember(last)
}

func (l *leaving) answers(ctx context.Context, member *kube.API, a *access, timeout time.Duration) error {
	var last error
	_ = kube.Wait(ctx, time.Second, max(timeout, time.Millisecond), "the member to answer", func(ctx context.Context) (bool, error) {
		_, err := serverVersion(ctx, member)
		if err == nil {
			last = nil
			return true, nil
		}
		if ctx.Err() != nil && last != nil {
			return false, nil //nolint:nilerr // cut off by the end of the wait, it says nothing
		}
		last = unreachable(err, a)
		if errors.As(last, &refused{}) {
			return false, kube.Fatal(last)
		}
		return false, nil
	})
	return last
}

// leaveMember tells what stays in a member that cannot be reached.
func (l *leaving) leaveMember(why error) {
	policy := ""
	if l.policy == v1beta1.UnjoinPolicyDelete {
		policy = fmt.Sprintf(", and the objects labelled %s=%s", v1beta1.LabelFederated, l.federation)
	}
	account := fmt.Sprintf("`kubectl delete clusterrole %s`, which takes account, token and binding with it, `kubectl delete namespace %s` if nothing else is there, and ",
		l.role(), v1beta1.NamespaceFederationSystem)
	if l.withoutAccount {
		account = "take "
	}
	l.leave(fmt.Errorf("what the federation made in member %s is left there, because %w; by hand, with the member's own kubeconfig: "+
		"%sthe entries of federation %s out of the ConfigMap kube-dns, coredns-custom or coredns in kube-system%s",
		l.cluster, why, account, l.federation, policy))
}

// EnsureClusterDNSGone takes the federation's text out of wherever a join may have put it.
func (l *leaving) EnsureClusterDNSGone(ctx context.Context) {
	if l.member == nil {
		return
	}
	for i := range memberdns.Places {
		place := &memberdns.Places[i]
		if err := place.Remove(ctx, l.member, l.federation); err != nil {
			l.leave(fmt.Errorf("the entries of federation %s are left in the DNS of member %s (%w): take them out with `kubectl -n %s edit configmap %s` there", l.federation, l.cluster, err, memberdns.Namespace, place.ConfigMap))
		}
	}
}

// EnsureAccountGone deletes the ClusterRole, which owns binding, account and token, so that the member removes them: all in one write, since the account that does this
// loses its rights with it. A namespace that we made and nobody else uses is given to the ClusterRole before. A ClusterRole of somebody else's has nothing of ours with it.
func (l *leaving) EnsureAccountGone(ctx context.Context) {
	if l.member == nil {
		return
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: l.role()}}
	found, err := l.ours().Get(ctx, l.member, role)
	if errors.Is(err, kube.ErrForeign) || err == nil && !found {
		return
	}
	if err == nil {
		l.giveNamespace(ctx, role)
		_, err = l.ours().Delete(ctx, l.member, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: l.role()}})
	}
	if err != nil {
		l.leave(fmt.Errorf("the account of the federation is left in member %s (%w): delete it with `kubectl delete clusterrole %s` there", l.cluster, err, l.role()))
		return
	}
	l.Log.Info("deleted, with binding, account and token", "object", "ClusterRole "+l.role(), "in", "member")
}

// giveNamespace makes the member's namespace go with the ClusterRole, if we made it and nobody else uses it. Where others do, it takes back what a run that was killed may have given.
func (l *leaving) giveNamespace(ctx context.Context, role *rbacv1.ClusterRole) {
	namespace := &corev1.Namespace{}
	err := l.member.Get(ctx, client.ObjectKey{Name: v1beta1.NamespaceFederationSystem}, namespace)
	if apierrors.IsNotFound(err) || err == nil && (namespace.Annotations[annotationMadeBy] == "" || namespace.DeletionTimestamp != nil) {
		return
	}
	var others []string
	if err == nil {
		others, err = othersIn(ctx, l.member, namespace.Name, role.UID)
	}
	before := namespace.DeepCopy()
	switch {
	case err != nil:
	case len(others) == 0:
		namespace.OwnerReferences = []metav1.OwnerReference{ownerReference(role)}
	default:
		l.Log.Info("the member's namespace stays, others use it", "namespace", namespace.Name, "objects", strings.Join(others, ", "))
		namespace.OwnerReferences = slices.DeleteFunc(namespace.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == role.UID })
	}
	if err == nil && !equality.Semantic.DeepEqual(before.OwnerReferences, namespace.OwnerReferences) {
		err = l.member.Patch(ctx, namespace, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), client.FieldOwner(kube.FieldManager))
	}
	if err != nil {
		l.leave(fmt.Errorf("namespace %s is left in member %s (%w): if nothing else is in it, delete it with `kubectl delete namespace %s` there", v1beta1.NamespaceFederationSystem, l.cluster, err, v1beta1.NamespaceFederationSystem))
	}
}

// unjoin is a cluster that leaves because its release is uninstalled.
type unjoin struct {
	Hook
	*leaving
	host   *kube.API
	record *corev1.Secret
	given  *access
	// began is when the hook began: Forbidden is retried for a while from then.
	began            time.Time
	controlPlaneGone bool
	// leftElsewhere counts what is left behind outside the member.
	leftElsewhere int
	// done says that there is nothing to take back.
	done bool
}

// onHost calls the host cluster's API, which may not have heard of the hook's role yet.
func (u *unjoin) onHost(ctx context.Context, call func(context.Context) error) error {
	return kube.RetryTransient(ctx, max(forbiddenTimeout-time.Since(u.began), time.Millisecond), call)
}

// findRecord reads the credentials Secret, without which a join has made nothing. Another release's counts for none.
func (u *unjoin) findRecord(ctx context.Context) {
	secret := &corev1.Secret{}
	err := u.onHost(ctx, func(ctx context.Context) error {
		return u.host.Get(ctx, client.ObjectKey{Namespace: u.Namespace, Name: u.credentials}, secret)
	})
	switch {
	case err == nil && secret.Labels[v1beta1.LabelRelease] == u.Release:
		u.record, u.withoutAccount = secret, usesGiven(secret)
	case client.IgnoreNotFound(err) != nil:
		u.leave(fmt.Errorf("get Secret %s/%s with the credentials of cluster %s: %w", u.Namespace, u.credentials, u.cluster, err))
	}
}

// findFederation takes the federation's name from the credentials Secret, since its control plane may be gone, and else as Join does; and its API while there is one.
func (u *unjoin) findFederation(ctx context.Context) {
	if u.record != nil {
		u.federation = u.record.Labels[v1beta1.LabelFederation]
		u.Values.Federation = u.federation
	}
	var facts memberdns.Facts
	err := u.onHost(ctx, func(ctx context.Context) (err error) {
		facts, err = u.Hook.findFederation(ctx)
		return err
	})
	if u.federation == "" {
		u.federation = facts.Name
	}
	if u.federation == "" {
		u.federation = u.Values.Federation
	}
	switch {
	case u.federation == "":
		u.leaving.Log.Info("nothing to take back, this release has not joined a federation", "reason", err.Error())
		u.done = true
		return
	case errors.Is(err, errNoFederation):
		u.leaving.Log.Info("the control plane is gone, and its Clusters with it", "federation", u.federation)
		u.controlPlaneGone = true
		return
	}
	if err == nil {
		var clusters []v1beta1.Cluster
		if u.federationAPI, clusters, err = u.connectFederation(ctx, u.federation, min(u.timeout, 30*time.Second)); err == nil {
			for i := range clusters {
				switch cluster := &clusters[i]; {
				case ownerOf(cluster) != u.Release:
				case cluster.Name == u.cluster:
					u.object = cluster
				default:
					u.leave(fmt.Errorf("this release has joined federation %s as cluster %s, which its values no longer name (clusterName): Cluster %s, its account and its DNS in the member, and its credentials are left; to let them go, install this release with clusterName=%s again, and uninstall that",
						u.federation, cluster.Name, cluster.Name, cluster.Name))
				}
			}
			return
		}
	}
	u.federationAPI = nil
	if u.record != nil {
		u.leave(fmt.Errorf("Cluster %s is left in federation %s (%w): delete it when the API is back, with `kubectl --context=%s delete cluster %s`", u.cluster, u.federation, err, u.federation, u.cluster))
	}
}

// findCluster ends a run that has nothing to take back.
func (u *unjoin) findCluster(ctx context.Context) {
	err := u.onHost(ctx, func(ctx context.Context) (err error) {
		u.given, err = u.Hook.given(ctx)
		return err
	})
	if err != nil && !errors.Is(err, errNothingGiven) {
		u.leaving.Log.Info("the given credentials are of no use", "reason", err.Error())
	}
	if u.record != nil || u.object != nil || u.roleIsOurs(ctx) {
		return
	}
	u.leaving.Log.Info("nothing to take back, this release has not joined its cluster", "cluster", u.cluster, "federation", u.federation)
	u.done = true
}

// roleIsOurs says whether the given credentials find a role of ours in the member, though the host cluster's record is gone.
func (u *unjoin) roleIsOurs(ctx context.Context) bool {
	if u.given == nil {
		return false
	}
	member, err := u.Hook.connect(u.given.config)
	if err != nil {
		return false
	}
	role := &rbacv1.ClusterRole{}
	err = member.Get(ctx, client.ObjectKey{Name: u.role()}, role)
	return err == nil && role.Labels[v1beta1.LabelRelease] == u.Release
}

// findMember reaches the member, with what the federation keeps or else with the given credentials.
func (u *unjoin) findMember(ctx context.Context) {
	var old *access
	if u.record != nil {
		old = kept(u.record, u.Values.Server)
	}
	if old == nil && u.given == nil && u.record != nil && len(u.record.Data[v1beta1.SecretKeyToken]) == 0 && !usesGiven(u.record) {
		u.leaveMember(errors.New("the join was broken off before the federation had credentials, and those given are gone"))
		return
	}
	if old != nil && u.leftBefore(ctx, old) {
		u.leaving.Log.Info("the member no longer takes the federation's credentials: an earlier unjoin, or the control plane's teardown, has come to the end there", "cluster", u.cluster)
		return
	}
	u.leftElsewhere = len(u.left)
	u.reachMember(ctx, old, u.given)
}

// leftBefore says whether the member has let the federation go already: unjoin was there before, as the record says, or the control plane that is gone was; and the
// member knows the account or its role no more. Without an account of its own, that says nothing about what the control plane did.
func (u *unjoin) leftBefore(ctx context.Context, old *access) bool {
	if u.record.Annotations[annotationState] != stateLeft && (!u.controlPlaneGone || u.withoutAccount) {
		return false
	}
	member, err := u.Hook.connect(old.config)
	if err != nil {
		return false
	}
	err = member.Get(ctx, client.ObjectKey{Name: u.role()}, &rbacv1.ClusterRole{})
	return apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) || apierrors.IsNotFound(err)
}

// usesGiven says whether the federation uses given credentials, by what it keeps in a credentials Secret.
func usesGiven(record *corev1.Secret) bool { return len(record.Data[v1beta1.SecretKeyKubeconfig]) > 0 }

// noteLeft writes down that only the account is left in the member, before that goes: with it go the rights to look again.
func (u *unjoin) noteLeft(ctx context.Context) {
	if u.member == nil || u.record == nil || u.record.Annotations[annotationState] == stateLeft || len(u.left) > u.leftElsewhere {
		return
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, annotationState, stateLeft)
	if err := u.host.Patch(ctx, u.record, client.RawPatch("application/merge-patch+json", []byte(patch)), client.FieldOwner(kube.FieldManager)); err != nil {
		u.leaving.Log.Info("could not note in the credentials Secret how far this has come", "reason", err.Error())
	}
}

// EnsureFailedJoinGone deletes what is left of a join that failed, or was killed with Helm.
func (u *unjoin) EnsureFailedJoinGone(ctx context.Context) {
	err := u.onHost(ctx, func(ctx context.Context) error {
		return kube.DeleteHooks(ctx, u.host, u.Namespace, u.Release, u.Release+"-join")
	})
	if err != nil {
		u.leave(err)
	}
}

// EnsureJoinRoleGone deletes the role in the whole cluster that a killed join of the host cluster itself may have left. Only the federation's account may do that.
func (u *unjoin) EnsureJoinRoleGone(ctx context.Context) {
	if !u.Values.Credentials.InCluster || u.leaving.member == nil {
		return
	}
	if err := kube.DeleteClusterHook(ctx, u.leaving.member, u.Release, u.Namespace+"-"+u.Release+"-join"); err != nil {
		u.leave(err)
	}
}

// EnsureCredentialsGone deletes in the host cluster the credentials Secret and what lent it to the federation. A strict run that left something in the member keeps them for
// the next try.
func (u *unjoin) EnsureCredentialsGone(ctx context.Context) {
	if u.Values.Unjoin.Strict && len(u.left) > 0 {
		return
	}
	for _, obj := range lent(u.Namespace, u.credentials) {
		var deleted bool
		err := u.onHost(ctx, func(ctx context.Context) (err error) {
			deleted, err = u.ours().Delete(ctx, u.host, obj)
			return err
		})
		name := kube.Describe(u.host, obj)
		if err != nil {
			kind, _, _ := strings.Cut(name, " ")
			u.leave(fmt.Errorf("%s is left in the host cluster (%w): delete it with `kubectl -n %s delete %s %s`", name, err, u.Namespace, strings.ToLower(kind), u.credentials))
		} else if deleted {
			u.leaving.Log.Info("deleted", "object", name, "in", "host cluster")
		}
	}
}

func (u *unjoin) end() error {
	switch {
	case len(u.left) == 0 && u.done:
		return nil
	case len(u.left) == 0:
		u.leaving.Log.Info("let go", "cluster", u.cluster, "federation", u.federation)
		return nil
	case u.Values.Unjoin.Strict:
		return fmt.Errorf("cluster %s is not let go, and unjoin.strict is set: %w", u.cluster, errors.Join(u.left...))
	}
	u.leaving.Log.Warn("let go, but something is left behind: see the warnings above", "cluster", u.cluster, "federation", u.federation, "left", len(u.left))
	return nil
}
