//go:build e2e

package charts

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fedhelm/fedhelm/pkg/kube"
)

// registry starts a real OCI registry and gives its host and port.
func registry(t *testing.T) string {
	t.Helper()
	bin := binaries(t, "registry")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	config := filepath.Join(t.TempDir(), "registry.yaml")
	require.NoError(t, os.WriteFile(config, []byte(fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {inmemory: {}}\nhttp: {addr: %q}\n", address)), 0o600))
	log, err := os.Create(filepath.Join(t.TempDir(), "registry.log"))
	require.NoError(t, err)
	command := exec.Command(filepath.Join(bin, "registry"), "serve", config)
	command.Stdout, command.Stderr = log, log
	require.NoError(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	require.NoError(t, kube.Wait(t.Context(), 50*time.Millisecond, 30*time.Second, "the registry at "+address, func(ctx context.Context) (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/v2/", nil)
		if err != nil {
			return false, err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, err
		}
		return answer.StatusCode == http.StatusOK, answer.Body.Close()
	}))
	return address
}

// The charts can be packaged, pushed to a registry, and used from there: they are the same.
func TestChartsInARegistry(t *testing.T) {
	at := "oci://" + registry(t) + "/charts"
	for _, binary := range helms {
		packages := t.TempDir()
		for _, r := range []release{fellowship, gondor} {
			packaged, said, err := helm(t, binary, "package", filepath.Join(chartsDir, r.chart), "--destination", packages)
			require.NoError(t, err, packaged+said)
			files, err := filepath.Glob(filepath.Join(packages, r.chart+"-*.tgz"))
			require.NoError(t, err)
			require.Len(t, files, 1)
			_, said, err = helm(t, binary, "push", "--plain-http", files[0], at)
			require.NoError(t, err, said)

			file := filepath.Join(t.TempDir(), "values.yaml")
			require.NoError(t, os.WriteFile(file, []byte(r.values), 0o600))
			want, said, err := template(t, binary, r)
			require.NoError(t, err, said)
			got, said, err := helm(t, binary, "template", r.name, at+"/"+r.chart, "--plain-http", "--namespace", r.namespace, "--values", file)
			require.NoError(t, err, said)
			require.Equal(t, want, got, "%s: chart %s is another one in the registry", binary, r.chart)
		}
	}
}
