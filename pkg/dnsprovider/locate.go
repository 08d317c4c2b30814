package dnsprovider

import (
	"fmt"
	"slices"
	"strings"
)

// candidate is a zone of the name that is looked for.
type candidate struct {
	// id, and a name that says the same where the provider knows one.
	id, name string
	private  bool
}

func (z candidate) String() string {
	kind := "public"
	if z.private {
		kind = "private"
	}
	if z.name != "" {
		return z.name + ", " + kind
	}
	return z.id + ", " + kind
}

// choose gives the id of the one zone that keys zone-id and zone-visibility leave. where says whose zones they are. Errors: none is left, or several are.
func choose(c Config, where string, all []candidate) (string, error) {
	fits := slices.DeleteFunc(slices.Clone(all), func(z candidate) bool {
		id, visibility := c.get("zone-id"), c.get("zone-visibility")
		return id != "" && z.id != strings.TrimPrefix(id, "/hostedzone/") && z.name != id || visibility != "" && (visibility == "private") != z.private
	})
	var names []string
	for _, z := range all {
		names = append(names, z.String())
	}
	slices.Sort(names)
	switch {
	case len(fits) == 1:
		return fits[0].id, nil
	case len(all) == 0:
		return "", fmt.Errorf("%w: %s has none of that name: make it, or set dns.zoneName to one that is there", ErrNoZone, where)
	case len(fits) == 0:
		return "", fmt.Errorf("%w: %s has %s, and zone-id or zone-visibility leaves none of them: mend those", ErrNoZone, where, strings.Join(names, "; "))
	default:
		return "", fmt.Errorf("%w: %s has %d of that name (%s): choose one with zone-id, or with zone-visibility public or private", ErrNoZone, where, len(fits), strings.Join(names, "; "))
	}
}
