package member

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/memberdns"
)

// errNoFederation is the error of a federation that is not there; the others are those of an ambiguous one.
var errNoFederation = errors.New("there is no federation")

// findFederation finds the federation that the values name, or the only one of the namespace.
func (h Hook) findFederation(ctx context.Context) (memberdns.Facts, error) {
	var list corev1.ConfigMapList
	if err := h.Host.List(ctx, &list, client.InNamespace(h.Namespace), client.MatchingLabels{labelKind: kindFederation}); err != nil {
		return memberdns.Facts{}, fmt.Errorf("look for the federations in namespace %s: %w", h.Namespace, err)
	}
	var found []string
	for _, item := range list.Items {
		name := item.Data["name"]
		found = append(found, name)
		if name == h.Values.Federation || len(list.Items) == 1 && h.Values.Federation == "" {
			return h.facts(ctx, &item)
		}
	}
	slices.Sort(found)
	switch {
	case len(found) == 0:
		return memberdns.Facts{}, fmt.Errorf("%w%s in namespace %s: install one there with `helm -n %s install fellowship charts/federation-control-plane`, or install this release in the namespace of its control plane, where member releases live",
			errNoFederation, quoted(h.Values.Federation), h.Namespace, h.Namespace)
	case h.Values.Federation != "":
		return memberdns.Facts{}, fmt.Errorf("%w%s in namespace %s, it has: %s; set federation to one of them, or install this release in the namespace of its control plane, where member releases live",
			errNoFederation, quoted(h.Values.Federation), h.Namespace, strings.Join(found, ", "))
	}
	return memberdns.Facts{}, fmt.Errorf("namespace %s has several federations: %s; set federation to one of them", h.Namespace, strings.Join(found, ", "))
}

// awaitFederation is findFederation, but gives a federation that is not there yet some time to come: Helmfile and Argo CD may install control plane and member at once.
func (h Hook) awaitFederation(ctx context.Context) (facts memberdns.Facts, err error) {
	timeout := seconds(h.Values.Join.FederationTimeoutSeconds)
	facts, err = h.findFederation(ctx)
	if !errors.Is(err, errNoFederation) || timeout == 0 {
		return facts, err
	}
	h.Log.Info("waiting for the federation", "for", timeout.String(), "reason", err.Error())
	err = kube.Wait(ctx, pollInterval, timeout, fmt.Sprintf("federation%s to be installed", quoted(h.Values.Federation)), func(ctx context.Context) (bool, error) {
		facts, err = h.findFederation(ctx)
		if err != nil && !errors.Is(err, errNoFederation) {
			return false, kube.Fatal(err)
		}
		return err == nil, err
	})
	return facts, err
}

// facts reads what a control plane tells of its federation. The role may list ConfigMaps, since their names are known to nobody when the chart is rendered.
func (h Hook) facts(ctx context.Context, federation *corev1.ConfigMap) (memberdns.Facts, error) {
	name := v1beta1.NameserversConfigMap(federation.Data["name"])
	var list corev1.ConfigMapList
	if err := h.Host.List(ctx, &list, client.InNamespace(h.Namespace), client.MatchingFields{"metadata.name": name}); err != nil {
		return memberdns.Facts{}, fmt.Errorf("look for ConfigMap %s/%s: %w", h.Namespace, name, err)
	}
	if len(list.Items) == 0 {
		return memberdns.ReadFacts(federation, nil), nil
	}
	return memberdns.ReadFacts(federation, &list.Items[0]), nil
}

func quoted(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" %q", name)
}

// connectFederation gives the federation's API with the registrar's rights, as soon as it serves Clusters, and the Clusters it has. The control plane may be coming up still, so
// both are waited for, for at most timeout.
func (h Hook) connectFederation(ctx context.Context, name string, timeout time.Duration) (*kube.API, []v1beta1.Cluster, error) {
	var (
		api      *kube.API
		clusters v1beta1.ClusterList
	)
	what := fmt.Sprintf("the API of federation %s, which its release %s brings up", name, name)
	err := kube.Wait(ctx, time.Second, timeout, what, func(ctx context.Context) (bool, error) {
		secret := &corev1.Secret{}
		key := client.ObjectKey{Namespace: h.Namespace, Name: registrars}
		if err := h.Host.Get(ctx, key, secret); apierrors.IsNotFound(err) || err == nil && len(secret.Data[name]) == 0 {
			return false, fmt.Errorf("Secret %s has no key %s yet: see that the hook publish of release %s ends well", key, name, name)
		} else if err != nil {
			return false, fmt.Errorf("get Secret %s: %w", key, err)
		}
		config, err := clientcmd.RESTConfigFromKubeConfig(secret.Data[name])
		if err != nil {
			return false, fmt.Errorf("key %s of Secret %s is no kubeconfig: upgrade release %s, which writes it", name, key, name)
		}
		if api, err = h.connect(config); err != nil {
			return false, err
		}
		if err := api.List(ctx, &clusters); err != nil {
			return false, fmt.Errorf("list the Clusters of federation %s at %s: %w", name, config.Host, err)
		}
		return true, nil
	})
	return api, clusters.Items, err
}
