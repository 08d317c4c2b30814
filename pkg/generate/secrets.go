package generate

import (
	"regexp"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// kubectl begins a command line of kubectl in the host cluster.
func (r *Release) kubectl(words ...string) string {
	line := []string{"kubectl"}
	if r.Context != "" {
		line = append(line, "--context="+r.Context)
	}
	return r.environment() + quote(append(line, words...)...)
}

// environment is what stands before a command so that it uses the release's kubeconfig.
func (r *Release) environment() string {
	if r.Kubeconfig == "" {
		return ""
	}
	return "KUBECONFIG=" + quote(r.Kubeconfig) + " "
}

func (r *Release) createSecret(name string, arguments ...string) string {
	return r.kubectl(append([]string{"--namespace=" + r.Namespace, "create", "secret", "generic", name}, arguments...)...)
}

// plainWord is a word that no shell makes anything of, after the first one of a command.
var plainWord = regexp.MustCompile(`^[\w@%+:,./-][\w@%+=:,./-]*$`)

// quote writes words so that a shell reads them as they are.
func quote(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		if quoted[i] = word; plainWord.MatchString(word) {
			continue
		}
		text, err := syntax.Quote(word, syntax.LangBash)
		if err != nil { // a null byte, which no argument can have
			text = "?"
		}
		quoted[i] = text
	}
	return strings.Join(quoted, " ")
}

// preparations are the commands that make what releases name, each namespace before the Secrets in it.
func preparations(releases []*Release) []string {
	var lines []string
	made := map[string]bool{}
	for _, r := range releases {
		for _, secret := range r.secrets {
			if namespace := r.kubectl("create", "namespace", r.Namespace); !made[namespace] {
				made[namespace] = true
				lines = append(lines, namespace)
			}
			if !made[secret] {
				made[secret] = true
				lines = append(lines, secret)
			}
		}
	}
	return lines
}
