package generate

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const rivendell = " --host-cluster-context=rivendell --dns-provider=coredns"

// What kubefed would have refused, and what no release can be, ends in one sentence that says where and what to do.
func TestRefused(t *testing.T) {
	for script, want := range map[string]string{
		"":                        "init.sh has no command line of kubefed: give a script that runs kubefed init, join or unjoin",
		"kubefed version":         "no command line of kubefed makes or joins a federation: give one with kubefed init, join or unjoin",
		"ssh host kubefed init a": "give one with kubefed init, join or unjoin; init.sh:1: ssh starts kubefed here",
		"kubefed init":            "init.sh:1: `kubefed init` names no federation: write it after init",
		"kubefed join":            "init.sh:1: `kubefed join` names no cluster: write it after join",
		"kubefed join a b":        "init.sh:1: `kubefed join` takes one name, and there are several: a, b; write each in a command line of its own",
		"kubefed leave a":         `init.sh:1: kubefed has no command "leave": it had init, join and unjoin`,
		"kubefed init Fellow":     `init.sh:1: the federation name "Fellow" is no RFC 1035 label: use lower case letters, digits and dashes, beginning with a letter and ending with a letter or digit`,
		"kubefed join 11kingdom":  `init.sh:1: the cluster name "11kingdom" is no RFC 1035 label: use lower case letters, digits and dashes, beginning with a letter and ending with a letter or digit`,
		"kubefed init a --apis-server-advertise-address=10.0.10.20": "init.sh:1: kubefed does not understand its flags: unknown flag: --apis-server-advertise-address; docs/kubefed.md lists those it had",
		"kubefed init a --etcd-pv-capacity":                         "init.sh:1: kubefed does not understand its flags: flag needs an argument: --etcd-pv-capacity; docs/kubefed.md lists those it had",
		"kubefed init a --etcd-persistent-storage=perhaps":          `init.sh:1: kubefed does not understand its flags: invalid argument "perhaps" for "--etcd-persistent-storage" flag: strconv.ParseBool: parsing "perhaps": invalid syntax; docs/kubefed.md lists those it had`,
		"kubefed join a --dns-zone-name=example.com.":               "init.sh:1: `kubefed join` has no flag --dns-zone-name: take it out; docs/kubefed.md lists the flags",
		"kubefed init a --cluster-context=b":                        "init.sh:1: `kubefed init` has no flag --cluster-context: take it out; docs/kubefed.md lists the flags",

		"kubefed init a --host-cluster-context=$'b\\nc'": `init.sh:1: the word "--host-cluster-context=b\nc" has characters that are no text: write it without them`,

		// Flags that do not go together, and text that they do not take.
		"kubefed init a --api-server-advertise-address=10.0.10.20":                      "init.sh:1: --api-server-advertise-address goes only with --api-server-service-type=NodePort, as in kubefed: give that too, or leave the other out",
		"kubefed init a --api-server-service-type=LoadBalancer --api-server-port=30443": "init.sh:1: --api-server-port goes only with --api-server-service-type=NodePort, as in kubefed: give that too, or leave the other out",
		"kubefed init a --api-server-service-type=Ingress":                              "init.sh:1: --api-server-service-type=Ingress: kubefed took LoadBalancer, NodePort: give one of them",
		"kubefed init a --dns-provider=bind":                                            "init.sh:1: --dns-provider=bind: kubefed took coredns, google-clouddns, aws-route53: give one of them",
		"kubefed init a --api-server-service-type=NodePort --api-server-port=https":     "init.sh:1: --api-server-port=https: it is no port: give a number from 1 to 65535, or 0 to have Kubernetes choose",
		"kubefed init a --node-selector=ssd":                                            `init.sh:1: --node-selector=ssd: "ssd" is no key=value: give them as key=value,key=value`,
		"kubefed init a --apiserver-arg-overrides=v=4":                                  "",
		"kubefed init a --apiserver-arg-overrides=--v":                                  `init.sh:1: --apiserver-arg-overrides=--v: "--v" is no argument: give them as --name=value,--name=value`,
		"kubefed init a --dns-provider-config=/nowhere":                                 "init.sh:1: --dns-provider-config=/nowhere: read the DNS provider's configuration: open /nowhere: no such file or directory; run this where kubefed ran, or name the file where it is now",
		"kubefed init a --dns-provider-config=$HOME/broken.conf":                        "init.sh:1: --dns-provider-config=testdata/home/broken.conf: the file is no DNS provider's configuration: line 1: is neither a section, nor a comment, nor `key = value`",

		// Command lines that do not go together.
		"kubefed init a" + rivendell + "\nkubefed init a" + rivendell:                                                       "init.sh:2: federation a is made a second time, after `kubefed init a` (init.sh:1): take one of the two lines out",
		"kubefed join a" + "\n kubefed join a":                                                                              "init.sh:2: cluster a joins a second time, after `kubefed join a` (init.sh:1): take one of the two lines out",
		"kubefed init a" + rivendell + "\nkubefed init b" + rivendell + "\nkubefed join c --host-cluster-context=rivendell": "init.sh:3: `kubefed join c` does not say which federation it is about, and there are several before it: add --context=a, or the context of another",
		"kubefed join a --secret-name=s\nkubefed join b --secret-name=s":                                                    "`kubefed join a` (init.sh:1) and `kubefed join b` (init.sh:2) would both keep their credentials in Secret s: give one of them another --secret-name",
		"kubefed join a --context=x_y":                                                                                      `init.sh:1: --context=x_y: the federation name "x_y" is no RFC 1035 label`,
	} {
		_, err := plan(t, script)
		if want == "" {
			assert.NoError(t, err, script)
		} else if assert.Error(t, err, script) {
			assert.Contains(t, err.Error(), want, script)
			assert.NotContains(t, err.Error(), "\n")
		}
	}
}

// What a chart refuses is said before anything is given out.
func TestChartRefuses(t *testing.T) {
	charts := repository(t)
	for script, want := range map[string]string{
		"kubefed init a --etcd-pv-capacity=lots":             "release a would not install, chart federation-control-plane 0.1.0 refuses it: values don't meet the specifications of the schema(s)",
		"kubefed init a --dns-zone-name=Example_com":         "/dns/zoneName",
		"kubefed join a --secret-name=UPPER":                 "release a would not install, chart federation-member 0.1.0 refuses it",
		"kubefed join a --secret-name=a-kubeconfig":          "set secretName to another name",
		"kubefed init a --etcd-image=quay.io/etcd@sha256:12": "/etcd/image/digest",
		"kubefed unjoin a":                                   "nothing is to be installed: the command lines only let clusters go, which `helm uninstall` does",
	} {
		p := planned(t, script)
		files, err := p.ValuesFiles(charts, "")
		assert.Empty(t, files)
		assert.ErrorContains(t, err, want, script)
	}
}

// found gives the releases of a plan as "place/name: federation, from clusters".
func found(p *Plan) []string {
	var all []string
	for _, r := range p.Releases {
		text := r.Context + "/" + r.Namespace + "/" + r.Name
		if r.Chart == memberChart {
			text += " " + r.Cluster + "@" + r.Federation + " " + r.credentialsSecret()
		}
		if r.Gone {
			text += " gone"
		}
		if r.inCluster {
			text += " itself"
		}
		if r.controlPlane != nil {
			text += " after " + r.controlPlane.Name
		}
		all = append(all, text)
	}
	return all
}

// Which federation a cluster joins, and under which name, when there are several federations, hosts and namespaces.
func TestFederations(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		want   []string
	}{
		"the only one": {"kubefed init a" + rivendell + "\nkubefed join b --host-cluster-context=rivendell",
			[]string{"rivendell/federation-system/a", "rivendell/federation-system/b b@a b-federation-credentials after a"}},
		"the one of its host": {"kubefed init a --host-cluster-context=x --dns-provider=coredns\nkubefed init b --host-cluster-context=y --dns-provider=coredns\nkubefed join c --host-cluster-context=y\nkubefed join c --host-cluster-context=x",
			[]string{"x/federation-system/a", "x/federation-system/c c@a c-federation-credentials after a", "y/federation-system/b", "y/federation-system/c c@b c-federation-credentials after b"}},
		"the one of its namespace": {"kubefed init a --federation-system-namespace=x\nkubefed init b --federation-system-namespace=y\nkubefed join c --federation-system-namespace=y",
			[]string{"/x/a", "/y/b", "/y/c c@b c-federation-credentials after b"}},
		"by --context": {"kubefed init a\nkubefed init b\nkubefed join c --context=b\nkubefed join d --context a",
			[]string{"/federation-system/a", "/federation-system/d d@a d-federation-credentials after a", "/federation-system/b", "/federation-system/c c@b c-federation-credentials after b"}},
		"by use-context": {"kubefed init a\nkubefed init b\nkubectl config use-context b\nkubefed join c\nkubectl config use-context a\nkubefed join d",
			[]string{"/federation-system/a", "/federation-system/d d@a d-federation-credentials after a", "/federation-system/b", "/federation-system/c c@b c-federation-credentials after b"}},
		"one that is not made here": {"kubectl config use-context a\nkubefed join c --host-cluster-context=h\nkubefed join d --host-cluster-context=h --context=b",
			[]string{"h/federation-system/c c@a c-federation-credentials", "h/federation-system/d d@b d-federation-credentials"}},
		"one that nothing names": {"kubectl config use-context h\nkubefed join c --host-cluster-context=h", []string{"h/federation-system/c c@ c-federation-credentials"}},
		"a cluster in two federations of a namespace": {"kubefed init a\nkubefed init b\nkubefed join c --context=a\nkubefed join c --context=b",
			[]string{"/federation-system/a", "/federation-system/c c@a c-federation-credentials after a", "/federation-system/b", "/federation-system/c-b c@b c-b-credentials after b"}},
		"a cluster named like its federation": {"kubefed init a\nkubefed join a", []string{"/federation-system/a", "/federation-system/a-a a@a a-federation-credentials after a"}},
		"the host cluster": {"kubefed init a" + rivendell + "\nkubefed join r --host-cluster-context=rivendell --cluster-context=rivendell",
			[]string{"rivendell/federation-system/a", "rivendell/federation-system/r r@a r-federation-credentials itself after a"}},
		"left":            {"kubefed init a\nkubefed join b\nkubefed unjoin b", []string{"/federation-system/a", "/federation-system/b b@a b-federation-credentials gone after a"}},
		"left and joined": {"kubefed init a\nkubefed join b\nkubefed unjoin b\nkubefed join b", []string{"/federation-system/a", "/federation-system/b b@a b-federation-credentials after a"}},
		"left perhaps":    {"kubefed join b --host-cluster-context=h\nif down; then kubefed unjoin b --host-cluster-context=h; fi", []string{"h/federation-system/b b@ b-federation-credentials"}},
		"left only":       {"kubefed unjoin b --host-cluster-context=h --cluster-context=c", []string{"h/federation-system/b b@ b-federation-credentials gone"}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, found(planned(t, test.script)))
		})
	}
}

func TestImage(t *testing.T) {
	for name, want := range map[string]image{
		"etcd":                                   {"docker.io", "etcd", "", ""},
		"library/etcd:3.5.1":                     {"docker.io", "library/etcd", "3.5.1", ""},
		"quay.io/coreos/etcd:v3.6.0":             {"quay.io", "coreos/etcd", "v3.6.0", ""},
		"localhost/etcd":                         {"localhost", "etcd", "", ""},
		"registry.example:5000/a/etcd":           {"registry.example:5000", "a/etcd", "", ""},
		"registry.example:5000/etcd:3@sha256:1a": {"registry.example:5000", "etcd", "3", "sha256:1a"},
	} {
		assert.Equal(t, want, parseImage(name), name)
	}
	for script, want := range map[string]string{
		"--image=gcr.io/google_containers/hyperkube-amd64:v1.9.0":            "--image=gcr.io/google_containers/hyperkube-amd64:v1.9.0 is not translated: v1's one image for both components has no successor",
		"--etcd-image=gcr.io/google_containers/etcd:3.1.10":                  "--etcd-image=gcr.io/google_containers/etcd:3.1.10 is not translated: kube-apiserver of today needs etcd 3.5 or later",
		"--etcd-image=quay.io/coreos/etcd":                                   "--etcd-image=quay.io/coreos/etcd names no tag: the chart's own etcd.image.tag is taken",
		"--image=mirror.example/kube-apiserver:v1.37.1":                      "",
		"--image=mirror.example/fedhelm/federation-controller-manager:0.1.0": "",
	} {
		p := planned(t, "kubefed init a"+rivendell+" "+script)
		said := strings.Join(p.Releases[0].notes, "\n")
		if want == "" {
			assert.NotContains(t, said, "image", script)
		} else {
			assert.Contains(t, said, want, script)
		}
	}
}

func TestArguments(t *testing.T) {
	p := planned(t, "kubefed init a"+rivendell+` --apiserver-arg-overrides="--anonymous-auth=false, --v=4,--runtime-config=api/all=true,--enable-admission-plugins=A,B,--insecure-port=8080,--admission-control=C"`+
		` --controllermanager-arg-overrides=--controllers=services=false,jobs=false,--concurrent-service-syncs=3`)
	files, err := p.ValuesFiles(repository(t), "")
	require.NoError(t, err)
	for _, want := range []string{
		"  # --apiserver-arg-overrides\n  argOverrides:\n    anonymous-auth: \"false\"\n    enable-admission-plugins: A,B\n    runtime-config: api/all=true\n    v: \"4\"\n",
		"  # --controllermanager-arg-overrides\n  argOverrides:\n    controllers: services=false,jobs=false\n",
		"# - --apiserver-arg-overrides: its --insecure-port is left out, since kube-apiserver of today would not start with it",
	} {
		assert.Contains(t, string(files[0].Text), want)
	}
	assert.Contains(t, p.Warnings, "init.sh:1: --controllermanager-arg-overrides: its --concurrent-service-syncs is left out, since federation-controller-manager of today would not start with it; see its --concurrent-syncs")
}

// A flag that an empty variable leaves empty is one that is not given.
func TestEmptyFlags(t *testing.T) {
	p := planned(t, "CONF=\nkubefed init a"+rivendell+" --dns-provider-config=$CONF --etcd-servers= --apiserver-arg-overrides=''\nkubefed join b --host-cluster-context=rivendell --cluster-context= --secret-name=$CONF")
	without := planned(t, "\nkubefed init a"+rivendell+"\nkubefed join b --host-cluster-context=rivendell")
	for i, r := range without.Releases {
		assert.Equal(t, r.values.root, p.Releases[i].values.root)
		assert.Equal(t, r.secrets, p.Releases[i].secrets)
	}
}

// A cluster in two federations is joined by the context that each command line has.
func TestKubeconfigSecrets(t *testing.T) {
	p := planned(t, `kubefed init a
kubefed init b
kubefed join c --context=a --cluster-context=c-admin
kubefed join c --context=b --credentials-kubeconfig="their config"`)
	assert.Equal(t, []string{"kubectl config view --raw --minify --flatten --context=c-admin | kubectl --namespace=federation-system create secret generic c-kubeconfig --from-file=kubeconfig=/dev/stdin"}, p.Releases[1].secrets)
	assert.Equal(t, "c-kubeconfig", p.Releases[1].values.get("credentials.existingSecret"))
	assert.Equal(t, []string{"kubectl '--kubeconfig=their config' config view --raw --minify --flatten --context=c | kubectl --namespace=federation-system create secret generic c-b-kubeconfig --from-file=kubeconfig=/dev/stdin"}, p.Releases[3].secrets)
	assert.Equal(t, "c-b-kubeconfig", p.Releases[3].values.get("credentials.existingSecret"))
}

// An etcd that is asked by https is known by certificates, which go into a Secret; one that is asked by http is not.
func TestEtcdServers(t *testing.T) {
	p := planned(t, "kubefed init a"+rivendell+" --etcd-servers=https://etcd-0:2379,https://etcd-1:2379\nkubefed init b"+rivendell+" --etcd-servers=http://etcd:2379")
	files, err := p.Helmfile(repository(t))
	require.NoError(t, err)
	assert.Contains(t, string(files[0].Text), "existingSecret: a-etcd-certificates")
	assert.Equal(t, []string{"kubectl --context=rivendell --namespace=federation-system create secret generic a-etcd-certificates --from-file=ca.crt --from-file=tls.crt --from-file=tls.key"}, p.Releases[0].secrets)
	assert.Empty(t, p.Releases[1].secrets)
	assert.Empty(t, p.Releases[1].values.get("etcd.external.existingSecret"))
	assert.Contains(t, strings.Join(p.Warnings, "\n"), "takes certificates: etcd's CA in file ca.crt")
}

// Credentials that are given for the federation are used by it, in the host cluster too.
func TestCredentialsKubeconfig(t *testing.T) {
	p := planned(t, "kubefed init a"+rivendell+"\nkubefed join rivendell --host-cluster-context=rivendell --credentials-kubeconfig=own.conf")
	_, err := p.Helmfile(repository(t))
	require.NoError(t, err)
	assert.Equal(t, []string{"kubectl --kubeconfig=own.conf config view --raw --minify --flatten --context=rivendell | kubectl --context=rivendell --namespace=federation-system create secret generic rivendell-kubeconfig --from-file=kubeconfig=/dev/stdin"}, p.Releases[1].secrets)
	assert.Equal(t, "rivendell-kubeconfig", p.Releases[1].values.get("credentials.existingSecret"))
}

// Files that a DNS provider's configuration names go into its Secret, by their bare names.
func TestProviderConfig(t *testing.T) {
	p := planned(t, "kubefed init a"+rivendell+" --dns-provider-config=$HOME/tls-provider.conf")
	assert.Equal(t, []string{"kubectl --context=rivendell --namespace=federation-system create secret generic a-dns-config --from-file=provider.conf=testdata/home/tls-provider.conf" +
		" --from-file=ca.crt=/etc/etcd/ca.crt --from-file=tls.crt=tls.crt"}, p.Releases[0].secrets)
	assert.Contains(t, strings.Join(p.Warnings, "\n"), "names file /etc/etcd/ca.crt: write only ca.crt there")
}

// A token on the command line is neither written nor repeated.
func TestSecretsAreNotRepeated(t *testing.T) {
	p := planned(t, "kubefed join a --token=hush --password hush --username hush")
	files, err := p.Helmfile(repository(t))
	require.NoError(t, err)
	assert.NotContains(t, string(files[0].Text), "hush")
	assert.NotContains(t, strings.Join(p.Warnings, "\n"), "hush")
}

func TestApplicationsNeedARepository(t *testing.T) {
	charts := repository(t)
	charts.Reference = "../charts"
	_, err := planned(t, "kubefed init a").Applications(charts, ArgoCD{})
	assert.ErrorContains(t, err, "Argo CD finds the charts by their path in a repository, which --charts=../charts is not")

	charts.Reference = "vendor/charts"
	files, err := planned(t, "kubefed init a").Applications(charts, ArgoCD{Repository: "https://git.example/fleet", Revision: "main", Destination: "host"})
	require.NoError(t, err)
	for _, want := range []string{"repoURL: https://git.example/fleet\n", "path: vendor/charts/federation-control-plane\n", "targetRevision: main\n", "name: host #"} {
		assert.Contains(t, string(files[0].Text), want)
	}
}
