package dnsprovider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/compute/metadata"
	"golang.org/x/oauth2"
	googleauth "golang.org/x/oauth2/google"
	dns "google.golang.org/api/dns/v1"
	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/provider"
	"sigs.k8s.io/external-dns/provider/google"
)

// Without credentials-file or token-url the identity is the pod's own: workload identity, or its node's.
var googleKind = kind{
	keys: []key{
		{name: "project-id"}, {name: "token-url"}, {name: "token-body"}, {name: "credentials-file", file: true},
		{name: "zone-id"}, {name: "zone-visibility", words: visibilities}, {name: "endpoint-url"},
	},
	check:  checkGoogle,
	open:   openGoogle,
	locate: locateGoogle,
	verify: verifyGoogle,
	chunk:  200, // a thousand changes are allowed, and a change may count four
	advice: "its identity needs the role roles/dns.admin in the project, or in the zone with dns.managedZones.list in the project; see whether project-id and the credentials are right",
}

// cloudDNSChanges is Cloud DNS's limit for one call.
const cloudDNSChanges = 1000

func checkGoogle(c Config) error {
	if c.get("token-body") != "" && c.get("token-url") == "" {
		return errors.New("key token-body is given without token-url: give both, or neither")
	}
	return c.one("token-url", "credentials-file")
}

func openGoogle(ctx context.Context, c Config, base externaldns.Config, _ string, at zoneID) (provider.Provider, error) {
	base.GoogleBatchChangeSize = cloudDNSChanges
	base.ZoneIDFilter = []string{string(at)}
	credentials, err := c.googleCredentials()
	if err != nil {
		return nil, err
	}
	if base.GoogleProject = c.get("project-id"); base.GoogleProject == "" {
		base.GoogleProject = credentials.project
	}
	if credentials.temporary {
		defer func() { _ = os.Remove(credentials.file) }()
	}
	wire, err := c.googleTransport()
	if err != nil {
		return nil, err
	}
	// Not ctx itself: the tokens of all later calls are got with it.
	client := context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, &http.Client{Transport: wire})
	variables := map[string]string{}
	if credentials.file != "" {
		variables["GOOGLE_APPLICATION_CREDENTIALS"] = credentials.file
	}
	var opened provider.Provider
	err = withEnvironment(variables, func() (err error) {
		opened, err = google.New(client, &base, endpoint.NewDomainFilter([]string{c.domain()}))
		return err
	})
	return opened, err
}

func locateGoogle(ctx context.Context, c Config, base externaldns.Config) (zoneID, error) {
	opened, err := openGoogle(ctx, c, base, "", "")
	if err != nil {
		return "", err
	}
	zones, err := opened.(interface {
		Zones(context.Context) (map[string]*dns.ManagedZone, error)
	}).Zones(ctx)
	if err != nil {
		return "", err
	}
	var found []candidate
	for name, zone := range zones {
		if canonical(zone.DnsName) == c.Zone {
			found = append(found, candidate{id: strconv.FormatUint(zone.Id, 10), name: name, private: zone.Visibility == "private"})
		}
	}
	one, err := choose(c, "the project", found)
	return zoneID(one), err
}

// verifyGoogle sees whether the zone is still there: external-dns lists that of an id that is gone as empty, and passes over what is to be written.
func verifyGoogle(c Config, all records) error {
	if !hasApex(c, all) {
		return fmt.Errorf("%w: it is not there any more", ErrNoZone)
	}
	return nil
}

// credentialsOfGoogle is what the library is told.
type credentialsOfGoogle struct {
	// file holds the credentials; empty for the pod's own identity. A temporary one is removed when it was read.
	file      string
	temporary bool
	// project that the credentials belong to; empty if they do not say.
	project string
}

// standIn are credentials whose tokens googleTransport gives, since the library wants some before it uses a transport.
const standIn = `{"type": "authorized_user", "client_id": "token-url", "client_secret": "token-url", "refresh_token": "token-url"}`

func (c Config) googleCredentials() (credentialsOfGoogle, error) {
	switch {
	case c.get("token-url") != "":
		file, err := os.CreateTemp(writable(), "fedhelm-google-*.json")
		if err != nil {
			return credentialsOfGoogle{}, err
		}
		_, err = file.WriteString(standIn)
		return credentialsOfGoogle{file: file.Name(), temporary: true}, errors.Join(err, file.Close())
	case c.get("credentials-file") != "":
		text, err := os.ReadFile(c.path("credentials-file"))
		if err != nil {
			return credentialsOfGoogle{}, err
		}
		var content struct {
			ProjectID string `json:"project_id"`
		}
		if err := json.Unmarshal(text, &content); err != nil {
			return credentialsOfGoogle{}, fmt.Errorf("file %s is no key of a service account, as `gcloud iam service-accounts keys create` writes it", c.get("credentials-file"))
		}
		return credentialsOfGoogle{file: c.path("credentials-file"), project: content.ProjectID}, nil
	default:
		return credentialsOfGoogle{}, nil
	}
}

// googleTransport is what all calls to Google go through. It sends those for Cloud DNS to endpoint-url, and answers those for tokens with token-url's.
func (c Config) googleTransport() (http.RoundTripper, error) {
	plain := http.DefaultTransport.(*http.Transport).Clone()
	plain.ResponseHeaderTimeout = callTimeout / 2
	wire := &googleWire{next: plain}
	if text := c.get("endpoint-url"); text != "" {
		at, err := url.Parse(text)
		if err != nil || at.Host == "" {
			return nil, fmt.Errorf("key endpoint-url is %s: write it as https://host or https://host:port", text)
		}
		wire.endpoint = at
	}
	if c.get("token-url") != "" {
		wire.tokens = oauth2.ReuseTokenSource(nil, &tokenURL{url: c.get("token-url"), body: c.get("token-body")})
	}
	return wire, nil
}

type googleWire struct {
	next     http.RoundTripper
	endpoint *url.URL
	tokens   oauth2.TokenSource
}

func (w *googleWire) RoundTrip(request *http.Request) (*http.Response, error) {
	switch host := request.URL.Host; {
	case host == "oauth2.googleapis.com" && w.tokens != nil:
		token, err := w.tokens.Token()
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(map[string]any{"access_token": token.AccessToken, "token_type": "Bearer", "expires_in": int(time.Until(token.Expiry).Seconds())})
		return &http.Response{
			Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: request,
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(text))),
		}, err
	case host == "dns.googleapis.com" && w.endpoint != nil:
		request = request.Clone(request.Context())
		request.URL.Scheme, request.URL.Host, request.Host = w.endpoint.Scheme, w.endpoint.Host, w.endpoint.Host
	}
	return w.next.RoundTrip(request)
}

// tokenURL gives tokens as v1's key token-url did: token-body is posted there, with the node's own identity where there is one.
type tokenURL struct{ url, body string }

func (t *tokenURL) Token() (*oauth2.Token, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout/2)
	defer cancel()
	client := http.DefaultClient
	if metadata.OnGCE() {
		client = oauth2.NewClient(ctx, googleauth.ComputeTokenSource(""))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, strings.NewReader(t.body))
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("token-url answers %s", response.Status)
	}
	var token struct {
		AccessToken string    `json:"accessToken"`
		ExpireTime  time.Time `json:"expireTime"`
	}
	if err := json.NewDecoder(response.Body).Decode(&token); err != nil || token.AccessToken == "" {
		return nil, errors.New("token-url answers without an accessToken")
	}
	return &oauth2.Token{AccessToken: token.AccessToken, Expiry: token.ExpireTime}, nil
}
