// Package matrix says how much of a matrix the tests try.
package matrix

import (
	"os"
	"testing"
)

// Whole says whether every combination is tried (`make test-long`), or each thing in one combination (`make test`).
func Whole() bool { return os.Getenv("FEDHELM_TEST") == "long" }

// WholeOnly leaves a test to the whole matrix, and says why that is enough.
func WholeOnly(t *testing.T, why string) {
	t.Helper()
	if !Whole() {
		t.Skip("in the whole matrix only: " + why)
	}
}
