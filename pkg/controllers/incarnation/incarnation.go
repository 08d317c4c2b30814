// Package incarnation tells what a federation's API has now from what it had before it lost its data: etcd without a volume, a claim made again. A new
// kube-apiserver makes a new namespace kube-system with another UID, which tells.
package incarnation

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// checkPeriod bounds how long the program works on data that are gone, firstCheckPeriod how long until it knows which data those are.
	checkPeriod      = 30 * time.Second
	firstCheckPeriod = time.Second
	// lookTimeout bounds one look.
	lookTimeout = 10 * time.Second
)

// Of asks the API which incarnation it is: its kube-system's UID. reader must not be a cache.
func Of(ctx context.Context, reader client.Reader) (types.UID, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := reader.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, namespace)
	return namespace.UID, err
}

// Await asks until it is told, or until ctx ends: then it is empty.
func Await(ctx context.Context, reader client.Reader) types.UID {
	for {
		uid, err := Of(ctx, reader)
		if err == nil {
			return uid
		}
		log.FromContext(ctx).Error(err, "will ask again which incarnation of the federation this is")
		select {
		case <-ctx.Done():
			return ""
		case <-time.After(firstCheckPeriod):
		}
	}
}

// Guard ends the program when the API has become another: what the caches hold is void then, and watches from the old resource versions may wait for
// ever. So it does when there was no kube-system when the program started: the API server had not noticed yet, and its own caches, from which ours were
// filled, are void.
type Guard struct {
	Reader client.Reader
}

// NeedLeaderElection is false: a standby's caches are void too.
func (*Guard) NeedLeaderElection() bool { return false }

// Start looks until ctx ends. Error: the API lost its data.
func (g *Guard) Start(ctx context.Context) error {
	var first types.UID
	void := false
	for {
		next := checkPeriod
		if uid, err := Of(ctx, g.Reader); err != nil {
			if first == "" {
				next = firstCheckPeriod
				void = void || apierrors.IsNotFound(err)
			}
			// Not there (yet), not reachable, or our role is lost too, until the keeper makes it again: a later look tells.
			log.FromContext(ctx).V(1).Info("cannot see the federation's namespace kube-system", "error", err.Error())
		} else if first == "" && !void {
			first = uid
		} else if uid != first {
			return fmt.Errorf("the federation's API lost its data (its kube-system is another): starting anew")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next):
		}
	}
}
