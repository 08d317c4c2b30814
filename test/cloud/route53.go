package cloud

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Operations of Route 53.
const (
	ListHostedZones          = "ListHostedZones"
	ListResourceRecordSets   = "ListResourceRecordSets"
	ChangeResourceRecordSets = "ChangeResourceRecordSets"
)

// Route53 is a server that speaks enough of Route 53's API.
type Route53 struct {
	Calls
	// URL of the server.
	URL string
	// Zones of the account.
	Zones []*Zone
	// Secrets of the access keys that it knows.
	Secrets map[string]string

	mu sync.Mutex
	// perSecond is how many calls it takes in a second, 0 for any number; refused are operations that it throttles always.
	perSecond int
	second    int64
	taken     int
	refused   []string
}

// NewRoute53 starts a server for a test.
func NewRoute53(t *testing.T, zones ...*Zone) *Route53 {
	r := &Route53{Zones: zones, Secrets: map[string]string{"AKIDGANDALF": "mellon/+="}}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// Limit makes the server throttle: more than so many calls a second (0 for no limit), and every call of the operations.
func (r *Route53) Limit(perSecond int, operations ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.perSecond, r.refused = perSecond, operations
}

func (r *Route53) throttled(operation string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now().Unix(); now != r.second {
		r.second, r.taken = now, 0
	}
	r.taken++
	return r.perSecond > 0 && r.taken > r.perSecond || slices.Contains(r.refused, operation)
}

func (r *Route53) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	path := strings.Split(strings.Trim(strings.TrimPrefix(request.URL.Path, "/2013-04-01/"), "/"), "/")
	operation := "unknown"
	switch {
	case request.Method == http.MethodGet && len(path) == 1 && path[0] == "hostedzone":
		operation = ListHostedZones
	case request.Method == http.MethodGet && len(path) == 3 && path[2] == "rrset":
		operation = ListResourceRecordSets
	case request.Method == http.MethodPost && len(path) == 3 && path[2] == "rrset":
		operation = ChangeResourceRecordSets
	}
	r.add(operation)
	if err := r.verify(request, body); err != nil {
		fail(w, http.StatusForbidden, "SignatureDoesNotMatch", err.Error())
		return
	}
	if r.throttled(operation) {
		fail(w, http.StatusBadRequest, "Throttling", "Rate exceeded")
		return
	}
	switch operation {
	case ListHostedZones:
		r.listZones(w)
		return
	case "unknown":
		fail(w, http.StatusNotFound, "UnknownOperation", request.URL.Path)
		return
	}
	i := slices.IndexFunc(r.Zones, func(z *Zone) bool { return z.ID == path[1] })
	switch {
	case i < 0:
		fail(w, http.StatusNotFound, "NoSuchHostedZone", "No hosted zone found with ID: "+path[1])
	case operation == ListResourceRecordSets:
		listSets(w, r.Zones[i], request.URL.Query())
	default:
		changeSets(w, r.Zones[i], body)
	}
}

const namespace = `xmlns="https://route53.amazonaws.com/doc/2013-04-01/"`

func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<ErrorResponse %s><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>1</RequestId></ErrorResponse>", namespace, code, escape(message))
}

func escape(text string) string {
	var out bytes.Buffer
	_ = xml.EscapeText(&out, []byte(text))
	return out.String()
}

func (r *Route53) listZones(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/xml")
	_, _ = fmt.Fprintf(w, "<ListHostedZonesResponse %s><HostedZones>", namespace)
	for _, z := range r.Zones {
		_, _ = fmt.Fprintf(w, "<HostedZone><Id>/hostedzone/%s</Id><Name>%s</Name><CallerReference>1</CallerReference><Config><PrivateZone>%t</PrivateZone></Config></HostedZone>", z.ID, z.Name, z.Private)
	}
	_, _ = fmt.Fprint(w, "</HostedZones><Marker></Marker><IsTruncated>false</IsTruncated><MaxItems>100</MaxItems></ListHostedZonesResponse>")
}

// pageSize is how many sets Route 53 gives at most.
const pageSize = 300

func listSets(w http.ResponseWriter, z *Zone, query url.Values) {
	limit := pageSize
	if n, err := strconv.Atoi(query.Get("maxitems")); err == nil && n < limit {
		limit = n
	}
	sets := z.Sets()
	if from := query.Get("name"); from != "" {
		start := order(from) + " " + query.Get("type")
		sets = sets[slices.IndexFunc(sets, func(s Set) bool { return order(s.Name)+" "+s.Type >= start }):]
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = fmt.Fprintf(w, "<ListResourceRecordSetsResponse %s><ResourceRecordSets>", namespace)
	for _, s := range sets[:min(limit, len(sets))] {
		_, _ = fmt.Fprintf(w, "<ResourceRecordSet><Name>%s</Name><Type>%s</Type><TTL>%d</TTL><ResourceRecords>", escape(s.Name), s.Type, s.TTL)
		for _, value := range s.Values {
			_, _ = fmt.Fprintf(w, "<ResourceRecord><Value>%s</Value></ResourceRecord>", escape(value))
		}
		_, _ = fmt.Fprint(w, "</ResourceRecords></ResourceRecordSet>")
	}
	_, _ = fmt.Fprintf(w, "</ResourceRecordSets><IsTruncated>%t</IsTruncated>", len(sets) > limit)
	if len(sets) > limit {
		_, _ = fmt.Fprintf(w, "<NextRecordName>%s</NextRecordName><NextRecordType>%s</NextRecordType>", escape(sets[limit].Name), sets[limit].Type)
	}
	_, _ = fmt.Fprintf(w, "<MaxItems>%d</MaxItems></ListResourceRecordSetsResponse>", limit)
}

func changeSets(w http.ResponseWriter, z *Zone, body []byte) {
	var request struct {
		Changes []struct {
			Action string
			Set    struct {
				Name, Type string
				TTL        int64
				Values     []string `xml:"ResourceRecords>ResourceRecord>Value"`
			} `xml:"ResourceRecordSet"`
		} `xml:"ChangeBatch>Changes>Change"`
	}
	if err := xml.Unmarshal(body, &request); err != nil || len(request.Changes) == 0 {
		fail(w, http.StatusBadRequest, "InvalidInput", "the body cannot be read")
		return
	}
	var changes []change
	values, characters := 0, 0
	for _, c := range request.Changes {
		weight := 1
		if c.Action == "UPSERT" {
			weight = 2
		}
		for _, value := range c.Set.Values {
			values += weight
			characters += weight * len(value)
		}
		changes = append(changes, change{c.Action, Set{strings.TrimSuffix(c.Set.Name, ".") + ".", c.Set.Type, c.Set.TTL, c.Set.Values}})
	}
	if len(changes) > 1000 || values > 1000 || characters > 32000 {
		fail(w, http.StatusBadRequest, "InvalidChangeBatch", fmt.Sprintf("[%d changes, %d values and %d characters are more than the limit]", len(changes), values, characters))
		return
	}
	if err := z.apply(changes); err != nil {
		fail(w, http.StatusBadRequest, "InvalidChangeBatch", "["+err.Error()+"]")
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = fmt.Fprintf(w, "<ChangeResourceRecordSetsResponse %s><ChangeInfo><Id>/change/C1</Id><Status>PENDING</Status><SubmittedAt>%s</SubmittedAt></ChangeInfo></ChangeResourceRecordSetsResponse>",
		namespace, time.Now().UTC().Format(time.RFC3339))
}

// verify computes the signature (version 4) of a request anew. Errors: it is another, or by an unknown key, or old.
func (r *Route53) verify(request *http.Request, body []byte) error {
	fields := map[string]string{}
	algorithm, rest, _ := strings.Cut(request.Header.Get("Authorization"), " ")
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	if algorithm != "AWS4-HMAC-SHA256" || len(scope) != 5 || scope[3] != "route53" {
		return fmt.Errorf("the request is not signed for route53: %q", request.Header.Get("Authorization"))
	}
	secret, known := r.Secrets[scope[0]]
	if !known {
		return fmt.Errorf("the access key %s is unknown", scope[0])
	}
	date := request.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", date)
	if err != nil || time.Since(at).Abs() > 5*time.Minute {
		return fmt.Errorf("the request is of %q", date)
	}
	var headers strings.Builder
	for name := range strings.SplitSeq(fields["SignedHeaders"], ";") {
		value := request.Header.Get(name)
		switch name {
		case "host":
			value = request.Host
		case "content-length":
			value = strconv.FormatInt(request.ContentLength, 10)
		}
		headers.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	canonical := strings.Join([]string{
		request.Method, request.URL.EscapedPath(), strings.ReplaceAll(request.URL.Query().Encode(), "+", "%20"), headers.String(), fields["SignedHeaders"], digest(body),
	}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range scope[1:] {
		key = sign(key, part)
	}
	want := sign(key, strings.Join([]string{algorithm, date, strings.Join(scope[1:], "/"), digest([]byte(canonical))}, "\n"))
	if hex.EncodeToString(want) != fields["Signature"] {
		return fmt.Errorf("the signature is not that of\n%s", canonical)
	}
	return nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func sign(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
