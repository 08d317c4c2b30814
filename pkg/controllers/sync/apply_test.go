package sync

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestUnknownFields(t *testing.T) {
	for _, test := range []struct {
		message string
		want    []string
	}{
		{`failed to create typed patch object (shop/one; example.com/v1, Kind=Ring): .spec.age: field not declared in schema`, []string{".spec.age"}},
		{"failed to create typed patch object (shop/one; apps/v1, Kind=Deployment): errors:\n  .spec.new: field not declared in schema\n  .spec.template.spec.containers[name=\"web\"].newer: field not declared in schema",
			[]string{".spec.new", `.spec.template.spec.containers[name="web"].newer`}},
		{`.spec.ports[port=80,protocol="TCP"].new: field not declared in schema`, []string{`.spec.ports[port=80,protocol="TCP"].new`}},
		{`.spec.items[name="a:b c"].new: field not declared in schema`, []string{`.spec.items[name="a:b c"].new`}},
		{`.spec.list[0].new: field not declared in schema`, []string{".spec.list[0].new"}},
		{`.top: field not declared in schema`, []string{".top"}},
		{`exceeded quota: small, requested: configmaps=1`, nil},
		{`.spec.replicas: expected numeric (int or float), got string`, nil},
	} {
		require.Equal(t, test.want, unknownFields(errors.New(test.message)), test.message)
	}
	require.Empty(t, unknownFields(nil))
}

func TestWithout(t *testing.T) {
	const ring = `{"kind":"Ring","spec":{"age":1,"bearer":{"name":"frodo","home":"shire"},"list":[{"a":1,"b":2},{"a":3,"b":4,"deep":[{"x":1,"y":2}]}]}}`
	for _, test := range []struct {
		paths []string
		want  string
	}{
		{nil, ring},
		{[]string{".spec.age"}, `{"kind":"Ring","spec":{"bearer":{"name":"frodo","home":"shire"},"list":[{"a":1,"b":2},{"a":3,"b":4,"deep":[{"x":1,"y":2}]}]}}`},
		{[]string{".spec"}, `{"kind":"Ring"}`},
		{[]string{".spec.bearer.home", ".spec.list"}, `{"kind":"Ring","spec":{"age":1,"bearer":{"name":"frodo"}}}`},
		{[]string{`.spec.list[a=1].b`}, `{"kind":"Ring","spec":{"age":1,"bearer":{"name":"frodo","home":"shire"},"list":[{"a":1},{"a":3,"deep":[{"x":1,"y":2}]}]}}`},
		{[]string{`.spec.list[a="x.y: z"].deep[0].y`}, `{"kind":"Ring","spec":{"age":1,"bearer":{"name":"frodo","home":"shire"},"list":[{"a":1,"b":2},{"a":3,"b":4,"deep":[{"x":1}]}]}}`},
		{[]string{".status.none", ".kind.none", ".spec.list.none", ".spec.bearer[0].none", ""}, ring},
	} {
		got, err := without([]byte(ring), test.paths)
		require.NoError(t, err)
		require.JSONEq(t, test.want, string(got), "%q", test.paths)
	}
	_, err := without([]byte("{"), []string{".spec"})
	require.Error(t, err)
}

// An error says what a person needs, and the same at every try.
func TestExplain(t *testing.T) {
	dial := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 6443}, Err: syscall.ECONNREFUSED}
	cut := &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 45123}, Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 6443}, Err: syscall.ECONNRESET}
	for _, test := range []struct {
		err  error
		want string
	}{
		{errors.New("it is there already"), "it is there already"},
		{apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "one", errors.New("exceeded quota: small")), `configmaps "one" is forbidden: exceeded quota: small`},
		{fmt.Errorf("wrapped: %w", apierrors.NewBadRequest("too large")), "too large"},
		{&url.Error{Op: "Patch", URL: "https://10.0.0.1:6443/api/v1/namespaces/shop/configmaps/one", Err: dial}, "the connection to the cluster fails: dial: connection refused"},
		{&url.Error{Op: "Patch", URL: "https://10.0.0.1:6443/one", Err: cut}, "the connection to the cluster fails: read: connection reset by peer"},
		{&url.Error{Op: "Patch", URL: "https://10.0.0.1:6443/one", Err: errors.New("EOF")}, "the connection to the cluster fails: EOF"},
		{&url.Error{Op: "Patch", URL: "https://10.0.0.1:6443/one", Err: context.DeadlineExceeded}, "the cluster did not answer within 30s"},
	} {
		require.Equal(t, test.want, explain(test.err))
	}
}

func TestToSelector(t *testing.T) {
	for fields, want := range map[string]string{
		`{}`:                        "",
		`{matchLabels: {app: web}}`: "app=web",
		`{matchLabels: {app: web}, matchExpressions: [{key: tier, operator: In, values: [a, b]}]}`: "app=web,tier in (a,b)",
	} {
		got, err := toSelector(object(t, fields).Object)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, fields := range []string{`{matchLabels: 1}`, `{matchExpressions: [{key: tier, operator: Maybe}]}`} {
		_, err := toSelector(object(t, fields).Object)
		require.Error(t, err, fields)
	}
}
