package fedhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// run runs a command line, and gives the code, stdout, stderr, and the termination message.
func run(t *testing.T, args ...string) (code int, stdout, stderr, message string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "termination-log")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	var out, err bytes.Buffer
	code = Main(append(args, "--termination-log", file), &out, &err)
	text, readErr := os.ReadFile(file)
	require.NoError(t, readErr)
	return code, out.String(), err.String(), string(text)
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// kubeconfig is one for a server that answers as the handler says.
func kubeconfig(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return write(t, "kubeconfig", fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "host",
"clusters": [{"name": "host", "cluster": {"server": %q}}], "users": [{"name": "host"}],
"contexts": [{"name": "host", "context": {"cluster": "host", "user": "host", "namespace": "rivendell"}}]}`, server.URL))
}

// proxyFlags are all that basic-auth-proxy needs, and name nothing that is there.
var proxyFlags = []string{"basic-auth-proxy", "--listen=127.0.0.1:0", "--probes=127.0.0.1:0", "--server=https://127.0.0.1:1", "--certificate-authority=/nowhere",
	"--tls-cert-file=/nowhere", "--tls-private-key-file=/nowhere", "--proxy-client-cert-file=/nowhere", "--proxy-client-key-file=/nowhere", "--htpasswd-file=/nowhere"}

func TestOneSentenceForEachFault(t *testing.T) {
	api := kubeconfig(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"})
	})
	good := write(t, "values.yaml", "clusterDomain: cluster.local\n")
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"unknown command":       {[]string{"destroy"}, `unknown command "destroy"`},
		"unknown flag":          {[]string{"certs", "--ring"}, "`fedhook certs --help` lists what it takes"},
		"no release":            {[]string{"certs", "--kubeconfig", api}, "give --release"},
		"no values":             {[]string{"certs", "--kubeconfig", api, "--release", "fellowship"}, "`helm -n rivendell get values --all -o yaml fellowship`"},
		"both values":           {[]string{"certs", "--kubeconfig", api, "--release", "fellowship", "--values", good, "--values-secret", "a"}, "give one of them"},
		"a bad name":            {[]string{"certs", "--kubeconfig", api, "--release", "Fellow_ship", "--values", good}, "RFC 1035"},
		"an unknown value":      {[]string{"certs", "--kubeconfig", api, "--release", "fellowship", "--values", write(t, "values.yaml", "ring: one\n")}, `unknown field "ring"`},
		"values that are none":  {[]string{"certs", "--kubeconfig", api, "--release", "fellowship", "--values", write(t, "values.yaml", "{{{")}, "compare them with the chart's values.yaml"},
		"no such file":          {[]string{"certs", "--kubeconfig", api, "--release", "fellowship", "--values", "/nowhere"}, "/nowhere"},
		"no Service":            {[]string{"publish", "--kubeconfig", api, "--release", "fellowship", "--values", good}, "get Service rivendell/fellowship-apiserver"},
		"no such kubeconfig":    {[]string{"certs", "--release", "fellowship", "--kubeconfig", "/nowhere"}, "give its --kubeconfig and --context"},
		"no such context":       {[]string{"certs", "--release", "fellowship", "--kubeconfig", api, "--context", "mordor"}, `"mordor"`},
		"no federation's API":   {[]string{"bootstrap", "--release", "fellowship"}, "give --federation-kubeconfig"},
		"nothing to proxy":      {[]string{"basic-auth-proxy", "--group", "a"}, "--server, --certificate-authority, --tls-cert-file, --tls-private-key-file, --proxy-client-cert-file, --proxy-client-key-file, --htpasswd-file are missing"},
		"an address of nobody":  {append(slices.Clone(proxyFlags), "--listen", "192.0.2.1:1"), "listen at 192.0.2.1:1"},
		"no passwords":          {proxyFlags, "look at the htpasswd file: stat /nowhere"},
		"an unknown format":     {[]string{"status", "-o", "xml"}, "table, json, yaml"},
		"status of an old host": {[]string{"status", "--kubeconfig", api}, "look for federations in namespace rivendell"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr, message := run(t, test.args...)
			require.Equal(t, 1, code)
			require.Empty(t, stdout)
			sentence := strings.TrimSuffix(stderr[strings.LastIndex(stderr, "fedhook: ")+len("fedhook: "):], "\n")
			require.Contains(t, sentence, test.says)
			require.NotContains(t, sentence, "\n")
			if message != "" { // a command line that is wrong says nothing of a termination log either
				require.Equal(t, sentence, message)
			}
		})
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	commands := newCommand(&options{}).Commands()
	require.Len(t, commands, 14)
	for _, command := range commands {
		code, stdout, _, _ := run(t, command.Name(), "--help")
		require.Zero(t, code)
		require.Contains(t, stdout, "Usage:\n  fedhook "+command.Name())
	}
	code, stdout, _, _ := run(t, "version")
	require.Zero(t, code)
	require.Equal(t, Version+"\n", stdout)
}

// An API that takes a call and never answers ends with the timeout, or with the pod's signal, in a sentence that says so.
func TestTimeoutAndSignal(t *testing.T) {
	asked := make(chan struct{}, 10)
	end := make(chan struct{})
	api := kubeconfig(t, func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-end:
		}
		panic(http.ErrAbortHandler) // a client that has just closed its connection still takes an answer
	})
	t.Cleanup(func() { close(end) })
	args := []string{"certs", "--kubeconfig", api, "--release", "fellowship", "--values", write(t, "values.yaml", "{}")}
	code, _, _, message := run(t, append(args, "--timeout", "200ms")...)
	require.Equal(t, 1, code)
	require.Contains(t, message, "gave up after 200ms, the --timeout, run it again to finish the work: ")

	<-asked
	start := time.Now()
	go func() {
		<-asked
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	}()
	code, _, _, message = run(t, args...)
	require.Equal(t, 1, code)
	require.Contains(t, message, "stopped by a signal, run it again to finish the work: ")
	require.Less(t, time.Since(start), 10*time.Second)
}
