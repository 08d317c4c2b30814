package cluster

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A probe's outcome is + or -. The state is R (Ready), n (not Ready) or . (new).
func TestThresholds(t *testing.T) {
	for _, test := range []struct {
		name       string
		thresholds Thresholds
		start      byte
		probes     string
		want       string // the state after each probe
	}{
		{"new and well", Thresholds{3, 2}, '.', "+", "R"},
		{"new and ill", Thresholds{3, 2}, '.', "-", "n"},
		{"one failure does not flip", Thresholds{3, 1}, 'R', "-+", "RR"},
		{"failures must be in a row", Thresholds{3, 1}, 'R', "--+--+--", "RRRRRRRR"},
		{"the third flips", Thresholds{3, 1}, 'R', "---", "RRn"},
		{"one success brings it back", Thresholds{3, 1}, 'R', "---+", "RRnR"},
		{"successes must be in a row", Thresholds{1, 3}, 'n', "++-+++", "nnnnnR"},
		{"thresholds of one are v1's", Thresholds{1, 1}, 'R', "-+-", "nRn"},
		{"stays ill", Thresholds{3, 1}, 'n', "----", "nnnn"},
	} {
		t.Run(test.name, func(t *testing.T) {
			state, s, got := test.start, streak{}, ""
			for _, p := range test.probes {
				ready := map[byte]metav1.ConditionStatus{'.': "", 'R': metav1.ConditionTrue, 'n': metav1.ConditionFalse}[state]
				if s.next(ready, p == '+', test.thresholds) {
					state = map[rune]byte{'+': 'R', '-': 'n'}[p]
				}
				got += string(state)
			}
			require.Equal(t, test.want, got)
		})
	}
}

// What is known about a cluster is reported while its state stays the same.
func TestSameStateIsReported(t *testing.T) {
	var s streak
	require.True(t, s.next(metav1.ConditionTrue, true, Thresholds{3, 3}))
	require.True(t, s.next(metav1.ConditionFalse, false, Thresholds{3, 3}))
	require.True(t, s.next(metav1.ConditionUnknown, false, Thresholds{3, 3}))
}
