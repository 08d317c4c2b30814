package charts

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/fedhelm/fedhelm/pkg/controlplane"
)

// With an etcd of somebody else's the chart has none of its own, nor anything for one; kube-apiserver, the hooks and the ConfigMap are told of that one.
func TestExternalEtcd(t *testing.T) {
	for given, want := range map[string]struct {
		servers, prefix, secret string
		made                    bool
	}{
		`{servers: ["http://etcd:2379"]}`:                                          {servers: "http://etcd:2379", prefix: "/federation/fellowship"},
		`{servers: ["http://a:2379", "http://b:2379"], prefix: /shire}`:            {servers: "http://a:2379,http://b:2379", prefix: "/shire"},
		`{servers: ["https://etcd:2379"], existingSecret: own}`:                    {servers: "https://etcd:2379", prefix: "/federation/fellowship", secret: "own"},
		`{servers: ["https://etcd:2379"], ca: one, certificate: two, key: three}`:  {servers: "https://etcd:2379", prefix: "/federation/fellowship", secret: "fellowship-etcd-external", made: true},
		`{servers: ["https://etcd:2379"], existingSecret: own, prefix: /registry}`: {servers: "https://etcd:2379", prefix: "/registry", secret: "own"},
	} {
		t.Run(given, func(t *testing.T) {
			result := rendered(t, fellowship.with(`etcd: {external: `+given+`, persistence: {enabled: false}}`))
			for _, o := range result.objects {
				own := o.GetLabels()["app.kubernetes.io/component"] == "etcd" && !(want.made && o.GetName() == want.secret)
				assert.False(t, own, "%s is there", o)
			}
			assert.NotContains(t, result.files["templates/NOTES.txt"], "WARNING: etcd")

			o, _ := result.find("Deployment", "fellowship-apiserver")
			spec := o.Object.(*appsv1.Deployment).Spec.Template.Spec
			flags := map[string]string{}
			for _, argument := range spec.Containers[0].Command[1:] {
				flag, value, _ := strings.Cut(argument, "=")
				flags[flag] = value
			}
			assert.Equal(t, want.servers, flags["--etcd-servers"])
			assert.Equal(t, want.prefix, flags["--etcd-prefix"])
			i := slices.IndexFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == "etcd-client" })
			if want.secret == "" {
				assert.Negative(t, i, "http takes no certificate")
				assert.NotContains(t, flags, "--etcd-cafile")
			} else {
				assert.Equal(t, want.secret, spec.Volumes[i].Secret.SecretName)
				assert.Equal(t, "/etc/federation/pki/etcd-client/tls.key", flags["--etcd-keyfile"])
			}
			secret, found := result.find("Secret", "fellowship-etcd-external")
			require.Equal(t, want.made, found)
			if found {
				assert.Equal(t, map[string][]byte{"ca.crt": []byte("one"), "tls.crt": []byte("two"), "tls.key": []byte("three")}, secret.Object.(*corev1.Secret).Data)
				assert.Empty(t, secret.hook())
			}

			o, _ = result.find("ConfigMap", "fellowship-federation")
			assert.Equal(t, want.servers, o.Object.(*corev1.ConfigMap).Data["etcdServers"])
			o, _ = result.find("Deployment", "fellowship-controller-manager")
			assert.Contains(t, o.Object.(*appsv1.Deployment).Spec.Template.Spec.InitContainers[0].Args, "--etcd-servers="+want.servers)
		})
	}
	own := rendered(t, fellowship)
	o, _ := own.find("Deployment", "fellowship-apiserver")
	assert.NotContains(t, fmt.Sprint(o.Object.(*appsv1.Deployment).Spec.Template.Spec.Containers[0].Command), "etcd-prefix", "data in the chart's own etcd stay where they are")
}

// Who reads the Secret of somebody's etcd, and who removes what was made for the chart's own, may do so; nobody else may.
func TestRolesForExternalEtcd(t *testing.T) {
	result := rendered(t, fellowship.with(`etcd: {external: {servers: ["https://etcd:2379"], existingSecret: own}}`))
	for role, may := range map[string]struct{ read, remove bool }{
		"prepare": {read: true}, "publish": {read: true, remove: true}, "keeper": {}, "teardown": {}, "cleanup": {remove: true}, "status": {},
	} {
		o, found := result.find("Role", "fellowship-"+role)
		require.True(t, found, role)
		var read bool
		var removed []string
		for _, rule := range o.Object.(*rbacv1.Role).Rules {
			if slices.Contains(rule.ResourceNames, "own") {
				read = true
				assert.Equal(t, []string{"get"}, rule.Verbs, role)
			}
			assert.NotContains(t, rule.Resources, "persistentvolumeclaims", role)
			if slices.Contains(rule.Verbs, "delete") {
				for _, name := range rule.ResourceNames {
					if controlplane.OfEtcd(strings.TrimPrefix(name, "fellowship-")) {
						removed = append(removed, name)
					}
				}
			}
		}
		assert.Equal(t, may.read, read, role)
		assert.Equal(t, may.remove, len(removed) == 4, "%s may delete %v", role, removed)
	}
	result = rendered(t, fellowship)
	for _, role := range []string{"publish", "keeper"} {
		o, _ := result.find("Role", "fellowship-"+role)
		assert.True(t, slices.ContainsFunc(o.Object.(*rbacv1.Role).Rules, func(rule rbacv1.PolicyRule) bool { return slices.Contains(rule.Resources, "persistentvolumeclaims") }))
	}
}
