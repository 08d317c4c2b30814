package values

// DNSServer is the chart's own DNS: a stock CoreDNS, which answers for the zone and nothing else.
type DNSServer struct {
	ReplicatedComponent
	// How the DNS is reached, by UDP and TCP.
	Service DNSService `json:"service"`
	// The store of the records: an etcd of its own, never the federation's. It has no volume: the federation's controllers rewrite lost records.
	Etcd Component `json:"etcd"`
}

// DNSService is the Service in front of the DNS.
type DNSService struct {
	// LoadBalancer; NodePort, where there are no load balancers; or ClusterIP, which members reach only where they share the host cluster's Service network.
	Type string `json:"type" jsonschema:"enum=LoadBalancer,enum=NodePort,enum=ClusterIP"`
	// Port on every node, with types NodePort and LoadBalancer; 0 lets Kubernetes choose.
	NodePort int32 `json:"nodePort" jsonschema:"minimum=0,maximum=65535"`
	// Annotations of the Service, for the cloud's load balancer.
	Annotations map[string]string `json:"annotations"`
	// Class of the load balancer.
	LoadBalancerClass string `json:"loadBalancerClass"`
	// Client ranges the load balancer lets in, as CIDRs; empty means everybody who reaches it.
	LoadBalancerSourceRanges []string `json:"loadBalancerSourceRanges"`
}

func defaultDNS() DNS {
	return DNS{
		ZoneName: "federation.internal.",
		Provider: "coredns",
		Check:    "warn",
		Server: DNSServer{
			ReplicatedComponent: replicated(component("coredns/coredns", corednsVersion, requests("10m", "48Mi"))),
			Service:             DNSService{Type: "LoadBalancer"},
			Etcd:                component("etcd", etcdVersion, requests("10m", "64Mi")),
		},
	}
}
