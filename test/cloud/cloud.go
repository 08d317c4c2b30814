// Package cloud has servers that stand in for the DNS services of clouds, which no test can reach: Route 53 and Google Cloud DNS, as far as a provider of records uses them. They
// keep zones, refuse what the real ones refuse, look at signatures and tokens, and count calls.
package cloud

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Set is the records of one name and type.
type Set struct {
	// Name with its trailing dot.
	Name, Type string
	TTL        int64
	Values     []string
}

func (s Set) String() string {
	return fmt.Sprintf("%s %d %s %s", s.Name, s.TTL, s.Type, strings.Join(slices.Sorted(slices.Values(s.Values)), ","))
}

// Zone is a zone of a cloud.
type Zone struct {
	// ID and Name as the cloud has them, the name with its trailing dot.
	ID, Name string
	Private  bool

	mu   sync.Mutex
	sets map[setKey]Set
}

type setKey struct{ name, kind string }

func (s Set) key() setKey { return setKey{strings.ToLower(s.Name), s.Type} }

// NewZone gives a zone with the records that every zone has.
func NewZone(id, name string, private bool) *Zone {
	z := &Zone{ID: id, Name: name, Private: private, sets: map[setKey]Set{}}
	z.Put(Set{name, "NS", 172800, []string{"ns1.example.", "ns2.example."}}, Set{name, "SOA", 900, []string{"ns1.example. hostmaster.example. 1 7200 900 1209600 86400"}})
	return z
}

// Put writes records as their owner does, in the cloud's console.
func (z *Zone) Put(sets ...Set) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, s := range sets {
		z.sets[s.key()] = s
	}
}

// Sets are all records, sorted by name and type.
func (z *Zone) Sets() []Set {
	z.mu.Lock()
	defer z.mu.Unlock()
	return slices.SortedFunc(maps.Values(z.sets), func(a, b Set) int {
		return strings.Compare(order(a.Name)+" "+a.Type, order(b.Name)+" "+b.Type)
	})
}

// Text is all records, a line each.
func (z *Zone) Text() []string {
	var lines []string
	for _, s := range z.Sets() {
		lines = append(lines, s.String())
	}
	return lines
}

// order puts names below each other in the order of their labels from the last to the first, as zones are listed.
func order(name string) string {
	labels := strings.Split(strings.TrimSuffix(strings.ToLower(name), "."), ".")
	slices.Reverse(labels)
	return strings.Join(labels, "\x00")
}

// change is one of a batch.
type change struct {
	action string // CREATE, UPSERT or DELETE
	set    Set
}

// apply makes all changes or none. Errors: the first that cannot be made, as a sentence.
func (z *Zone) apply(changes []change) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	sets := maps.Clone(z.sets)
	for _, c := range changes {
		if err := z.check(c); err != nil {
			return err
		}
		is, found := sets[c.set.key()]
		switch {
		case c.action == "DELETE" && !found:
			return fmt.Errorf("tried to delete %s %s but it was not found", c.set.Name, c.set.Type)
		case c.action == "DELETE" && is.String() != c.set.String():
			return fmt.Errorf("tried to delete %s but the values provided do not match the current values %s", c.set, is)
		case c.action == "CREATE" && found:
			return fmt.Errorf("tried to create %s %s but it already exists", c.set.Name, c.set.Type)
		case c.action == "DELETE":
			delete(sets, c.set.key())
		default:
			sets[c.set.key()] = c.set
		}
	}
	types := map[string][]string{}
	for key := range sets {
		types[key.name] = append(types[key.name], key.kind)
	}
	for name, kinds := range types {
		if len(kinds) > 1 && slices.Contains(kinds, "CNAME") {
			return fmt.Errorf("a record of type CNAME with name %s is not permitted as it conflicts with other records with the same name", name)
		}
	}
	z.sets = sets
	return nil
}

func (z *Zone) check(c change) error {
	name := strings.ToLower(c.set.Name)
	if name != z.Name && !strings.HasSuffix(name, "."+z.Name) {
		return fmt.Errorf("name %s is not permitted in zone %s", c.set.Name, z.Name)
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if len(label) > 63 || label == "" {
			return fmt.Errorf("name %s has a label that is too long or empty", c.set.Name)
		}
	}
	if len(c.set.Values) == 0 || c.set.TTL <= 0 {
		return fmt.Errorf("record %s has no values or no time to live", c.set)
	}
	if c.set.Type == "CNAME" && len(c.set.Values) != 1 {
		return fmt.Errorf("a CNAME has one value: %s", c.set)
	}
	if c.set.Type == "TXT" && !strings.HasPrefix(c.set.Values[0], `"`) {
		return fmt.Errorf("the value of a TXT record is quoted: %s", c.set)
	}
	return nil
}

// Calls counts what a server was asked, by operation.
type Calls struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *Calls) add(operation string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[operation]++
}

// Of gives how often one of the operations was asked for; without any, how often the server was asked at all.
func (c *Calls) Of(operations ...string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for operation, count := range c.counts {
		if len(operations) == 0 || slices.Contains(operations, operation) {
			n += count
		}
	}
	return n
}

func asJSON(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // maps and strings alone
	}
	return text
}
