package member

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/version"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/kube"
)

// oldestVersion is the oldest Kubernetes that is tested.
var oldestVersion = utilversion.MustParseGeneric("1.30")

// serverVersion asks the member for its version, the first thing asked of it. The error is a sentence that says what keeps us from it.
func serverVersion(ctx context.Context, member *kube.API) (string, error) {
	body, err := member.Raw(ctx, "/version")
	if err != nil {
		return "", err
	}
	var info version.Info
	if err := json.Unmarshal(body, &info); err != nil || info.GitVersion == "" {
		return "", errors.New("what answers there is no Kubernetes API")
	}
	return info.GitVersion, nil
}

// unreachable puts into words why an API cannot be asked, and what to do: the causes look alike in Go's errors, but have different remedies.
func unreachable(err error, a *access) error {
	var (
		dns       *net.DNSError
		network   net.Error
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	server := a.config.Host
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("the host name of the member's API %s does not resolve in the host cluster: give server=https://host:port, the address as the host cluster sees it", server)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("the member's API %s refuses connections: see that it runs and that the host cluster can reach this address, or give another with server=https://host:port", server)
	case errors.As(err, &authority):
		return fmt.Errorf("the member's API %s answers with a certificate of another CA than the one in %s: take the kubeconfig from the cluster anew, or correct its address", server, a.from)
	case errors.As(err, &hostname):
		return fmt.Errorf("the member's API %s answers with a certificate for other names (%w): give as server an address that is in it, or set tls-server-name in the kubeconfig", server, hostname)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the certificate of the member's API %s is not valid now: renew it there, or set the clocks right", server)
	case apierrors.IsUnauthorized(err):
		return refused{fmt.Errorf("the member's API %s refuses the credentials in %s (401 Unauthorized): they may have expired or been revoked, give new ones", server, a.from)}
	case apierrors.IsForbidden(err):
		return fmt.Errorf("the member's API %s does not let the credentials in %s ask for its version (403 Forbidden): %s", server, a.from, grant)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout(),
		errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Errorf("the member's API %s does not answer: see that it runs and that the host cluster can reach this address through networks and firewalls, or give another with server=https://host:port", server)
	}
	return fmt.Errorf("the member's API %s cannot be asked: %w; check the address", server, err)
}

// refused is the error of credentials that the member's API does not (any longer) take.
type refused struct{ error }

// grant is the remedy for credentials without rights.
const grant = "bind whom they are to everything there with `kubectl create clusterrolebinding fedhelm-join --clusterrole=cluster-admin --user=USER` (or --serviceaccount=NAMESPACE:NAME)"

// warnOld tells of a member that is older than what is tested.
func (j *join) warnOld(gitVersion string) {
	if v, err := utilversion.ParseGeneric(gitVersion); err == nil && v.LessThan(oldestVersion) {
		j.Log.Warn("the member's Kubernetes is older than fedhelm is tested with", "version", gitVersion, "oldest", oldestVersion.String())
	}
}

// checkRights sees that the credentials may do everything, since the federation uses them itself, or has an account that is to hold all rights, and Kubernetes lets nobody grant one that he
// does not hold himself: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
func (j *join) checkRights(ctx context.Context) error {
	everything := authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "*", Group: "*", Resource: "*"}}
	paths := authorizationv1.SelfSubjectAccessReviewSpec{NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: "get", Path: "*"}}
	for _, right := range []struct {
		what, rule string
		spec       authorizationv1.SelfSubjectAccessReviewSpec
	}{
		{"do everything with all resources", `{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}`, everything},
		{"get all paths", `{nonResourceURLs: ["*"], verbs: ["get"]}`, paths},
	} {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: right.spec}
		if err := j.member.Create(ctx, review); err != nil {
			return fmt.Errorf("ask the member's API for the rights of the credentials in %s: %w", j.access.from, err)
		}
		if !review.Status.Allowed {
			holder := "the federation's account is to hold"
			if !j.Values.ServiceAccount.Create {
				holder = "the federation, which is to use them itself, needs"
			}
			return fmt.Errorf("the credentials in %s lack the right to %s in the member, which %s (the ClusterRole rule %s): %s",
				j.access.from, right.what, holder, right.rule, grant)
		}
	}
	return nil
}

// checkIdentity sees that the member is not in the federation under another name, and that its name is not another release's. A cluster is told by the UID of its
// namespace kube-system, which lives as long as the cluster does.
func (j *join) checkIdentity(ctx context.Context) error {
	system := &corev1.Namespace{}
	if err := j.member.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, system); err != nil {
		return fmt.Errorf("get the member's namespace kube-system, whose UID tells one cluster from another: %w", err)
	}
	j.uid = string(system.UID)
	for i := range j.clusters {
		other := &j.clusters[i]
		switch {
		case other.Name != j.cluster && ownerOf(other) == j.Release:
			return fmt.Errorf("this release has joined federation %s already, as cluster %s: set clusterName back to that; to give it another name, uninstall the release while it has the old one, and install it anew",
				j.federation, other.Name)
		case other.Name != j.cluster && other.Spec.ClusterUID == j.uid:
			return fmt.Errorf("this cluster is a member of federation %s already, under the name %s: uninstall the release that joined it (%s) first, or correct the credentials of release %s",
				j.federation, other.Name, ownerOf(other), j.Release)
		case other.Name == j.cluster && ownerOf(other) != j.Release:
			return fmt.Errorf("the cluster name %s is taken in federation %s by release %q: choose another with clusterName, or uninstall that release", j.cluster, j.federation, ownerOf(other))
		case other.Name == j.cluster:
			j.before = other
			if other.Spec.ClusterUID != "" && other.Spec.ClusterUID != j.uid {
				j.Log.Warn("another cluster had this name before; what the federation made there stays", "cluster", j.cluster, "server", addressOf(other))
			}
		}
	}
	return nil
}
