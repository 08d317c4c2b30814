package cluster

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controllers/clusterclient"
)

// result is what one probe found out. Reason and message are those of
// condition Ready; the other condition and the phase follow from the reason.
type result struct {
	reason, message string

	// What a Ready member told about itself; nil where it was not asked or
	// did not tell.
	version *string
	nodes   []metav1.PartialObjectMetadata
	listed  bool
	// untold is why something is missing, for the log.
	untold error
}

func (r result) ok() bool { return r.reason == v1beta1.ReasonClusterReady }

// probe asks a member how it is, within timeout, and if it is well for its
// version and (if wanted) its nodes, within another.
func probe(ctx context.Context, member *clusterclient.Member, timeout time.Duration, wantNodes bool) result {
	healthz, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// No retries inside a probe: the thresholds are the retries.
	body, err := member.REST.Get().AbsPath("/healthz").MaxRetries(0).Do(healthz).Raw()
	if err != nil {
		r := failure(err, member.Config.Host, timeout)
		if r.reason == v1beta1.ReasonClusterNotReachable {
			member.Reconnect()
		}
		return r
	}
	if strings.TrimSpace(string(body)) != "ok" {
		return result{reason: v1beta1.ReasonClusterNotReady, message: v1beta1.MessageClusterNotReady}
	}

	r := result{reason: v1beta1.ReasonClusterReady, message: v1beta1.MessageClusterReady}
	facts, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var info version.Info
	body, err = member.REST.Get().AbsPath("/version").MaxRetries(0).Do(facts).Raw()
	if err == nil {
		err = json.Unmarshal(body, &info)
	}
	if err == nil {
		r.version = &info.GitVersion
	}
	r.untold = err
	if wantNodes {
		// Resource version 0 is answered from the API server's memory.
		nodes, err := member.Metadata.Resource(corev1.SchemeGroupVersion.WithResource("nodes")).List(facts, metav1.ListOptions{ResourceVersion: "0"})
		if err == nil {
			r.nodes, r.listed = nodes.Items, true
		}
		r.untold = errors.Join(r.untold, err)
	}
	return r
}

// failure tells what a failed GET of /healthz means. Its messages hold nothing
// that differs from one probe to the next (ports, times): a status that stays
// the same is not written again.
func failure(err error, address string, timeout time.Duration) result {
	var (
		fault  *clusterclient.Error
		status apierrors.APIStatus
		cert   *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &fault):
		return result{reason: fault.Reason, message: fault.Message}
	case apierrors.IsUnauthorized(err):
		return result{reason: v1beta1.ReasonCredentialsRefused,
			message: "the cluster refuses the credentials (401 Unauthorized): join it again with helm upgrade, which renews them"}
	case apierrors.IsForbidden(err):
		return result{reason: v1beta1.ReasonCredentialsRefused,
			message: "the cluster does not let the credentials get /healthz (403 Forbidden): join it again with helm upgrade, which repairs the role"}
	case errors.As(err, &status):
		return result{reason: v1beta1.ReasonClusterNotReady,
			message: fmt.Sprintf("%s (HTTP status %d)", v1beta1.MessageClusterNotReady, status.Status().Code)}
	case errors.As(err, &cert):
		return result{reason: v1beta1.ReasonCertificateInvalid,
			message: fmt.Sprintf("the serving certificate of %s is not trusted (%v): put the CA that signs it, or the name that it has as tls-server-name, into the credentials Secret",
				address, withoutTime(cert.Err))}
	}
	return result{reason: v1beta1.ReasonClusterNotReachable,
		message: fmt.Sprintf("%s: %s", v1beta1.MessageClusterNotReachable, noAnswer(err, address, timeout))}
}

// noAnswer puts a connection's error into words.
func noAnswer(err error, address string, timeout time.Duration) string {
	var (
		dns     *net.DNSError
		netFail net.Error
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the host name of " + address + " does not resolve"
	case errors.Is(err, syscall.ECONNREFUSED):
		return address + " refuses connections"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no route to " + address
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &netFail) && netFail.Timeout():
		return fmt.Sprintf("%s did not answer within %v", address, timeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return address + " closed the connection"
	}
	return "the connection to " + address + " fails"
}

// withoutTime takes the current time out of "certificate has expired or is not
// yet valid: current time … is after …".
func withoutTime(err error) string {
	text := err.Error()
	if i := strings.Index(text, ": current time "); i >= 0 {
		return text[:i]
	}
	return text
}
