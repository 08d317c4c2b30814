package charts

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/fedhelm/fedhelm/pkg/values"
)

// ownDNS lists the objects of the federation's own DNS.
var ownDNS = []string{"ConfigMap fellowship-dns", "Deployment fellowship-dns", "Service fellowship-dns", "Service fellowship-dns-etcd", "StatefulSet fellowship-dns-etcd"}

// The chart runs a DNS of its own exactly where the values say so, and template and fedhook read them alike.
func TestOwnDNS(t *testing.T) {
	for given, own := range map[string]bool{
		``: true,
		`dns: {zoneName: middle-earth.example, nameservers: [192.0.2.53]}`: true,
		`dns: {provider: aws-route53}`:                                     false,
		`dns: {provider: none}`:                                            false,
		`dns: {config: "[Global]\netcd-endpoints = http://etcd:2379"}`:     false,
		`dns: {existingSecret: mine}`:                                      false,
		`dns: {coredns: {etcdEndpoints: ["http://etcd:2379"]}}`:            false,
	} {
		t.Run(given, func(t *testing.T) {
			result := rendered(t, fellowship.with(given))
			var found []string
			for _, o := range result.objects {
				if strings.HasPrefix(o.GetLabels()["app.kubernetes.io/component"], "dns") {
					found = append(found, o.String())
				}
			}
			if own {
				assert.ElementsMatch(t, ownDNS, found)
			} else {
				assert.Empty(t, found)
			}
			decoded, err := values.DecodeControlPlane([]byte(given))
			require.NoError(t, err)
			assert.Equal(t, own, decoded.DNS.Own())
			assert.Equal(t, own, strings.Contains(result.files["templates/NOTES.txt"], "The chart's own DNS serves zone"))
		})
	}
}

// Both protocols are served at one port, on nodes too.
func TestDNSService(t *testing.T) {
	for given, nodePort := range map[string]int32{``: 0, `dns: {server: {service: {type: NodePort, nodePort: 30053}}}`: 30053} {
		result := rendered(t, fellowship.with(given))
		o, found := result.find("Service", "fellowship-dns")
		require.True(t, found)
		ports := o.Object.(*corev1.Service).Spec.Ports
		require.Len(t, ports, 2)
		for i, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolTCP} {
			assert.Equal(t, protocol, ports[i].Protocol)
			assert.EqualValues(t, 53, ports[i].Port)
			assert.Equal(t, nodePort, ports[i].NodePort)
			o, _ := result.find("Deployment", "fellowship-dns")
			assert.True(t, slices.ContainsFunc(o.Object.(*appsv1.Deployment).Spec.Template.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool {
				return p.Name == ports[i].TargetPort.StrVal && p.Protocol == protocol
			}), "the target port is one of the container's")
		}
	}
}

// The pods are new ones when the Corefile is another, and only then.
func TestCorefileRollsTheDNS(t *testing.T) {
	template := func(given string) corev1.PodTemplateSpec {
		result := rendered(t, fellowship.with(given))
		o, _ := result.find("Deployment", "fellowship-dns")
		return o.Object.(*appsv1.Deployment).Spec.Template
	}
	corefile := func(given string) string {
		result := rendered(t, fellowship.with(given))
		o, _ := result.find("ConfigMap", "fellowship-dns")
		return o.Object.(*corev1.ConfigMap).Data["Corefile"]
	}
	const other = `dns: {zoneName: middle-earth.example}`
	assert.NotEqual(t, corefile(``), corefile(other))
	assert.NotEqual(t, template(``), template(other))
	assert.Equal(t, corefile(``), corefile(`dns: {zoneName: federation.internal}`), "with or without its dot")
	for _, same := range []string{`dns: {zoneName: federation.internal}`, `dns: {server: {replicas: 2, service: {type: NodePort}}}`, `apiServer: {service: {port: 6443}}`} {
		assert.Equal(t, template(``), template(same), same)
	}
}

// The federation's own etcd and that of its DNS are made alike, but with nothing in common: no certificate, no volume.
func TestTwoEtcds(t *testing.T) {
	result := rendered(t, fellowship)
	var secrets []string
	flags := map[string]map[string]bool{}
	for _, name := range []string{"fellowship-etcd", "fellowship-dns-etcd"} {
		o, _ := result.find("StatefulSet", name)
		pod := o.Object.(*appsv1.StatefulSet).Spec.Template.Spec
		flags[name] = map[string]bool{}
		for _, flag := range pod.Containers[0].Command {
			flags[name][flag] = true
		}
		for _, v := range pod.Volumes {
			if v.Secret != nil {
				secrets = append(secrets, v.Secret.SecretName)
			}
		}
		if name == "fellowship-dns-etcd" {
			assert.NotNil(t, pod.Volumes[0].EmptyDir)
		}
	}
	assert.ElementsMatch(t, []string{"fellowship-etcd-tls", "fellowship-etcd-peer", "fellowship-dns-etcd-tls"}, secrets)
	for _, flag := range []string{"--client-cert-auth=true", "--trusted-ca-file=/etc/federation/pki/server/ca.crt", "--listen-client-urls=https://0.0.0.0:2379"} {
		assert.True(t, flags["fellowship-etcd"][flag] && flags["fellowship-dns-etcd"][flag], flag)
	}
	assert.True(t, flags["fellowship-dns-etcd"]["--listen-peer-urls=http://127.0.0.1:2380"], "nobody joins it: %v", slices.Collect(maps.Keys(flags["fellowship-dns-etcd"])))
}

// What a member's release reads of its federation.
func TestFederationTellsOfItsDNS(t *testing.T) {
	result := rendered(t, fellowship.with(`dns: {zoneName: middle-earth.example, nameservers: [192.0.2.53, "192.0.2.54:5353"]}`))
	o, _ := result.find("ConfigMap", "fellowship-federation")
	text, err := yaml.Marshal(o.Object.(*corev1.ConfigMap).Data)
	require.NoError(t, err)
	assert.Equal(t, `dnsZone: middle-earth.example.
name: fellowship
nameservers: 192.0.2.53,192.0.2.54:5353
ownDNS: "true"
provider: coredns
server: https://fellowship-apiserver.federation-system.svc:443
`, string(text))
}
