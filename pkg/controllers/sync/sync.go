// Package sync places the federation's objects in its members and keeps them there.
//
// One controller a type looks at an object in the federation and plans where it goes (kind.go, plan.go), and another writes back where it is (state.go). One
// controller a member, with a queue of its own, brings the copies there to what the plan says (member.go, copy.go): a member that is slow or away
// holds up nobody. Clusters come and go in fleet.go. Everything is found out from the two sides' watches, so it can be killed at any moment.
package sync

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controllers/clusterclient"
	"github.com/fedhelm/fedhelm/pkg/controllers/incarnation"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
)

// Options of the sync controllers.
type Options struct {
	// FederationName is the value of the label on copies.
	FederationName string
	// Types are the federated types.
	Types []*federatedtypes.Type
	// AdoptResources takes over what is in a member already under an object's name; else it is a conflict, and left alone. v1 adopted.
	AdoptResources bool
	// ForceAfter is how long the deletion of an object waits for a member that is away.
	ForceAfter time.Duration
	// Concurrency is how many objects of a type, and how many copies in a member, are worked on at once.
	Concurrency int
	// UnschedulableAfter is how long a pod waits for a node until its replica is asked elsewhere; v1: 60s.
	UnschedulableAfter time.Duration
	// HPAForbiddenWindow is how long an HPA that has just scaled neither gives nor takes; v1: 2m.
	HPAForbiddenWindow time.Duration
}

// DefaultOptions are v1's, where it had them.
func DefaultOptions() Options {
	return Options{
		Types:              federatedtypes.Defaults(),
		AdoptResources:     true,
		ForceAfter:         10 * time.Minute,
		Concurrency:        20,
		UnschedulableAfter: time.Minute,
		HPAForbiddenWindow: 2 * time.Minute,
	}
}

const (
	// requestTimeout bounds each request to a member.
	requestTimeout = 30 * time.Second
	// patience is how long the word of slow members is waited for, so that an object's state is written once.
	patience = time.Second
	// statusDelay lets the members' changes of status come together.
	statusDelay = 200 * time.Millisecond
	// settleTime is how long it may take to learn what there is in a member, before that is a fault.
	settleTime = 30 * time.Second
)

// syncer is what the controllers share.
type syncer struct {
	options    Options
	log        logr.Logger
	clusters   client.Client
	registry   *clusterclient.Registry
	federation *api
	reader     client.Reader
	recorder   events.EventRecorder
	courtesy   courtesy
	kinds      map[schema.GroupResource]*kind
	// uid is the federation's, as package incarnation has it.
	uid types.UID
	// started is closed when uid is known and members may be started, under context.
	started chan struct{}
	context context.Context
	since   time.Time

	mutex   sync.RWMutex
	fleet   []fleetMember
	members map[string]*member
}

// Add adds the controllers to the manager, whose API is the federation's.
func Add(mgr ctrl.Manager, registry *clusterclient.Registry, options Options) error {
	federation, err := federationAPI(mgr.GetConfig())
	if err != nil {
		return err
	}
	s := &syncer{
		options:    options,
		log:        mgr.GetLogger().WithName("sync"),
		clusters:   mgr.GetClient(),
		registry:   registry,
		federation: federation,
		reader:     mgr.GetAPIReader(),
		recorder:   mgr.GetEventRecorder(v1beta1.ControllerManager),
		courtesy:   newCourtesy(),
		kinds:      map[schema.GroupResource]*kind{},
		started:    make(chan struct{}),
		members:    map[string]*member{},
	}
	for _, t := range options.Types {
		if s.kinds[t.GroupResource()], err = s.addKind(mgr, t); err != nil {
			return fmt.Errorf("type %s: %w", t.Name(), err)
		}
	}
	if err := s.addFleet(mgr); err != nil {
		return err
	}
	registerMetrics(s)
	return mgr.Add(s)
}

// federationAPI has a connection of its own, as busy as it is.
func federationAPI(config *rest.Config) (*api, error) {
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return newAPI(config, httpClient)
}

// Start finds out which federation this is and which members it has, and lets the members start.
func (s *syncer) Start(ctx context.Context) error {
	if s.uid = incarnation.Await(ctx, s.reader); s.uid == "" {
		return nil
	}
	var clusters v1beta1.ClusterList
	if err := s.clusters.List(ctx, &clusters); err != nil {
		return err
	}
	s.follow(clusters.Items)
	s.context, s.since = ctx, time.Now()
	close(s.started)
	<-ctx.Done()
	return nil
}

// NeedLeaderElection keeps a standby from placing anything.
func (s *syncer) NeedLeaderElection() bool { return true }

// member is the member of that name that is being kept, nil if there is none.
func (s *syncer) member(name string) *member {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	return s.members[name]
}

func (s *syncer) currentFleet() []fleetMember {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	return s.fleet
}

// objectKey names a federated object.
type objectKey struct {
	kind *kind
	types.NamespacedName
}

func (k objectKey) String() string { return k.kind.Name() + " " + k.NamespacedName.String() }
