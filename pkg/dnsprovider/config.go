package dnsprovider

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fedhelm/fedhelm/pkg/dnsprovider/ini"
)

// ConfigKey is the key, and the file, of a provider's configuration in its Secret; the files that it names are beside it.
const ConfigKey = "provider.conf"

// Config is what a provider needs.
type Config struct {
	// Provider is one of Names.
	Provider string
	// Zone with its trailing dot, in lower case.
	Zone string

	dir      string
	settings map[string]string
}

// Read is Parse of a file, with the files that it names beside it.
func Read(provider, zone, path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration of DNS provider %s: %w", provider, err)
	}
	return Parse(provider, zone, string(text), filepath.Dir(path))
}

// Parse reads a provider's configuration: INI, with v1's keys and ours in section [Global]. zone may be written with or without its trailing dot, and so may those
// in the text. dir is where the files are that it names; they are not looked at here. Errors: an unknown provider, text that is no INI, an unknown section or key or one that
// is there twice, a value that cannot be or that lacks another; with line and key where there is one.
func Parse(provider, zone, text, dir string) (Config, error) {
	k, err := find(provider)
	if err != nil {
		return Config{}, err
	}
	if strings.Trim(zone, ".") == "" {
		return Config{}, fmt.Errorf("DNS provider %s has no zone: give its name", provider)
	}
	c := Config{Provider: provider, Zone: canonical(zone), dir: dir, settings: map[string]string{}}
	if err := c.read(keysOf(k), text); err != nil {
		return Config{}, fmt.Errorf("read the configuration of DNS provider %s: %w", provider, err)
	}
	if err := k.check(c); err != nil {
		return Config{}, fmt.Errorf("the configuration of DNS provider %s: %w", provider, err)
	}
	return c, nil
}

func (c Config) read(keys []key, text string) error {
	entries, err := ini.Read(text)
	if err != nil {
		return err
	}
	lines := map[string]int{}
	for _, e := range entries {
		if e.Section != "global" {
			return &ini.Error{Line: e.Line, Says: fmt.Sprintf("key %s stands in section [%s]: the only section is [Global]", e.Key, e.Section)}
		}
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == e.Key })
		if i < 0 {
			return &ini.Error{Line: e.Line, Says: fmt.Sprintf("there is no key %s: there are %s", e.Key, list(keys))}
		}
		if before := lines[e.Key]; before > 0 {
			return &ini.Error{Line: e.Line, Says: fmt.Sprintf("key %s is there already, in line %d: leave one of the two", e.Key, before)}
		}
		lines[e.Key] = e.Line
		if err := keys[i].check(e.Value); err != "" {
			return &ini.Error{Line: e.Line, Says: fmt.Sprintf("key %s %s", e.Key, err)}
		}
		if e.Value != "" {
			c.settings[e.Key] = e.Value
		}
	}
	return nil
}

// check says what is wrong with a value.
func (k key) check(value string) string {
	switch {
	case value == "":
	case k.file && (filepath.Base(value) != value || value == "." || value == ".." || value == ConfigKey):
		// Not the value: it may be the content that was meant to be in the file.
		return "is no bare file name: give that of a file beside the configuration, which is a key of the same Secret"
	case k.words != nil && !slices.Contains(k.words, value):
		return fmt.Sprintf("is %s: it may be %s", value, strings.Join(k.words, ", "))
	}
	return ""
}

func list(keys []key) string {
	var names []string
	for _, k := range keys {
		names = append(names, k.name)
	}
	return strings.Join(names, ", ")
}

func (c Config) get(name string) string { return c.settings[name] }

// path of the file that a key names; empty if it names none.
func (c Config) path(name string) string {
	if c.get(name) == "" {
		return ""
	}
	return filepath.Join(c.dir, c.get(name))
}

// Owner is what the configuration says marks the records that are ours; empty if it does not.
func (c Config) Owner() string { return c.get(ownerKey) }

// WithOwner gives the configuration with what marks the records that are ours.
func (c Config) WithOwner(owner string) Config { return c.with(ownerKey, owner) }

func (c Config) with(name, value string) Config {
	settings := map[string]string{name: value}
	for other, value := range c.settings {
		if other != name {
			settings[other] = value
		}
	}
	c.settings = settings
	return c
}

// Nameservers are those that v1's key coredns-endpoints names for the zone, as `ip` or `ip:port`; nil if there are none.
func (c Config) Nameservers() []string { return split(c.get("coredns-endpoints")) }

// Files are the names of the files that the configuration needs beside it, by the key that names them.
func (c Config) Files() map[string]string {
	files := map[string]string{}
	for _, k := range kinds[c.Provider].keys {
		if name := c.get(k.name); k.file && name != "" {
			files[k.name] = name
		}
	}
	return files
}

// Text is the configuration as it is stored: one section, its keys always in the same order and spelling.
func (c Config) Text() string {
	var out strings.Builder
	out.WriteString("[Global]\n")
	for _, k := range keysOf(kinds[c.Provider]) {
		if value, given := c.settings[k.name]; given {
			out.WriteString(ini.Line(k.name, value))
		}
	}
	return out.String()
}

// canonical writes a zone's name with its trailing dot and in lower case.
func canonical(zone string) string { return strings.ToLower(strings.TrimRight(zone, ".")) + "." }

// domain is the zone's name without the trailing dot.
func (c Config) domain() string { return strings.TrimSuffix(c.Zone, ".") }

// split gives the elements of a list, which v1 separated by commas.
func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' })
}

// WithFiles does work with the configuration of a Secret's data, which it lays out in a folder for as long: keys are files there.
func WithFiles(provider, zone string, data map[string][]byte, work func(Config) error) error {
	dir, err := os.MkdirTemp(writable(), "fedhelm-dns-*")
	if err != nil {
		return fmt.Errorf("lay out the configuration of DNS provider %s: %w", provider, err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for name, content := range data {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), content, 0o600); err != nil {
			return fmt.Errorf("lay out the configuration of DNS provider %s: %w", provider, err)
		}
	}
	c, err := Read(provider, zone, filepath.Join(dir, ConfigKey))
	if err != nil {
		return err
	}
	return work(c)
}

// writable is a folder that a pod with a read-only root file system may write to as well.
func writable() string {
	const memory = "/dev/shm"
	if info, err := os.Stat(memory); err == nil && info.IsDir() {
		return memory
	}
	return os.TempDir()
}
