package dnsprovider

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/plan"
)

// probeTTL is the time to live of the record that is written to see whether it can be.
const probeTTL = 60

// Check sees whether the provider answers, the zone is there, once, and may be written, for which a TXT record is written, read and deleted. Errors: one sentence that says
// what is wrong and what to do.
func (z *Zone) Check(ctx context.Context) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	err := z.check(ctx)
	z.forget()
	if err != nil {
		return z.explain("check", err)
	}
	return nil
}

func (z *Zone) check(ctx context.Context) error {
	z.forget()
	if err := z.open(ctx); err != nil {
		return err
	}
	probe := z.probe()
	before, err := z.look(ctx, probe)
	if err != nil {
		return err
	}
	changes := &plan.Changes{Create: records{probe.DeepCopy()}}
	if before != nil { // of a check that was killed
		changes = &plan.Changes{UpdateOld: records{before}, UpdateNew: records{probe.DeepCopy()}}
	}
	if err := z.apply(ctx, changes); err != nil {
		return fmt.Errorf("write record %s: %w", probe.DNSName, err)
	}
	written, err := z.look(ctx, probe)
	if err != nil {
		return err
	}
	if written == nil {
		return fmt.Errorf("record %s was written and is not there: %w", probe.DNSName, ErrNoZone)
	}
	if err := z.apply(context.WithoutCancel(ctx), &plan.Changes{Delete: records{written}}); err != nil {
		return fmt.Errorf("delete record %s: %w", probe.DNSName, err)
	}
	return nil
}

// probe is a record of a name that is nobody else's.
func (z *Zone) probe() *endpoint.Endpoint {
	hash := sha256.Sum256([]byte(z.owner))
	return endpoint.NewEndpointWithTTL(fmt.Sprintf("_fedhelm-check-%x.%s", hash[:4], z.config.domain()), endpoint.RecordTypeTXT, probeTTL, `"fedhelm checks whether it may write"`)
}

func (z *Zone) apply(ctx context.Context, changes *plan.Changes) error {
	return listen(ctx, func(ctx context.Context) error { return z.provider.ApplyChanges(ctx, changes) })
}

// look reads the zone, and gives the record of the probe's name; nil if it is not there.
func (z *Zone) look(ctx context.Context, probe *endpoint.Endpoint) (*endpoint.Endpoint, error) {
	var all records
	err := listen(ctx, func(ctx context.Context) (err error) {
		all, err = z.provider.Records(ctx)
		return err
	})
	if err == nil && z.kind.verify != nil {
		err = z.kind.verify(z.config, all)
	}
	if err != nil {
		return nil, fmt.Errorf("read the zone: %w", err)
	}
	for _, e := range all {
		if e.RecordType == endpoint.RecordTypeTXT && strings.EqualFold(e.DNSName, probe.DNSName) {
			if len(e.Targets) > 0 && !strings.HasPrefix(e.Targets[0], `"`) {
				e.Targets[0] = probe.Targets[0] // some are read without the quotes that they must be written with
			}
			return e, nil
		}
	}
	return nil, nil
}
