//go:build e2e

package bench

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fedhelm/fedhelm/test/clusters"
)

// build builds fedhook as its image has it.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fedhook")
	command := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./cmd/fedhook")
	command.Dir, command.Env = clusters.Root(), append(os.Environ(), "CGO_ENABLED=0")
	out, err := command.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// usage is what a process took: seconds of CPU, and at their peaks megabytes of memory, and those among them that are its own. The rest are pages of its
// program's file, which the kernel maps by the dozen and takes back when it is short of memory.
type usage struct{ cpu, memory, own float64 }

// run runs a program to its end. The test fails if it does.
func run(t *testing.T, environment []string, program string, args ...string) usage {
	t.Helper()
	var out strings.Builder
	command := exec.Command(program, args...)
	command.Env = append(os.Environ(), environment...)
	command.Stdout, command.Stderr = &out, &out
	require.NoError(t, command.Start())
	peak, done := make(chan usage), make(chan struct{})
	go func() { peak <- watchPeak(command.Process.Pid, done) }()
	err := command.Wait()
	close(done)
	u := <-peak
	u.cpu = (command.ProcessState.UserTime() + command.ProcessState.SystemTime()).Seconds()
	require.NoError(t, err, "%s %s\n%s", program, strings.Join(args, " "), out.String())
	require.NotZero(t, u.memory, "the peak of %s was never seen", program)
	t.Logf("%s %s: %.2fs CPU, %.1f MB, %.1f MB of its own", filepath.Base(program), args[0], u.cpu, u.memory, u.own)
	return u
}

// watchPeak gives the most memory that a process had until it was done. It reads the process's high-water mark: the maxrss of a
// child's rusage is no less than its parent's memory at the time of the fork.
func watchPeak(pid int, done <-chan struct{}) (peak usage) {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	executable := ""
	for {
		// Before it executes its program, the child still is a copy of us.
		if executable == "" {
			if link, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && link != selfExecutable() {
				executable = link
			}
		}
		if executable != "" {
			if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
				peak.memory = max(peak.memory, megabytes(string(status), "VmHWM:"))
				peak.own = max(peak.own, megabytes(string(status), "RssAnon:"))
			}
		}
		select {
		case <-done:
			return peak
		case <-ticker.C:
		}
	}
}

// megabytes reads a line of a process's status, 0 where there is none.
func megabytes(status, name string) (kilobytes float64) {
	_, line, _ := strings.Cut(status, name)
	_, _ = fmt.Sscanf(line, "%f kB", &kilobytes)
	return kilobytes * 1024 / 1e6
}

func selfExecutable() string {
	path, _ := os.Executable()
	return path
}

// passage gives the URL of a proxy through which a process of this machine reaches the API of the federation under the name that it has in its host cluster.
func passage(t *testing.T, service, server string) string {
	t.Helper()
	address, err := url.Parse(server)
	require.NoError(t, err)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target := r.Host
		if target == service {
			target = address.Host
		}
		upstream, err := net.DialTimeout("tcp", target, 10*time.Second)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer func() { _ = upstream.Close() }()
		connection, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = connection.Close() }()
		if _, err := io.WriteString(connection, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(upstream, connection)
			_ = upstream.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(connection, upstream)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// imageSize gives the megabytes of an image's archive: compressed, as registries keep it, and as it is.
func imageSize(t *testing.T, path string) (pulled, unpacked float64) {
	t.Helper()
	archive, err := os.Open(path)
	require.NoError(t, err, "make the image with `make image`")
	defer func() { _ = archive.Close() }()
	var compressed counter
	zipper := gzip.NewWriter(&compressed)
	size, err := io.Copy(zipper, archive)
	require.NoError(t, err)
	require.NoError(t, zipper.Close())
	return float64(compressed) / 1e6, float64(size) / 1e6
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
