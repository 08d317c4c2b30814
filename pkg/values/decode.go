package values

import (
	"fmt"
	"regexp"

	"sigs.k8s.io/yaml"
)

// DecodeControlPlane reads the values of federation-control-plane, YAML or JSON, over the chart's defaults. Errors: text that is not YAML, keys
// the chart does not know, values of another type.
func DecodeControlPlane(data []byte) (ControlPlane, error) {
	v := DefaultControlPlane()
	return v, decode(data, &v, "federation-control-plane")
}

// DecodeMember reads the values of federation-member, as DecodeControlPlane does.
func DecodeMember(data []byte) (Member, error) {
	v := DefaultMember()
	return v, decode(data, &v, "federation-member")
}

func decode(data []byte, into any, chart string) error {
	if err := yaml.UnmarshalStrict(data, into); err != nil {
		return fmt.Errorf("read the values of chart %s: %w; compare them with the chart's values.yaml", chart, err)
	}
	return nil
}

// MaxNameLength is how long the name of a federation or a cluster may be, in bytes: the names of Jobs made from it stay within the 52 that leave room for a pod's suffix.
const MaxNameLength = 40

var label = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

// CheckName says what is wrong with the name of a federation or a cluster (what), which must be an RFC 1035 label of at most MaxNameLength
// bytes. Both name DNS records, as in kubefed.
func CheckName(what, name string) error {
	if !label.MatchString(name) {
		return fmt.Errorf("the %s name %q is no RFC 1035 label: use lower case letters, digits and dashes, beginning with a letter and ending with a letter or digit", what, name)
	}
	if len(name) > MaxNameLength {
		return fmt.Errorf("the %s name %q has %d characters, at most %d are allowed: choose a shorter one", what, name, len(name), MaxNameLength)
	}
	return nil
}
