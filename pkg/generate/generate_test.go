package generate

import (
	goflag "flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = goflag.Bool("update", false, "write testdata and examples anew; look at what changes in them")

// home is the home of who ran the scripts: a path that is the same everywhere.
const home = "testdata/home"

// repository reads the charts as from the root of the repository.
func repository(t testing.TB) Charts {
	t.Helper()
	charts, err := OpenCharts("../../charts")
	require.NoError(t, err)
	require.False(t, charts.Embedded)
	charts.Reference = "charts"
	return charts
}

func plan(t testing.TB, script string) (*Plan, error) {
	t.Helper()
	return FromScript(strings.NewReader(script), Shell{Name: "init.sh", Home: home}, repository(t))
}

func planned(t testing.TB, script string) *Plan {
	t.Helper()
	p, err := plan(t, script)
	require.NoError(t, err, script)
	return p
}

// golden compares a text with a file, or writes the file.
func golden(t *testing.T, path, text string) {
	t.Helper()
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run `go test ./pkg/generate -update`")
	assert.Equal(t, string(want), text, "if this is meant, run `go test ./pkg/generate -update` and look at %s", path)
}

// transcript is what somebody sees who has a script translated.
func transcript(t *testing.T, script string, write func(*Plan) ([]File, error)) string {
	t.Helper()
	p := planned(t, script)
	files, err := write(p)
	require.NoError(t, err, script)
	var text strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		fmt.Fprintf(&text, "$ %s\n", line)
	}
	for _, warning := range p.Warnings {
		fmt.Fprintf(&text, "warning: %s\n", warning)
	}
	for _, file := range files {
		fmt.Fprintf(&text, "\n==> %s\n%s", file.Name, file.Text)
	}
	return text.String()
}

// guide is every command line of kubefed in v1's guide "Set up Cluster Federation with Kubefed", by what it is an example of.
var guide = map[string]string{
	"init": `kubefed init fellowship \
    --host-cluster-context=rivendell \
    --dns-provider="google-clouddns" \
    --dns-zone-name="example.com."`,
	"authentication": `kubefed init fellowship \
    --host-cluster-context=rivendell \
    --dns-provider="google-clouddns" \
    --dns-zone-name="example.com." \
    --apiserver-enable-basic-auth=true \
    --apiserver-enable-token-auth=true`,
	"arguments": `kubefed init fellowship \
    --host-cluster-context=rivendell \
    --dns-provider="google-clouddns" \
    --dns-zone-name="example.com." \
    --apiserver-arg-overrides="--anonymous-auth=false,--v=4" \
    --controllermanager-arg-overrides="--controllers=services=false"`,
	"coredns": `kubefed init fellowship \
    --host-cluster-context=rivendell \
    --dns-provider="coredns" \
    --dns-zone-name="example.com." \
    --dns-provider-config="$HOME/coredns-provider.conf"`,
	"nodeport": `kubefed init fellowship \
    --host-cluster-context=rivendell \
    --dns-provider="google-clouddns" \
    --dns-zone-name="example.com." \
    --api-server-service-type="NodePort" \
    --api-server-advertise-address="10.0.10.20"`,
	"no-persistence": `kubefed init fellowship \
    --host-cluster-context=rivendell \
    --dns-provider="google-clouddns" \
    --dns-zone-name="example.com." \
    --etcd-persistent-storage=false`,
	"route53":     `kubefed init fellowship --host-cluster-context=rivendell --dns-provider="aws-route53" --dns-zone-name="example.com."`,
	"join":        `kubefed join gondor --host-cluster-context=rivendell`,
	"context":     `kubefed join gondor --host-cluster-context=rivendell --cluster-context=gondor_needs-no_king`,
	"secret-name": `kubefed join noldor --host-cluster-context=rivendell --secret-name=11kingdom`,
	"unjoin":      `kubefed unjoin gondor --host-cluster-context=rivendell`,
}

func TestGuide(t *testing.T) {
	charts := repository(t)
	for name, script := range guide {
		t.Run(name, func(t *testing.T) {
			golden(t, "testdata/guide/"+name+".txt", transcript(t, script, func(p *Plan) ([]File, error) { return p.Helmfile(charts) }))
		})
	}
}

// all is a script with what scripts have, in all forms of output.
const all = `#!/bin/bash -e
# Two federations on one host.
HOST=rivendell; ZONE=${ZONE:-example.com.}
CLUSTERS=(gondor shire)
federate() { # name, more flags
  local name=$1; shift
  time sudo -E kubefed init "$name" --host-cluster-context="$HOST" --dns-provider=coredns --dns-zone-name="$name.$ZONE" \
    --image-pull-policy=Always --node-selector=disk=ssd,zone=a --etcd-pv-capacity=20Gi --etcd-pv-storage-class=fast
}
kubefed version
federate fellowship
federate alliance || exit 1
kubectl config use-context fellowship
for cluster in "${CLUSTERS[@]}" rivendell; do
  kubefed join "$cluster" --host-cluster-context=$HOST --cluster-context="$cluster"
done
kubectl config use-context alliance
kubefed join gondor --host-cluster-context $HOST --secret-name=gondor-of-the-alliance --dry-run
kubefed --context=fellowship unjoin shire --host-cluster-context=$HOST
`

func TestOutputs(t *testing.T) {
	charts := repository(t)
	golden(t, "testdata/all.helmfile.txt", transcript(t, all, func(p *Plan) ([]File, error) { return p.Helmfile(charts) }))
	golden(t, "testdata/all.values.txt", transcript(t, all, func(p *Plan) ([]File, error) { return p.ValuesFiles(charts, "") }))
	golden(t, "testdata/all.argocd.txt", transcript(t, all, func(p *Plan) ([]File, error) { return p.Applications(charts, ArgoCD{}) }))

	charts.Reference = "oci://registry.example/charts"
	golden(t, "testdata/all.registry-helmfile.txt", transcript(t, all, func(p *Plan) ([]File, error) { return p.Helmfile(charts) }))
	golden(t, "testdata/all.registry-argocd.txt", transcript(t, all, func(p *Plan) ([]File, error) {
		return p.Applications(charts, ArgoCD{Destination: "in-cluster"})
	}))
}

// Same input, same bytes.
func TestStable(t *testing.T) {
	charts := repository(t)
	helmfile := func(p *Plan) ([]File, error) { return p.Helmfile(charts) }
	first := transcript(t, all, helmfile)
	for range 20 {
		require.Equal(t, first, transcript(t, all, helmfile))
	}
	// The order of flags makes no difference.
	line := func(flags ...string) string {
		files, err := planned(t, "kubefed init fellowship "+strings.Join(flags, " ")).Helmfile(charts)
		require.NoError(t, err)
		return string(files[0].Text)
	}
	a, b, c := "--host-cluster-context=rivendell", "--etcd-pv-capacity=20Gi", "--api-server-service-type=NodePort"
	assert.Equal(t, line(a, b, c), line(c, b, a))
}

// What stands in the charts that are built in is what stands in the repository.
func TestEmbeddedCharts(t *testing.T) {
	built, err := OpenCharts("oci://registry.example/charts/")
	require.NoError(t, err)
	assert.True(t, built.Embedded)
	assert.Equal(t, "oci://registry.example/charts/federation-member", built.reference(memberChart))
	charts := repository(t)
	for _, name := range []string{controlPlaneChart, memberChart} {
		assert.Equal(t, charts.of(name).Values, built.of(name).Values)
		assert.Len(t, built.of(name).Templates, len(charts.of(name).Templates))
	}
	_, err = OpenCharts(t.TempDir())
	assert.ErrorContains(t, err, "give the folder that holds both charts, or an oci:// registry")
}

// No flag of kubefed is dropped: it sets a value, decides where the release is, or is said not to be translated.
func TestNothingIsDropped(t *testing.T) {
	samples := map[string]string{
		"dns-provider": "coredns", "dns-provider-config": home + "/coredns-provider.conf", "image-pull-policy": "Always", "node-selector": "a=b",
		"apiserver-arg-overrides": "--v=4", "controllermanager-arg-overrides": "--v=4", "api-server-service-type": "NodePort", "api-server-port": "30443",
		"etcd-image": "quay.io/etcd:3.6.1", "help": "",
	}
	needs := map[string]string{"api-server-port": "--api-server-service-type=NodePort", "api-server-advertise-address": "--api-server-service-type=NodePort"}
	for _, f := range flags {
		for verb, on := range byVerb {
			if f.on&on == 0 || f.name == "help" {
				continue
			}
			given := "fast"
			if sample, found := samples[f.name]; found {
				given = sample
			}
			if f.boolean {
				given = "true"
			}
			line := fmt.Sprintf("kubefed %s fellowship %s", verb, needs[f.name])
			before := planned(t, line)
			after := planned(t, fmt.Sprintf("%s --%s=%s", line, f.name, given))
			if f.where != "" || verb == "unjoin" && f.name == "cluster-context" { // the release remembers how it was joined
				continue
			}
			text := fmt.Sprint(after.Releases[0].notes)
			changed := !assert.ObjectsAreEqual(before.Releases[0].values.root, after.Releases[0].values.root)
			assert.True(t, changed || strings.Contains(text, "--"+f.name), "%s --%s=%s is dropped", verb, f.name, given)
			if f.secret {
				assert.NotContains(t, text, given, "--%s is secret", f.name)
			}
		}
	}
}

func TestFlags(t *testing.T) {
	assert.Contains(t, Flags("init"), "etcd-servers")
	assert.NotContains(t, Flags("init"), "secret-name")
	assert.Contains(t, Flags("join"), "secret-name")
	assert.NotContains(t, Flags("unjoin"), "secret-name")
	assert.NotContains(t, Flags("unjoin"), "help")
	assert.Empty(t, Flags("version"))
}

// Every flag is in the documentation, with the values that it sets.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/kubefed.md")
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	for _, f := range flags {
		if f.name == "help" {
			continue
		}
		var found bool
		for _, line := range lines {
			if !strings.Contains(line, "`--"+f.name+"`") {
				continue
			}
			missing := false
			for _, value := range f.values {
				if !strings.Contains(line, value) && !strings.Contains(line, "*."+lastKeys(value)) {
					missing = true
				}
			}
			found = found || !missing
		}
		assert.True(t, found, "docs/kubefed.md has no line with `--%s` and %v", f.name, f.values)
	}
}

// lastKeys is a path without its first key.
func lastKeys(path string) string {
	_, rest, _ := strings.Cut(path, ".")
	return rest
}
