package chartgen

import (
	"bytes"
	"encoding/json"
	"reflect"

	"github.com/invopop/jsonschema"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/fedhelm/fedhelm/pkg/values"
)

// draft07 is the newest draft that every tool in use understands: Helm 3 before 3.18 and Argo CD's copies of it know none later.
const draft07 = "http://json-schema.org/draft-07/schema#"

// quantityPattern is what Kubernetes' own definitions hold a quantity's text against.
const quantityPattern = `^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$`

// schemaJSON writes the JSON Schema of a chart's values. Every object is closed but global, where a parent chart keeps what its other charts
// need, and nothing is required, since Helm drops the keys that a user sets to null.
func schemaJSON(chart string, t reflect.Type, c comments) ([]byte, error) {
	reflector := jsonschema.Reflector{
		Anonymous:                  true,
		DoNotReference:             true, // draft-07 ignores a description beside a reference
		RequiredFromJSONSchemaTags: true,
		LookupComment:              c.of,
		Mapper:                     ownShape,
	}
	schema := reflector.ReflectFromType(t)
	schema.Version = draft07
	schema.Title = "Values of " + chart
	schema.Description = "" // the type's comment says the same, of the type
	if global, ok := schema.Properties.Get("global"); ok {
		global.AdditionalProperties = nil
	}
	allowNull(schema)

	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(schema); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// ownShape gives the schema of a type that its Go shape says too little or too much about, nil for every other type.
func ownShape(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[values.Argument]():
		return &jsonschema.Schema{Extras: types("string", "number", "boolean", "null")}
	case reflect.TypeFor[values.DNSCheck]():
		return &jsonschema.Schema{Enum: []any{"warn", "strict", "off", false}} // YAML reads off as false
	case reflect.TypeFor[values.ExtraObject]():
		return &jsonschema.Schema{Extras: types("object", "string")}
	case reflect.TypeFor[resource.Quantity]():
		return &jsonschema.Schema{Pattern: quantityPattern, Extras: types("string", "number")}
	case reflect.TypeFor[corev1.NodeAffinity](), reflect.TypeFor[corev1.PodAffinity](), reflect.TypeFor[corev1.PodAntiAffinity]():
		// Hundreds of lines for each component, which Kubernetes checks itself.
		return &jsonschema.Schema{Type: "object"}
	}
	return nil
}

// allowNull lets every list and map be null, as Go and Helm do: a null that overrides nothing stays in the values.
func allowNull(s *jsonschema.Schema) {
	for property := s.Properties.Oldest(); property != nil; property = property.Next() {
		child := property.Value
		switch {
		case child.Type == "array", child.Type == "object" && child.Properties.Len() == 0:
			child.Extras = types(child.Type, "null")
			child.Type = ""
		case child.Type == "object":
			allowNull(child)
		}
	}
}

func types(names ...string) map[string]any {
	return map[string]any{"type": names}
}
