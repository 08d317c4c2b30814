package planner

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSplit(t *testing.T) {
	type shares map[string]JobShare
	of := func(parallelism, completions int32) JobShare {
		return JobShare{Parallelism: parallelism, Completions: new(completions)}
	}
	for _, test := range []struct {
		preferences string
		parallelism int32
		completions *int32
		want        shares
	}{
		{`"*": {"weight": 1}`, 4, new(int32(10)), shares{"A": of(2, 5), "B": of(2, 5)}},
		{`"*": {"weight": 1}`, 9, new(int32(9)), shares{"A": of(4, 4), "B": of(5, 5)}},
		{`"A": {"weight": 2}, "B": {"weight": 1}`, 9, new(int32(100)), shares{"A": of(6, 67), "B": of(3, 33)}},
		{`"A": {"maxReplicas": 2, "weight": 1}, "B": {"weight": 1}`, 10, new(int32(1000)), shares{"A": of(2, 200), "B": of(8, 800)}}, // no maximum for completions
		{`"A": {"weight": 1}`, 3, new(int32(7)), shares{"A": of(3, 7), "B": of(0, 0)}},
		{`"*": {"weight": 1}`, 1, new(int32(7)), shares{"A": of(0, 0), "B": of(1, 7)}},
		{`"*": {"weight": 1}`, 2, new(int32(1)), shares{"A": of(1, 0), "B": of(1, 1)}},
		{`"*": {"weight": 1}`, 0, new(int32(7)), shares{"A": of(0, 0), "B": of(0, 0)}},
		{`"*": {"weight": 1}`, 3, nil, shares{"A": {Parallelism: 1}, "B": {Parallelism: 2}}},
	} {
		preferences, err := Parse(`{"clusters": {` + test.preferences + "}}")
		require.NoError(t, err)
		assert.Equal(t, test.want, shares(Split(preferences, test.parallelism, test.completions, clustersOf(t, "A B"), "")), "%+v", test)
	}
}

func TestSplitProperties(t *testing.T) {
	r := chance(t)
	for range 2000 {
		preferences, parallelism, clusters := problem(r)
		completions := r.Int32N(1000)
		shares := Split(preferences, parallelism, &completions, clusters, "ns/name")
		explain := fmt.Sprintf("%s parallelism %d completions %d clusters %v gave %+v", shown(preferences), parallelism, completions, clustersShown(clusters), shares)
		plan := Plan(preferences, parallelism, clusters, "ns/name")
		running, complete := int64(0), int32(0)
		for name, share := range shares {
			require.Equal(t, plan[name].Replicas, share.Parallelism, explain)
			running += int64(share.Parallelism)
			complete += *share.Completions
		}
		if running == 0 {
			require.Zero(t, complete, explain)
			continue
		}
		require.Equal(t, completions, complete, explain)
		for _, share := range shares {
			exact := float64(completions) * float64(share.Parallelism) / float64(running)
			require.Less(t, math.Abs(float64(*share.Completions)-exact), 1.0, explain)
		}
		r.Shuffle(len(clusters), func(i, j int) { clusters[i], clusters[j] = clusters[j], clusters[i] })
		require.Equal(t, shares, Split(preferences, parallelism, &completions, clusters, "ns/name"), explain)
	}
}
