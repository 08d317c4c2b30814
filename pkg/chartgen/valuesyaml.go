package chartgen

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/mitchellh/go-wordwrap"
	"go.yaml.in/yaml/v3"
)

// commentWidth is where comments wrap, without their indentation.
const commentWidth = 116

// valuesYAML writes the fields as a chart's values.yaml. Leaves are documented with `# --`, as helm-docs has it, sections with plain comments.
func valuesYAML(chart string, fields []field) ([]byte, error) {
	out := bytes.NewBufferString("# yaml-language-server: $schema=values.schema.json\n")
	fmt.Fprintf(out, "# The defaults of %s. Written by `make generate` from pkg/values: change them there.\n", chart)
	for _, f := range fields {
		// One document a key, for the blank lines between them, which no encoder writes.
		node, err := mapping([]field{f})
		if err != nil {
			return nil, err
		}
		out.WriteString("\n")
		encoder := yaml.NewEncoder(out)
		encoder.SetIndent(2)
		if err := errors.Join(encoder.Encode(node), encoder.Close()); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

func mapping(fields []field) (*yaml.Node, error) {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fields {
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: f.Key(), HeadComment: headComment(f)}
		value, err := mapping(f.Fields)
		if f.Fields == nil {
			err = value.Encode(f.Default)
		}
		if err != nil {
			return nil, err
		}
		node.Content = append(node.Content, key, value)
	}
	return node, nil
}

func headComment(f field) string {
	text := f.Comment
	if f.Fields == nil {
		text = "-- " + text
	}
	return "# " + strings.ReplaceAll(wordwrap.WrapString(text, commentWidth), "\n", "\n# ")
}
