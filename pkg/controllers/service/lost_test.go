package service

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
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
