package clusterdns

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden texts")

func TestRenderGolden(t *testing.T) {
	for name, change := range map[string]func(*Federation){
		"nameservers": func(*Federation) {},
		"public":      func(f *Federation) { f.Nameservers, f.MemberZone = nil, "" },
		"no-topology": func(f *Federation) {
			f.MemberZone, f.MemberRegion, f.ClusterDomain, f.FallbackPort = "", "", "k8s.shire.example.", 10057
		},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := Render(with(fellowship, change), "")
			require.NoError(t, err)
			golden := filepath.Join("testdata", name+".corefile")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(text), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			assert.Equal(t, string(want), text)
		})
	}
}

func TestRenderTemplates(t *testing.T) {
	text, err := Render(fellowship, "\n\n{{ .Zone | upper }}:{{ .FallbackPort }} { forward . {{ first .Nameservers }} }")
	require.NoError(t, err)
	assert.Equal(t, "FEDERATION.INTERNAL:10053 { forward . 10.0.0.1 }\n", text)

	for template, want := range map[string]string{
		"a\n{{ if }}":             "line 2 of the value clusterDNS.template fails: missing value for if",
		"a\n\n{{ .Zoné }}":        "line 3 of the value clusterDNS.template fails: executing",
		`{{ env "HOME" }}`:        `line 1 of the value clusterDNS.template fails: function "env" not defined`,
		`{{ fail "no\nway" }}`:    "line 1 of the value clusterDNS.template fails: executing \"clusterDNS.template\" at <fail \"no\\nway\">: error calling fail: no way",
		"a:53 {\n errors\n":       "the value clusterDNS.template does not give CoreDNS server blocks for federation fellowship: its text opens a block in line 1 that it does not close",
		"a:53 {\n}\n}\n":          "the value clusterDNS.template does not give CoreDNS server blocks for federation fellowship: its text closes a block in line 3 that is not open",
		"{{ if false }}{{ end }}": "the value clusterDNS.template does not give CoreDNS server blocks for federation fellowship: its text has no server block",
	} {
		_, err := Render(fellowship, template)
		assert.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "\n")
	}
}

func TestCustomKey(t *testing.T) {
	assert.Equal(t, "fedhelm-fellowship.server", CustomKey("fellowship"))
}
