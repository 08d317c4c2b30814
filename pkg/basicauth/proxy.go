package basicauth

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Headers by which a front proxy tells a kube-apiserver who somebody is, as its --requestheader flags name them.
const (
	headerUser  = "X-Remote-User"
	headerGroup = "X-Remote-Group"
	// headerPrefix begins these, and others of the kind: X-Remote-Uid, X-Remote-Extra-…
	headerPrefix = "x-remote-"
)

// challenge asks a client for a name and a password. The realm says to a person what they are for.
const challenge = `Basic realm="kubernetes", charset="UTF-8"`

// Proxy lets requests with a good name and password through to a kube-apiserver.
type Proxy struct {
	// Server is the kube-apiserver's URL.
	Server *url.URL
	// Transport reaches it, with a certificate of the front proxy.
	Transport http.RoundTripper
	// Passwords are those that are good.
	Passwords *Passwords
	// Group is the one that every user is in.
	Group string
	// Log tells what fails, and never who somebody said to be.
	Log *slog.Logger
}

// Handler gives the proxy as a handler. It answers as a kube-apiserver does: 401 without a good name and password, 503 while the passwords cannot be read, 502 when the
// kube-apiserver does not answer. Bodies are streamed both ways, and so are watches, for as long as they last; upgrades (exec, attach) pass.
func (p Proxy) Handler() http.Handler {
	forward := &httputil.ReverseProxy{
		Transport:     p.Transport,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(p.Log.Handler(), slog.LevelWarn),
		Rewrite:       p.rewrite,
		ModifyResponse: func(response *http.Response) error {
			if response.StatusCode == http.StatusUnauthorized {
				p.Log.Warn("the kube-apiserver refuses the proxy's certificate: see its --requestheader-client-ca-file and --requestheader-allowed-names")
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return // nobody is there to be told
			}
			p.Log.Warn("the kube-apiserver does not answer", "reason", err.Error())
			refuse(w, status(http.StatusBadGateway, metav1.StatusReasonServiceUnavailable, "the API server behind this proxy does not answer: try again, or see its pod's log"))
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, given := r.BasicAuth()
		good := false
		if given {
			var err error
			if good, err = p.Passwords.Check(r.Context(), name, password); r.Context().Err() != nil {
				return
			} else if err != nil {
				p.Log.Warn("nobody is let in", "reason", err.Error())
				refuse(w, status(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "the passwords cannot be read: see the proxy's log"))
				return
			}
		}
		if !good {
			w.Header().Set("WWW-Authenticate", challenge)
			refuse(w, apierrors.NewUnauthorized("Unauthorized").ErrStatus)
			return
		}
		forward.ServeHTTP(w, r)
	})
}

// rewrite makes the request one of the front proxy's. The name was checked before; nothing that the client says of itself in the front proxy's headers counts, and its password stays
// here. Impersonate-User and the like are the kube-apiserver's to judge.
func (p Proxy) rewrite(r *httputil.ProxyRequest) {
	r.SetURL(p.Server)
	r.SetXForwarded() // for the audit log
	for key := range r.Out.Header {
		if strings.HasPrefix(strings.ToLower(key), headerPrefix) {
			delete(r.Out.Header, key)
		}
	}
	r.Out.Header.Del("Authorization")
	name, _, _ := r.In.BasicAuth()
	r.Out.Header.Set(headerUser, name)
	r.Out.Header.Set(headerGroup, p.Group)
}

func status(code int32, reason metav1.StatusReason, message string) metav1.Status {
	return metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message}
}

// refuse answers with a Status, which kubectl shows.
func refuse(w http.ResponseWriter, s metav1.Status) {
	s.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	body, _ := json.Marshal(s) // which can be
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(s.Code))
	_, _ = w.Write(body)
}
