package ini

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A file as v1's guide has it, and what else v1's reader took.
func TestRead(t *testing.T) {
	entries, err := Read(`
; of 2017
[Global]
etcd-endpoints = http://etcd-cluster.ns:2379
zones = example.com.
  Token-Body="a \"b\"; # \\ c" ; a comment
plain = a b  # another
empty =
part = a" ; "b
[other] # section
key = x=y
`)
	require.NoError(t, err)
	assert.Equal(t, []Entry{
		{"global", "etcd-endpoints", "http://etcd-cluster.ns:2379", 4},
		{"global", "zones", "example.com.", 5},
		{"global", "token-body", `a "b"; # \ c`, 6},
		{"global", "plain", "a b", 7},
		{"global", "empty", "", 8},
		{"global", "part", "a ; b", 9},
		{"other", "key", "x=y", 11},
	}, entries)
}

func TestReadSaysTheLine(t *testing.T) {
	for text, says := range map[string]string{
		"[Global":                  `line 1: "[Global" is no section: write [Global]`,
		"\n[Global] x":             `line 2: "[Global] x" is no section: write [Global]`,
		"[Global]\n\nzones":        "line 3: is neither a section, nor a comment, nor `key = value`",
		"[Global]\nbWVs/bG9u= x":   "line 2: is neither a section, nor a comment, nor `key = value`",
		"[Global]\n= x":            "line 2: is neither a section, nor a comment, nor `key = value`",
		"zones = x":                "line 1: key zones stands before any section: write [Global] above it",
		"[Global]\nzones = \"x":    "line 2: the value of key zones has a quote that is not closed",
		"[Global]\nzones = a\\":    `line 2: the value of key zones ends in a backslash: a value is one line, and a backslash is written \\`,
		"[Global]\r\nzones = a\\b": `line 2: the value of key zones has \b: a backslash is written \\`,
	} {
		_, err := Read(text)
		require.EqualError(t, err, says, text)
	}
}

func TestLine(t *testing.T) {
	for _, value := range []string{"", "a", "a b", " a ", `"`, `\`, "a;b", "a#b", "a\nb\tc", "=", "[x]", "ä"} {
		entries, err := Read("[Global]\n" + Line("key", value))
		require.NoError(t, err, value)
		assert.Equal(t, []Entry{{"global", "key", value, 2}}, entries)
	}
}
