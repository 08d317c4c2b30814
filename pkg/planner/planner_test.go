package planner

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// clustersOf reads "A B=3 C=3/5 D/0": name=current/capacity.
func clustersOf(t *testing.T, text string) []Cluster {
	var list []Cluster
	number := func(text string) int32 {
		n, err := strconv.ParseInt(text, 10, 32)
		require.NoError(t, err)
		return int32(n)
	}
	for _, word := range strings.Fields(text) {
		var c Cluster
		word, capacity, limited := strings.Cut(word, "/")
		if limited {
			c.Capacity = new(number(capacity))
		}
		name, current, some := strings.Cut(word, "=")
		if c.Name = name; some {
			c.Current = number(current)
		}
		list = append(list, c)
	}
	return list
}

// planned writes a plan as "A=3+2 B=4": Replicas+Overflow in the order of the clusters.
func planned(clusters []Cluster, plan map[string]Share) string {
	var words []string
	for _, c := range clusters {
		share := plan[c.Name]
		word := fmt.Sprintf("%s=%d", c.Name, share.Replicas)
		if share.Overflow != 0 {
			word += fmt.Sprintf("+%d", share.Overflow)
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestPlan(t *testing.T) {
	const (
		move = `"rebalance": true, `
		keep = ``
	)
	for _, test := range []struct {
		rebalance, preferences string
		total                  int32
		clusters, want         string
	}{
		// Equal parts. With an empty key the hashes' order is D C B A, as in v1's tests.
		{move, `"*": {"weight": 1}`, 9, "A B", "A=4 B=5"},
		{move, `"*": {"weight": 1}`, 9, "A B C", "A=3 B=3 C=3"},
		{move, `"*": {"weight": 1}`, 50, "A B C", "A=16 B=17 C=17"},
		{move, `"*": {"weight": 1}`, 50, "A B", "A=25 B=25"},
		{move, `"*": {"weight": 1}`, 1, "A B C D", "A=0 B=0 C=0 D=1"},
		{move, `"*": {"weight": 1}`, 5, "A B C D", "A=1 B=1 C=1 D=2"}, // v1: 0 1 2 2
		{move, `"*": {"weight": 1}`, 0, "A B", "A=0 B=0"},
		{move, `"*": {"weight": 1}`, -3, "A B", "A=0 B=0"},
		{move, `"*": {"weight": 1}`, 7, "", ""},
		// Weights.
		{move, `"A": {"weight": 1}, "B": {"weight": 2}`, 9, "A B", "A=3 B=6"},
		{move, `"A": {"weight": 1}, "B": {"weight": 2}`, 60, "A B C", "A=20 B=40 C=0"},
		{move, `"A": {"weight": 2}, "*": {"weight": 1}`, 40, "A B C", "A=20 B=10 C=10"},
		{move, `"A": {"weight": 10000}, "B": {"weight": 1}`, 50, "A B C", "A=50 B=0 C=0"},
		{move, `"A": {"weight": 10000}, "B": {"weight": 1}`, 50, "B C", "B=50 C=0"},
		{move, `"*": {"weight": 2147483647}`, math.MaxInt32, "A B C", "A=715827882 B=715827882 C=715827883"},
		{move, `"A": {"weight": 1}, "*": {}`, 9, "A B", "A=9 B=0"},
		// Minima and maxima.
		{move, `"*": {"maxReplicas": 2, "weight": 1}`, 50, "A B C", "A=2 B=2 C=2"},
		{move, `"*": {"minReplicas": 2}`, 50, "A B C", "A=2 B=2 C=2"},
		{move, `"*": {"maxReplicas": 2}`, 50, "A B C", "A=0 B=0 C=0"},
		{move, `"*": {"minReplicas": 20}`, 50, "A B C", "A=10 B=20 C=20"},
		{move, `"*": {"minReplicas": 20}, "A": {"minReplicas": 100, "weight": 1}`, 50, "A B C", "A=50 B=0 C=0"},
		{move, `"*": {"minReplicas": 10, "maxReplicas": 12, "weight": 1}`, 50, "A B C", "A=12 B=12 C=12"},
		{move, `"A": {"minReplicas": 10, "weight": 1}, "B": {"weight": 1}`, 50, "A B", "A=30 B=20"}, // weights divide what the minima leave
		{move, `"A": {"maxReplicas": 10, "weight": 10000}, "*": {"weight": 1}`, 50, "A B C", "A=10 B=20 C=20"},
		{move, `"A": {"maxReplicas": 10, "weight": 10000}, "B": {"weight": 1}, "C": {"maxReplicas": 21, "weight": 1}, "D": {"maxReplicas": 10, "weight": 1}`,
			71, "A B C D", "A=10 B=30 C=21 D=10"},
		{move, `"A": {"maxReplicas": 10, "weight": 10000}, "C": {"maxReplicas": 21, "weight": 1}, "D": {"maxReplicas": 10, "weight": 1}, "*": {"weight": 1}`,
			91, "A B C D E", "A=10 B=25 C=21 D=10 E=25"},
		// What is there stays, and counts.
		{keep, `"*": {"weight": 1}`, 50, "A B C=30", "A=10 B=10 C=30"},
		{keep, `"*": {"weight": 1}`, 50, "A=20 B C", "A=20 B=15 C=15"},
		{keep, `"*": {"weight": 1}`, 15, "A=4 B=8", "A=7 B=8"},
		{keep, `"*": {"weight": 1}`, 50, "A=10 B=20", "A=25 B=25"},
		{keep, `"*": {"weight": 1}`, 500000, "A=300000 B", "A=300000 B=200000"},
		{keep, `"*": {"weight": 1}`, 50, "A=10 B=70", "A=10 B=40"}, // v1: 0 50, with a note that it should be this
		{keep, `"*": {"weight": 1}`, 1, "A=30 B", "A=1 B=0"},
		{keep, `"*": {"maxReplicas": 20, "weight": 1}`, 50, "A=30 B", "A=20 B=20"},
		{keep, `"A": {}, "B": {"weight": 1}`, 10, "A=4 B=1", "A=4 B=6"},
		{keep, `"A": {}, "B": {"weight": 1}`, 3, "A=4 B=2", "A=1 B=2"}, // without a weight it gives way first
		{keep, `"B": {"weight": 1}`, 10, "A=4 B=1", "A=0 B=10"},
		{move, `"*": {"weight": 1}`, 50, "A=20 B=30", "A=25 B=25"},
		// Capacity.
		{move, `"*": {"weight": 1}`, 50, "A B C/10", "A=20 B=20 C=10+7"},
		{move, `"A": {"weight": 10000}, "B": {"weight": 1}`, 50, "B/10 C", "B=10+40 C=0"},
		{move, `"A": {"weight": 1}, "B": {"weight": 2}`, 60, "A B/10 C", "A=50 B=10+30 C=0"},
		{move, `"A": {"maxReplicas": 10, "weight": 10000}, "B": {"weight": 1}, "C": {"maxReplicas": 21, "weight": 1}, "D": {"maxReplicas": 10, "weight": 1}`,
			71, "A B C/10 D", "A=10 B=41 C=10+11 D=10"},
		{move, `"*": {"minReplicas": 20, "weight": 1}`, 60, "A B/10", "A=50 B=10+20"}, // v1: +15, with a note that it would like this
		{move, `"A": {"weight": 1000000}, "*": {"weight": 1}`, 50, "A/40 B C", "A=40+10 B=5 C=5"},
		{move, `"*": {"weight": 1}`, 9, "A/-1 B", "A=0+4 B=9"},
		{keep, `"A": {"weight": 1}, "B": {"weight": 1}`, 60, "A/10 B/10 C", "A=10+20 B=10+20 C=0"},
		{keep, `"A": {"weight": 1}, "B": {"weight": 5}`, 60, "A B/10 C", "A=50 B=10 C=0"},
		{keep, `"*": {"weight": 1}`, 50, "A=20 B C/6", "A=22 B=22 C=6"},
		{keep, `"*": {"weight": 1}`, 50, "A=30 B C/6", "A=30 B=14 C=6"},
		{keep, `"D": {"maxReplicas": 25, "weight": 1}, "*": {"weight": 1}`, 60, "A/10 B/10 D", "A=10+7 B=10+8 D=25"}, // v1: +10 +10
		{keep, `"*": {"minReplicas": 20}`, 50, "A B/10 C", "A=20 B=10+10 C=20"},                                      // v1: B=10, and so 20 again at once
	} {
		preferences, err := Parse("{" + test.rebalance + `"clusters": {` + test.preferences + "}}")
		require.NoError(t, err)
		clusters := clustersOf(t, test.clusters)
		assert.Equal(t, test.want, planned(clusters, Plan(preferences, test.total, clusters, "")), "%+v", test)
	}
}

func TestPlanHashesTheKey(t *testing.T) {
	clusters, first := clustersOf(t, "A B C D"), map[string]bool{}
	for i := range 50 {
		first[planned(clusters, Plan(Default(), 1, clusters, strings.Repeat("x", i)))] = true
	}
	assert.Len(t, first, 4, "each cluster comes first for some object")
}

func TestAsked(t *testing.T) { assert.Equal(t, int32(5), Share{Replicas: 3, Overflow: 2}.Asked()) }

func TestPlanProperties(t *testing.T) {
	r := chance(t)
	for range 6000 {
		preferences, total, clusters := problem(r)
		plan := Plan(preferences, total, clusters, "ns/name")
		explain := fmt.Sprintf("%+v total %d clusters %+v gave %+v", shown(preferences), total, clustersShown(clusters), plan)
		require.Len(t, plan, len(clusters))

		// limit is what a cluster may have, and room what all together may.
		placed, asked, room, needed, weighted := int64(0), int64(0), int64(0), int64(0), int64(0)
		limited, waiting := false, false
		limit := map[string]int64{}
		for _, c := range clusters {
			share := plan[c.Name]
			own, covered := preferences.of(c.Name)
			most, capacity := int64(math.MaxInt32), int64(math.MaxInt32)
			if own.MaxReplicas != nil {
				most = int64(*own.MaxReplicas)
			}
			if c.Capacity != nil {
				capacity = int64(*c.Capacity)
			}
			if !covered {
				most = 0
			}
			limit[c.Name] = min(most, capacity)
			require.LessOrEqual(t, int64(share.Replicas), limit[c.Name], explain)
			require.LessOrEqual(t, int64(share.Asked()), most, explain)
			require.GreaterOrEqual(t, share.Replicas, int32(0), explain)
			require.GreaterOrEqual(t, share.Overflow, int32(0), explain)
			if share.Overflow > 0 {
				require.EqualValues(t, capacity, share.Replicas, explain)
			}
			placed, asked = placed+int64(share.Replicas), asked+int64(share.Asked())
			minimum := min(int64(own.MinReplicas), limit[c.Name])
			needed += minimum
			waiting = waiting || int64(own.MinReplicas) > limit[c.Name]
			weighted += int64(own.Weight)
			limited = limited || !covered || own.MaxReplicas != nil || c.Capacity != nil || own.MinReplicas > 0
			switch {
			case own.Weight > 0:
				room += limit[c.Name]
			case preferences.Rebalance:
				room += minimum
			default:
				room += min(limit[c.Name], max(minimum, int64(c.Current)))
			}
		}
		require.Equal(t, min(int64(total), room), placed, explain)
		if !preferences.Rebalance && !waiting {
			require.LessOrEqual(t, asked, int64(total), explain)
		}
		for _, c := range clusters {
			own, _ := preferences.of(c.Name)
			if needed <= int64(total) {
				require.GreaterOrEqual(t, int64(plan[c.Name].Replicas), min(int64(own.MinReplicas), limit[c.Name]), explain)
			}
			if preferences.Rebalance && !limited && weighted > 0 {
				exact := float64(total) * float64(own.Weight) / float64(weighted)
				require.Less(t, math.Abs(float64(plan[c.Name].Replicas)-exact), 1.0, explain)
			}
			if !preferences.Rebalance && needed == 0 && placed == int64(total) && fits(clusters, limit, total) {
				require.GreaterOrEqual(t, int64(plan[c.Name].Replicas), min(int64(c.Current), limit[c.Name]), "moved: "+explain)
			}
		}

		again := func(what string, change func(list []Cluster) []Cluster) {
			list := make([]Cluster, len(clusters))
			copy(list, clusters)
			got := Plan(preferences, total, change(list), "ns/name")
			delete(got, "unrelated")
			require.Equal(t, plan, got, what+": "+explain)
		}
		again("other order", func(list []Cluster) []Cluster {
			r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			return list
		})
		again("fixpoint of Replicas", func(list []Cluster) []Cluster {
			for i := range list {
				list[i].Current = plan[list[i].Name].Replicas
			}
			return list
		})
		again("fixpoint of Asked", func(list []Cluster) []Cluster {
			for i := range list {
				list[i].Current = plan[list[i].Name].Asked()
			}
			return list
		})
		preferences.Clusters["unrelated"] = ClusterPreferences{}
		again("a cluster without weight", func(list []Cluster) []Cluster { return append(list, Cluster{Name: "unrelated"}) })
	}
}

// fits says whether all that is there may stay.
func fits(clusters []Cluster, limit map[string]int64, total int32) bool {
	there := int64(0)
	for _, c := range clusters {
		there += min(int64(c.Current), limit[c.Name])
	}
	return there <= int64(total)
}

// problem makes up a plan's input: mostly small numbers, where rounding shows, now and then the greatest.
func problem(r *rand.Rand) (Preferences, int32, []Cluster) {
	scale := []int32{3, 12, 100, math.MaxInt32 - 1}[r.IntN(4)]
	number := func() int32 { return r.Int32N(scale + 1) }
	maybe := func(n int32) *int32 {
		if r.IntN(3) > 0 {
			return nil
		}
		return &n
	}
	preferences := Preferences{Rebalance: r.IntN(2) == 0, Clusters: map[string]ClusterPreferences{}}
	simple := r.IntN(4) == 0
	own := func() ClusterPreferences {
		c := ClusterPreferences{Weight: number()}
		if !simple {
			if c.MaxReplicas = maybe(number()); r.IntN(3) == 0 {
				c.MinReplicas = number() / 2
			}
			if c.MaxReplicas != nil {
				c.MinReplicas = min(c.MinReplicas, *c.MaxReplicas)
			}
		}
		return c
	}
	if simple || r.IntN(2) == 0 {
		preferences.Clusters[AnyCluster] = own()
	}
	var clusters []Cluster
	for i := range r.IntN(7) {
		c := Cluster{Name: "cluster" + strconv.Itoa(i), Current: number()}
		if !simple {
			c.Capacity = maybe(number())
		}
		if r.IntN(2) == 0 {
			preferences.Clusters[c.Name] = own()
		}
		clusters = append(clusters, c)
	}
	return preferences, number(), clusters
}

func shown(p Preferences) string {
	var b strings.Builder
	fmt.Fprintf(&b, "rebalance %t", p.Rebalance)
	for name, c := range p.Clusters {
		fmt.Fprintf(&b, ", %s %d..%s weight %d", name, c.MinReplicas, orNone(c.MaxReplicas), c.Weight)
	}
	return b.String()
}

func clustersShown(clusters []Cluster) (words []string) {
	for _, c := range clusters {
		words = append(words, fmt.Sprintf("%s=%d/%s", c.Name, c.Current, orNone(c.Capacity)))
	}
	return words
}

func orNone(n *int32) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(*n)
}

// chance gives randomness that SEED repeats.
func chance(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}
