package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
)

// Wait asks check every interval until it is done, for at most timeout. check returns whether the wait is over, and an error either to end it
// (Fatal) or to be reported if time runs out. Errors: Fatal's at once; else one that names what was waited for, how long, and the last answer.
func Wait(ctx context.Context, interval, timeout time.Duration, what string, check func(context.Context) (bool, error)) error {
	start := time.Now()
	var last error
	err := wait.PollUntilContextTimeout(ctx, interval, timeout, true, func(ctx context.Context) (bool, error) {
		done, err := check(ctx)
		var fatal fatalError
		if errors.As(err, &fatal) {
			return false, fatal.error
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		return done && err == nil, nil
	})
	if err == nil || !wait.Interrupted(err) {
		return err
	}
	if last == nil {
		return fmt.Errorf("waited %s for %s in vain", time.Since(start).Round(time.Second), what)
	}
	return fmt.Errorf("waited %s for %s in vain: %w", time.Since(start).Round(time.Second), what, last)
}

// Fatal marks an error that no further waiting mends.
func Fatal(err error) error { return fatalError{err} }

type fatalError struct{ error }

func (f fatalError) Unwrap() error { return f.error }

// RetryTransient repeats call while another answer may come a moment later, for at most timeout: the API does not answer, or is too busy, or refuses it as forbidden. A hook may
// start before the authorizer has seen its role, and Argo CD starts the hooks of a delete phase in any order. Errors: call's last.
func RetryTransient(ctx context.Context, timeout time.Duration, call func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, time.Second, timeout, true, func(ctx context.Context) (bool, error) {
		last = call(ctx)
		return !transient(last), nil
	})
	if last != nil {
		return last
	}
	return err
}

func transient(err error) bool {
	var network net.Error
	return errors.As(err, &network) || apierrors.IsForbidden(err) || apierrors.IsInternalError(err) || apierrors.IsServiceUnavailable(err) ||
		apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err)
}
