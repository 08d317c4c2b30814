package chartgen

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v3"

	"github.com/fedhelm/fedhelm/pkg/values"
)

// field is one key of a chart's values: a section, which has fields of its own, or a leaf, which has a default.
type field struct {
	// Path is the key with those of the sections around it: `dns.zoneName`.
	Path string
	// Comment is the field's Go comment in one line.
	Comment string
	// Default is a string, bool, int, []any or map[string]any; nil for a section.
	Default any
	Fields  []field
}

// Key is the last part of the field's path.
func (f field) Key() string {
	return f.Path[strings.LastIndex(f.Path, ".")+1:]
}

// comments holds the comments of pkg/values by `<type>` and `<type>.<field>`.
type comments map[string]string

var valuesPackage = reflect.TypeFor[values.Global]().PkgPath()

func readComments(root string) (comments, error) {
	dir := filepath.Join(root, "pkg", "values")
	var reader jsonschema.Reflector
	if err := reader.AddGoComments("", dir, jsonschema.WithFullComment()); err != nil {
		return nil, fmt.Errorf("read the comments of the values: %w", err)
	}
	c := comments{}
	for name, comment := range reader.CommentMap {
		c[strings.TrimPrefix(name, filepath.Clean(dir)+".")] = strings.Join(strings.Fields(comment), " ")
	}
	return c, nil
}

// of gives the comment of a field, or with an empty field the type's. Types of other packages have none.
func (c comments) of(t reflect.Type, field string) string {
	switch {
	case t.PkgPath() != valuesPackage:
		return ""
	case field == "":
		return c[t.Name()]
	default:
		return c[t.Name()+"."+field]
	}
}

// fields lists the keys of section, a struct of pkg/values, in the order of its fields; those of embedded structs stand in their place. Keys
// that are left out while they have no value are left out here too. Errors: a field without a comment.
func (c comments) fields(path string, section reflect.Value) ([]field, error) {
	var list []field
	for _, f := range reflect.VisibleFields(section.Type()) {
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		value := section.FieldByIndex(f.Index)
		if f.Anonymous {
			continue
		}
		owner := section.Type()
		for _, i := range f.Index[:len(f.Index)-1] {
			owner = owner.Field(i).Type
		}
		made := field{Path: strings.TrimPrefix(path+"."+key, "."), Comment: c.of(owner, f.Name)}
		if made.Comment == "" {
			return nil, fmt.Errorf("%s.%s in pkg/values has no comment: write one, it documents the value %s", owner.Name(), f.Name, made.Path)
		}
		if strings.Contains(options, "omitempty") && value.IsZero() {
			continue
		}
		var err error
		if value.Kind() == reflect.Struct && value.Type().PkgPath() == valuesPackage {
			made.Fields, err = c.fields(made.Path, value)
		} else {
			made.Default, err = plain(value)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, made)
	}
	return list, nil
}

// plain gives a leaf's default as values.yaml knows it. Nothing is null, which Helm takes for a key to be dropped: a nil list is [], a nil map {}.
func plain(value reflect.Value) (any, error) {
	switch {
	case value.Kind() == reflect.Slice && value.IsNil():
		value = reflect.MakeSlice(value.Type(), 0, 0)
	case value.Kind() == reflect.Map && value.IsNil():
		value = reflect.MakeMap(value.Type())
	}
	// Through JSON, since Kubernetes' types know no other encoding; read as YAML, which tells integers apart.
	text, err := json.Marshal(value.Interface())
	if err != nil {
		return nil, err
	}
	var out any
	err = yaml.Unmarshal(text, &out)
	return out, err
}
