// Package planner divides the replicas of a federated object among clusters, as Federation v1 did. It is pure: preferences and numbers in, numbers
// out. It knows no Kubernetes and no time.
package planner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
)

// AnyCluster is the key in Preferences.Clusters for every cluster that has no entry of its own.
const AnyCluster = "*"

// Preferences is the value of v1's replica annotations, federation.kubernetes.io/deployment-preferences and its like.
type Preferences struct {
	// Rebalance lets running replicas move to another cluster when weights or clusters change.
	Rebalance bool `json:"rebalance,omitempty"`
	// Clusters is by cluster name or AnyCluster. A cluster that neither covers gets no replicas.
	Clusters map[string]ClusterPreferences `json:"clusters,omitempty"`
}

// ClusterPreferences is one cluster's part. No field is negative.
type ClusterPreferences struct {
	// MinReplicas come before everybody's weight.
	MinReplicas int32 `json:"minReplicas,omitempty"`
	// MaxReplicas nil is no limit.
	MaxReplicas *int32 `json:"maxReplicas,omitempty"`
	// Weight is the cluster's part of what is left after the minimums. With 0 it gets no more than its minimum, and what it has if Rebalance is false.
	Weight int32 `json:"weight,omitempty"`
}

// Default is what an object without the annotation has: equal parts, and nothing that runs is moved.
func Default() Preferences {
	return Preferences{Clusters: map[string]ClusterPreferences{AnyCluster: {Weight: 1}}}
}

// Parse reads the annotation. An object without it has Default, but an annotation that is empty or names no clusters is refused: v1 gave nobody a
// replica then, which whoever writes {"rebalance": true} does not mean. Field names match in any case, as in v1. Errors, each a sentence that says
// what to change: no JSON, an unknown field, a value of the wrong kind, text after the end, a negative number, a minimum above its maximum. v1 took
// the default for all of them, and so put replicas where nobody wanted them.
func Parse(annotation string) (Preferences, error) {
	var p Preferences
	decoder := json.NewDecoder(strings.NewReader(annotation))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		return Preferences{}, unreadable(err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return Preferences{}, errors.New("the replica preferences go on after their closing brace: take out what follows it")
	}
	if len(p.Clusters) == 0 {
		return Preferences{}, errors.New(`the replica preferences name no clusters, so none would get a replica: add "clusters": {"*": {"weight": 1}} for all of them`)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Clusters)) {
		if err := p.Clusters[name].check(); err != nil {
			return Preferences{}, fmt.Errorf("the replica preferences give cluster %q %w", name, err)
		}
	}
	return p, nil
}

// of gives the preferences for a cluster and whether any cover it.
func (p Preferences) of(cluster string) (ClusterPreferences, bool) {
	if own, found := p.Clusters[cluster]; found {
		return own, true
	}
	every, found := p.Clusters[AnyCluster]
	return every, found
}

// check ends a sentence about the cluster.
func (c ClusterPreferences) check() error {
	const positive = "%s %d: make it 0 or more"
	switch {
	case c.MinReplicas < 0:
		return fmt.Errorf(positive, "minReplicas", c.MinReplicas)
	case c.MaxReplicas != nil && *c.MaxReplicas < 0:
		return fmt.Errorf(positive, "maxReplicas", *c.MaxReplicas)
	case c.Weight < 0:
		return fmt.Errorf(positive, "weight", c.Weight)
	case c.MaxReplicas != nil && c.MinReplicas > *c.MaxReplicas:
		return fmt.Errorf("minReplicas %d above maxReplicas %d: lower the one or raise the other", c.MinReplicas, *c.MaxReplicas)
	}
	return nil
}

// unreadable makes a sentence of what encoding/json says.
func unreadable(err error) error {
	const example = `{"rebalance": true, "clusters": {"foo": {"minReplicas": 10, "maxReplicas": 50, "weight": 100}, "*": {"weight": 1}}}`
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return fmt.Errorf("the replica preferences cannot be read (%s): write them like %s", strings.TrimPrefix(err.Error(), "json: "), example)
	}
	expected := "an object in braces"
	switch wrong.Type.Kind() {
	case reflect.Bool:
		expected = "true or false"
	case reflect.Int32:
		expected = fmt.Sprintf("a whole number of at most %d", math.MaxInt32)
	}
	return fmt.Errorf("the replica preferences have a %s where %s belongs: write them like %s", strings.TrimSpace(wrong.Value+" "+wrong.Field), expected, example)
}
