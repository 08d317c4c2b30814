//go:build e2e

package charts

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// helms are the Helm binaries that users have.
var helms = []string{"helm", "helm4"}

// binaries is the folder of the programs that scripts/build-tools builds.
func binaries(t *testing.T, names ...string) string {
	t.Helper()
	cache := os.Getenv("FEDHELM_CACHE")
	if cache == "" {
		home, err := os.UserCacheDir()
		require.NoError(t, err)
		cache = filepath.Join(home, "fedhelm")
	}
	for _, name := range names {
		_, err := os.Stat(filepath.Join(cache, "bin", name))
		require.NoError(t, err, "this test needs %s: run `scripts/build-tools %s`, or set FEDHELM_CACHE to where it put its binaries", name, name)
	}
	return filepath.Join(cache, "bin")
}

// helm runs a Helm binary with a home of its own, and gives its output and what it said besides.
func helm(t *testing.T, binary string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	command := exec.Command(filepath.Join(binaries(t, binary), binary), args...)
	command.Env = []string{"HOME=" + t.TempDir(), "KUBECONFIG=/dev/null"}
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	err = command.Run()
	return out.String(), said.String(), err
}

// template renders a release as a user does.
func template(t *testing.T, binary string, r release, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	require.NoError(t, os.WriteFile(file, []byte(r.values), 0o600))
	return helm(t, binary, append([]string{"template", r.name, filepath.Join(chartsDir, r.chart), "--namespace", r.namespace, "--values", file}, args...)...)
}

// rich are releases in which most values are given.
var rich = []release{
	fellowship, gondor, host,
	fellowship.with(inSections(everywhere, controlPlaneSections...) + pullSecrets),
	gondor.with(inSections(everywhere, "hooks") + pullSecrets + "\ncredentials: {kubeconfig: x}"),
}

func TestRenderingIsReproducible(t *testing.T) {
	for _, r := range rich {
		var ofAll [][]unstructured.Unstructured
		for _, binary := range helms {
			first, said, err := template(t, binary, r)
			require.NoError(t, err, said)
			again, _, err := template(t, binary, r)
			require.NoError(t, err)
			assert.True(t, first == again, "%s: %s renders other bytes the second time", r, binary)
			ofAll = append(ofAll, documentsIn(t, first))
		}
		// The versions leave other blank lines between documents.
		assert.Equal(t, ofAll[0], ofAll[1], "%s: Helm 3 and Helm 4 render other objects", r)
		byEngine := rendered(t, r)
		assert.Len(t, ofAll[0], len(byEngine.objects), "%s: these tests see other objects than users", r)
	}
}

// documentsIn reads what `helm template` prints.
func documentsIn(t *testing.T, text string) (documents []unstructured.Unstructured) {
	t.Helper()
	for _, document := range separator.Split(text, -1) {
		var o unstructured.Unstructured
		require.NoError(t, yaml.UnmarshalStrict([]byte(document), &o.Object))
		if len(o.Object) > 0 {
			documents = append(documents, o)
		}
	}
	return documents
}

func TestLint(t *testing.T) {
	for _, binary := range helms {
		for _, chart := range []string{controlPlane, member} {
			out, said, err := helm(t, binary, "lint", "--strict", filepath.Join(chartsDir, chart))
			assert.NoError(t, err, "%s lint --strict %s:\n%s%s", binary, chart, out, said)
			assert.NotContains(t, out, "[WARNING]")
		}
	}
}

// What users type reaches the flags of a component with every Helm: large numbers whole, and null as a flag that is dropped.
func TestArgumentOverridesOnTheCommandLine(t *testing.T) {
	for _, binary := range helms {
		t.Run(binary, func(t *testing.T) {
			out, said, err := template(t, binary, fellowship, "--show-only", "templates/apiserver/deployment.yaml",
				"--set", "apiServer.argOverrides.max-requests-inflight=2000000",
				"--set", "apiServer.argOverrides.--v=4",
				"--set", "apiServer.argOverrides.endpoint-reconciler-type=null",
				"--set-string", "apiServer.argOverrides.anonymous-auth=false",
				"--set-json", `apiServer.argOverrides.event-ttl="2h"`)
			require.NoError(t, err, said)
			for _, flag := range []string{`"--max-requests-inflight=2000000"`, `"--v=4"`, `"--anonymous-auth=false"`, `"--event-ttl=2h"`, `"--secure-port=8443"`} {
				assert.Contains(t, out, "- "+flag+"\n")
			}
			assert.NotContains(t, out, "endpoint-reconciler-type")
			assert.Contains(t, out, "tcpSocket", "the probes know of anonymous-auth")
		})
	}
}

func TestNullOnTheCommandLine(t *testing.T) {
	for _, binary := range helms {
		for _, r := range []release{fellowship, gondor} {
			for _, key := range []string{"commonLabels", "commonAnnotations", "imagePullSecrets", "global.imagePullSecrets", "global.imageRegistry", "hooks.podLabels", "hooks.podAnnotations", "hooks.affinity"} {
				_, said, err := template(t, binary, r, "--set", key+"=null")
				assert.NoError(t, err, "%s, %s=null: %s", binary, key, said)
			}
			for _, key := range []string{"global", "hooks", "hooks.image"} {
				_, said, err := template(t, binary, r, "--set", key+"=null")
				assert.Error(t, err, "%s, %s=null", binary, key)
				assert.Contains(t, said, key+" is null or missing, and the chart needs it: leave it out of your values to have its default", "%s", binary)
			}
		}
	}
}

// Helm itself takes no such name for a release, before it looks at a chart.
func TestNameThatHelmRefuses(t *testing.T) {
	for _, binary := range helms {
		_, said, err := template(t, binary, release{chart: member, name: "gondor_needs-no_king", namespace: "federation-system"})
		assert.Error(t, err)
		assert.Contains(t, said, `invalid release name, must match regex`, binary)
	}
}
