package clusterdns

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// kubeadm's Corefile.
const kubeadm = `.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
`

const blockA, blockB = "a.svc.cluster.local:53 {\n    errors\n}\n", "b.svc.cluster.local:53 {\n    errors\n}\n"

func insert(t *testing.T, corefile, federation, text string) string {
	t.Helper()
	out, err := InsertBlock(corefile, federation, text)
	require.NoError(t, err, "%q", corefile)
	again, err := InsertBlock(out, federation, text)
	require.NoError(t, err)
	require.Equal(t, out, again, "inserting again changed something")
	got, found, err := Block(out, federation)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, text, got)
	return out
}

func removeBlock(t *testing.T, corefile, federation string) string {
	t.Helper()
	out, err := RemoveBlock(corefile, federation)
	require.NoError(t, err)
	_, found, err := Block(out, federation)
	require.NoError(t, err)
	require.False(t, found)
	return out
}

func TestInsertBlockGolden(t *testing.T) {
	block := "# BEGIN fedhelm federation a\n" + blockA + "# END fedhelm federation a"
	for user, want := range map[string]string{
		"":                 block + "\n",
		kubeadm:            kubeadm + block + "\n",
		". {\n}":           ". {\n}\n" + block,
		". {\r\n}\r\n":     ". {\r\n}\r\n" + block + "\n",
		". {\r\n}\r\n # x": ". {\r\n}\r\n # x\n" + block,
		"\n\n":             "\n\n" + block + "\n",
	} {
		got := insert(t, user, "a", blockA)
		assert.Equal(t, want, got)
		assert.Equal(t, user, removeBlock(t, got, "a"))
		assert.Equal(t, user, removeBlock(t, user, "a"))
	}
}

func TestEditedBlock(t *testing.T) {
	for _, user := range []string{kubeadm, strings.TrimSuffix(kubeadm, "\n")} {
		inserted := insert(t, insert(t, user, "a", blockA), "b", blockB)
		edited := strings.Replace(inserted, "    errors\n}\n# END fedhelm federation a", "    {{ broken\n# END fedhelm federation a", 1)
		require.NotEqual(t, inserted, edited)
		restored, err := InsertBlock(edited, "a", blockA)
		require.NoError(t, err)
		assert.Equal(t, inserted, restored)
		assert.Equal(t, user, removeBlock(t, removeBlock(t, edited, "a"), "b"))
	}

	crlf := strings.ReplaceAll(insert(t, kubeadm, "a", blockA), "\n", "\r\n")
	assert.Equal(t, strings.ReplaceAll(kubeadm, "\n", "\r\n"), removeBlock(t, crlf, "a"))
	indented := "  " + strings.ReplaceAll(insert(t, "", "a", blockA), "\n", "\n  ")
	assert.Equal(t, "  ", removeBlock(t, indented, "a"))
}

func TestBrokenMarkers(t *testing.T) {
	const begin, end = "# BEGIN fedhelm federation a\n", "# END fedhelm federation a\n"
	const beginB, endB = "# BEGIN fedhelm federation b\n", "# END fedhelm federation b\n"
	for corefile, want := range map[string]string{
		begin + blockA:              `the Corefile has the line "# BEGIN fedhelm federation a" without an END line after it: delete the block of federation a by hand, with both its marker lines`,
		blockA + end:                `the Corefile has the line "# END fedhelm federation a" without a BEGIN line before it: delete`,
		begin + begin + end:         `the Corefile has the line "# BEGIN fedhelm federation a" twice: delete`,
		begin + end + begin + end:   `the Corefile has the line "# BEGIN fedhelm federation a" twice: delete`,
		begin + end + end:           `the Corefile has the line "# END fedhelm federation a" without`,
		begin + beginB + end + endB: `the Corefile has the line "# BEGIN fedhelm federation a" and another federation's marker before its END line: delete`,
	} {
		_, err := InsertBlock(corefile, "a", blockA)
		assert.ErrorContains(t, err, want)
		left, err := RemoveBlock(corefile, "a")
		assert.ErrorContains(t, err, want)
		assert.Equal(t, corefile, left)
		_, _, err = Block(corefile, "a")
		assert.ErrorContains(t, err, want)
	}
	_, err := InsertBlock("", "b", begin+blockA)
	assert.EqualError(t, err, `the text for federation b has a marker line "# BEGIN fedhelm federation a" of its own: take it out of the template`)
}

func TestCheckServers(t *testing.T) {
	for corefile, want := range map[string]string{
		kubeadm:                                            "",
		"import custom/*.server\n":                         "",
		"a.svc.cluster.local:1053 {\n}":                    "",
		"https://a.svc.cluster.local:53 {\n}":              "",
		"(a.svc.cluster.local) {\n}":                       "",
		"# a.svc.cluster.local:53 {\n":                     "",
		`. { log "{" }`:                                    "opens a block in line 1 that it does not close", // CoreDNS counts the quoted brace too
		`. { log "a { b" }`:                                "",
		"x.example,\ny.example {\n}":                       "",
		"A.svc.cluster.local. {\n}":                        "the Corefile cannot take federation a: line 1 there serves a.svc.cluster.local. on port 53 already: take it out if it is yours, or give the federations of this member different zones",
		"x\n{\n}\ny:1, dns://a.svc.cluster.local:53\n{\n}": "line 4 there serves a.svc.cluster.local. on port 53 already",
		". {\n errors\n":                                   "the Corefile cannot take federation a: what is there opens a block in line 1 that it does not close",
		". {\n}\n}":                                        "what is there closes a block in line 3 that is not open",
		".:53\nerrors\n":                                   "what is there has a server block without braces in line 1",
		".:53\n":                                           "what is there has a server block without braces in line 1",
		"{\n}\n":                                           "what is there has a block without an address in line 1",
		"import":                                           "what is there ends in an import without a file",
	} {
		_, err := InsertBlock(corefile, "a", blockA)
		if want == "" {
			assert.NoError(t, err, corefile)
		} else {
			assert.ErrorContains(t, err, want, corefile)
		}
	}
	text, err := Render(fellowship, "")
	require.NoError(t, err)
	other, err := Render(with(fellowship, func(f *Federation) { f.Name, f.FallbackPort = "council", 10054 }), "")
	require.NoError(t, err)
	assert.ErrorContains(t, CheckServers(other, kubeadm, text), "serves federation.internal. on port 53 already")
}

func TestFallbackPort(t *testing.T) {
	render := func(name string, port int) string {
		text, err := Render(Federation{Name: name, Zone: name + ".example", Nameservers: []string{"10.0.0.1:10060"}, FallbackPort: port}, "")
		require.NoError(t, err)
		return text
	}
	a := render("a", FallbackPort("", kubeadm))
	assert.Contains(t, a, ".:10053 {")
	corefile := insert(t, kubeadm, "a", a)
	b := render("b", FallbackPort("", corefile))
	assert.Contains(t, b, ".:10054 {")
	corefile = insert(t, corefile, "b", b)

	assert.Equal(t, 10054, FallbackPort(b, removeBlock(t, corefile, "b")), "stable")
	corefile = removeBlock(t, corefile, "a")
	assert.Equal(t, 10054, FallbackPort(b, removeBlock(t, corefile, "b")), "stable when a lower one is free")
	assert.Equal(t, 10053, FallbackPort("", corefile), "the lower one is taken again")
	assert.Equal(t, 10053, FallbackPort(b, "x:10054 {\n}"), "the user took ours")
	assert.Equal(t, 10055, FallbackPort("{", "x:10053 {\n bind 127.0.0.1\n prometheus :10054\n}"))
}

func userCorefile(r *rand.Rand) string {
	var b strings.Builder
	for i := range r.IntN(5) {
		b.WriteString(pick(r,
			"# BEGIN fedhelm federation of bananas and such\n", // nobody's name
			"# "+space(r)+"}{ \"\n",
			"import custom/*.server\n",
			"(snippet"+strconv.Itoa(i)+") {\r\n errors\r\n}\n",
			"zone"+strconv.Itoa(i)+".example:53 {\n"+space(r)+"log \"a } b\" {\n}\n}"+space(r)+"\n",
			kubeadm[:len(kubeadm)-1]+" "+space(r)+"\n#",
			space(r),
		))
		b.WriteString(pick(r, "\n", "\r\n", "\n#", "\n "))
	}
	return strings.TrimRight(b.String(), pick(r, "", "\n", "\r\n", "\n# "))
}

func TestBlockInverseProperty(t *testing.T) {
	r := chance(t)
	texts := map[string]string{"a": blockA, "b": blockB, "aa": "aa.svc.cluster.local {\r\n}\n"}
	refused := 0
	for range 1500 {
		user := userCorefile(r)
		if strings.Count(user, ".:53") > 1 || CheckServers("", user) != nil {
			refused++
			continue
		}
		corefile := user
		for range r.IntN(10) {
			federation := pick(r, "a", "b", "aa")
			if r.IntN(2) == 0 {
				corefile = insert(t, corefile, federation, texts[federation])
			} else {
				corefile = removeBlock(t, corefile, federation)
			}
			require.NoError(t, CheckServers("", corefile))
		}
		for _, i := range r.Perm(3) {
			corefile = removeBlock(t, corefile, []string{"a", "b", "aa"}[i])
		}
		require.Equal(t, user, corefile)
	}
	require.Less(t, refused, 750)
}
