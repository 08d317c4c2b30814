package charts

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fedhelm/fedhelm/pkg/values"
)

// What a user gets wrong is refused before anything is made, by the schema where it can see it, else by a template. Each says in one sentence what to do.
func TestBadInput(t *testing.T) {
	const notALabel = "use lower case letters, digits and dashes, beginning with a letter and ending with a letter or digit"
	long := strings.Repeat("a", 41)
	for name, test := range map[string]struct {
		release
		says string
	}{
		"federation that is no label": {release{chart: controlPlane, name: "gondor_needs-no_king"},
			`the release's name is the federation's, and "gondor_needs-no_king" is no RFC 1035 label: ` + notALabel},
		"federation with a digit first": {release{chart: controlPlane, name: "11kingdom"},
			`the release's name is the federation's, and "11kingdom" is no RFC 1035 label: ` + notALabel},
		"federation with a dot": {release{chart: controlPlane, name: "middle.earth"},
			`the release's name is the federation's, and "middle.earth" is no RFC 1035 label: ` + notALabel},
		"federation too long": {release{chart: controlPlane, name: long},
			`the release's name is the federation's, and "` + long + `" has 41 characters where at most 40 are allowed: choose a shorter one`},
		"unknown value": {fellowship.with(`etcd: {replicas: 3}`),
			`at '/etcd': additional properties 'replicas' not allowed`},
		"unknown section": {gondor.with(`credential: {context: gondor}`),
			`at '': additional properties 'credential' not allowed`},
		"wrong type": {fellowship.with(`apiServer: {service: {port: https}}`),
			`at '/apiServer/service/port': got string, want integer`},
		"wrong word": {fellowship.with(`apiServer: {service: {type: Ingress}}`),
			`at '/apiServer/service/type': value must be one of 'LoadBalancer', 'NodePort', 'ClusterIP'`},
		"deadline beyond Helm's": {gondor.with(`hooks: {activeDeadlineSeconds: 600}`),
			`at '/hooks/activeDeadlineSeconds': maximum: got 600, want 290`},
		"node port without a port on nodes": {fellowship.with(`apiServer: {service: {type: ClusterIP, nodePort: 30443}}`),
			`apiServer.service.nodePort is 30443, but a Service of type ClusterIP has no node port: set apiServer.service.type to NodePort or LoadBalancer, or nodePort to 0`},
		"node port of the DNS without a port on nodes": {fellowship.with(`dns: {server: {service: {type: ClusterIP, nodePort: 30053}}}`),
			`dns.server.service.nodePort is 30053, but a Service of type ClusterIP has no node port: set dns.server.service.type to NodePort or LoadBalancer, or nodePort to 0`},
		"node port of the proxy without a port on nodes": {fellowship.with(`apiServer: {service: {type: ClusterIP}, basicAuth: {enabled: true, nodePort: 30444}}`),
			`apiServer.basicAuth.nodePort is 30444, but a Service of type ClusterIP has no node port: set apiServer.service.type to NodePort or LoadBalancer, or nodePort to 0`},
		"one port for the API and the proxy": {fellowship.with(`apiServer: {service: {port: 8443}, basicAuth: {enabled: true}}`),
			`apiServer.basicAuth.port is 8443, which is the API's own, apiServer.service.port: give one of them another`},
		"one node port for the API and the DNS": {fellowship.with(`{apiServer: {service: {nodePort: 30053}}, dns: {server: {service: {nodePort: 30053}}}}`),
			`dns.server.service.nodePort is 30053, which is apiServer.service.nodePort too: give one of them another`},
		"one node port for the API and the proxy": {fellowship.with(`apiServer: {service: {nodePort: 30443}, basicAuth: {enabled: true, nodePort: 30443}}`),
			`apiServer.basicAuth.nodePort is 30443, which is the API's own, apiServer.service.nodePort: give one of them another`},
		"users that are not let in": {fellowship.with(`apiServer: {basicAuth: {existingSecret: mine}}`),
			`apiServer.basicAuth.existingSecret names Secret "mine", but apiServer.basicAuth.enabled is false: set it to true to use the Secret`},
		"tokens that are not read": {fellowship.with(`apiServer: {tokenAuth: {existingSecret: mine}}`),
			`apiServer.tokenAuth.existingSecret names Secret "mine", but apiServer.tokenAuth.enabled is false: set it to true to use the Secret`},
		"claim that is not used": {fellowship.with(`etcd: {persistence: {enabled: false, existingClaim: data}}`),
			`etcd.persistence.existingClaim names claim "data", but etcd.persistence.enabled is false: set it to true to use the claim`},
		"a server of etcd that is no URL": {fellowship.with(`etcd: {external: {servers: ["etcd:2379"]}}`),
			`etcd.external.servers has "etcd:2379", which is no server of an etcd: write it as https://host:2379 or http://host:2379`},
		"credentials in the URL of etcd": {fellowship.with(`etcd: {external: {servers: ["http://frodo:mellon@etcd:2379"]}}`),
			`etcd.external.servers has "http://frodo:mellon@etcd:2379", which is no server of an etcd: write it as https://host:2379 or http://host:2379`},
		"two servers of etcd in one": {fellowship.with(`etcd: {external: {servers: ["http://a:2379,http://b:2379"]}}`),
			`etcd.external.servers has "http://a:2379,http://b:2379", which is no server of an etcd: write it as https://host:2379 or http://host:2379`},
		"http and https": {fellowship.with(`etcd: {external: {servers: ["https://a:2379", "http://b:2379"], existingSecret: etcd}}`),
			`etcd.external.servers has both https:// and http://, but servers of one etcd are asked in one way: write all of them as the one or the other`},
		"https without certificates": {fellowship.with(`etcd: {external: {servers: ["https://a:2379"]}}`),
			`etcd.external.servers has https://, which takes a CA, a certificate and its key: name a Secret that has them in keys ca.crt, tls.crt and tls.key in etcd.external.existingSecret, or give etcd.external.ca, certificate and key`},
		"https without a key": {fellowship.with(`etcd: {external: {servers: ["https://a:2379"], ca: x, certificate: x}}`),
			`etcd.external.ca, certificate and key go together, but key is missing: give all three`},
		"certificates for http": {fellowship.with(`etcd: {external: {servers: ["http://a:2379"], existingSecret: etcd}}`),
			`etcd.external.existingSecret is for https, but etcd.external.servers has http://: write https://, or leave etcd.external.existingSecret out`},
		"certificates for etcd twice": {fellowship.with(`etcd: {external: {servers: ["https://a:2379"], existingSecret: etcd, certificate: x}}`),
			`etcd.external.existingSecret and etcd.external.certificate both give the certificates for etcd: give one of them`},
		"a prefix in the chart's own etcd": {fellowship.with(`etcd: {external: {prefix: /shire}}`),
			`etcd.external.prefix is for an etcd of yours, but etcd.external.servers names none: name its servers, or leave etcd.external.prefix out`},
		"a prefix that is none": {fellowship.with(`etcd: {external: {servers: ["http://a:2379"], prefix: shire/}}`),
			`at '/etcd/external/prefix': 'shire/' does not match pattern '^(/[-._a-zA-Z0-9]+)*$'`},
		"a claim for no etcd": {fellowship.with(`etcd: {external: {servers: ["http://a:2379"]}, persistence: {existingClaim: data}}`),
			`etcd.persistence.existingClaim names claim "data", but with etcd.external.servers the chart runs no etcd that would use it: leave one of them out`},
		"stock image without a tag": {fellowship.with(`etcd: {image: {tag: ""}}`),
			`etcd.image.tag is empty, which only fedhelm's own images may leave it: give the image's tag, or leave the value out to have its default`},
		"unknown DNS provider": {fellowship.with(`dns: {provider: sauron}`),
			`at '/dns/provider': value must be one of 'coredns', 'google-clouddns', 'aws-route53', 'rfc2136', 'azure', 'webhook', 'none'`},
		"two configurations of the DNS provider": {fellowship.with(`dns: {config: x, existingSecret: mine}`),
			`dns.config and dns.existingSecret both give the provider's configuration: give one of them`},
		"a configuration without a DNS provider": {fellowship.with(`dns: {provider: none, existingSecret: mine}`),
			`dns.existingSecret gives a provider's configuration, but dns.provider is none: set dns.provider, or leave the other out`},
		"values of another DNS provider": {fellowship.with(`dns: {aws: {region: eu-west-1}}`),
			`dns.aws is for provider aws-route53, but dns.provider is coredns: set dns.provider to aws-route53, or leave dns.aws out`},
		"values beside a configuration": {fellowship.with(`dns: {provider: azure, config: x, azure: {managedIdentity: true}}`),
			`dns.config and dns.azure both give the provider's configuration: give one of them`},
		"a certificate for no etcd": {fellowship.with(`dns: {coredns: {etcdCA: x}}`),
			`dns.coredns has a CA, a certificate or a key, but no etcdEndpoints: give these, or leave the others out to have the chart's own DNS`},
		"stock image of the DNS without a tag": {fellowship.with(`dns: {server: {etcd: {image: {tag: ""}}}}`),
			`dns.server.etcd.image.tag is empty, which only fedhelm's own images may leave it: give the image's tag, or leave the value out to have its default`},
		"section that is null": {fellowship.with(`apiServer: {service: null}`),
			`apiServer.service is null or missing, and the chart needs it: leave it out of your values to have its default, and upgrade with --reset-then-reuse-values instead of --reuse-values`},

		"cluster that is no label": {gondor.with(`clusterName: gondor_needs-no_king`),
			`at '/clusterName': 'gondor_needs-no_king' does not match pattern '^([a-z]([-a-z0-9]*[a-z0-9])?)?$'`},
		"cluster too long": {gondor.with(`clusterName: ` + long),
			`at '/clusterName': maxLength: got 41, want 40`},
		"cluster that is no label, from the release": {release{chart: member, name: "gondor_needs-no_king"},
			`the cluster name "gondor_needs-no_king" is no RFC 1035 label: set clusterName (or the release's name) to lower case letters, digits and dashes, beginning with a letter and ending with a letter or digit`},
		"cluster too long, from the release": {release{chart: member, name: long},
			`the cluster name "` + long + `" has 41 characters where at most 40 are allowed: set clusterName to a shorter one`},
		"release too long": {release{chart: member, name: long, values: `clusterName: gondor`},
			`the release name "` + long + `" has 41 characters where at most 40 are allowed: choose a shorter one`},
		"federation to join that is no label": {gondor.with(`federation: The-Fellowship`),
			`at '/federation': 'The-Fellowship' does not match pattern '^([a-z]([-a-z0-9]*[a-z0-9])?)?$'`},
		"two kubeconfigs": {gondor.with(`credentials: {kubeconfig: x, existingSecret: own}`),
			`credentials.kubeconfig and credentials.existingSecret both give a kubeconfig: give one of them`},
		"a kubeconfig for the host cluster": {gondor.with(`credentials: {inCluster: true, kubeconfig: x}`),
			`credentials.inCluster joins the host cluster itself and needs no kubeconfig: give one of credentials.inCluster, credentials.kubeconfig and credentials.existingSecret`},
		"a Secret for the host cluster": {gondor.with(`credentials: {inCluster: true, existingSecret: x}`),
			`credentials.inCluster joins the host cluster itself and needs no kubeconfig: give one of credentials.inCluster, credentials.kubeconfig and credentials.existingSecret`},
		"the host cluster without an account": {gondor.with(`{credentials: {inCluster: true}, serviceAccount: {create: false}}`),
			`with serviceAccount.create=false the federation uses the credentials that join the cluster, and those of credentials.inCluster end with the hook: give a kubeconfig, or leave serviceAccount.create true`},
		"one Secret for both": {gondor.with(`{credentials: {existingSecret: gondor-secret}, secretName: gondor-secret}`),
			`Secret "gondor-secret" is to hold both the kubeconfig that joins the cluster and the credentials the federation keeps: set secretName to another name`},
		"plain http": {gondor.with(`server: http://gondor.example`),
			`at '/server': 'http://gondor.example' does not match pattern '^(https://.+)?$'`},
		"a key that no Secret can have": {gondor.with(`credentials: {key: "a b"}`),
			`at '/credentials/key': 'a b' does not match pattern '^[-._a-zA-Z0-9]+$'`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := render(test.release)
			require.Error(t, err)
			said := err.Error()
			if !strings.HasPrefix(said, "execution error at ("+test.chart+"/templates/validate/values.yaml:") {
				said = strings.TrimPrefix(said, "values don't meet the specifications of the schema(s) in the following chart(s):\n"+test.chart+":\n- ")
				assert.Equal(t, test.says+"\n", said)
				return
			}
			assert.Equal(t, test.says, sentence(err))
			if test.chart != controlPlane || !strings.HasPrefix(test.says, "dns.") && !strings.Contains(test.says, "etcd.external") || strings.HasPrefix(test.says, "dns.server.") {
				return
			}
			// The binary, which knows nothing of the DNS's server, says the same.
			v, err := values.DecodeControlPlane([]byte(test.values))
			require.NoError(t, err)
			if strings.HasPrefix(test.says, "dns.") {
				assert.EqualError(t, v.DNS.Validate(), test.says)
			} else {
				assert.EqualError(t, v.Etcd.Validate(), test.says)
			}
		})
	}
}
