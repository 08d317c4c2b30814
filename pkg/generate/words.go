package generate

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// wrappers start the program that is named after them and after their own options; $ and % are the prompts of what was copied from a terminal.
var wrappers = []string{"sudo", "time", "env", "nohup", "command", "exec", "timeout", "nice", "stdbuf", "hyperkube", "$", "%", "#"}

// program gives the name of the program that words start, without its folder, the words after it, and the variables set for it on the way.
func program(words []string) (name string, arguments []string, environment map[string]string) {
	environment = map[string]string{}
	for wrapped := false; len(words) > 0; {
		word := words[0]
		key, value, assignment := strings.Cut(word, "=")
		switch {
		case word == "":
			return "", nil, environment
		case assignment && syntax.ValidName(key):
			environment[key] = value
			words = words[1:]
		case wrapped && slices.Contains([]string{"-u", "-g", "-n", "-k", "-s", "-h", "-C", "-D", "-S", "--user", "--group"}, word) && len(words) > 1:
			words = words[2:]
		case wrapped && (strings.HasPrefix(word, "-") || isDuration(word)):
			words = words[1:]
		case slices.Contains(wrappers, path.Base(word)):
			wrapped = true
			words = words[1:]
		default:
			return path.Base(word), words[1:], environment
		}
	}
	return "", nil, environment
}

// isDuration reports whether a word is what timeout takes: "60", "5m".
func isDuration(word string) bool {
	number := strings.TrimRight(word, "smhd")
	return number != "" && strings.Trim(number, "0123456789.") == ""
}

// operands gives the words of a kubectl command line that are no flags, nor values of the flags that everybody uses.
func operands(words []string) []string {
	var found []string
	for i := 0; i < len(words); i++ {
		switch word := words[i]; {
		case slices.Contains([]string{"-n", "--namespace", "--context", "--kubeconfig", "--cluster", "--user", "-p", "--patch", "--patch-file", "--type", "-f", "-o"}, word):
			i++
		case !strings.HasPrefix(word, "-"):
			found = append(found, word)
		}
	}
	return found
}

// readArguments gives the command lines of kubefed in arguments that a shell has read already. Several are separated by ";" or "&&". A single argument is text that no shell
// has read: a script. Errors: no command line, one of another program.
func readArguments(arguments []string, shell Shell) ([]commandLine, []string, error) {
	if len(arguments) == 1 && strings.ContainsAny(arguments[0], " \t\n") {
		return readScript(strings.NewReader(arguments[0]), shell)
	}
	var lines []commandLine
	for _, words := range split(arguments, ";", "&&") {
		name, rest, environment := program(words)
		if name != "kubefed" {
			return nil, nil, fmt.Errorf("after -- stands %q, which is no command line of kubefed: give one like `-- kubefed init fellowship --host-cluster-context=rivendell`", strings.Join(words, " "))
		}
		lines = append(lines, commandLine{at: shell.Name, words: rest, kubeconfig: environment["KUBECONFIG"]})
	}
	if len(lines) == 0 {
		return nil, nil, errors.New("nothing stands after --: give a command line like `-- kubefed init fellowship --host-cluster-context=rivendell`")
	}
	return lines, nil, nil
}

// split cuts a list at the separators, and leaves out what is empty.
func split(list []string, separators ...string) [][]string {
	var parts [][]string
	for start, i := 0, 0; i <= len(list); i++ {
		if i == len(list) || slices.Contains(separators, list[i]) {
			if i > start {
				parts = append(parts, list[start:i])
			}
			start = i + 1
		}
	}
	return parts
}
