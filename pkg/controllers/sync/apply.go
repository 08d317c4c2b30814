package sync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

// handOver ends the name of the field manager that keeps spec.replicas for a moment while an HPA takes it over.
const handOver = "-handover"

// apply writes a copy: server-side apply of all that we want, once, by force where the copy is ours. What does not seem to be there is written without, since it may be
// there and be another federation's, whose mark is then in conflict with ours: that costs a request more only where there is something.
func (m *member) apply(ctx context.Context, key objectKey, e *entry, c *memberCopy) error {
	object := key.kind.object(key.NamespacedName)
	if object == nil {
		return nil
	}
	e.mutex.Lock()
	p, r := e.plans[m.name], e.reports[m.name]
	e.mutex.Unlock()
	if c == nil && !m.options.AdoptResources {
		if err := m.mayTake(ctx, key, r); err != nil {
			return err
		}
	}
	if scaled, found := p.scale["replicas"]; found && scaled == leftToHPA && c != nil && c.ownsReplicas {
		if err := m.handReplicasOver(ctx, key); err != nil {
			return err
		}
	}
	body, hash, err := key.kind.body(object, p.scale)
	if err != nil {
		return err
	}
	applied, omitted, err := m.applyKnown(ctx, key, body, c != nil)
	if apierrors.IsConflict(err) && c == nil {
		if err := m.mayTake(ctx, key, r); err != nil {
			return err
		}
		applied, omitted, err = m.applyKnown(ctx, key, body, true)
	}
	if err != nil {
		return err
	}
	m.note(e, func(r *report) {
		is := copyOf(applied, key.kind.Type, m.manager())
		if r.applied == hash { // the same again: somebody had changed it, or deleted it
			if time.Since(r.healedAt) > time.Minute {
				r.heals = 0
			}
			r.heals++
			r.healedAt = time.Now()
		}
		r.applied, r.owned, r.version, r.uid, r.omitted = hash, is.owned, is.ResourceVersion, is.UID, omitted
		r.appliedAt, r.gone = time.Now(), ""
	})
	return nil
}

// mayTake fails if there is something already that is another federation's, or anybody's where nothing is adopted.
func (m *member) mayTake(ctx context.Context, key objectKey, r report) error {
	there, err := m.api.metadataOf(key.kind.Type, key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	switch owner := there.GetLabels()[v1beta1.LabelFederated]; {
	case owner == m.options.FederationName:
		return nil
	case owner != "":
		return fmt.Errorf("it is there already and federation %s placed it: take it out of one of the federations", owner)
	case m.options.AdoptResources || r.version != "": // ours, and somebody took the label off
		return nil
	}
	return errors.New("it is there already and is not the federation's: delete it there, or let it be taken over with controllerManager.adoptResources=true")
}

// handReplicasOver gives spec.replicas, as it is, another owner: a field that loses its only one falls back to its default, 1.
func (m *member) handReplicasOver(ctx context.Context, key objectKey) error {
	there, err := m.api.objectsOf(key.kind.Type, key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	replicas, found, _ := unstructured.NestedInt64(there.Object, "spec", "replicas")
	if !found {
		return nil
	}
	body, err := json.Marshal(map[string]any{
		"apiVersion": there.GetAPIVersion(), "kind": there.GetKind(),
		"metadata": map[string]any{"name": key.Name, "namespace": key.Namespace, "resourceVersion": there.GetResourceVersion()},
		"spec":     map[string]any{"replicas": replicas},
	})
	if err != nil {
		return err
	}
	_, err = m.send(ctx, key, body, m.manager()+handOver, true)
	return err
}

// send applies fields, and gives the copy as this type's watch does: the hash of the fields that we own is compared with the watch's, and the two clients do not write them alike.
func (m *member) send(ctx context.Context, key objectKey, body []byte, manager string, force bool) (metav1.Object, error) {
	options := metav1.PatchOptions{FieldManager: manager, Force: &force}
	if key.kind.ReadsCopies() {
		return m.api.objectsOf(key.kind.Type, key.Namespace).Patch(ctx, key.Name, types.ApplyPatchType, body, options)
	}
	return m.api.metadataOf(key.kind.Type, key.Namespace).Patch(ctx, key.Name, types.ApplyPatchType, body, options)
}

// unknownField finds the paths in what an API says that does not know fields of an apply: names, and in brackets what an item of a list is known by.
var unknownField = regexp.MustCompile(`((?:\.[^\s:.\[]+|\[(?:"(?:[^"\\]|\\.)*"|[^\]"])*\])+): field not declared in schema`)

// unknownFields are the paths that an API says it does not know.
func unknownFields(err error) []string {
	var paths []string
	if err != nil {
		for _, match := range unknownField.FindAllStringSubmatch(err.Error(), -1) {
			paths = append(paths, match[1])
		}
	}
	return paths
}

// applyKnown applies all fields but those that the member's schema does not know, which it gives by their paths.
func (m *member) applyKnown(ctx context.Context, key objectKey, body []byte, force bool) (metav1.Object, []string, error) {
	var omitted []string
	for {
		applied, err := m.send(ctx, key, body, m.manager(), force)
		paths := unknownFields(err)
		if len(paths) == 0 || slices.ContainsFunc(paths, func(path string) bool { return slices.Contains(omitted, path) }) {
			return applied, omitted, err
		}
		if body, err = without(body, paths); err != nil {
			return nil, nil, err
		}
		omitted = append(omitted, paths...)
	}
}

// without takes fields out of a JSON object, by paths such as .spec.containers[name="web"].image.
func without(body []byte, paths []string) ([]byte, error) {
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, err
	}
	for _, path := range paths {
		prune(fields, pathParts.FindAllString(path, -1))
	}
	return json.Marshal(fields)
}

var pathParts = regexp.MustCompile(`\.[^.\[]+|\[(?:"(?:[^"\\]|\\.)*"|[^\]"])*\]`)

func prune(value any, parts []string) {
	if len(parts) == 0 {
		return
	}
	switch at := value.(type) {
	case map[string]any:
		name := strings.TrimPrefix(parts[0], ".")
		if len(parts) == 1 {
			delete(at, name)
			return
		}
		prune(at[name], parts[1:])
	case []any: // all items of a list: its key may be of any kind, and an unknown field is unknown in all
		for _, item := range at {
			prune(item, parts[1:])
		}
	}
}

// explain is an error for a person, without the name of the object, which is said beside it, and without what differs from one try to the next, such as
// a connection's own port: what stays the same is told once.
func explain(err error) string {
	var (
		status     apierrors.APIStatus
		request    *url.Error
		connection *net.OpError
	)
	switch {
	case errors.As(err, &status) && status.Status().Message != "":
		return status.Status().Message
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("the cluster did not answer within %v", requestTimeout)
	case errors.As(err, &connection):
		return fmt.Sprintf("the connection to the cluster fails: %s: %v", connection.Op, connection.Err)
	case errors.As(err, &request):
		return fmt.Sprintf("the connection to the cluster fails: %v", request.Err)
	}
	return err.Error()
}

// toSelector makes a query of a label selector's fields.
func toSelector(fields map[string]any) (string, error) {
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &selector); err != nil {
		return "", err
	}
	query, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return "", err
	}
	return query.String(), nil
}
