package manager

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// dataCheckPeriod bounds how long the program works on data that are gone.
const dataCheckPeriod = 30 * time.Second

// incarnation ends the program when the federation's API lost its data and
// began anew: etcd without a volume, a claim made again. What the caches hold
// is void then, and watches from the old resource versions may wait for ever.
// A new kube-apiserver makes a new kube-system with another UID, which tells.
type incarnation struct {
	reader client.Reader
	period time.Duration
}

// NeedLeaderElection is false: a standby's caches are void too.
func (*incarnation) NeedLeaderElection() bool { return false }

func (i *incarnation) Start(ctx context.Context) error {
	var first types.UID
	ticker := time.NewTicker(i.period)
	defer ticker.Stop()
	for {
		if uid, err := i.look(ctx); err != nil {
			// Not there (yet), not reachable, or our role is lost too, until the
			// keeper makes it again: a later look tells.
			log.FromContext(ctx).V(1).Info("cannot see the federation's namespace kube-system", "error", err.Error())
		} else if first == "" {
			first = uid
		} else if uid != first {
			return fmt.Errorf("the federation's API lost its data (its kube-system has another UID): starting anew")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
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
