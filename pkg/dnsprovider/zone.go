package dnsprovider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/plan"
	"sigs.k8s.io/external-dns/provider"
	"sigs.k8s.io/external-dns/registry"
	"sigs.k8s.io/external-dns/registry/mapper"
	"sigs.k8s.io/external-dns/registry/noop"
	"sigs.k8s.io/external-dns/registry/txt"
)

const (
	// callTimeout bounds a call of external-dns, which may be several of the provider's.
	callTimeout = time.Minute
	// listInterval is the time between two readings of a zone that others write to as well: what they have changed is seen after it.
	listInterval = 2 * time.Minute
	// ownerPrefix comes before a record's name in that of the TXT record which says whose it is. It is in labels of its own: a label has no room for it, and a CNAME none
	// beside it.
	ownerPrefix = "%{record_type}._fedhelm."
)

// managed are the types of records that are ours; a TXT record beside one says so.
var managed = []string{endpoint.RecordTypeA, endpoint.RecordTypeAAAA, endpoint.RecordTypeCNAME}

type records = []*endpoint.Endpoint

// Zone is a zone at a provider. Its calls may be made at any time, and wait for each other.
type Zone struct {
	config Config
	kind   kind
	owner  string

	mu       sync.Mutex
	provider *remembering
	registry registry.Registry
}

// HeldError is the error of names that somebody else's records hold: all others are as they should be.
type HeldError struct {
	// Names of the records, sorted.
	Names []string
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("%d records are not ours to change, since others hold their names (%s): remove those, or choose another zone or another name", len(e.Names), shorten(e.Names))
}

// Open gives the zone, and asks nobody yet. owner marks the records that are ours, unless the configuration says what does: two federations in one zone never touch each
// other's. Errors: an owner that cannot be written down.
func Open(_ context.Context, c Config, owner string) (*Zone, error) {
	k, err := find(c.Provider)
	if err != nil {
		return nil, err
	}
	if c.Owner() != "" {
		owner = c.Owner()
	}
	if owner == "" || strings.ContainsAny(owner, "\",=\\ \t\n") {
		return nil, fmt.Errorf("%q cannot mark the records of zone %s: it must not be empty, nor hold spaces, commas, quotes, = or \\", owner, c.Zone)
	}
	return &Zone{config: c, kind: k, owner: owner}, nil
}

// Close forgets what is known of the zone.
func (z *Zone) Close() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.provider, z.registry = nil, nil
}

// Sync makes the records that are ours what desired says: names below the zone's without trailing dot, types A, AAAA and CNAME. Somebody else's are never touched, and
// nothing is written when nothing differs. What addresses of ours kept tells by name and type stay: they join the desired ones, and go before a desired CNAME. Of the CNAMEs those are then left out that
// lead to no record. It gives how many records were created, changed or deleted. Errors: what the provider answers, after which some records may have
// been changed and the next Sync reads the zone anew; *HeldError, which says that all went well but for those names.
func (z *Zone) Sync(ctx context.Context, desired []*endpoint.Endpoint, kept ...endpoint.EndpointKey) (changed int, err error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	wanted, err := z.wanted(desired)
	if err != nil {
		return 0, err
	}
	changed, held, err := z.sync(ctx, wanted, kept)
	if err != nil {
		z.forget()
		return changed, z.explain("keep the records in", err)
	}
	if len(held) > 0 {
		return changed, &HeldError{held}
	}
	return changed, nil
}

// explain says of a failure what was tried, and what to do.
func (z *Zone) explain(what string, err error) error {
	if errors.Is(err, ErrNoZone) { // which says it itself
		return fmt.Errorf("%s zone %s at %s: %w", what, z.config.Zone, z.config.Provider, err)
	}
	return fmt.Errorf("%s zone %s at %s: %w: %s", what, z.config.Zone, z.config.Provider, err, z.kind.advice)
}

func (z *Zone) sync(ctx context.Context, wanted records, kept []endpoint.EndpointKey) (changed int, held []string, err error) {
	if err := z.open(ctx); err != nil {
		return 0, nil, err
	}
	current, err := z.list(ctx)
	if err != nil {
		return 0, nil, err
	}
	if len(kept) > 0 {
		wanted = leading(withKept(z.ours(current, kept), wanted))
	}
	err = listen(ctx, func(context.Context) (err error) {
		wanted, err = z.registry.AdjustEndpoints(wanted)
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	wanted, shared, err := z.withoutShared(ctx, current, wanted)
	if err != nil {
		return 0, nil, err
	}
	changes := (&plan.Plan{
		Policies: []plan.Policy{&plan.SyncPolicy{}}, Current: current, Desired: wanted, ManagedRecords: managed, OwnerID: z.owner,
		DomainFilter: endpoint.MatchAllDomainFilters{endpoint.NewDomainFilter([]string{z.config.domain()})},
	}).Calculate().Changes
	for i, chunk := range chunks(changes, z.kind.chunk) {
		if i > 0 {
			if err := pause(ctx, z.kind.pause); err != nil {
				return changed, nil, err
			}
		}
		if err := listen(ctx, func(ctx context.Context) error { return z.registry.ApplyChanges(ctx, chunk.changes) }); err != nil {
			return changed, nil, err
		}
		changed += chunk.size
	}
	held = append(z.held(current, wanted), shared...)
	slices.Sort(held)
	return changed, slices.Compact(held), z.dropMarks(ctx, changes)
}

// ours are those of the records that have one of the keys and are ours.
func (z *Zone) ours(current records, keys []endpoint.EndpointKey) (ours records) {
	wanted := map[endpoint.EndpointKey]bool{}
	for _, key := range keys {
		wanted[key] = true
	}
	for _, e := range current {
		if e.IsOwnedBy(z.owner) && wanted[endpoint.EndpointKey{DNSName: strings.ToLower(e.DNSName), RecordType: e.RecordType}] {
			ours = append(ours, e)
		}
	}
	return ours
}

// withKept adds addresses that are there to the wanted records.
func withKept(kept, wanted records) records {
	at, addressed := map[endpoint.EndpointKey]*endpoint.Endpoint{}, map[string]bool{}
	for _, e := range wanted {
		at[e.Key()] = e
	}
	for _, e := range kept {
		added := endpoint.NewEndpointWithTTL(strings.ToLower(e.DNSName), e.RecordType, e.RecordTTL, e.Targets...)
		addressed[added.DNSName] = true
		if there := at[added.Key()]; there != nil {
			there.Targets = slices.Compact(slices.Sorted(slices.Values(slices.Concat(there.Targets, added.Targets))))
		} else {
			wanted, at[added.Key()] = append(wanted, added), added
		}
	}
	return slices.DeleteFunc(wanted, func(e *endpoint.Endpoint) bool {
		return e.RecordType == endpoint.RecordTypeCNAME && addressed[e.DNSName]
	})
}

// leading leaves out the CNAMEs that lead to none of the records.
func leading(wanted records) records {
	for {
		names, before := map[string]bool{}, len(wanted)
		for _, e := range wanted {
			names[e.DNSName] = true
		}
		wanted = slices.DeleteFunc(wanted, func(e *endpoint.Endpoint) bool {
			return e.RecordType == endpoint.RecordTypeCNAME && !names[strings.ToLower(e.Targets[0])]
		})
		if len(wanted) == before {
			return wanted
		}
	}
}

// withoutShared leaves out of wanted the names at which others have values and we have none, and gives all at which others have some: for a provider that would put ours beside
// them, where others refuse.
func (z *Zone) withoutShared(ctx context.Context, current, wanted records) (left records, names []string, err error) {
	of, can := z.provider.Provider.(interface {
		shared(context.Context, records) (map[string]bool, error)
	})
	if !can {
		return wanted, nil, nil
	}
	var shared map[string]bool
	err = listen(ctx, func(ctx context.Context) (err error) {
		shared, err = of.shared(ctx, current)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	ours := map[string]bool{}
	for _, e := range current {
		ours[strings.ToLower(e.DNSName)] = true
	}
	for _, e := range wanted {
		if shared[e.DNSName] {
			names = append(names, e.DNSName)
		}
		if !shared[e.DNSName] || ours[e.DNSName] {
			left = append(left, e)
		}
	}
	return left, names, nil
}

// pause keeps to the number of calls that a provider allows.
func pause(ctx context.Context, between time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(between):
		return nil
	}
}

// wanted gives copies of the records, since what follows adds to them.
func (z *Zone) wanted(desired records) (records, error) {
	copies := make(records, len(desired))
	for i, e := range desired {
		copies[i] = e.DeepCopy()
		copies[i].DNSName = strings.ToLower(strings.TrimSuffix(e.DNSName, "."))
		if !strings.HasSuffix(copies[i].DNSName, "."+z.config.domain()) {
			return nil, fmt.Errorf("record %s is not in zone %s", e.DNSName, z.config.Zone)
		}
		if !slices.Contains(managed, e.RecordType) {
			return nil, fmt.Errorf("record %s is of type %s: only %s are kept", e.DNSName, e.RecordType, strings.Join(managed, ", "))
		}
	}
	return copies, nil
}

// held are the names that we want and that somebody else has.
func (z *Zone) held(current, wanted records) (names []string) {
	others := map[string]bool{}
	for _, e := range current {
		if slices.Contains(managed, e.RecordType) && !e.IsOwnedBy(z.owner) {
			others[strings.ToLower(e.DNSName)] = true
		}
	}
	for _, e := range wanted {
		if others[e.DNSName] {
			names = append(names, e.DNSName)
		}
	}
	return names
}

// dropMarks deletes TXT records that say of a record that it is ours which is not there any more: what is left where a provider changed one of the two alone.
func (z *Zone) dropMarks(ctx context.Context, changes *plan.Changes) error {
	listed := z.provider.take()
	if z.kind.unowned || listed == nil {
		return nil
	}
	type name struct{ name, kind string }
	known := map[name]bool{}
	for _, e := range slices.Concat(listed, changes.Create) {
		known[name{strings.ToLower(e.DNSName), e.RecordType}] = true
	}
	names := mapper.NewAffixNameMapper(ownerPrefix, "", "")
	var left records
	for _, e := range listed {
		if e.RecordType != endpoint.RecordTypeTXT || len(e.Targets) == 0 {
			continue
		}
		labels, err := endpoint.NewLabelsFromString(e.Targets[0], nil)
		of, kind := names.ToEndpointName(e.DNSName)
		if err == nil && labels[endpoint.OwnerLabelKey] == z.owner && kind != "" && !known[name{of, kind}] {
			left = append(left, e)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return listen(ctx, func(ctx context.Context) error { return z.provider.ApplyChanges(ctx, &plan.Changes{Delete: left}) })
}

// open makes external-dns's provider and registry, and finds the zone where that is to be done.
func (z *Zone) open(ctx context.Context) error {
	if z.registry != nil {
		return nil
	}
	base := externaldns.Config{
		ManagedDNSRecordTypes: managed,
		TXTPrefix:             ownerPrefix,
		TXTOwnerID:            z.owner,
		TXTCacheInterval:      listInterval,
	}
	var at zoneID
	return listen(ctx, func(ctx context.Context) (err error) {
		if z.kind.locate != nil {
			if at, err = z.kind.locate(ctx, z.config, base); err != nil {
				return err
			}
		}
		opened, err := z.kind.open(ctx, z.config, base, z.owner, at)
		if err != nil {
			return err
		}
		z.provider = &remembering{Provider: opened}
		if z.kind.unowned {
			z.registry, err = noop.New(&base, z.provider)
		} else {
			z.registry, err = txt.New(&base, z.provider)
		}
		return err
	})
}

// forget makes the next call read the zone anew, since it may be other than external-dns takes it to be. A provider that remembers nothing keeps its connections.
func (z *Zone) forget() {
	if !z.kind.unowned {
		z.provider, z.registry = nil, nil
	}
}

func (z *Zone) list(ctx context.Context) (current records, err error) {
	err = listen(ctx, func(ctx context.Context) (err error) {
		current, err = z.registry.Records(ctx)
		return err
	})
	if err == nil && z.kind.verify != nil {
		err = z.kind.verify(z.config, current)
	}
	return current, err
}

// remembering is a provider that keeps what it read last, and writes the mark of a new record before the record: without it the record would be nobody's.
type remembering struct {
	provider.Provider
	read records
}

func (r *remembering) Records(ctx context.Context) ([]*endpoint.Endpoint, error) {
	read, err := r.Provider.Records(ctx)
	read = slices.DeleteFunc(read, func(e *endpoint.Endpoint) bool { return e == nil }) // names that external-dns cannot hold
	r.read = slices.Clone(read)
	return read, err
}

func (r *remembering) take() records {
	read := r.read
	r.read = nil
	return read
}

func (r *remembering) ApplyChanges(ctx context.Context, changes *plan.Changes) error {
	slices.SortStableFunc(changes.Create, func(a, b *endpoint.Endpoint) int { return mark(b) - mark(a) })
	return r.Provider.ApplyChanges(ctx, changes)
}

// mark is 1 for a TXT record.
func mark(e *endpoint.Endpoint) int {
	if e.RecordType == endpoint.RecordTypeTXT {
		return 1
	}
	return 0
}

type chunk struct {
	changes *plan.Changes
	size    int
}

// chunks cuts changes into parts of at most so many records. Those of one name stay together; short names come first, since longer ones lead to them.
func chunks(changes *plan.Changes, most int) []chunk {
	byName := map[string]*chunk{}
	of := func(e *endpoint.Endpoint) *plan.Changes {
		c := byName[e.DNSName]
		if c == nil {
			c = &chunk{changes: &plan.Changes{}}
			byName[e.DNSName] = c
		}
		c.size++
		return c.changes
	}
	for _, e := range changes.Create {
		c := of(e)
		c.Create = append(c.Create, e)
	}
	for i, e := range changes.UpdateNew {
		c := of(e)
		c.UpdateNew, c.UpdateOld = append(c.UpdateNew, e), append(c.UpdateOld, changes.UpdateOld[i])
	}
	for _, e := range changes.Delete {
		c := of(e)
		c.Delete = append(c.Delete, e)
	}
	names := make([]string, 0, len(byName))
	for name := range byName {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if short := strings.Count(a, ".") - strings.Count(b, "."); short != 0 {
			return short
		}
		return strings.Compare(a, b)
	})
	var parts []chunk
	for _, name := range names {
		c := byName[name]
		if last := len(parts) - 1; last < 0 || parts[last].size+c.size > most {
			parts = append(parts, chunk{changes: &plan.Changes{}})
		}
		part := &parts[len(parts)-1]
		part.size += c.size
		part.changes.Create = append(part.changes.Create, c.changes.Create...)
		part.changes.UpdateNew = append(part.changes.UpdateNew, c.changes.UpdateNew...)
		part.changes.UpdateOld = append(part.changes.UpdateOld, c.changes.UpdateOld...)
		part.changes.Delete = append(part.changes.Delete, c.changes.Delete...)
	}
	return parts
}

// shorten names the first few of many.
func shorten(names []string) string {
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

// Held gives the names of an error of Sync that says no more than that others hold them; nil for any other.
func Held(err error) []string {
	var held *HeldError
	if errors.As(err, &held) {
		return held.Names
	}
	return nil
}
