package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/memberdns"
	"github.com/fedhelm/fedhelm/pkg/values"
)

// Join makes the cluster a member of its federation and waits until it is Ready there. Running it again repairs what is not as it should be and follows
// changed values. Nothing is written before all checks have passed. Each error is one sentence for the person who must act.
func (h Hook) Join(ctx context.Context) error {
	j := &join{Hook: h, host: h.Host}
	for _, step := range []func(context.Context) error{
		j.checkNames,
		j.findFederation,
		j.findMember,
		j.checkRights,
		j.checkIdentity,
		j.checkClusterDNS,
		j.rehearse,

		j.EnsureRecord,
		j.EnsureOwnAccount,
		j.EnsureCredentials,
		j.EnsureLent,
		j.EnsureCluster,
		j.EnsureOldCredentialsGone,
		j.EnsureReady,
		j.EnsureClusterDNS,
		j.EnsureFollowed,
		j.EnsureUnusedAccountGone,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	h.Log.Info("joined", "cluster", j.cluster, "federation", j.federation)
	return nil
}

// join is what a run of Join finds out on its way.
type join struct {
	Hook
	names
	// The three APIs.
	host, federationAPI, member *kube.API

	facts    memberdns.Facts
	clusters []v1beta1.Cluster
	access   *access
	version  string
	// uid is that of the member's namespace kube-system.
	uid string
	// record is the credentials Secret and before the Cluster that an earlier join made; nil without one.
	record *corev1.Secret
	before *v1beta1.Cluster
	// mode is where the cluster DNS is configured.
	mode v1beta1.ClusterDNSMode

	// owner refers to the ClusterRole, which takes binding, account and token with it when it goes.
	owner []metav1.OwnerReference
	// token is the account's, credentials the resourceVersion of the Secret that keeps it.
	accountToken []byte
	credentials  string
	// generation of the Cluster that is to become Ready.
	generation int64
}

func (j *join) ours() kube.Release { return j.release(j.federation) }

func (j *join) checkNames(context.Context) error {
	j.cluster = j.clusterName()
	if j.Values.Credentials.InCluster && !j.Values.ServiceAccount.Create {
		return errors.New("with serviceAccount.create=false the federation uses the credentials that join the cluster, and those of credentials.inCluster end with the hook: give a kubeconfig, or leave serviceAccount.create true")
	}
	return values.CheckName("cluster", j.cluster)
}

func (j *join) findFederation(ctx context.Context) (err error) {
	if j.facts, err = j.awaitFederation(ctx); err != nil {
		return err
	}
	j.federation = j.facts.Name
	j.federationAPI, j.clusters, err = j.connectFederation(ctx, j.federation, registrarTimeout)
	return err
}

// findMember reaches the member: with the given credentials, or where these are gone or no longer good with what the federation keeps.
func (j *join) findMember(ctx context.Context) error {
	secret := &corev1.Secret{}
	err := j.host.Get(ctx, client.ObjectKey{Namespace: j.Namespace, Name: j.secretName()}, secret)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("get Secret %s/%s, where the federation keeps its credentials: %w", j.Namespace, j.secretName(), err)
	}
	if err == nil && secret.Labels[v1beta1.LabelRelease] == j.Release {
		j.record = secret
	}

	given, err := j.given(ctx)
	if err == nil {
		err = j.reach(ctx, given)
	}
	if err == nil {
		j.tellOfEnd(ctx)
		if given.config.Proxy != nil && j.Values.ServiceAccount.Create {
			j.Log.Warn("the kubeconfig's proxy-url serves joining only; the federation's controllers connect to the member directly", "server", given.server)
		}
		return nil
	}
	var old *access
	if j.record != nil {
		old = kept(j.record, j.Values.Server)
	}
	if old == nil || !replaceable(err) {
		return err
	}
	if !j.Values.ServiceAccount.Create && old.kubeconfig == nil { // its own account, which is to go
		return fmt.Errorf("%w; with serviceAccount.create=false the federation needs it, since it is to use no account of its own any more", err)
	}
	if keptErr := j.reach(ctx, old); keptErr != nil {
		return fmt.Errorf("%w (and with what the federation keeps: %w)", err, keptErr)
	}
	if !errors.Is(err, errNothingGiven) {
		j.Log.Warn("going on with the credentials that the federation keeps", "reason", err.Error())
	}
	j.tellOfEnd(ctx)
	return nil
}

// endsSoon is the time before the end of credentials from which on it is a warning.
const endsSoon = 30 * 24 * time.Hour

// tellOfEnd says when credentials end that the federation is to use itself: nobody renews them.
func (j *join) tellOfEnd(ctx context.Context) {
	end := j.access.end()
	if j.Values.ServiceAccount.Create || end.IsZero() {
		return
	}
	level := slog.LevelInfo
	if time.Until(end) < endsSoon {
		level = slog.LevelWarn
	}
	j.Log.Log(ctx, level, "the federation uses these credentials itself, and they end: give others before, and upgrade the release", "from", j.access.from, "end", end.UTC().Format(time.RFC3339))
}

// replaceable says whether an error of given credentials may be passed over for kept ones: they were dropped after joining, or their time is up. All else
// is bad input that somebody should hear of.
func replaceable(err error) bool {
	return errors.Is(err, errNothingGiven) || errors.As(err, &refused{}) || errors.As(err, &kube.Expired{})
}

// reach makes the member's client and asks for the version.
func (j *join) reach(ctx context.Context, a *access) error {
	member, err := j.connect(a.config)
	if err != nil {
		return err
	}
	version, err := serverVersion(ctx, member)
	if err != nil {
		return unreachable(err, a)
	}
	j.member, j.access, j.version = member, a, version
	j.warnOld(version)
	return nil
}

// rehearse lets the APIs check, without storing them, those objects that take values or names from the user, and the role, for the right to
// grant it: what they refuse is refused before anything is written.
func (j *join) rehearse(ctx context.Context) error {
	type rehearsed struct {
		api *kube.API
		obj client.Object
	}
	all := []rehearsed{
		{j.host, j.credentialsSecret(nil)},
		{j.host, j.lentRole()},
		{j.federationAPI, j.clusterObject(j.clusterDNS())},
	}
	if j.Values.ServiceAccount.Create {
		all = append(all, rehearsed{j.member, j.clusterRole()})
	}
	for _, r := range all {
		err := j.ours().Ensure(ctx, client.NewDryRunClient(r.api.Client), r.obj)
		if apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "dry run") {
			continue // an admission webhook that cannot rehearse
		}
		if errors.Is(err, kube.ErrForeign) && r.api == j.host {
			return fmt.Errorf("%w; if another release has it, such as the one that joins this cluster to another federation, set secretName to a name that no other has", err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// EnsureRecord writes down in the host cluster that a join has begun, before anything is made in the member: without this Secret, unjoin knows that there is nothing
// to take back.
func (j *join) EnsureRecord(ctx context.Context) error {
	if j.record != nil {
		return nil
	}
	return j.ensure(ctx, j.host, j.credentialsSecret(nil))
}

// EnsureOwnAccount makes the account that the federation is in the member, with all it takes; with serviceAccount.create=false it is none.
func (j *join) EnsureOwnAccount(ctx context.Context) error {
	if !j.Values.ServiceAccount.Create {
		return nil
	}
	for _, step := range []func(context.Context) error{
		j.EnsureRole,
		j.EnsureNamespace,
		j.EnsureAccount,
		j.EnsureBinding,
		j.EnsureToken,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// EnsureRole makes the account's role: everything, as in kubefed, since any kind of object may be federated.
func (j *join) EnsureRole(ctx context.Context) error {
	role := j.clusterRole()
	if err := j.ensure(ctx, j.member, role); err != nil {
		return err
	}
	if err := j.member.Get(ctx, client.ObjectKeyFromObject(role), role); err != nil {
		return fmt.Errorf("get the member's ClusterRole %s: %w", role.Name, err)
	}
	j.owner = []metav1.OwnerReference{ownerReference(role)}
	return nil
}

// EnsureNamespace makes the member's namespace federation-system unless it is there, and marks it as made by us. The host cluster's own, where a control
// plane may live, is never marked.
func (j *join) EnsureNamespace(ctx context.Context) error {
	what := "the member's old namespace " + v1beta1.NamespaceFederationSystem + " to be gone"
	return kube.Wait(ctx, pollInterval, namespaceTimeout, what, func(ctx context.Context) (bool, error) {
		namespace := &corev1.Namespace{}
		err := j.member.Get(ctx, client.ObjectKey{Name: v1beta1.NamespaceFederationSystem}, namespace)
		if err == nil {
			return namespace.DeletionTimestamp == nil, nil
		}
		if !apierrors.IsNotFound(err) {
			return false, fmt.Errorf("get the member's namespace %s: %w", v1beta1.NamespaceFederationSystem, err)
		}
		namespace = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name:   v1beta1.NamespaceFederationSystem,
			Labels: map[string]string{v1beta1.LabelManagedBy: v1beta1.ManagedByFedhook},
		}}
		if !j.Values.Credentials.InCluster {
			namespace.Annotations = map[string]string{annotationMadeBy: v1beta1.ManagedByFedhook}
		}
		if err := j.member.Create(ctx, namespace); apierrors.IsAlreadyExists(err) {
			return false, nil
		} else if err != nil {
			return false, kube.Fatal(fmt.Errorf("make the member's namespace %s: %w", v1beta1.NamespaceFederationSystem, err))
		}
		j.Log.Info("ensured", "object", "Namespace "+v1beta1.NamespaceFederationSystem, "in", "member")
		return true, nil
	})
}

// EnsureAccount makes the service account that the federation is in the member.
func (j *join) EnsureAccount(ctx context.Context) error {
	return j.ensure(ctx, j.member, &corev1.ServiceAccount{ObjectMeta: j.inMember(j.account())})
}

// EnsureBinding binds the account to its role.
func (j *join) EnsureBinding(ctx context.Context) error {
	return j.ensure(ctx, j.member, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: j.role(), OwnerReferences: j.owner},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: j.role()},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: v1beta1.NamespaceFederationSystem, Name: j.account()}},
	})
}

// EnsureToken makes a token for the account and sees that the member takes it. Since Kubernetes 1.24 no token appears by itself, and one in a Secret is the only
// kind without an end: https://kubernetes.io/docs/concepts/configuration/secret/#serviceaccount-token-secrets. A token that the member does not take, because the account or
// the member's signing key is another by now, is made anew; kubefed kept it.
func (j *join) EnsureToken(ctx context.Context) error {
	secret := &corev1.Secret{ObjectMeta: j.inMember(j.names.token()), Type: corev1.SecretTypeServiceAccountToken}
	secret.Annotations = map[string]string{corev1.ServiceAccountNameKey: j.account()}
	old := &corev1.Secret{}
	err := j.member.Get(ctx, client.ObjectKeyFromObject(secret), old)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("get Secret %s/%s in the member: %w", secret.Namespace, secret.Name, err)
	}
	if err == nil && len(old.Data[corev1.ServiceAccountTokenKey]) > 0 && !j.takes(ctx, old) {
		if _, err := j.ours().Delete(ctx, j.member, old); err != nil {
			return fmt.Errorf("replace a token that the member no longer takes: %w", err)
		}
		j.Log.Info("deleted a token that the member does not take", "object", "Secret "+secret.Namespace+"/"+secret.Name, "in", "member")
	}
	if err := j.ensure(ctx, j.member, secret); err != nil {
		return err
	}
	what := fmt.Sprintf("the member's token controller to fill Secret %s/%s (kube-controller-manager does that: see that it runs there)", secret.Namespace, secret.Name)
	return kube.Wait(ctx, pollInterval, tokenTimeout, what, func(ctx context.Context) (bool, error) {
		current := &corev1.Secret{}
		err := j.member.Get(ctx, client.ObjectKeyFromObject(secret), current)
		if apierrors.IsNotFound(err) { // the token controller deletes what belongs to an account that is no more
			if err := j.EnsureAccount(ctx); err != nil {
				return false, err
			}
			return false, j.ours().Ensure(ctx, j.member, secret)
		}
		if err != nil {
			return false, err
		}
		if !j.takes(ctx, current) {
			return false, nil
		}
		j.accountToken = current.Data[corev1.ServiceAccountTokenKey]
		return true, nil
	})
}

// takes says whether the member takes the token in a Secret. Trouble on the way says nothing against a token that is there.
func (j *join) takes(ctx context.Context, secret *corev1.Secret) bool {
	token := secret.Data[corev1.ServiceAccountTokenKey]
	if len(token) == 0 {
		return false
	}
	config := *j.member.Config
	config.TLSClientConfig.CertData, config.TLSClientConfig.KeyData = nil, nil
	config.TLSClientConfig.CertFile, config.TLSClientConfig.KeyFile = "", ""
	config.Username, config.Password, config.BearerTokenFile = "", "", ""
	config.Impersonate.UserName, config.Impersonate.Groups = "", nil
	config.BearerToken = string(token)
	api, err := kube.Connect(&config)
	if err == nil {
		_, err = api.Raw(ctx, "/version")
	}
	return !apierrors.IsUnauthorized(err)
}

// EnsureCredentials keeps the account's token and the member's CA, or the given credentials, in the host cluster, for the federation's controllers.
func (j *join) EnsureCredentials(ctx context.Context) error {
	secret := j.credentialsSecret(j.accountToken)
	if err := j.ensure(ctx, j.host, secret); err != nil {
		return err
	}
	current := &corev1.Secret{}
	if err := j.host.Get(ctx, client.ObjectKeyFromObject(secret), current); err != nil {
		return fmt.Errorf("get Secret %s/%s: %w", secret.Namespace, secret.Name, err)
	}
	j.credentials = current.ResourceVersion
	return nil
}

// EnsureLent lets the federation's controllers, and its teardown, read this one Secret.
func (j *join) EnsureLent(ctx context.Context) error {
	role := j.lentRole()
	if err := j.ensure(ctx, j.host, role); err != nil {
		return err
	}
	return j.ensure(ctx, j.host, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: j.Namespace, Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects: []rbacv1.Subject{
			{Kind: rbacv1.ServiceAccountKind, Namespace: j.Namespace, Name: j.federation + "-controller-manager"},
			{Kind: rbacv1.ServiceAccountKind, Namespace: j.Namespace, Name: j.federation + "-teardown"},
		},
	})
}

// EnsureCluster tells the federation of the member, but nothing new of its DNS: its controllers leave that alone until EnsureFollowed.
func (j *join) EnsureCluster(ctx context.Context) error {
	cluster := j.clusterObject(nil)
	if j.followed() {
		cluster = j.clusterObject(j.clusterDNS())
	}
	if err := j.ensure(ctx, j.federationAPI, cluster); err != nil {
		return err
	}
	current := &v1beta1.Cluster{}
	if err := j.federationAPI.Get(ctx, client.ObjectKeyFromObject(cluster), current); err != nil {
		return fmt.Errorf("get Cluster %s of federation %s: %w", cluster.Name, j.federation, err)
	}
	j.generation = current.Generation
	return nil
}

// EnsureOldCredentialsGone removes what an earlier join made under another secretName.
func (j *join) EnsureOldCredentialsGone(ctx context.Context) error {
	if j.before == nil || j.before.Spec.SecretRef.Name == j.secretName() {
		return nil
	}
	old := j.before.Spec.SecretRef.Name
	for _, obj := range lent(j.Namespace, old) {
		if _, err := j.ours().Delete(ctx, j.host, obj); err != nil {
			j.Log.Warn(fmt.Sprintf("what another secretName made is left behind: delete it with `kubectl -n %s delete secret,role,rolebinding %s`", j.Namespace, old), "reason", err.Error())
			return nil
		}
	}
	return nil
}

// EnsureReady waits until the federation's controllers find the member Ready.
func (j *join) EnsureReady(ctx context.Context) error {
	if j.Values.Join.ReadyTimeoutSeconds == 0 {
		return nil
	}
	what := fmt.Sprintf("cluster %s to be Ready in federation %s", j.cluster, j.federation)
	return kube.Wait(ctx, pollInterval, seconds(j.Values.Join.ReadyTimeoutSeconds), what, func(ctx context.Context) (bool, error) {
		cluster, err := j.readCluster(ctx)
		if err != nil {
			return false, err
		}
		return readiness(cluster, j.generation)
	})
}

// EnsureUnusedAccountGone removes, with serviceAccount.create=false, the account that an earlier join made. It comes last, when the federation's controllers have heard of the other credentials.
func (j *join) EnsureUnusedAccountGone(ctx context.Context) error {
	if j.Values.ServiceAccount.Create {
		return nil
	}
	l := &leaving{Log: j.Log, names: j.names, releaseName: j.Release, member: j.member}
	l.EnsureAccountGone(ctx)
	return errors.Join(l.left...)
}

// ensure ensures an object and tells of it.
func (j *join) ensure(ctx context.Context, api *kube.API, obj client.Object) error {
	where := map[*kube.API]string{j.host: "host cluster", j.federationAPI: "federation", j.member: "member"}[api]
	if err := j.ours().Ensure(ctx, api.Client, obj); err != nil {
		return fmt.Errorf("in the %s: %w", where, err)
	}
	j.Log.Info("ensured", "object", kube.Describe(api.Client, obj), "in", where)
	return nil
}
