//go:build e2e

package status

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controlplane"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/values"
)

// One real kube-apiserver is both the host cluster's and the federation's.

const (
	fellowship = "fellowship"
	rivendell  = "federation-home"
	bound      = 30 * time.Second
)

var (
	env *envtest.Environment
	api *kube.API
)

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	code := 1
	defer func() { os.Exit(code) }()
	cache := os.Getenv("FEDHELM_CACHE")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache", "fedhelm")
	}
	bin := filepath.Join(cache, "bin")
	if _, err := os.Stat(filepath.Join(bin, "kube-apiserver")); err != nil {
		fmt.Fprintln(os.Stderr, "these tests need kube-apiserver, etcd and kubectl: run scripts/build-tools kube-apiserver etcd kubectl, or set FEDHELM_CACHE to where it put its binaries")
		return
	}
	env = &envtest.Environment{BinaryAssetsDirectory: bin, ControlPlaneStartTimeout: 4 * bound, ControlPlaneStopTimeout: bound}
	config, err := env.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer func() { _ = env.Stop() }()
	if api, err = kube.Connect(config); err == nil {
		err = install(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	code = m.Run()
}

// install makes what a release of the control plane has in the host cluster, and a published kubeconfig that leads back to this API.
func install(ctx context.Context) error {
	service := func(component string, port int32) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: rivendell, Name: fellowship + "-" + component}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: port}}}}
	}
	for _, obj := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: rivendell}},
		service("apiserver", 443),
		service("dns", 53),
		federation(fellowship),
	} {
		if err := api.Create(ctx, obj); err != nil {
			return err
		}
	}
	hook := controlplane.Hook{Federation: fellowship, Namespace: rivendell, Values: values.DefaultControlPlane(), Host: api, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, step := range []func(context.Context) error{
		hook.Certs, hook.Publish, func(ctx context.Context) error { return hook.Bootstrap(ctx, api.Config) },
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	user, err := env.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return err
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return err
	}
	return publish(ctx, kubeconfig)
}

func publish(ctx context.Context, kubeconfig []byte) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: rivendell, Name: fellowship + "-kubeconfig"}}
	if err := api.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
		return err
	}
	secret.Data["kubeconfig"] = kubeconfig
	return api.Update(ctx, secret)
}

func federation(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: rivendell, Name: name + "-federation", Labels: map[string]string{"federation.fedhelm.dev/kind": "federation"}},
		Data: map[string]string{
			"name": name, "dnsZone": "federation.internal.", "provider": "coredns", "ownDNS": "true", "nameservers": "10.0.0.53", "server": "https://" + name + "-apiserver.federation-home.svc:443",
		},
	}
}

// viewer looks with the rights of the chart's test pod.
func viewer(t *testing.T) Viewer {
	t.Helper()
	cas, keys, leaves := controlplane.Components()
	var secrets []string
	for _, component := range append(append(cas, keys, "kubeconfig"), leaves...) {
		secrets = append(secrets, fellowship+"-"+component)
	}
	at := metav1.ObjectMeta{Namespace: rivendell, Name: fellowship + "-status"}
	for _, obj := range []client.Object{
		&rbacv1.Role{ObjectMeta: at, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}},
			{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: secrets, Verbs: []string{"get"}},
		}},
		&rbacv1.RoleBinding{ObjectMeta: at, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: at.Name},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: at.Name}}},
	} {
		require.NoError(t, client.IgnoreAlreadyExists(api.Create(t.Context(), obj)))
	}
	user, err := env.AddUser(envtest.User{Name: at.Name}, nil)
	require.NoError(t, err)
	host, err := kube.Connect(user.Config())
	require.NoError(t, err)
	require.NoError(t, kube.RetryTransient(t.Context(), bound, func(ctx context.Context) error {
		return host.List(ctx, &corev1.ConfigMapList{}, client.InNamespace(rivendell))
	}))
	return Viewer{Host: host, Namespace: rivendell}
}

func report(t *testing.T, v Viewer) *Report {
	t.Helper()
	report, err := v.Look(t.Context(), "")
	require.NoError(t, err)
	return report
}

func TestHealthyFederation(t *testing.T) {
	got := report(t, viewer(t))
	require.NoError(t, got.Err())
	require.True(t, got.API.Ready)
	require.Equal(t, api.Config.Host, strings.TrimSuffix(got.API.Address, "/")+strings.Repeat("/", strings.Count(api.Config.Host, "/")-2))
	require.Equal(t, DNS{Zone: "federation.internal.", Provider: "coredns", Own: true, Nameservers: []string{"10.0.0.53"}}, got.DNS)
	require.Len(t, got.Certificates, 17)
	for _, c := range got.Certificates {
		require.NotNil(t, c.DaysLeft, c.Secret)
	}

	var table bytes.Buffer
	require.NoError(t, got.Print(&table, "table"))
	t.Log("\n" + table.String())
	for _, want := range []string{"FEDERATION   fellowship", "ready", "join a cluster with", "fellowship-apiserver-tls", "3649"} {
		require.Contains(t, table.String(), want)
	}
	for format, decode := range map[string]func([]byte, any) error{"json": json.Unmarshal, "yaml": func(b []byte, v any) error { return yaml.UnmarshalStrict(b, v) }} {
		var out bytes.Buffer
		require.NoError(t, got.Print(&out, format))
		back := &Report{}
		require.NoError(t, decode(out.Bytes(), back), format)
		require.Equal(t, got.Certificates[0].Secret, back.Certificates[0].Secret)
		require.NotContains(t, out.String(), "null")
	}
	require.ErrorContains(t, got.Print(io.Discard, "xml"), "table, json, yaml")
}

func TestMembers(t *testing.T) {
	for name, test := range map[string]struct {
		status v1beta1.ClusterStatus
		says   string
	}{
		"ready": {v1beta1.ClusterStatus{Phase: v1beta1.ClusterPhaseReady, Version: "v1.37.2", Region: "gondor"}, ""},
		"offline": {v1beta1.ClusterStatus{Phase: v1beta1.ClusterPhaseOffline, Conditions: []metav1.Condition{
			{Type: v1beta1.ClusterOffline, Status: metav1.ConditionTrue, Reason: v1beta1.ReasonClusterNotReachable, Message: "cluster is not reachable: no route", LastTransitionTime: metav1.Now()},
		}}, "member gondor is Offline: cluster is not reachable: no route"},
		"not looked at yet": {v1beta1.ClusterStatus{Phase: v1beta1.ClusterPhaseUnknown}, "member gondor is Unknown: no controller has looked at it yet"},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := &v1beta1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "gondor"}, Spec: v1beta1.ClusterSpec{
				ServerAddressByClientCIDRs: []v1beta1.ServerAddressByClientCIDR{{ServerAddress: "https://gondor.example"}}, SecretRef: v1beta1.SecretReference{Name: "gondor"},
			}}
			require.NoError(t, api.Create(t.Context(), cluster))
			defer func() { require.NoError(t, api.Delete(context.Background(), cluster)) }()
			cluster.Status = test.status
			require.NoError(t, api.Status().Update(t.Context(), cluster))
			got := report(t, viewer(t))
			require.Len(t, got.Members, 1)
			var table bytes.Buffer
			require.NoError(t, got.Print(&table, "table"))
			require.Contains(t, table.String(), "gondor")
			if test.says == "" {
				require.NoError(t, got.Err())
				return
			}
			require.ErrorContains(t, got.Err(), test.says)
		})
	}
}

func TestCertificates(t *testing.T) {
	v := viewer(t)
	at := func(after time.Duration) error {
		v.Now = func() time.Time { return time.Now().Add(after) }
		seen := report(t, v)
		// envtest's own certificate, in the kubeconfig, lasts a week.
		seen.Problems = slices.DeleteFunc(seen.Problems, func(p string) bool { return strings.HasPrefix(p, "certificate fellowship-kubeconfig") })
		return seen.Err()
	}
	const day = 24 * time.Hour
	require.NoError(t, at(300*day))
	require.ErrorContains(t, at(310*day), "certificate fellowship-admin: is not renewed though it ends soon: run the keeper now")
	require.ErrorContains(t, at(366*day), "certificate fellowship-admin: expired on")
	require.ErrorContains(t, at(3400*day), "certificate fellowship-etcd-ca: ends soon, and all that it signed with it")
	v.Now = nil

	secret := &corev1.Secret{}
	require.NoError(t, api.Get(t.Context(), client.ObjectKey{Namespace: rivendell, Name: "fellowship-etcd-peer"}, secret))
	copied := secret.DeepCopy()
	require.NoError(t, api.Delete(t.Context(), secret))
	require.ErrorContains(t, report(t, v).Err(), "certificate fellowship-etcd-peer: Secret federation-home/fellowship-etcd-peer is missing")
	copied.ResourceVersion, copied.Data["tls.crt"] = "", []byte("mellon")
	require.NoError(t, api.Create(t.Context(), copied))
	err := report(t, v).Err()
	require.ErrorContains(t, err, "fellowship-etcd-peer: cannot be read: no PEM certificate")
	require.NotContains(t, err.Error(), "mellon")
	copied.Data = secret.Data
	require.NoError(t, api.Update(t.Context(), copied))
}

// A federation shows the name servers of its own DNS where no others are given, and without such a DNS no certificates of it.
func TestOwnDNS(t *testing.T) {
	v := viewer(t)
	told := federation(fellowship)
	require.NoError(t, api.Get(t.Context(), client.ObjectKeyFromObject(told), told))
	change := func(provider, own, nameservers string) {
		told.Data["provider"], told.Data["ownDNS"], told.Data["nameservers"] = provider, own, nameservers
		require.NoError(t, api.Update(context.Background(), told))
	}
	defer change("coredns", "true", "10.0.0.53")
	row := func() string {
		var table bytes.Buffer
		require.NoError(t, report(t, v).Print(&table, "table"))
		return strings.Split(table.String(), "\n")[2]
	}
	published := &corev1.ConfigMap{}
	require.NoError(t, api.Get(t.Context(), client.ObjectKey{Namespace: rivendell, Name: fellowship + "-nameservers"}, published))
	change("coredns", "true", "")
	require.Contains(t, row(), "name servers "+published.Data["nameservers"])

	secret := &corev1.Secret{}
	require.NoError(t, api.Get(t.Context(), client.ObjectKey{Namespace: rivendell, Name: fellowship + "-dns-etcd-tls"}, secret))
	require.NoError(t, api.Delete(t.Context(), secret))
	secret.ResourceVersion = ""
	defer func() { require.NoError(t, api.Create(context.Background(), secret)) }()
	require.ErrorContains(t, report(t, v).Err(), "Secret federation-home/fellowship-dns-etcd-tls is missing")

	// Another provider has the zone now, and publish has not yet removed what there was.
	change("aws-route53", "false", "")
	require.Contains(t, row(), "public")
	require.NoError(t, report(t, v).Err())
	require.Len(t, report(t, v).Certificates, 14)
	change("none", "false", "")
	require.Contains(t, row(), "no records")

	require.NoError(t, api.Delete(t.Context(), published))
	change("coredns", "true", "")
	require.Contains(t, row(), "name servers not known yet")
}

// A federation whose etcd somebody else runs has no certificates for one, and names it, most of all when the API is not ready.
func TestExternalEtcd(t *testing.T) {
	v := viewer(t)
	told := federation(fellowship)
	require.NoError(t, api.Get(t.Context(), client.ObjectKeyFromObject(told), told))
	told.Data["etcdServers"] = "https://etcd-0:2379,https://etcd-1:2379"
	require.NoError(t, api.Update(t.Context(), told))
	defer func() {
		delete(told.Data, "etcdServers")
		require.NoError(t, api.Update(context.Background(), told))
	}()
	got := report(t, v)
	require.NoError(t, got.Err())
	require.Equal(t, []string{"https://etcd-0:2379", "https://etcd-1:2379"}, got.Etcd)
	require.Len(t, got.Certificates, 13)

	kept := &corev1.Secret{}
	require.NoError(t, api.Get(t.Context(), client.ObjectKey{Namespace: rivendell, Name: "fellowship-kubeconfig"}, kept))
	defer func() { require.NoError(t, publish(context.Background(), kept.Data["kubeconfig"])) }()
	dead := bytes.ReplaceAll(kept.Data["kubeconfig"], []byte(strings.Trim(strings.TrimPrefix(api.Config.Host, "https://"), "/")), []byte("127.0.0.1:1"))
	require.NoError(t, publish(t.Context(), dead))
	require.ErrorContains(t, report(t, v).Err(), "its etcd is at https://etcd-0:2379, https://etcd-1:2379, see that this answers")
}

func TestAPIThatDoesNotAnswer(t *testing.T) {
	v := viewer(t)
	kept := &corev1.Secret{}
	require.NoError(t, api.Get(t.Context(), client.ObjectKey{Namespace: rivendell, Name: "fellowship-kubeconfig"}, kept))
	defer func() { require.NoError(t, publish(context.Background(), kept.Data["kubeconfig"])) }()

	dead := bytes.ReplaceAll(kept.Data["kubeconfig"], []byte(strings.Trim(strings.TrimPrefix(api.Config.Host, "https://"), "/")), []byte("127.0.0.1:1"))
	require.NoError(t, publish(t.Context(), dead))
	got := report(t, v)
	require.ErrorContains(t, got.Err(), "the API is not ready: /readyz:")
	require.ErrorContains(t, got.Err(), "connection refused")
	require.Len(t, got.Certificates, 17, "the rest is shown")
	var table bytes.Buffer
	require.NoError(t, got.Print(&table, "table"))

	// In the cluster the published address is the way round the nearer one.
	require.NoError(t, publish(t.Context(), kept.Data["kubeconfig"]))
	v.InCluster = true
	require.NoError(t, report(t, v).Err())

	require.NoError(t, publish(t.Context(), []byte("mellon")))
	require.ErrorContains(t, report(t, v).Err(), "holds no kubeconfig")
}

func TestWhichFederation(t *testing.T) {
	v := viewer(t)
	_, err := v.Look(t.Context(), "mordor")
	require.ErrorContains(t, err, `there is no federation "mordor" in namespace federation-home: choose one with --release: fellowship`)

	second := federation("alliance")
	require.NoError(t, api.Create(t.Context(), second))
	defer func() { require.NoError(t, api.Delete(context.Background(), second)) }()
	_, err = v.Look(t.Context(), "")
	require.ErrorContains(t, err, "alliance, fellowship")
	report, err := v.Look(t.Context(), fellowship)
	require.NoError(t, err)
	require.NoError(t, report.Err())

	// A federation that was never set up: rows, no crash.
	report, err = Viewer{Host: api, Namespace: rivendell}.Look(t.Context(), "alliance")
	require.NoError(t, err)
	require.ErrorContains(t, report.Err(), "Secret federation-home/alliance-kubeconfig is missing, which the hook publish writes")
	require.NoError(t, report.Print(io.Discard, "table"))

	_, err = Viewer{Host: api, Namespace: "default"}.Look(t.Context(), "")
	require.ErrorContains(t, err, "there is no federation in namespace default")
}
