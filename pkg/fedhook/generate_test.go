package fedhook

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// generated runs `fedhook generate` as it is typed.
func generated(t *testing.T, arguments ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = Main(append([]string{"generate", "--charts=../../charts"}, arguments...), &out, &err)
	return code, out.String(), err.String()
}

const initLine = "kubefed init fellowship --host-cluster-context=rivendell --dry-run\nkubefed join $CLUSTER --host-cluster-context=rivendell\n"

func TestGenerate(t *testing.T) {
	script := write(t, "federate.sh", initLine)

	// From a script: YAML on standard output, what has no value on standard error.
	code, stdout, stderr := generated(t, "helmfile", "--variable", "CLUSTER=gondor", script)
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, "- name: gondor\n")
	assert.Contains(t, stdout, "chart: ../../charts/federation-member\n")
	assert.Contains(t, stderr, "level=WARN")
	assert.Contains(t, stderr, "federate.sh:1: --dry-run=true is not translated")

	// From a command line.
	code, stdout, _ = generated(t, "values", "--", "kubefed", "init", "fellowship", "--host-cluster-context=rivendell", "--etcd-pv-capacity=20Gi")
	require.Zero(t, code)
	assert.Contains(t, stdout, "size: 20Gi # --etcd-pv-capacity\n")

	// From standard input.
	stdin := os.Stdin
	t.Cleanup(func() { os.Stdin = stdin })
	var err error
	os.Stdin, err = os.Open(script)
	require.NoError(t, err)
	code, stdout, stderr = generated(t, "argocd", "--charts=oci://registry.example/charts", "--destination=host", "--variable=CLUSTER=gondor", "-")
	require.Zero(t, code)
	assert.Contains(t, stdout, "repoURL: registry.example/charts\n")
	assert.Contains(t, stdout, "name: fellowship-gondor\n")
	assert.Contains(t, stderr, "the releases were rendered with the charts that fedhook")

	// Values go to a folder, twice the same, and over nobody's own.
	directory := filepath.Join(t.TempDir(), "releases")
	for range 2 {
		code, stdout, stderr = generated(t, "values", "--directory", directory, "--variable=CLUSTER=gondor", script)
		require.Zero(t, code, stderr)
		assert.Empty(t, stdout)
		assert.FileExists(t, filepath.Join(directory, "gondor.yaml"))
	}
	mine := filepath.Join(directory, "fellowship.yaml")
	require.NoError(t, os.WriteFile(mine, []byte("mine: true\n"), 0o600))
	code, _, stderr = generated(t, "values", "--directory", directory, "--variable=CLUSTER=shire", script)
	require.Equal(t, 1, code)
	assert.Contains(t, stderr, "fedhook: "+mine+" is there and has something else in it: move it away, or give another --directory\n")
	assert.NoFileExists(t, filepath.Join(directory, "shire.yaml"))
}

func TestGenerateRefuses(t *testing.T) {
	script := write(t, "federate.sh", initLine)
	for name, test := range map[string]struct {
		arguments []string
		says      string
	}{
		"nothing given":                {[]string{"values"}, "nothing is given to translate"},
		"no form":                      {[]string{script}, "say helmfile, values or argocd before what is translated"},
		"a flag of the hooks":          {[]string{"helmfile", "--context=a", script}, "--context says nothing to `fedhook generate`"},
		"a namespace beside kubefed's": {[]string{"helmfile", "--namespace=a", script}, "--namespace goes with --federation"},
		"two scripts":                  {[]string{"values", "a", "b"}, `"a b" is more than one source`},
		"a script and a line":          {[]string{"values", script, "--", "kubefed", "init"}, "is more than one source"},
		"a line without a dash":        {[]string{"values", "kubefed", "init"}, "give one script, or a command line after --"},
		"no such script":               {[]string{"values", "/nowhere"}, "read the script: open /nowhere"},
		"an unknown variable":          {[]string{"values", script}, "federate.sh:2: the value of variable CLUSTER is not known here"},
		"another program":              {[]string{"values", "--", "kubectl", "get", "nodes"}, "which is no command line of kubefed"},
		"an unknown flag":              {[]string{"values", "--", "kubefed", "init", "a", "--ring"}, "the command line: kubefed does not understand its flags: unknown flag: --ring"},
		"a script and a name":          {[]string{"helmfile", "--federation=a", script}, "give one of them"},
		"a member of nothing":          {[]string{"helmfile", "--member=a", script}, "go with --federation"},
		"an address of nobody":         {[]string{"helmfile", "--federation=a", "--server=b=https://b"}, `--server names "b", which no --member is`},
		"no such kubeconfig":           {[]string{"helmfile", "--federation=a", "--kubeconfig=/nowhere"}, "read the kubeconfig"},
		"a folder without charts":      {[]string{"helmfile", "--charts=" + t.TempDir(), script}, "give the folder that holds both charts"},
		"what a chart refuses":         {[]string{"helmfile", "--", "kubefed", "init", "a", "--etcd-pv-capacity=lots"}, "release a would not install"},
		"contexts that are not there":  {[]string{"helmfile", "--variable=CLUSTER=gondor", "--kubeconfig=" + kubeconfig(t, nil), script}, `has no context "rivendell"`},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := generated(t, test.arguments...)
			require.Equal(t, 1, code)
			assert.Empty(t, stdout)
			assert.Contains(t, stderr, test.says)
		})
	}
}
