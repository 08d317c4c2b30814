package memberdns

import (
	"maps"
	"time"
)

// How long a verdict holds. A text that was refused is tried again after a while, first a short one, since CoreDNS may be another by then.
const (
	passedFor       = time.Hour
	refusedFor      = time.Minute
	refusedForAtMax = 30 * time.Minute
)

// Trials remembers the last verdict of a member's CoreDNS, since each trial runs a pod there: a text that is refused is not tried again and again, nor one that
// somebody takes out again and again. It is for one caller at a time.
type Trials struct {
	data    map[string]string
	refused error
	until   time.Time
	lasts   time.Duration
}

// verdict gives what is known about data: an error that they were refused. Nothing is known of others than the last, nor after a while.
func (t *Trials) verdict(data map[string]string) (known bool, refused error) {
	if t == nil || !maps.Equal(t.data, data) || time.Now().After(t.until) {
		return false, nil
	}
	return true, t.refused
}

func (t *Trials) remember(data map[string]string, refused error) {
	if t == nil {
		return
	}
	switch {
	case refused == nil:
		t.lasts = passedFor
	case t.refused != nil && maps.Equal(t.data, data):
		t.lasts = min(2*t.lasts, refusedForAtMax)
	default:
		t.lasts = refusedFor
	}
	t.data, t.refused, t.until = data, refused, time.Now().Add(t.lasts)
}
