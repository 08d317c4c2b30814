package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fedhelm/fedhelm/pkg/controllers/incarnation"
)

// A federation's API that lost its data knows neither Services nor members, while the members have their copies and serve. So the records stay until a
// member is joined again, and then follow the copies, until the Services are made again too.

var errLost = errors.New("the federation's API has lost its data: the records stay as they are, and the controllers start anew")

// belief is what the records are made of, by what the federation's API said. Only the keeper asks for it.
type belief struct {
	// objects are the Services and Clusters by their UIDs.
	objects map[types.UID]bool
	// members says that there were some since we started.
	members bool
}

// confirm takes what the API says now. If anything of what it said before is gone, it must still be the same API. Error: it is another, or does not
// say; what was believed before stays.
func (c *controller) confirm(ctx context.Context, services []*federatedService, fleet []fleetMember) error {
	now := make(map[types.UID]bool, len(services)+len(fleet))
	for _, s := range services {
		now[s.UID] = true
	}
	for _, f := range fleet {
		now[f.uid] = true
	}
	for uid := range c.belief.objects {
		if now[uid] {
			continue
		}
		if is, err := incarnation.Of(ctx, c.reader); err != nil {
			return fmt.Errorf("asking the federation's API whether it has lost its data or Services and Clusters are really gone: %w", err)
		} else if is != c.incarnation {
			return errLost
		}
		break
	}
	c.belief = belief{objects: now, members: c.belief.members || len(fleet) > 0}
	return nil
}

// remembers says whether the API has or had members, so that it knows of all that is placed there.
func (c *controller) remembers(services []*federatedService) bool {
	return c.belief.members || slices.ContainsFunc(services, func(s *federatedService) bool { return s.ingresses != "" })
}

// left are the Services that the API had before it lost its data and does not know yet, by the clusters that have copies. Only the keeper asks for them.
func (c *controller) left() map[string][]types.NamespacedName {
	left, all := map[string][]types.NamespacedName{}, map[types.NamespacedName]bool{}
	for _, f := range c.currentFleet() {
		left[f.name] = c.leftIn(f.name)
		for _, name := range left[f.name] {
			all[name] = true
		}
	}
	c.stillLeft = all
	return left
}

// reachable are the Services that have records if they have addresses: those that the API has, and those that are left.
func (c *controller) reachable(left map[string][]types.NamespacedName) []*federatedService {
	all := c.federated()
	seen := map[types.NamespacedName]bool{}
	for _, names := range left {
		for _, name := range names {
			if !seen[name] {
				seen[name] = true
				all = append(all, &federatedService{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}, loadBalancer: true})
			}
		}
	}
	return all
}

func (c *controller) leftIn(cluster string) (names []types.NamespacedName) {
	m := c.member(cluster)
	if m == nil {
		return nil
	}
	for _, object := range m.services.GetStore().List() {
		s, ok := object.(*memberService)
		if !ok || !s.loadBalancer || s.source == "" {
			continue
		}
		name := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
		// One that is placed again may be heard of from the member first.
		if (s.source != c.incarnation || c.stillLeft[name]) && c.services.Get(name) == nil {
			names = append(names, name)
		}
	}
	return names
}

// tellLeft says once of each member what it has that nobody asks for any more.
func (c *controller) tellLeft(left map[string][]types.NamespacedName) {
	const reason = "ServicesLeft"
	for _, f := range c.currentFleet() {
		names := left[f.name]
		if len(names) == 0 {
			c.told.news(aboutCluster(f, reason), "", time.Now())
			continue
		}
		first := slices.MinFunc(names, func(a, b types.NamespacedName) int { return cmp.Compare(a.String(), b.String()) })
		c.warnCluster(f.name, reason, "it has %d Services from before the federation's API lost its data, %s first, which have their DNS records still: "+
			"create them in the federation again, or delete them in the cluster", len(names), first)
	}
}
