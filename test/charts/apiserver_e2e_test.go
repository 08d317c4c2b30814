//go:build e2e

package charts

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"
)

// warnings keeps what an API server warns of: fields it does not know, versions that end, pods that would not pass Pod Security.
type warnings struct{ texts []string }

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	// Of a name with a dot or of more than 63 characters, which only the longest names and a release named `11.gondor` make; Kubernetes shortens the pods' itself.
	if !strings.HasPrefix(text, "metadata.name: this is used in Pod names and hostnames") {
		w.texts = append(w.texts, text)
	}
}

// A real API server takes every object as Helm 3 makes it, by create, and as Helm 4 does, by server-side apply; all dry, in namespaces that enforce Pod
// Security "restricted". The API server is of Kubernetes 1.37; the schemas of 1.30, the oldest version the charts are for, are not to be had without a network.
func TestAPIServerTakesEveryObject(t *testing.T) {
	env := &envtest.Environment{BinaryAssetsDirectory: binaries(t, "kube-apiserver", "etcd", "kubectl"), ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: time.Minute}
	env.ControlPlane.GetAPIServer().Configure().Disable("disable-admission-plugins") // a pod needs its account
	config, err := env.Start()
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, env.Stop()) })
	warned := &warnings{}
	config = rest.CopyConfig(config)
	config.QPS, config.WarningHandler = -1, warned
	api, err := client.New(config, client.Options{})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)

	require.NoError(t, api.Create(ctx, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "100"}, Value: 100}))
	made := map[string]bool{}
	objects := 0
	for _, chart := range []string{controlPlane, member} {
		for _, r := range variants(t, chart) {
			result := rendered(t, r)
			namespace := result.objectNamespace()
			if !made[namespace] {
				made[namespace] = true
				require.NoError(t, api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{
					"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}}}))
			}
			var all []*unstructured.Unstructured
			result.documents(func(_, text string) {
				o := &unstructured.Unstructured{}
				require.NoError(t, yaml.UnmarshalStrict([]byte(text), &o.Object))
				all = append(all, o)
			})
			var accounts []client.Object
			for _, o := range all {
				objects++
				if o.GetKind() == "Pod" {
					name, _, _ := unstructured.NestedString(o.Object, "spec", "serviceAccountName")
					account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}}
					require.NoError(t, api.Create(ctx, account))
					accounts = append(accounts, account)
				}
				text, err := o.MarshalJSON()
				require.NoError(t, err)
				assert.NoError(t, api.Patch(ctx, o.DeepCopy(), client.RawPatch(types.ApplyPatchType, text), client.DryRunAll, client.FieldOwner("helm"), client.FieldValidation(metav1.FieldValidationStrict)),
					"%s: apply %s %s", r, o.GetKind(), o.GetName())
				assert.NoError(t, api.Create(ctx, o.DeepCopy(), client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict)), "%s: create %s %s", r, o.GetKind(), o.GetName())
				assert.Empty(t, warned.texts, "%s: %s %s", r, o.GetKind(), o.GetName())
				warned.texts = nil
			}
			for _, account := range accounts { // a later variant of this name tries to create it
				require.NoError(t, api.Delete(ctx, account))
			}
		}
	}
	t.Logf("%d objects, each created and applied", objects)
}
