package v1beta1

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The generated files are those that controller-gen makes of the types.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	out := t.TempDir()
	command := exec.Command("go", "tool", "-modfile=../../../../tools/go.mod", "controller-gen", "object", "crd", "paths=.",
		"output:crd:dir="+out, "output:object:dir="+out)
	command.Env = append(os.Environ(), "CGO_ENABLED=0") // with the race detector it is 1, and all would be compiled once more
	text, err := command.CombinedOutput()
	require.NoError(t, err, "%s", text)
	for generated, ours := range map[string]string{
		"zz_generated.deepcopy.go":             "zz_generated.deepcopy.go",
		"federation.fedhelm.dev_clusters.yaml": "crd/federation.fedhelm.dev_clusters.yaml",
	} {
		want, err := os.ReadFile(filepath.Join(out, generated))
		require.NoError(t, err)
		got, err := os.ReadFile(ours)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "%s is stale: run make generate", ours)
	}
}
