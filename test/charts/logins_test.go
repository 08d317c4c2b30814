package charts

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/fedhelm/fedhelm/pkg/fedhook"
)

// apiServerPod gives the pod of the API server.
func apiServerPod(t *testing.T, r rendering) corev1.PodSpec {
	t.Helper()
	o, found := r.find("Deployment", "fellowship-apiserver")
	require.True(t, found)
	return o.Object.(*appsv1.Deployment).Spec.Template.Spec
}

// secretVolume gives the Secret behind a volume, and which of its keys are there.
func secretVolume(t *testing.T, pod corev1.PodSpec, name string) (secret string, keys []string) {
	t.Helper()
	i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	require.GreaterOrEqual(t, i, 0, name)
	for _, item := range pod.Volumes[i].Secret.Items {
		keys = append(keys, item.Key)
	}
	return pod.Volumes[i].Secret.SecretName, keys
}

// Without a word nothing of either is there.
func TestLoginsAreOff(t *testing.T) {
	result := rendered(t, fellowship)
	pod := apiServerPod(t, result)
	require.Len(t, pod.Containers, 1)
	assert.NotContains(t, strings.Join(pod.Containers[0].Command, " "), "token")
	o, _ := result.find("Service", "fellowship-apiserver")
	assert.Len(t, o.Object.(*corev1.Service).Spec.Ports, 1)
	assert.NotContains(t, result.files["templates/NOTES.txt"], "debugging")
}

func TestBasicAuth(t *testing.T) {
	for given, want := range map[string]struct {
		secret         string
		port, nodePort int32
	}{
		`{enabled: true}`: {"fellowship-apiserver-basic-auth", 8443, 0},
		`{enabled: true, existingSecret: rings, port: 444, nodePort: 30444}`: {"rings", 444, 30444},
	} {
		t.Run(given, func(t *testing.T) {
			result := rendered(t, fellowship.with(`apiServer: {basicAuth: `+given+`}`))
			pod := apiServerPod(t, result)
			require.Len(t, pod.Containers, 2)
			assert.Equal(t, "kube-apiserver", pod.Containers[0].Name)
			proxy := pod.Containers[1]
			var mounts []string
			for _, m := range proxy.VolumeMounts {
				mounts = append(mounts, m.Name)
				assert.True(t, m.ReadOnly)
			}
			assert.Equal(t, []string{"server", "front-proxy", "users"}, mounts, "and neither etcd's certificate nor the key of the accounts")
			secret, keys := secretVolume(t, pod, "users")
			assert.Equal(t, want.secret, secret)
			assert.Equal(t, []string{"auth"}, keys, "the pod has no use for the password")

			o, _ := result.find("Service", "fellowship-apiserver")
			ports := o.Object.(*corev1.Service).Spec.Ports
			require.Len(t, ports, 2)
			assert.Equal(t, "https", ports[0].Name, "the API's is the first")
			assert.Equal(t, corev1.ServicePort{Name: "basic-auth", Port: want.port, TargetPort: ports[1].TargetPort, NodePort: want.nodePort}, ports[1])
			assert.Equal(t, "basic-auth", ports[1].TargetPort.String())

			// fedhook understands what it is told: it comes as far as the files, which are not here.
			var stderr bytes.Buffer
			require.Equal(t, 1, fedhook.Main(append(slices.Clone(proxy.Args), "--listen=127.0.0.1:0", "--probes=127.0.0.1:0", "--termination-log="), &bytes.Buffer{}, &stderr))
			assert.Contains(t, stderr.String(), "/etc/federation/users/auth: no such file")
			for _, flag := range []string{"tls-cert-file", "tls-private-key-file"} {
				assert.Contains(t, strings.Join(proxy.Args, " "), flagOf(t, pod.Containers[0].Command, flag), "the API server's own, which names its address")
			}
			assert.Contains(t, pod.Containers[0].Command, "--requestheader-allowed-names=front-proxy-client")
		})
	}
}

// flagOf gives a flag with its value.
func flagOf(t *testing.T, command []string, name string) string {
	t.Helper()
	i := slices.IndexFunc(command, func(argument string) bool { return strings.HasPrefix(argument, "--"+name+"=") })
	require.GreaterOrEqual(t, i, 0, name)
	return command[i]
}

func TestTokenAuth(t *testing.T) {
	for given, want := range map[string]string{`{enabled: true}`: "fellowship-apiserver-token", `{enabled: true, existingSecret: rings}`: "rings"} {
		result := rendered(t, fellowship.with(`apiServer: {tokenAuth: `+given+`}`))
		pod := apiServerPod(t, result)
		require.Len(t, pod.Containers, 1)
		assert.Contains(t, pod.Containers[0].Command, "--token-auth-file=/etc/federation/tokens/token.csv")
		assert.Contains(t, pod.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "tokens", MountPath: "/etc/federation/tokens", ReadOnly: true})
		secret, keys := secretVolume(t, pod, "tokens")
		assert.Equal(t, want, secret)
		assert.Equal(t, []string{"token.csv"}, keys)
	}
}

// Who makes, reads and removes the Secrets of the logins may do that, in each state of them, and nothing more.
func TestRolesForTheLogins(t *testing.T) {
	const basic, token = "fellowship-apiserver-basic-auth", "fellowship-apiserver-token"
	made, read, removed := []string{"create", "get", "patch"}, []string{"get"}, []string{"delete", "get"}
	for _, test := range []struct {
		basicAuth, tokenAuth string
		want                 map[string]map[string][]string // by role and Secret
	}{
		{`{}`, `{}`, map[string]map[string][]string{
			"prepare": {}, "keeper": {}, "publish": {basic: removed, token: removed}, "cleanup": {basic: removed, token: removed},
		}},
		{`{enabled: true}`, `{enabled: true}`, map[string]map[string][]string{
			"prepare": {basic: made, token: made}, "keeper": {basic: made, token: made}, "publish": {basic: read, token: read}, "cleanup": {basic: removed, token: removed},
		}},
		{`{enabled: true}`, `{}`, map[string]map[string][]string{
			"prepare": {basic: made}, "keeper": {basic: made}, "publish": {basic: read, token: removed}, "cleanup": {basic: removed, token: removed},
		}},
		{`{enabled: true, existingSecret: rings}`, `{enabled: true, existingSecret: swords}`, map[string]map[string][]string{
			"prepare": {"rings": read, "swords": read}, "keeper": {"rings": read, "swords": read},
			"publish": {"rings": read, "swords": read, basic: removed, token: removed}, "cleanup": {basic: removed, token: removed},
		}},
	} {
		result := rendered(t, fellowship.with(fmt.Sprintf(`apiServer: {basicAuth: %s, tokenAuth: %s}`, test.basicAuth, test.tokenAuth)))
		for role, want := range test.want {
			o, found := result.find("Role", "fellowship-"+role)
			require.True(t, found, role)
			got := map[string][]string{}
			rolls := false
			for _, rule := range o.Object.(*rbacv1.Role).Rules {
				if slices.Contains(rule.Resources, "deployments") && slices.Contains(rule.ResourceNames, "fellowship-apiserver") && slices.Contains(rule.Verbs, "patch") {
					rolls = true
				}
				for _, name := range rule.ResourceNames {
					if slices.Contains(rule.Resources, "secrets") && slices.Contains([]string{basic, token, "rings", "swords"}, name) {
						got[name] = slices.Compact(slices.Sorted(slices.Values(append(got[name], rule.Verbs...))))
					}
				}
			}
			assert.Equal(t, want, got, "%s, with %s and %s", role, test.basicAuth, test.tokenAuth)
			if role == "publish" {
				assert.Equal(t, test.tokenAuth != `{}`, rolls, "an API server that is older than its tokens is replaced")
			}
		}
	}
}
