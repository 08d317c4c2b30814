package service

import (
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

// tellAgain is the time after which a problem that is still there is told again.
const tellAgain = time.Hour

// told remembers what was told of what, so that each problem is told once.
type told struct {
	mutex sync.Mutex
	texts map[string]telling
}

type telling struct {
	text string
	at   time.Time
}

// news says whether a text about a thing is to be told: it is another one than last, or that was long ago. An empty text says that all is well.
func (t *told) news(about, text string, now time.Time) bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.texts == nil {
		t.texts = map[string]telling{}
	}
	last, found := t.texts[about]
	if text == "" {
		delete(t.texts, about)
		return found
	}
	if found && last.text == text && now.Sub(last.at) < tellAgain {
		return false
	}
	t.texts[about] = telling{text, now}
	return true
}

// forget forgets what was told of anything that keep does not want.
func (t *told) forget(keep func(about string) bool) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for about := range t.texts {
		if !keep(about) {
			delete(t.texts, about)
		}
	}
}

// longestNote is how long the API lets an Event's text be.
const longestNote = 1024

// event records an Event.
func (c *controller) event(object runtime.Object, kind, reason, message string) {
	if len(message) > longestNote {
		message = strings.ToValidUTF8(message[:longestNote-3], "") + "..."
	}
	c.recorder.Eventf(object, nil, kind, reason, "Reach", "%s", message)
}

// warn records an Event once.
func (c *controller) warn(about string, object runtime.Object, reason, message string) {
	if c.told.news(about, message, time.Now()) {
		c.event(object, corev1.EventTypeWarning, reason, message)
	}
}

// warnCluster records an Event on a Cluster once.
func (c *controller) warnCluster(name, reason, format string, arguments ...any) {
	for _, f := range c.currentFleet() {
		if f.name == name {
			reference := &corev1.ObjectReference{APIVersion: v1beta1.GroupVersion.String(), Kind: "Cluster", Name: name, UID: f.uid}
			c.warn(aboutCluster(f, reason), reference, reason, fmt.Sprintf(format, arguments...))
		}
	}
}

func aboutCluster(f fleetMember, reason string) string {
	return "cluster " + f.name + " " + string(f.uid) + " " + reason
}

// report tells what came of a try to write the records: in metrics, in the log, and in Events on the Services whose names are missing, and on some of
// those that wait while the provider fails. That it fails is told in namespace federation-system too, once for each thing that it says.
func (c *controller) report(o outcome) {
	measure(o)
	problems := map[string]bool{}
	for _, p := range o.records.Problems {
		if p.Cluster != "" {
			c.warnCluster(p.Cluster, "TopologyUnusable", "%s", p.Message)
			continue
		}
		name := types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
		if s := c.federatedOf(name); s != nil {
			problems[aboutName(name)] = true
			c.warn(aboutName(name), s.reference(), "DNSNameUnusable", p.Message)
		}
	}
	for _, held := range o.held {
		if name := serviceOf(held); !problems[aboutName(name)] {
			if s := c.federatedOf(name); s != nil {
				problems[aboutName(name)] = true
				c.warn(aboutName(name), s.reference(), "DNSNameTaken", fmt.Sprintf(
					"%s is in zone %s already and is not the federation's: take it out there, or give the federation another zone", held, c.options.ZoneName))
			}
		}
	}
	c.told.forget(func(about string) bool { return !isAboutName(about) || problems[about] })

	provider := &corev1.ObjectReference{APIVersion: "v1", Kind: "Namespace", Name: v1beta1.NamespaceFederationSystem}
	const about = "provider"
	switch {
	case o.failure != nil:
		c.log.Error(o.failure, "the federation DNS is not written", "zone", c.options.ZoneName, "again", o.again.String())
		message := fmt.Sprintf("the records in zone %s are not written: %v; it is tried again and again, every %v at last", c.options.ZoneName, o.failure, mostBackoff)
		if !c.told.news(about, message, time.Now()) {
			return
		}
		c.event(provider, corev1.EventTypeWarning, "DNSRecordsFailed", message)
		for _, name := range o.waiting {
			if s := c.federatedOf(name); s != nil && s.loadBalancer {
				c.event(s.reference(), corev1.EventTypeWarning, "DNSRecordsFailed", message)
			}
		}
	case o.recovered:
		if c.told.news(about, "", time.Now()) {
			c.event(provider, corev1.EventTypeNormal, "DNSRecordsWritten", fmt.Sprintf("the records in zone %s are written again", c.options.ZoneName))
		}
	}
}

// serviceOf is the Service that a name is of.
func serviceOf(name string) types.NamespacedName {
	labels := strings.SplitN(name, ".", 3)
	if len(labels) < 3 {
		return types.NamespacedName{}
	}
	return types.NamespacedName{Namespace: labels[1], Name: labels[0]}
}

const namePrefix = "name "

func aboutName(name types.NamespacedName) string { return namePrefix + name.String() }

func isAboutName(about string) bool { return strings.HasPrefix(about, namePrefix) }
