package federatedtypes

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// copiesOf are copies with a status each, in clusters A, B, …; a status after a "-" is not of the object as it is now.
func copiesOf(t *testing.T, statuses ...string) []Copy {
	t.Helper()
	var copies []Copy
	for i, status := range statuses {
		c := Copy{Cluster: string(rune('A' + i)), Current: true}
		if status[0] == '-' {
			c.Current, status = false, status[1:]
		}
		c.Status = object(t, status).Object
		copies = append(copies, c)
	}
	return copies
}

func TestSum(t *testing.T) {
	const (
		complete = `{type: Complete, status: "True", reason: CompletionsReached, lastTransitionTime: "2026-01-01T00:00:09Z"}`
		met      = `{type: SuccessCriteriaMet, status: "True", reason: CompletionsReached, lastTransitionTime: "2026-01-01T00:00:08Z"}`
		failed   = `{type: Failed, status: "True", reason: BackoffLimitExceeded, message: two, lastTransitionTime: "2026-01-01T00:00:07Z"}`
		target   = `{type: FailureTarget, status: "True", reason: BackoffLimitExceeded, lastTransitionTime: "2026-01-01T00:00:06Z"}`
	)
	for _, test := range []struct {
		name, resource, object string
		copies                 []string
		want                   string
	}{
		{"a Deployment in no cluster", "deployments", `{metadata: {generation: 3}}`, nil,
			`{replicas: 0, updatedReplicas: 0, readyReplicas: 0, availableReplicas: 0, unavailableReplicas: 0, conditions: [], observedGeneration: 3}`},
		{"a Deployment", "deployments", `{metadata: {generation: 3}}`,
			[]string{`{replicas: 5, updatedReplicas: 5, readyReplicas: 4, availableReplicas: 3, unavailableReplicas: 2, observedGeneration: 8}`, `{replicas: 4, readyReplicas: 1}`},
			`{replicas: 9, updatedReplicas: 5, readyReplicas: 5, availableReplicas: 3, unavailableReplicas: 2, conditions: [], observedGeneration: 3}`},
		{"a Deployment that is not as it is now in one", "deployments", `{metadata: {generation: 3}}`,
			[]string{`{replicas: 5}`, `-{replicas: 4}`},
			`{replicas: 9, updatedReplicas: 0, readyReplicas: 0, availableReplicas: 0, unavailableReplicas: 0, conditions: []}`},
		{"a ReplicaSet", "replicasets", `{metadata: {generation: 1}}`,
			[]string{`{replicas: 5, fullyLabeledReplicas: 5, readyReplicas: 4, availableReplicas: 3}`, `{replicas: 1, fullyLabeledReplicas: 1}`},
			`{replicas: 6, fullyLabeledReplicas: 6, readyReplicas: 4, availableReplicas: 3, conditions: [], observedGeneration: 1}`},
		{"a StatefulSet, whose revisions are each member's", "statefulsets", `{metadata: {generation: 1}}`,
			[]string{`{replicas: 5, readyReplicas: 4, currentReplicas: 5, updatedReplicas: 5, availableReplicas: 4, currentRevision: a}`, `{replicas: 1, currentReplicas: 1}`},
			`{replicas: 6, readyReplicas: 4, currentReplicas: 6, updatedReplicas: 5, availableReplicas: 4, conditions: [], observedGeneration: 1}`},
		{"a DaemonSet", "daemonsets", `{metadata: {generation: 2}}`,
			[]string{`{currentNumberScheduled: 3, numberMisscheduled: 1, desiredNumberScheduled: 4, numberReady: 2, updatedNumberScheduled: 3, numberAvailable: 2, numberUnavailable: 2}`, `{desiredNumberScheduled: 1}`},
			`{currentNumberScheduled: 3, numberMisscheduled: 1, desiredNumberScheduled: 5, numberReady: 2, updatedNumberScheduled: 3, numberAvailable: 2, numberUnavailable: 2, conditions: [], observedGeneration: 2}`},
		{"an HPA", "horizontalpodautoscalers", `{metadata: {generation: 2}}`, []string{`{currentReplicas: 3, desiredReplicas: 4}`, `{currentReplicas: 1, desiredReplicas: 1}`},
			`{currentReplicas: 4, desiredReplicas: 5, conditions: [], observedGeneration: 2}`},

		{"a Service's addresses, each once, in the clusters' order", "services", `{}`,
			[]string{`{loadBalancer: {ingress: [{ip: 1.1.1.1}, {hostname: a.example.com}]}}`, `{loadBalancer: {}}`, `{}`, `{loadBalancer: {ingress: [{ip: 2.2.2.2}, {ip: 1.1.1.1}]}}`},
			`{loadBalancer: {ingress: [{ip: 1.1.1.1}, {hostname: a.example.com}, {ip: 2.2.2.2}]}}`},
		{"a Service that has no address any more", "services", `{status: {loadBalancer: {ingress: [{ip: 1.1.1.1}]}}}`, []string{`{loadBalancer: {}}`}, `{loadBalancer: {ingress: null}}`},
		{"an Ingress", "ingresses", `{}`, []string{`{loadBalancer: {ingress: [{ip: 1.1.1.1}]}}`}, `{loadBalancer: {ingress: [{ip: 1.1.1.1}]}}`},

		{"a Job that runs", "jobs", `{}`,
			[]string{`{active: 2, ready: 1, succeeded: 3, startTime: "2026-01-01T00:00:02Z"}`, `{active: 1, failed: 1, terminating: 1, startTime: "2026-01-01T00:00:01Z"}`},
			`{active: 3, ready: 1, succeeded: 3, failed: 1, terminating: 1, startTime: "2026-01-01T00:00:01Z", conditions: []}`},
		{"a Job's start is said once", "jobs", `{status: {startTime: "2026-01-01T00:00:02Z"}}`, []string{`{active: 1, startTime: "2026-01-01T00:00:01Z"}`},
			`{active: 1, ready: 0, succeeded: 0, failed: 0, terminating: 0, conditions: []}`},
		{"a Job's counts do not fall when a member leaves", "jobs", `{status: {succeeded: 5, failed: 2, active: 3}}`, []string{`{active: 1, succeeded: 1}`},
			`{active: 1, ready: 0, succeeded: 5, failed: 2, terminating: 0, conditions: []}`},
		{"a Job that is finished in one member", "jobs", `{}`, []string{`{conditions: [` + complete + `]}`, `{active: 1, conditions: [{type: Suspended, status: "False"}]}`},
			`{active: 1, ready: 0, succeeded: 0, failed: 0, terminating: 0, conditions: []}`},
		{"a Job that has failed in one member and runs in the other", "jobs", `{}`, []string{`{conditions: [` + failed + `, ` + target + `]}`, `{active: 1}`},
			`{active: 1, ready: 0, succeeded: 0, failed: 0, terminating: 0, conditions: []}`},
		{"a Job that is not in a member yet", "jobs", `{}`, []string{`{conditions: [` + complete + `]}`, `{}`},
			`{active: 0, ready: 0, succeeded: 0, failed: 0, terminating: 0, conditions: []}`},
		{"a Job in no cluster is not finished", "jobs", `{}`, nil, `{active: 0, ready: 0, succeeded: 0, failed: 0, terminating: 0, conditions: []}`},
		{"a Job that is complete in all", "jobs", `{}`,
			[]string{`{succeeded: 5, startTime: "2026-01-01T00:00:01Z", completionTime: "2026-01-01T00:00:09Z", conditions: [` + complete + `, ` + met + `]}`,
				`{succeeded: 4, startTime: "2026-01-01T00:00:02Z", completionTime: "2026-01-01T00:00:04Z", conditions: [` + met + `, ` + complete + `]}`},
			`{active: 0, ready: 0, succeeded: 9, failed: 0, terminating: 0, startTime: "2026-01-01T00:00:01Z", completionTime: "2026-01-01T00:00:09Z", conditions: [
  {type: Complete, status: "True", reason: CompletionsReached, lastTransitionTime: "2026-01-01T00:00:09Z"},
  {type: SuccessCriteriaMet, status: "True", reason: CompletionsReached, lastTransitionTime: "2026-01-01T00:00:09Z"}]}`},
		{"a Job that is complete in members that do not say why yet, one with another clock", "jobs", `{status: {startTime: "2026-01-01T00:00:10Z"}}`,
			[]string{`{succeeded: 5, completionTime: "2026-01-01T00:00:09Z", conditions: [` + complete + `]}`},
			`{active: 0, ready: 0, succeeded: 5, failed: 0, terminating: 0, completionTime: "2026-01-01T00:00:10Z", conditions: [
  {type: Complete, status: "True", reason: CompletionsReached, lastTransitionTime: "2026-01-01T00:00:09Z"},
  {type: SuccessCriteriaMet, status: "True", reason: CompletionsReached, lastTransitionTime: "2026-01-01T00:00:09Z"}]}`},
		{"a Job that has failed in one and is complete in the other", "jobs", `{}`,
			[]string{`{succeeded: 5, completionTime: "2026-01-01T00:00:09Z", conditions: [` + complete + `, ` + met + `]}`, `{failed: 6, conditions: [` + target + `, ` + failed + `]}`},
			`{active: 0, ready: 0, succeeded: 5, failed: 6, terminating: 0, conditions: [
  {type: Failed, status: "True", reason: BackoffLimitExceeded, message: "B: two", lastTransitionTime: "2026-01-01T00:00:07Z"},
  {type: FailureTarget, status: "True", reason: BackoffLimitExceeded, message: "B: two", lastTransitionTime: "2026-01-01T00:00:07Z"}]}`},
		{"a Job's last word is said once", "jobs", `{status: {succeeded: 9, conditions: [` + complete + `]}}`, []string{`{active: 1}`}, `{}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			copies := copiesOf(t, test.copies...)
			sum := typeOf(t, test.resource).Sum(object(t, test.object), copies)
			require.Equal(t, object(t, test.want).Object, sum)
			require.Equal(t, copiesOf(t, test.copies...), copies, "the copies are the cache's")
		})
	}
	for _, resource := range []string{"configmaps", "namespaces", "cronjobs", "roles"} {
		require.Nil(t, typeOf(t, resource).Sum(object(t, `{}`), copiesOf(t, `{active: [1]}`)))
		require.False(t, typeOf(t, resource).HasStatus())
	}
}

func TestConditionsAreMerged(t *testing.T) {
	for _, test := range []struct {
		name   string
		copies []string
		want   string
	}{
		{"none", []string{`{}`, `{conditions: []}`, `{conditions: [1, {status: "True"}]}`}, `[]`},
		{"true in all, with the latest times and everybody's messages",
			[]string{`{conditions: [{type: Available, status: "True", reason: Enough, message: a, lastUpdateTime: "2026-01-01T00:00:02Z", lastTransitionTime: "2026-01-01T00:00:01Z"}]}`,
				`{conditions: [{type: Available, status: "True", reason: Other, message: b, lastUpdateTime: "2026-01-01T00:00:01Z", lastTransitionTime: "2026-01-01T00:00:03Z"}]}`},
			`[{type: Available, status: "True", reason: Enough, message: "A: a; B: b", lastUpdateTime: "2026-01-01T00:00:02Z", lastTransitionTime: "2026-01-01T00:00:03Z"}]`},
		{"false in one decides, and only its words count",
			[]string{`{conditions: [{type: Available, status: "True", reason: Enough, message: a}]}`, `{conditions: [{type: Available, status: "False", reason: TooFew, message: b}]}`,
				`{conditions: [{type: Available, status: "True", message: c}]}`, `{conditions: [{type: Available, status: "False", reason: Fewer, message: d}]}`},
			`[{type: Available, status: "False", reason: TooFew, message: "B: b; D: d"}]`},
		{"nobody knows in one", []string{`{conditions: [{type: Progressing, status: "True"}]}`, `{conditions: [{type: Progressing, status: "Unknown", reason: Paused}]}`},
			`[{type: Progressing, status: "Unknown", reason: Paused}]`},
		{"an alarm in one decides", []string{`{conditions: [{type: ReplicaFailure, status: "False"}]}`, `{conditions: [{type: ReplicaFailure, status: "True", reason: Quota, message: full}]}`},
			`[{type: ReplicaFailure, status: "True", reason: Quota, message: "B: full"}]`},
		{"one that only one has, and in the order of their names",
			[]string{`{conditions: [{type: ScalingActive, status: "False"}]}`, `{conditions: [{type: AbleToScale, status: "True"}]}`},
			`[{type: AbleToScale, status: "True"}, {type: ScalingActive, status: "False"}]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, object(t, `{list: `+test.want+`}`).Object["list"], any(mergeConditions(copiesOf(t, test.copies...))))
		})
	}
}

func TestSameStatus(t *testing.T) {
	for _, test := range []struct {
		status, sum string
		want        bool
	}{
		{`{}`, `{}`, true},
		{`{replicas: 3, more: 1}`, `{replicas: 3}`, true},
		{`{replicas: 3}`, `{replicas: 4}`, false},
		{`{}`, `{replicas: 0, conditions: [], loadBalancer: {}, ingress: null}`, true},
		{`{replicas: 1}`, `{replicas: 0}`, false},
		{`{}`, `{replicas: 1}`, false},
		{`{}`, `{startTime: "2026-01-01T00:00:01Z"}`, false},
		{`{conditions: [{type: A}]}`, `{conditions: []}`, false},
		{`{conditions: [{type: A, status: "True"}]}`, `{conditions: [{type: A, status: "True"}]}`, true},
		{`{conditions: [{type: A, status: "True", more: 1}]}`, `{conditions: [{type: A, status: "True"}]}`, false},
		{`{loadBalancer: {}}`, `{loadBalancer: {ingress: null}}`, true},
		{`{loadBalancer: {ingress: [{ip: 1.1.1.1}]}}`, `{loadBalancer: {ingress: null}}`, false},
		{`{loadBalancer: {ingress: [{ip: 1.1.1.1}]}}`, `{loadBalancer: {ingress: [{ip: 1.1.1.1}]}}`, true},
		{`{loadBalancer: {ingress: [{ip: 1.1.1.1}]}}`, `{loadBalancer: {ingress: [{ip: 2.2.2.2}]}}`, false},
		{`{loadBalancer: 1}`, `{loadBalancer: {ingress: [{ip: 2.2.2.2}]}}`, false},
	} {
		t.Run(fmt.Sprint(test.status, " ", test.sum), func(t *testing.T) {
			require.Equal(t, test.want, SameStatus(object(t, `{status: `+test.status+`}`), object(t, test.sum).Object))
		})
	}
	require.True(t, SameStatus(object(t, `{}`), object(t, `{replicas: 0}`).Object))
	require.False(t, SameStatus(object(t, `{}`), object(t, `{replicas: 1}`).Object))
}
