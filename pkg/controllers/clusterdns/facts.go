package clusterdns

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/memberdns"
)

// factsTimeout bounds the wait for the host cluster's API.
const factsTimeout = 10 * time.Second

// ConfigMapGetter reads a ConfigMap by name: a client-go ConfigMapInterface does.
type ConfigMapGetter interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (*corev1.ConfigMap, error)
}

// factsReader reads what the control plane tells of the federation. A host cluster that does not answer, and a ConfigMap that is missing, change nothing: what was read
// last holds on.
type factsReader struct {
	configMaps ConfigMapGetter
	federation string

	mutex sync.Mutex
	last  *memberdns.Facts
}

// read gives the facts, and whether there are any.
func (f *factsReader) read(ctx context.Context) (memberdns.Facts, bool) {
	facts, err := f.ask(ctx)
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if err == nil {
		f.last = &facts
		return facts, true
	}
	log.FromContext(ctx).Info("the host cluster does not tell of the federation; going by what is known", "known", f.last != nil, "reason", err.Error())
	if f.last == nil {
		return memberdns.Facts{}, false
	}
	return *f.last, true
}

func (f *factsReader) ask(ctx context.Context) (memberdns.Facts, error) {
	ctx, cancel := context.WithTimeout(ctx, factsTimeout)
	defer cancel()
	name := v1beta1.FederationConfigMap(f.federation)
	federation, err := f.configMaps.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return memberdns.Facts{}, fmt.Errorf("get ConfigMap %s: %w", name, err)
	}
	name = v1beta1.NameserversConfigMap(f.federation)
	nameservers, err := f.configMaps.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		nameservers = nil
	} else if err != nil {
		return memberdns.Facts{}, fmt.Errorf("get ConfigMap %s: %w", name, err)
	}
	facts := memberdns.ReadFacts(federation, nameservers)
	if facts.Name != f.federation || facts.Zone == "" {
		return memberdns.Facts{}, fmt.Errorf("ConfigMap %s does not tell the name and zone of federation %s: upgrade its release, which writes it", v1beta1.FederationConfigMap(f.federation), f.federation)
	}
	return facts, nil
}
