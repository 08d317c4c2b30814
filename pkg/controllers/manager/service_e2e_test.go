//go:build e2e

package manager_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/matrix"
)

const (
	atGondor = "10.1.0.1"
	atShire  = "10.2.0.1"
)

// Names that lead to gondor, shire or both, where both, or one of them, has the Service.
var (
	both = map[string]string{"": "A 10.1.0.1 10.2.0.1", "west": "A 10.1.0.1", "west-a.west": "A 10.1.0.1", "west-b.west": "A 10.1.0.1", "east": "A 10.2.0.1", "east-a.east": "A 10.2.0.1"}
	// In the names that CNAMEs lead to, web stands for the Service.
	gondorAlone = map[string]string{"": "A 10.1.0.1", "west": "A 10.1.0.1", "west-a.west": "A 10.1.0.1", "west-b.west": "A 10.1.0.1",
		"east":        "CNAME web.shop.fellowship.svc.federation.internal A 10.1.0.1",
		"east-a.east": "CNAME web.shop.fellowship.svc.east.federation.internal CNAME web.shop.fellowship.svc.federation.internal A 10.1.0.1"}
	shireAlone = map[string]string{"": "A 10.2.0.1", "east": "A 10.2.0.1", "east-a.east": "A 10.2.0.1",
		"west":        "CNAME web.shop.fellowship.svc.federation.internal A 10.2.0.1",
		"west-a.west": "CNAME web.shop.fellowship.svc.west.federation.internal CNAME web.shop.fellowship.svc.federation.internal A 10.2.0.1"}
)

// ingresses is a Service's annotation.
func ingresses(o *unstructured.Unstructured) string {
	return o.GetAnnotations()[v1beta1.AnnotationServiceIngresses]
}

// eventuallySaid waits for an Event in the federation that is about an object and contains a text.
func (e *reachedEarth) eventuallySaid(reason, object, text string) {
	e.Helper()
	admin := e.kubeconfig("admin", "system:masters")
	clusters.EventuallySeen(e.T, bound, reason, func() (bool, string) {
		out := kubectl(e.T, admin, "get", "events", "-A", "-o", `jsonpath={range .items[*]}{.reason} {.involvedObject.kind}/{.involvedObject.name} {.message}{"\n"}{end}`)
		return slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
			return strings.HasPrefix(line, reason+" "+object+" ") && strings.Contains(line, text)
		}), out
	})
}

// A Service that is in both members is found at all levels, and what happens to it, to its endpoints, to the members, to the zone and to the program
// is followed.
func TestFederatedServices(t *testing.T) {
	names := startResolver(t)
	args := []string{"--load-balancer-resolver=" + names.address}
	e := newReachedEarth(t, args...)
	web := object(t, `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}}`)
	e.create(loadBalancer("web"))
	e.gondor.balance("web", atGondor)
	e.shire.balance("web", atShire)

	t.Run("without endpoints it has no name", func(t *testing.T) {
		e.eventually("annotated", web, func(o *unstructured.Unstructured) bool {
			return ingresses(o) == `{"items":[{"cluster":"gondor","items":[]},{"cluster":"shire","items":[]}]}`
		})
		e.zone.eventuallyReached("web", gone)
		require.Empty(t, e.zone.keys())
	})

	t.Run("in both members", func(t *testing.T) {
		e.gondor.endpoints("web", true)
		e.shire.endpoints("web", true)
		e.zone.eventuallyReached("web", both)
		e.eventually("annotated", web, func(o *unstructured.Unstructured) bool {
			return ingresses(o) == `{"items":[{"cluster":"gondor","items":[{"ip":"10.1.0.1"}]},{"cluster":"shire","items":[{"ip":"10.2.0.1"}]}]}`
		})
		for _, member := range e.members() {
			there, err := member.read(web)
			require.NoError(t, err)
			require.Empty(t, ingresses(there), "the annotation is the federation's own")
		}
		e.eventually("summed", web, func(o *unstructured.Unstructured) bool {
			all, _, _ := unstructured.NestedSlice(o.Object, "status", "loadBalancer", "ingress")
			return len(all) == 2
		})
	})

	t.Run("endpoints go and come", func(t *testing.T) {
		e.shire.endpoints("web", false)
		e.zone.eventuallyReached("web", gondorAlone)
		e.gondor.endpoints("web", false)
		e.zone.eventuallyReached("web", gone)
		e.shire.endpoints("web", true)
		e.zone.eventuallyReached("web", shireAlone)
		e.gondor.endpoints("web", true)
		e.zone.eventuallyReached("web", both)
	})

	t.Run("its endpoints are another Service's, and its own again", func(t *testing.T) {
		slice := object(t, `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-x1, namespace: shop}}`)
		of := func(service string) {
			t.Helper()
			require.NoError(t, e.shire.Patch(t.Context(), slice.DeepCopy(), merge(fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, discoveryv1.LabelServiceName, service))))
		}
		of("other")
		e.zone.eventuallyReached("web", gondorAlone)
		of("web")
		e.zone.eventuallyReached("web", both)
	})

	t.Run("both families", func(t *testing.T) {
		e.gondor.balance("web", atGondor, "fd00::1")
		clusters.EventuallySeen(t, bound, "AAAA", func() (bool, string) {
			got := ask(e.zone.server, serviceName("web", "west"), dns.TypeAAAA)
			return got == "AAAA fd00::1", got
		})
		e.zone.eventuallyReached("web", both)
		e.gondor.balance("web", atGondor)
		clusters.EventuallySeen(t, bound, "no AAAA", func() (bool, string) {
			got := ask(e.zone.server, serviceName("web", "west"), dns.TypeAAAA)
			return got == "NODATA", got
		})
	})

	t.Run("placed in one member only, and in both again", func(t *testing.T) {
		selector := func(text string) {
			t.Helper()
			require.NoError(t, e.Patch(t.Context(), web.DeepCopy(), merge(fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1beta1.AnnotationClusterSelector, text))))
		}
		selector(`[{"key":"pci","operator":"=","values":["true"]}]`)
		e.zone.eventuallyReached("web", gondorAlone)
		e.eventually("annotated", web, func(o *unstructured.Unstructured) bool {
			return ingresses(o) == `{"items":[{"cluster":"gondor","items":[{"ip":"10.1.0.1"}]}]}`
		})
		selector("")
		e.shire.balance("web", atShire)
		e.zone.eventuallyReached("web", both)
	})

	t.Run("of another type, and a load balancer again", func(t *testing.T) {
		require.NoError(t, e.Patch(t.Context(), web.DeepCopy(), merge(`{"spec":{"type":"ClusterIP"}}`)))
		e.zone.eventuallyReached("web", gone)
		e.eventually("not annotated", web, func(o *unstructured.Unstructured) bool { return ingresses(o) == "" })
		require.NoError(t, e.Patch(t.Context(), web.DeepCopy(), merge(`{"spec":{"type":"LoadBalancer"}}`)))
		e.gondor.balance("web", atGondor)
		e.shire.balance("web", atShire)
		e.zone.eventuallyReached("web", both)
	})

	t.Run("a load balancer with a host name", func(t *testing.T) {
		names.set(false, "lb.gondor.example", "10.1.0.2")
		e.gondor.balance("web", "lb.gondor.example")
		e.zone.eventually(serviceName("web", "west"), "A 10.1.0.2")
		names.set(false, "lb.gondor.example", "10.1.0.3", "10.1.0.4")
		e.zone.eventually(serviceName("web", "west"), "A 10.1.0.3 10.1.0.4")
		e.eventually("annotated", web, func(o *unstructured.Unstructured) bool {
			return strings.Contains(ingresses(o), `{"cluster":"gondor","items":[{"hostname":"lb.gondor.example"}]}`)
		})
		names.set(true, "lb.gondor.example")
		clusters.EventuallySeen(t, bound, "two more looks at the zone", e.program.moreOf("federation_dns_sync_duration_seconds_count", `result="written"`, 2))
		require.Equal(t, "A 10.1.0.3 10.1.0.4", e.zone.ask(serviceName("web", "west")), "a resolver that fails changes nothing")
		names.set(false, "lb.gondor.example")
		e.zone.eventuallyReached("web", shireAlone)
		e.gondor.balance("web", atGondor)
		e.zone.eventuallyReached("web", both)
	})

	t.Run("lost records come back, strangers' stay", func(t *testing.T) {
		for _, key := range e.zone.keys() {
			_, err := e.zone.store.Delete(t.Context(), key)
			require.NoError(t, err)
		}
		require.Equal(t, "NXDOMAIN", e.zone.ask(serviceName("web", "")))
		e.zone.eventuallyReached("web", both)
		require.Equal(t, "A 192.0.2.1", e.zone.ask("ready."+zoneName))
	})

	t.Run("killed and started again, it takes nothing away", func(t *testing.T) {
		stop := e.zone.watchOver(serviceName("web", ""), both[""])
		e.program.end(syscall.SIGKILL)
		e.program = e.run(append(e.zone.flags(), args...)...)
		clusters.EventuallySeen(t, bound, "three looks at the zone", e.program.moreOf("federation_dns_sync_duration_seconds_count", `result="written"`, 3))
		require.Empty(t, stop(), "what it answered besides")
		changes, _ := e.program.metric("federation_dns_changes_total", "")
		require.Zero(t, changes)

		e.program.end(syscall.SIGKILL)
		e.shire.endpoints("web", false)
		e.program = e.run(append(e.zone.flags(), args...)...)
		e.zone.eventuallyReached("web", gondorAlone)
		e.shire.endpoints("web", true)
		e.zone.eventuallyReached("web", both)
	})

	t.Run("started while a host name is not answered for, it keeps what the zone has", func(t *testing.T) {
		matrix.WholeOnly(t, "a start waits half a minute for the answer")
		names.set(false, "lb.gondor.example", "10.1.0.2")
		e.gondor.balance("web", "lb.gondor.example")
		e.zone.eventually(serviceName("web", "west"), "A 10.1.0.2")
		names.set(true, "lb.gondor.example")
		e.program.end(syscall.SIGKILL)
		stop := e.zone.watchOver(serviceName("web", "west"), "A 10.1.0.2")
		e.program = e.run(append(e.zone.flags(), args...)...)
		clusters.EventuallySeen(t, 2*bound, "three looks at the zone", e.program.moreOf("federation_dns_sync_duration_seconds_count", `result="written"`, 3))
		require.Empty(t, stop(), "what it answered besides")
		e.shire.endpoints("web", false)
		e.zone.eventually(serviceName("web", "east"), "CNAME web.shop.fellowship.svc.federation.internal A 10.1.0.2 10.2.0.1")

		names.set(false, "lb.gondor.example", "10.1.0.3")
		e.zone.eventually(serviceName("web", ""), "A 10.1.0.3")
		names.set(false, "lb.gondor.example")
		e.zone.eventuallyReached("web", gone)
		e.gondor.balance("web", atGondor)
		e.shire.endpoints("web", true)
		e.zone.eventuallyReached("web", both)
	})

	t.Run("the provider is away for long", func(t *testing.T) {
		matrix.WholeOnly(t, "four failures with their back-off take most of a minute")
		failed := func() float64 {
			n, _ := e.program.metric("federation_dns_sync_duration_seconds_count", `result="failed"`)
			return n
		}
		e.zone.etcd.stop()
		e.shire.endpoints("web", false)
		before, began := failed(), time.Now()
		clusters.EventuallySeen(t, 2*bound, "four failures", func() (bool, string) {
			e.shire.endpoints("web", int(time.Since(began).Seconds())%2 == 0) // what changes meanwhile makes it no busier
			return failed() >= before+4, fmt.Sprint(failed() - before)
		})
		e.eventuallySaid("DNSRecordsFailed", "Namespace/federation-system", "the records in zone federation.internal. are not written")
		e.eventuallySaid("DNSRecordsFailed", "Service/web", "are not written")
		tries := failed() - before
		took := time.Since(began)
		t.Logf("%v tries in %v", tries, took)
		require.LessOrEqual(t, tries, 4+took.Seconds()/8)
		e.shire.endpoints("web", false)
		e.zone.etcd.start()
		e.zone.eventuallyReached("web", gondorAlone)
		e.eventuallySaid("DNSRecordsWritten", "Namespace/federation-system", "written again")
		e.shire.endpoints("web", true)
		e.zone.eventuallyReached("web", both)
	})

	t.Run("a configuration that cannot be read changes nothing, and the next is taken", func(t *testing.T) {
		e.zone.configure("etcd-endpoint = " + e.zone.endpoint + "\n")
		e.eventuallySaid("DNSRecordsFailed", "Namespace/federation-system", "etcd-endpoint")
		require.Equal(t, both[""], e.zone.ask(serviceName("web", "")))
		e.shire.endpoints("web", false)
		e.zone.configure("etcd-endpoints = " + e.zone.endpoint + "\n")
		e.zone.eventuallyReached("web", gondorAlone)
		e.shire.endpoints("web", true)
		e.zone.eventuallyReached("web", both)
	})

	t.Run("a member goes offline and comes back", func(t *testing.T) {
		e.shire.stop()
		e.zone.eventuallyReached("web", gondorAlone)
		e.eventually("annotated", web, func(o *unstructured.Unstructured) bool {
			return ingresses(o) == `{"items":[{"cluster":"gondor","items":[{"ip":"10.1.0.1"}]},{"cluster":"shire","items":[]}]}`
		})
		e.shire.start()
		e.zone.eventuallyReached("web", both)
	})

	t.Run("a member without topology", func(t *testing.T) {
		require.NoError(t, e.shire.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "hobbiton"}}))
		e.zone.eventuallyReached("web", map[string]string{"": both[""], "west": "A 10.1.0.1", "east": "NXDOMAIN", "east-a.east": "NXDOMAIN"})
		e.eventuallySaid("TopologyMissing", "Cluster/shire", "topology.kubernetes.io/region")
		e.shire.node("hobbiton", "east", "east-a")
		e.zone.eventuallyReached("web", both)
	})

	t.Run("a name that is too long", func(t *testing.T) {
		long := strings.Repeat("x", 63)
		require.NoError(t, e.Patch(t.Context(), e.cluster("gondor"), merge(fmt.Sprintf(`{"spec":{"region":"west","zones":["west-a","west-b",%q,%q]}}`, long, strings.Repeat("z", 60)+".y"))))
		e.create(loadBalancer(long))
		e.gondor.balance(long, atGondor)
		e.gondor.endpoints(long, true)
		e.zone.eventually(serviceName(long, ""), "A 10.1.0.1")
		require.NoError(t, e.Patch(t.Context(), e.cluster("gondor"), merge(fmt.Sprintf(`{"spec":{"region":%q}}`, strings.Repeat("r", 63)))))
		e.eventuallySaid("DNSNameUnusable", "Service/"+long, "give the Service or its namespace a shorter name")
		require.NoError(t, e.Patch(t.Context(), e.cluster("gondor"), merge(`{"spec":{"region":null,"zones":null}}`)))
		require.NoError(t, e.Delete(t.Context(), loadBalancer(long)))
		e.zone.eventually(serviceName(long, ""), "NXDOMAIN")
		e.zone.eventuallyReached("web", both)
	})

	t.Run("unjoined, no record is left of a member", func(t *testing.T) {
		require.NoError(t, e.Delete(t.Context(), e.cluster("shire")))
		e.zone.eventuallyReached("web", map[string]string{"": "A 10.1.0.1", "west": "A 10.1.0.1", "west-a.west": "A 10.1.0.1", "east": "NXDOMAIN", "east-a.east": "NXDOMAIN"})
		e.eventually("annotated", web, func(o *unstructured.Unstructured) bool {
			return ingresses(o) == `{"items":[{"cluster":"gondor","items":[{"ip":"10.1.0.1"}]}]}`
		})
	})

	t.Run("deleted, no record is left", func(t *testing.T) {
		require.NoError(t, e.Delete(t.Context(), web.DeepCopy(), client.PropagationPolicy("Background")))
		e.zone.eventuallyReached("web", gone)
		clusters.EventuallySeen(t, bound, "no key left", func() (bool, string) {
			left := e.zone.keys()
			return len(left) == 0, fmt.Sprint(left)
		})
		require.Equal(t, "A 192.0.2.1", e.zone.ask("ready."+zoneName))
		e.eventuallyGone(web)
	})

	t.Run("the rights in package rbac are enough", e.program.requireEnoughRights)
}

// An API that lost its data knows neither Services nor members, while those serve. Their names stay until members are joined again, follow what these
// have, and then the Services that are made again.
func TestRecordsOfLostData(t *testing.T) {
	e := newReachedEarth(t)
	for _, name := range []string{"web", "blog"} {
		e.create(loadBalancer(name))
		e.gondor.balance(name, atGondor)
		e.shire.balance(name, atShire)
		e.gondor.endpoints(name, true)
		e.shire.endpoints(name, true)
		e.zone.eventuallyReached(name, map[string]string{"": both[""]})
	}

	stop := e.zone.watchOver(serviceName("web", ""), both[""])
	e.loseData()
	e.bootstrap()
	e.program.eventuallyEnds()
	e.program = e.run(e.zone.flags()...)
	clusters.EventuallySeen(t, bound, "three looks at the zone", e.program.moreOf("federation_dns_sync_duration_seconds_count", `result="written"`, 3))
	require.Empty(t, stop(), "what it answered besides")

	e.joinMember("gondor")
	e.zone.eventuallyReached("web", map[string]string{"": "A 10.1.0.1", "west": "A 10.1.0.1", "west-a.west": "A 10.1.0.1", "east": "NXDOMAIN", "east-a.east": "NXDOMAIN"})
	e.eventuallySaid("ServicesLeft", "Cluster/gondor", "it has 2 Services from before the federation's API lost its data, shop/blog first")
	e.joinMember("shire")
	e.zone.eventuallyReached("web", both)
	e.gondor.endpoints("web", false)
	e.zone.eventuallyReached("web", shireAlone)
	e.gondor.endpoints("web", true)
	e.zone.eventuallyReached("web", both)

	stop = e.zone.watchOver(serviceName("web", ""), both[""])
	e.create(object(t, shop))
	e.create(loadBalancer("web"))
	web := object(t, `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}}`)
	e.eventually("annotated", web, func(o *unstructured.Unstructured) bool {
		return ingresses(o) == `{"items":[{"cluster":"gondor","items":[{"ip":"10.1.0.1"}]},{"cluster":"shire","items":[{"ip":"10.2.0.1"}]}]}`
	})
	require.Empty(t, stop(), "what it answered besides")
	require.NoError(t, e.Delete(t.Context(), web.DeepCopy(), client.PropagationPolicy("Background")))
	e.zone.eventuallyReached("web", gone)

	require.Equal(t, both[""], e.zone.ask(serviceName("blog", "")))
	for _, member := range e.members() {
		require.NoError(t, member.Delete(t.Context(), loadBalancer("blog")))
	}
	e.zone.eventuallyReached("blog", gone)
	require.Empty(t, e.zone.keys())
	t.Run("the rights in package rbac are enough", e.program.requireEnoughRights)
}

// Without the controller of Services, or that of their records, nothing of theirs is written.
func TestServiceControllersTurnedOff(t *testing.T) {
	e := newReachedEarth(t, "--controllers=service-dns=false")
	e.create(loadBalancer("web"))
	e.gondor.balance("web", atGondor)
	e.gondor.endpoints("web", true)
	web := object(t, `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}}`)
	e.eventually("annotated", web, func(o *unstructured.Unstructured) bool { return strings.Contains(ingresses(o), atGondor) })
	require.Empty(t, e.zone.keys())

	e.program.end(syscall.SIGTERM)
	require.NoError(t, e.Patch(t.Context(), web.DeepCopy(), merge(fmt.Sprintf(`{"metadata":{"annotations":{%q:null}}}`, v1beta1.AnnotationServiceIngresses))))
	e.program = e.run(append(e.zone.flags(), "--controllers=services=false")...)
	other := object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: other, namespace: shop}}`)
	e.create(other.DeepCopy())
	e.gondor.eventuallyThere(other)
	e.create(loadBalancer("web2"))
	clusters.EventuallySeen(t, bound, "five more probes", e.program.moreOf("federation_cluster_probe_duration_seconds_count", "", 5))
	there, err := e.read(web)
	require.NoError(t, err)
	require.Empty(t, ingresses(there))
	_, err = e.gondor.read(object(t, `{apiVersion: v1, kind: Service, metadata: {name: web2, namespace: shop}}`))
	require.True(t, apierrors.IsNotFound(err))
	require.Empty(t, e.zone.keys())
}

// moreOf is a condition: a metric has grown by n since.
func (p *program) moreOf(name, label string, n float64) func() (bool, string) {
	from, _ := p.metric(name, label)
	return func() (bool, string) {
		now, _ := p.metric(name, label)
		return now >= from+n, fmt.Sprint(now - from)
	}
}

// watchOver asks for a name until the function that it gives is called, which says what was answered besides what was wanted.
func (z *zone) watchOver(name, want string) func() []string {
	var others []string
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			if got := z.ask(name); got != want && !slices.Contains(others, got) {
				others = append(others, got)
			}
		}
	}()
	return func() []string {
		close(stop)
		<-done
		return others
	}
}
