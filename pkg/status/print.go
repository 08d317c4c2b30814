package status

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"

	"github.com/fedhelm/fedhelm/pkg/dnsprovider"
)

// Formats are what Print takes.
var Formats = []string{"table", "json", "yaml"}

// Print writes the report in one of Formats. Errors: another format; out's own.
func (r *Report) Print(out io.Writer, format string) error {
	switch format {
	case "table":
		return r.table(out)
	case "json":
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, string(text))
		return err
	case "yaml":
		text, err := yaml.Marshal(r)
		if err != nil {
			return err
		}
		_, err = out.Write(text)
		return err
	}
	return fmt.Errorf("there is no format %q: give -o one of %s", format, strings.Join(Formats, ", "))
}

func (r *Report) table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
	row := func(cells ...string) { _, _ = fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t")) }

	row("FEDERATION", r.Federation, "namespace "+r.Namespace)
	row("API", or(r.API.Address, "-"), or(r.API.Message, "ready"))
	if len(r.Etcd) > 0 {
		row("ETCD", strings.Join(r.Etcd, ", "), "not the control plane's own")
	}
	row("DNS", or(r.DNS.Zone, "-"), servers(r.DNS))
	_ = w.Flush()

	row("")
	row("MEMBER", "STATUS", "VERSION", "REGION", "AGE", "MESSAGE")
	for _, m := range r.Members {
		row(m.Name, m.Status, or(m.Version, "-"), or(m.Region, "-"), duration.HumanDuration(r.Time.Sub(m.Joined.Time)), m.Message)
	}
	switch {
	case !r.API.Ready:
		row("-", "Unknown", "", "", "", "the API is not ready")
	case len(r.Members) == 0:
		row("-", "None", "", "", "", fmt.Sprintf("join a cluster with `helm -n %s install gondor charts/federation-member`", r.Namespace))
	}
	_ = w.Flush()

	if len(r.Members) > 0 {
		row("")
		row("MEMBER'S DNS", "MODE", "FALLS BACK TO", "ASKS", "MESSAGE")
		for _, m := range r.Members {
			row(m.Name, or(m.DNS.Mode, "-"), or(m.DNS.Nearest, "-"), or(strings.Join(m.DNS.Nameservers, ", "), "-"), or(m.DNS.Message, "-"))
		}
		_ = w.Flush()
	}

	row("")
	row("CERTIFICATE", "ENDS", "DAYS LEFT", "MESSAGE")
	for _, c := range r.Certificates {
		end, days := "-", "-"
		if c.NotAfter != nil {
			end, days = c.NotAfter.UTC().Format(time.DateOnly), strconv.Itoa(*c.DaysLeft)
		}
		row(c.Secret, end, days, c.Message)
	}
	return w.Flush()
}

func servers(dns DNS) string {
	switch {
	case dns.Late:
		return "name servers not known yet"
	case len(dns.Nameservers) > 0:
		return "name servers " + strings.Join(dns.Nameservers, ", ")
	case dns.Provider == dnsprovider.None:
		return "no records"
	}
	return "public"
}

func or(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}
