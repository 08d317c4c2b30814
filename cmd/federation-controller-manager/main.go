// federation-controller-manager runs the controllers of a federation.
package main

import (
	"fmt"
	"os"

	"github.com/fedhelm/fedhelm/pkg/controllers/manager"
)

func main() {
	if err := manager.NewCommand().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "federation-controller-manager:", err)
		os.Exit(1)
	}
}
