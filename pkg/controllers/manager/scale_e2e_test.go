//go:build e2e && scale

package manager_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controlplane"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/measure"
)

const (
	scaleObjects = 300
	scaleRuns    = 3
	scaleWriters = 20
	// scaleNamespace is federated, and scaleOwn is not.
	scaleNamespace, scaleOwn = "scale", "kube-scale"
)

// TestScale places the same objects in more and more members, against writing them into the federation and each member. With the machine as it is, the
// ratio should not grow.
func TestScale(t *testing.T) {
	for _, count := range []int{5, 10, 20} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			program, federated, members := newScale(t, count)
			var ours, floors []float64
			for run := range 1 + scaleRuns {
				name := fmt.Sprintf("run-%d-", run)
				arrived := arrivals(t, members, name)
				took := measure.Seconds(func() {
					createAll(t, scaleNamespace, name, federated)
					arrived()
				})
				clusters.EventuallySeen(t, bound, "all objects told of: the last patches would slow down the floor", func() (bool, string) {
					pending, known := program.metric("federation_objects", `state="pending"`)
					return known && pending == 0, fmt.Sprint(pending, " pending")
				})
				floor := measure.Seconds(func() { createAll(t, scaleOwn, name, append([]*kubernetes.Clientset{federated}, members...)...) })
				t.Logf("%.2fs, floor %.2fs", took, floor)
				if run > 0 {
					ours, floors = append(ours, took), append(floors, floor)
				}
			}
			measure.Compare("scale",
				measure.Figure{Name: fmt.Sprintf("create %d objects, to the last one in the last of %d members", scaleObjects, count), Unit: " s", Values: ours},
				measure.Figure{Name: fmt.Sprintf("the same written into the federation and %d members", count), Unit: " s", Values: floors}, 1.5)
		})
	}
}

// newScale starts a federation with so many members, and the program.
func newScale(t *testing.T, count int) (p *program, federated *kubernetes.Clientset, members []*kubernetes.Clientset) {
	f := federation(t)
	hook := controlplane.Hook{Federation: "fellowship", Namespace: hostNamespace, Log: slog.New(slog.DiscardHandler)}
	require.NoError(t, hook.Bootstrap(t.Context(), f.env.Config))
	all := []*api{f}
	for i := range count {
		member := startAPI(t)
		f.join(fmt.Sprint("member-", i), member.env.Config.Host, map[string][]byte{"token": member.token("federation"), "ca.crt": member.env.Config.CAData})
		all = append(all, member)
	}
	p = f.run()
	for i := range count {
		f.eventuallyReady(fmt.Sprint("member-", i), v1beta1.ClusterPhaseReady, "ClusterReady")
	}
	for _, a := range all {
		for _, name := range []string{scaleNamespace, scaleOwn} {
			require.NoError(t, client.IgnoreAlreadyExists(a.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})))
		}
		config := rest.CopyConfig(a.env.Config)
		config.QPS = -1
		c, err := kubernetes.NewForConfig(config)
		require.NoError(t, err)
		members = append(members, c)
	}
	return p, members[0], members[1:]
}

// createAll creates the objects in each API, with as many writers at once as there are.
func createAll(t *testing.T, namespace, prefix string, to ...*kubernetes.Clientset) {
	var group errgroup.Group
	group.SetLimit(scaleWriters)
	for i := range scaleObjects {
		group.Go(func() error {
			for _, c := range to {
				object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(prefix, i)}, Data: map[string]string{"key": strings.Repeat("x", 200)}}
				if _, err := c.CoreV1().ConfigMaps(namespace).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
}

// arrivals gives a wait until all objects with a prefix have come to each member.
func arrivals(t *testing.T, members []*kubernetes.Clientset, prefix string) func() {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	var group sync.WaitGroup
	for _, member := range members {
		events, err := member.CoreV1().ConfigMaps(scaleNamespace).Watch(ctx, metav1.ListOptions{})
		require.NoError(t, err)
		group.Go(func() {
			defer events.Stop()
			seen := map[string]bool{}
			for event := range events.ResultChan() {
				if object, ok := event.Object.(*corev1.ConfigMap); ok && strings.HasPrefix(object.Name, prefix) {
					if seen[object.Name] = true; len(seen) == scaleObjects {
						return
					}
				}
			}
			t.Errorf("only %d of %d objects came", len(seen), scaleObjects)
		})
	}
	return func() {
		group.Wait()
		cancel()
	}
}
