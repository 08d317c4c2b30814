package values

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is refused is told in test/charts, together with the template that says the same; here is what passes.
func TestEtcd(t *testing.T) {
	for given, want := range map[string]struct{ own, https bool }{
		`{}`:                                   {own: true},
		`{persistence: {existingClaim: mine}}`: {own: true},
		`{external: {servers: []}}`:            {own: true},
		`{external: {servers: ["http://etcd:2379"]}}`:                                                                {},
		`{external: {servers: ["http://10.0.0.1:2379/", "http://[2001:db8::1]:2379"], prefix: /a/b}}`:                {},
		`{external: {servers: ["https://etcd-0:2379", "https://etcd-1:2379"], existingSecret: etcd}}`:                {https: true},
		`{external: {servers: ["https://etcd:2379"], ca: a, certificate: b, key: c}, persistence: {enabled: false}}`: {https: true},
	} {
		v, err := DecodeControlPlane([]byte(`etcd: ` + given))
		require.NoError(t, err, given)
		assert.NoError(t, v.Etcd.Validate(), given)
		assert.Equal(t, want.own, v.Etcd.Own(), given)
		assert.Equal(t, want.https, v.Etcd.External.HTTPS(), given)
	}
}
