package generate

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"

	"github.com/fedhelm/fedhelm/charts"
)

// Charts are the two charts, and where what is written finds them.
type Charts struct {
	// Reference is the folder that they are in, "charts", or the registry, "oci://registry.example/charts".
	Reference string
	// Embedded says that the charts are those that were built in, since the reference cannot be read here.
	Embedded bool

	controlPlane, member *chart.Chart
}

// OpenCharts reads the charts where the reference says, if that is a folder here; else it takes those that were built in. Errors: a folder without the charts.
func OpenCharts(reference string) (Charts, error) {
	c := Charts{Reference: strings.TrimSuffix(reference, "/"), Embedded: true}
	load := embedded
	if info, err := os.Stat(reference); err == nil && info.IsDir() {
		c.Embedded = false
		load = func(name string) (*chart.Chart, error) { return loader.LoadDir(filepath.Join(reference, name)) }
	}
	for name, into := range map[string]**chart.Chart{controlPlaneChart: &c.controlPlane, memberChart: &c.member} {
		var err error
		if *into, err = load(name); err != nil {
			return Charts{}, fmt.Errorf("read chart %s of --charts=%s: %w; give the folder that holds both charts, or an oci:// registry", name, reference, err)
		}
	}
	return c, nil
}

// embedded gives a chart that was built in.
func embedded(name string) (*chart.Chart, error) {
	var files []*loader.BufferedFile
	err := fs.WalkDir(charts.Files, name, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := charts.Files.ReadFile(file)
		files = append(files, &loader.BufferedFile{Name: strings.TrimPrefix(file, name+"/"), Data: data})
		return err
	})
	if err != nil {
		return nil, err
	}
	return loader.LoadFiles(files)
}

// registry reports whether the charts come from a registry, where they have versions.
func (c Charts) registry() bool { return strings.HasPrefix(c.Reference, "oci://") }

// of gives the chart of a name.
func (c Charts) of(name string) *chart.Chart {
	if name == controlPlaneChart {
		return c.controlPlane
	}
	return c.member
}

// reference is where Helm finds a chart.
func (c Charts) reference(name string) string {
	if c.registry() {
		return c.Reference + "/" + name
	}
	return path.Join(filepath.ToSlash(c.Reference), name)
}

// written is a release as it was read back from what was written.
type written struct {
	chart, name, namespace string
	values                 map[string]any
}

// check renders a release with Helm's engine, which holds its values against the chart's schema first. Errors: values that the chart refuses, in its own words.
func (c Charts) check(w written) error {
	loaded := c.of(path.Base(w.chart))
	if w.values == nil {
		w.values = map[string]any{}
	}
	merged, err := chartutil.ToRenderValues(loaded, w.values, chartutil.ReleaseOptions{Name: w.name, Namespace: w.namespace, Revision: 1, IsInstall: true}, nil)
	if err == nil {
		_, err = engine.Render(loaded, merged)
	}
	if err != nil {
		return fmt.Errorf("release %s would not install, chart %s %s refuses it: %w", w.name, loaded.Metadata.Name, loaded.Metadata.Version, err)
	}
	return nil
}
