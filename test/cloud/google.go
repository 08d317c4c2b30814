package cloud

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Operations of Cloud DNS.
const (
	ListManagedZones = "ManagedZones.List"
	ListRRSets       = "ResourceRecordSets.List"
	CreateChange     = "Changes.Create"
	GetToken         = "Token"
)

// CloudDNS is a server that speaks enough of Google Cloud DNS's API and of Google's for tokens.
type CloudDNS struct { //nolint:revive // Google's name for it
	Calls
	// URL of the server.
	URL string
	// Project of the zones. A zone's name in the API is its ID; its id there is a number.
	Project string
	Zones   []*Zone
	// TokenBody is what /token-url wants to be posted.
	TokenBody string

	key    *rsa.PrivateKey
	mu     sync.Mutex
	tokens map[string]time.Time
	down   bool
}

// NewCloudDNS starts a server for a test.
func NewCloudDNS(t *testing.T, zones ...*Zone) *CloudDNS {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c := &CloudDNS{Project: "middle-earth", Zones: zones, TokenBody: `{"ring": "one"}`, key: key, tokens: map[string]time.Time{}} //nolint:gosec // a test's
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// Credentials is the key of a service account that the server knows, as `gcloud iam service-accounts keys create` writes it.
func (c *CloudDNS) Credentials() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		panic(err) // it was made a moment ago
	}
	return asJSON(map[string]string{
		"type": "service_account", "project_id": c.Project, "private_key_id": "1", "client_email": "gandalf@middle-earth.example", "client_id": "1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": c.URL + "/token",
	})
}

// Down makes the server answer everything but calls for tokens with "rate limit exceeded", or no longer.
func (c *CloudDNS) Down(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// Expire makes all tokens void that were given.
func (c *CloudDNS) Expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.tokens)
}

func (c *CloudDNS) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	w.Header().Set("Content-Type", "application/json")
	switch request.URL.Path {
	case "/token":
		c.add(GetToken)
		c.token(w, request, body)
		return
	case "/token-url":
		c.add(GetToken)
		if string(body) != c.TokenBody {
			refuse(w, http.StatusForbidden, "forbidden", "this is not the body")
			return
		}
		_, _ = w.Write(asJSON(map[string]any{"accessToken": c.grant(), "expireTime": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}))
		return
	}
	path := strings.Split(strings.TrimPrefix(request.URL.Path, "/dns/v1/projects/"+c.Project+"/"), "/")
	operation := "unknown"
	switch {
	case request.Method == http.MethodGet && len(path) == 1 && path[0] == "managedZones":
		operation = ListManagedZones
	case request.Method == http.MethodGet && len(path) == 3 && path[2] == "rrsets":
		operation = ListRRSets
	case request.Method == http.MethodPost && len(path) == 3 && path[2] == "changes":
		operation = CreateChange
	}
	c.add(operation)
	if !c.granted(request) {
		refuse(w, http.StatusUnauthorized, "authError", "Invalid Credentials")
		return
	}
	if c.isDown() {
		refuse(w, http.StatusForbidden, "rateLimitExceeded", "Rate Limit Exceeded")
		return
	}
	switch operation {
	case ListManagedZones:
		c.listZones(w)
		return
	case "unknown":
		refuse(w, http.StatusForbidden, "forbidden", "project or method "+request.URL.Path)
		return
	}
	i := slices.IndexFunc(c.Zones, func(z *Zone) bool { return z.ID == path[1] })
	switch {
	case i < 0:
		refuse(w, http.StatusNotFound, "notFound", "no zone "+path[1])
	case operation == ListRRSets:
		listRRSets(w, c.Zones[i], request.URL.Query().Get("pageToken"))
	default:
		createChange(w, c.Zones[i], body)
	}
}

func refuse(w http.ResponseWriter, status int, reason, message string) {
	w.WriteHeader(status)
	_, _ = w.Write(asJSON(map[string]any{"error": map[string]any{
		"code": status, "message": message, "errors": []any{map[string]any{"domain": "global", "reason": reason, "message": message}},
	}}))
}

// token gives a token for an assertion that the key of Credentials signed.
func (c *CloudDNS) token(w http.ResponseWriter, request *http.Request, body []byte) {
	request.Body = io.NopCloser(strings.NewReader(string(body)))
	assertion := strings.Split(request.FormValue("assertion"), ".")
	if len(assertion) != 3 {
		refuse(w, http.StatusBadRequest, "invalid_grant", "no assertion")
		return
	}
	signature, err := base64.RawURLEncoding.DecodeString(assertion[2])
	sum := sha256.Sum256([]byte(assertion[0] + "." + assertion[1]))
	if err != nil || rsa.VerifyPKCS1v15(&c.key.PublicKey, crypto.SHA256, sum[:], signature) != nil {
		refuse(w, http.StatusBadRequest, "invalid_grant", "the signature is another's")
		return
	}
	_, _ = w.Write(asJSON(map[string]any{"access_token": c.grant(), "token_type": "Bearer", "expires_in": 3600}))
}

func (c *CloudDNS) grant() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	token := rand.Text()
	c.tokens[token] = time.Now().Add(time.Hour)
	return token
}

func (c *CloudDNS) granted(request *http.Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	token, _ := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer ")
	return time.Now().Before(c.tokens[token])
}

func (c *CloudDNS) isDown() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.down
}

func (c *CloudDNS) listZones(w http.ResponseWriter) {
	list := []any{}
	for i, z := range c.Zones {
		visibility := "public"
		if z.Private {
			visibility = "private"
		}
		list = append(list, map[string]any{"kind": "dns#managedZone", "id": strconv.Itoa(7000000000000 + i), "name": z.ID, "dnsName": z.Name, "visibility": visibility})
	}
	_, _ = w.Write(asJSON(map[string]any{"kind": "dns#managedZonesListResponse", "managedZones": list}))
}

type rrset struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	TTL     int64    `json:"ttl"`
	RRDatas []string `json:"rrdatas"`
}

// rrsetsPage is how many sets a page has.
const rrsetsPage = 100

func listRRSets(w http.ResponseWriter, z *Zone, page string) {
	from, _ := strconv.Atoi(page)
	sets := z.Sets()
	list := []rrset{}
	for _, s := range sets[min(from, len(sets)):min(from+rrsetsPage, len(sets))] {
		list = append(list, rrset{s.Name, s.Type, s.TTL, s.Values})
	}
	answer := map[string]any{"kind": "dns#resourceRecordSetsListResponse", "rrsets": list}
	if from+rrsetsPage < len(sets) {
		answer["nextPageToken"] = strconv.Itoa(from + rrsetsPage)
	}
	_, _ = w.Write(asJSON(answer))
}

func createChange(w http.ResponseWriter, z *Zone, body []byte) {
	var request struct{ Additions, Deletions []rrset }
	if err := json.Unmarshal(body, &request); err != nil {
		refuse(w, http.StatusBadRequest, "parseError", err.Error())
		return
	}
	if len(request.Additions) > 1000 || len(request.Deletions) > 1000 {
		refuse(w, http.StatusBadRequest, "quotaExceeded", fmt.Sprintf("%d additions and %d deletions are more than the limit", len(request.Additions), len(request.Deletions)))
		return
	}
	var changes []change
	for _, s := range request.Deletions {
		changes = append(changes, change{"DELETE", Set{s.Name, s.Type, s.TTL, s.RRDatas}})
	}
	for _, s := range request.Additions {
		if !strings.HasSuffix(s.Name, ".") || s.Type == "CNAME" && !strings.HasSuffix(s.RRDatas[0], ".") {
			refuse(w, http.StatusBadRequest, "invalid", "a name without its trailing dot: "+s.Name)
			return
		}
		changes = append(changes, change{"CREATE", Set{s.Name, s.Type, s.TTL, s.RRDatas}})
	}
	if err := z.apply(changes); err != nil {
		refuse(w, http.StatusConflict, "conflict", err.Error())
		return
	}
	_, _ = w.Write(asJSON(map[string]any{"kind": "dns#change", "id": "1", "status": "pending"}))
}
