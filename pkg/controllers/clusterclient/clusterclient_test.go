package clusterclient

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

type fakeSecrets struct {
	secret *corev1.Secret
	err    error
}

func (f *fakeSecrets) Get(context.Context, string, metav1.GetOptions) (*corev1.Secret, error) {
	return f.secret, f.err
}

func TestRegistry(t *testing.T) {
	ctx := t.Context()
	secrets := &fakeSecrets{secret: credentials(map[string][]byte{"token": []byte("one"), "ca.crt": testCA(t)})}
	r := New(Options{Secrets: secrets, Namespace: "federation-system", UserAgent: "agent"})
	require.Nil(t, r.Get("gondor"))

	first, err := r.Ensure(ctx, gondor())
	require.NoError(t, err)
	require.Equal(t, "agent", first.Config.UserAgent)
	again, err := r.Ensure(ctx, gondor())
	require.NoError(t, err)
	require.Same(t, first, again, "nothing changed")
	require.Same(t, first, r.Get("gondor"))

	secrets.secret = secrets.secret.DeepCopy()
	secrets.secret.ResourceVersion = "2"
	secrets.secret.Data["token"] = []byte("two")
	second, err := r.Ensure(ctx, gondor())
	require.NoError(t, err)
	require.Equal(t, "two", second.Config.BearerToken)
	require.Same(t, second, r.Get("gondor"))

	moved, err := r.Ensure(ctx, gondor(v1beta1.ServerAddressByClientCIDR{ServerAddress: "https://elsewhere"}))
	require.NoError(t, err)
	require.NotSame(t, second, moved)

	// The host's API being away is no fault of the member's.
	secrets.err = errors.New("connection refused")
	kept, err := r.Ensure(ctx, gondor())
	require.NoError(t, err)
	require.Same(t, moved, kept)
	reborn := gondor()
	reborn.UID = "u2"
	_, err = r.Ensure(ctx, reborn)
	require.ErrorContains(t, err, "host cluster", "but another Cluster never gets the old one's client")

	// Credentials taken away: no client any more.
	for _, gone := range []error{
		apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, "s"),
		apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "s", nil),
	} {
		secrets.err = nil
		_, err = r.Ensure(ctx, gondor())
		require.NoError(t, err)
		secrets.err = gone
		_, err = r.Ensure(ctx, gondor())
		var fault *Error
		require.ErrorAs(t, err, &fault)
		require.Equal(t, v1beta1.ReasonCredentialsMissing, fault.Reason)
		require.Contains(t, fault.Message, `namespace "federation-system"`)
		require.Nil(t, r.Get("gondor"))
	}

	secrets.err = nil
	_, err = r.Ensure(ctx, gondor())
	require.NoError(t, err)
	r.Forget("gondor")
	require.Nil(t, r.Get("gondor"))
	r.Forget("gondor")
}
