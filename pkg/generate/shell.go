package generate

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// Shell is what is known of the shell that ran a script.
type Shell struct {
	// Name of the script, for messages.
	Name string
	// Home is what $HOME and ~ stand for.
	Home string
	// Variables are known, whatever the script sets.
	Variables map[string]string
}

// commandLine is a command line of kubefed, as the shell gives it to the program.
type commandLine struct {
	// at says where it stands: "init.sh:12".
	at string
	// words are those after "kubefed".
	words []string
	// kubeconfig is the variable KUBECONFIG, context what `kubectl config use-context` chose last; empty if nothing set them.
	kubeconfig, context string
}

// maxSteps bounds how many commands of a script are read: a loop may stand in a loop.
const maxSteps = 10_000

// reader reads a script from top to bottom. It follows loops over words, functions and variables, and runs nothing: what depends on a command's output, or on anything else that
// only a run shows, is not known, and only the lines that need it are refused.
type reader struct {
	Shell
	variables map[string]variable
	functions map[string]*syntax.Stmt
	// locals are the variables of the function being read, with what they were before it: nil for none.
	locals map[string]*variable
	// called are the functions that have been read.
	called map[*syntax.Stmt]bool
	// context is what `kubectl config use-context` chose last.
	context string
	// doubt says why what is read may not have run, "in an if (init.sh:3)"; empty where it has.
	doubt string
	// left is the doubt about the rest of a loop, "after continue (init.sh:3)"; stop is what has ended the loop, function or script being read.
	left, stop string
	// calls are the functions being read, innermost last.
	calls []*syntax.Stmt
	steps int

	found    []commandLine
	warnings []string
}

// variable is what a variable is set to, or why that is not known.
type variable struct {
	expand.Variable
	unknown string
}

// readScript gives the command lines of kubefed in a shell script, in the order in which they ran, and what is to be said of the script besides. Errors: a script that is none, and lines
// of kubefed that cannot be known without running the script; each names the line.
func readScript(text io.Reader, shell Shell) ([]commandLine, []string, error) {
	r := &reader{Shell: shell, variables: map[string]variable{}, functions: map[string]*syntax.Stmt{}, called: map[*syntax.Stmt]bool{}}
	if shell.Home != "" {
		r.set("HOME", shell.Home)
	}
	for name, value := range shell.Variables {
		r.set(name, value)
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(text, shell.Name)
	if err != nil {
		return nil, nil, fmt.Errorf("read the shell script: %w; give a script for bash or sh, or one command line after --", err)
	}
	if err := r.statements(file.Stmts); err != nil {
		return nil, nil, err
	}
	for _, name := range sortedKeys(r.functions) {
		if body := r.functions[name]; !r.called[body] && mayStartKubefed(body) {
			r.warn(body, fmt.Sprintf("nothing that is read calls function %s, so the command lines of kubefed in it are left out", name))
		}
	}
	return r.found, r.warnings, nil
}

func (r *reader) statements(list []*syntax.Stmt) error {
	for _, statement := range list {
		if r.steps++; r.steps > maxSteps {
			return fmt.Errorf("%s: the script runs more than %d commands, which is more than is read: give its lines of kubefed alone", r.at(statement), maxSteps)
		}
		if statement.Cmd == nil { // only a redirection
			continue
		}
		r.documents(statement)
		if err := r.command(statement.Cmd); err != nil {
			return err
		}
		if r.stop != "" {
			return nil
		}
	}
	return nil
}

// documents says so where a shell is given lines of kubefed as its input.
func (r *reader) documents(statement *syntax.Stmt) {
	c, ok := statement.Cmd.(*syntax.CallExpr)
	if !ok || len(c.Args) == 0 || !slices.Contains(hiding, path.Base(c.Args[0].Lit())) {
		return
	}
	for _, redirection := range statement.Redirs {
		if redirection.Hdoc != nil && startsKubefed(strings.Fields(literals(redirection.Hdoc))) {
			r.warn(c, c.Args[0].Lit()+" is given lines of kubefed to run here, which are not followed: give them by themselves")
		}
	}
}

// subshell reads statements whose variables, and whose end, are their own.
func (r *reader) subshell(list []*syntax.Stmt) error {
	outer := maps.Clone(r.variables)
	err := r.statements(list)
	r.variables, r.stop = outer, ""
	return err
}

func (r *reader) command(command syntax.Command) error {
	switch c := command.(type) {
	case *syntax.CallExpr:
		return r.call(c)
	case *syntax.DeclClause: // export, local, readonly, declare
		if c.Variant.Value != "export" && c.Variant.Value != "readonly" {
			r.local(c.Args)
		}
		return r.assign(c.Args)
	case *syntax.Block:
		return r.statements(c.Stmts)
	case *syntax.Subshell:
		return r.subshell(c.Stmts)
	case *syntax.TimeClause:
		if c.Stmt != nil {
			return r.statements([]*syntax.Stmt{c.Stmt})
		}
	case *syntax.CoprocClause:
		return r.statements([]*syntax.Stmt{c.Stmt})
	case *syntax.BinaryCmd:
		if err := r.statements([]*syntax.Stmt{c.X}); err != nil {
			return err
		}
		if c.Op == syntax.OrStmt || c.Op == syntax.AndStmt && isTest(c.X.Cmd) {
			return r.perhaps("after "+c.Op.String(), c.Y, []*syntax.Stmt{c.Y})
		}
		return r.statements([]*syntax.Stmt{c.Y})
	case *syntax.IfClause:
		for clause := c; clause != nil; clause = clause.Else {
			if err := r.statements(clause.Cond); err != nil {
				return err
			}
			if err := r.perhaps("in an if", clause, clause.Then); err != nil {
				return err
			}
		}
	case *syntax.CaseClause:
		for _, item := range c.Items {
			if err := r.perhaps("in a case", item, item.Stmts); err != nil {
				return err
			}
		}
	case *syntax.WhileClause:
		if err := r.statements(c.Cond); err != nil {
			return err
		}
		return r.untilLeft(func() error { return r.perhaps("in a loop", c, c.Do) })
	case *syntax.ForClause:
		return r.untilLeft(func() error { return r.loop(c) })
	case *syntax.FuncDecl:
		if c.Name != nil {
			r.functions[c.Name.Value] = c.Body
		}
	default: // arithmetic and tests
		r.forgetAllIn(command)
	}
	return nil
}

// isTest reports whether a command only tests something, which a script does not expect to be so.
func isTest(command syntax.Command) bool {
	switch c := command.(type) {
	case *syntax.TestClause, *syntax.ArithmCmd:
		return true
	case *syntax.CallExpr:
		return len(c.Args) > 0 && slices.Contains([]string{"[", "test"}, c.Args[0].Lit())
	}
	return false
}

// perhaps reads statements that may not have run, so that what they set is not known afterwards.
func (r *reader) perhaps(where string, node syntax.Node, list []*syntax.Stmt) error {
	after, outer := maps.Clone(r.variables), r.doubt
	r.doubt = fmt.Sprintf("%s (%s)", where, r.at(node))
	err := r.statements(list)
	for name, v := range r.variables {
		if before, found := after[name]; !found || !reflect.DeepEqual(before, v) {
			after[name] = variable{unknown: "it is set " + r.doubt}
		}
	}
	r.variables, r.doubt = after, outer
	return err
}

// untilLeft reads a loop, in which a break or continue that may have run makes what follows it doubtful.
func (r *reader) untilLeft(loop func() error) error {
	outer := r.left
	err := loop()
	r.left = outer
	return err
}

// loop reads the body once for each word that the loop goes over, or where these are not known once, without the variable.
func (r *reader) loop(c *syntax.ForClause) error {
	words, ok := c.Loop.(*syntax.WordIter)
	if !ok {
		r.forgetAllIn(c.Loop)
		return r.perhaps("in a loop", c, c.Do)
	}
	items, err := r.words(words.Items)
	if err != nil || c.Select || !words.InPos.IsValid() {
		r.forget(words.Name.Value, fmt.Sprintf("the words of the loop (%s) are not known", r.at(c)))
		return r.perhaps("in a loop", c, c.Do)
	}
	for _, item := range items {
		r.set(words.Name.Value, item)
		if err := r.statements(c.Do); err != nil {
			return err
		}
		if strings.HasPrefix(r.left, "after continue") {
			r.left = ""
		}
		switch r.stop {
		case "continue":
			r.stop = ""
		case "break":
			r.stop = ""
			return nil
		}
	}
	return nil
}

// call reads a simple command: assignments, a function of the script, or a program.
func (r *reader) call(c *syntax.CallExpr) error {
	if len(c.Args) == 0 {
		return r.assign(c.Assigns)
	}
	words, err := r.words(c.Args)
	if err != nil {
		if body := r.functions[c.Args[0].Lit()]; body != nil { // only what it is called with is not known
			return r.function(body, nil, false)
		}
		return r.unreadable(c, err)
	}
	if len(words) == 0 {
		return nil
	}
	if body := r.functions[words[0]]; body != nil {
		return r.function(body, words[1:], true)
	}
	switch {
	case slices.Contains([]string{"exit", "return", "break", "continue"}, words[0]):
		r.leave(c, words[0])
		return nil
	case words[0] == "shift":
		r.shift(words[1:])
		return nil
	case words[0] == "set" && slices.Contains(words, "--"):
		r.setArguments(words[slices.Index(words, "--")+1:], true)
		return nil
	}
	if slices.Contains([]string{"read", "unset", "mapfile", "readarray", "getopts"}, words[0]) {
		for _, name := range words[1:] {
			r.forget(name, fmt.Sprintf("it is set by %s (%s)", words[0], r.at(c)))
		}
		return nil
	}

	// Assignments before a command are for that command alone.
	outer := maps.Clone(r.variables)
	if err := r.assign(c.Assigns); err != nil {
		return err
	}
	kubeconfig, err := r.environment("KUBECONFIG")
	r.variables = outer
	doubt := cmp.Or(r.doubt, r.left)
	name, words, environment := program(words)
	if given, found := environment["KUBECONFIG"]; found {
		kubeconfig, err = given, nil
	}
	switch {
	case name == "kubefed" && err != nil:
		return fmt.Errorf("%s: %w", r.at(c), err)
	case name == "kubefed":
		switch {
		case doubt != "" && slices.Contains(words, "unjoin"): // scripts that make and unmake, by their arguments, are there to make
			r.warn(c, "the line stands "+doubt+", so whether it ran is not known; no cluster is let go for it")
			return nil
		case doubt != "":
			r.warn(c, "the line stands "+doubt+", so whether it ran is not known; it is taken to have run")
		}
		r.found = append(r.found, commandLine{at: r.at(c), words: words, kubeconfig: kubeconfig, context: r.context})
	case name == "kubectl":
		r.kubectl(c, words)
	case name == "source" || name == ".":
		r.warn(c, "the file that is read in here is not followed: what it sets is not known, and command lines of kubefed in it are to be given by themselves")
	case slices.Contains(hiding, name) && strings.Contains(strings.Join(words, " "), "kubefed"), !slices.Contains(talking, name) && startsKubefed(words):
		r.warn(c, name+" starts kubefed here, and what it starts is not followed: give that command line by itself")
	}
	return nil
}

// leave notes that what is read ends here, or where that is not sure, that the rest of a loop is doubtful. A script that may have ended is taken to have come to its end.
func (r *reader) leave(c *syntax.CallExpr, word string) {
	switch {
	case r.doubt == "":
		r.stop = word
	case r.left == "" && (word == "break" || word == "continue"):
		r.left = fmt.Sprintf("after %s (%s)", word, r.at(c))
	}
}

// hiding are programs that start others in ways that are not followed.
var hiding = []string{"xargs", "parallel", "ssh", "bash", "sh", "dash", "zsh", "ksh", "eval", "watch", "docker", "su", "find", "alias"}

// talking are programs that only name kubefed.
var talking = []string{"echo", "printf", "which", "type", "help", "grep", "man"}

// mayStartKubefed reports whether a command line in a function that is not read is one of kubefed's.
func mayStartKubefed(body *syntax.Stmt) (may bool) {
	syntax.Walk(body, func(node syntax.Node) bool {
		if c, ok := node.(*syntax.CallExpr); ok && len(c.Args) > 0 && !slices.Contains(talking, c.Args[0].Lit()) {
			may = may || startsKubefed(strings.Fields(literals(c)))
		}
		return true
	})
	return may
}

// startsKubefed reports whether words have a command line of kubefed among them, for a program that is not known.
func startsKubefed(words []string) bool {
	i := slices.IndexFunc(words, func(word string) bool { return path.Base(word) == "kubefed" })
	return i >= 0 && slices.ContainsFunc(words[i:], func(word string) bool { return word == "init" || word == "join" || word == "unjoin" })
}

// unreadable says what is wrong with a command whose words are not known, if it may be one of kubefed's.
func (r *reader) unreadable(c *syntax.CallExpr, err error) error {
	text := literals(c)
	switch {
	case strings.Contains(strings.ToLower(text), "kubefed"), strings.Contains(text, "--host-cluster-context"):
		return fmt.Errorf("%s: %w", r.at(c), err)
	case strings.Contains(text, "use-context"):
		r.context = ""
	}
	return nil
}

// literals is the text of words as far as it is literal, and the names of their variables.
func literals(words syntax.Node) string {
	var text strings.Builder
	syntax.Walk(words, func(node syntax.Node) bool {
		switch n := node.(type) {
		case *syntax.Word:
			text.WriteByte(' ')
		case *syntax.Lit:
			text.WriteString(n.Value)
		case *syntax.SglQuoted:
			text.WriteString(n.Value)
		}
		return true
	})
	return text.String()
}

// function reads the body of a function that is called with arguments, which may not be known.
func (r *reader) function(body *syntax.Stmt, arguments []string, known bool) error {
	if slices.Contains(r.calls, body) { // it calls itself: how often is not known
		return nil
	}
	outer, outerKnown := r.arguments()
	outerLocals := r.locals
	r.calls, r.locals, r.called[body] = append(r.calls, body), map[string]*variable{}, true
	r.setArguments(arguments, known)
	err := r.statements([]*syntax.Stmt{body})
	if r.stop == "return" {
		r.stop = ""
	}
	for name, before := range r.locals {
		if delete(r.variables, name); before != nil {
			r.variables[name] = *before
		}
	}
	r.calls, r.locals = r.calls[:len(r.calls)-1], outerLocals
	r.setArguments(outer, outerKnown)
	return err
}

// local keeps what variables were before the function that declares them, which are as before after it.
func (r *reader) local(list []*syntax.Assign) {
	for _, a := range list {
		if len(r.calls) == 0 || a.Name == nil {
			continue
		}
		if _, kept := r.locals[a.Name.Value]; kept {
			continue
		}
		r.locals[a.Name.Value] = nil
		if before, found := r.variables[a.Name.Value]; found {
			r.locals[a.Name.Value] = &before
		}
	}
}

// arguments are the positional parameters, if they are known.
func (r *reader) arguments() (arguments []string, known bool) {
	v := r.variables["@"]
	return v.List, v.Set
}

func (r *reader) setArguments(arguments []string, known bool) {
	for i := 1; i <= max(9, len(r.variables["@"].List)); i++ {
		delete(r.variables, strconv.Itoa(i))
	}
	if !known {
		for _, name := range []string{"@", "*", "#"} {
			delete(r.variables, name)
		}
		return
	}
	r.variables["@"] = variable{Variable: expand.Variable{Set: true, Kind: expand.Indexed, List: arguments}}
	r.variables["*"] = r.variables["@"]
	r.set("#", strconv.Itoa(len(arguments)))
	for i, argument := range arguments {
		r.set(strconv.Itoa(i+1), argument)
	}
}

// shift drops arguments as the shell does, or all of them where how many is not known.
func (r *reader) shift(words []string) {
	arguments, known := r.arguments()
	if !known {
		return
	}
	count := 1
	if len(words) > 0 {
		var err error
		if count, err = strconv.Atoi(words[0]); err != nil || count < 0 {
			count = len(arguments)
		}
	}
	r.setArguments(arguments[min(count, len(arguments)):], true)
}

// kubectl takes of kubectl what says which federation is meant, and says of what it does to a federation that it is not followed.
func (r *reader) kubectl(c *syntax.CallExpr, words []string) {
	words = operands(words)
	switch {
	case len(words) == 3 && words[0] == "config" && words[1] == "use-context":
		r.context = words[2]
	case len(words) >= 3 && words[0] == "delete" && slices.Contains([]string{"ns", "namespace", "namespaces"}, words[1]):
		r.warn(c, fmt.Sprintf("deleting namespace %s is not followed: a federation in it is torn down by uninstalling its releases, members first", words[2]))
	case len(words) >= 2 && words[0] == "patch" && strings.Contains(strings.Join(words, "/"), "controller-manager"):
		r.warn(c, "the patch of the controller manager is not followed: what it sets, such as keys for Route 53, has a value; docs/kubefed.md says which")
	}
}

// assign sets variables. What a value is made of may be unknown, and then the variable is.
// Commands whose output it is have run. Errors: those of lines of kubefed.
func (r *reader) assign(list []*syntax.Assign) error {
	for _, a := range list {
		if err := r.substituted(a); err != nil {
			return err
		}
	}
	associative := slices.ContainsFunc(list, func(a *syntax.Assign) bool { return a.Naked && a.Value != nil && a.Value.Lit() == "-A" })
	for _, a := range list {
		if a.Naked || a.Name == nil {
			continue
		}
		name := a.Name.Value
		switch {
		case a.Array != nil:
			v, err := r.array(a, associative)
			if err != nil {
				r.forget(name, fmt.Sprintf("it is set to a list that is not known (%s)", r.at(a)))
				continue
			}
			r.put(name, variable{Variable: v})
		case a.Index != nil:
			r.forget(name, fmt.Sprintf("a part of it is set (%s)", r.at(a)))
		default:
			value, err := r.literal(a.Value)
			before := r.variables[name]
			if err != nil || a.Append && (before.unknown != "" || before.Kind == expand.Indexed) {
				r.forget(name, fmt.Sprintf("what it is set to (%s) only a run shows", r.at(a)))
				continue
			}
			if a.Append {
				value = before.Str + value
			}
			r.set(name, value)
		}
	}
	return nil
}

// substituted reads the commands whose output is a part of something.
func (r *reader) substituted(node syntax.Node) error {
	var err error
	syntax.Walk(node, func(node syntax.Node) bool {
		if command, ok := node.(*syntax.CmdSubst); ok && err == nil {
			err = r.subshell(command.Stmts)
			return false
		}
		return err == nil
	})
	return err
}

// array gives what a variable is that a list is assigned to. Errors: what cannot be known.
func (r *reader) array(a *syntax.Assign, associative bool) (expand.Variable, error) {
	list, entries := []string{}, map[string]string{}
	if before := r.variables[a.Name.Value]; a.Append {
		if before.unknown != "" || associative || before.Set && before.Kind != expand.Indexed {
			return expand.Variable{}, errors.New("what is appended to is no list that is known")
		}
		list = slices.Clone(before.List)
	}
	for _, element := range a.Array.Elems {
		key, _ := element.Index.(*syntax.Word)
		if associative != (key != nil) || element.Value == nil {
			return expand.Variable{}, errors.New("an index is computed")
		}
		if !associative {
			items, err := r.words([]*syntax.Word{element.Value})
			if err != nil {
				return expand.Variable{}, err
			}
			list = append(list, items...)
			continue
		}
		name, err := r.literal(key)
		if err != nil {
			return expand.Variable{}, err
		}
		if entries[name], err = r.literal(element.Value); err != nil {
			return expand.Variable{}, err
		}
	}
	if associative {
		return expand.Variable{Set: true, Kind: expand.Associative, Map: entries}, nil
	}
	return expand.Variable{Set: true, Kind: expand.Indexed, List: list}, nil
}

func (r *reader) set(name, value string) {
	r.put(name, variable{Variable: expand.Variable{Set: true, Kind: expand.String, Str: value}})
}

func (r *reader) forget(name, why string) { r.put(name, variable{unknown: why}) }

// put sets a variable, unless its value was given from outside.
func (r *reader) put(name string, v variable) {
	if given, found := r.Variables[name]; found {
		v = variable{Variable: expand.Variable{Set: true, Kind: expand.String, Str: given}}
	}
	r.variables[name] = v
}

// forgetAllIn forgets every variable that is named in arithmetic or a test, which may set it.
func (r *reader) forgetAllIn(node syntax.Node) {
	syntax.Walk(node, func(n syntax.Node) bool {
		if literal, ok := n.(*syntax.Lit); ok {
			if _, known := r.variables[literal.Value]; known {
				r.forget(literal.Value, fmt.Sprintf("it is computed (%s)", r.at(node)))
			}
		}
		return true
	})
}

// environment gives the value of a variable that programs read, empty if the script sets none.
func (r *reader) environment(name string) (string, error) {
	if why := r.variables[name].unknown; why != "" {
		return "", unknownVariable(name, why)
	}
	return r.variables[name].String(), nil
}

// words expands words as a shell does, but runs no command and looks at no file. Errors: what cannot be known so.
func (r *reader) words(list []*syntax.Word) ([]string, error) {
	all := []string{}
	for _, word := range list {
		if err := r.check(word); err != nil {
			return nil, err
		}
		fields, err := expand.Fields(r.expansion(), word)
		if err != nil {
			return nil, err
		}
		if r.hasKeys(word) {
			slices.Sort(fields)
		}
		all = append(all, fields...)
	}
	return all, nil
}

// hasKeys reports whether a word gives the keys of an associative array, which come in any order.
func (r *reader) hasKeys(word *syntax.Word) (has bool) {
	syntax.Walk(word, func(node syntax.Node) bool {
		if p, ok := node.(*syntax.ParamExp); ok && p.Excl && p.Param != nil {
			has = has || r.variables[p.Param.Value].Kind == expand.Associative
		}
		return true
	})
	return has
}

func (r *reader) literal(word *syntax.Word) (string, error) {
	if word == nil {
		return "", nil
	}
	if err := r.check(word); err != nil {
		return "", err
	}
	return expand.Literal(r.expansion(), word)
}

func (r *reader) expansion() *expand.Config {
	return &expand.Config{Env: r, NoUnset: true, ProcSubst: func(*syntax.ProcSubst) (string, error) { return "", errors.New("processes are not started") }}
}

// Get gives a variable, for the expansion of words.
func (r *reader) Get(name string) expand.Variable { return r.variables[name].Variable }

// Each gives all variables, for the expansion of words.
func (r *reader) Each(do func(name string, v expand.Variable) bool) {
	for _, name := range slices.Sorted(maps.Keys(r.variables)) {
		if !do(name, r.variables[name].Variable) {
			return
		}
	}
}

// Set sets a variable, for the expansion of words like ${ZONE:=example.com.}.
func (r *reader) Set(name string, v expand.Variable) error {
	r.put(name, variable{Variable: v})
	return nil
}

// check says what in a word is not known without running anything.
func (r *reader) check(word *syntax.Word) (err error) {
	plain := map[syntax.Node]bool{} // text that a shell makes no more of: in quotes, or within an expansion
	syntax.Walk(word, func(node syntax.Node) bool {
		if err != nil {
			return false
		}
		switch n := node.(type) {
		case *syntax.DblQuoted:
			for _, part := range n.Parts {
				plain[part] = true
			}
		case *syntax.CmdSubst, *syntax.ProcSubst:
			err = errors.New("a part of the line is what a command prints, and no command is run: write it out")
		case *syntax.ArithmExp:
			err = errors.New("a part of the line is computed, which is not followed: write the number out")
		case *syntax.ExtGlob:
			err = errors.New("a part of the line is a pattern of file names, which are not looked at: write them out")
		case *syntax.ParamExp:
			syntax.Walk(n, func(within syntax.Node) bool {
				plain[within] = true
				return true
			})
			err = r.checkParameter(n)
		case *syntax.Lit:
			if !plain[n] {
				err = checkLiteral(n.Value)
			}
		}
		return err == nil
	})
	return err
}

// checkLiteral refuses what a shell makes more of: patterns of file names, and braces.
func checkLiteral(text string) error {
	var plain strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' { // the next one stands for itself
			i++
			continue
		}
		plain.WriteByte(text[i])
	}
	switch s := plain.String(); {
	case strings.ContainsAny(s, "*?["):
		return errors.New("a part of the line is a pattern of file names, which are not looked at: write them out, or put it in quotes")
	case strings.Contains(s, "{") && (strings.Contains(s, ",") || strings.Contains(s, "..")):
		return errors.New("a part of the line has braces, which are not followed: write the words out, or put it in quotes")
	}
	return nil
}

// checkParameter refuses a variable whose value is not known, except where the script gives a default for one that it never sets.
func (r *reader) checkParameter(p *syntax.ParamExp) error {
	if p.Param == nil {
		return errors.New("a part of the line is an expansion that is not followed: write it out")
	}
	name := p.Param.Value
	v, found := r.variables[name]
	switch {
	case v.unknown != "":
		return unknownVariable(name, v.unknown)
	case found:
		return nil
	case p.Exp != nil && slices.Contains(forUnset, p.Exp.Op):
		return nil
	}
	return unknownVariable(name, "nothing before sets it")
}

// forUnset are the expansions that say themselves what is to be where a variable is not set.
var forUnset = []syntax.ParExpOperator{
	syntax.DefaultUnset, syntax.DefaultUnsetOrNull, syntax.AssignUnset, syntax.AssignUnsetOrNull, syntax.AlternateUnset, syntax.AlternateUnsetOrNull,
}

func unknownVariable(name, why string) error {
	return fmt.Errorf("the value of variable %s is not known here, since %s: give it with --variable %s=VALUE", name, why, name)
}

func (r *reader) warn(node syntax.Node, text string) {
	if text = r.at(node) + ": " + text; !slices.Contains(r.warnings, text) { // a loop comes by several times
		r.warnings = append(r.warnings, text)
	}
}

func (r *reader) at(node syntax.Node) string {
	return fmt.Sprintf("%s:%d", r.Name, node.Pos().Line())
}
