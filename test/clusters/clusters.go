// Package clusters gives tests the real clusters they run on: those of scripts/local-cluster, or any that KUBECONFIG names under the same contexts.
package clusters

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

// The clusters of the tests: a host, and two that join.
const (
	Host   = "rivendell"
	Gondor = "gondor"
	Shire  = "shire"
)

// Charts, from the root of the repository.
const (
	ControlPlaneChart = "charts/federation-control-plane"
	MemberChart       = "charts/federation-member"
)

// Scheme knows Kubernetes' own types and ours.
var Scheme = runtime.NewScheme()

func init() {
	log.SetLogger(logr.Discard())
	utilruntime.Must(clientgoscheme.AddToScheme(Scheme))
	utilruntime.Must(v1beta1.AddToScheme(Scheme))
}

// Root is the folder of the repository.
func Root() string {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		panic("find the repository: " + err.Error())
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

// BinaryDir is where scripts/build-tools puts kubectl, helm and the others.
func BinaryDir() string {
	cache := os.Getenv("FEDHELM_CACHE")
	if cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			panic("find the cache folder: " + err.Error())
		}
		cache = filepath.Join(base, "fedhelm")
	}
	return filepath.Join(cache, "bin")
}

// Kubeconfig is the file with the clusters' contexts.
func Kubeconfig() string {
	if path := os.Getenv("KUBECONFIG"); path != "" {
		return path
	}
	state := os.Getenv("FEDHELM_STATE")
	if state == "" {
		state = "/var/lib/fedhelm"
	}
	return filepath.Join(state, "kubeconfig")
}

// Cluster is a real cluster.
type Cluster struct {
	// Name of the cluster, and of its context.
	Name string
	// Kubeconfig is a file with the cluster's context alone, which is the current one.
	Kubeconfig string
	Config     *rest.Config
	client.Client
}

// Open gives the cluster of that name. The test fails, with what to do, if it does not answer.
func Open(t testing.TB, name string) *Cluster {
	t.Helper()
	out, err := exec.Command(filepath.Join(BinaryDir(), "kubectl"), "--kubeconfig", Kubeconfig(), "config", "view", "--raw", "--flatten", "--minify", "--context", name).Output()
	require.NoError(t, err, "read context %s of %s: bring the clusters up with `make clusters`", name, Kubeconfig())
	path := filepath.Join(t.TempDir(), name+".kubeconfig")
	require.NoError(t, os.WriteFile(path, out, 0o600))
	c := FromKubeconfig(t, name, path)
	var namespaces corev1.NamespaceList
	require.NoError(t, c.List(t.Context(), &namespaces), "cluster %s does not answer: bring the clusters up with `make clusters`", name)
	return c
}

// FromKubeconfig gives the cluster of a kubeconfig's current context.
func FromKubeconfig(t testing.TB, name, path string) *Cluster {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", path)
	require.NoError(t, err)
	config.QPS = -1
	config.Timeout = 30 * time.Second
	c, err := client.New(config, client.Options{Scheme: Scheme})
	require.NoError(t, err)
	return &Cluster{Name: name, Kubeconfig: path, Config: config, Client: c}
}

// Namespace makes a namespace of its own for a test, with the labels given, and deletes it at the test's end.
func (c *Cluster) Namespace(t testing.TB, prefix string, labels map[string]string) string {
	t.Helper()
	suffix := make([]byte, 3)
	_, _ = rand.Read(suffix)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: prefix + "-" + hex.EncodeToString(suffix), Labels: labels}}
	require.NoError(t, c.Create(t.Context(), namespace))
	t.Cleanup(func() { c.DeleteNamespace(t, namespace.Name, 2*time.Minute) })
	return namespace.Name
}

// DeleteNamespace deletes a namespace, and waits until it is gone, and the volumes with it that nobody retains.
func (c *Cluster) DeleteNamespace(t testing.TB, name string, within time.Duration) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	require.NoError(t, client.IgnoreNotFound(c.Delete(context.Background(), namespace)))
	Eventually(t, within, "namespace "+name+" gone", func(ctx context.Context) (bool, error) {
		if err := c.Get(ctx, client.ObjectKeyFromObject(namespace), namespace); !apierrors.IsNotFound(err) {
			return false, err
		}
		var volumes corev1.PersistentVolumeList
		err := c.List(ctx, &volumes)
		return !slices.ContainsFunc(volumes.Items, func(v corev1.PersistentVolume) bool {
			return v.Spec.ClaimRef != nil && v.Spec.ClaimRef.Namespace == name && v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete
		}) && err == nil, err
	})
}

// Kubectl runs kubectl against the cluster. The test fails if it does.
func (c *Cluster) Kubectl(t testing.TB, args ...string) string {
	t.Helper()
	return c.Must(t, "kubectl", args...)
}

// Must runs a program of BinaryDir with the cluster as the current context, and gives its output. The test fails if it does.
func (c *Cluster) Must(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := c.Run(t, program, args...)
	require.NoError(t, err, "%s %s\n%s", program, strings.Join(args, " "), out)
	return out
}

// Run runs a program of BinaryDir with the cluster as the current context, in the root of the repository, and gives its output and errors together.
func (c *Cluster) Run(t testing.TB, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(BinaryDir(), program), args...)
	command.Dir = Root()
	command.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	start := time.Now()
	err := command.Run()
	t.Logf("%5.1fs  %s %s", time.Since(start).Seconds(), program, strings.Join(args, " "))
	return out.String(), err
}

// LocalCluster runs scripts/local-cluster. The test fails if it does.
func LocalCluster(t testing.TB, args ...string) {
	t.Helper()
	command := exec.Command(filepath.Join(Root(), "scripts", "local-cluster"), args...)
	out, err := command.CombinedOutput()
	require.NoError(t, err, "scripts/local-cluster %s\n%s", strings.Join(args, " "), out)
}

// Eventually asks check until it is true, at most for the time given. The test fails if it never is, with the last error, which says how far it was.
func Eventually(t testing.TB, timeout time.Duration, what string, check func(context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		done, err := check(ctx)
		if done {
			return
		}
		if ctx.Err() == nil || last == nil {
			last = err // what is cut off by the end of the wait says nothing
		}
		select {
		case <-ctx.Done():
			require.NoError(t, last, "waited %s for %s in vain", timeout, what)
			require.FailNow(t, fmt.Sprintf("waited %s for %s in vain", timeout, what))
		case <-ticker.C:
		}
	}
}

// EventuallySeen asks look until it is content, at most for the time given. The test fails if it never is, with what it saw last.
func EventuallySeen(t testing.TB, timeout time.Duration, what string, look func() (content bool, seen string)) {
	t.Helper()
	Eventually(t, timeout, what, func(context.Context) (bool, error) {
		content, seen := look()
		return content, fmt.Errorf("last seen: %s", seen)
	})
}
