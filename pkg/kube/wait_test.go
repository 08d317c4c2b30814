package kube

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// What may pass is waited for, and what does not pass in time is the answer; all else is the answer at once.
func TestRetryTransient(t *testing.T) {
	secrets := schema.GroupResource{Resource: "secrets"}
	for name, test := range map[string]struct {
		err   error
		times int
	}{
		"none":          {nil, 1},
		"not found":     {apierrors.NewNotFound(secrets, "ring"), 1},
		"anything":      {errors.New("anything"), 1},
		"forbidden":     {apierrors.NewForbidden(secrets, "ring", nil), 4},
		"an error":      {apierrors.NewInternalError(errors.New("etcd")), 4},
		"busy":          {apierrors.NewTooManyRequestsError("later"), 4},
		"not reachable": {&net.OpError{Op: "dial", Err: errors.New("refused")}, 4},
	} {
		synctest.Test(t, func(t *testing.T) {
			called := 0
			err := RetryTransient(t.Context(), 10*time.Second, func(context.Context) error {
				if called++; called == 4 {
					return nil
				}
				return test.err
			})
			require.Equal(t, test.times, called, name)
			if test.times == 4 {
				require.NoError(t, err, name)
			} else {
				require.Equal(t, test.err, err, name)
			}
			require.Equal(t, test.err, RetryTransient(t.Context(), 10*time.Second, func(context.Context) error { return test.err }), name)
		})
	}
}
