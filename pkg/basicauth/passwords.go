// Package basicauth is HTTP basic authentication for a kube-apiserver, which lost it in Kubernetes 1.19: a proxy that checks names and passwords against an htpasswd file, and hands
// on who somebody is by the front proxy's certificate and headers. It knows nothing of federations.
package basicauth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/bcrypt"
)

// Line gives a user's line of an htpasswd file: the name, a colon, and the bcrypt hash of the password. Errors: a name that has a colon, a line break or nothing in it; a
// password that is longer than the 72 bytes that bcrypt takes.
func Line(user, password string) ([]byte, error) {
	if user == "" || strings.HasPrefix(user, "#") || strings.ContainsAny(user, ":\r\n") {
		return nil, fmt.Errorf("%q is no user name for an htpasswd file: use one without a colon", user)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return nil, fmt.Errorf("hash the password of user %q: %w", user, err)
	}
	return fmt.Appendf(nil, "%s:%s\n", user, hash), nil
}

// Passwords is an htpasswd file with bcrypt hashes, as `htpasswd -B` writes it. It is read again when it changes, as a mounted Secret does, so that a password that was taken out of
// it is good for no further request. Several goroutines may use it at once.
type Passwords struct {
	path string
	log  *slog.Logger
	// key makes the digests of passwords worthless outside of this process.
	key []byte
	// slots bound how many hashes are calculated at once, since everybody who reaches the proxy can ask for one.
	slots chan struct{}

	mutex sync.Mutex
	// read is the file as it was when users was read.
	read  os.FileInfo
	users *users
}

// users are the lines of a file.
type users struct {
	byName map[string]*user
	// first is somebody's hash, to be compared in vain for a name that is not there: so an answer takes as long as for one that is.
	first []byte
}

type user struct {
	hash []byte
	// good is the digest of the password that was found good last; nil before. A hash takes some 50 milliseconds to calculate, and a client sends its password with every request.
	good atomic.Pointer[[sha256.Size]byte]
}

// OpenPasswords reads an htpasswd file, and says in log which of its lines are none. Errors: it cannot be read.
func OpenPasswords(path string, log *slog.Logger) (*Passwords, error) {
	p := &Passwords{path: path, log: log, key: make([]byte, sha256.Size), slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
	_, _ = rand.Read(p.key) // which never fails
	_, err := p.current()
	return p, err
}

// Check says whether the file has the user with this password. It may have to wait for others that ask at the same time. Errors: the file cannot be read; ctx has ended.
func (p *Passwords) Check(ctx context.Context, name, password string) (bool, error) {
	users, err := p.current()
	if err != nil {
		return false, err
	}
	found, digest := users.byName[name], p.digest(password)
	if found.had(digest) {
		return true, nil
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if found.had(digest) { // by who was before us
		return true, nil
	}
	if found == nil {
		_ = bcrypt.CompareHashAndPassword(users.first, []byte(password))
		return false, nil
	}
	if bcrypt.CompareHashAndPassword(found.hash, []byte(password)) != nil {
		return false, nil
	}
	found.good.Store(&digest)
	return true, nil
}

// had says whether the password of this digest was found good before.
func (u *user) had(digest [sha256.Size]byte) bool {
	if u == nil {
		return false
	}
	good := u.good.Load()
	return good != nil && subtle.ConstantTimeCompare(good[:], digest[:]) == 1
}

func (p *Passwords) digest(password string) (digest [sha256.Size]byte) {
	h := hmac.New(sha256.New, p.key)
	_, _ = h.Write([]byte(password))
	h.Sum(digest[:0])
	return digest
}

// current gives the users of the file as it is now. What was found good under other lines is forgotten with them.
func (p *Passwords) current() (*users, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	// Looked at before it is read: a file that changes between the two is read again the next time.
	now, err := os.Stat(p.path)
	if err != nil {
		return nil, fmt.Errorf("look at the htpasswd file: %w", err)
	}
	if p.users != nil && os.SameFile(now, p.read) && now.ModTime().Equal(p.read.ModTime()) && now.Size() == p.read.Size() {
		return p.users, nil
	}
	text, err := os.ReadFile(p.path)
	if err != nil {
		return nil, fmt.Errorf("read the htpasswd file: %w", err)
	}
	p.read, p.users = now, p.parse(text)
	p.log.Info("read the htpasswd file", "file", p.path, "users", len(p.users.byName))
	return p.users, nil
}

// parse reads the lines `user:hash`. Empty ones and those that begin with # are nobody's; of two for the same user the first counts.
func (p *Passwords) parse(text []byte) *users {
	all := &users{byName: map[string]*user{}}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		name, hash, _ := bytes.Cut(line, []byte(":"))
		if _, err := bcrypt.Cost(hash); err != nil || len(name) == 0 {
			p.log.Warn(fmt.Sprintf("line %d of the htpasswd file is no user with a bcrypt hash, and is passed over: write it with `htpasswd -B`", number), "file", p.path)
			continue
		}
		if all.byName[string(name)] == nil {
			all.byName[string(name)] = &user{hash: hash}
		}
		if all.first == nil {
			all.first = hash
		}
	}
	return all
}
