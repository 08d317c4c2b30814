package clusterdns

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

// DefaultTemplate is the CoreDNS configuration of one federation, kube-dns's rule in two server blocks: the first asks the member's own services, the
// second, on loopback, answers a CNAME to the nearest level of the federation DNS. They are two since within one block template runs before kubernetes.
// The CNAME answers every type, for a resolver that asks for A and AAAA takes "no such name" for either as the answer to both. A third block,
// kube-dns's stub domain, serves the zone where it has nameservers of its own. None of them keeps answers, whatever the user's own block does: an answer changes as soon
// as CoreDNS sees the endpoints, or the federation DNS the records. What caches beyond may keep are 5 s of a local service (plugin kubernetes) and 30 s of a fallback.
const DefaultTemplate = `{{ .Name }}.svc.{{ .ClusterDomain }}:53 {
    errors
    rewrite stop {
        name regex ^([a-z0-9][-a-z0-9]*)\.([a-z0-9][-a-z0-9]*)\.{{ .Name }}\.svc\.{{ regexQuoteMeta .ClusterDomain }}\.$ {1}.{2}.svc.{{ .ClusterDomain }}.
        answer auto
    }
    kubernetes {{ .ClusterDomain }} {
        ignore empty_service
        fallthrough
    }
    forward . 127.0.0.1:{{ .FallbackPort }}
}
.:{{ .FallbackPort }} {
    bind 127.0.0.1
    errors
    template IN ANY svc.{{ .ClusterDomain }} {
        match "^(?P<svc>[a-z0-9][-a-z0-9]*)\.(?P<ns>[a-z0-9][-a-z0-9]*)\.svc\.{{ regexQuoteMeta .ClusterDomain }}\.$"
        answer "{{ "{{ .Name }} 30 IN CNAME {{ .Group.svc }}.{{ .Group.ns }}" }}.{{ .Name }}.svc.{{ .Nearest }}."
        fallthrough
    }
    template ANY ANY svc.{{ .ClusterDomain }} {
        rcode NXDOMAIN
    }
{{- if .Nameservers }}
    forward {{ .Zone }} {{ join " " .Nameservers }}
{{- end }}
    forward . /etc/resolv.conf
}
{{- if .Nameservers }}
{{ .Zone }}:53 {
    errors
    forward . {{ join " " .Nameservers }}
}
{{- end }}
`

// templateValue is the value of the member chart that Render's template comes from.
const templateValue = "clusterDNS.template"

var templateError = regexp.MustCompile(`(?s)^template: ` + regexp.QuoteMeta(templateValue) + `:(\d+)(?::\d+)?: (.*)$`)

// Render gives the CoreDNS configuration of the federation: server blocks, ending in one line break. The text is a Go template with those of
// sprig's functions that give the same for the same (no environment, no time, no chance); its dot is f, normalised, so that .Zone and
// .ClusterDomain have no trailing dot, with the method .Nearest. "" means DefaultTemplate.
func Render(f Federation, text string) (string, error) {
	f, err := f.normalise()
	if err != nil {
		return "", err
	}
	if text == "" {
		text = DefaultTemplate
	}
	var out strings.Builder
	t, err := template.New(templateValue).Funcs(sprig.HermeticTxtFuncMap()).Parse(text)
	if err == nil {
		err = t.Execute(&out, f)
	}
	if err != nil {
		line, problem := "?", err.Error()
		if m := templateError.FindStringSubmatch(problem); m != nil {
			line, problem = m[1], m[2]
		}
		return "", fmt.Errorf("line %s of the value %s fails: %s", line, templateValue, strings.Join(strings.Fields(problem), " "))
	}
	rendered := strings.Trim(out.String(), "\r\n") + "\n"
	blocks, err := serverBlocks(rendered)
	if err == nil && len(blocks) == 0 {
		err = errors.New("has no server block")
	}
	if err != nil {
		return "", fmt.Errorf("the value %s does not give CoreDNS server blocks for federation %s: its text %w", templateValue, f.Name, err)
	}
	return rendered, nil
}

// CustomKey gives the federation's own key in ConfigMap kube-system/coredns-custom, where Render's text goes as it is. Platforms import the keys
// that end in ".server" beside their own server blocks (AKS, k3s, DigitalOcean, Gardener); the prefix keeps it off the user's.
func CustomKey(federation string) string { return "fedhelm-" + federation + ".server" }
