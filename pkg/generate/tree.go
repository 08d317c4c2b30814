package generate

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// tree is the values of a release, in the order in which they were set, with comments.
type tree struct{ root *yaml.Node }

func newTree() *tree { return &tree{mapping()} }

// set sets the value at a path, "apiServer.service.type", and says in a comment where it is from. A value that was set before is replaced where it stands.
func (t *tree) set(path string, value any, comment string) {
	section := t.root
	keys := strings.Split(path, ".")
	for _, key := range keys[:len(keys)-1] {
		next := find(section, key)
		if next == nil {
			next = mapping()
			add(section, key, next)
		}
		section = next
	}
	key, node := keys[len(keys)-1], node(value)
	if before := find(section, key); before != nil {
		*before = *node
	} else {
		add(section, key, node)
	}
	if comment == "" {
		return
	}
	if node = find(section, key); node.Kind == yaml.ScalarNode {
		node.LineComment = "# " + comment
	} else {
		section.Content[index(section, key)].HeadComment = "# " + comment
	}
}

// get gives the text at a path, empty if none is set there.
func (t *tree) get(path string) string {
	node := t.root
	for _, key := range strings.Split(path, ".") {
		if node = find(node, key); node == nil {
			return ""
		}
	}
	return node.Value
}

func (t *tree) empty() bool { return len(t.root.Content) == 0 }

// mapping makes a YAML mapping of keys and values.
func mapping(pairs ...any) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i := 0; i < len(pairs); i += 2 {
		add(m, pairs[i].(string), node(pairs[i+1])) //nolint:gosec // they are pairs
	}
	return m
}

// sequence makes a YAML sequence.
func sequence(items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: items}
}

// node makes a YAML node of a value; a string is quoted where YAML would else take it for something else.
func node(value any) *yaml.Node {
	if n, ok := value.(*yaml.Node); ok {
		return n
	}
	n := &yaml.Node{}
	if err := n.Encode(value); err != nil {
		panic(fmt.Sprintf("a %T has no YAML: %v", value, err)) // a mistake of this package
	}
	return n
}

func add(m *yaml.Node, key string, value *yaml.Node) {
	m.Content = append(m.Content, node(key), value)
}

// index is where a key of a mapping is in its content, -1 if it is not there.
func index(m *yaml.Node, key string) int {
	for i := 0; i < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return i
		}
	}
	return -1
}

func find(m *yaml.Node, key string) *yaml.Node {
	if i := index(m, key); i >= 0 {
		return m.Content[i+1]
	}
	return nil
}
