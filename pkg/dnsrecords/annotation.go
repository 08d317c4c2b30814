package dnsrecords

import (
	"cmp"
	"encoding/json"
	"slices"
)

// Ingresses is what v1beta1.AnnotationServiceIngresses says of one cluster that has a copy of a Service.
type Ingresses struct {
	Cluster string `json:"cluster"`
	// Items are the addresses of the copy's load balancer, none unless the copy has ready endpoints.
	Items []Ingress `json:"items"`
}

// Ingress is an address of a load balancer: an IP or a host name.
type Ingress struct {
	IP       string `json:"ip,omitempty"`
	Hostname string `json:"hostname,omitempty"`
}

type annotation struct {
	Items []Ingresses `json:"items"`
}

// Annotation gives v1's text, in the order of the clusters: {"items":[{"cluster":"gondor","items":[{"ip":"1.2.3.4"}]},{"cluster":"shire","items":[]}]}.
// Without any cluster it is empty.
func Annotation(clusters []Ingresses) string {
	if len(clusters) == 0 {
		return ""
	}
	sorted := slices.SortedFunc(slices.Values(clusters), func(a, b Ingresses) int { return cmp.Compare(a.Cluster, b.Cluster) })
	for i := range sorted {
		if sorted[i].Items == nil {
			sorted[i].Items = []Ingress{}
		}
	}
	text, _ := json.Marshal(annotation{sorted}) // strings cannot fail
	return string(text)
}

// ParseAnnotation reads what Annotation wrote; of a text that somebody else wrote, what can be read.
func ParseAnnotation(text string) []Ingresses {
	var a annotation
	_ = json.Unmarshal([]byte(text), &a)
	return a.Items
}
