// Package charts holds the charts for fedhook, which renders with them what it generates.
package charts

import "embed"

// Files are both charts, each in a folder of its name.
//
//go:embed all:federation-control-plane all:federation-member
var Files embed.FS
