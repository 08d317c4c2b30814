package planner

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSpreadHPA(t *testing.T) {
	type locals map[string]*LocalHPA
	type hpas map[string]HPA
	idle := func(maximum int32) *LocalHPA { return &LocalHPA{Max: maximum, MayMove: true} }
	running := func(maximum, replicas int32) *LocalHPA {
		return &LocalHPA{Max: maximum, Current: replicas, Desired: replicas, MayMove: true}
	}
	frozen := func(l *LocalHPA) *LocalHPA { l.MayMove = false; return l }
	for name, test := range map[string]struct {
		federated HPA
		locals    locals
		want      hpas
	}{
		"new everywhere":                {HPA{1, 10}, locals{"A": nil, "B": nil}, hpas{"A": {1, 5}, "B": {1, 5}}},
		"new with a minimum":            {HPA{5, 10}, locals{"A": nil, "B": nil, "C": nil}, hpas{"A": {1, 3}, "B": {2, 3}, "C": {2, 4}}},
		"more clusters than replicas":   {HPA{1, 2}, locals{"A": nil, "B": nil, "C": nil}, hpas{"B": {1, 1}, "C": {1, 1}}},
		"no clusters":                   {HPA{1, 2}, locals{}, hpas{}},
		"nothing to give":               {HPA{1, 0}, locals{"A": nil, "B": idle(3)}, hpas{}},
		"another grows with it":         {HPA{1, 12}, locals{"A": running(10, 3), "B": nil}, hpas{"A": {1, 10}, "B": {1, 2}}},
		"grown":                         {HPA{4, 14}, locals{"A": idle(5), "B": idle(5)}, hpas{"A": {2, 7}, "B": {2, 7}}},
		"shrunk":                        {HPA{3, 8}, locals{"A": idle(8), "B": idle(8)}, hpas{"A": {1, 4}, "B": {2, 4}}},
		"shrunk, first the spare ones":  {HPA{1, 10}, locals{"A": running(12, 7), "B": running(8, 1)}, hpas{"A": {1, 8}, "B": {1, 2}}},
		"shrunk below what is desired":  {HPA{1, 6}, locals{"A": running(12, 7), "B": running(8, 1)}, hpas{"A": {1, 5}, "B": {1, 1}}},
		"shrunk, but not to none":       {HPA{1, 10}, locals{"A": running(9, 9), "B": idle(5), "C": idle(5)}, hpas{"A": {1, 8}, "B": {1, 1}, "C": {1, 1}}},
		"a new cluster takes part":      {HPA{1, 10}, locals{"A": idle(10), "B": nil}, hpas{"A": {1, 9}, "B": {1, 1}}},
		"the one at its max gets more":  {HPA{1, 10}, locals{"A": running(7, 5), "B": running(1, 1), "C": frozen(running(2, 1))}, hpas{"A": {1, 6}, "B": {1, 2}, "C": {1, 2}}},
		"nobody has any to spare":       {HPA{1, 10}, locals{"A": running(9, 9), "B": running(1, 1)}, hpas{"A": {1, 9}, "B": {1, 1}}},
		"the last spare one stays":      {HPA{1, 10}, locals{"A": running(9, 8), "B": running(1, 1)}, hpas{"A": {1, 9}, "B": {1, 1}}},
		"within the window none gives":  {HPA{1, 10}, locals{"A": frozen(running(9, 2)), "B": running(1, 1)}, hpas{"A": {1, 9}, "B": {1, 1}}},
		"within the window none takes":  {HPA{1, 10}, locals{"A": running(9, 2), "B": frozen(running(1, 1))}, hpas{"A": {1, 9}, "B": {1, 1}}},
		"no room for a new cluster yet": {HPA{1, 3}, locals{"A": running(3, 3), "B": nil}, hpas{"A": {1, 3}}},
		"scaling up is not at its max":  {HPA{1, 10}, locals{"A": running(8, 2), "B": {Max: 2, Current: 1, Desired: 2, MayMove: true}}, hpas{"A": {1, 8}, "B": {1, 2}}},
		"minima follow the maxima":      {HPA{6, 8}, locals{"A": running(7, 7), "B": running(1, 1)}, hpas{"A": {5, 7}, "B": {1, 1}}},
	} {
		var clusters []HPACluster
		for name, local := range test.locals {
			clusters = append(clusters, HPACluster{Name: name, Local: local})
		}
		assert.Equal(t, test.want, hpas(SpreadHPA(test.federated, clusters, "")), name)
	}
}

func TestSpreadHPAProperties(t *testing.T) {
	r := chance(t)
	for range 4000 {
		federated, clusters := hpaProblem(r)
		got := SpreadHPA(federated, clusters, "ns/name")
		explain := func() string {
			text := fmt.Sprintf("%+v gave %+v of", federated, got)
			for _, c := range clusters {
				text += fmt.Sprintf(" %s=%+v", c.Name, c.Local)
			}
			return text
		}
		minima, maxima, desired := int32(0), int32(0), int32(0)
		for _, h := range got {
			require.GreaterOrEqual(t, h.Min, int32(1), explain())
			require.LessOrEqual(t, h.Min, h.Max, explain())
			minima, maxima = minima+h.Min, maxima+h.Max
		}
		if len(clusters) > 0 {
			require.Equal(t, federated.Max, maxima, explain())
			require.Equal(t, max(federated.Min, int32(len(got))), minima, explain())
		}

		fresh, existing := true, int32(0)
		var again []HPACluster
		for _, c := range clusters {
			if fresh = fresh && c.Local == nil; c.Local != nil {
				desired += min(max(1, c.Local.Desired), c.Local.Max)
				existing++
			}
		}
		for _, c := range clusters {
			if (fresh && int(federated.Max) >= len(clusters)) || (c.Local != nil && federated.Max >= existing) {
				require.Contains(t, got, c.Name, explain())
			}
			if c.Local != nil && desired <= federated.Max {
				require.GreaterOrEqual(t, got[c.Name].Max, min(c.Local.Desired, c.Local.Max), "took what is in use: "+explain())
			}
			next := HPACluster{Name: c.Name}
			if h, some := got[c.Name]; some {
				next.Local = &LocalHPA{Max: h.Max}
				if c.Local != nil {
					next.Local.Current, next.Local.Desired, next.Local.MayMove = c.Local.Current, c.Local.Desired, c.Local.MayMove
				}
			}
			again = append(again, next)
		}
		r.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		require.Equal(t, got, SpreadHPA(federated, again, "ns/name"), explain())
	}
}

func hpaProblem(r *rand.Rand) (HPA, []HPACluster) {
	federated := HPA{Max: 1 + r.Int32N(20)}
	federated.Min = 1 + r.Int32N(federated.Max)
	var clusters []HPACluster
	for i := range r.IntN(6) {
		c := HPACluster{Name: "cluster" + strconv.Itoa(i)}
		if r.IntN(3) > 0 {
			c.Local = &LocalHPA{Max: 1 + r.Int32N(8), MayMove: r.IntN(3) > 0}
			c.Local.Current, c.Local.Desired = r.Int32N(c.Local.Max+1), r.Int32N(c.Local.Max+1)
			if r.IntN(2) == 0 {
				c.Local.Current = c.Local.Desired
			}
		}
		clusters = append(clusters, c)
	}
	return federated, clusters
}
