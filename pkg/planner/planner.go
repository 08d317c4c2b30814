package planner

import (
	"cmp"
	"hash/fnv"
	"slices"
)

// Cluster is a cluster that replicas can go to.
type Cluster struct {
	Name string
	// Current is how many replicas it has. It counts only when Rebalance is false. Best is what was asked there less what cannot be scheduled: v1
	// took the ready ones, so a pod that was not ready for a moment could lose its place to another cluster.
	Current int32
	// Capacity is how many replicas can be scheduled there: those asked less those unschedulable for long (60s in v1); nil when nothing is known.
	Capacity *int32
}

// Share is what a cluster gets.
type Share struct {
	// Replicas are expected to run there.
	Replicas int32
	// Overflow is asked on top of Replicas, above the capacity: pods that wait for room, so that it is noticed when there is some.
	Overflow int32
}

// Asked is the number to write into the cluster's object.
func (s Share) Asked() int32 { return s.Replicas + s.Overflow }

// Plan divides total replicas of the object with that key (namespace/name) among clusters, whose names differ. Every cluster is in the result; one
// that the preferences do not cover has 0.
//
// All is done in the order of weight, greatest first, then of a hash of name and key, so that objects with one replica do not all go to one cluster.
// Everyone gets its minimum. With Rebalance false everyone keeps what it has. The rest is divided by weight, what is kept counting towards its
// cluster's part. Nobody gets more than its maximum and capacity; what it cannot take goes to the others.
//
// The Replicas add up to total or, when nobody may take more, to less; never to more. With Rebalance true, and no minima, maxima or capacities, each is
// less than one from its exact part: its weight × total / the sum of weights. Planning again with Current = Replicas (or Asked) gives the same.
//
// Overflow is what a cluster would have beyond its capacity if it had room: with Rebalance true its whole part, with false only its minimum and what
// nobody else can take. What is asked can so be more than total while pods wait; the plan that follows when they run sets it right.
//
// v1 did the same but for what it left to chance, or marked as to do:
//   - It rounded every part up until nothing was left: 5 replicas in 4 clusters were 2, 2, 1, 0. Here all are rounded down, and then the first up.
//   - Rebalance false with more replicas running than wanted took them from the last cluster: 10 and 70 became 0 and 50 instead of 10 and 40.
//   - It forgot a minimum that there was no room for. As soon as nothing was waiting it tried again, and moved running replicas back and forth.
//   - With Rebalance false the overflow of several clusters together could exceed what was left over.
//   - Great weights made its products wrap around, and its rounds many.
func Plan(preferences Preferences, total int32, clusters []Cluster, key string) map[string]Share {
	replicas := place(preferences, total, clusters, key)
	roomy := slices.Clone(clusters)
	for i, c := range clusters {
		roomy[i] = Cluster{Name: c.Name, Current: replicas[c.Name]}
	}
	wanted := place(preferences, total, roomy, key)

	shares := make(map[string]Share, len(clusters))
	for _, c := range clusters {
		share := Share{Replicas: replicas[c.Name]}
		if c.Capacity != nil {
			share.Overflow = max(0, wanted[c.Name]-max(0, *c.Capacity))
		}
		shares[c.Name] = share
	}
	return shares
}

// amounts are numbers of replicas, or weights, by cluster name.
type amounts map[string]int32

// place plans without overflow.
func place(preferences Preferences, total int32, clusters []Cluster, key string) amounts {
	weights, limits, has := amounts{}, amounts{}, amounts{}
	for _, c := range clusters {
		if own, covered := preferences.of(c.Name); covered {
			weights[c.Name], has[c.Name] = own.Weight, c.Current
			limits[c.Name] = max(0, atMost(atMost(total, own.MaxReplicas), c.Capacity))
		}
	}
	order := inOrder(weights, key)

	given, kept, more := amounts{}, amounts{}, amounts{}
	rest := max(0, total)
	for _, name := range order {
		own, _ := preferences.of(name)
		given[name] = min(own.MinReplicas, limits[name], rest)
		rest -= given[name]
	}
	for _, name := range order {
		if !preferences.Rebalance {
			kept[name] = max(0, min(has[name], limits[name])-given[name])
		}
		more[name] = limits[name] - given[name]
		if weights[name] == 0 {
			more[name] = kept[name]
		}
	}
	for name, n := range spread(rest, order, weights, more, kept) {
		given[name] += n
	}
	return given
}

func atMost(n int32, limit *int32) int32 {
	if limit == nil {
		return n
	}
	return min(n, *limit)
}

// inOrder gives the names of weights, the greatest weight first, then by hash. v1 hashes with FNV-1, and not -1a, the name and then the key.
func inOrder(weights amounts, key string) []string {
	hashes := map[string]uint32{}
	names := make([]string, 0, len(weights))
	for name := range weights {
		hash := fnv.New32()
		_, _ = hash.Write([]byte(name + key)) // never fails
		hashes[name] = hash.Sum32()
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(weights[b], weights[a]), cmp.Compare(hashes[a], hashes[b]), cmp.Compare(a, b))
	})
	return names
}

// spread divides total by weight between bounds. The ladder's rungs go down, ending in one of zeros that is not given; the bounds are the highest two
// neighbours of which the lower adds up to no more than total. Each name gets its weight times a factor that is the same for all, or its bound where
// that is beyond: rounded down, and then up for the first in order as far as total goes. What nobody with a weight can take goes to those without one,
// in order, which otherwise stay at their lower bound.
func spread(total int32, order []string, weights amounts, ladder ...amounts) amounts {
	upper, lower := neighbours(total, ladder)
	within := func(name string, n int32) int32 { return min(max(n, lower[name]), upper[name]) }

	given, rest := amounts{}, total
	give := func(name string, n int32) {
		given[name] += n
		rest -= n
	}
	var open []string
	for _, name := range order {
		if weights[name] > 0 {
			open = append(open, name)
		} else {
			give(name, lower[name])
		}
	}
	// A round divides the rest, or else finds names that are at a bound whatever the others get: so there are no more rounds than names.
	for len(open) > 0 {
		parts := rest
		var weight, least, most int64
		for _, name := range open {
			weight += int64(weights[name])
		}
		part := func(name string) (down, up int32) {
			product := int64(parts) * int64(weights[name])
			return int32(product / weight), int32((product + weight - 1) / weight) //nolint:gosec // no more than parts
		}
		for _, name := range open {
			down, up := part(name)
			least += int64(within(name, down))
			most += int64(within(name, up))
		}
		var at amounts
		var closed func(name string) bool
		switch {
		case least > int64(parts):
			at, closed = lower, func(name string) bool { down, _ := part(name); return down < lower[name] }
		case most < int64(parts):
			at, closed = upper, func(name string) bool { _, up := part(name); return up > upper[name] }
		default:
			for _, name := range open {
				down, _ := part(name)
				give(name, within(name, down))
			}
			for _, name := range open {
				_, up := part(name)
				give(name, min(within(name, up)-given[name], rest))
			}
			return given
		}
		for _, name := range open {
			if closed(name) {
				give(name, at[name])
			}
		}
		open = slices.DeleteFunc(open, closed)
	}
	for _, name := range order {
		give(name, min(upper[name]-given[name], rest))
	}
	return given
}

// neighbours gives the bounds of spread.
func neighbours(total int32, ladder []amounts) (upper, lower amounts) {
	upper = ladder[0]
	for _, rung := range ladder[1:] {
		var sum int64
		for _, n := range rung {
			sum += int64(n)
		}
		if sum <= int64(total) {
			return upper, rung
		}
		upper = rung
	}
	return upper, nil
}
