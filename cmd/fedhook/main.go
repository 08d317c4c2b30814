// fedhook does the work of the charts' hooks: it makes a federation's certificates, publishes its address, joins clusters and lets them go.
package main

import (
	"os"

	"github.com/fedhelm/fedhelm/pkg/fedhook"
)

func main() {
	os.Exit(fedhook.Main(os.Args[1:], os.Stdout, os.Stderr))
}
