package sync

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
	"github.com/fedhelm/fedhelm/pkg/placement"
	"github.com/fedhelm/fedhelm/pkg/planner"
)

// leftToHPA as an amount takes the field out of what is applied.
const leftToHPA = -1

// plan says what is to become of an object's copy in each cluster, and when to ask again (0: when something changes). An error says why the object's
// wishes cannot be read.
func (k *kind) plan(object *unstructured.Unstructured, e *entry) (map[string]plan, time.Duration, error) {
	selector, err := placement.Selector(object)
	if err != nil {
		return nil, 0, err
	}
	plans := map[string]plan{}
	var selected []string
	for _, f := range k.currentFleet() {
		switch {
		case f.leaving:
			plans[f.name] = plan{waits: "the cluster is leaving"}
		case !selector.Matches(f.labels), placement.EveryClustersOwn(k.GroupResource(), object):
			plans[f.name] = plan{}
		case !f.ready:
			plans[f.name] = plan{wanted: true, waits: away(f.why)}
		default:
			plans[f.name] = plan{wanted: true}
			selected = append(selected, f.name)
		}
	}
	var again time.Duration
	if k.Spread != federatedtypes.SpreadNothing {
		shares, wait, err := k.spread(object, e, selected)
		if err != nil {
			return nil, 0, err
		}
		again = wait
		for _, name := range selected {
			share, found := shares[name]
			plans[name] = plan{wanted: found, scale: share}
			if wait > 0 && !found {
				plans[name] = plan{wanted: true, waits: "what is there is being read"}
			}
		}
	}
	hashes := map[string]string{}
	for name, p := range plans {
		if !p.wanted {
			continue
		}
		scale := fmt.Sprint(p.scale)
		if hashes[scale] == "" {
			if _, hashes[scale], err = k.content(object, p.scale); err != nil {
				return nil, 0, err
			}
		}
		p.hash = hashes[scale]
		plans[name] = p
	}
	return plans, again, nil
}

func away(why string) string {
	if why == "" {
		return "the cluster is not Ready"
	}
	return "the cluster is not Ready: " + why
}

// content is what is applied in a cluster, before it carries its own hash, and that hash.
func (k *kind) content(object *unstructured.Unstructured, scale map[string]int64) (fields map[string]any, hash string, err error) {
	fields = k.Desired(object, k.options.FederationName)
	federatedtypes.Scale(fields, scale)
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, "", err
	}
	sum := fnv.New64a()
	_, _ = sum.Write(text)
	return fields, strconv.FormatUint(sum.Sum64(), 16), nil
}

// body is what is applied in a cluster, as sent.
func (k *kind) body(object *unstructured.Unstructured, scale map[string]int64) ([]byte, string, error) {
	fields, hash, err := k.content(object, scale)
	if err != nil {
		return nil, "", err
	}
	metadata := fields["metadata"].(map[string]any)
	metadata[k.AppliedAmong()].(map[string]any)[v1beta1.MarkApplied] = hash
	metadata["annotations"].(map[string]any)[v1beta1.AnnotationSource] = string(k.uid)
	text, err := json.Marshal(fields)
	return text, hash, err
}

// spread divides an object among the clusters selected; those that get nothing are not in the result. While the copies in one of them are not known
// yet, it asks to be called again.
func (k *kind) spread(object *unstructured.Unstructured, e *entry, selected []string) (map[string]map[string]int64, time.Duration, error) {
	preferences := planner.Default()
	if text, found := object.GetAnnotations()[k.Preferences]; found && k.Preferences != "" {
		var err error
		if preferences, err = planner.Parse(text); err != nil {
			return nil, 0, fmt.Errorf("annotation %s: %w", k.Preferences, err)
		}
	}
	// Once all of it is known, everything is planned anew.
	if of := k.kinds[hpas]; k.Spread == federatedtypes.SpreadReplicas && of != nil && !of.objects.HasSynced() && of.objects.Served() {
		return nil, patience, nil // an HPA may have scaled it far beyond its own number
	}
	copies := map[string]*memberCopy{}
	for _, name := range selected {
		m := k.member(name)
		if m == nil || !m.knows(k) { // of a ready member that loses its client for a moment nothing is moved; one that stays without is soon not ready
			return nil, patience, nil
		}
		if c := m.copyOf(objectKey{k, nameOf(object)}); c != nil && c.DeletionTimestamp == nil {
			copies[name] = c
		}
	}
	switch k.Spread {
	case federatedtypes.SpreadJob:
		return k.spreadJob(object, preferences, selected, copies), 0, nil
	case federatedtypes.SpreadHPA:
		shares, again := k.spreadHPA(object, selected, copies)
		return shares, again, nil
	}
	return k.spreadReplicas(object, preferences, e, selected, copies), 0, nil
}

func (k *kind) spreadReplicas(object *unstructured.Unstructured, preferences planner.Preferences, e *entry, selected []string, copies map[string]*memberCopy) map[string]map[string]int64 {
	total := specNumber(object, "replicas", 1)
	shares := map[string]map[string]int64{}
	if total == 0 || k.scaledByHPA(object) {
		amount := total
		if total != 0 {
			amount = leftToHPA
		}
		for _, name := range selected {
			shares[name] = map[string]int64{"replicas": amount}
		}
		return shares
	}
	var clusters []planner.Cluster
	for _, name := range selected {
		c := planner.Cluster{Name: name}
		if have := copies[name]; have != nil {
			waiting := e.unschedulable(name)
			c.Current = max(0, int32(have.amount-waiting)) //nolint:gosec // an API server's int32
			if waiting > 0 {
				c.Capacity = new(c.Current)
			}
		}
		clusters = append(clusters, c)
	}
	for name, share := range planner.Plan(preferences, int32(total), clusters, nameOf(object).String()) { //nolint:gosec // an API server's int32
		if share.Asked() > 0 {
			shares[name] = map[string]int64{"replicas": int64(share.Asked())}
		}
	}
	return shares
}

func (e *entry) unschedulable(cluster string) int64 {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.reports[cluster].unschedulable
}

// spreadJob divides a Job. Completions cannot be changed, so a copy keeps its own, and a cluster that comes later gets some only where there are left.
// What a member does that is away, or selected no more, is done by no other.
func (k *kind) spreadJob(object *unstructured.Unstructured, preferences planner.Preferences, selected []string, copies map[string]*memberCopy) map[string]map[string]int64 {
	parallelism := int32(specNumber(object, "parallelism", 1)) //nolint:gosec // an API server's int32
	var completions *int32
	var left int64
	if _, found, _ := unstructured.NestedInt64(object.Object, "spec", "completions"); found {
		left = specNumber(object, "completions", 0)
		completions = new(int32(left)) //nolint:gosec // an API server's int32
	}
	var clusters []planner.Cluster
	for _, name := range selected {
		clusters = append(clusters, planner.Cluster{Name: name})
	}
	for _, f := range k.currentFleet() {
		if m := k.member(f.name); m != nil {
			if c := m.copyOf(objectKey{k, nameOf(object)}); c != nil {
				left -= max(0, c.completions)
			}
		}
	}
	split := planner.Split(preferences, parallelism, completions, clusters, nameOf(object).String())
	shares := map[string]map[string]int64{}
	for _, name := range selected {
		part := split[name]
		share := map[string]int64{"parallelism": int64(part.Parallelism)}
		switch have := copies[name]; {
		case have != nil && have.completions >= 0:
			share["completions"] = have.completions
		case have == nil && part.Parallelism == 0 && parallelism > 0:
			continue
		case part.Completions != nil:
			if *part.Completions == 0 && *completions > 0 || int64(*part.Completions) > left {
				continue
			}
			left -= int64(*part.Completions)
			share["completions"] = int64(*part.Completions)
		}
		shares[name] = share
	}
	return shares
}

func (k *kind) spreadHPA(object *unstructured.Unstructured, selected []string, copies map[string]*memberCopy) (map[string]map[string]int64, time.Duration) {
	var again time.Duration
	var clusters []planner.HPACluster
	for _, name := range selected {
		c := planner.HPACluster{Name: name}
		if have := copies[name]; have != nil {
			still := k.options.HPAForbiddenWindow - time.Since(have.scaledAt())
			c.Local = &planner.LocalHPA{
				Max: int32(have.amount), Current: int32(number(have.status, "currentReplicas")), Desired: int32(number(have.status, "desiredReplicas")), //nolint:gosec // an API server's int32
				MayMove: still <= 0,
			}
			if still > 0 && (again == 0 || still < again) {
				again = still
			}
		}
		clusters = append(clusters, c)
	}
	whole := planner.HPA{Min: int32(specNumber(object, "minReplicas", 1)), Max: int32(specNumber(object, "maxReplicas", 1))} //nolint:gosec // an API server's int32
	shares := map[string]map[string]int64{}
	for name, share := range planner.SpreadHPA(whole, clusters, nameOf(object).String()) {
		shares[name] = map[string]int64{"minReplicas": int64(share.Min), "maxReplicas": int64(share.Max)}
	}
	return shares, again
}

var hpas = schema.GroupResource{Group: "autoscaling", Resource: "horizontalpodautoscalers"}

// scaledByHPA says whether a federated HPA scales the object.
func (k *kind) scaledByHPA(object *unstructured.Unstructured) bool {
	of := k.kinds[hpas]
	if of == nil {
		return false
	}
	autoscalers, _ := of.objects.GetIndexer().ByIndex(cache.NamespaceIndex, object.GetNamespace())
	for _, autoscaler := range autoscalers {
		kind, name := hpaTarget(autoscaler)
		if kind == object.GetKind() && name == object.GetName() && autoscaler.(*unstructured.Unstructured).GetDeletionTimestamp() == nil {
			return true
		}
	}
	return false
}

func hpaTarget(object any) (kind, name string) {
	full, ok := object.(*unstructured.Unstructured)
	if !ok {
		return "", ""
	}
	target, _, _ := unstructured.NestedStringMap(full.Object, "spec", "scaleTargetRef")
	return target["kind"], target["name"]
}

// changedHPA plans an HPA's target anew, also the one that it had before it changed.
func (k *kind) changedHPA(object any) {
	if k.GroupResource() != hpas {
		return
	}
	kindName, name := hpaTarget(object)
	if name == "" {
		return
	}
	key := nameOf(object)
	key.Name = name
	for _, other := range k.kinds {
		if other.Spread != federatedtypes.SpreadReplicas {
			continue
		}
		if target := other.object(key); target != nil && target.GetKind() == kindName {
			other.add(key)
		}
	}
}

func specNumber(object *unstructured.Unstructured, name string, absent int64) int64 {
	if n, found, _ := unstructured.NestedInt64(object.Object, "spec", name); found {
		return n
	}
	return absent
}

func number(fields map[string]any, name string) int64 {
	n, _ := fields[name].(int64)
	return n
}
