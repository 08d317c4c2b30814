package clusterdns

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// FirstFallbackPort is where FallbackPort begins.
const FirstFallbackPort = 10053

const (
	beginMarker = "# BEGIN fedhelm federation "
	endMarker   = "# END fedhelm federation "
)

// InsertBlock gives the Corefile with text as the federation's block between comment lines: in the place of the block that is there, edited or
// not, else at the end. RemoveBlock is the inverse. Errors are broken markers, marker lines in text, and what CheckServers finds.
func InsertBlock(corefile, federation, text string) (string, error) {
	place, found, err := findBlock(corefile, federation)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		if kind, _ := marker(line); kind != "" {
			return "", fmt.Errorf("the text for federation %s has a marker line %q of its own: take it out of the template", federation, strings.TrimSpace(line))
		}
	}
	rest, err := RemoveBlock(corefile, federation)
	if err != nil {
		return "", err
	}
	if err := CheckServers(text, rest); err != nil {
		return "", fmt.Errorf("the Corefile cannot take federation %s: %w", federation, err)
	}
	block := beginMarker + federation + "\n" + strings.TrimRight(text, "\r\n") + "\n" + endMarker + federation
	switch {
	case found:
		if strings.HasSuffix(place.of(corefile), "\n") {
			block += "\n"
		}
		return place.replace(corefile, block), nil
	case corefile == "" || strings.HasSuffix(corefile, "\n"):
		return corefile + block + "\n", nil
	}
	// A last line without a break lends us one, and the block's last line goes without in its stead: so RemoveBlock knows.
	return corefile + "\n" + block, nil
}

// RemoveBlock gives the Corefile without the federation's block, byte for byte as it was before InsertBlock, save for what the user changed outside
// the block. A Corefile without the block comes back as it is, and so it does with the error for broken markers.
func RemoveBlock(corefile, federation string) (string, error) {
	place, found, err := findBlock(corefile, federation)
	if err != nil || !found {
		return corefile, err
	}
	if !strings.HasSuffix(place.of(corefile), "\n") && place.from > 0 {
		place.from-- // the line break that InsertBlock added before
	}
	return place.replace(corefile, ""), nil
}

// Block gives the text of the federation's block as it stands between its markers, and whether there is one.
func Block(corefile, federation string) (text string, found bool, err error) {
	place, found, err := findBlock(corefile, federation)
	if err != nil || !found {
		return "", false, err
	}
	_, text, _ = strings.Cut(place.of(corefile), "\n")
	return text[:strings.LastIndex(strings.TrimSuffix(text, "\n"), "\n")+1], true, nil
}

// findBlock gives the place of the federation's block, from the beginning of its first marker's line to the end of its last's with the line break.
func findBlock(corefile, federation string) (place span, found bool, err error) {
	broken := func(line, what string) error {
		return fmt.Errorf("the Corefile has the line %q %s: delete the block of federation %s by hand, with both its marker lines", line, what, federation)
	}
	begin, end := beginMarker+federation, endMarker+federation
	open := false
	at := 0
	for line := range strings.Lines(corefile) {
		kind, of := marker(line)
		switch {
		case kind == "" || of != federation && !open:
		case of != federation:
			return span{}, false, broken(begin, "and another federation's marker before its END line")
		case kind == beginMarker && open, kind == beginMarker && found:
			return span{}, false, broken(begin, "twice")
		case kind == beginMarker:
			open, place.from = true, at
		case !open:
			return span{}, false, broken(end, "without a BEGIN line before it")
		default:
			open, found, place.to = false, true, at+len(line)
		}
		at += len(line)
	}
	if open {
		return span{}, false, broken(begin, "without an END line after it")
	}
	return place, found, nil
}

// marker gives the marker that a line is, beginMarker or endMarker, and its federation; "" for any other line.
func marker(line string) (kind, federation string) {
	line = strings.TrimSpace(line)
	for _, kind := range []string{beginMarker, endMarker} {
		if federation, found := strings.CutPrefix(line, kind); found {
			return kind, strings.TrimSpace(federation)
		}
	}
	return "", ""
}

// CheckServers says whether CoreDNS could load text beside the others, the Corefile and the ".server" keys of coredns-custom: an error where one of
// them has server blocks without balanced braces, or where text serves a zone and port that another serves too, whatever addresses they bind. CoreDNS
// refuses such a configuration as a whole, and dies of it at its next start.
func CheckServers(text string, others ...string) error {
	taken := map[string]int{}
	for _, other := range others {
		blocks, err := serverBlocks(other)
		if err != nil {
			return fmt.Errorf("what is there %w", err)
		}
		for _, b := range blocks {
			taken[b.zone+":"+b.port] = b.line
		}
	}
	blocks, err := serverBlocks(text)
	if err != nil {
		return fmt.Errorf("the text to add %w", err)
	}
	for _, b := range blocks {
		if line, found := taken[b.zone+":"+b.port]; found {
			return fmt.Errorf("line %d there serves %s on port %s already: take it out if it is yours, or give the federations of this member different zones", line, b.zone, b.port)
		}
	}
	return nil
}

var mentionedPort = regexp.MustCompile(`:(\d{1,5})\b`)

// FallbackPort gives the loopback port for a federation's second CoreDNS block: the one its current text has ("" for none), else the first from
// FirstFallbackPort on that no other text mentions. The others are all else that CoreDNS reads: the Corefile without the federation's block, the
// other keys of coredns-custom.
func FallbackPort(current string, others ...string) int {
	used := map[string]bool{}
	for _, other := range others {
		for _, m := range mentionedPort.FindAllStringSubmatch(other, -1) {
			used[m[1]] = true
		}
	}
	blocks, _ := serverBlocks(current) // a text that the user broke has no port worth keeping
	for _, b := range blocks {
		if port, err := strconv.Atoi(b.port); err == nil && port >= FirstFallbackPort && port <= 65535 && !used[b.port] {
			return port
		}
	}
	port := FirstFallbackPort
	for used[strconv.Itoa(port)] {
		port++
	}
	return port
}

// serverBlock is one address of a server block.
type serverBlock struct {
	zone string // in lower case, ending in a dot; with its scheme unless that is dns
	port string
	line int
}

// serverBlocks gives the addresses of the server blocks of a Corefile, read by the rules of CoreDNS's own parser
// (github.com/coredns/caddy/caddyfile). Snippets and imports count for nothing. The error completes a sentence about the text.
func serverBlocks(text string) ([]serverBlock, error) {
	var (
		blocks  []serverBlock
		keys    []token
		depth   int
		opened  int  // the line of the brace that opened the block
		skip    bool // the word is the argument of an import
		pending bool // a comma says that the next line goes on
	)
	for _, t := range tokens(text) {
		switch {
		case t.text == "{":
			if depth == 0 {
				if len(keys) == 0 {
					return nil, fmt.Errorf("has a block without an address in line %d", t.line)
				}
				for _, key := range keys {
					if !strings.HasPrefix(key.text, "(") { // a snippet
						blocks = append(blocks, address(key))
					}
				}
				keys, opened = nil, t.line
			}
			depth++
		case t.text == "}":
			if depth == 0 {
				return nil, fmt.Errorf("closes a block in line %d that is not open", t.line)
			}
			depth--
		case depth > 0:
		case skip:
			skip = false
		case t.text == "import" && t.first:
			skip = true
		case t.first && len(keys) > 0 && !pending:
			return nil, fmt.Errorf("has a server block without braces in line %d", keys[0].line)
		default:
			t.text, pending = strings.CutSuffix(t.text, ",")
			keys = append(keys, t)
		}
	}
	switch {
	case depth > 0:
		return nil, fmt.Errorf("opens a block in line %d that it does not close", opened)
	case len(keys) > 0:
		return nil, fmt.Errorf("has a server block without braces in line %d", keys[0].line)
	case skip:
		return nil, errors.New("ends in an import without a file")
	}
	return blocks, nil
}

func address(key token) serverBlock {
	b := serverBlock{zone: strings.TrimPrefix(strings.ToLower(key.text), "dns://"), port: "53", line: key.line}
	if i := strings.LastIndex(b.zone, ":"); i >= 0 && strings.Trim(b.zone[i+1:], "0123456789") == "" && i+1 < len(b.zone) {
		b.zone, b.port = b.zone[:i], b.zone[i+1:]
	}
	b.zone = strings.TrimSuffix(b.zone, ".") + "."
	return b
}

// token is a word of a Corefile.
type token struct {
	text  string
	line  int
	first bool // of its line
}

// tokens splits a Corefile into words: at white space, with "…" (\" inside) as one word where a word begins with a quote, without comments.
func tokens(text string) []token {
	var (
		list                     []token
		word                     []rune
		comment, quoted, escaped bool
		line, start, last        = 1, 1, 0
	)
	end := func() {
		list = append(list, token{text: string(word), line: start, first: start != last})
		word, last = nil, line
	}
	for _, c := range strings.TrimPrefix(text, "\ufeff") {
		switch {
		case quoted && escaped:
			if c != '"' {
				word = append(word, '\\')
			}
			word, escaped = append(word, c), false
		case quoted && c == '\\':
			escaped = true
		case quoted && c == '"':
			quoted = false
			end()
		case quoted:
			word = append(word, c)
		case c == '\r':
		case unicode.IsSpace(c):
			comment = comment && c != '\n' && len(word) == 0 // CoreDNS's parser ends a comment so
			if len(word) > 0 {
				end()
			}
		case comment:
		case c == '#':
			comment = true
		default:
			if len(word) == 0 {
				start = line
				if c == '"' {
					quoted = true
					continue
				}
			}
			word = append(word, c)
		}
		if c == '\n' {
			line++
		}
	}
	if len(word) > 0 {
		end()
	}
	return list
}
