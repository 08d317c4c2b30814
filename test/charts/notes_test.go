package charts

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// NOTES.txt gives the commands that come next, for this release in this namespace: what is kept in testdata is what a user sees.
func TestNotes(t *testing.T) {
	rohan := release{chart: controlPlane, name: "rohan", namespace: "edoras"}
	shire := release{chart: member, name: "shire", namespace: "hobbiton"}
	for name, r := range map[string]release{
		"loadbalancer":  rohan,
		"nodeport":      rohan.with(`apiServer: {service: {type: NodePort}}`),
		"clusterip":     rohan.with(`apiServer: {service: {type: ClusterIP, port: 6443}}`),
		"warnings":      rohan.with(`{apiServer: {service: {type: NodePort}}, keeper: {enabled: false}, etcd: {persistence: {enabled: false}}}`),
		"no-keeper":     rohan.with(`keeper: {enabled: false}`),
		"logins":        rohan.with(`apiServer: {basicAuth: {enabled: true}, tokenAuth: {enabled: true, existingSecret: rings}}`),
		"route53":       rohan.with(`dns: {provider: aws-route53}`),
		"no-dns":        rohan.with(`dns: {provider: none}`),
		"own-dns":       rohan.with(`dns: {zoneName: mark.example, nameservers: [192.0.2.1, 192.0.2.2:5353], server: {service: {loadBalancerSourceRanges: [192.0.2.0/24]}}}`),
		"no-hooks":      rohan.with(`{namespaceOverride: helms-deep, hooks: {enabled: false}, apiServer: {service: {type: NodePort}}, dns: {provider: none}}`),
		"external-etcd": rohan.with(`{etcd: {external: {servers: ["http://etcd:2379"]}, persistence: {enabled: false}}, apiServer: {service: {type: NodePort}}, dns: {provider: none}}`),
		"member":        shire,
		"member-secret": shire.with(`{clusterName: bag-end, federation: rohan, secretName: ring, credentials: {existingSecret: under-hill}}`),
		"member-host":   shire.with(`{credentials: {inCluster: true}, unjoin: {enabled: false}}`),
		"member-hooks":  shire.with(`{hooks: {enabled: false}, namespaceOverride: bree}`),
		"member-given":  shire.with(`{serviceAccount: {create: false}}`),
		"member-values": shire.with(`{credentials: {kubeconfig: x}}`),
		"member-no-dns": shire.with(`{clusterDNS: {mode: none}}`),
	} {
		t.Run(name, func(t *testing.T) {
			notes := rendered(t, r).files["templates/NOTES.txt"]
			golden(t, fmt.Sprintf("notes-%s.txt", name), notes)
			assert.NotContains(t, notes, "fellowship")
			assert.NotContains(t, notes, "federation-system")
			assert.NotContains(t, notes, "--logs", "helm cannot show the log of a pod that is gone; its policy shows it")
		})
	}
}
