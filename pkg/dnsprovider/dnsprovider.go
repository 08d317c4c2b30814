// Package dnsprovider keeps the federation DNS: a zone at a provider, in which the records that belong to the federation are made what they should be.
//
// A provider is configured as in v1, by an INI file with one section [Global]: v1's keys, and ours. Plans, ownership and the providers themselves are
// external-dns's; this package says what they leave out: whether the zone is there, once, and may be written, why a call failed, and that a failure loses nothing.
package dnsprovider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	// The images hold no certificates of public authorities, which clouds are known by.
	_ "golang.org/x/crypto/x509roots/fallback"
	"sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/provider"
)

// Providers by the names that v1 gave them; the last three came later.
const (
	CoreDNS = "coredns"
	Google  = "google-clouddns"
	AWS     = "aws-route53"
	RFC2136 = "rfc2136"
	Azure   = "azure"
	Webhook = "webhook"
	None    = "none"
)

// kind is what this package knows of a provider.
type kind struct {
	// keys of [Global], in the order in which they are written.
	keys []key
	// check says what is wrong with the values of the keys; nil for nothing.
	check func(Config) error
	// open makes external-dns's provider. It may keep to a zone that locate gave, and asks nobody but where it must.
	open func(ctx context.Context, c Config, base externaldns.Config, owner string, at zoneID) (provider.Provider, error)
	// locate finds the zone, where a provider has several; nil where the name is enough. Errors: not there, or more than once.
	locate func(ctx context.Context, c Config, base externaldns.Config) (zoneID, error)
	// unowned providers keep the owner with each record, so that no TXT records are needed to tell it.
	unowned bool
	// chunk is how many records are changed in one call, so that a record and its owner's mark change together.
	chunk int
	// pause comes between two such calls.
	pause time.Duration
	// verify says what a list of all records must show, or it was cut short; nil for nothing.
	verify func(Config, records) error
	// advice is what to do when the provider does not answer or refuses.
	advice string
}

// zoneID is what a provider calls the zone; empty where its name is enough.
type zoneID string

// key is a key of [Global].
type key struct {
	name string
	// file names one beside the configuration.
	file bool
	// words are the values that it may have; nil for any.
	words []string
}

var kinds = map[string]kind{
	CoreDNS: coreDNSKind,
	Google:  googleKind,
	AWS:     awsKind,
	RFC2136: rfc2136Kind,
	Azure:   azureKind,
	Webhook: webhookKind,
}

// Names of the providers.
func Names() []string { return []string{CoreDNS, Google, AWS, RFC2136, Azure, Webhook} }

// ownerKey is the key of every provider that fedhook adds: what marks the records that are ours.
const ownerKey = "owner"

func keysOf(k kind) []key { return append(slices.Clone(k.keys), key{name: ownerKey}) }

func find(name string) (kind, error) {
	k, found := kinds[name]
	if !found {
		return kind{}, fmt.Errorf("there is no DNS provider %q: there are %s, and none", name, strings.Join(Names(), ", "))
	}
	return k, nil
}

// together says of keys that belong together which one is missing.
func (c Config) together(keys ...string) error {
	var given, missing []string
	for _, name := range keys {
		if c.get(name) == "" {
			missing = append(missing, name)
		} else {
			given = append(given, name)
		}
	}
	if len(given) > 0 && len(missing) > 0 {
		return fmt.Errorf("key %s is given without %s: give both, or neither", given[0], missing[0])
	}
	return nil
}

// one says of keys that exclude each other which two are given.
func (c Config) one(keys ...string) error {
	var given []string
	for _, name := range keys {
		if c.get(name) != "" {
			given = append(given, name)
		}
	}
	if len(given) > 1 {
		return fmt.Errorf("keys %s and %s exclude each other: give one of them", given[0], given[1])
	}
	return nil
}

// required says which key is missing.
func (c Config) required(name, what string) error {
	if c.get(name) == "" {
		return fmt.Errorf("key %s is missing: give %s", name, what)
	}
	return nil
}

// first gives the first error.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ErrNoZone is in the error of a zone that the provider has not, or more than once.
var ErrNoZone = errors.New("the zone is not to be found")
