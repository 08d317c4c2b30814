package values

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A parent chart keeps in global what its other charts read; everywhere else an unknown key is a mistake.
func TestDecode(t *testing.T) {
	v, err := DecodeMember([]byte(`{global: {imageRegistry: mirror.example, storageClass: fast, nested: {a: 1}}, region: south}`))
	require.NoError(t, err)
	want := DefaultMember()
	want.Global.ImageRegistry, want.Region = "mirror.example", "south"
	assert.Equal(t, want, v, "what is not given has the chart's default")

	for _, test := range []struct{ given, says string }{
		{`{regions: south}`, `unknown field "regions"`},
		{`{hooks: {image: {name: x}}}`, `unknown field "name"`},
		{`{region: a, region: b}`, `key "region" already set in map`},
		{`{zones: south}`, `cannot unmarshal string into Go struct field Member.zones of type []string`},
		{`{global: {imageRegistry: 1}}`, `imageRegistry of type string`},
		{`region: [`, `did not find expected node content`},
	} {
		_, err := DecodeMember([]byte(test.given))
		assert.ErrorContains(t, err, test.says, test.given)
		assert.ErrorContains(t, err, "read the values of chart federation-member: ", test.given)
	}
}

func TestArgument(t *testing.T) {
	v, err := DecodeControlPlane([]byte(`apiServer: {argOverrides: {text: a, whole: 1000000, part: 1.5, "on": true, none: null}}`))
	require.NoError(t, err)
	got := map[string]string{}
	for flag, argument := range v.APIServer.ArgOverrides {
		if argument.Text != nil {
			got[flag] = *argument.Text
		}
	}
	assert.Equal(t, map[string]string{"text": "a", "whole": "1000000", "part": "1.5", "on": "true"}, got)
	assert.Contains(t, v.APIServer.ArgOverrides, "none")

	_, err = DecodeControlPlane([]byte(`apiServer: {argOverrides: {v: [4]}}`))
	assert.ErrorContains(t, err, "a flag's value is a string, a number, true, false or null, not [4]")
}

func TestCheckName(t *testing.T) {
	for _, test := range []struct{ name, says string }{
		{"gondor", ""},
		{"g", ""},
		{"gondor-2", ""},
		{"gondor_needs-no_king", `the cluster name "gondor_needs-no_king" is no RFC 1035 label: use lower case letters, digits and dashes, beginning with a letter and ending with a letter or digit`},
		{"11kingdom", `the cluster name "11kingdom" is no RFC 1035 label: use lower case letters, digits and dashes, beginning with a letter and ending with a letter or digit`},
		{"", `the cluster name "" is no RFC 1035 label: use lower case letters, digits and dashes, beginning with a letter and ending with a letter or digit`},
		{"a23456789012345678901234567890123456789-1", `the cluster name "a23456789012345678901234567890123456789-1" has 41 characters, at most 40 are allowed: choose a shorter one`},
	} {
		err := CheckName("cluster", test.name)
		if test.says == "" {
			assert.NoError(t, err, test.name)
		} else {
			assert.EqualError(t, err, test.says)
		}
	}
}
