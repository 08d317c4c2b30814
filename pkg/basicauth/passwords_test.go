package basicauth

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

// logged is a log that may be written by several goroutines and read by the test.
type logged struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (l *logged) Write(line []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(line)
}

func (l *logged) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.String()
}

// line is that of a user whose password is quickly hashed.
func line(t *testing.T, name, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	require.NoError(t, err)
	return name + ":" + string(hash) + "\n"
}

// replace puts a file in the place of another at once, as the kubelet does with a mounted Secret.
func replace(t *testing.T, path, text string) {
	t.Helper()
	beside := filepath.Join(t.TempDir(), "new")
	require.NoError(t, os.WriteFile(beside, []byte(text), 0o600))
	require.NoError(t, os.Rename(beside, path))
}

func open(t *testing.T, text string) (*Passwords, string, *logged) {
	t.Helper()
	path, log := filepath.Join(t.TempDir(), "auth"), &logged{}
	replace(t, path, text)
	p, err := OpenPasswords(path, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	return p, path, log
}

func TestLine(t *testing.T) {
	text, err := Line("frodo", "mellon")
	require.NoError(t, err)
	p, _, _ := open(t, string(text))
	good, err := p.Check(t.Context(), "frodo", "mellon")
	require.NoError(t, err)
	assert.True(t, good)
	for _, name := range []string{"", "a:b", "a\nb", "#a"} {
		_, err := Line(name, "mellon")
		require.ErrorContains(t, err, "is no user name for an htpasswd file")
	}
	_, err = Line("frodo", strings.Repeat("x", 73))
	require.ErrorContains(t, err, "72 bytes")
}

func TestPasswords(t *testing.T) {
	// As `htpasswd -nbB frodo mellon` writes it.
	fromHtpasswd := strings.Replace(line(t, "frodo", "mellon"), "$2a$", "$2y$", 1)
	p, _, log := open(t, "# users\n\n"+fromHtpasswd+"  "+strings.TrimSuffix(line(t, "sam", "po:ta\ttoes"), "\n")+" \r\n"+
		line(t, "frodo", "second")+"sauron:ring\nsaruman\n:$2a$04$x\n"+line(t, "pippin", ""))
	for _, test := range []struct {
		name, password string
		good           bool
	}{
		{"frodo", "mellon", true}, {"frodo", "mellon", true}, {"frodo", "Mellon", false}, {"frodo", "", false}, {"Frodo", "mellon", false},
		{"frodo", "second", false}, {"sam", "po:ta\ttoes", true}, {"sam", "mellon", false}, {"pippin", "", true}, {"pippin", "x", false},
		{"sauron", "ring", false}, {"saruman", "", false}, {"", "", false}, {"gollum", "mellon", false}, {"# users", "", false},
	} {
		for range 2 { // the second time from what is kept
			good, err := p.Check(t.Context(), test.name, test.password)
			require.NoError(t, err)
			assert.Equal(t, test.good, good, "%s with %q", test.name, test.password)
		}
	}
	assert.Equal(t, 3, strings.Count(log.String(), "is no user with a bcrypt hash"), log)
	assert.Contains(t, log.String(), "line 6 of the htpasswd file")
	assert.NotContains(t, log.String(), "ring", "no line is repeated")
}

// What is kept is one password a line, whoever asks for what.
func TestWhatIsKeptIsBounded(t *testing.T) {
	p, _, _ := open(t, line(t, "frodo", "mellon"))
	for _, password := range []string{"mellon", "a", "b", "mellon"} {
		_, err := p.Check(t.Context(), "frodo", password)
		require.NoError(t, err)
	}
	users, err := p.current()
	require.NoError(t, err)
	require.Len(t, users.byName, 1)
	assert.True(t, users.byName["frodo"].had(p.digest("mellon")))
	assert.False(t, users.byName["frodo"].had(p.digest("a")), "a wrong one is not kept")
}

func TestPasswordsFollowTheFile(t *testing.T) {
	first := line(t, "frodo", "mellon")
	p, path, _ := open(t, first)
	check := func(password string, want bool) {
		t.Helper()
		good, err := p.Check(t.Context(), "frodo", password)
		require.NoError(t, err)
		assert.Equal(t, want, good, password)
	}
	check("mellon", true)
	replace(t, path, line(t, "frodo", "friend"))
	check("mellon", false)
	check("friend", true)
	require.NoError(t, os.WriteFile(path, []byte("# nobody\n"), 0o600))
	check("friend", false)
	replace(t, path, first)
	check("mellon", true)

	require.NoError(t, os.Remove(path))
	_, err := p.Check(t.Context(), "frodo", "mellon")
	require.ErrorContains(t, err, "look at the htpasswd file")
	_, err = OpenPasswords(path, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "look at the htpasswd file")
	replace(t, path, first)
	check("mellon", true)
}

// Who waits for a hash waits no longer than its client does.
func TestWaitForAHashEnds(t *testing.T) {
	p, _, _ := open(t, line(t, "frodo", "mellon"))
	for range cap(p.slots) {
		p.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Check(ctx, "frodo", "mellon")
	require.ErrorIs(t, err, context.Canceled)
}

func TestPasswordsAtOnce(t *testing.T) {
	p, path, _ := open(t, line(t, "frodo", "mellon"))
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			for range 5 {
				good, err := p.Check(t.Context(), "frodo", []string{"mellon", "wrong"}[i%2])
				assert.NoError(t, err)
				assert.Equal(t, i%2 == 0, good)
			}
		})
	}
	for range 5 {
		replace(t, path, line(t, "frodo", "mellon"))
	}
	group.Wait()
}
