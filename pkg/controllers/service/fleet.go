package service

import (
	"cmp"
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

// fleetMember is a Cluster as far as its Services go by it.
type fleetMember struct {
	name   string
	uid    types.UID
	region string
	zones  []string
	// ready says that the cluster controller finds it well, leaving that it is being unjoined.
	ready, leaving bool
}

func (f fleetMember) healthy() bool { return f.ready && !f.leaving }

// fleetReconciler follows the Clusters.
type fleetReconciler struct{ *controller }

// addFleet adds the controller that follows the Clusters and the members' clients.
func (c *controller) addFleet(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("service-members").For(&v1beta1.Cluster{}).WatchesRawSource(c.registry.Changes()).Complete(&fleetReconciler{c})
}

// Reconcile follows a Cluster that came, changed or went, or whose client did.
func (r *fleetReconciler) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	select {
	case <-r.started:
	case <-ctx.Done():
		return ctrl.Result{}, nil
	}
	var list v1beta1.ClusterList
	if err := r.clusters.List(ctx, &list); err != nil {
		return ctrl.Result{}, err
	}
	r.follow(list.Items)
	return ctrl.Result{}, nil
}

// follow keeps what Services go by, watches the members that are well, and looks at all Services if anything changed. A member that was not well is
// watched anew: what was known of it before is of no use. That of one with other credentials is, until it has been read with them.
func (c *controller) follow(list []v1beta1.Cluster) {
	fleet := make([]fleetMember, 0, len(list))
	for i := range list {
		s := &list[i].Status
		fleet = append(fleet, fleetMember{name: list[i].Name, uid: list[i].UID, region: s.Region, zones: slices.Clone(s.Zones),
			ready: meta.IsStatusConditionTrue(s.Conditions, v1beta1.ClusterReady), leaving: list[i].DeletionTimestamp != nil})
	}
	slices.SortFunc(fleet, func(a, b fleetMember) int { return cmp.Compare(a.name, b.name) })

	c.mutex.Lock()
	same := slices.EqualFunc(c.fleet, fleet, func(a, b fleetMember) bool {
		return a.name == b.name && a.uid == b.uid && a.region == b.region && slices.Equal(a.zones, b.zones) && a.ready == b.ready && a.leaving == b.leaving
	})
	c.fleet = fleet
	members := map[string]*member{}
	for _, f := range fleet {
		client, before := c.registry.Get(f.name), c.members[f.name]
		switch {
		case !f.healthy() || client == nil:
		case before != nil && before.client == client:
			members[f.name] = before
		default:
			m, err := c.startMember(client, before)
			if err != nil {
				c.log.Error(err, "cannot watch the member", "cluster", f.name)
				continue
			}
			members[f.name], same = m, false
		}
	}
	for name, m := range c.members {
		if members[name] != m {
			m.stop()
			same = false
		}
	}
	c.members = members
	c.mutex.Unlock()
	if !same {
		c.changedAll()
		c.tellTopology(fleet)
	}
}

// tellTopology says once of each member what its nodes' labels lack.
func (c *controller) tellTopology(fleet []fleetMember) {
	if c.keeper == nil {
		return
	}
	for _, f := range fleet {
		if !f.healthy() {
			continue
		}
		const how = "label its nodes, or give %s in its release's values"
		switch {
		case f.region == "":
			c.warnCluster(f.name, "TopologyMissing", "its nodes have no label topology.kubernetes.io/region, so its Services have no DNS names of a zone or region, "+
				"and its clients are given any cluster's address: "+how, "region")
		case len(f.zones) == 0:
			c.warnCluster(f.name, "TopologyMissing", "its nodes have no label topology.kubernetes.io/zone, so its Services have no DNS names of a zone, "+
				"and its clients are given any address of the region: "+how, "zones")
		default:
			c.told.news(aboutCluster(f, "TopologyMissing"), "", time.Now())
		}
	}
}

// member is what is known of a cluster, nil unless it is well and has been read.
func (c *controller) member(name string) *member {
	c.mutex.RLock()
	defer c.mutex.RUnlock()
	return c.members[name].known()
}

func (c *controller) currentFleet() []fleetMember {
	c.mutex.RLock()
	defer c.mutex.RUnlock()
	return c.fleet
}
