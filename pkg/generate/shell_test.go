package generate

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// linesOf gives the command lines of kubefed in a script, each as "line: words".
func linesOf(t *testing.T, script string) (lines, warnings []string) {
	t.Helper()
	found, warnings, err := readScript(strings.NewReader(script), Shell{Name: "init.sh", Home: "/home/frodo", Variables: map[string]string{"GIVEN": "mine"}})
	require.NoError(t, err, script)
	for _, line := range found {
		lines = append(lines, strings.TrimPrefix(line.at, "init.sh:")+": "+strings.Join(line.words, "|"))
	}
	return lines, warnings
}

func TestScript(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		want   []string
	}{
		"quotes and continued lines":   {"kubefed init 'a b' \\\n  --x=\"c d\" \\\n  e\\ f", []string{"1: init|a b|--x=c d|e f"}},
		"variables":                    {"A=1\nB=\"$A 2\"\nkubefed init ${B} \"$B\" ${C:-3} ${A}4", []string{"3: init|1|2|1 2|3|14"}},
		"a variable set in passing":    {": ${ZONE:=example.com.}\nkubefed init $ZONE", []string{"2: init|example.com."}},
		"home":                         {"kubefed init $HOME ~/x \"~\"", []string{"1: init|/home/frodo|/home/frodo/x|~"}},
		"a given variable":             {"GIVEN=theirs\nGIVEN=$(date)\nkubefed init $GIVEN", []string{"3: init|mine"}},
		"exported":                     {"export A=1 B=2\nreadonly C=3\nkubefed init $A$B$C", []string{"3: init|123"}},
		"appended":                     {"A=1\nA+=2\nkubefed init $A", []string{"3: init|12"}},
		"parts of a variable":          {"A=gondor.example\nkubefed join ${A%%.*} ${A#*.} ${A/gondor/shire}", []string{"2: join|gondor|example|shire.example"}},
		"behind other programs":        {"time kubefed join a\nsudo -u root -E K=1 kubefed join b\nenv A=1 timeout 5m ./bin/kubefed join c\nnohup nice -n 5 kubefed join d &", []string{"1: join|a", "2: join|b", "3: join|c", "4: join|d"}},
		"after a prompt":               {"$ kubefed join a", []string{"1: join|a"}},
		"on one line":                  {"kubefed join a; kubefed join b && kubefed join c | tee log; { kubefed join d; }; (kubefed join e)", []string{"1: join|a", "1: join|b", "1: join|c", "1: join|d", "1: join|e"}},
		"loops over words":             {"for a in 1 2; do for b in 3 4; do\nkubefed join $a$b\ndone; done", []string{"2: join|13", "2: join|14", "2: join|23", "2: join|24"}},
		"loops over lists":             {"L=(1 '2 3')\nfor a in \"${L[@]}\" ${L[1]}; do kubefed join \"$a\"; done", []string{"2: join|1", "2: join|2 3", "2: join|2", "2: join|3"}},
		"functions":                    {"f() { kubefed join $1 \"$@\"; }\ng() { f $2; f 9; }\ng 7 8", []string{"1: join|8|8", "1: join|9|9"}},
		"arguments that shift":         {"f() { kubefed $1; shift; kubefed $1 $#; shift 5; kubefed \"$@\"; }\nset -- x y\nf a b c\nkubefed $2", []string{"1: a", "1: b|2", "1: ", "4: y"}},
		"a function that calls itself": {"f() { kubefed join a; f; }\nf", []string{"1: join|a"}},
		"here documents":               {"cat <<EOF\nkubefed join no\nEOF\nkubefed join yes", []string{"4: join|yes"}},
		"comments":                     {"# kubefed join no\nkubefed join yes # kubefed join no", []string{"2: join|yes"}},
		"only talk":                    {"echo kubefed join no\nsudo cp federation/client/bin/kubefed /usr/local/bin\nsudo chmod +x /usr/local/bin/kubefed\nwhich kubefed", nil},
		"commands of no interest":      {"x=$(date); kubectl get $x; [[ -n $y ]] && ((i++)); ls *.conf {a,b}\nkubefed join a", []string{"2: join|a"}},
		"variables of a subshell":      {"A=1\n(A=2)\nkubefed join $A", []string{"3: join|1"}},
		"a list that grows":            {"L=(1)\nL+=(2 '3 4')\nkubefed join \"${L[@]}\"", []string{"3: join|1|2|3 4"}},
		"a list by names":              {"declare -A L=([b]=2 [a]=\"x $((1))\")\ndeclare -A L=([b]=2 [a]=\"1 x\")\nfor c in \"${!L[@]}\"; do kubefed join $c \"${L[$c]}\"; done", []string{"3: join|a|1 x", "3: join|b|2"}},
		"variables of a function":      {"A=1\nf() { local A=$1; kubefed join $A; }\nf 2\nkubefed join $A", []string{"2: join|2", "4: join|1"}},
		"a function that runs others":  {"run() { echo \"$@\"; \"$@\"; }\nrun kubefed join a", []string{"1: join|a"}},
		"the same in all branches":     {"A=1\nif x; then A=1; fi\nkubefed join $A", []string{"3: join|1"}},
		"what it printed is kept":      {"A=1\nif ! out=$(A=2; kubefed join $A 2>&1); then exit 1; fi\nkubefed join $A", []string{"2: join|2", "3: join|1"}},
		"ends":                         {"f() { kubefed join a; return; kubefed join no; }\nf\n(exit)\nfor b in b c; do kubefed join $b; continue; kubefed join no; done\nfor d in d no; do kubefed join $d; break; done\nexit\nkubefed join no", []string{"1: join|a", "4: join|b", "4: join|c", "5: join|d"}},
		"a redirection alone":          {"> log\nkubefed join a 2>&1 > log", []string{"2: join|a"}},
	} {
		t.Run(name, func(t *testing.T) {
			lines, warnings := linesOf(t, test.script)
			assert.Equal(t, test.want, lines)
			assert.Empty(t, warnings)
		})
	}
}

// What may not have run is taken to have run, and what is not followed is not passed over in silence.
func TestScriptWarnings(t *testing.T) {
	for script, want := range map[string]string{
		"source settings.sh\nkubefed join b":                                                "init.sh:1: the file that is read in here is not followed: what it sets is not known, and command lines of kubefed in it are to be given by themselves",
		"if ! kubefed init a; then\nkubefed join b\nfi":                                     "init.sh:2: the line stands in an if (init.sh:1), so whether it ran is not known; it is taken to have run",
		"kubectl get x || kubefed join b":                                                   "init.sh:1: the line stands after || (init.sh:1), so whether it ran is not known; it is taken to have run",
		"[ -n \"$a\" ] && kubefed join b":                                                   "init.sh:1: the line stands after && (init.sh:1), so whether it ran is not known; it is taken to have run",
		"for a in 1 2; do if $a; then kubefed join b; fi; done":                             "init.sh:1: the line stands in an if (init.sh:1), so whether it ran is not known; it is taken to have run",
		"retry 5 kubefed join b":                                                            "init.sh:1: retry starts kubefed here, and what it starts is not followed: give that command line by itself",
		"alias k=kubefed":                                                                   "init.sh:1: alias starts kubefed here, and what it starts is not followed: give that command line by itself",
		"main() { kubefed join b; }\n\"$@\"":                                                "init.sh:1: nothing that is read calls function main, so the command lines of kubefed in it are left out",
		"usage() { echo \"usage: kubefed join b\"; }\nsource x":                             "init.sh:2: the file that is read in here is not followed: what it sets is not known, and command lines of kubefed in it are to be given by themselves",
		"if down; then\nkubefed unjoin b\nfi":                                               "init.sh:2: the line stands in an if (init.sh:1), so whether it ran is not known; no cluster is let go for it",
		"case $1 in\njoin) kubefed join b;;\nesac":                                          "init.sh:2: the line stands in a case (init.sh:2), so whether it ran is not known; it is taken to have run",
		"while read x; do\nkubefed join b\ndone":                                            "init.sh:2: the line stands in a loop (init.sh:1), so whether it ran is not known; it is taken to have run",
		"ssh rivendell <<EOF\nset -e\nkubefed join b --host-cluster-context=rivendell\nEOF": "init.sh:1: ssh is given lines of kubefed to run here, which are not followed: give them by themselves",
		"for c in a b; do\n[ $c = b ] && continue\nkubefed join c\nbreak\ndone\nkubefed join d\nexit 0\nkubefed join e": "init.sh:3: the line stands after continue (init.sh:2), so whether it ran is not known; it is taken to have run",
		"cat list | xargs -n1 kubefed join":                       "init.sh:1: xargs starts kubefed here, and what it starts is not followed: give that command line by itself",
		"ssh rivendell 'kubefed init a'":                          "init.sh:1: ssh starts kubefed here, and what it starts is not followed: give that command line by itself",
		"kubectl delete ns federation-system --context=rivendell": "init.sh:1: deleting namespace federation-system is not followed: a federation in it is torn down by uninstalling its releases, members first",
		"kubectl -n federation-system patch deployment controller-manager --patch \"$P\"\nP=x\nkubectl -n federation-system patch deployment controller-manager --patch \"$P\"": "init.sh:3: the patch of the controller manager is not followed: what it sets, such as keys for Route 53, has a value; docs/kubefed.md says which",
	} {
		_, warnings := linesOf(t, script)
		assert.Equal(t, []string{want}, warnings, script)
	}
}

// What a line of kubefed needs and only a run shows is refused, and named.
func TestScriptRefuses(t *testing.T) {
	for script, want := range map[string]string{
		"kubefed join $CLUSTER":                                   "init.sh:1: the value of variable CLUSTER is not known here, since nothing before sets it: give it with --variable CLUSTER=VALUE",
		"\nkubefed join ${CLUSTER?}":                              "init.sh:2: the value of variable CLUSTER is not known here, since nothing before sets it: give it with --variable CLUSTER=VALUE",
		"kubefed join $1":                                         "init.sh:1: the value of variable 1 is not known here, since nothing before sets it: give it with --variable 1=VALUE",
		"A=$(date)\nkubefed join $A":                              "init.sh:2: the value of variable A is not known here, since what it is set to (init.sh:1) only a run shows: give it with --variable A=VALUE",
		"f() { kubefed join $1; }\nf $(date)":                     "init.sh:1: the value of variable 1 is not known here, since nothing before sets it: give it with --variable 1=VALUE",
		"A=1\nif x; then A=2; fi\nkubefed join $A":                "init.sh:3: the value of variable A is not known here, since it is set in an if (init.sh:2): give it with --variable A=VALUE",
		"while read -r name context; do kubefed join $name; done": "init.sh:1: the value of variable name is not known here, since it is set by read (init.sh:1): give it with --variable name=VALUE",
		"for c in $(cat list); do\nkubefed join $c; done":         "init.sh:2: the value of variable c is not known here, since the words of the loop (init.sh:1) are not known: give it with --variable c=VALUE",
		"for ((i=0; i<3; i++)); do kubefed join c$i; done":        "init.sh:1: the value of variable i is not known here, since nothing before sets it: give it with --variable i=VALUE",
		"i=0; ((i++)); kubefed join c$i":                          "init.sh:1: the value of variable i is not known here, since it is computed (init.sh:1): give it with --variable i=VALUE",
		"A=1; read A; kubefed join $A":                            "init.sh:1: the value of variable A is not known here, since it is set by read (init.sh:1): give it with --variable A=VALUE",
		"A=(a $B); kubefed join ${A[0]}":                          "init.sh:1: the value of variable A is not known here, since it is set to a list that is not known (init.sh:1): give it with --variable A=VALUE",
		"KUBECONFIG=$(x)\nkubefed join a":                         "init.sh:2: the value of variable KUBECONFIG is not known here, since what it is set to (init.sh:1) only a run shows: give it with --variable KUBECONFIG=VALUE",
		"$KUBEFED join a":                                         "init.sh:1: the value of variable KUBEFED is not known here, since nothing before sets it: give it with --variable KUBEFED=VALUE",
		"kubefed join `hostname`":                                 "init.sh:1: a part of the line is what a command prints, and no command is run: write it out",
		"kubefed join ${A:-$(hostname)}":                          "init.sh:1: a part of the line is what a command prints, and no command is run: write it out",
		"kubefed join a --kubeconfig=<(x)":                        "init.sh:1: a part of the line is what a command prints, and no command is run: write it out",
		"kubefed join c$((1+1))":                                  "init.sh:1: a part of the line is computed, which is not followed: write the number out",
		"kubefed join *":                                          "init.sh:1: a part of the line is a pattern of file names, which are not looked at: write them out, or put it in quotes",
		"kubefed join {a,b}":                                      "init.sh:1: a part of the line has braces, which are not followed: write the words out, or put it in quotes",
		"kubefed join {1..9}{1..9}":                               "init.sh:1: a part of the line has braces, which are not followed: write the words out, or put it in quotes",
		"if kubefed join":                                         "read the shell script: init.sh:1:1:",
		"kubefed join 'a":                                         "read the shell script: init.sh:1:14:",
		strings.Repeat("for a in 1 2 3 4 5 6 7 8 9; do ", 6) + "x;" + strings.Repeat(" done;", 6): "init.sh:1: the script runs more than 10000 commands, which is more than is read: give its lines of kubefed alone",
	} {
		_, _, err := readScript(strings.NewReader(script), Shell{Name: "init.sh", Home: "/home/frodo"})
		if assert.Error(t, err, script) {
			assert.Contains(t, err.Error(), want, script)
			assert.NotContains(t, err.Error(), "\n")
		}
	}
}

func TestKubeconfigAndContext(t *testing.T) {
	found, _, err := readScript(strings.NewReader(`kubefed join a
KUBECONFIG=one kubefed join b
export KUBECONFIG=two
kubectl config use-context fellowship
kubefed join c
kubectl --kubeconfig x config use-context alliance >/dev/null
env KUBECONFIG=three kubefed join d
kubectl config use-context $UNKNOWN
kubefed join e`), Shell{Name: "init.sh"})
	require.NoError(t, err)
	var got [][2]string
	for _, line := range found {
		got = append(got, [2]string{line.kubeconfig, line.context})
	}
	assert.Equal(t, [][2]string{{"", ""}, {"one", ""}, {"two", "fellowship"}, {"three", "alliance"}, {"two", ""}}, got)
}

func TestArgumentsOfTheCommandLine(t *testing.T) {
	read := func(arguments ...string) ([]commandLine, error) {
		lines, _, err := readArguments(arguments, Shell{Name: "the command line", Home: "/home/frodo"})
		return lines, err
	}
	lines, err := read("kubefed", "init", "a b", "--x=$Y", ";", "sudo", "KUBECONFIG=c", "/bin/kubefed", "join", "d", "&&", "kubefed", "join", "e")
	require.NoError(t, err)
	assert.Equal(t, []commandLine{
		{at: "the command line", words: []string{"init", "a b", "--x=$Y"}},
		{at: "the command line", words: []string{"join", "d"}, kubeconfig: "c"},
		{at: "the command line", words: []string{"join", "e"}},
	}, lines)

	lines, err = read("kubefed init a; kubefed join ~")
	require.NoError(t, err)
	assert.Equal(t, []commandLine{{at: "the command line:1", words: []string{"init", "a"}}, {at: "the command line:1", words: []string{"join", "/home/frodo"}}}, lines)

	_, err = read("kubectl", "get", "nodes")
	assert.EqualError(t, err, "after -- stands \"kubectl get nodes\", which is no command line of kubefed: give one like `-- kubefed init fellowship --host-cluster-context=rivendell`")
	for _, nothing := range [][]string{nil, {";"}} {
		_, err = read(nothing...)
		assert.ErrorContains(t, err, "nothing stands after --")
	}
}

// FuzzScript: whatever the text, reading and planning end, and an error is one sentence.
func FuzzScript(f *testing.F) {
	for _, script := range guide {
		f.Add(script)
	}
	f.Add(all)
	f.Add("f() { f \"$@\" x; kubefed join ${1^^} ${@:2} ${#A} ${!A} \"${A[*]}\"; }; f a; select x in a; do :; done; coproc x; let i=1; a[1]=2; ${x} <<< y")
	f.Add("kubefed init a --apiserver-arg-overrides=--a=b,,=c --node-selector== --image=:@/ --etcd-image=x:v9 --api-server-port=-1")
	charts := repository(f)
	f.Fuzz(func(t *testing.T, script string) {
		p, err := FromScript(strings.NewReader(script), Shell{Name: "init.sh", Home: home}, charts)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		for _, warning := range p.Warnings {
			require.NotEmpty(t, warning)
		}
		text, err := encode(p.helmfileRemark(charts), mapping("releases", sequence(p.Releases[0].helmfile(charts))))
		require.NoError(t, err)
		read, err := readHelmfile(File{Text: text})
		require.NoError(t, err, string(text))
		require.Len(t, read, 1)
		require.Equal(t, p.Releases[0].Name, read[0].name)
		require.Equal(t, p.Releases[0].Namespace, read[0].namespace)
	})
}
