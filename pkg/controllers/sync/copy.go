package sync

import (
	"bytes"
	"hash/fnv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
)

// manager is the field manager that owns in the members what the federation applies there: each federation's is its own, or one that applies an object would take away
// what another applied.
func (s *syncer) manager() string { return v1beta1.ControllerManager + ":" + s.options.FederationName }

// memberCopy is what is kept of an object in a member: little, since there are many. Whether somebody changed a field of ours it tells by the fields
// that the member's API says we own: who changes one takes it over.
type memberCopy struct {
	metav1.ObjectMeta // name, namespace, UID, resource version, generation, time of deletion
	// applied is the hash of what was applied last, source the federation that did.
	applied, source string
	// owned is a hash of the fields that we own, and ownedAt when we applied them, in whole seconds; changedAt is when another changed any field but
	// the status.
	owned              uint64
	ownedAt, changedAt time.Time
	// amount is what the copy's spec says of what is divided, completions a Job's, -1 without; ready is how many replicas are.
	amount, completions, ready int64
	// ownsReplicas says whether spec.replicas is among the fields that we own.
	ownsReplicas bool
	// status is the copy's, of the types whose status is summed.
	status map[string]any
}

// copyOf takes from an object in a member what is kept: the whole object, or its metadata of a type of which no more is read. What we own there the field manager
// tells.
func copyOf(object metav1.Object, t *federatedtypes.Type, manager string) *memberCopy {
	c := &memberCopy{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: object.GetNamespace(), Name: object.GetName(), UID: object.GetUID(), ResourceVersion: object.GetResourceVersion(),
			Generation: object.GetGeneration(), CreationTimestamp: object.GetCreationTimestamp(), DeletionTimestamp: object.GetDeletionTimestamp(),
		},
		applied: object.GetAnnotations()[v1beta1.MarkApplied],
		source:  object.GetAnnotations()[v1beta1.AnnotationSource],
		amount:  -1, completions: -1,
	}
	if t.AppliedAmong() == "labels" {
		c.applied = object.GetLabels()[v1beta1.MarkApplied]
	}
	for _, entry := range object.GetManagedFields() {
		if entry.Subresource == "status" {
			continue
		}
		if entry.Manager == manager && entry.Operation == metav1.ManagedFieldsOperationApply {
			hash := fnv.New64a()
			_, _ = hash.Write(entry.FieldsV1.GetRawBytes())
			c.owned = hash.Sum64()
			c.ownedAt = entry.Time.Time
			c.ownsReplicas = t.Spread == federatedtypes.SpreadReplicas && bytes.Contains(entry.FieldsV1.GetRawBytes(), []byte(`"f:replicas"`))
		} else if entry.Time != nil && entry.Time.After(c.changedAt) {
			c.changedAt = entry.Time.Time
		}
	}
	if whole, ok := object.(*unstructured.Unstructured); ok {
		if t.HasStatus() {
			c.status, _, _ = unstructured.NestedMap(whole.Object, "status")
			c.ready = number(c.status, "readyReplicas")
		}
		if amount := t.Spread.Amount(); amount != "" {
			c.amount = specNumber(whole, amount, -1)
			c.completions = specNumber(whole, "completions", -1)
		}
	}
	return c
}

// observed says whether the member's controllers have seen the copy as it is.
func (c *memberCopy) observed() bool {
	generation, found := c.status["observedGeneration"].(int64)
	return !found || generation >= c.Generation
}

// scaledAt is when an HPA scaled last, or was made.
func (c *memberCopy) scaledAt() time.Time {
	text, _ := c.status["lastScaleTime"].(string)
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at
	}
	return c.CreationTimestamp.Time
}

// toCopy makes copies of what a watch brings, once: it gets what it has made again, too.
func toCopy(t *federatedtypes.Type, manager string) func(any) (any, error) {
	return func(object any) (any, error) {
		switch object.(type) {
		case *unstructured.Unstructured, *metav1.PartialObjectMetadata:
			return copyOf(object.(metav1.Object), t, manager), nil
		}
		return object, nil
	}
}

// toFederated takes off what nobody here reads.
func toFederated(object any) (any, error) {
	if full, ok := object.(*unstructured.Unstructured); ok {
		unstructured.RemoveNestedField(full.Object, "metadata", "managedFields")
	}
	return object, nil
}
