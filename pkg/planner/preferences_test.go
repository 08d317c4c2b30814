package planner

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const documented = `{"rebalance": true, "clusters": {"foo": {"minReplicas": 10, "maxReplicas": 50, "weight": 100}, "*": {"weight": 1}}}`

func TestParse(t *testing.T) {
	want := Preferences{Rebalance: true, Clusters: map[string]ClusterPreferences{
		"foo": {MinReplicas: 10, MaxReplicas: new(int32(50)), Weight: 100},
		"*":   {Weight: 1},
	}}
	for _, annotation := range []string{
		documented,
		"\n" + documented + "\n",
		`{"Rebalance": true, "Clusters": {"foo": {"MinReplicas": 10, "MaxReplicas": 50, "Weight": 100}, "*": {"Weight": 1}}}`, // v1 read this too
	} {
		got, err := Parse(annotation)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	written, err := json.Marshal(want)
	require.NoError(t, err)
	assert.JSONEq(t, documented, string(written))

	got, err := Parse(`{"clusters": {"*": {"weight": 1}}}`)
	require.NoError(t, err)
	assert.Equal(t, Default(), got)
}

func TestParseErrors(t *testing.T) {
	const like = ": write them like " + documented
	for annotation, want := range map[string]string{
		"":                                       "the replica preferences cannot be read (EOF)" + like,
		"rebalance: true":                        "the replica preferences cannot be read (invalid character 'r' looking for beginning of value)" + like,
		`{"clusters": {"*": {}`:                  "the replica preferences cannot be read (unexpected EOF)" + like,
		`{"rebalanced": true}`:                   `the replica preferences cannot be read (unknown field "rebalanced")` + like,
		`{"clusters": {"*": {"max": 1}}}`:        `the replica preferences cannot be read (unknown field "max")` + like,
		`{"rebalance": "yes"}`:                   "the replica preferences have a string rebalance where true or false belongs" + like,
		`["foo"]`:                                "the replica preferences have a array where an object in braces belongs" + like,
		`{"clusters": {"foo": 3}}`:               "the replica preferences have a number clusters where an object in braces belongs" + like,
		`{"clusters": {"foo": {"weight": "1"}}}`: "the replica preferences have a string clusters.weight where a whole number of at most 2147483647 belongs" + like,
		`{"clusters": {"foo": {"weight": 1.5}}}`: "the replica preferences have a number 1.5 clusters.weight where a whole number of at most 2147483647 belongs" + like,
		`{"clusters": {"foo": {"weight": 3000000000}}}`: "the replica preferences have a number 3000000000 clusters.weight where a whole number of at most 2147483647 belongs" + like,
		documented + "}":                             "the replica preferences go on after their closing brace: take out what follows it",
		documented + documented:                      "the replica preferences go on after their closing brace: take out what follows it",
		"null":                                       `the replica preferences name no clusters, so none would get a replica: add "clusters": {"*": {"weight": 1}} for all of them`,
		`{"rebalance": true}`:                        `the replica preferences name no clusters, so none would get a replica: add "clusters": {"*": {"weight": 1}} for all of them`,
		`{"clusters": {}}`:                           `the replica preferences name no clusters, so none would get a replica: add "clusters": {"*": {"weight": 1}} for all of them`,
		`{"clusters": {"foo": {"weight": -1}}}`:      `the replica preferences give cluster "foo" weight -1: make it 0 or more`,
		`{"clusters": {"foo": {"minReplicas": -2}}}`: `the replica preferences give cluster "foo" minReplicas -2: make it 0 or more`,
		`{"clusters": {"*": {"maxReplicas": -3}}}`:   `the replica preferences give cluster "*" maxReplicas -3: make it 0 or more`,
		`{"clusters": {"foo": {"minReplicas": 5, "maxReplicas": 3}}}`: `the replica preferences give cluster "foo" minReplicas 5 above maxReplicas 3: lower the one or raise the other`,
	} {
		got, err := Parse(annotation)
		assert.EqualError(t, err, want, annotation)
		assert.Zero(t, got)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{documented, "", "{}", `{"clusters": {"a": {"minReplicas": 2, "maxReplicas": 1}}}`, `{"clusters": {"a": null}} x`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, annotation string) {
		preferences, err := Parse(annotation)
		if err != nil {
			require.Zero(t, preferences)
			return
		}
		written, err := json.Marshal(preferences)
		require.NoError(t, err)
		again, err := Parse(string(written))
		require.NoError(t, err)
		require.Equal(t, preferences, again)
		placed := int32(0)
		for _, share := range Plan(preferences, 9, []Cluster{{Name: "a"}, {Name: "b", Current: 5}}, "ns/name") {
			placed += share.Replicas
		}
		require.LessOrEqual(t, placed, int32(9))
	})
}
