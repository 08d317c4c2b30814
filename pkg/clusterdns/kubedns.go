package clusterdns

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// Keys of ConfigMap kube-system/kube-dns. kube-dns and NodeLocal DNSCache read the ones they know and pass over ours.
const (
	federationsKey = "federations"
	stubDomainsKey = "stubDomains"
	// StateKey holds, as JSON, which entries are ours and what the keys were before them: only so can a user's own entry that reads like ours be
	// told apart, an absent key from an empty one, and a changed zone or nameserver be followed. It goes with the last federation.
	StateKey = "fedhelm"
)

// state is the value of StateKey.
type state struct {
	// Before gives the text of a key that held no entry when our first came in, null where the key was absent.
	Before map[string]*string `json:"before,omitempty"`
	// Federations gives each federation's own entries.
	Federations map[string]entries `json:"federations"`
}

type entries struct {
	// Federations says that the entry of key federations is ours.
	Federations bool `json:"federations,omitempty"`
	// Stub is the zone whose entry of key stubDomains is ours; federations in one zone share it.
	Stub string `json:"stub,omitempty"`
}

// MergeKubeDNS gives the data of ConfigMap kube-system/kube-dns with the federation's entries merged in: "<federation>=<zone>" in the comma list
// federations and, with nameservers, "<zone>": ["ip", …] in the JSON object stubDomains, as `kubefed join` wrote them; everything else stays as it is.
// Merging again repairs our entries and brings a changed zone or nameserver in. The given map is not changed.
//
// An entry of the user's own for the same federation or zone with another value, a shared zone with other nameservers and a text that kube-dns
// itself refuses are errors.
func MergeKubeDNS(data map[string]string, f Federation) (map[string]string, error) {
	f, err := f.normalise()
	if err != nil {
		return nil, err
	}
	k, err := openKubeDNS(data)
	if err != nil {
		return nil, err
	}
	if err := k.mergeFederation(f); err != nil {
		return nil, err
	}
	if old := k.state.Federations[f.Name].Stub; old != "" && (old != f.Zone || len(f.Nameservers) == 0) {
		if err := k.removeStub(f.Name); err != nil {
			return nil, err
		}
	}
	if err := k.mergeStub(f); err != nil {
		return nil, err
	}
	return k.close(), nil
}

// RemoveKubeDNS is the inverse of MergeKubeDNS: the data without the federation's entries. What we did not put in stays, an entry of the user's own
// for the federation too. Data without the federation come back as they are. It fails only where stubDomains or our own key can no longer be read.
func RemoveKubeDNS(data map[string]string, federation string) (map[string]string, error) {
	k, err := openKubeDNS(data)
	if err != nil {
		return nil, err
	}
	k.removeFederation(federation)
	if err := k.removeStub(federation); err != nil {
		return nil, err
	}
	return k.close(), nil
}

// kubeDNS is the data being edited.
type kubeDNS struct {
	data  map[string]string
	state state
}

func openKubeDNS(data map[string]string) (*kubeDNS, error) {
	k := &kubeDNS{data: maps.Clone(data)}
	if k.data == nil {
		k.data = map[string]string{}
	}
	if text, found := data[StateKey]; found {
		if err := json.Unmarshal([]byte(text), &k.state); err != nil {
			return nil, fmt.Errorf("key %s of ConfigMap kube-system/kube-dns is no longer the JSON that was written there (%w): take the federations' entries out by hand and delete the key", StateKey, err)
		}
	}
	if k.state.Before == nil {
		k.state.Before = map[string]*string{}
	}
	if k.state.Federations == nil {
		k.state.Federations = map[string]entries{}
	}
	return k, nil
}

func (k *kubeDNS) close() map[string]string {
	maps.DeleteFunc(k.state.Federations, func(_ string, e entries) bool { return e == entries{} })
	if len(k.state.Federations) == 0 {
		delete(k.data, StateKey)
		return k.data
	}
	text, _ := json.Marshal(k.state) // maps of strings and booleans always marshal
	k.data[StateKey] = string(text)
	return k.data
}

// begin remembers what a key without entries was.
func (k *kubeDNS) begin(key string) {
	var before *string
	if text, found := k.data[key]; found {
		before = &text
	}
	k.state.Before[key] = before
}

// end gives a key that is without entries again what it was.
func (k *kubeDNS) end(key string, empty, ours bool) {
	if before, found := k.state.Before[key]; found && empty {
		if before == nil {
			delete(k.data, key)
		} else {
			k.data[key] = *before
		}
	}
	if empty || !ours {
		delete(k.state.Before, key)
	}
}

func (k *kubeDNS) mergeFederation(f Federation) error {
	text := k.data[federationsKey]
	list := splitFederations(text)
	for _, e := range list {
		if e.name == "" || e.value.of(text) == "" {
			return fmt.Errorf("kube-dns refuses the entry %q of key federations in ConfigMap kube-system/kube-dns, and the whole ConfigMap with it: write it as <federation>=<domain> or take it out", e.text.of(text))
		}
	}
	own := k.state.Federations[f.Name]
	i := slices.IndexFunc(list, func(e federationEntry) bool { return e.name == f.Name })
	switch {
	case i >= 0 && list[i].value.of(text) == f.Zone:
		return nil
	case i >= 0 && own.Federations:
		k.data[federationsKey] = list[i].value.replace(text, f.Zone)
		return nil
	case i >= 0:
		return fmt.Errorf("key federations of ConfigMap kube-system/kube-dns gives federation %s the domain %q, not %s: take the entry out if it is a leftover, or give the federation another name",
			f.Name, list[i].value.of(text), f.Zone)
	}
	entry := f.Name + "=" + f.Zone
	if len(list) == 0 {
		k.begin(federationsKey)
		k.data[federationsKey] = entry
	} else {
		end := len(strings.TrimRightFunc(text, unicode.IsSpace))
		k.data[federationsKey] = text[:end] + "," + entry + text[end:]
	}
	own.Federations = true
	k.state.Federations[f.Name] = own
	return nil
}

func (k *kubeDNS) removeFederation(federation string) {
	own := k.state.Federations[federation]
	if !own.Federations {
		return
	}
	own.Federations = false
	k.state.Federations[federation] = own

	text, found := k.data[federationsKey]
	list := splitFederations(text)
	if i := slices.IndexFunc(list, func(e federationEntry) bool { return e.name == federation }); i >= 0 {
		cut := list[i].text
		switch { // the comma before it is ours, save for the first
		case i > 0:
			cut.from = list[i].from - 1
		case len(list) > 1:
			cut.to = list[i].to + 1
		}
		text = cut.replace(text, "")
	}
	if found {
		k.data[federationsKey] = text
	}
	ours := false
	for _, e := range k.state.Federations {
		ours = ours || e.Federations
	}
	k.end(federationsKey, strings.TrimSpace(text) == "", ours)
}

// span is a part of a text.
type span struct{ from, to int }

func (s span) of(text string) string            { return text[s.from:s.to] }
func (s span) replace(text, with string) string { return text[:s.from] + with + text[s.to:] }

func (s span) trim(text string) span {
	part := s.of(text)
	s.from += len(part) - len(strings.TrimLeftFunc(part, unicode.IsSpace))
	s.to = max(s.from, s.to-len(part)+len(strings.TrimRightFunc(part, unicode.IsSpace)))
	return s
}

// federationEntry is one entry of the list federations: all from comma to comma, its text without the white space around, name and value.
type federationEntry struct {
	span
	text  span
	name  string
	value span
}

// splitFederations reads the list as kube-dns does: white space around entries, names and values does not count, a blank text has no entries.
func splitFederations(text string) []federationEntry {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	var list []federationEntry
	from := 0
	for part := range strings.SplitSeq(text, ",") {
		e := federationEntry{span: span{from, from + len(part)}}
		e.text = e.trim(text)
		if name, _, found := strings.Cut(e.text.of(text), "="); found {
			e.name = strings.TrimSpace(name)
			e.value = span{e.text.from + len(name) + 1, e.text.to}.trim(text)
		}
		list = append(list, e)
		from = e.to + 1
	}
	return list
}

// mergeStub merges the zone's nameservers in; without any it only looks that stubDomains does not keep kube-dns from reading the rest.
func (k *kubeDNS) mergeStub(f Federation) error {
	text := k.data[stubDomainsKey]
	stubs, err := parseStubs(text)
	if err != nil {
		return err
	}
	if len(f.Nameservers) == 0 {
		if _, found := k.data[stubDomainsKey]; found && strings.TrimSpace(text) == "" {
			return errors.New("key stubDomains of ConfigMap kube-system/kube-dns is blank, and kube-dns refuses the whole ConfigMap for it: write {} or take the key out")
		}
		return nil
	}
	own := k.state.Federations[f.Name]
	sharer := k.stubSharer(f.Name, f.Zone)
	value, _ := json.Marshal(f.Nameservers)
	i := stubs.index(f.Zone)
	switch {
	case i >= 0 && slices.Equal(stubs.members[i].servers, f.Nameservers):
		if sharer != "" {
			own.Stub = f.Zone
			k.state.Federations[f.Name] = own
		}
		return nil
	case i >= 0 && sharer != "":
		return fmt.Errorf("zone %s of federation %s is federation %s's too in this member, with the nameservers %s: give one of them another zone",
			f.Zone, f.Name, sharer, stubs.members[i].value.of(text))
	case i >= 0 && own.Stub == f.Zone:
		k.data[stubDomainsKey] = stubs.members[i].value.replace(text, string(value))
		return nil
	case i >= 0:
		return fmt.Errorf("key stubDomains of ConfigMap kube-system/kube-dns sends zone %s to %s, not to %s: take the entry out if it is a leftover, or give the federation another zone",
			f.Zone, stubs.members[i].value.of(text), value)
	}
	member := `"` + f.Zone + `":` + string(value)
	switch {
	case stubs.blank:
		k.begin(stubDomainsKey)
		k.data[stubDomainsKey] = "{" + member + "}"
	case len(stubs.members) == 0:
		k.data[stubDomainsKey] = span{stubs.end, stubs.end}.replace(text, member)
	default:
		end := stubs.members[len(stubs.members)-1].to
		k.data[stubDomainsKey] = text[:end] + "," + member + text[end:]
	}
	own.Stub = f.Zone
	k.state.Federations[f.Name] = own
	return nil
}

func (k *kubeDNS) removeStub(federation string) error {
	own := k.state.Federations[federation]
	zone := own.Stub
	if zone == "" {
		return nil
	}
	own.Stub = ""
	k.state.Federations[federation] = own
	if k.stubSharer(federation, zone) != "" {
		return nil
	}
	text, found := k.data[stubDomainsKey]
	stubs, err := parseStubs(text)
	if err != nil {
		return err
	}
	left := len(stubs.members)
	if i := stubs.index(zone); i >= 0 {
		cut := stubs.members[i].span
		switch {
		case i > 0:
			cut.from = stubs.members[i].comma
		case left > 1:
			cut.to = stubs.members[1].comma + 1
		}
		text = cut.replace(text, "")
		left--
	}
	if found {
		k.data[stubDomainsKey] = text
	}
	ours := false
	for _, e := range k.state.Federations {
		ours = ours || e.Stub != ""
	}
	k.end(stubDomainsKey, left == 0, ours)
	return nil
}

// stubSharer gives another federation that keeps its entry of stubDomains for the same zone, "" where there is none.
func (k *kubeDNS) stubSharer(federation, zone string) string {
	for _, name := range slices.Sorted(maps.Keys(k.state.Federations)) {
		if name != federation && k.state.Federations[name].Stub == zone {
			return name
		}
	}
	return ""
}

// stubs is the JSON object stubDomains with the places of its members.
type stubs struct {
	blank   bool // no object: an absent or blank text, or null
	members []stub
	end     int // of the closing brace
}

type stub struct {
	span    // from the key to the end of the value
	zone    string
	value   span
	servers []string
	comma   int // of the comma before, where it is not the first
}

func (s stubs) index(zone string) int {
	for i := len(s.members) - 1; i >= 0; i-- { // the last of two counts
		if s.members[i].zone == zone {
			return i
		}
	}
	return -1
}

// parseStubs reads stubDomains as kube-dns does. A blank text is let pass, though kube-dns refuses it: with our entry it is good, and without it
// is again as it was.
func parseStubs(text string) (stubs, error) {
	if strings.TrimSpace(text) == "" {
		return stubs{blank: true}, nil
	}
	var all map[string][]string
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return stubs{}, fmt.Errorf(`key stubDomains of ConfigMap kube-system/kube-dns is not JSON like {"<zone>": ["<ip>"]} (%w), so kube-dns passes over the whole ConfigMap: correct it or take the key out`, err)
	}
	if all == nil {
		return stubs{blank: true}, nil
	}
	var s stubs
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	next := func(from int, skip string) int { // where the next token begins
		return from + len(text[from:]) - len(strings.TrimLeft(text[from:], " \t\r\n"+skip))
	}
	at := func() int { return int(d.InputOffset()) }
	// The text is valid JSON of the right shape, so the decoder has nothing to complain of.
	_, _ = d.Token()
	for d.More() {
		end := at()
		m := stub{comma: next(end, "")}
		m.from = next(end, ",")
		key, _ := d.Token()
		m.zone, _ = key.(string)
		m.value.from = next(at(), ":")
		_ = d.Decode(&m.servers)
		m.to, m.value.to = at(), at()
		s.members = append(s.members, m)
	}
	s.end = next(at(), "")
	return s, nil
}
