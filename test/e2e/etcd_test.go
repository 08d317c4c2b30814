//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/values"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/matrix"
)

// externalEtcd is an etcd that somebody else runs: in the federation's namespace, and asked by http.
func externalEtcd(namespace string) string {
	image := values.DefaultControlPlane().Etcd.Image
	return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: etcd, namespace: %[1]s}
spec:
  selector: {app: etcd}
  ports: [{port: 2379}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: etcd, namespace: %[1]s}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: etcd}}
  template:
    metadata: {labels: {app: etcd}}
    spec:
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: etcd
          image: %[2]s/%[3]s:%[4]s
          command: [etcd, --data-dir=/data/etcd, "--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=http://etcd.%[1]s.svc:2379"]
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
          readinessProbe: {httpGet: {path: /health, port: 2379}, periodSeconds: 1}
          volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, emptyDir: {}}]
`, namespace, image.Registry, image.Repository, image.Tag)
}

// TestExternalEtcd installs two federations on one etcd of somebody else's, which is not there at first.
func TestExternalEtcd(t *testing.T) {
	matrix.WholeOnly(t, "the packages' tests have a real external etcd too")
	f := newFellowship(t, "helm")
	alliance := *f
	alliance.name = "alliance"
	external := []string{"--set", "etcd.external.servers={http://etcd." + f.namespace + ".svc:2379}", "--set", "dns.provider=none"}

	t.Run("an etcd that is not there is named by the installation that fails", func(t *testing.T) {
		out, err := f.run(t, append([]string{"install", f.name, clusters.ControlPlaneChart, "--timeout", "4m", "--set", keeperAtRest, "--set", "hooks.backoffLimit=0"}, external...)...)
		require.Error(t, err, out)
		logs := f.kubectl(t, "logs", "job/fellowship-publish")
		require.Contains(t, logs, "because the etcd of etcd.external.servers does not answer (http://etcd."+f.namespace+".svc:2379: ")
	})
	f.kubectl(t, "apply", "-f", f.write(t, externalEtcd(f.namespace)))
	f.kubectl(t, "rollout", "status", "deployment/etcd", "--timeout=2m")

	t.Run("two federations see nothing of each other", func(t *testing.T) {
		f.install(t, external...)
		alliance.install(t, external...)
		for _, kind := range []string{"statefulsets", "persistentvolumeclaims"} {
			require.Empty(t, f.kubectl(t, "get", kind, "-o", "name"))
		}
		one, two := f.api(t), alliance.api(t)
		require.NoError(t, one.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "ring"}}))
		require.True(t, apierrors.IsNotFound(two.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "ring"}, &corev1.ConfigMap{})))
		require.Contains(t, f.must(t, "test", f.name), "http://etcd."+f.namespace+".svc:2379")
	})
	t.Run("the keeper sets the API up again after etcd lost its data", func(t *testing.T) {
		f.kubectl(t, "delete", "pod", "-l", "app=etcd")
		f.kubectl(t, "rollout", "status", "deployment/etcd", "--timeout=2m")
		f.keep(t)
		f.waitForRollouts(t)
		api := f.api(t)
		clusters.Eventually(t, time.Minute, "the federation's API to know Clusters", func(ctx context.Context) (bool, error) {
			err := api.List(ctx, &v1beta1.ClusterList{})
			return err == nil, err
		})
	})
	t.Run("uninstalled, they leave nothing in the host cluster", func(t *testing.T) {
		f.uninstall(t, f.name)
		f.uninstall(t, alliance.name)
		require.Empty(t, f.kubectl(t, "get", "secrets,configmaps,roles,jobs", "-l", v1beta1.LabelManagedBy+"="+v1beta1.ManagedByFedhook, "-o", "name"))
	})
}

// TestOwnEtcdAgain leads a federation from its own etcd to another and back: each time it is there, with what its etcd has, and with no certificates for the other.
func TestOwnEtcdAgain(t *testing.T) {
	matrix.WholeOnly(t, "three installs; the packages' tests lead there and back with a real etcd too")
	f := newFellowship(t, "helm4")
	f.kubectl(t, "apply", "-f", f.write(t, externalEtcd(f.namespace)))
	f.kubectl(t, "rollout", "status", "deployment/etcd", "--timeout=2m")
	f.install(t, "--set", "etcd.persistence.keep=true")
	require.NoError(t, f.api(t).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "ring"}}))

	f.install(t, "--set", "etcd.external.servers={http://etcd."+f.namespace+".svc:2379}")
	f.waitForRollouts(t)
	ring := client.ObjectKey{Namespace: "default", Name: "ring"}
	// The API server before may answer for a moment still.
	clusters.Eventually(t, time.Minute, "the data not to be there, which do not move by themselves", func(ctx context.Context) (bool, error) {
		err := f.api(t).Get(ctx, ring, &corev1.ConfigMap{})
		return apierrors.IsNotFound(err), err
	})
	require.NotContains(t, f.secretVersions(t), "fellowship-etcd-ca")

	f.install(t, "--set", "etcd.persistence.keep=true")
	f.waitForRollouts(t)
	clusters.Eventually(t, time.Minute, "the data to be there again, whose claim was kept", func(ctx context.Context) (bool, error) {
		err := f.api(t).Get(ctx, ring, &corev1.ConfigMap{})
		return err == nil, err
	})
	f.uninstall(t, f.name)
	f.kubectl(t, "delete", "pvc", "--all")
}
