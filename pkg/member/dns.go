package member

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/clusterdns"
	"github.com/fedhelm/fedhelm/pkg/kube"
)

// Where a member's cluster DNS reads its configuration.
const (
	kubeSystem      = metav1.NamespaceSystem
	kubeDNS         = "kube-dns"       // ConfigMap of kube-dns, and its Deployment
	coreDNS         = "coredns"        // ConfigMap of CoreDNS
	coreDNSCustom   = "coredns-custom" // ConfigMap that platforms import beside the Corefile
	corefileKey     = "Corefile"
	eksComponent    = "eks.amazonaws.com/component"
	openShiftDNSAPI = "/apis/operator.openshift.io"
)

// Modes of clusterDNS.mode.
const (
	modeAuto    = "auto"
	modeKubeDNS = "kube-dns"
	modeCustom  = "coredns-custom"
	modeCoreDNS = "coredns"
	modeNone    = "none"
)

// dnsTarget is a place where the cluster DNS is configured.
type dnsTarget struct {
	mode      string
	configMap string
	// put gives the ConfigMap's data with the federation's text, take without it. others is what else the DNS server reads.
	put  func(data map[string]string, f clusterdns.Federation, template string, others ...string) (map[string]string, error)
	take func(data map[string]string, federation string) (map[string]string, error)
}

// dnsTargets are all places, so that what was written under another mode can be taken back without a record of it.
var dnsTargets = []dnsTarget{
	{mode: modeKubeDNS, configMap: kubeDNS, put: putKubeDNS, take: clusterdns.RemoveKubeDNS},
	{mode: modeCustom, configMap: coreDNSCustom, put: putCustom, take: takeCustom},
	{mode: modeCoreDNS, configMap: coreDNS, put: putCorefile, take: takeCorefile},
}

// checkClusterDNS finds out where the member's DNS is configured, and sees that it can take the federation.
func (j *join) checkClusterDNS(ctx context.Context) error {
	mode := j.Values.ClusterDNS.Mode
	if mode == modeAuto {
		var err error
		if mode, err = j.detectDNS(ctx); err != nil {
			return err
		}
	}
	j.dns = dnsTarget{mode: modeNone}
	for _, target := range dnsTargets {
		if target.mode == mode {
			j.dns = target
		}
	}
	if mode == modeNone {
		return nil
	}
	if mode != modeKubeDNS {
		if err := j.checkShadow(ctx); err != nil {
			return err
		}
	}
	_, err := j.withDNS(ctx, j.dnsFederation(j.before))
	return err
}

// detectDNS finds the mode for a member: who owns its DNS configuration and who would write over ours.
func (j *join) detectDNS(ctx context.Context) (string, error) {
	deployment := &appsv1.Deployment{}
	for _, obj := range []client.Object{&corev1.ConfigMap{}, deployment} {
		err := j.member.Get(ctx, client.ObjectKey{Namespace: kubeSystem, Name: kubeDNS}, obj)
		if err == nil {
			return modeKubeDNS, nil
		}
		if !apierrors.IsNotFound(err) {
			return "", fmt.Errorf("look for kube-dns in the member: %w", err)
		}
	}
	custom, err := j.readConfigMap(ctx, coreDNSCustom)
	if err != nil {
		return "", err
	}
	server, err := j.readConfigMap(ctx, coreDNS)
	if err != nil {
		return "", err
	}
	switch {
	case custom != nil || server != nil && importsCustom(server.Data[corefileKey]):
		return modeCustom, nil
	case server != nil && server.Labels[eksComponent] != "":
		return j.byHand("EKS owns the member's Corefile and would write over ours: add these server blocks to the value corefile of its add-on coredns, or set clusterDNS.mode=coredns where you keep the Corefile yourself")
	case server != nil:
		return modeCoreDNS, nil
	}
	if _, err := j.member.Raw(ctx, openShiftDNSAPI); err == nil {
		return j.byHand("OpenShift's DNS operator owns the member's Corefile and takes no server blocks: forward the federation's zone with `oc edit dns.operator/default` (spec.servers); names without a zone stay local. The blocks that another CoreDNS would need")
	}
	j.Log.Warn("found neither kube-dns nor CoreDNS in the member's kube-system, so its DNS does not know the federation: say where it is with clusterDNS.mode")
	return modeNone, nil
}

// byHand tells what somebody else is to write.
func (j *join) byHand(what string) (string, error) {
	text, err := clusterdns.Render(j.dnsFederation(j.before), j.Values.ClusterDNS.Template)
	if err != nil {
		return "", err
	}
	j.Log.Warn(what, "blocks", text)
	return modeNone, nil
}

// importsCustom says whether a Corefile imports the keys of coredns-custom beside its server blocks, as k3s and AKS have it, where the ConfigMap need not be there.
func importsCustom(corefile string) bool {
	for line := range strings.Lines(corefile) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "import" && strings.HasSuffix(f[1], "custom/*.server") {
			return true
		}
	}
	return false
}

// checkShadow sees that no namespace of the member is named like the federation: CoreDNS would take <service>.<federation>.svc for the federation's.
func (j *join) checkShadow(ctx context.Context) error {
	err := j.member.Get(ctx, client.ObjectKey{Name: j.federation}, &corev1.Namespace{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a namespace %s in the member: %w", j.federation, err)
	}
	return fmt.Errorf("the member has a namespace %s, like the federation, so its CoreDNS would no longer find the services there: move them to another namespace, or set clusterDNS.mode=none", j.federation)
}

// dnsFederation is the federation as the member's DNS is to know it, as near as the member's topology is known: by the values, or else by what the controllers
// found on its nodes. A member with several zones is known by its region.
func (j *join) dnsFederation(cluster *v1beta1.Cluster) clusterdns.Federation {
	f := clusterdns.Federation{
		Name: j.federation, Zone: j.facts.zone, Nameservers: j.facts.nameservers, ClusterDomain: j.Values.ClusterDNS.ClusterDomain,
		MemberRegion: j.Values.Region,
	}
	zones := j.Values.Zones
	if cluster != nil {
		if f.MemberRegion == "" {
			f.MemberRegion = cluster.Status.Region
		}
		if len(zones) == 0 {
			zones = cluster.Status.Zones
		}
	}
	if len(zones) == 1 {
		f.MemberZone = zones[0]
	}
	return f
}

// EnsureClusterDNS tells the member's DNS of the federation, and takes back what was told elsewhere under another mode. It comes last, when the controllers have
// found the member's zone.
func (j *join) EnsureClusterDNS(ctx context.Context) error {
	for _, target := range dnsTargets {
		if target.mode == j.dns.mode {
			continue
		}
		if err := takeDNS(ctx, j.member, target, j.federation); err != nil {
			return err
		}
	}
	if j.dns.mode == modeNone {
		return nil
	}
	cluster, err := j.readCluster(ctx)
	if err != nil {
		return err
	}
	edit, err := j.withDNS(ctx, j.dnsFederation(cluster))
	if err != nil {
		return err
	}
	if j.dns.mode != modeKubeDNS {
		if err := j.tryClusterDNS(ctx, edit); err != nil {
			return err
		}
	}
	changed, err := editConfigMap(ctx, j.member, j.dns.configMap, j.dns.mode != modeCoreDNS, edit)
	if err != nil {
		return err
	}
	j.Log.Info("ensured cluster DNS", "object", "ConfigMap "+kubeSystem+"/"+j.dns.configMap, "in", "member", "changed", changed)
	return nil
}

// tryClusterDNS has CoreDNS itself read what it is to get, if that is new to it.
func (j *join) tryClusterDNS(ctx context.Context, edit func(map[string]string) (map[string]string, error)) error {
	current, err := j.readConfigMap(ctx, j.dns.configMap)
	if err != nil {
		return err
	}
	if current == nil {
		current = &corev1.ConfigMap{}
	}
	data, err := edit(current.Data)
	if err != nil || maps.Equal(data, current.Data) {
		return err
	}
	return j.tryCoreDNS(ctx, data)
}

// withDNS gives the edit that puts the federation in, after trying it on what is there.
func (j *join) withDNS(ctx context.Context, f clusterdns.Federation) (func(map[string]string) (map[string]string, error), error) {
	var others []string
	if j.dns.mode == modeCustom { // CoreDNS reads the Corefile too
		server, err := j.readConfigMap(ctx, coreDNS)
		if err != nil {
			return nil, err
		}
		if server != nil { // without what another mode may have put there, since that goes
			data, err := takeCorefile(server.Data, f.Name)
			if err != nil {
				return nil, err
			}
			others = append(others, data[corefileKey])
		}
	}
	edit := func(data map[string]string) (map[string]string, error) {
		return j.dns.put(data, f, j.Values.ClusterDNS.Template, others...)
	}
	current, err := j.readConfigMap(ctx, j.dns.configMap)
	if err != nil {
		return nil, err
	}
	if current == nil {
		if j.dns.mode == modeCoreDNS {
			return nil, fmt.Errorf("clusterDNS.mode is %s, but the member has no ConfigMap %s/%s: set clusterDNS.mode=auto or none", modeCoreDNS, kubeSystem, coreDNS)
		}
		current = &corev1.ConfigMap{}
	}
	_, err = edit(current.Data)
	return edit, err
}

func (j *join) readConfigMap(ctx context.Context, name string) (*corev1.ConfigMap, error) {
	configMap := &corev1.ConfigMap{}
	err := j.member.Get(ctx, client.ObjectKey{Namespace: kubeSystem, Name: name}, configMap)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get ConfigMap %s/%s in the member: %w", kubeSystem, name, err)
	}
	return configMap, nil
}

func putKubeDNS(data map[string]string, f clusterdns.Federation, _ string, _ ...string) (map[string]string, error) {
	return clusterdns.MergeKubeDNS(data, f)
}

func putCustom(data map[string]string, f clusterdns.Federation, template string, others ...string) (map[string]string, error) {
	key := clusterdns.CustomKey(f.Name)
	servers := slices.Clone(others)
	for other, text := range data {
		if other == key {
			continue
		}
		others = append(others, text)
		if strings.HasSuffix(other, ".server") {
			servers = append(servers, text)
		}
	}
	f.FallbackPort = clusterdns.FallbackPort(data[key], others...)
	text, err := clusterdns.Render(f, template)
	if err != nil {
		return nil, err
	}
	if err := clusterdns.CheckServers(text, servers...); err != nil {
		return nil, fmt.Errorf("ConfigMap %s/%s of the member cannot take federation %s: %w", kubeSystem, coreDNSCustom, f.Name, err)
	}
	data = maps.Clone(data)
	if data == nil {
		data = map[string]string{}
	}
	data[key] = text
	return data, nil
}

func takeCustom(data map[string]string, federation string) (map[string]string, error) {
	data = maps.Clone(data)
	delete(data, clusterdns.CustomKey(federation))
	return data, nil
}

func putCorefile(data map[string]string, f clusterdns.Federation, template string, _ ...string) (map[string]string, error) {
	corefile, found := data[corefileKey]
	if !found {
		return nil, fmt.Errorf("ConfigMap %s/%s of the member has no key %s: set clusterDNS.mode=none or put it right", kubeSystem, coreDNS, corefileKey)
	}
	current, _, err := clusterdns.Block(corefile, f.Name)
	if err != nil {
		return nil, err
	}
	rest, err := clusterdns.RemoveBlock(corefile, f.Name)
	if err != nil {
		return nil, err
	}
	f.FallbackPort = clusterdns.FallbackPort(current, rest)
	text, err := clusterdns.Render(f, template)
	if err != nil {
		return nil, err
	}
	data = maps.Clone(data)
	data[corefileKey], err = clusterdns.InsertBlock(corefile, f.Name, text)
	return data, err
}

func takeCorefile(data map[string]string, federation string) (map[string]string, error) {
	corefile, found := data[corefileKey]
	if !found {
		return data, nil
	}
	without, err := clusterdns.RemoveBlock(corefile, federation)
	if err != nil {
		return nil, err
	}
	data = maps.Clone(data)
	data[corefileKey] = without
	return data, nil
}

// takeDNS takes the federation's text out of one place, and the ConfigMap with it if we made it and nothing else is in it.
func takeDNS(ctx context.Context, member *kube.API, target dnsTarget, federation string) error {
	_, err := editConfigMap(ctx, member, target.configMap, false, func(data map[string]string) (map[string]string, error) {
		return target.take(data, federation)
	})
	return err
}

// editConfigMap changes a ConfigMap of the member's kube-system that belongs to somebody else: only the version that was read is replaced, so that what they write
// at the same time is not lost. A missing one is made if create says so. It gives whether anything changed.
func editConfigMap(ctx context.Context, member *kube.API, name string, create bool, edit func(map[string]string) (map[string]string, error)) (changed bool, err error) {
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		configMap := &corev1.ConfigMap{}
		err := member.Get(ctx, client.ObjectKey{Namespace: kubeSystem, Name: name}, configMap)
		missing := apierrors.IsNotFound(err)
		if missing && !create {
			return nil
		}
		if err != nil && !missing {
			return err
		}
		data, err := edit(configMap.Data)
		if err != nil {
			return err
		}
		if maps.Equal(data, configMap.Data) {
			return nil
		}
		changed = true
		configMap.Data = data
		switch {
		case missing:
			configMap.ObjectMeta = metav1.ObjectMeta{Namespace: kubeSystem, Name: name, Labels: map[string]string{v1beta1.LabelManagedBy: v1beta1.ManagedByFedhook}}
			return conflictIfExists(member.Create(ctx, configMap, client.FieldOwner(kube.FieldManager)))
		case len(data)+len(configMap.BinaryData) == 0 && configMap.Labels[v1beta1.LabelManagedBy] == v1beta1.ManagedByFedhook:
			version := configMap.ResourceVersion
			return client.IgnoreNotFound(member.Delete(ctx, configMap, client.Preconditions{ResourceVersion: &version}))
		}
		return member.Update(ctx, configMap, client.FieldOwner(kube.FieldManager))
	})
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return false, fmt.Errorf("change ConfigMap %s/%s in the member: %w", kubeSystem, name, err)
	}
	return changed, err
}

// conflictIfExists makes a lost race to create something one that is run again.
func conflictIfExists(err error) error {
	if apierrors.IsAlreadyExists(err) {
		return apierrors.NewConflict(corev1.Resource("configmaps"), "", err)
	}
	return err
}
