package service

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/fedhelm/fedhelm/pkg/dnsrecords"
)

func object(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	text, err := yaml.YAMLToJSON([]byte(manifest))
	require.NoError(t, err)
	o := &unstructured.Unstructured{}
	require.NoError(t, o.UnmarshalJSON(text))
	return o
}

func TestWhatIsKeptOfACopy(t *testing.T) {
	kept, err := toCopy(object(t, `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop, resourceVersion: "7"}, spec: {type: LoadBalancer},
		status: {loadBalancer: {ingress: [{ip: 10.0.0.1, ipMode: VIP}, {hostname: lb.example.com}, {ports: []}]}}}`))
	require.NoError(t, err)
	s := kept.(*memberService)
	require.True(t, s.loadBalancer)
	require.Equal(t, []dnsrecords.Ingress{{IP: "10.0.0.1"}, {Hostname: "lb.example.com"}}, s.ingresses)
	require.Equal(t, "7", s.ResourceVersion)
}

func TestReadyEndpoints(t *testing.T) {
	for endpoints, want := range map[string]bool{
		`[]`:   false,
		`null`: false,
		`[{addresses: [10.1.0.1], conditions: {ready: true}}]`:                                                      true,
		`[{addresses: [10.1.0.1]}]`:                                                                                 true,
		`[{addresses: [10.1.0.1], conditions: {serving: true}}]`:                                                    true,
		`[{addresses: [10.1.0.1], conditions: {ready: false, serving: true, terminating: true}}]`:                   false,
		`[{addresses: [10.1.0.1], conditions: {ready: false}}, {addresses: [10.1.0.2], conditions: {ready: true}}]`: true,
		`[{addresses: [], conditions: {ready: true}}]`:                                                              false,
	} {
		kept, err := toSlice(object(t, `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}},
			addressType: IPv4, endpoints: `+endpoints+`}`))
		require.NoError(t, err)
		require.Equal(t, want, kept.(*slice).ready, endpoints)
		require.Equal(t, "web", kept.(*slice).service)
	}
}
