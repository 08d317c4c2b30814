// Package matrix says how much of a matrix the tests try.
package matrix

import "os"

// Whole says whether every combination is tried (`make test-long`), or each thing in one combination (`make test`).
func Whole() bool { return os.Getenv("FEDHELM_TEST") == "long" }
