package member

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/kube"
)

// EnsureFederatedObjectsGone removes from the member, under policy Delete, what the federation placed there. The federation's controllers do so before they let
// the Cluster go; it is done here for when they are gone, and finds nothing otherwise. Then it frees a Cluster for whose controllers it has waited in vain.
func (l *leaving) EnsureFederatedObjectsGone(ctx context.Context) {
	if l.member == nil {
		return
	}
	if l.policy == v1beta1.UnjoinPolicyDelete {
		selector := v1beta1.LabelFederated + "=" + l.federation
		deleted, err := deleteLabelled(ctx, l.member, selector)
		if err != nil {
			l.leave(fmt.Errorf("objects of the federation are left in member %s (%w): find them there with `kubectl get $(kubectl api-resources --verbs=delete -o name | paste -sd,) -A -l %s` and delete them", l.cluster, err, selector))
			return
		}
		l.Log.Info("deleted the federation's objects", "count", deleted, "in", "member")
	}
	l.freeCluster(ctx)
}

// freeCluster takes the controllers' finalizers off a Cluster, after their work is done.
func (l *leaving) freeCluster(ctx context.Context) {
	if l.federationAPI == nil || l.object == nil || l.object.DeletionTimestamp == nil {
		return
	}
	before := l.object.DeepCopy()
	l.object.Finalizers = slices.DeleteFunc(l.object.Finalizers, func(f string) bool {
		return strings.HasPrefix(f, v1beta1.GroupVersion.Group+"/")
	})
	err := l.federationAPI.Patch(ctx, l.object, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil || len(l.object.Finalizers) > 0 {
		if err == nil {
			err = errors.New("they are not ours")
		}
		l.leave(fmt.Errorf("cluster %s is left in federation %s, held by its finalizers %v (%w): see what holds it with `kubectl --context=%s get cluster %s -o yaml`", l.cluster, l.federation, l.object.Finalizers, err, l.federation, l.cluster))
	}
}

// kind is a resource that an API serves.
type kind struct {
	schema.GroupVersionResource
	namespaced bool
}

// kinds gives all that can be listed and deleted. Groups whose server does not answer are an error, since nobody knows what is there.
func kindsOf(a *kube.API) ([]kind, error) {
	d, err := discovery.NewDiscoveryClientForConfig(a.Config)
	if err != nil {
		return nil, err
	}
	lists, err := d.ServerPreferredResources()
	if err != nil {
		return nil, fmt.Errorf("ask what the API serves: %w", err)
	}
	var all []kind
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "delete"}}, lists) {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, resource := range list.APIResources {
			all = append(all, kind{gv.WithResource(resource.Name), resource.Namespaced})
		}
	}
	return all, nil
}

func metadataOf(a *kube.API) (metadata.Interface, error) {
	return metadata.NewForConfig(a.Config)
}

// deleteLabelled deletes every object with a label, whatever its kind, and gives their number.
func deleteLabelled(ctx context.Context, a *kube.API, selector string) (int, error) {
	kinds, err := kindsOf(a)
	if err != nil {
		return 0, err
	}
	c, err := metadataOf(a)
	if err != nil {
		return 0, err
	}
	deleted, background := 0, metav1.DeletePropagationBackground
	for _, k := range kinds {
		list, err := c.Resource(k.GroupVersionResource).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsMethodNotSupported(err) {
			return deleted, fmt.Errorf("list %s: %w", k.GroupResource(), err)
		}
		if err != nil {
			continue
		}
		for _, item := range list.Items {
			err := c.Resource(k.GroupVersionResource).Namespace(item.Namespace).Delete(ctx, item.Name, metav1.DeleteOptions{
				PropagationPolicy: &background, Preconditions: metav1.NewUIDPreconditions(string(item.UID)),
			})
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				return deleted, fmt.Errorf("delete %s %s/%s: %w", k.GroupResource(), item.Namespace, item.Name, err)
			}
			deleted++
		}
	}
	return deleted, nil
}

// ownObjects are what Kubernetes puts into every namespace by itself.
var ownObjects = map[schema.GroupResource][]string{
	corev1.Resource("serviceaccounts"): {"default"},
	corev1.Resource("configmaps"):      {"kube-root-ca.crt", "openshift-service-ca.crt"},
}

// othersIn gives some objects in a namespace that neither Kubernetes put there nor the owner owns. What is on its way out, by somebody's deletion or as orphaned, is none.
func othersIn(ctx context.Context, a *kube.API, namespace string, owner types.UID) ([]string, error) {
	kinds, err := kindsOf(a)
	if err != nil {
		return nil, err
	}
	c, err := metadataOf(a)
	if err != nil {
		return nil, err
	}
	var others []string
	for _, k := range kinds {
		if !k.namespaced || k.Resource == "events" {
			continue
		}
		list, err := c.Resource(k.GroupVersionResource).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s in namespace %s: %w", k.GroupResource(), namespace, err)
		}
		for _, item := range list.Items {
			owned := slices.ContainsFunc(item.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == owner })
			if owned || item.DeletionTimestamp != nil || slices.Contains(ownObjects[k.GroupResource()], item.Name) {
				continue
			}
			gone, err := orphaned(ctx, c, &item)
			if err != nil {
				return nil, err
			}
			if !gone {
				others = append(others, k.Resource+"/"+item.Name)
			}
		}
		if len(others) > 0 {
			return others, nil
		}
	}
	return nil, nil
}

// orphaned says whether an object was a ClusterRole's that is gone, as an account is whose federation has just let the cluster go: the garbage collector is about to take it.
func orphaned(ctx context.Context, c metadata.Interface, item *metav1.PartialObjectMetadata) (bool, error) {
	for _, owner := range item.OwnerReferences {
		if owner.APIVersion != rbacv1.SchemeGroupVersion.String() || owner.Kind != "ClusterRole" {
			return false, nil
		}
		role, err := c.Resource(rbacv1.SchemeGroupVersion.WithResource("clusterroles")).Get(ctx, owner.Name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return false, fmt.Errorf("get the member's ClusterRole %s: %w", owner.Name, err)
		}
		if err == nil && role.UID == owner.UID {
			return false, nil
		}
	}
	return len(item.OwnerReferences) > 0, nil
}
