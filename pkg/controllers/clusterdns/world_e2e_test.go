//go:build e2e

package clusterdns

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controllers/clusterclient"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/memberdns"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/faults"
)

// These tests run passes of the controller against two real kube-apiservers: one is the federation's and the host cluster's, the other a member's.

const (
	bound      = 30 * time.Second
	fellowship = "fellowship"
	rivendell  = "federation-home"
	period     = 40 * time.Second
)

// userCorefile is what the member's owner wrote; its last line has no break.
const userCorefile = `.:53 {
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       fallthrough in-addr.arpa ip6.arpa
    }
    forward . /etc/resolv.conf
    cache 30
}
# mine`

var homeEnv, memberEnv *envtest.Environment

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	code := 1
	defer func() { os.Exit(code) }()
	cache := os.Getenv("FEDHELM_CACHE")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache", "fedhelm")
	}
	bin := filepath.Join(cache, "bin")
	for _, name := range []string{"kube-apiserver", "etcd"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			fmt.Fprintln(os.Stderr, "these tests need kube-apiserver and etcd: run scripts/build-tools kube-apiserver etcd, or set FEDHELM_CACHE to where it put its binaries")
			return
		}
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(v1beta1.CustomResourceDefinition(), crd); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	homeEnv = &envtest.Environment{BinaryAssetsDirectory: bin, ControlPlaneStartTimeout: 4 * bound, ControlPlaneStopTimeout: bound, CRDs: []*apiextensionsv1.CustomResourceDefinition{crd}}
	memberEnv = &envtest.Environment{BinaryAssetsDirectory: bin, ControlPlaneStartTimeout: 4 * bound, ControlPlaneStopTimeout: bound}
	for _, env := range []*envtest.Environment{homeEnv, memberEnv} {
		if _, err := env.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		defer func() { _ = env.Stop() }()
	}
	home, err := kube.Connect(homeEnv.Config)
	if err == nil {
		err = home.Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: rivendell}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	code = m.Run()
}

// world is a federation with the member gondor, which is Ready and in one zone, and whose DNS is CoreDNS.
type world struct {
	*testing.T
	home, member *kube.API
	// account is the federation's in the member.
	account *rest.Config
	events  *events.FakeRecorder
	trials  *Reconciler // the last one, with what it remembers
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, account: memberEnv.Config, events: events.NewFakeRecorder(1000)}
	var err error
	w.home, err = kube.Connect(homeEnv.Config)
	require.NoError(t, err)
	w.member, err = kube.Connect(memberEnv.Config)
	require.NoError(t, err)
	w.clear()
	t.Cleanup(w.clear)
	w.create(w.home, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: rivendell, Name: "fellowship-federation"},
		Data: map[string]string{"name": fellowship, "dnsZone": "federation.internal.", "nameservers": "", "ownDNS": "true"}})
	w.create(w.home, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: rivendell, Name: "fellowship-nameservers"},
		Data: map[string]string{"nameservers": "10.0.0.53:53"}})
	w.create(w.member, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: memberdns.Namespace, Name: memberdns.CoreDNS}, Data: map[string]string{memberdns.CorefileKey: userCorefile}})
	w.create(w.member, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: v1beta1.MemberRole("gondor", fellowship)}})
	w.create(w.home, &v1beta1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "gondor"}, Spec: v1beta1.ClusterSpec{
		ServerAddressByClientCIDRs: []v1beta1.ServerAddressByClientCIDR{{ServerAddress: "https://gondor.example"}}, SecretRef: v1beta1.SecretReference{Name: "gondor"},
		ClusterDNS: &v1beta1.ClusterDNS{Mode: v1beta1.ClusterDNSCoreDNS},
	}})
	w.found(func(s *v1beta1.ClusterStatus) { s.Region, s.Zones = "Eriador", []string{"bree"} })
	return w
}

// clear leaves nothing of a test's world.
func (w *world) clear() {
	ctx := context.Background()
	cluster := &v1beta1.Cluster{}
	if w.home.Get(ctx, client.ObjectKey{Name: "gondor"}, cluster) == nil {
		cluster.Finalizers = nil
		require.NoError(w, w.home.Update(ctx, cluster))
	}
	gone := func(api *kube.API, obj client.Object, options ...client.DeleteOption) {
		require.NoError(w, client.IgnoreNotFound(api.Delete(ctx, obj, options...)))
	}
	gone(w.home, &v1beta1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "gondor"}})
	for _, name := range []string{"fellowship-federation", "fellowship-nameservers"} {
		gone(w.home, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: rivendell, Name: name}})
	}
	for _, name := range []string{memberdns.CoreDNS, memberdns.CoreDNSCustom, memberdns.KubeDNS, "fedhelm-trial-fellowship"} {
		gone(w.member, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: memberdns.Namespace, Name: name}})
	}
	gone(w.member, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: v1beta1.MemberRole("gondor", fellowship)}})
	for _, name := range []string{"coredns-1", "fedhelm-trial-fellowship"} {
		gone(w.member, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: memberdns.Namespace, Name: name}}, client.GracePeriodSeconds(0))
	}
}

func (w *world) create(api *kube.API, obj client.Object) {
	w.Helper()
	require.NoError(w, api.Create(context.Background(), obj))
}

func (w *world) cluster() *v1beta1.Cluster {
	w.Helper()
	cluster := &v1beta1.Cluster{}
	require.NoError(w, w.home.Get(w.Context(), client.ObjectKey{Name: "gondor"}, cluster))
	return cluster
}

// found is the cluster controller's write after a probe that went well.
func (w *world) found(change func(*v1beta1.ClusterStatus)) {
	w.Helper()
	cluster := w.cluster()
	change(&cluster.Status)
	meta.SetStatusCondition(&cluster.Status.Conditions, metav1.Condition{Type: v1beta1.ClusterReady, Status: metav1.ConditionTrue,
		Reason: v1beta1.ReasonClusterReady, ObservedGeneration: cluster.Generation})
	require.NoError(w, w.home.Status().Update(w.Context(), cluster))
}

// specified is a join's write, and the probe after it.
func (w *world) specified(change func(*v1beta1.ClusterSpec)) {
	w.Helper()
	cluster := w.cluster()
	change(&cluster.Spec)
	require.NoError(w, w.home.Update(w.Context(), cluster))
	w.found(func(*v1beta1.ClusterStatus) {})
}

// told changes what the control plane tells of the federation; a nil value takes the ConfigMap away.
func (w *world) told(name string, data map[string]string) {
	w.Helper()
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: rivendell, Name: name}}
	require.NoError(w, client.IgnoreNotFound(w.home.Delete(w.Context(), configMap)))
	if data != nil {
		configMap.ResourceVersion, configMap.UID, configMap.Data = "", "", data
		w.create(w.home, configMap)
	}
}

// data gives a ConfigMap of the member's DNS, nil where there is none.
func (w *world) data(name string) map[string]string {
	w.Helper()
	configMap := &corev1.ConfigMap{}
	err := w.member.Get(w.Context(), client.ObjectKey{Namespace: memberdns.Namespace, Name: name}, configMap)
	require.NoError(w, client.IgnoreNotFound(err))
	return configMap.Data
}

func (w *world) corefile() string {
	w.Helper()
	return w.data(memberdns.CoreDNS)[memberdns.CorefileKey]
}

// edit is the member's owner at work.
func (w *world) edit(change func(string) string) {
	w.Helper()
	configMap := &corev1.ConfigMap{}
	require.NoError(w, w.member.Get(w.Context(), client.ObjectKey{Namespace: memberdns.Namespace, Name: memberdns.CoreDNS}, configMap))
	changed := change(configMap.Data[memberdns.CorefileKey])
	require.NotEqual(w, configMap.Data[memberdns.CorefileKey], changed)
	configMap.Data[memberdns.CorefileKey] = changed
	require.NoError(w, w.member.Update(w.Context(), configMap))
}

func (w *world) replace(from, to string) {
	w.Helper()
	w.edit(func(text string) string { return strings.ReplaceAll(text, from, to) })
}

// reconciler is the controller over a wire.
func (w *world) reconciler(wire *faults.Transport) *Reconciler {
	w.Helper()
	wrapped := func(config *rest.Config) *rest.Config {
		config = rest.CopyConfig(config)
		config.Wrap(wire.Wrap)
		return config
	}
	federation, err := kube.Connect(wrapped(homeEnv.Config))
	require.NoError(w, err)
	core, err := clientcorev1.NewForConfig(homeEnv.Config)
	require.NoError(w, err)
	config := wrapped(w.account)
	connections, err := rest.HTTPClientFor(config)
	require.NoError(w, err)
	gondor := member{&clusterclient.Member{Name: "gondor", Config: config, HTTPClient: connections}}
	return newReconciler(federation, federation, gondor, w.events, Options{Federation: fellowship, ConfigMaps: core.ConfigMaps(rivendell), Period: period})
}

type member struct{ *clusterclient.Member }

func (m member) Get(string) *clusterclient.Member { return m.Member }

// pass runs one pass, by the controller that ran the last, and gives the writes that it made.
func (w *world) pass() []string {
	w.Helper()
	wire := &faults.Transport{}
	r := w.reconciler(wire)
	if w.trials != nil {
		r.memories, r.facts = w.trials.memories, w.trials.facts
	}
	w.trials = r
	result, err := r.Reconcile(w.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Name: "gondor"}})
	require.NoError(w, err)
	require.True(w, result.RequeueAfter == 0 || result.RequeueAfter >= period/4, "no hot loop: %v", result.RequeueAfter)
	return wire.Writes()
}

// settled runs a pass that must set things right, and one that must have nothing to do.
func (w *world) settled() {
	w.Helper()
	w.pass()
	require.Empty(w, w.pass(), "nothing is written when nothing differs")
}

// condition gives DNSConfigured as "True Reason: message"; empty without one.
func (w *world) condition() string {
	w.Helper()
	c := meta.FindStatusCondition(w.cluster().Status.Conditions, v1beta1.ClusterDNSConfigured)
	if c == nil {
		return ""
	}
	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

// recorded gives the Events since the last call.
func (w *world) recorded() []string {
	var list []string
	for {
		select {
		case e := <-w.events.Events:
			list = append(list, e)
		default:
			return list
		}
	}
}

// kubelet runs trial pods, as far as there is one to run here: CoreDNS in them refuses whatever has "nonsense" in it, with the real one's words.
func (w *world) kubelet() {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: memberdns.Namespace, Name: "coredns-1", Labels: map[string]string{"k8s-app": "kube-dns"}},
		Spec: corev1.PodSpec{
			NodeName: "minas-tirith",
			Containers: []corev1.Container{{Name: "coredns", Image: "coredns:1", ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
				Exec: &corev1.ExecAction{Command: []string{"true"}}}}}},
			Volumes: []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: memberdns.CoreDNS}}}}},
		},
	}
	w.create(w.member, pod)
	pod.Status.Phase = corev1.PodRunning
	require.NoError(w, w.member.Status().Update(w.Context(), pod))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	w.Cleanup(func() { stop(); <-done })
	go func() {
		defer close(done)
		for ticker := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			trial, data := &corev1.Pod{}, &corev1.ConfigMap{}
			key := client.ObjectKey{Namespace: memberdns.Namespace, Name: "fedhelm-trial-fellowship"}
			if w.member.Get(ctx, key, trial) != nil || len(trial.Status.ContainerStatuses) > 0 || w.member.Get(ctx, key, data) != nil {
				continue
			}
			status := corev1.ContainerStatus{Name: "coredns", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
			if strings.Contains(fmt.Sprint(data.Data), "nonsense") {
				status = corev1.ContainerStatus{Name: "coredns", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
					ExitCode: 1, Message: "maxprocs: ...\n/etc/coredns/Corefile:12 - Error during parsing: Unknown directive 'nonsense'\n"}}}
			}
			trial.Status.ContainerStatuses = []corev1.ContainerStatus{status}
			_ = w.member.Status().Update(ctx, trial)
		}
	}()
}

func eventually(t *testing.T, what string, check func() (bool, string)) {
	t.Helper()
	clusters.EventuallySeen(t, bound, what, check)
}
