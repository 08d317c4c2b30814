// Package ini reads and writes the configuration files of v1's DNS providers: the dialect of INI that v1 read, with sections and variables whose names know no
// case, comments after ; and #, and values in double quotes where they hold one of those.
package ini

import (
	"fmt"
	"regexp"
	"strings"
)

// Entry is a variable of a section.
type Entry struct {
	// Section and Key are in lower case.
	Section, Key string
	Value        string
	// Line is where it stands, counted from 1.
	Line int
}

// Error is what is wrong in a line.
type Error struct {
	Line int
	Says string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Says) }

// Read gives the variables of a text in their order. Errors: *Error, for the first line that cannot be read.
func Read(text string) ([]Entry, error) {
	var entries []Entry
	section := ""
	for i, line := range strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n") {
		line, at := strings.TrimSpace(line), i+1
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			name, rest, closed := strings.Cut(line[1:], "]")
			if rest = strings.TrimSpace(rest); !closed || rest != "" && rest[0] != '#' && rest[0] != ';' {
				return nil, &Error{at, fmt.Sprintf("%q is no section: write [Global]", line)}
			}
			section = strings.ToLower(strings.TrimSpace(name))
		default:
			key, rest, assigned := strings.Cut(line, "=")
			key = strings.ToLower(strings.TrimSpace(key))
			if !assigned || !keyPattern.MatchString(key) {
				// Not the line itself: it may be part of a secret.
				return nil, &Error{at, "is neither a section, nor a comment, nor `key = value`"}
			}
			if section == "" {
				return nil, &Error{at, "key " + key + " stands before any section: write [Global] above it"}
			}
			value, err := unquote(strings.TrimSpace(rest))
			if err != "" {
				return nil, &Error{at, "the value of key " + key + " " + err}
			}
			entries = append(entries, Entry{section, key, value, at})
		}
	}
	return entries, nil
}

// keyPattern is what v1 took for a key.
var keyPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,40}$`)

// unquote gives the value of what stands behind the equals sign, or says what is wrong with it. Quotes may enclose a part of it.
func unquote(text string) (value, wrong string) {
	var out strings.Builder
	end := 0 // of what is kept even if it is a space
	quoted := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '"':
			quoted = !quoted
			end = out.Len()
			continue
		case !quoted && (c == '#' || c == ';'):
			return out.String()[:end], ""
		case c == '\\':
			i++
			if i == len(text) {
				return "", `ends in a backslash: a value is one line, and a backslash is written \\`
			}
			escaped, known := map[byte]byte{'\\': '\\', '"': '"', 'n': '\n', 't': '\t'}[text[i]]
			if !known {
				return "", fmt.Sprintf(`has \%c: a backslash is written \\`, text[i])
			}
			c = escaped
		}
		out.WriteByte(c)
		if quoted || c != ' ' && c != '\t' {
			end = out.Len()
		}
	}
	if quoted {
		return "", "has a quote that is not closed"
	}
	return out.String()[:end], ""
}

// Line writes a variable, so that Read gives the same.
func Line(key, value string) string {
	if value != strings.TrimSpace(value) || strings.ContainsAny(value, "#;\"\\\n\t") {
		value = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(value) + `"`
	}
	return key + " = " + value + "\n"
}
