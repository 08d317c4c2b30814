package memberdns

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/clusterdns"
)

// Place is where a cluster DNS is configured.
type Place struct {
	Mode v1beta1.ClusterDNSMode
	// ConfigMap is its name in Namespace.
	ConfigMap string
	// put gives the ConfigMap's data with the federation's text, take without it. others is what else the DNS server reads.
	put  func(data map[string]string, f clusterdns.Federation, template string, others ...string) (map[string]string, error)
	take func(data map[string]string, federation string) (map[string]string, error)
}

// Places are all of them, so that what was written under another mode can be taken back without a record of it.
var Places = []Place{
	{Mode: v1beta1.ClusterDNSKubeDNS, ConfigMap: KubeDNS, put: putKubeDNS, take: clusterdns.RemoveKubeDNS},
	{Mode: v1beta1.ClusterDNSCustom, ConfigMap: CoreDNSCustom, put: putCustom, take: takeCustom},
	{Mode: v1beta1.ClusterDNSCoreDNS, ConfigMap: CoreDNS, put: putCorefile, take: takeCorefile},
}

// placeOf gives the place of a mode, nil for ClusterDNSNone.
func placeOf(mode v1beta1.ClusterDNSMode) *Place {
	for i := range Places {
		if Places[i].Mode == mode {
			return &Places[i]
		}
	}
	return nil
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
		return nil, fmt.Errorf("ConfigMap %s/%s of the member cannot take federation %s: %w", Namespace, CoreDNSCustom, f.Name, err)
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
	corefile, found := data[CorefileKey]
	if !found {
		return nil, fmt.Errorf("ConfigMap %s/%s of the member has no key %s: set clusterDNS.mode=none or put it right", Namespace, CoreDNS, CorefileKey)
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
	data[CorefileKey], err = clusterdns.InsertBlock(corefile, f.Name, text)
	return data, err
}

func takeCorefile(data map[string]string, federation string) (map[string]string, error) {
	corefile, found := data[CorefileKey]
	if !found {
		return data, nil
	}
	without, err := clusterdns.RemoveBlock(corefile, federation)
	if err != nil {
		return nil, err
	}
	data = maps.Clone(data)
	data[CorefileKey] = without
	return data, nil
}
