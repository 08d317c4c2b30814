package chartgen

import (
	_ "embed"
	"reflect"
	"strings"
)

// shared is the templates that both charts use. A library chart would be a dependency that has to be built before a chart can be installed from a checkout.
//
//go:embed fedhelm.tpl
var shared string

// sharedTemplates writes the shared templates for a chart: with <chart>.needed, which lists the values that the
// chart cannot do without. Names of templates are those of all charts of a release, so what differs between charts is named after its chart.
func sharedTemplates(chart string, fields []field) []byte {
	var out strings.Builder
	out.WriteString("{{- /* Written by `make generate` from pkg/chartgen/fedhelm.tpl and pkg/values: change them there. */ -}}\n")
	out.WriteString(shared)
	out.WriteString("\n{{- define \"" + chart + ".needed\" -}}\n")
	for _, key := range needed(fields) {
		out.WriteString("- " + key + "\n")
	}
	out.WriteString("{{- end }}\n")
	return []byte(out.String())
}

// needed lists the keys that may not be null: sections, each before what is in it, and leaves with a default that is not empty. Lists and maps are as good as
// empty without a value.
func needed(fields []field) []string {
	var keys []string
	for _, f := range fields {
		switch value := reflect.ValueOf(f.Default); {
		case f.Fields != nil:
			keys = append(append(keys, f.Path), needed(f.Fields)...)
		case value.Kind() != reflect.Slice && value.Kind() != reflect.Map && !value.IsZero():
			keys = append(keys, f.Path)
		}
	}
	return keys
}
