package member

import (
	"context"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/memberdns"
)

// modeAuto of the value clusterDNS.mode means the one that is found.
const modeAuto = "auto"

// memberDNS is the member's DNS, which is to know the federation as far as the Cluster that is there (nil for none) and the values tell the member's topology.
func (j *join) memberDNS(current *v1beta1.Cluster) memberdns.Member {
	cluster := j.clusterObject(nil)
	if current != nil {
		cluster.Status = current.Status
	}
	return memberdns.Member{
		API: j.member, Federation: j.facts.For(cluster, j.Values.ClusterDNS.ClusterDomain), Template: j.Values.ClusterDNS.Template, Owner: j.role(), Log: j.Log,
	}
}

// checkClusterDNS finds out where the member's DNS is configured, and sees that it can take the federation.
func (j *join) checkClusterDNS(ctx context.Context) (err error) {
	dns := j.memberDNS(j.before)
	j.mode = v1beta1.ClusterDNSMode(j.Values.ClusterDNS.Mode)
	if j.mode == modeAuto {
		if j.mode, err = dns.Detect(ctx); err != nil {
			return err
		}
	}
	return dns.Check(ctx, j.mode)
}

// EnsureClusterDNS tells the member's DNS of the federation. It comes late, when the controllers have found the member's zone.
func (j *join) EnsureClusterDNS(ctx context.Context) error {
	cluster, err := j.readCluster(ctx)
	if err != nil {
		return err
	}
	dns := j.memberDNS(cluster)
	if j.facts.Late && len(dns.Federation.Nameservers) == 0 && j.mode != v1beta1.ClusterDNSNone {
		j.Log.Info("the address of the federation's name servers is not known yet; the federation's controllers tell the member's DNS when it is")
	}
	changed, err := dns.Ensure(ctx, j.mode)
	if err != nil {
		return err
	}
	j.Log.Info("ensured cluster DNS", "mode", j.mode, "in", "member", "changed", changed)
	return nil
}

// clusterDNS is what the federation's controllers must know to keep the member's DNS up to date.
func (j *join) clusterDNS() *v1beta1.ClusterDNS {
	return &v1beta1.ClusterDNS{Mode: j.mode, ClusterDomain: j.Values.ClusterDNS.ClusterDomain, Template: j.Values.ClusterDNS.Template}
}

// followed says whether the controllers know that already.
func (j *join) followed() bool {
	return j.before != nil && j.before.Spec.ClusterDNS != nil && *j.before.Spec.ClusterDNS == *j.clusterDNS()
}

// EnsureFollowed lets the federation's controllers keep the member's DNS up to date from now on. Earlier they would do what EnsureClusterDNS does, at the same time.
func (j *join) EnsureFollowed(ctx context.Context) error {
	if j.followed() {
		return nil
	}
	return j.ensure(ctx, j.federationAPI, j.clusterObject(j.clusterDNS()))
}
