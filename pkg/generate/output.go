package generate

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/mitchellh/go-wordwrap"
	"go.yaml.in/yaml/v3"
)

// commentWidth is where sentences in comments wrap; commands stay on one line.
const commentWidth = 150

// remark collects the lines of a comment.
type remark []string

// say adds a sentence.
func (r *remark) say(format string, arguments ...any) {
	text := strings.Join(strings.Fields(fmt.Sprintf(format, arguments...)), " ")
	*r = append(*r, strings.Split(wordwrap.WrapString(text, commentWidth), "\n")...)
}

// item adds an item of a list.
func (r *remark) item(text string) {
	text = strings.Join(strings.Fields(text), " ")
	for i, line := range strings.Split(wordwrap.WrapString(text, commentWidth-2), "\n") {
		if i == 0 {
			*r = append(*r, "- "+line)
		} else {
			*r = append(*r, "  "+line)
		}
	}
}

// run adds a command to run.
func (r *remark) run(line string) { *r = append(*r, "  "+strings.ReplaceAll(line, "\n", " ")) }

// paragraph adds an empty line, except at the beginning.
func (r *remark) paragraph() {
	if len(*r) > 0 {
		*r = append(*r, "")
	}
}

// String is the comment in YAML, without the last line's end.
func (r remark) String() string {
	lines := make([]string, len(r))
	for i, line := range r {
		lines[i] = strings.TrimRight("# "+line, " ")
	}
	return strings.Join(lines, "\n")
}

// prepare adds the commands that make what the releases name.
func (r *remark) prepare(releases []*Release) {
	lines := preparations(releases)
	if len(lines) == 0 {
		return
	}
	r.paragraph()
	r.say("What they name, and no file here holds: make it before, once, where your kubeconfig is. A namespace may be there already.")
	for _, line := range lines {
		r.run(line)
	}
}

// describe adds what a release is, and what of its command line could not be translated.
func (r *remark) describe(release *Release) {
	r.paragraph()
	switch {
	case release.Chart == controlPlaneChart:
		r.say("Federation %s, from %s.", release.Name, release.From)
	case release.Federation == "":
		r.say("Cluster %s in the only federation of the namespace, from %s.", release.Cluster, release.From)
	default:
		r.say("Cluster %s in federation %s, from %s.", release.Cluster, release.Federation, release.From)
	}
	for _, note := range release.notes {
		r.item(note)
	}
}

// encode writes documents of YAML under a comment.
func encode(about remark, documents ...*yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(about.String() + "\n\n")
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	for _, document := range documents {
		if err := encoder.Encode(document); err != nil {
			return nil, err
		}
	}
	err := encoder.Close()
	return out.Bytes(), err
}

// checked gives out files once each release in them, as it is read back, has been rendered. Errors: a release that its chart refuses; one sentence, and no files.
func checked(files []File, charts Charts, read func(File) ([]written, error)) ([]File, error) {
	for _, file := range files {
		releases, err := read(file)
		if err != nil {
			return nil, fmt.Errorf("read back %s: %w; please report this as a mistake of fedhook", file.Name, err)
		}
		for _, release := range releases {
			if err := charts.check(release); err != nil {
				return nil, err
			}
		}
	}
	if len(files) == 0 {
		return nil, errors.New("nothing is to be installed: the command lines only let clusters go, which `helm uninstall` does")
	}
	return files, nil
}
