package incarnation

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// looks answers one look after the other: "" is an error, gone that there is none.
type looks struct {
	client.Reader
	uids  []types.UID
	count int
}

func (l *looks) Get(_ context.Context, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	uid := l.uids[min(l.count, len(l.uids)-1)]
	l.count++
	switch uid {
	case "":
		return errors.New("connection refused")
	case gone:
		return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "kube-system")
	}
	object.SetUID(uid)
	return nil
}

const gone = "gone"

func TestGuard(t *testing.T) {
	for _, test := range []struct {
		name  string
		uids  []types.UID
		looks int // after which it ends; 0 if it goes on
	}{
		{"the same", []types.UID{"a"}, 0},
		{"unreachable at first, and for a while", []types.UID{"", "a", "", "", "a"}, 0},
		{"began anew", []types.UID{"a", "a", "b"}, 3},
		{"began anew, by way of none", []types.UID{"a", gone, gone, "b"}, 4},
		{"as it was, by way of none", []types.UID{"a", gone, "a"}, 0},
		{"was empty when we came", []types.UID{"", gone, "", "b"}, 4},
		{"began anew after an outage", []types.UID{"", "a", "", "b"}, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				l := &looks{uids: test.uids}
				err := (&Guard{Reader: l}).Start(ctx)
				if test.looks == 0 {
					require.NoError(t, err)
					return
				}
				require.ErrorContains(t, err, "lost its data")
				require.Equal(t, test.looks, l.count)
			})
		})
	}
}
