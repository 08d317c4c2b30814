package manager

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

// dataCheckPeriod bounds how long the program works on data that are gone,
// firstCheckPeriod how long until it knows which data those are.
const (
	dataCheckPeriod  = 30 * time.Second
	firstCheckPeriod = time.Second
)

// incarnation ends the program when the federation's API lost its data and
// began anew: etcd without a volume, a claim made again. What the caches hold
// is void then, and watches from the old resource versions may wait for ever.
// A new kube-apiserver makes a new kube-system with another UID, which tells. So
// does one that is not there when the program starts: the API server has not
// noticed yet, and its own caches, from which ours were filled, are void.
type incarnation struct {
	reader client.Reader
	period time.Duration
}

// NeedLeaderElection is false: a standby's caches are void too.
func (*incarnation) NeedLeaderElection() bool { return false }

func (i *incarnation) Start(ctx context.Context) error {
	var first types.UID
	void := false
	for {
		next := i.period
		if uid, err := i.look(ctx); err != nil {
			if first == "" {
				next = firstCheckPeriod
				void = void || apierrors.IsNotFound(err)
			}
			// Not there (yet), not reachable, or our role is lost too, until the
			// keeper makes it again: a later look tells.
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

func (i *incarnation) look(ctx context.Context) (types.UID, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := i.reader.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, namespace)
	return namespace.UID, err
}
