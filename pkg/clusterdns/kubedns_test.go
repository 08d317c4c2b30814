package clusterdns

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asKubeDNSReads parses the data by kube-dns's rules (kubernetes/dns, pkg/dns/config and pkg/dns/federation).
func asKubeDNSReads(t *testing.T, data map[string]string) (federations map[string]string, stubDomains map[string][]string) {
	t.Helper()
	federations = map[string]string{}
	if text := data["federations"]; strings.TrimSpace(text) != "" {
		for val := range strings.SplitSeq(text, ",") {
			name, domain, found := strings.Cut(strings.TrimSpace(val), "=")
			require.True(t, found, "%q", text)
			federations[strings.TrimSpace(name)] = strings.TrimSpace(domain)
		}
	}
	if text, found := data["stubDomains"]; found {
		require.NoError(t, json.Unmarshal([]byte(text), &stubDomains), "%q", text)
	}
	return federations, stubDomains
}

func merge(t *testing.T, data map[string]string, f Federation) map[string]string {
	t.Helper()
	before := maps.Clone(data)
	out, err := MergeKubeDNS(data, f)
	require.NoError(t, err)
	require.Equal(t, before, data, "the given map was changed")
	again, err := MergeKubeDNS(out, f)
	require.NoError(t, err)
	require.Equal(t, out, again, "merging again changed something")
	return out
}

func remove(t *testing.T, data map[string]string, federation string) map[string]string {
	t.Helper()
	out, err := RemoveKubeDNS(data, federation)
	require.NoError(t, err)
	again, err := RemoveKubeDNS(out, federation)
	require.NoError(t, err)
	require.Equal(t, out, again, "removing again changed something")
	return out
}

func TestMergeKubeDNSGolden(t *testing.T) {
	const stub = `"federation.internal":["10.0.0.1","10.0.0.2:5353"]`
	for _, c := range []struct{ name, federations, stubDomains, wantFederations, wantStubDomains string }{
		{"blank", " \n", "\n", "fellowship=federation.internal", "{" + stub + "}"},
		{"null", "", " null", "fellowship=federation.internal", "{" + stub + "}"},
		{"empty object", "a=b", "{ }\n", "a=b,fellowship=federation.internal", "{ " + stub + "}\n"},
		{"compact", "a=b,c=d", `{"x":["1.2.3.4"]}`, "a=b,c=d,fellowship=federation.internal", `{"x":["1.2.3.4"],` + stub + `}`},
		{"spaced", " a = b ,\n c=d \n", "{\n  \"x\" : [\"1.2.3.4\" ]\n}\n", " a = b ,\n c=d,fellowship=federation.internal \n", "{\n  \"x\" : [\"1.2.3.4\" ]," + stub + "\n}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			user := map[string]string{"federations": c.federations, "stubDomains": c.stubDomains, "upstreamNameservers": " [\"8.8.8.8\"] "}
			merged := merge(t, user, fellowship)
			assert.Equal(t, c.wantFederations, merged["federations"])
			assert.Equal(t, c.wantStubDomains, merged["stubDomains"])
			assert.Equal(t, user["upstreamNameservers"], merged["upstreamNameservers"])
			asKubeDNSReads(t, merged)
			assert.Equal(t, user, remove(t, merged, "fellowship"))
		})
	}
}

func TestMergeKubeDNSIntoNothing(t *testing.T) {
	merged := merge(t, nil, fellowship)
	federations, stubs := asKubeDNSReads(t, merged)
	assert.Equal(t, map[string]string{"fellowship": "federation.internal"}, federations)
	assert.Equal(t, map[string][]string{"federation.internal": {"10.0.0.1", "10.0.0.2:5353"}}, stubs)
	assert.Empty(t, remove(t, merged, "fellowship"))

	public := merge(t, nil, with(fellowship, func(f *Federation) { f.Nameservers = nil }))
	assert.NotContains(t, public, "stubDomains")
	assert.Empty(t, remove(t, public, "fellowship"))
}

func TestUsersOwnEntriesStay(t *testing.T) {
	t.Run("the same as ours", func(t *testing.T) {
		user := map[string]string{"federations": "fellowship = federation.internal", "stubDomains": `{"federation.internal": ["10.0.0.1", "10.0.0.2:5353"]}`}
		merged := merge(t, user, fellowship)
		assert.Equal(t, user, merged)
		assert.Equal(t, user, remove(t, merged, "fellowship"))
	})
	t.Run("not ours to remove", func(t *testing.T) {
		user := map[string]string{"federations": "fellowship=shire.example", "stubDomains": "{"}
		assert.Equal(t, user, remove(t, user, "fellowship"))
	})
	t.Run("another federation name", func(t *testing.T) {
		user := map[string]string{"federations": "fellow=a,fellowship2=b"}
		assert.Equal(t, user, remove(t, merge(t, user, fellowship), "fellowship"))
	})
	t.Run("edited meanwhile", func(t *testing.T) {
		merged := merge(t, map[string]string{"federations": "a=b"}, fellowship)
		merged["federations"] = "x=y, " + strings.TrimPrefix(merged["federations"], "a=b,") + " , z=w\n"
		merged["stubDomains"] = "{ \"u\": [], " + strings.TrimPrefix(strings.TrimSuffix(merged["stubDomains"], "}"), "{") + " , \"v\":[] }"
		left := remove(t, merged, "fellowship")
		assert.Equal(t, map[string]string{"federations": "x=y , z=w\n", "stubDomains": `{ "u": [] , "v":[] }`}, left)
	})
	t.Run("ours moved to the front", func(t *testing.T) {
		merged := merge(t, map[string]string{"federations": "a=b", "stubDomains": `{"u":[]}`}, fellowship)
		merged["federations"] = "fellowship=federation.internal, a=b"
		merged["stubDomains"] = "{\n \"federation.internal\": [ \"10.0.0.1\" ],\n \"u\":[]}"
		left := remove(t, merged, "fellowship")
		assert.Equal(t, map[string]string{"federations": " a=b", "stubDomains": "{\n \n \"u\":[]}"}, left)
	})
	t.Run("ours deleted by hand", func(t *testing.T) {
		merged := merge(t, map[string]string{"federations": "a=b"}, fellowship)
		delete(merged, "stubDomains")
		merged["federations"] = "a=b"
		assert.Equal(t, map[string]string{"federations": "a=b"}, remove(t, merged, "fellowship"))
	})
}

func TestMergeFollowsChanges(t *testing.T) {
	user := map[string]string{"federations": "a=b\n", "stubDomains": "{}"}
	merged := merge(t, user, fellowship)
	for name, change := range map[string]func(*Federation){
		"nameserver":     func(f *Federation) { f.Nameservers = []string{"10.9.9.9"} },
		"zone":           func(f *Federation) { f.Zone = "mordor.example" },
		"zone of public": func(f *Federation) { f.Zone, f.Nameservers = "mordor.example", nil },
	} {
		t.Run(name, func(t *testing.T) {
			f := with(fellowship, change)
			followed := merge(t, merged, f)
			assert.Equal(t, merge(t, user, f), followed, "as if merged so at once")
			assert.Equal(t, user, remove(t, followed, "fellowship"))
		})
	}
	t.Run("repairs what was edited", func(t *testing.T) {
		edited := maps.Clone(merged)
		edited["federations"] = "a=b,fellowship = wrong\n"
		edited["stubDomains"] = `{"federation.internal": ["6.6.6.6"]}`
		federations, stubs := asKubeDNSReads(t, merge(t, edited, fellowship))
		assert.Equal(t, "federation.internal", federations["fellowship"])
		assert.Equal(t, fellowship.Nameservers, stubs["federation.internal"])
	})
}

func TestSharedZone(t *testing.T) {
	second := with(fellowship, func(f *Federation) { f.Name = "council" })
	for _, order := range [][]string{{"fellowship", "council"}, {"council", "fellowship"}} {
		data := merge(t, merge(t, nil, fellowship), second)
		data = remove(t, data, order[0])
		assert.Contains(t, data["stubDomains"], "federation.internal", "the other still needs it")
		assert.Empty(t, remove(t, data, order[1]))
	}
	second.Nameservers = []string{"10.7.7.7"}
	_, err := MergeKubeDNS(merge(t, nil, fellowship), second)
	assert.EqualError(t, err, `zone federation.internal of federation council is federation fellowship's too in this member, with the nameservers ["10.0.0.1","10.0.0.2:5353"]: give one of them another zone`)
}

func TestMergeKubeDNSRefuses(t *testing.T) {
	for want, data := range map[string]map[string]string{
		`gives federation fellowship the domain "shire.example", not federation.internal: take the entry out`: {"federations": "fellowship=shire.example"},
		`sends zone federation.internal to ["1.1.1.1"], not to ["10.0.0.1","10.0.0.2:5353"]: take the entry`:  {"stubDomains": `{"federation.internal":["1.1.1.1"]}`},
		`key stubDomains of ConfigMap kube-system/kube-dns is not JSON like {"<zone>": ["<ip>"]}`:             {"stubDomains": `{"x":["1.1.1.1"],}`},
		`(json: cannot unmarshal string into Go value of type []string)`:                                      {"stubDomains": `{"x":"1.1.1.1"}`},
		`kube-dns refuses the entry "" of key federations`:                                                    {"federations": "a=b,"},
		`kube-dns refuses the entry "a" of key federations`:                                                   {"federations": "a"},
		`kube-dns refuses the entry "a=" of key federations`:                                                  {"federations": "a="},
		`key fedhelm of ConfigMap kube-system/kube-dns is no longer the JSON that was written there`:          {"fedhelm": "x"},
	} {
		before := maps.Clone(data)
		_, err := MergeKubeDNS(data, fellowship)
		assert.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "\n")
		assert.Equal(t, before, data)
	}
	merged := merge(t, nil, fellowship)
	merged["stubDomains"] = "{"
	_, err := RemoveKubeDNS(merged, "fellowship")
	assert.ErrorContains(t, err, "correct it or take the key out")
}

// chance gives a random source whose seed is printed; SEED repeats a run.
func chance(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func space(r *rand.Rand) string {
	return strings.Repeat(pick(r, " ", "\t", "\n", "\r\n", ""), r.IntN(3))
}

func userData(r *rand.Rand) map[string]string {
	if r.IntN(20) == 0 {
		return nil
	}
	data := map[string]string{}
	if r.IntN(4) > 0 {
		var list []string
		for i := range r.IntN(4) {
			list = append(list, space(r)+"user"+strconv.Itoa(i)+space(r)+"="+space(r)+"user.example"+space(r))
		}
		if r.IntN(6) == 0 {
			list = append(list, space(r)+"fellowship ="+space(r)+"federation.internal") // the same as ours
		}
		data["federations"] = space(r) + strings.Join(list, ",") + space(r)
	}
	if r.IntN(4) > 0 {
		var list []string
		for i := range r.IntN(4) {
			list = append(list, space(r)+`"\u0075ser`+strconv.Itoa(i)+`"`+space(r)+":"+space(r)+pick(r, `["1.1.1.1" ,"2.2.2.2:53"]`, "[ ]", "null", `["}],{\""]`)+space(r))
		}
		if r.IntN(6) == 0 {
			list = append(list, ` "federation.internal" : [ "10.0.0.1","10.0.0.2:5353" ]`)
		}
		data["stubDomains"] = pick(r, space(r)+"{"+space(r)+strings.Join(list, ",")+space(r)+"}"+space(r), space(r), "null", " null\n")
	}
	if r.IntN(2) == 0 {
		data["upstreamNameservers"] = space(r) + "[not even JSON"
	}
	return data
}

// userEdits makes the same edit of the user's in both data: another key, or a further entry beside entries of the user's own.
func userEdits(r *rand.Rand, mark string, both ...map[string]string) {
	other, entry, stub := space(r), space(r)+"edit"+mark+" = x.example"+space(r), space(r)+`"edit`+mark+`" : []`+space(r)
	choice := r.IntN(5)
	hasEntry, hasStub := strings.Contains(both[0]["federations"], "="), strings.Contains(both[0]["stubDomains"], ":")
	for _, data := range both {
		list, object := data["federations"], data["stubDomains"]
		switch {
		case choice == 0:
			data["other"] = other
		case choice == 1 && hasEntry:
			data["federations"] = entry + "," + list
		case choice == 2 && hasEntry:
			data["federations"] = list + "," + entry
		case choice == 3 && hasStub:
			data["stubDomains"] = strings.Replace(object, "{", "{"+stub+",", 1)
		case choice == 4 && hasStub:
			end := strings.LastIndex(object, "}")
			data["stubDomains"] = object[:end] + "," + stub + object[end:]
		}
	}
}

func TestKubeDNSInverseProperty(t *testing.T) {
	r := chance(t)
	federations := []Federation{
		fellowship,
		{Name: "council", Zone: "elrond.example", Nameservers: []string{"10.3.3.3"}},
		{Name: "shared", Zone: "federation.internal", Nameservers: fellowship.Nameservers},
		{Name: "public", Zone: "public.example"},
	}
	for range 1000 {
		user := userData(r)
		want := maps.Clone(user)
		if want == nil {
			want = map[string]string{}
		}
		data := user
		for edit := range r.IntN(12) {
			f := federations[r.IntN(len(federations))]
			stubText, found := data["stubDomains"]
			refused := f.Nameservers == nil && found && strings.TrimSpace(stubText) == ""
			switch {
			case refused:
				_, err := MergeKubeDNS(data, f)
				require.ErrorContains(t, err, "stubDomains of ConfigMap kube-system/kube-dns is blank")
			case r.IntN(2) == 0:
				data = merge(t, data, f)
				got, stubs := asKubeDNSReads(t, data)
				require.Equal(t, Domain(f.Zone), got[f.Name])
				if f.Nameservers != nil {
					require.Equal(t, f.Nameservers, stubs[Domain(f.Zone)])
				}
			default:
				data = remove(t, data, f.Name)
			}
			if data = maps.Clone(data); data == nil {
				data = map[string]string{}
			}
			if r.IntN(3) == 0 {
				userEdits(r, strconv.Itoa(edit), want, data)
			}
		}
		for _, i := range r.Perm(len(federations)) {
			data = remove(t, data, federations[i].Name)
		}
		require.Equal(t, want, data)
	}
}
