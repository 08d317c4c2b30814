package chartgen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"text/template"
)

// readme fills the frame README.md.gotmpl in dir, a chart's directory below root: {{ .Values }} stands for the tables of its values.
func readme(root, dir string, fields []field) ([]byte, error) {
	frame, err := template.ParseFiles(filepath.Join(root, filepath.FromSlash(dir), "README.md.gotmpl"))
	if err != nil {
		return nil, err
	}
	out := bytes.NewBufferString("<!-- Written by `make generate` from README.md.gotmpl and pkg/values: change them there. -->\n\n")
	err = frame.Execute(out, struct{ Values string }{valuesTables(fields)})
	return out.Bytes(), err
}

// valuesTables gives a table for the keys at the top, then one for each section.
func valuesTables(fields []field) string {
	var out strings.Builder
	writeTable(&out, fields)
	for _, f := range fields {
		if f.Fields != nil {
			fmt.Fprintf(&out, "\n### %s\n\n%s\n\n", f.Key(), f.Comment)
			writeTable(&out, leaves(f.Fields))
		}
	}
	return out.String()
}

// leaves lists the leaves of all fields, at any depth.
func leaves(fields []field) []field {
	var list []field
	for _, f := range fields {
		if f.Fields == nil {
			list = append(list, f)
		}
		list = append(list, leaves(f.Fields)...)
	}
	return list
}

// writeTable gives each leaf among fields a row.
func writeTable(out *strings.Builder, fields []field) {
	out.WriteString("| Key | Type | Default | Description |\n|---|---|---|---|\n")
	for _, f := range fields {
		if f.Fields == nil {
			fmt.Fprintf(out, "| `%s` | %s | `%s` | %s |\n", f.Path, typeName(f.Default), cell(asJSON(f.Default)), cell(f.Comment))
		}
	}
}

// cell escapes what would end a cell of a table, which it does in code as well.
func cell(text string) string {
	return strings.ReplaceAll(text, "|", `\|`)
}

func asJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // it came from JSON
	}
	return string(text)
}

// typeName names a value's type as helm-docs does.
func typeName(value any) string {
	switch value.(type) {
	case []any:
		return "list"
	case map[string]any:
		return "object"
	default:
		return fmt.Sprintf("%T", value)
	}
}
