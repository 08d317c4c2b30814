package planner

import (
	"cmp"
	"slices"
)

// HPA is the minReplicas and maxReplicas of a HorizontalPodAutoscaler. Kubernetes' default for an absent minReplicas is 1.
type HPA struct {
	Min, Max int32
}

// HPACluster is a cluster that an HPA can go to.
type HPACluster struct {
	Name string
	// Local is the HPA there; nil when there is none.
	Local *LocalHPA
}

// LocalHPA is what the HPA in a cluster says.
type LocalHPA struct {
	// Max is spec.maxReplicas, Current and Desired are the status' currentReplicas and desiredReplicas.
	Max, Current, Desired int32
	// MayMove is false while the HPA has been made or has scaled within --hpa-scale-forbidden-window (2m in v1). It then neither gives nor takes.
	MayMove bool
}

// spare is how much of its max the HPA can give away. It keeps one replica above what it desires, for only then it can show that it wants more; and
// what it has just got for that it does not lose again before it is used, as it did in v1.
func (l *LocalHPA) spare(maximum int32) int32 {
	if l == nil || !l.MayMove {
		return 0
	}
	return maximum - l.Desired - 1
}

// wants says whether the HPA is at its max, so that more of it may be of use. No HPA at all wants one.
func (l *LocalHPA) wants(maximum int32) bool {
	if l == nil {
		return maximum == 0
	}
	return l.MayMove && min(l.Current, l.Desired) >= maximum
}

// SpreadHPA divides the federated HPA of the object with that key (namespace/name). The maxima add up to the federated maximum. A cluster gets an HPA,
// with a minimum of at least 1, or is not in the result: when there are more clusters than replicas, or none to spare for a cluster that is new. The
// minima add up to the federated minimum, or to 1 for each HPA if that is more, as in v1.
//
// The steps are v1's; where v1 chose at random, here they are level and in the order of a hash of name and key:
//   - Maxima stay as they are. When the federated one grew, the lowest are raised, those of clusters without an HPA first; when it shrank, the highest
//     are lowered, at first to what is desired there, and below only when all of them are.
//   - Each HPA that is at its max, and each cluster without one, gets one replica of max from the HPA with the most to spare.
//   - Minima are divided equally within the maxima. They do not follow the load: who has load is above its minimum anyway.
//
// It moves one replica a cluster and call, as v1 did: call it again when an HPA's status changes. With an unchanged status it changes nothing more,
// if MayMove is false for the HPAs just made.
func SpreadHPA(federated HPA, clusters []HPACluster, key string) map[string]HPA {
	locals := map[string]*LocalHPA{}
	equal, all, has, desired, one := amounts{}, amounts{}, amounts{}, amounts{}, amounts{}
	total := max(0, federated.Max)
	for _, c := range clusters {
		locals[c.Name], equal[c.Name], all[c.Name] = c.Local, 1, total
		if c.Local != nil {
			has[c.Name] = max(0, c.Local.Max)
			one[c.Name] = min(1, has[c.Name])
			desired[c.Name] = min(max(one[c.Name], c.Local.Desired), has[c.Name])
		}
	}
	order := inOrder(equal, key)
	maxima := spread(total, order, equal, all, has, desired, one)

	for _, taker := range order {
		if !locals[taker].wants(maxima[taker]) {
			continue
		}
		giver := slices.MaxFunc(order, func(a, b string) int {
			return cmp.Compare(locals[a].spare(maxima[a]), locals[b].spare(maxima[b]))
		})
		if locals[giver].spare(maxima[giver]) > 0 {
			maxima[giver]--
			maxima[taker]++
		}
	}

	ones, count := amounts{}, int32(0)
	for _, name := range order {
		ones[name] = min(1, maxima[name])
		count += ones[name]
	}
	minima := spread(max(federated.Min, count), order, equal, maxima, ones)
	result := map[string]HPA{}
	for _, name := range order {
		if maxima[name] > 0 {
			result[name] = HPA{Min: minima[name], Max: maxima[name]}
		}
	}
	return result
}
