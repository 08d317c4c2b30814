//go:build e2e

package bench

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fedhelm/fedhelm/test/clusters"
)

// Where the results are kept: in the file, between the marks.
const (
	resultsFile  = "docs/benchmarks.md"
	resultsBegin = "<!-- results -->\n"
	resultsEnd   = "<!-- end of results -->\n"
)

var write = flag.Bool("write", false, "write the results into "+resultsFile)

// figure is one thing that was measured, a value a run.
type figure struct {
	name, unit string
	values     []float64
	// goal is the most that the median may be; 0 is none.
	goal float64
}

var report []figure

// measured adds a figure to the report.
func measured(f figure) { report = append(report, f) }

// TestMain runs the benchmarks and prints their results as a table.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if len(report) > 0 {
		fmt.Printf("\n%s\n", table(report))
	}
	if *write && code == 0 {
		if err := writeResults(filepath.Join(clusters.Root(), resultsFile)); err != nil {
			fmt.Fprintln(os.Stderr, "write the results:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func table(figures []figure) string {
	var out strings.Builder
	out.WriteString("| | median | least to most | runs | goal | |\n|---|---:|---:|---:|---:|---|\n")
	for _, f := range figures {
		values := slices.Sorted(slices.Values(f.values))
		goal, verdict := "", ""
		if f.goal > 0 {
			goal, verdict = fmt.Sprintf("at most %g%s", f.goal, f.unit), "reached"
			if median(f.values) > f.goal {
				verdict = "**missed**"
			}
		}
		fmt.Fprintf(&out, "| %s | %.2f%s | %.2f to %.2f | %d | %s | %s |\n", f.name, median(values), f.unit, values[0], values[len(values)-1], len(values), goal, verdict)
	}
	return out.String()
}

// writeResults puts the table between the marks of a file.
func writeResults(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begins := bytes.Cut(text, []byte(resultsBegin))
	_, after, ends := bytes.Cut(rest, []byte(resultsEnd))
	if !begins || !ends {
		return fmt.Errorf("%s has no %q followed by %q", path, resultsBegin, resultsEnd)
	}
	return os.WriteFile(path, slices.Concat(before, []byte(resultsBegin+table(report)+resultsEnd), after), 0o644)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// ratios divides pair by pair.
func ratios(values, floor []float64) []float64 {
	result := make([]float64, len(values))
	for i := range values {
		result[i] = values[i] / floor[i]
	}
	return result
}

// seconds says how long work takes.
func seconds(work func()) float64 {
	start := time.Now()
	work()
	return time.Since(start).Seconds()
}
