package cluster

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Thresholds say how many probes in a row flip a cluster. (v1 flipped it at
// the first.)
type Thresholds struct {
	// Failure is how many probes in a row must fail before a Ready cluster is
	// no longer Ready. At least 1.
	Failure int
	// Success is how many probes in a row must succeed before a cluster that
	// is not Ready is Ready. At least 1.
	Success int
}

// streak counts a cluster's latest probes with one outcome. Whether the
// cluster is Ready is not counted here but read from its condition, so that a
// restarted controller goes on where the last one stopped.
type streak struct {
	cluster             types.UID
	successes, failures int
}

// next counts a probe and says whether its result is to be reported, or held
// back because the threshold to leave the current state is not reached. ready
// is the status of the cluster's condition Ready, empty if it has none: a new
// cluster is reported at once.
func (s *streak) next(ready metav1.ConditionStatus, ok bool, t Thresholds) (report bool) {
	if ok {
		s.successes, s.failures = s.successes+1, 0
	} else {
		s.successes, s.failures = 0, s.failures+1
	}
	switch {
	case ready == "":
		return true
	case ok && ready != metav1.ConditionTrue:
		return s.successes >= t.Success
	case !ok && ready == metav1.ConditionTrue:
		return s.failures >= t.Failure
	}
	// The state stays; what is known about it may have changed.
	return true
}
