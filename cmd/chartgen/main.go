// chartgen writes each chart's values.yaml, values.schema.json and README.md, from the root of the repository.
package main

import (
	"fmt"
	"os"

	"github.com/fedhelm/fedhelm/pkg/chartgen"
)

func main() {
	if err := write("."); err != nil {
		fmt.Fprintln(os.Stderr, "chartgen:", err)
		os.Exit(1)
	}
}

func write(root string) error {
	files, err := chartgen.Generate(root)
	if err != nil {
		return err
	}
	repository, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer func() { _ = repository.Close() }()
	for path, content := range files {
		if err := repository.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
