package service

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controllers/watch"
	"github.com/fedhelm/fedhelm/pkg/dnsrecords"
)

// kubeSystem reads the federation's namespace of that name, which tells its incarnation: none cannot be read.
type kubeSystem struct {
	client.Reader
	uid   types.UID
	asked int
}

func (k *kubeSystem) Get(_ context.Context, _ client.ObjectKey, namespace client.Object, _ ...client.GetOption) error {
	k.asked++
	if k.uid == "" {
		return errors.New("connection refused")
	}
	namespace.SetUID(k.uid)
	return nil
}

// What is gone is believed of the same API alone, and asked of it once.
func TestWhatIsGoneIsConfirmed(t *testing.T) {
	api := &kubeSystem{}
	c := &controller{reader: api, incarnation: "first"}
	services := func(uids ...types.UID) (all []*federatedService) {
		for _, uid := range uids {
			all = append(all, &federatedService{ObjectMeta: metav1.ObjectMeta{UID: uid}})
		}
		return all
	}
	gondor := []fleetMember{{name: "gondor", uid: "gondor"}}
	ctx := t.Context()
	require.NoError(t, c.confirm(ctx, nil, nil))
	require.False(t, c.remembers(nil))
	require.True(t, c.remembers([]*federatedService{{ingresses: "{}"}}), "only a member can have made it say so")
	require.NoError(t, c.confirm(ctx, services("web"), gondor))
	require.NoError(t, c.confirm(ctx, services("web", "blog"), gondor))
	require.Zero(t, api.asked, "nothing is gone")

	require.ErrorContains(t, c.confirm(ctx, services("web"), gondor), "connection refused")
	api.uid = "second"
	require.ErrorIs(t, c.confirm(ctx, nil, nil), errLost)
	require.ErrorIs(t, c.confirm(ctx, services("web", "other"), nil), errLost)
	api.uid = "first"
	require.NoError(t, c.confirm(ctx, services("web", "blog"), gondor), "it was away for a moment")
	require.Equal(t, 3, api.asked)
	require.NoError(t, c.confirm(ctx, services("web"), gondor))
	require.NoError(t, c.confirm(ctx, services("web"), nil))
	require.Equal(t, 5, api.asked)
	require.True(t, c.remembers(nil), "its last member has left, and so do the records")
}

// watched is a member with copies, of which each has a ready endpoint; it has been read, unless it does not answer yet.
func watched(t *testing.T, answers bool, copies ...*unstructured.Unstructured) *member {
	t.Helper()
	var objects []runtime.Object
	for _, c := range copies {
		objects = append(objects, c, object(t, fmt.Sprintf(`{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: %[1]s-1, namespace: %[2]s, labels: {kubernetes.io/service-name: %[1]s}},
			addressType: IPv4, endpoints: [{addresses: [10.244.0.7]}]}`, c.GetName(), c.GetNamespace())))
	}
	api := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{servicesResource: "ServiceList", slicesResource: "EndpointSliceList"}, objects...)
	api.PrependWatchReactor("*", func(clienttesting.Action) (bool, clientwatch.Interface, error) {
		return true, nil, errors.New("a list is enough")
	})
	m := &member{}
	ignore := func(types.NamespacedName, any) {}
	m.services = watch.New(watch.Whole(api, servicesResource), "", toCopy, ignore, nil)
	m.slices = watch.New(watch.Whole(api, slicesResource), "", toSlice, ignore, nil)
	require.NoError(t, m.slices.AddIndexers(sliceIndexers))
	if answers {
		go m.services.RunWithContext(t.Context())
		go m.slices.RunWithContext(t.Context())
		require.Eventually(t, m.read, 10*time.Second, time.Millisecond)
	}
	return m
}

func placedBy(t *testing.T, source string) *unstructured.Unstructured {
	return object(t, `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop, annotations: {`+v1beta1.AnnotationSource+`: `+source+`}}, spec: {type: LoadBalancer},
		status: {loadBalancer: {ingress: [{ip: 10.0.0.1}]}}}`)
}

// What is left in a member is known by that member alone: while it is read anew with other credentials, what was read before holds.
func TestWhatIsLeftHoldsWhileItsMemberIsReadAnew(t *testing.T) {
	before := watched(t, true, placedBy(t, "first"))
	c := &controller{incarnation: "second", services: watched(t, true).services, fleet: []fleetMember{{name: "gondor", ready: true}},
		members: map[string]*member{"gondor": before}}
	reached := func() []dnsrecords.Ingresses {
		all := c.reachable(c.left())
		if len(all) == 0 {
			return nil
		}
		return c.ingresses(all[0])
	}
	want := []dnsrecords.Ingresses{{Cluster: "gondor", Items: []dnsrecords.Ingress{{IP: "10.0.0.1"}}}}
	require.Equal(t, want, reached())

	anew := watched(t, false)
	c.members["gondor"] = anew
	require.Empty(t, reached(), "nothing is known of another cluster")
	anew.before = before
	require.Equal(t, want, reached())
	c.members["gondor"] = watched(t, true)
	c.members["gondor"].before = before
	require.Empty(t, reached(), "it has been read, and has nothing")
}

// A Service that is made again may be heard of first from the member where it is placed again.
func TestWhatIsLeftIsPlacedAgain(t *testing.T) {
	c := &controller{incarnation: "second", services: watched(t, true).services, fleet: []fleetMember{{name: "gondor", ready: true}},
		members: map[string]*member{"gondor": watched(t, true, placedBy(t, "second"))}}
	require.Empty(t, c.left()["gondor"], "it was deleted a moment ago")
	c.members["gondor"] = watched(t, true, placedBy(t, "first"))
	require.Len(t, c.left()["gondor"], 1)
	c.members["gondor"] = watched(t, true, placedBy(t, "second"))
	require.Len(t, c.left()["gondor"], 1)

	known := watched(t, true).services
	require.NoError(t, known.GetStore().Add(&federatedService{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}))
	unknown := c.services
	c.services = known
	require.Empty(t, c.left()["gondor"], "the federation has it")
	c.services = unknown
	require.Empty(t, c.left()["gondor"], "and now has it no more")
}
