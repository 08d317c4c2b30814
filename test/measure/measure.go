// Package measure collects what benchmarks find, prints it as tables, and keeps it in docs/benchmarks.md, a section each.
package measure

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

// resultsFile has a place for each section, between its marks.
const resultsFile = "docs/benchmarks.md"

// Figure is one thing that was measured, a value a run.
type Figure struct {
	Name, Unit string
	Values     []float64
	// Goal is the most that the median may be; 0 is none.
	Goal float64
}

var (
	write    = flag.Bool("write", false, "write the results into "+resultsFile)
	sections []string
	report   = map[string][]Figure{}
)

// Add adds figures to a section of the report.
func Add(section string, figures ...Figure) {
	if !slices.Contains(sections, section) {
		sections = append(sections, section)
	}
	report[section] = append(report[section], figures...)
}

// Compare adds what was measured, its floor, and the ratio of the two, pair by pair, with its goal.
func Compare(section string, figure, floor Figure, goal float64) {
	Add(section, figure, floor, Figure{Name: "their ratio", Values: Ratios(figure.Values, floor.Values), Goal: goal})
}

// Main runs benchmarks as a package's tests, and prints or keeps what they found.
func Main(m *testing.M) int {
	flag.Parse()
	code := m.Run()
	for _, section := range sections {
		fmt.Printf("\n%s\n\n%s\n", section, table(report[section]))
	}
	if !*write || code != 0 {
		return code
	}
	if err := keep(filepath.Join(clusters.Root(), resultsFile)); err != nil {
		fmt.Fprintln(os.Stderr, "keep the results:", err)
		return 1
	}
	return 0
}

func table(figures []Figure) string {
	var out strings.Builder
	out.WriteString("| | median | least to most | runs | goal | |\n|---|---:|---:|---:|---:|---|\n")
	for _, f := range figures {
		values := slices.Sorted(slices.Values(f.Values))
		goal, verdict := "", ""
		if f.Goal > 0 {
			goal, verdict = fmt.Sprintf("at most %g%s", f.Goal, f.Unit), "reached"
			if Median(f.Values) > f.Goal {
				verdict = "**missed**"
			}
		}
		fmt.Fprintf(&out, "| %s | %.2f%s | %.2f to %.2f | %d | %s | %s |\n", f.Name, Median(values), f.Unit, values[0], values[len(values)-1], len(values), goal, verdict)
	}
	return out.String()
}

// keep puts each section that was measured between its marks.
func keep(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, section := range sections {
		begin, end := fmt.Sprintf("<!-- results: %s -->\n", section), "<!-- end of results -->\n"
		before, rest, begins := bytes.Cut(text, []byte(begin))
		_, after, ends := bytes.Cut(rest, []byte(end))
		if !begins || !ends {
			return fmt.Errorf("%s has no %q followed by %q", path, begin, end)
		}
		text = slices.Concat(before, []byte(begin+table(report[section])+end), after)
	}
	return os.WriteFile(path, text, 0o644) //nolint:gosec // a document
}

// Median of some values.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Percentile of some values, 0.99 the value that one in a hundred exceeds.
func Percentile(values []float64, at float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(at*float64(len(sorted))))]
}

// Ratios divides pair by pair.
func Ratios(values, floor []float64) []float64 {
	result := make([]float64, len(values))
	for i := range values {
		result[i] = values[i] / floor[i]
	}
	return result
}

// Seconds says how long work takes.
func Seconds(work func()) float64 {
	start := time.Now()
	work()
	return time.Since(start).Seconds()
}
