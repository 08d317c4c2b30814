// Package chartgen writes what a chart says about its values from their Go types in pkg/values: values.yaml, values.schema.json and README.md; and the
// templates that both charts share.
//
// Names and shapes come from the types, texts from the comments of their fields, defaults from values.DefaultControlPlane and
// values.DefaultMember, and the README's frame from the chart's README.md.gotmpl. Nothing is said twice.
package chartgen

import (
	"fmt"
	"path"
	"reflect"

	"github.com/fedhelm/fedhelm/pkg/values"
)

// charts holds each chart's name and default values.
var charts = map[string]any{
	"federation-control-plane": values.DefaultControlPlane(),
	"federation-member":        values.DefaultMember(),
}

// Generate gives the content of the generated files of all charts by their path below root, the root of the repository, where it reads pkg/values
// and the README frames. It writes nothing. Errors: a field of pkg/values without a comment, a source or frame that cannot be read.
func Generate(root string) (map[string][]byte, error) {
	comments, err := readComments(root)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for chart, defaults := range charts {
		fields, err := comments.fields("", reflect.ValueOf(defaults))
		if err != nil {
			return nil, err
		}
		dir := path.Join("charts", chart)
		if files[path.Join(dir, "values.yaml")], err = valuesYAML(chart, fields); err != nil {
			return nil, fmt.Errorf("write the values of chart %s: %w", chart, err)
		}
		if files[path.Join(dir, "values.schema.json")], err = schemaJSON(chart, reflect.TypeOf(defaults), comments); err != nil {
			return nil, fmt.Errorf("write the schema of chart %s: %w", chart, err)
		}
		files[path.Join(dir, "templates", "_fedhelm.tpl")] = sharedTemplates(chart, fields)
		if files[path.Join(dir, "README.md")], err = readme(root, dir, fields); err != nil {
			return nil, fmt.Errorf("write the README of chart %s: %w", chart, err)
		}
	}
	return files, nil
}
