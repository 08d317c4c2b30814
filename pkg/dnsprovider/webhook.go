package dnsprovider

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/provider"
	"sigs.k8s.io/external-dns/provider/webhook"
)

// Any provider that has a webhook for external-dns.
var webhookKind = kind{
	keys:   []key{{name: "url"}},
	check:  checkWebhook,
	open:   openWebhook,
	chunk:  200,
	advice: "see whether the webhook is up at its url, and what it says in its log",
}

func checkWebhook(c Config) error {
	text := c.get("url")
	at, err := url.Parse(text)
	if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
		return fmt.Errorf("key url is %q: give the webhook's URL, such as http://localhost:8888", text)
	}
	return nil
}

func openWebhook(ctx context.Context, c Config, base externaldns.Config, _ string, _ zoneID) (provider.Provider, error) {
	base.WebhookProviderURL = c.get("url")
	base.WebhookProviderReadTimeout, base.WebhookProviderWriteTimeout = 10*time.Second, 20*time.Second
	opened, err := webhook.New(ctx, &base, nil)
	if err != nil {
		return nil, err
	}
	if filter, ok := opened.GetDomainFilter().(*endpoint.DomainFilter); ok && !filter.Match(c.domain()) && !filter.Match("x."+c.domain()) {
		return nil, fmt.Errorf("%w: the webhook keeps %v: set dns.zoneName to one of those", ErrNoZone, filter.Filters)
	}
	return opened, nil
}
