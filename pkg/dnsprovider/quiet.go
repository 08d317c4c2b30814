package dnsprovider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"
)

// external-dns speaks of some failures in its log alone: azure's all, a zone that is gone, a refused transfer of a zone, why Route 53 refused a batch. So this package listens to that log
// instead of printing it, and keeps to one call at a time, to know of which it speaks.
var (
	calls sync.Mutex
	ear   = &listener{}
)

func init() {
	logrus.SetOutput(io.Discard)
	logrus.AddHook(ear)
}

type listener struct {
	mu     sync.Mutex
	said   []string
	cancel context.CancelFunc
}

func (*listener) Levels() []logrus.Level {
	return []logrus.Level{logrus.ErrorLevel, logrus.WarnLevel, logrus.InfoLevel}
}

// passedOver is how messages of lesser levels begin that speak of a change which is not made, and of which the call says nothing: the zone is gone.
var passedOver = []string{"No matching zone for record ", "Ignoring changes to "}

// harmless is how messages begin that speak of a stranger's record, which is nothing to us.
var harmless = []string{"TXT record has no targets", "Skipping invalid record set", "label "}

func (l *listener) Fire(entry *logrus.Entry) error {
	begins := func(start string) bool { return strings.HasPrefix(entry.Message, start) }
	if entry.Level > logrus.ErrorLevel && !slices.ContainsFunc(passedOver, begins) || slices.ContainsFunc(harmless, begins) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, entry.Message)
	if l.cancel != nil && !oneByOne(entry.Message) {
		l.cancel()
	}
	return nil
}

// oneByOne says whether a batch that failed is worth trying change by change, as external-dns does: only if one of them is at fault. A provider that throttles must not get a
// thousand calls more.
func oneByOne(message string) bool { return strings.Contains(message, "InvalidChangeBatch") }

// listen makes a call of external-dns with a bounded time. Errors: the call's, and what it said in its log instead.
func listen(ctx context.Context, call func(context.Context) error) error {
	calls.Lock()
	defer calls.Unlock()
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ear.begin(cancel)
	err := call(bounded)
	said := ear.end()
	switch {
	case ctx.Err() != nil && err != nil:
		return err
	case len(said) == 0 && err != nil && bounded.Err() != nil:
		return fmt.Errorf("no answer within %s: %w", callTimeout, err)
	case len(said) == 0:
		return err
	case len(said) == 1:
		return errors.New(said[0])
	default:
		return fmt.Errorf("%s; and %d more like it", said[0], len(said)-1)
	}
}

func (l *listener) begin(cancel context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said, l.cancel = nil, cancel
}

func (l *listener) end() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	said := l.said
	l.said, l.cancel = nil, nil
	return said
}

var environment sync.Mutex

// withEnvironment does work with variables of the process's environment set, or with an empty value unset, and puts them back: some of external-dns's providers are told their
// credentials in no other way.
func withEnvironment(variables map[string]string, work func() error) error {
	environment.Lock()
	defer environment.Unlock()
	for name, value := range variables {
		before, was := os.LookupEnv(name)
		defer func() {
			if was {
				_ = os.Setenv(name, before)
			} else {
				_ = os.Unsetenv(name)
			}
		}()
		if value == "" {
			_ = os.Unsetenv(name)
		} else if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return work()
}
