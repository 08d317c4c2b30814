package charts

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"
)

// Longest names that the charts accept.
var longName = strings.Repeat("a", 39) + "z"

// A factor is one thing that releases differ in, with the values of each choice.
type factor []string

// everywhere is what all pods of a section can be told, with values that are no strings to YAML unless they are quoted.
const everywhere = `
  podAnnotations: {example.com/pod: "1", example.com/common: pod}
  podLabels: {example.com/pod: "true", example.com/common: pod, helm.sh/chart: mine}
  nodeSelector: {disk: "1"}
  tolerations: [{key: dedicated, operator: Exists, effect: NoExecute, tolerationSeconds: 5}]
  affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpressions: [{key: disk, operator: Exists}]}}]}}
  priorityClassName: "100"
  resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1.5}}
`

// common are the factors of both charts.
var common = []factor{
	{``, `commonLabels: {example.com/common: "1", app: mine, app.kubernetes.io/name: mine, federation.fedhelm.dev/kind: mine}
commonAnnotations: {example.com/common: "true", helm.sh/resource-policy: mine}`},
	{``, `global: {imageRegistry: "mirror.example:5000/k8s", imagePullSecrets: ["1", shared]}
imagePullSecrets: [shared, own]`, `hooks: {annotations: {example.com/hook: "1"}, image: {digest: sha256:` + strings.Repeat("0a", 32) + `, pullPolicy: Always}}`,
		`{namespaceOverride: "123", hooks: {enabled: false}}`, `namespaceOverride: "1e3"`},
}

var factors = map[string][]factor{
	controlPlane: append([]factor{
		{``, `apiServer: {service: {type: NodePort, nodePort: 30443, advertiseAddress: 192.0.2.10}}`, `apiServer: {service: {type: ClusterIP, port: 6443}}`,
			`apiServer: {service: {loadBalancerClass: "1", loadBalancerSourceRanges: [192.0.2.0/24], annotations: {example.com/cloud: "1"}}}`},
		{``, `etcd: {persistence: {keep: true, storageClass: "1", size: "1"}}`, `etcd: {persistence: {existingClaim: "1"}}`, `etcd: {persistence: {enabled: false, storageClass: "-"}}`,
			`etcd: {external: {servers: ["https://etcd-0:2379", "https://etcd-1:2379"], existingSecret: "1"}}`, `etcd: {external: {servers: ["http://etcd:2379"], prefix: /1}}`,
			`etcd: {external: {servers: ["https://etcd:2379"], ca: "1", certificate: "true", key: "a: b\n---\n"}, persistence: {keep: true}}`},
		{``, `{keeper: {enabled: false}, teardown: {enabled: false}}`, `{keeper: {schedule: "@hourly"}, teardown: {strict: true}}`},
		{``, `{apiServer: {argOverrides: {anonymous-auth: false, v: 4}}, etcd: {argOverrides: {quota-backend-bytes: 8589934592}}}`},
		{``, `dns: {provider: none}`, `dns: {provider: aws-route53, zoneName: example.com, check: strict, aws: {region: "1", zoneID: "2"}}`,
			`dns: {provider: google-clouddns, existingSecret: "1", check: off}`, `dns: {config: "[Global]\netcd-endpoints = http://etcd:2379\n", nameservers: [192.0.2.1]}`},
		{``, `dns: {zoneName: "1", server: {replicas: 3, service: {type: NodePort, nodePort: 30053}}}`, `dns: {server: {service: {type: ClusterIP}, argOverrides: {quiet: true}, etcd: {argOverrides: {v: 1}}}}`,
			`dns: {server: {service: {loadBalancerClass: "1", loadBalancerSourceRanges: [192.0.2.0/24], annotations: {example.com/cloud: "1"}}}}`},
		{``, `apiServer: {basicAuth: {enabled: true}, tokenAuth: {enabled: true}}`,
			`apiServer: {basicAuth: {enabled: true, port: 9443, existingSecret: "1", resources: {limits: {memory: 64Mi}}}, tokenAuth: {enabled: true, existingSecret: "2"}}`},
		{``, inSections(`{replicas: 2, topologySpreadConstraints: [{maxSkew: 1, topologyKey: "1", whenUnsatisfiable: DoNotSchedule}]}`, replicatedSections...),
			inSections(`{replicas: 3, podDisruptionBudget: {enabled: false}}`, replicatedSections...)},
		{``, inSections(everywhere, controlPlaneSections...)},
	}, common...),
	member: append([]factor{
		{``, `credentials: {existingSecret: "1", key: "2", context: "3"}`, `{credentials: {kubeconfig: "a: 1\n---\nb: 2\n", key: "1"}, serviceAccount: {create: false}}`, `credentials: {inCluster: true}`},
		{``, `unjoin: {enabled: false}`, `unjoin: {strict: true, policy: Delete}`},
		{``, `{secretName: 11kingdom, federation: fellowship, region: "1", zones: ["1"]}`},
		{``, inSections(everywhere, "hooks")},
	}, common...),
}

// controlPlaneSections are those of all pods of the control plane.
var controlPlaneSections = []string{"apiServer", "etcd", "kubeControllerManager", "controllerManager", "dns.server", "dns.server.etcd", "hooks"}

// replicatedSections are those of what may run more than once.
var replicatedSections = []string{"apiServer", "kubeControllerManager", "controllerManager", "dns.server"}

// inSections gives each section the same values, as a document in YAML.
func inSections(values string, sections ...string) string {
	all := map[string]any{}
	for _, section := range sections {
		given, err := chartutil.ReadValues([]byte(values))
		if err != nil {
			panic(err) // it is written here
		}
		var nested any = given.AsMap()
		for _, key := range slices.Backward(strings.Split(section, ".")) {
			nested = map[string]any{key: nested}
		}
		all = chartutil.MergeTables(nested.(map[string]any), all)
	}
	text, err := yaml.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// names are releases whose names and namespaces are hard on YAML or on Kubernetes' limits; values are what such a name needs.
var names = map[string][]release{
	controlPlane: {
		fellowship,
		{name: longName, namespace: strings.Repeat("n", 63)},
		{name: "null", namespace: "123"},
		{name: "true", namespace: "1e3"},
	},
	member: {
		gondor,
		{name: longName, namespace: strings.Repeat("n", 63)},
		{name: "null", namespace: "123"},
		{name: "1e3", namespace: "true", values: `clusterName: "true"`},
		{name: "11.gondor", namespace: "federation-system", values: `clusterName: ` + longName},
	},
}

// variants gives releases of a chart in which every choice of a factor meets every choice of every other, and every name is had.
func variants(t *testing.T, chart string) []release {
	t.Helper()
	choices := []int{len(names[chart])}
	for _, f := range factors[chart] {
		choices = append(choices, len(f))
	}
	var all []release
	for _, row := range pairwise(choices) {
		r := names[chart][row[0]]
		r.chart = chart
		documents := []string{r.values}
		for i, choice := range row[1:] {
			documents = append(documents, factors[chart][i][choice])
		}
		r.values = merge(t, documents...)
		all = append(all, r)
	}
	return all
}

// pairwise gives rows of choices, one a factor, in which every two choices of two factors are found together. It is greedy: each row begins with a pair that is
// still missing and takes of the other factors what adds most.
func pairwise(choices []int) [][]int {
	type pair struct{ factor, choice, other, otherChoice int }
	missing := map[pair]bool{}
	var order []pair
	for i := range choices {
		for j := i + 1; j < len(choices); j++ {
			for a := range choices[i] {
				for b := range choices[j] {
					missing[pair{i, a, j, b}] = true
					order = append(order, pair{i, a, j, b})
				}
			}
		}
	}
	var rows [][]int
	for _, first := range order {
		if !missing[first] {
			continue
		}
		row := make([]int, len(choices))
		for i := range row {
			row[i] = -1
		}
		row[first.factor], row[first.other] = first.choice, first.otherChoice
		gain := func(i, choice int) (n int) {
			for j, other := range row {
				if j != i && other >= 0 && (missing[pair{i, choice, j, other}] || missing[pair{j, other, i, choice}]) {
					n++
				}
			}
			return n
		}
		for i := range row {
			if row[i] >= 0 {
				continue
			}
			best := 0
			for choice := range choices[i] {
				if gain(i, choice) > gain(i, best) {
					best = choice
				}
			}
			row[i] = best
		}
		for i := range row {
			for j := i + 1; j < len(row); j++ {
				delete(missing, pair{i, row[i], j, row[j]})
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func TestPairwise(t *testing.T) {
	choices := []int{4, 3, 2, 2}
	rows := pairwise(choices)
	assert.Less(t, len(rows), 4*3*2*2/2)
	for i := range choices {
		for j := i + 1; j < len(choices); j++ {
			seen := map[[2]int]bool{}
			for _, row := range rows {
				seen[[2]int{row[i], row[j]}] = true
			}
			assert.Len(t, seen, choices[i]*choices[j], "factors %d and %d", i, j)
		}
	}
}
