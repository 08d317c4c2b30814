// Package dnsrecords says which DNS records a federation's Services have: v1's names, time to live and chain of CNAMEs. It is pure.
//
// A Service of type LoadBalancer has a name at three levels, each with the addresses of the healthy members at that level:
//
//	zone    <service>.<namespace>.<federation>.svc.<zone>.<region>.<suffix>
//	region  <service>.<namespace>.<federation>.svc.<region>.<suffix>
//	global  <service>.<namespace>.<federation>.svc.<suffix>
//
// There is a name for every zone and region of any member, whether the Service is there or not, since a client asks for the one that it is in. A level
// without a healthy address is a CNAME to the next one up, and a Service without any has no name at all.
package dnsrecords

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/external-dns/endpoint"
)

// TTL of every record, in seconds: v1's.
const TTL = 180

const (
	// maxLabel and maxName are RFC 1035's limits in octets, a name's without its trailing dot. Of a name's, ownerRoom is kept for the label that a
	// provider's TXT records of ownership have before it.
	maxLabel  = 63
	maxName   = 253
	ownerRoom = 24
)

// Federation is whose records they are.
type Federation struct {
	// Name is an RFC 1035 label: "fellowship".
	Name string
	// Zone is the suffix of all names, with or without the trailing dot: "federation.internal.".
	Zone string
}

// Member is a cluster that is joined and not leaving.
type Member struct {
	Name string
	// Region and Zones are its topology, as its nodes' labels say, in whatever case; empty where they have none. Without a region the member counts
	// globally only, as v1 has no records of a zone outside a region.
	Region string
	Zones  []string
	// Healthy says that its addresses may be given out.
	Healthy bool
}

// Service is a federated Service.
type Service struct {
	Namespace, Name string
	// LoadBalancer says that it is of that type; no other has records.
	LoadBalancer bool
	// Addresses are those of its load balancers in the members where it has ready endpoints, by member.
	Addresses map[string][]netip.Addr
	// Unknown are the types of those addresses, A and AAAA, of which some are not known, by member: a load balancer's host name that nobody has answered for.
	Unknown map[string][]string
}

// Problem is what somebody must mend so that a Service or a cluster has all its names.
type Problem struct {
	// Namespace and Name are a Service's, Cluster a member's; one of the two is given.
	Namespace, Name, Cluster string
	// Message is a sentence that says what to do.
	Message string
}

// Level of a name.
type Level int

// The levels, the nearest first.
const (
	Zone Level = iota
	Region
	Global
)

func (l Level) String() string { return [...]string{"zone", "region", "global"}[l] }

// Records are all records of a federation.
type Records struct {
	// Endpoints are A, AAAA and CNAME records, those of a Service together, in an order that depends on nothing but the input.
	Endpoints []*endpoint.Endpoint
	// Kept tells by name and type of addresses that are to stay in the zone, where there are some, beside those of Endpoints: what else belongs there is not known. So a CNAME may lead to
	// such a name alone, or to none.
	Kept []endpoint.EndpointKey
	// Levels counts them by level.
	Levels [Global + 1]int
	// Problems are what is missing among them, the clusters' first.
	Problems []Problem
}

// Compute gives the records of all Services. Its time is proportional to the number of names. A federation whose zone is no DNS name has none.
func Compute(f Federation, members []Member, services []Service) Records {
	if !IsZone(f.Zone) {
		return Records{}
	}
	levels, problems := levelsOf(f, members)
	r := Records{Problems: problems}
	sorted := slices.SortedFunc(slices.Values(services), func(a, b Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for i := range sorted {
		r.add(f, levels, &sorted[i])
	}
	return r
}

// level is the part of the names that all Services have in common.
type level struct {
	Level
	// suffix of the names at this level: "minas-tirith-a.gondor.federation.internal".
	suffix string
	// up is the suffix of the next level, empty at the global one.
	up string
	// members that count at this level and are healthy.
	members []string
}

// levelsOf gives the levels, the zones first and the global one last, each kind in the order of its suffixes. Values of labels may have dots, so that a
// zone may have the name of another's region: the two are one level then.
func levelsOf(f Federation, members []Member) ([]*level, []Problem) {
	zone := strings.ToLower(strings.TrimSuffix(f.Zone, "."))
	var problems []Problem
	found := map[string]*level{}
	count := func(kind Level, m Member, suffix, up string) {
		l := found[suffix]
		if l == nil {
			l = &level{Level: kind, suffix: suffix, up: up}
			found[suffix] = l
		} else if kind < l.Level {
			l.Level, l.up = kind, up
		}
		if m.Healthy && !slices.Contains(l.members, m.Name) {
			l.members = append(l.members, m.Name)
		}
	}
	usable := func(m Member, what, value string) bool {
		if value != "" && !isDomain(value) {
			problems = append(problems, Problem{Cluster: m.Name, Message: fmt.Sprintf(
				"its %s %q cannot be part of a DNS name, so no Service has a name there: change the label topology.kubernetes.io/%[1]s of its nodes, or region and zones in its release's values",
				what, value)})
			return false
		}
		return value != ""
	}
	for _, m := range slices.SortedFunc(slices.Values(members), func(a, b Member) int { return cmp.Compare(a.Name, b.Name) }) {
		count(Global, m, zone, "")
		if !usable(m, "region", m.Region) {
			continue
		}
		region := strings.ToLower(m.Region) + "." + zone
		count(Region, m, region, zone)
		for _, z := range m.Zones {
			if usable(m, "zone", z) {
				count(Zone, m, strings.ToLower(z)+"."+region, region)
			}
		}
	}
	levels := make([]*level, 0, len(found))
	for _, l := range found {
		levels = append(levels, l)
	}
	slices.SortFunc(levels, func(a, b *level) int { return cmp.Or(cmp.Compare(a.Level, b.Level), cmp.Compare(a.suffix, b.suffix)) })
	return levels, problems
}

var (
	labelPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	// Values of labels may have underscores too.
	domainPattern = regexp.MustCompile(`^[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?)*$`)
)

func isLabel(text string) bool { return len(text) <= maxLabel && labelPattern.MatchString(text) }

// IsZone says whether names can have a suffix, with or without its trailing dot.
func IsZone(suffix string) bool { return isDomain(strings.TrimSuffix(suffix, ".")) }

func isDomain(text string) bool {
	return domainPattern.MatchString(text) && !slices.ContainsFunc(strings.Split(text, "."), func(label string) bool { return len(label) > maxLabel })
}

// add adds the records of one Service.
func (r *Records) add(f Federation, levels []*level, s *Service) {
	if !s.LoadBalancer || len(levels) == 0 {
		return
	}
	if global := levels[len(levels)-1]; len(addressesAt(global, s)) == 0 && len(unknownAt(global, s)) == 0 {
		return
	}
	for _, part := range [][2]string{{"name", s.Name}, {"namespace", s.Namespace}, {"federation", f.Name}} {
		if !isLabel(part[1]) {
			r.Problems = append(r.Problems, Problem{Namespace: s.Namespace, Name: s.Name, Message: fmt.Sprintf(
				"it has no DNS records: its %s %q is no label of a DNS name, which has at most 63 lower case letters, digits and dashes; give it another", part[0], part[1])})
			return
		}
	}
	prefix := s.Name + "." + s.Namespace + "." + f.Name + ".svc."
	var long string
	for _, l := range levels {
		name := prefix + l.suffix
		if len(name) > maxName-ownerRoom {
			if len(name) > len(long) {
				long = name
			}
			continue
		}
		for _, kind := range unknownAt(l, s) {
			r.Kept = append(r.Kept, endpoint.EndpointKey{DNSName: name, RecordType: kind})
		}
		v4, v6 := split(addressesAt(l, s))
		if len(v4)+len(v6) == 0 && l.Level != Global {
			r.append(l, name, endpoint.RecordTypeCNAME, prefix+l.up)
		}
		if len(v4) > 0 {
			r.append(l, name, endpoint.RecordTypeA, v4...)
		}
		if len(v6) > 0 {
			r.append(l, name, endpoint.RecordTypeAAAA, v6...)
		}
	}
	if long != "" {
		r.Problems = append(r.Problems, Problem{Namespace: s.Namespace, Name: s.Name, Message: fmt.Sprintf(
			"some of its DNS names are left out: %s has %d characters and may have %d; give the Service or its namespace a shorter name, or the federation a shorter zone",
			long, len(long), maxName-ownerRoom)})
	}
}

func (r *Records) append(l *level, name, kind string, targets ...string) {
	r.Endpoints = append(r.Endpoints, endpoint.NewEndpointWithTTL(name, kind, TTL, targets...))
	r.Levels[l.Level]++
}

// addressesAt gives what a Service has at a level, sorted and each once.
func addressesAt(l *level, s *Service) []netip.Addr {
	var all []netip.Addr
	for _, member := range l.members {
		for _, address := range s.Addresses[member] {
			if address = address.Unmap(); address.IsValid() && !address.IsUnspecified() && !address.IsMulticast() && address.Zone() == "" {
				all = append(all, address)
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// unknownAt gives the types of which a Service has unknown addresses at a level, sorted and each once.
func unknownAt(l *level, s *Service) []string {
	var all []string
	for _, member := range l.members {
		all = append(all, s.Unknown[member]...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func split(addresses []netip.Addr) (v4, v6 []string) {
	for _, address := range addresses {
		if address.Is4() {
			v4 = append(v4, address.String())
		} else {
			v6 = append(v6, address.String())
		}
	}
	return v4, v6
}
