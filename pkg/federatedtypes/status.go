package federatedtypes

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Copy is what a member says of its copy of an object.
type Copy struct {
	Cluster string
	// Status is the copy's, to be read only.
	Status map[string]any
	// Current says that the copy is the object as it is now, and that the member's controllers have seen it.
	Current bool
}

// Sum gives the status of an object from those of its copies, or nil where the type's status is not brought back. copies are in the order of the
// clusters' names. What is not among the result is none of the federation's.
func (t *Type) Sum(object *unstructured.Unstructured, copies []Copy) map[string]any {
	if t.sum == nil {
		return nil
	}
	return t.sum(object, copies)
}

// SameStatus says whether an object has a summed status already. Numbers that are missing are 0, and missing lists and maps empty.
func SameStatus(object *unstructured.Unstructured, sum map[string]any) bool {
	status, _ := object.Object["status"].(map[string]any)
	return covers(status, sum)
}

func covers(status, sum map[string]any) bool {
	for name, want := range sum {
		got, found := status[name]
		if inner, nested := want.(map[string]any); nested {
			has, _ := got.(map[string]any)
			if !covers(has, inner) {
				return false
			}
			continue
		}
		if !found && empty(want) {
			continue
		}
		if !equality.Semantic.DeepEqual(got, want) {
			return false
		}
	}
	return true
}

func empty(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case int64:
		return v == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// sumFields adds up numbers, merges the conditions, and says that the generation was observed once it was in every member.
func sumFields(names ...string) func(*unstructured.Unstructured, []Copy) map[string]any {
	return func(object *unstructured.Unstructured, copies []Copy) map[string]any {
		sum := add(copies, names...)
		sum["conditions"] = mergeConditions(copies)
		if !slices.ContainsFunc(copies, func(c Copy) bool { return !c.Current }) {
			sum["observedGeneration"] = object.GetGeneration()
		}
		return sum
	}
}

func add(copies []Copy, names ...string) map[string]any {
	sum := map[string]any{}
	for _, name := range names {
		var total int64
		for _, c := range copies {
			n, _ := c.Status[name].(int64)
			total += n
		}
		sum[name] = total
	}
	return sum
}

// sumLoadBalancer puts together the addresses of all members.
func sumLoadBalancer(_ *unstructured.Unstructured, copies []Copy) map[string]any {
	var all []any
	for _, c := range copies {
		ingress, _, _ := unstructured.NestedFieldNoCopy(c.Status, "loadBalancer", "ingress")
		entries, _ := ingress.([]any)
		for _, entry := range entries {
			if !slices.ContainsFunc(all, func(other any) bool { return equality.Semantic.DeepEqual(entry, other) }) {
				all = append(all, entry)
			}
		}
	}
	balancer := map[string]any{"ingress": nil} // takes out of the object's status what no member says any more
	if len(all) > 0 {
		balancer["ingress"] = all
	}
	return map[string]any{"loadBalancer": balancer}
}

// sumJob adds up the pods. A Job is finished when its part in every member is: complete if all are, failed if one is. An API takes a Job's last word
// once, its start once, and no counts that fall: what of a status it would refuse, it would refuse for ever.
func sumJob(object *unstructured.Unstructured, copies []Copy) map[string]any {
	status, _ := object.Object["status"].(map[string]any)
	if finished(Copy{Status: status}) {
		return map[string]any{}
	}
	sum := add(copies, "active", "ready", "succeeded", "failed", "terminating")
	for _, name := range []string{"succeeded", "failed"} {
		before, _ := status[name].(int64) // with those of members that have left
		sum[name] = max(before, sum[name].(int64))
	}
	start := text(status["startTime"])
	var starts, ends []string
	for _, c := range copies {
		if at := text(c.Status["startTime"]); at != "" {
			starts = append(starts, at)
		}
		ends = append(ends, text(c.Status["completionTime"]))
	}
	if start == "" && len(starts) > 0 {
		start = slices.Min(starts) // RFC 3339 in UTC sorts as text
		sum["startTime"] = start
	}
	sum["conditions"] = []any{}
	if len(copies) == 0 || slices.ContainsFunc(copies, func(c Copy) bool { return !finished(c) }) {
		return sum
	}
	outcome, cause := "Complete", "SuccessCriteriaMet"
	if slices.ContainsFunc(copies, func(c Copy) bool { return isTrue(c, "Failed") }) {
		outcome, cause = "Failed", "FailureTarget"
	} else {
		sum["completionTime"] = slices.Max(append(ends, start))
	}
	last := mergeCondition(outcome, "True", copies)
	why := maps.Clone(last) // members before Kubernetes 1.31 do not say it, newer APIs want it
	why["type"] = cause
	sum["conditions"] = []any{last, why}
	return sum
}

func finished(c Copy) bool { return isTrue(c, "Complete") || isTrue(c, "Failed") }

func isTrue(c Copy, kind string) bool {
	return slices.ContainsFunc(conditionsOf(c), func(of map[string]any) bool { return of["type"] == kind && of["status"] == "True" })
}

// alarming are the conditions that hold as soon as they hold in one member; the others hold when they hold in all.
var alarming = map[string]bool{"ReplicaFailure": true, "Failed": true, "FailureTarget": true, "ScalingLimited": true, "Suspended": true}

// mergeConditions gives a condition of each type that a copy has, with the reason of the first member that decides, the messages of all that do, and
// the latest times.
func mergeConditions(copies []Copy) []any {
	var kinds []string
	for _, c := range copies {
		for _, of := range conditionsOf(c) {
			if kind, _ := of["type"].(string); kind != "" && !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
	}
	slices.Sort(kinds)
	merged := []any{}
	for _, kind := range kinds {
		decisive := "False"
		if alarming[kind] {
			decisive = "True"
		}
		merged = append(merged, mergeCondition(kind, decisive, copies))
	}
	return merged
}

func mergeCondition(kind, decisive string, copies []Copy) map[string]any {
	var members []string
	var of []map[string]any
	decided := false
	for _, c := range copies {
		at := slices.IndexFunc(conditionsOf(c), func(of map[string]any) bool { return of["type"] == kind })
		if at < 0 {
			continue
		}
		condition := conditionsOf(c)[at]
		decides := condition["status"] == decisive || condition["status"] == "Unknown"
		if decides && !decided {
			decided, members, of = true, nil, nil // those before it do not count
		}
		if decides == decided {
			members, of = append(members, c.Cluster), append(of, condition)
		}
	}
	merged := map[string]any{"type": kind, "status": of[0]["status"]}
	var messages []string
	for i, condition := range of {
		for _, name := range []string{"lastTransitionTime", "lastUpdateTime", "lastProbeTime"} {
			if at, _ := condition[name].(string); at != "" && at > text(merged[name]) {
				merged[name] = at
			}
		}
		if reason := text(condition["reason"]); reason != "" && merged["reason"] == nil {
			merged["reason"] = reason
		}
		if message := text(condition["message"]); message != "" {
			messages = append(messages, members[i]+": "+message)
		}
	}
	if len(messages) > 0 {
		merged["message"] = strings.Join(messages, "; ")
	}
	return merged
}

func conditionsOf(c Copy) []map[string]any {
	list, _ := c.Status["conditions"].([]any)
	conditions := make([]map[string]any, 0, len(list))
	for _, item := range list {
		if condition, ok := item.(map[string]any); ok {
			conditions = append(conditions, condition)
		}
	}
	return conditions
}

func text(field any) string {
	s, _ := field.(string)
	return s
}
