// Package service says where a federated Service is reached: in v1's annotation on it, and in the federation DNS.
//
// In each member it watches the copies of Services and their EndpointSlices (member.go). What they say of a Service goes into its annotation
// (annotation.go), and what they say of all Services into the zone (records.go), which keeper.go keeps. Clusters come and go in fleet.go; load balancers
// that have a host name are resolved in hosts.go.
//
// All is found out from the two sides' watches, so it can be killed at any moment. Until it knows all members that are Ready after a start, nothing is
// written; of a member that it cannot read, the annotation is its memory, and of a host name that nobody answers for, the zone. What a federation's API that
// lost its data had placed, the members have still, and it is reached as before (lost.go).
package service

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controllers/clusterclient"
	"github.com/fedhelm/fedhelm/pkg/controllers/incarnation"
	"github.com/fedhelm/fedhelm/pkg/controllers/watch"
)

// Names of the controllers, for --controllers: v1's. Name is that of federated Services too: without it there are no copies, and nothing to say of them.
const (
	Name    = "services"
	DNSName = "service-dns"
)

// Options of the service controllers.
type Options struct {
	FederationName string
	// ZoneName is the suffix of all names; the trailing dot may be left out.
	ZoneName string
	// Provider has the zone; nil keeps the annotation only.
	Provider *Provider
	// CheckPeriod is the time after which the zone is compared with what it should be, though nothing has changed: records that somebody took out come
	// back then.
	CheckPeriod time.Duration
	// ResolvePeriod is the time after which a load balancer's host name is resolved again.
	ResolvePeriod time.Duration
	// Resolver is the DNS server, ip:port, that is asked for those names; empty means the system's.
	Resolver string
}

// DefaultOptions without what only the user knows.
func DefaultOptions() Options {
	return Options{CheckPeriod: time.Minute, ResolvePeriod: 30 * time.Second}
}

const (
	// settleTime is how long a start waits for the members that are Ready, and for answers to the host names of load balancers.
	settleTime = 30 * time.Second
	// annotators is how many annotations are written at once.
	annotators = 8
	// requestTimeout bounds each request to the federation's API.
	requestTimeout = 30 * time.Second
)

var (
	servicesResource = corev1.SchemeGroupVersion.WithResource("services")
	slicesResource   = discoveryv1.SchemeGroupVersion.WithResource("endpointslices")
)

// controller is what the controllers share.
type controller struct {
	options    Options
	log        logr.Logger
	clusters   client.Client
	reader     client.Reader
	registry   *clusterclient.Registry
	federation dynamic.Interface
	recorder   events.EventRecorder
	services   *watch.Objects
	hosts      *hosts
	keeper     *keeper
	told       told
	// incarnation is the federation's API's, as it was at the start; belief what it has said since.
	incarnation types.UID
	belief      belief
	// stillLeft are the Services that were left when the keeper looked last.
	stillLeft map[types.NamespacedName]bool
	// started is closed when members may be started, under context; known once enough is known to write anything.
	started, known chan struct{}
	context        context.Context

	mutex   sync.RWMutex
	queue   workqueue.TypedRateLimitingInterface[types.NamespacedName]
	fleet   []fleetMember
	members map[string]*member
}

// Add adds the controllers to the manager, whose API is the federation's.
func Add(mgr ctrl.Manager, registry *clusterclient.Registry, options Options) error {
	httpClient, err := rest.HTTPClientFor(mgr.GetConfig())
	if err != nil {
		return err
	}
	api, err := dynamic.NewForConfigAndClient(mgr.GetConfig(), httpClient)
	if err != nil {
		return err
	}
	c := &controller{
		options:    options,
		log:        mgr.GetLogger().WithName(DNSName),
		clusters:   mgr.GetClient(),
		reader:     mgr.GetAPIReader(),
		registry:   registry,
		federation: api,
		recorder:   mgr.GetEventRecorder(v1beta1.ControllerManager),
		started:    make(chan struct{}),
		known:      make(chan struct{}),
		members:    map[string]*member{},
	}
	c.services = watch.New(watch.Whole(api, servicesResource), "", toFederated, func(name types.NamespacedName, _ any) { c.changed(name) }, nil)
	c.hosts = newHosts(options.Resolver, options.ResolvePeriod, func() { c.changed(types.NamespacedName{}) })
	if options.Provider != nil {
		c.keeper = newKeeper(*options.Provider, options.CheckPeriod, c.records, c.report, c.log)
	}
	if err := c.addFleet(mgr); err != nil {
		return fmt.Errorf("members of Services: %w", err)
	}
	if err := c.addAnnotator(mgr); err != nil {
		return fmt.Errorf("annotations of Services: %w", err)
	}
	return mgr.Add(c)
}

// NeedLeaderElection keeps a standby from writing anything.
func (c *controller) NeedLeaderElection() bool { return true }

// Start lets the members start, waits until enough is known of them, and then keeps the annotations and the zone.
func (c *controller) Start(ctx context.Context) error {
	if c.incarnation = incarnation.Await(ctx, c.reader); c.incarnation == "" {
		return nil
	}
	var clusters v1beta1.ClusterList
	if err := c.clusters.List(ctx, &clusters); err != nil {
		return err
	}
	c.context = ctx
	c.follow(clusters.Items)
	close(c.started)
	go c.services.RunWithContext(ctx)
	go c.hosts.run(ctx)
	if !c.learn(ctx) {
		return nil
	}
	close(c.known)
	c.changedAll()
	if c.keeper != nil {
		c.keeper.run(ctx)
	}
	<-ctx.Done()
	return nil
}

// learn waits for what must be known before anything is written, else a start would take the records of all that is not known yet: without end for the
// federation's own Services, for the members as long as it takes or settleTime. It says whether to go on.
func (c *controller) learn(ctx context.Context) bool {
	began := time.Now()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
		if !c.services.HasSynced() {
			continue
		}
		unknown := c.unknown(ctx)
		if unknown == "" {
			return true
		}
		if time.Since(began) > settleTime {
			c.log.Info("going on without it, by what the Services' annotations and the zone say", "unknown", unknown)
			return true
		}
	}
}

// unknown names a thing that is not known yet, empty if there is none.
func (c *controller) unknown(ctx context.Context) string {
	for _, f := range c.currentFleet() {
		if f.healthy() && c.member(f.name) == nil {
			return "what is in cluster " + f.name
		}
	}
	if c.keeper == nil {
		return ""
	}
	c.hosts.want(ctx, c.hostNames())
	return c.hosts.unknown()
}

// changed looks at a Service anew, in the annotation and in the zone. Without a name it is the addresses of a host that changed: the zone's alone.
func (c *controller) changed(name types.NamespacedName) {
	if name != (types.NamespacedName{}) {
		c.annotate(name)
	}
	if c.keeper != nil {
		c.keeper.changed(name)
	}
}

// annotate looks at a Service's annotation anew. What comes before the annotator has a queue is looked at when it has.
func (c *controller) annotate(name types.NamespacedName) {
	c.mutex.RLock()
	queue := c.queue
	c.mutex.RUnlock()
	if queue != nil {
		queue.Add(name)
	}
}

func (c *controller) changedAll() {
	for _, s := range c.federated() {
		c.changed(s.key())
	}
	if c.keeper != nil {
		c.keeper.changed(types.NamespacedName{})
	}
}
