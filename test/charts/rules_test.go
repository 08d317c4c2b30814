package charts

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/fedhelm/fedhelm/pkg/controlplane"
	"github.com/fedhelm/fedhelm/pkg/values"
)

// rule is a rule for charts whose hooks run a binary, as far as it can be seen in what is rendered.
type rule struct {
	says string
	// check gives a complaint for each breach.
	check func(rendering) []string
	// broken are renderings that break the rule, to show that the check can fail.
	broken []broken
}

// broken is the rendering of a release in which `from`, where a file first has it, is replaced; in a template, if the rule is about those.
type broken struct {
	release
	file, from, to string
}

var host = gondor.with(`credentials: {inCluster: true}`)

var rules = []rule{{
	says: "templates make no secrets and ask neither cluster nor clock: the same values give the same bytes",
	check: func(r rendering) []string {
		return r.calls(`^(gen[A-Z]\w*|derivePassword|rand\w+|uuidv4|shuffle|bcrypt|htpasswd|encryptAES|lookup|getHostByName|now|ago|date\w*|env|expandenv)$`)
	},
	broken: []broken{
		{fellowship, "templates/etcd/service.yaml", `{{- include`, `{{- $_ := randAlphaNum 8 }}{{- include`},
		{fellowship, "templates/_names.tpl", `{{ .context.Release.Name }}`, `{{ lookup "v1" "Secret" .Release.Namespace "x" }}`},
		{gondor, "templates/NOTES.txt", `{{ $cluster }}`, `{{ now }}`},
	},
}, {
	says: "nothing depends on whether it is an install or an upgrade, or on what the cluster can do",
	check: func(r rendering) []string {
		return r.calls(`\.(IsInstall|IsUpgrade|Revision|Capabilities)(\.|$)`)
	},
	broken: []broken{
		{fellowship, "templates/hooks/prepare.yaml", `{{- include`, `{{- if .Release.IsInstall }}{{ end }}{{ include`},
		{gondor, "templates/_fedhelm.tpl", `.context.Chart.AppVersion`, `.context.Capabilities.KubeVersion.Version`},
	},
}, {
	says:  "Kubernetes can read every object, to the last field",
	check: func(r rendering) []string { return r.unreadable },
	broken: []broken{
		{fellowship, "templates/etcd/service.yaml", `targetPort: client`, `targetPorts: client`},
		{fellowship, "templates/federation/configmap.yaml", `name: "fellowship"`, `name: true`},
		{fellowship, "templates/keeper/cronjob.yaml", `apiVersion: batch/v1`, `apiVersion: batch/v2`},
	},
}, {
	says:   "no key stands twice, which server-side apply refuses",
	check:  func(r rendering) []string { return r.doubled },
	broken: []broken{{gondor, "templates/hooks/join.yaml", "  labels:\n", "  labels:\n    helm.sh/chart: again\n"}},
}, {
	says: "Secrets have data alone: with stringData, server-side apply conflicts with itself",
	check: func(r rendering) (complaints []string) {
		for _, o := range r.objects {
			if secret, _ := o.Object.(*corev1.Secret); secret != nil && len(secret.StringData) > 0 {
				complaints = append(complaints, fmt.Sprintf("%s has stringData", o))
			}
		}
		return complaints
	},
	broken: []broken{{gondor, "templates/hooks/join.yaml", "\ndata:", "\nstringData:"}},
}, {
	says: "what is owned as a whole is whole: what a default adds to it is a conflict for the next who applies it from the server's side",
	check: func(r rendering) (complaints []string) {
		for _, p := range r.pods() {
			for _, c := range p.containers() {
				for _, e := range c.Env {
					if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil && e.ValueFrom.FieldRef.APIVersion == "" {
						complaints = append(complaints, fmt.Sprintf("%s takes %s from a field without an apiVersion", p.owner, e.Name))
					}
				}
			}
		}
		return complaints
	},
	broken: []broken{{fellowship, "templates/controller-manager/deployment.yaml", "fieldRef:\n                  apiVersion: v1", "fieldRef:"}},
}, {
	says: "every object has a name of its own, after the release or its cluster, in the release's namespace or the one that the values name; only a host cluster that joins itself gets roles for the whole cluster",
	check: func(r rendering) (complaints []string) {
		seen := map[string]bool{}
		for _, o := range r.objects {
			namespace, prefixes := r.objectNamespace(), []string{r.name + "-", fmt.Sprint(r.value("clusterName"), "-")}
			if strings.HasPrefix(o.kind(), "Cluster") {
				prefixes, namespace = []string{namespace + "-" + r.name + "-"}, ""
				if r.value("credentials.inCluster") != true {
					complaints = append(complaints, fmt.Sprintf("%s is for the whole cluster", o))
				}
			}
			if o.GetNamespace() != namespace {
				complaints = append(complaints, fmt.Sprintf("%s is in namespace %q", o, o.GetNamespace()))
			}
			if !slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(o.GetName(), prefix) }) {
				complaints = append(complaints, fmt.Sprintf("%s is not named after the release", o))
			}
			if seen[o.String()] {
				complaints = append(complaints, fmt.Sprintf("%s is there twice", o))
			}
			seen[o.String()] = true
		}
		return complaints
	},
	broken: []broken{
		{fellowship, "templates/etcd/service.yaml", `name: "fellowship-etcd"`, `name: etcd`},
		{fellowship, "templates/etcd/service.yaml", `namespace: "federation-system"`, `namespace: kube-system`},
		{fellowship, "templates/hooks/prepare.yaml", `kind: Role`, `kind: ClusterRole`},
		{fellowship, "templates/federation/client-configmap.yaml", `name: "fellowship-client"`, `name: "fellowship-federation"`},
		{host, "templates/hooks/join.yaml", `name: "federation-system-gondor-join"`, `name: "gondor-join"`},
	},
}, {
	says: "names leave room for what Kubernetes adds to them",
	check: func(r rendering) (complaints []string) {
		longest := map[string]int{"Job": 52, "CronJob": 52, "StatefulSet": 52, "Service": 63, "Pod": 63}
		for _, o := range r.objects {
			if limit, limited := longest[o.kind()]; limited && len(o.GetName()) > limit {
				complaints = append(complaints, fmt.Sprintf("%s has %d characters, at most %d are good", o, len(o.GetName()), limit))
			}
		}
		return complaints
	},
	broken: []broken{{fellowship, "templates/keeper/cronjob.yaml", `name: "fellowship-keeper"`, `name: "fellowship-` + strings.Repeat("keeper", 7) + `"`}},
}, {
	says: "every object has the standard labels, and none that a binary's objects have",
	check: func(r rendering) (complaints []string) {
		want := map[string]string{
			"app.kubernetes.io/name": r.chart, "app.kubernetes.io/instance": r.name, "app.kubernetes.io/managed-by": "Helm",
			"app.kubernetes.io/part-of": "fedhelm", "app.kubernetes.io/version": "0.1.0", "helm.sh/chart": r.chart + "-0.1.0",
		}
		for _, o := range r.objects {
			for label, value := range want {
				if o.GetLabels()[label] != value {
					complaints = append(complaints, fmt.Sprintf("%s has label %s=%s", o, label, o.GetLabels()[label]))
				}
			}
			if o.GetLabels()["app.kubernetes.io/component"] == "" {
				complaints = append(complaints, fmt.Sprintf("%s has no label for its component", o))
			}
		}
		return complaints
	},
	broken: []broken{
		{fellowship, "templates/etcd/service.yaml", `managed-by: Helm`, `managed-by: fedhook`},
		{fellowship, "templates/keeper/account.yaml", `app.kubernetes.io/instance`, `instance`},
	},
}, {
	says: "what selects pods finds those of one component",
	check: func(r rendering) (complaints []string) {
		for _, o := range r.objects {
			var selector map[string]string
			switch of := o.Object.(type) {
			case *corev1.Service:
				selector = of.Spec.Selector
			case *appsv1.Deployment:
				selector = of.Spec.Selector.MatchLabels
			case *appsv1.StatefulSet:
				selector = of.Spec.Selector.MatchLabels
			case *policyv1.PodDisruptionBudget:
				selector = of.Spec.Selector.MatchLabels
			default:
				continue
			}
			var found []string
			for _, p := range r.pods() {
				if labels.SelectorFromSet(selector).Matches(labels.Set(p.Labels)) {
					found = append(found, p.owner.GetName())
				}
			}
			if !slices.Equal(found, []string{o.GetName()}) {
				complaints = append(complaints, fmt.Sprintf("%s selects %v", o, found))
			}
		}
		return complaints
	},
	broken: []broken{
		{fellowship, "templates/apiserver/service.yaml", "    app.kubernetes.io/component: apiserver\n  ports", "    app.kubernetes.io/component: api\n  ports"},
		{fellowship, "templates/apiserver/service.yaml", "    app.kubernetes.io/component: apiserver\n  ports", "  ports"},
		{fellowship.with(`apiServer: {replicas: 2}`), "templates/apiserver/deployment.yaml", "AlwaysAllow\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: federation-control-plane", "AlwaysAllow\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: federation"},
	},
}, {
	says: "a hook belongs to one group of phases: Argo CD hangs on what is both before and after",
	check: func(r rendering) (complaints []string) {
		for _, o := range r.objects {
			if o.hook() != "" && !slices.Contains(phases, o.hook()) {
				complaints = append(complaints, fmt.Sprintf("%s is a hook of %s", o, o.hook()))
			}
		}
		return complaints
	},
	broken: []broken{{fellowship, "templates/hooks/prepare.yaml", `pre-install,pre-upgrade,pre-rollback`, `pre-install,post-upgrade`}},
}, {
	says: "a hook uses only hooks of its own phases: its account, its values, its roles",
	check: func(r rendering) (complaints []string) {
		for _, p := range r.pods() {
			phase := p.owner.hook()
			if phase == "" {
				continue
			}
			uses := []string{"ServiceAccount " + p.Spec.ServiceAccountName}
			for _, c := range p.containers() {
				for _, argument := range c.Args {
					if name, found := strings.CutPrefix(argument, "--values-secret="); found {
						uses = append(uses, "Secret "+name)
					}
				}
			}
			for _, v := range p.Spec.Volumes {
				uses = append(uses, mounted(v)...)
			}
			for _, o := range r.objects {
				switch binding := o.Object.(type) {
				case *rbacv1.RoleBinding:
					uses = append(uses, bindingUses(o, binding.RoleRef, binding.Subjects, p)...)
				case *rbacv1.ClusterRoleBinding:
					uses = append(uses, bindingUses(o, binding.RoleRef, binding.Subjects, p)...)
				}
			}
			if len(uses) < 4 {
				complaints = append(complaints, fmt.Sprintf("%s uses %v alone, and so has no role or no values", p.owner, uses))
			}
			for _, used := range uses {
				kind, name, _ := strings.Cut(used, " ")
				if o, found := r.find(kind, name); !found || o.hook() != phase {
					complaints = append(complaints, fmt.Sprintf("%s uses %s, which is no hook of %s", p.owner, used, phase))
				}
			}
		}
		return complaints
	},
	broken: []broken{
		{fellowship, "templates/hooks/prepare.yaml", `pre-install,pre-upgrade,pre-rollback`, `pre-delete`},
		{fellowship, "templates/hooks/prepare.yaml", `--values-secret=fellowship-prepare`, `--values-secret=fellowship-keeper`},
		{fellowship, "templates/hooks/prepare.yaml", `serviceAccountName: "fellowship-prepare"`, `serviceAccountName: "fellowship-keeper"`},
		{fellowship, "templates/hooks/teardown.yaml", "kind: Role\n  name: \"fellowship-teardown\"", "kind: Role\n  name: \"fellowship-cleanup\""},
		{gondor, "templates/hooks/unjoin.yaml", `kind: RoleBinding`, `kind: Role`},
	},
}, {
	says: "weights are written out, in steps of ten, and the Job comes after its account and role",
	check: func(r rendering) (complaints []string) {
		heaviest := map[string]int{}
		for _, o := range r.objects {
			if o.hook() == "" {
				continue
			}
			weight, err := strconv.Atoi(o.GetAnnotations()["helm.sh/hook-weight"])
			if err != nil || weight%10 != 0 {
				complaints = append(complaints, fmt.Sprintf("%s has weight %q", o, o.GetAnnotations()["helm.sh/hook-weight"]))
			}
			heaviest[o.hook()] = max(weight, heaviest[o.hook()])
		}
		for _, o := range r.objects {
			last := o.GetAnnotations()["helm.sh/hook-weight"] == strconv.Itoa(heaviest[o.hook()])
			if runs := o.kind() == "Job" || o.kind() == "Pod"; o.hook() != "" && runs != last {
				complaints = append(complaints, fmt.Sprintf("%s has weight %s, where %d is for what runs", o, o.GetAnnotations()["helm.sh/hook-weight"], heaviest[o.hook()]))
			}
		}
		return complaints
	},
	broken: []broken{
		{fellowship, "templates/hooks/prepare.yaml", `helm.sh/hook-weight: "-40"`, `helm.sh/hook-weight: "-4"`},
		{fellowship, "templates/hooks/prepare.yaml", `helm.sh/hook-weight: "-40"`, `helm.sh/weight: "-40"`},
		{gondor, "templates/hooks/join.yaml", `helm.sh/hook-weight: "-40"`, `helm.sh/hook-weight: "0"`},
	},
}, {
	says: "a hook that succeeded is deleted, and one that failed stays until the next try; its log is shown",
	check: func(r rendering) (complaints []string) {
		for _, o := range r.objects {
			if o.hook() == "" {
				continue
			}
			if deletion := o.GetAnnotations()["helm.sh/hook-delete-policy"]; deletion != "before-hook-creation,hook-succeeded" {
				complaints = append(complaints, fmt.Sprintf("%s is deleted on %q", o, deletion))
			}
			shown := strings.Contains(o.GetAnnotations()["helm.sh/hook-output-log-policy"], "hook-failed")
			if runs := o.kind() == "Job" || o.kind() == "Pod"; runs && !shown {
				complaints = append(complaints, fmt.Sprintf("%s does not show why it failed", o))
			}
		}
		return complaints
	},
	broken: []broken{
		{fellowship, "templates/hooks/cleanup.yaml", `before-hook-creation,hook-succeeded`, `hook-succeeded`},
		{fellowship, "templates/hooks/cleanup.yaml", `helm.sh/hook-output-log-policy: hook-failed`, `helm.sh/hook-output-log-policy: hook-succeeded`},
	},
}, {
	says: "what pods mount, and the accounts of those that keep running, are no hooks: those are made anew at every sync",
	check: func(r rendering) (complaints []string) {
		for _, o := range r.objects {
			if o.hook() != "" && !slices.Contains([]string{"ServiceAccount", "Secret", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Job", "Pod"}, o.kind()) {
				complaints = append(complaints, fmt.Sprintf("%s is a hook", o))
			}
		}
		for _, p := range r.pods() {
			if p.owner.hook() != "" {
				continue
			}
			var uses []string
			for _, v := range p.Spec.Volumes {
				uses = append(uses, mounted(v)...)
			}
			if p.Spec.ServiceAccountName != "" {
				uses = append(uses, "ServiceAccount "+p.Spec.ServiceAccountName)
			}
			for _, used := range uses {
				kind, name, _ := strings.Cut(used, " ")
				o, found := r.find(kind, name)
				switch {
				case found && o.hook() != "":
					complaints = append(complaints, fmt.Sprintf("%s uses %s, which is a hook", p.owner, o))
				case !found && !r.madeBefore(kind, name):
					complaints = append(complaints, fmt.Sprintf("%s uses %s, which nobody makes before", p.owner, used))
				}
			}
		}
		return complaints
	},
	broken: []broken{
		{fellowship, "templates/apiserver/deployment.yaml", `secretName: "fellowship-apiserver-tls"`, `secretName: fellowship-prepare`},
		{fellowship, "templates/apiserver/deployment.yaml", `secretName: "fellowship-apiserver-tls"`, `secretName: fellowship-kubeconfig`},
		{fellowship.with(`etcd: {external: {servers: ["http://etcd:2379"]}}`), "templates/apiserver/deployment.yaml", `secretName: "fellowship-apiserver-tls"`, `secretName: fellowship-apiserver-etcd-client`},
		{fellowship.with(`apiServer: {tokenAuth: {enabled: true}}`), "templates/apiserver/deployment.yaml", `secretName: "fellowship-apiserver-token"`, `secretName: "fellowship-apiserver-basic-auth"`},
		{fellowship.with(`dns: {provider: none}`), "templates/apiserver/deployment.yaml", `secretName: "fellowship-apiserver-tls"`, `secretName: fellowship-dns-provider`},
		{fellowship, "templates/keeper/cronjob.yaml", `serviceAccountName: "fellowship-keeper"`, `serviceAccountName: "fellowship-publish"`},
		{fellowship, "templates/etcd/statefulset.yaml", `federation-apiserver-etcd-claim`, `claim`},
		{fellowship, "templates/dns/deployment.yaml", `secretName: fellowship-dns-etcd-client`, `secretName: fellowship-nameservers`},
		{fellowship, "templates/etcd/service.yaml", "  labels:", "  annotations: {helm.sh/hook: pre-install}\n  labels:"},
	},
}, {
	says: "a Job ends by itself, within Helm's five minutes, and is not gone before anybody looks",
	check: func(r rendering) (complaints []string) {
		for _, o := range r.objects {
			var job batchv1.JobSpec
			switch of := o.Object.(type) {
			case *batchv1.Job:
				job = of.Spec
			case *batchv1.CronJob:
				job = of.Spec.JobTemplate.Spec
			default:
				continue
			}
			switch {
			case job.Template.Spec.RestartPolicy != corev1.RestartPolicyNever:
				complaints = append(complaints, fmt.Sprintf("%s starts its pod again", o))
			case job.BackoffLimit == nil || *job.BackoffLimit < 2 || *job.BackoffLimit > 6:
				complaints = append(complaints, fmt.Sprintf("%s has no backoffLimit between 2 and 6", o))
			case job.ActiveDeadlineSeconds == nil || *job.ActiveDeadlineSeconds >= 300:
				complaints = append(complaints, fmt.Sprintf("%s has no deadline below 300 seconds", o))
			case job.TTLSecondsAfterFinished != nil:
				complaints = append(complaints, fmt.Sprintf("%s vanishes", o))
			}
		}
		return complaints
	},
	broken: []broken{
		{fellowship, "templates/hooks/publish.yaml", `restartPolicy: Never`, `restartPolicy: OnFailure`},
		{fellowship, "templates/hooks/publish.yaml", "spec:\n  backoffLimit: 2", "spec:\n  backoffLimit: 0"},
		{fellowship, "templates/hooks/publish.yaml", "  activeDeadlineSeconds: 280\n  template", "  activeDeadlineSeconds: 300\n  template"},
		{gondor, "templates/hooks/join.yaml", "spec:\n  backoffLimit: 2", "spec:\n  backoffLimit: 2\n  ttlSecondsAfterFinished: 1"},
		{fellowship, "templates/keeper/cronjob.yaml", `restartPolicy: Never`, `restartPolicy: OnFailure`},
	},
}, {
	says: "why a container ended is in its termination message",
	check: func(r rendering) (complaints []string) {
		for _, p := range r.pods() {
			for _, c := range p.containers() {
				if c.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
					complaints = append(complaints, fmt.Sprintf("%s, container %s, does not say why it ended", p.owner, c.Name))
				}
			}
		}
		return complaints
	},
	broken: []broken{{fellowship, "templates/controller-manager/deployment.yaml", `terminationMessagePolicy: FallbackToLogsOnError`, `terminationMessagePolicy: File`}},
}, {
	says: "what a role may read or change is named",
	check: func(r rendering) (complaints []string) {
		for _, o := range r.objects {
			// A ClusterRole is the host cluster's that joins itself, with an account that may do everything.
			role, _ := o.Object.(*rbacv1.Role)
			if role == nil {
				continue
			}
			for _, rule := range role.Rules {
				for _, verb := range rule.Verbs {
					// To list is to look for what has no name yet; create is an apply, and so has one.
					named := len(rule.ResourceNames) > 0 || verb == "list" && !slices.Contains(rule.Resources, "secrets")
					if !named || verb == "*" || slices.Contains(rule.Resources, "*") {
						complaints = append(complaints, fmt.Sprintf("%s grants %s of any %v", o, verb, rule.Resources))
					}
				}
			}
		}
		return complaints
	},
	broken: []broken{
		{gondor, "templates/hooks/unjoin.yaml", `resourceNames: ["gondor-federation-credentials"]`, `resourceNames: []`},
		{fellowship, "templates/hooks/cleanup.yaml", `verbs: [get, delete]`, `verbs: ["*"]`},
		{fellowship, "templates/tests/status.yaml", `resources: [configmaps]`, `resources: [secrets]`},
	},
}, {
	says: "every pod passes Pod Security \"restricted\"",
	check: func(r rendering) (complaints []string) {
		for _, p := range r.pods() {
			result := policy.AggregateCheckResults(restricted.EvaluatePod(podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}, &p.ObjectMeta, &p.Spec))
			if !result.Allowed {
				complaints = append(complaints, fmt.Sprintf("%s: %s", p.owner, result.ForbiddenDetail()))
			}
		}
		return complaints
	},
	broken: []broken{
		{fellowship, "templates/controller-manager/deployment.yaml", `allowPrivilegeEscalation: false`, `allowPrivilegeEscalation: true`},
		{fellowship, "templates/keeper/cronjob.yaml", `runAsNonRoot: true`, `runAsNonRoot: false`},
		{fellowship, "templates/tests/status.yaml", `type: RuntimeDefault`, `type: Unconfined`},
		{gondor, "templates/hooks/join.yaml", `drop: [ALL]`, `drop: []`},
		{fellowship, "templates/apiserver/deployment.yaml", `add: ["NET_BIND_SERVICE"]`, `add: ["NET_RAW"]`},
		{fellowship, "templates/dns/deployment.yaml", `add: ["NET_BIND_SERVICE"]`, `add: ["NET_RAW"]`},
	},
}, {
	says: "a pod has its own account's token or none, and a root file system that nobody writes",
	check: func(r rendering) (complaints []string) {
		for _, p := range r.pods() {
			mounts := p.Spec.AutomountServiceAccountToken
			if p.Spec.ServiceAccountName == "" && (mounts == nil || *mounts) {
				complaints = append(complaints, fmt.Sprintf("%s has the default account's token", p.owner))
			}
			for _, c := range p.containers() {
				if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
					complaints = append(complaints, fmt.Sprintf("%s, container %s, may write its root file system", p.owner, c.Name))
				}
			}
		}
		return complaints
	},
	broken: []broken{
		{fellowship, "templates/etcd/statefulset.yaml", `automountServiceAccountToken: false`, `automountServiceAccountToken: true`},
		{fellowship, "templates/etcd/statefulset.yaml", `readOnlyRootFilesystem: true`, `readOnlyRootFilesystem: false`},
	},
}, {
	says: "an image has a registry, a mirror's if there is one, a repository and a version",
	check: func(r rendering) (complaints []string) {
		image := regexp.MustCompile(`^([a-z0-9.]+(?::[0-9]+)?(?:/k8s)?)/[a-z/-]+:(v?[0-9][-.0-9]*)(@sha256:[0-9a-f]{64})?$`)
		for _, p := range r.pods() {
			for _, c := range p.containers() {
				match := image.FindStringSubmatch(c.Image)
				if mirror, _ := r.value("global.imageRegistry").(string); match == nil || mirror != "" && match[1] != mirror {
					complaints = append(complaints, fmt.Sprintf("%s, container %s, has image %s", p.owner, c.Name, c.Image))
				}
			}
		}
		return complaints
	},
	broken: []broken{
		{fellowship, "templates/etcd/statefulset.yaml", `image: "registry.k8s.io/etcd:3.7.0-0"`, `image: etcd`},
		{fellowship, "templates/etcd/statefulset.yaml", `image: "registry.k8s.io/etcd:3.7.0-0"`, `image: registry.k8s.io/etcd:latest`},
		{gondor.with(`global: {imageRegistry: mirror.example}`), "templates/hooks/join.yaml", `image: "mirror.example/`, `image: "ghcr.io/`},
	},
}, {
	says:   "fedhook can read the values that it is given",
	check:  undecodable,
	broken: []broken{{gondor, "templates/hooks/join.yaml", `values.yaml: YW5u`, `values.yaml: YW5v`}},
}}

// phases are the groups of phases that a hook may belong to.
var phases = []string{"pre-install,pre-upgrade,pre-rollback", "post-install,post-upgrade,post-rollback", "pre-delete", "post-delete", "test"}

// restricted judges pods as the API server's admission does.
var restricted = func() policy.Evaluator {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		panic(err) // the checks are its own
	}
	return evaluator
}()

func TestRules(t *testing.T) {
	t.Parallel()
	for chart := range factors {
		for _, r := range variants(t, chart) {
			result := rendered(t, r)
			for _, rule := range rules {
				for _, complaint := range rule.check(result) {
					t.Errorf("%s: %s\nbut the rule is: %s", r, complaint, rule.says)
				}
			}
		}
	}
}

func TestRulesCanFail(t *testing.T) {
	t.Parallel()
	for _, rule := range rules {
		for _, broken := range rule.broken {
			t.Run(rule.says+" "+broken.to, func(t *testing.T) {
				result := rendered(t, broken.release)
				assert.Empty(t, rule.check(result), "before it is broken")
				result.files, result.sources = maps.Clone(result.files), maps.Clone(result.sources)
				result.files[broken.file] = strings.Replace(result.files[broken.file], broken.from, broken.to, 1)
				result.sources[broken.file] = strings.Replace(result.sources[broken.file], broken.from, broken.to, 1)
				require.Contains(t, result.files[broken.file]+result.sources[broken.file], broken.to, "nothing was replaced")
				result.parse()
				assert.NotEmpty(t, rule.check(result))
			})
		}
	}
}

// undecodable says of the values that are handed to fedhook why it cannot read them.
func undecodable(r rendering) (complaints []string) {
	for _, o := range r.objects {
		text := secretValues(o)
		if text == "" {
			continue
		}
		var err error
		if r.chart == controlPlane {
			_, err = values.DecodeControlPlane([]byte(text))
		} else {
			_, err = values.DecodeMember([]byte(text))
		}
		if err != nil {
			complaints = append(complaints, fmt.Sprintf("%s: %v", o, err))
		}
	}
	return complaints
}

// value gives the value of a key as the templates see it, nil for one that the chart has not.
func (r rendering) value(path string) any {
	var value any = r.merged
	for key := range strings.SplitSeq(path, ".") {
		section, _ := value.(map[string]any)
		value = section[key]
	}
	return value
}

var (
	action  = regexp.MustCompile(`(?s){{.*?}}`)
	comment = regexp.MustCompile(`(?s){{-?\s*/\*.*?\*/\s*-?}}`)
	quoted  = regexp.MustCompile(`"(\\.|[^"\\])*"`)
	word    = regexp.MustCompile(`[$.\w]+`)
)

// words gives the words of a template's actions, be they functions or fields. Comments and quoted text are no part of them.
var words = once(func(template string) (all []string, _ error) {
	for _, a := range action.FindAllString(comment.ReplaceAllString(template, ""), -1) {
		all = append(all, word.FindAllString(quoted.ReplaceAllString(a, ""), -1)...)
	}
	return all, nil
})

// calls lists the words in the templates that the pattern matches.
func (r rendering) calls(pattern string) (found []string) {
	wanted := regexp.MustCompile(pattern)
	for _, file := range slices.Sorted(maps.Keys(r.sources)) {
		all, _ := words(r.sources[file])
		for _, w := range all {
			if wanted.MatchString(w) {
				found = append(found, file+" uses "+w)
			}
		}
	}
	return found
}

// madeBefore says whether an object that Helm does not render is there when the release's pods start: certificates, logins and the DNS provider's configuration, made by the hook before, and
// the claim and the Secrets of somebody who has them.
func (r rendering) madeBefore(kind, name string) bool {
	switch kind {
	case "Secret":
		cas, keys, leaves := controlplane.Components()
		made := append(append(cas, keys), leaves...)
		if servers, _ := r.value("etcd.external.servers").([]any); len(servers) > 0 {
			made = slices.DeleteFunc(made, controlplane.OfEtcd)
			if name == r.value("etcd.external.existingSecret") {
				return true
			}
		}
		if r.value("dns.provider") != "none" {
			made = append(made, "dns-provider")
		}
		for login, component := range map[string]string{"apiServer.basicAuth": "apiserver-basic-auth", "apiServer.tokenAuth": "apiserver-token"} {
			existing, _ := r.value(login + ".existingSecret").(string)
			switch {
			case r.value(login+".enabled") != true:
			case existing == "":
				made = append(made, component)
			case name == existing:
				return true
			}
		}
		return slices.Contains(made, strings.TrimPrefix(name, r.name+"-"))
	case "PersistentVolumeClaim":
		return name == r.value("etcd.persistence.existingClaim")
	default:
		return false
	}
}

// mounted names the object behind a volume, if there is one.
func mounted(v corev1.Volume) []string {
	switch {
	case v.Secret != nil:
		return []string{"Secret " + v.Secret.SecretName}
	case v.ConfigMap != nil:
		return []string{"ConfigMap " + v.ConfigMap.Name}
	case v.PersistentVolumeClaim != nil:
		return []string{"PersistentVolumeClaim " + v.PersistentVolumeClaim.ClaimName}
	default:
		return nil
	}
}

// bindingUses names a binding and its role, if it binds the account of the pod.
func bindingUses(binding object, role rbacv1.RoleRef, subjects []rbacv1.Subject, p pod) []string {
	account := rbacv1.Subject{Kind: "ServiceAccount", Name: p.Spec.ServiceAccountName, Namespace: p.owner.GetNamespace()}
	if !slices.Contains(subjects, account) {
		return nil
	}
	return []string{binding.String(), role.Kind + " " + role.Name}
}
