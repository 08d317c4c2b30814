// Package memberdns tells the DNS of a member cluster of a federation: it knows where that DNS is configured, tries a new text in the member's own CoreDNS
// before it comes near those who ask, and takes the federation out again. What the text says is package clusterdns's.
//
// join finds out the mode with Detect, and unjoin takes everything back, Place by Place. In between, join and the controllers use Check and Ensure, at the same time if it
// so happens: what somebody else writes meanwhile is never overwritten.
package memberdns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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
	// Namespace of the ConfigMaps.
	Namespace = metav1.NamespaceSystem
	// KubeDNS is the ConfigMap of kube-dns, and its Deployment.
	KubeDNS = "kube-dns"
	// CoreDNS is the ConfigMap of CoreDNS, with its configuration under CorefileKey.
	CoreDNS     = "coredns"
	CorefileKey = "Corefile"
	// CoreDNSCustom is the ConfigMap that platforms import beside the Corefile.
	CoreDNSCustom = "coredns-custom"

	eksComponent    = "eks.amazonaws.com/component"
	openShiftDNSAPI = "/apis/operator.openshift.io"
)

// Fault is what keeps a federation out of a member's DNS until somebody acts. Its text is one sentence that says how.
type Fault struct {
	// Reason is one of v1beta1's, ReasonDNSUnfit or ReasonDNSRefused.
	Reason string
	error
}

// Unwrap gives the cause.
func (f Fault) Unwrap() error { return f.error }

func unfit(err error) error {
	if err == nil {
		return nil
	}
	return Fault{v1beta1.ReasonDNSUnfit, err}
}

// Member is the DNS of a member, and the federation that it is to know.
type Member struct {
	// API is the member's.
	API *kube.API
	// Federation as the member's DNS is to know it, see Facts.For; its FallbackPort is found here.
	Federation clusterdns.Federation
	// Template of the CoreDNS text; empty means the built-in one.
	Template string
	// Owner names a ClusterRole of the member with which go the objects of a trial that was killed; they go with none if there is no such role.
	Owner string
	// Trials remembers verdicts; nil remembers none.
	Trials *Trials
	// Gate is asked directly before each write, whose error it may give; nil lets all pass.
	Gate func(context.Context) error
	Log  *slog.Logger
}

// Detect finds the mode for a member: who owns its DNS configuration and who would write over ours. Where nothing can be done it tells what somebody else is to
// write, and gives ClusterDNSNone. Errors: the template fails; whatever the API answers.
func (m Member) Detect(ctx context.Context) (v1beta1.ClusterDNSMode, error) {
	for _, obj := range []client.Object{&corev1.ConfigMap{}, &appsv1.Deployment{}} {
		err := m.API.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: KubeDNS}, obj)
		if err == nil {
			return v1beta1.ClusterDNSKubeDNS, nil
		}
		if !apierrors.IsNotFound(err) {
			return "", fmt.Errorf("look for kube-dns in the member: %w", err)
		}
	}
	custom, err := m.readConfigMap(ctx, CoreDNSCustom)
	if err != nil {
		return "", err
	}
	server, err := m.readConfigMap(ctx, CoreDNS)
	if err != nil {
		return "", err
	}
	switch {
	case custom != nil || server != nil && importsCustom(server.Data[CorefileKey]):
		return v1beta1.ClusterDNSCustom, nil
	case server != nil && server.Labels[eksComponent] != "":
		return m.byHand("EKS owns the member's Corefile and would write over ours: add these server blocks to the value corefile of its add-on coredns, or set clusterDNS.mode=coredns where you keep the Corefile yourself")
	case server != nil:
		return v1beta1.ClusterDNSCoreDNS, nil
	}
	if _, err := m.API.Raw(ctx, openShiftDNSAPI); err == nil {
		return m.byHand("OpenShift's DNS operator owns the member's Corefile and takes no server blocks: forward the federation's zone with `oc edit dns.operator/default` (spec.servers); names without a zone stay local. The blocks that another CoreDNS would need")
	}
	m.Log.Warn("found neither kube-dns nor CoreDNS in the member's kube-system, so its DNS does not know the federation: say where it is with clusterDNS.mode")
	return v1beta1.ClusterDNSNone, nil
}

// byHand tells what somebody else is to write.
func (m Member) byHand(what string) (v1beta1.ClusterDNSMode, error) {
	text, err := clusterdns.Render(m.Federation, m.Template)
	if err != nil {
		return "", err
	}
	m.Log.Warn(what, "blocks", text)
	return v1beta1.ClusterDNSNone, nil
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

// Check sees that the member's DNS can take the federation, and writes nothing. Errors: a Fault; whatever the API answers.
func (m Member) Check(ctx context.Context, mode v1beta1.ClusterDNSMode) error {
	place := placeOf(mode)
	if place == nil {
		return nil
	}
	if mode != v1beta1.ClusterDNSKubeDNS {
		if err := m.checkShadow(ctx); err != nil {
			return err
		}
	}
	_, err := m.editOf(ctx, place)
	return err
}

// checkShadow sees that no namespace of the member is named like the federation: CoreDNS would take <service>.<federation>.svc for the federation's.
func (m Member) checkShadow(ctx context.Context) error {
	err := m.API.Get(ctx, client.ObjectKey{Name: m.Federation.Name}, &corev1.Namespace{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a namespace %s in the member: %w", m.Federation.Name, err)
	}
	return unfit(fmt.Errorf("the member has a namespace %s, like the federation, so its CoreDNS would no longer find the services there: move them to another namespace, or set clusterDNS.mode=none", m.Federation.Name))
}

// Ensure tells the member's DNS of the federation, and takes back what was told elsewhere under another mode. What CoreDNS is to read is tried first, if it is new to it.
// It gives whether anything changed. Errors: a Fault, with which the DNS is as it was; Gate's; whatever the API answers.
func (m Member) Ensure(ctx context.Context, mode v1beta1.ClusterDNSMode) (changed bool, err error) {
	for i := range Places {
		if Places[i].Mode == mode {
			continue
		}
		taken, err := m.take(ctx, &Places[i])
		if err != nil {
			return changed, err
		}
		changed = changed || taken
	}
	place := placeOf(mode)
	if place == nil {
		return changed, nil
	}
	edit, err := m.editOf(ctx, place)
	if err != nil {
		return changed, err
	}
	if mode != v1beta1.ClusterDNSKubeDNS {
		if err := m.tryEdit(ctx, place, edit); err != nil {
			return changed, err
		}
	}
	put, err := m.editConfigMap(ctx, place.ConfigMap, mode != v1beta1.ClusterDNSCoreDNS, edit)
	return changed || put, err
}

// Status is what the member's DNS is set to after Ensure.
func (m Member) Status(mode v1beta1.ClusterDNSMode) *v1beta1.ClusterDNSStatus {
	if placeOf(mode) == nil {
		return &v1beta1.ClusterDNSStatus{Mode: v1beta1.ClusterDNSNone}
	}
	return &v1beta1.ClusterDNSStatus{
		Mode: mode, Zone: clusterdns.Domain(m.Federation.Zone), Nearest: m.Federation.Nearest(), Nameservers: m.Federation.Nameservers,
	}
}

// Remove takes the federation's text out of one place, and the ConfigMap with it if we made it and nothing else is in it. Errors: a Fault; whatever the API answers.
func (p *Place) Remove(ctx context.Context, member *kube.API, federation string) error {
	_, err := Member{API: member, Federation: clusterdns.Federation{Name: federation}}.take(ctx, p)
	return err
}

func (m Member) take(ctx context.Context, place *Place) (bool, error) {
	return m.editConfigMap(ctx, place.ConfigMap, false, func(data map[string]string) (map[string]string, error) {
		data, err := place.take(data, m.Federation.Name)
		return data, unfit(err)
	})
}

// edit gives the data that a ConfigMap is to have from those it has, which stay as they are.
type edit func(data map[string]string) (map[string]string, error)

// tryEdit has CoreDNS itself read what it is to get, if that is new to it.
func (m Member) tryEdit(ctx context.Context, place *Place, edit edit) error {
	current, err := m.readConfigMap(ctx, place.ConfigMap)
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
	return m.tryCoreDNS(ctx, data)
}

// editOf gives the edit that puts the federation in, after trying it on what is there.
func (m Member) editOf(ctx context.Context, place *Place) (edit, error) {
	var others []string
	if place.Mode == v1beta1.ClusterDNSCustom { // CoreDNS reads the Corefile too
		server, err := m.readConfigMap(ctx, CoreDNS)
		if err != nil {
			return nil, err
		}
		if server != nil { // without what another mode may have put there, since that goes
			data, err := takeCorefile(server.Data, m.Federation.Name)
			if err != nil {
				return nil, unfit(err)
			}
			others = append(others, data[CorefileKey])
		}
	}
	edit := func(data map[string]string) (map[string]string, error) {
		data, err := place.put(data, m.Federation, m.Template, others...)
		return data, unfit(err)
	}
	current, err := m.readConfigMap(ctx, place.ConfigMap)
	if err != nil {
		return nil, err
	}
	if current == nil {
		if place.Mode == v1beta1.ClusterDNSCoreDNS {
			return nil, unfit(fmt.Errorf("clusterDNS.mode is %s, but the member has no ConfigMap %s/%s: set clusterDNS.mode=auto or none", place.Mode, Namespace, CoreDNS))
		}
		current = &corev1.ConfigMap{}
	}
	_, err = edit(current.Data)
	return edit, err
}

func (m Member) readConfigMap(ctx context.Context, name string) (*corev1.ConfigMap, error) {
	configMap := &corev1.ConfigMap{}
	err := m.API.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: name}, configMap)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get ConfigMap %s/%s in the member: %w", Namespace, name, err)
	}
	return configMap, nil
}

// editConfigMap changes a ConfigMap of the member's kube-system that belongs to somebody else: only the version that was read is replaced, so that what they write
// at the same time is not lost. A missing one is made if create says so. It gives whether anything changed.
func (m Member) editConfigMap(ctx context.Context, name string, create bool, edit edit) (changed bool, err error) {
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		configMap := &corev1.ConfigMap{}
		err := m.API.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: name}, configMap)
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
		if m.Gate != nil {
			if err := m.Gate(ctx); err != nil {
				return err
			}
		}
		changed = true
		configMap.Data = data
		switch {
		case missing:
			configMap.ObjectMeta = metav1.ObjectMeta{Namespace: Namespace, Name: name, Labels: map[string]string{v1beta1.LabelManagedBy: v1beta1.ManagedByFedhook}}
			return conflictIfExists(m.API.Create(ctx, configMap, client.FieldOwner(kube.FieldManager)))
		case len(data)+len(configMap.BinaryData) == 0 && configMap.Labels[v1beta1.LabelManagedBy] == v1beta1.ManagedByFedhook:
			version := configMap.ResourceVersion
			return client.IgnoreNotFound(m.API.Delete(ctx, configMap, client.Preconditions{ResourceVersion: &version}))
		}
		return m.API.Update(ctx, configMap, client.FieldOwner(kube.FieldManager))
	})
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return false, fmt.Errorf("change ConfigMap %s/%s in the member: %w", Namespace, name, err)
	}
	return changed && err == nil, err
}

// conflictIfExists makes a lost race to create something one that is run again.
func conflictIfExists(err error) error {
	if apierrors.IsAlreadyExists(err) {
		return apierrors.NewConflict(corev1.Resource("configmaps"), "", err)
	}
	return err
}
