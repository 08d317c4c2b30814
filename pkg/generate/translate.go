package generate

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"helm.sh/helm/v3/pkg/chart"

	"github.com/fedhelm/fedhelm/pkg/dnsprovider"
	"github.com/fedhelm/fedhelm/pkg/dnsprovider/ini"
)

// translation is what a flag of a command becomes in a release.
type translation struct {
	plan    *Plan
	chart   *chart.Chart
	release *Release
	command command
	flag    flag
	given   string
}

// translate puts the flags of a command into its release. Errors: text that the flag does not take, files that cannot be read; each names the line and the flag.
func (p *Plan) translate(c command, r *Release, chart *chart.Chart) error {
	for _, f := range flags {
		given, found := c.given[f.name]
		if !found {
			continue
		}
		t := &translation{plan: p, chart: chart, release: r, command: c, flag: f, given: given}
		if err := t.run(); err != nil {
			return fmt.Errorf("%s: %s: %w", c.at, t.text(), err)
		}
	}
	return nil
}

func (t *translation) run() error {
	switch {
	case t.flag.special != nil:
		return t.flag.special(t)
	case t.flag.values != nil:
		return t.parsed()
	case t.flag.without != "" && !(t.flag.boolean && t.given == "false"):
		t.say(t.flag.without)
	}
	return nil
}

// text is the flag as it was given.
func (t *translation) text() string {
	if t.flag.secret {
		return "--" + t.flag.name
	}
	return fmt.Sprintf("--%s=%s", t.flag.name, t.given)
}

// say says what cannot be translated, and what to do.
func (t *translation) say(text string) {
	t.plan.note(t.release, t.command.at, fmt.Sprintf("%s is not translated: %s", t.text(), text))
}

// parsed sets all values of the flag to what was given.
func (t *translation) parsed() error {
	var value any = t.given
	var err error
	switch {
	case t.flag.parse != nil:
		value, err = t.flag.parse(t.given)
	case t.flag.boolean:
		value, err = strconv.ParseBool(t.given)
	}
	if err != nil {
		return err
	}
	t.set(value)
	return nil
}

// set sets those values of the flag that the chart has. Without any, that is said: nothing is dropped.
func (t *translation) set(value any) {
	known := slices.DeleteFunc(slices.Clone(t.flag.values), func(path string) bool { return !has(t.chart, path) })
	for _, path := range known {
		t.release.values.set(path, value, "--"+t.flag.name)
	}
	// What is off is off in a chart that does not have it, too.
	if len(known) == 0 && value != false {
		t.lacks(t.flag.values)
	}
}

// lacks says that the chart has none of the values.
func (t *translation) lacks(paths []string) {
	t.say(fmt.Sprintf("chart %s %s has no value for it (%s)", t.chart.Metadata.Name, t.chart.Metadata.Version, strings.Join(paths, ", ")))
}

// has reports whether a chart has a value, by its path: "apiServer.service.type".
func has(c *chart.Chart, path string) bool {
	var node any = c.Values
	for _, key := range strings.Split(path, ".") {
		section, ok := node.(map[string]any)
		if !ok {
			return false
		}
		if node, ok = section[key]; !ok {
			return false
		}
	}
	return true
}

// list reads "a,b".
func list(given string) (any, error) {
	items := []string{}
	for item := range strings.SplitSeq(given, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items, nil
}

// pairs reads "a=1,b=2".
func pairs(given string) (any, error) {
	all := map[string]string{}
	for item := range strings.SplitSeq(given, ",") {
		key, value, found := strings.Cut(item, "=")
		if key = strings.TrimSpace(key); !found || key == "" {
			return nil, fmt.Errorf("%q is no key=value: give them as key=value,key=value", item)
		}
		all[key] = strings.TrimSpace(value)
	}
	return all, nil
}

// oneOf takes one of some words.
func oneOf(words ...string) func(string) (any, error) {
	return func(given string) (any, error) {
		if !slices.Contains(words, given) {
			return nil, fmt.Errorf("kubefed took %s: give one of them", strings.Join(words, ", "))
		}
		return given, nil
	}
}

func port(given string) (any, error) {
	number, err := strconv.Atoi(given)
	if err != nil || number < 0 || number > 65535 {
		return nil, fmt.Errorf("it is no port: give a number from 1 to 65535, or 0 to have Kubernetes choose")
	}
	return number, nil
}

// arguments reads the arguments of a component, "--anonymous-auth=false,--v=4". A part that does not begin with a dash goes on with the argument before, whose value has a comma.
// Retired flags are left out and said.
func arguments(component string, retired map[string]string) func(t *translation) error {
	return func(t *translation) error {
		all := map[string]string{}
		var last string
		for part := range strings.SplitSeq(t.given, ",") {
			if !strings.HasPrefix(strings.TrimSpace(part), "-") && last != "" {
				all[last] += "," + part
				continue
			}
			name, value, found := strings.Cut(strings.TrimLeft(strings.TrimSpace(part), "-"), "=")
			if !found || name == "" {
				return fmt.Errorf("%q is no argument: give them as --name=value,--name=value", part)
			}
			all[name], last = value, name
		}
		for _, name := range sortedKeys(all) {
			successor, gone := retired[name]
			if !gone {
				continue
			}
			delete(all, name)
			text := fmt.Sprintf("its --%s is left out, since %s of today would not start with it", name, component)
			if successor != "" {
				text += "; see its --" + successor
			}
			t.plan.note(t.release, t.command.at, fmt.Sprintf("--%s: %s", t.flag.name, text))
		}
		if len(all) > 0 {
			t.set(all)
		}
		return nil
	}
}

// serviceType translates --api-server-service-type. Where it is NodePort there are no load balancers for the chart's own DNS either, which kubefed did not have.
func serviceType(t *translation) error {
	given, err := oneOf("LoadBalancer", "NodePort")(t.given)
	if err != nil {
		return err
	}
	t.set(given)
	if given == "NodePort" && t.command.flag("dns-provider", dnsprovider.CoreDNS) == dnsprovider.CoreDNS && t.command.flag("dns-provider-config", "") == "" {
		t.release.values.set("dns.server.service.type", given, "--"+t.flag.name)
	}
	return nil
}

// image is the name of a container image in its parts, empty those that are not given.
type image struct{ registry, repository, tag, digest string }

// parseImage takes apart "registry.example:5000/etcd:3.5.1@sha256:…".
func parseImage(name string) image {
	var i image
	name, i.digest, _ = strings.Cut(name, "@")
	if colon := strings.LastIndex(name, ":"); colon > strings.LastIndex(name, "/") {
		name, i.tag = name[:colon], name[colon+1:]
	}
	i.registry, i.repository = "docker.io", name
	if first, rest, found := strings.Cut(name, "/"); found && (strings.ContainsAny(first, ".:") || first == "localhost") {
		i.registry, i.repository = first, rest
	}
	return i
}

// setImage sets the image of a component.
func (t *translation) setImage(section string, i image) {
	for _, part := range []struct{ key, value string }{{"registry", i.registry}, {"repository", i.repository}, {"tag", i.tag}, {"digest", i.digest}} {
		if part.value != "" {
			t.release.values.set(section+".image."+part.key, part.value, "--"+t.flag.name)
		}
	}
	if i.tag == "" && i.digest == "" {
		t.plan.note(t.release, t.command.at, fmt.Sprintf("%s names no tag: the chart's own %s.image.tag is taken", t.text(), section))
	}
}

// componentImage translates --image. v1 had one image for both its components; today each has its own, so a name says which is meant.
func componentImage(t *translation) error {
	i := parseImage(t.given)
	switch path.Base(i.repository) {
	case "kube-apiserver":
		t.setImage("apiServer", i)
	case "federation-controller-manager":
		t.setImage("controllerManager", i)
	default:
		t.say("v1's one image for both components has no successor; each component has its own, in apiServer.image, controllerManager.image and so on" +
			", and a mirror of them all is global.imageRegistry")
	}
	return nil
}

// oldestEtcd is the oldest etcd that kube-apiserver of today works with.
const oldestEtcdMajor, oldestEtcdMinor = 3, 5

var etcdVersion = regexp.MustCompile(`^v?(\d+)\.(\d+)`)

// etcdImage translates --etcd-image, but for an etcd that is too old for the API server.
func etcdImage(t *translation) error {
	i := parseImage(t.given)
	if v := etcdVersion.FindStringSubmatch(i.tag); v != nil {
		major, _ := strconv.Atoi(v[1])
		minor, _ := strconv.Atoi(v[2])
		if major < oldestEtcdMajor || major == oldestEtcdMajor && minor < oldestEtcdMinor {
			t.say(fmt.Sprintf("kube-apiserver of today needs etcd %d.%d or later, so the chart's own etcd is taken", oldestEtcdMajor, oldestEtcdMinor))
			return nil
		}
	}
	t.setImage("etcd", i)
	return nil
}

// etcdServers translates --etcd-servers. Whose servers are asked by https is known by certificates, for which kubefed had no flag: they go into a Secret, which a value names.
func etcdServers(t *translation) error {
	servers, err := list(t.given)
	if err != nil {
		return err
	}
	t.set(servers)
	const existing = "etcd.external.existingSecret"
	if strings.Contains(t.given, "https://") && has(t.chart, existing) {
		secret := t.command.name + "-etcd-certificates"
		t.release.secrets = append(t.release.secrets, t.release.createSecret(secret, "--from-file=ca.crt", "--from-file=tls.crt", "--from-file=tls.key"))
		t.release.values.set(existing, secret, "--"+t.flag.name)
		t.plan.note(t.release, t.command.at, fmt.Sprintf("%s takes certificates: etcd's CA in file ca.crt, and kube-apiserver's own with its key in tls.crt and tls.key", t.text()))
	}
	return nil
}

// providerConfig translates --dns-provider-config: the file, and the files that it names, go into a Secret, which the value names.
func providerConfig(t *translation) error {
	text, err := os.ReadFile(t.given)
	if err != nil {
		return fmt.Errorf("read the DNS provider's configuration: %w; run this where kubefed ran, or name the file where it is now", err)
	}
	files, err := providerFiles(text)
	if err != nil {
		return err
	}
	if !has(t.chart, t.flag.values[0]) {
		t.lacks(t.flag.values)
		return nil
	}
	secret := t.command.name + "-dns-config"
	arguments := []string{"--from-file=provider.conf=" + t.given}
	for _, file := range files {
		arguments = append(arguments, fmt.Sprintf("--from-file=%s=%s", path.Base(file), file))
		if file != path.Base(file) {
			t.plan.note(t.release, t.command.at, fmt.Sprintf("%s names file %s: write only %s there, as the file is called in the Secret", t.text(), file, path.Base(file)))
		}
	}
	t.release.secrets = append(t.release.secrets, t.release.createSecret(secret, arguments...))
	t.set(secret)
	return nil
}

// providerFiles gives the files that a DNS provider's configuration names, in its keys that end with "-file". Errors: text that is no such configuration.
func providerFiles(text []byte) ([]string, error) {
	entries, err := ini.Read(string(text))
	if err != nil {
		return nil, fmt.Errorf("the file is no DNS provider's configuration: %w", err)
	}
	var files []string
	for _, e := range entries {
		if strings.HasSuffix(e.Key, "-file") && e.Value != "" {
			files = append(files, e.Value)
		}
	}
	return files, nil
}

// clusterContext is about how a member is joined; a member's release remembers that for unjoining.
func clusterContext(t *translation) error {
	if t.command.verb == "join" && !t.release.inCluster {
		t.set(t.given)
	}
	return nil
}

// credentialsKubeconfig translates --credentials-kubeconfig: the federation is to use a member's credentials from a file, not an account of its own in the member.
func credentialsKubeconfig(t *translation) error {
	switch t.command.verb {
	case "init":
		t.say("the control plane reaches its host cluster with its own service account")
	case "join":
		t.set(false)
		if !has(t.chart, t.flag.values[0]) {
			t.lacks(t.flag.values)
		}
	case "unjoin":
		t.say("unjoining uses the credentials that the release has")
	}
	return nil
}

// federationContext is --context, which for join and unjoin names the federation.
func federationContext(t *translation) error {
	if t.command.verb == "init" {
		t.say(inKubeconfig)
	}
	return nil
}
