package controlplane

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/dnsprovider"
	"github.com/fedhelm/fedhelm/pkg/dnsprovider/ini"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/values"
)

// dnsTimeout bounds what is asked of the DNS provider in one run.
const dnsTimeout = time.Minute

// dropTimeout is how long the removal of records is tried.
const dropTimeout = 50 * time.Second

// When the DNS provider is asked whether the zone may be written: at every run, or only for a configuration that is new, since the keeper runs often.
type dnsCheck bool

const (
	checkAlways  dnsCheck = true
	checkChanged dnsCheck = false
)

// Prepare ensures what the control plane's pods mount, and sees that somebody else's etcd can be asked. Errors: also what the controllers would refuse when Helm is long done.
func (h Hook) Prepare(ctx context.Context) error {
	if err := h.checkControllers(); err != nil {
		return err
	}
	if err := h.checkEtcd(ctx); err != nil {
		return err
	}
	if err := h.Certs(ctx); err != nil {
		return err
	}
	return h.DNS(ctx)
}

func (h Hook) checkControllers() error {
	v := h.Values.ControllerManager
	if _, err := federatedtypes.All(v.FederatedTypes); err != nil {
		return fmt.Errorf("controllerManager.federatedTypes: %w", err)
	}
	if period, err := time.ParseDuration(v.ClusterMonitorPeriod); err != nil || period < time.Second {
		return fmt.Errorf("controllerManager.clusterMonitorPeriod is %q: give a time of 1s or more", v.ClusterMonitorPeriod)
	}
	return nil
}

// DNS ensures the Secret with the DNS provider's configuration and its files, and sees, as dns.check says, whether the zone may be written. Without a provider there is no such
// Secret. Errors: a configuration that cannot be read, files that are missing, and with dns.check strict a zone that is not there or may not be written.
func (h Hook) DNS(ctx context.Context) error { return h.ensureDNS(ctx, checkAlways) }

func (h Hook) ensureDNS(ctx context.Context, check dnsCheck) error {
	d := h.Values.DNS
	secret := h.secret(dnsProvider)
	if check == checkAlways {
		h.warnOfOldZone(ctx)
	}
	if d.Provider == dnsprovider.None {
		if check == checkChanged {
			return nil // a keeper that began before an upgrade would take away what that has just made
		}
		return h.remove(ctx, secret)
	}
	data, err := h.dnsData(ctx)
	if err != nil {
		return err
	}
	found, err := h.release().Get(ctx, h.Host, secret)
	if err != nil {
		return err
	}
	unchanged := found && maps.EqualFunc(secret.Data, data, bytes.Equal)
	if check == checkAlways || !unchanged {
		if err := h.checkDNS(ctx, data); err != nil {
			return err
		}
	}
	if unchanged {
		h.Log.Debug("unchanged", "secret", secret.Name)
		return nil
	}
	secret = h.secret(dnsProvider)
	secret.Type, secret.Data = corev1.SecretTypeOpaque, data
	if err := h.release().Ensure(ctx, h.Host, secret); err != nil {
		return err
	}
	h.Log.Info("stored the configuration of the DNS provider", "secret", secret.Name, "provider", d.Provider, "zone", d.Zone())
	return nil
}

// warnOfOldZone says that records stay where the federation had its zone before this upgrade: its controllers write there until they are replaced, and know only the new one then.
func (h Hook) warnOfOldZone(ctx context.Context) {
	before := &corev1.ConfigMap{}
	if err := h.Host.Get(ctx, client.ObjectKey{Namespace: h.Namespace, Name: v1beta1.FederationConfigMap(h.Federation)}, before); err != nil {
		return // an install
	}
	zone, provider := before.Data["dnsZone"], before.Data["provider"]
	if zone == "" || provider == "" || provider == dnsprovider.None || before.Data["ownDNS"] == "true" || zone == h.Values.DNS.Zone() && provider == h.Values.DNS.Provider {
		return
	}
	h.Log.Warn(fmt.Sprintf("the DNS records of federation %s stay in zone %s at %s, which is not its zone any more: %s", h.Federation, zone, provider, h.whichRecords(zone)))
}

// whichRecords says how to know the federation's records in a zone.
func (h Hook) whichRecords(zone string) string {
	return fmt.Sprintf("remove those below %s.svc.%s, and with them the TXT records beside them", h.Federation, zone)
}

// dnsData is the content of the Secret: the configuration, in one spelling and with what marks our records, and the files that it names.
func (h Hook) dnsData(ctx context.Context) (map[string][]byte, error) {
	source, err := h.dnsSource(ctx)
	if err != nil {
		return nil, err
	}
	c, err := dnsprovider.Parse(h.Values.DNS.Provider, h.Values.DNS.Zone(), source.text, "")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source.name, err)
	}
	owner, err := h.dnsOwner(ctx)
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{dnsprovider.ConfigKey: []byte(c.WithOwner(owner).Text())}
	for key, name := range c.Files() {
		content, found := source.files[name]
		if !found {
			return nil, fmt.Errorf("%s: key %s names file %s, which is not there: %s", source.name, key, name, source.wanting)
		}
		data[name] = content
	}
	return data, nil
}

// dnsSource is where a configuration comes from.
type dnsSource struct {
	// name says it to a person, wanting what to do where a file is missing.
	name, wanting string
	text          string
	files         map[string][]byte
}

func (h Hook) dnsSource(ctx context.Context) (dnsSource, error) {
	d := h.Values.DNS
	if err := d.Validate(); err != nil {
		return dnsSource{}, err
	}
	switch {
	case d.Own():
		secret := h.secret(dnsClientCertificate)
		if err := h.Host.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
			return dnsSource{}, fmt.Errorf("get Secret %s/%s with the certificate for the DNS's etcd: %w; `fedhook certs` makes it", h.Namespace, secret.Name, err)
		}
		return dnsSource{name: fmt.Sprintf("Secret %s/%s", h.Namespace, secret.Name), wanting: "delete the Secret, and `fedhook certs` makes it anew", text: h.ownDNSConfig(), files: secret.Data}, nil
	case d.ExistingSecret != "":
		return h.existingDNSSecret(ctx, d)
	default:
		text, files, err := d.ProviderConfig()
		name := "the values of dns." + d.Provider
		if d.Config != "" {
			name = "dns.config"
		}
		return dnsSource{name: name, wanting: "put the configuration and the file into one Secret, and name it in dns.existingSecret", text: text, files: files}, err
	}
}

func (h Hook) existingDNSSecret(ctx context.Context, d values.DNS) (dnsSource, error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: h.Namespace, Name: d.ExistingSecret}
	err := h.Host.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		return dnsSource{}, fmt.Errorf("Secret %s of dns.existingSecret is not there: make it with `kubectl -n %s create secret generic %s --from-file=%s=…`", key, key.Namespace, key.Name, dnsprovider.ConfigKey)
	}
	if err != nil {
		return dnsSource{}, fmt.Errorf("get Secret %s of dns.existingSecret: %w", key, err)
	}
	text, found := secret.Data[dnsprovider.ConfigKey]
	if !found {
		return dnsSource{}, fmt.Errorf("Secret %s of dns.existingSecret has no key %s: put the provider's configuration there, an INI file with section [Global]", key, dnsprovider.ConfigKey)
	}
	return dnsSource{name: fmt.Sprintf("Secret %s of dns.existingSecret", key), wanting: "add it to the Secret as a key", text: string(text), files: secret.Data}, nil
}

// ownDNSConfig is how the etcd of the chart's own DNS is reached.
func (h Hook) ownDNSConfig() string {
	return "[Global]\n" +
		ini.Line("etcd-endpoints", fmt.Sprintf("https://%s.%s.svc:2379", h.object(DNSEtcd), h.Namespace)) +
		ini.Line("etcd-ca-file", authorityKey) +
		ini.Line("etcd-cert-file", corev1.TLSCertKey) +
		ini.Line("etcd-key-file", corev1.TLSPrivateKeyKey) +
		ini.Line("zones", h.Values.DNS.Zone())
}

// dnsOwner marks the records that are this federation's: its name alone would do as well for another host cluster's of the same name. Its CA is as old as the federation, and
// outlives the data of its API.
func (h Hook) dnsOwner(ctx context.Context) (string, error) {
	secret := h.secret(authorityOfAPI)
	found, err := h.release().Get(ctx, h.Host, secret)
	if err == nil && !found {
		err = fmt.Errorf("Secret %s/%s with the CA, which tells this federation's DNS records from others', is not there: run `fedhook certs` first", h.Namespace, secret.Name)
	}
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256(secret.Data[corev1.TLSCertKey])
	return fmt.Sprintf("%s/%x", h.Federation, hash[:6]), nil
}

// checkDNS sees whether the zone is there and may be written. The chart's own DNS is part of the release, which is not there yet.
func (h Hook) checkDNS(ctx context.Context, data map[string][]byte) error {
	d := h.Values.DNS
	if d.Own() || d.Check == "off" {
		return nil
	}
	err := h.withZone(ctx, data, func(ctx context.Context, zone *dnsprovider.Zone) error { return zone.Check(ctx) })
	switch {
	case err == nil:
		h.Log.Info("the DNS zone may be written", "provider", d.Provider, "zone", d.Zone())
		return nil
	case d.Check == "strict":
		return err
	default:
		h.Log.Warn(err.Error() + "; going on, since dns.check is warn and the controller manager tries it again with its own identity")
		return nil
	}
}

// withZone does work with the zone that a Secret's data describe, for a bounded time.
func (h Hook) withZone(ctx context.Context, data map[string][]byte, work func(context.Context, *dnsprovider.Zone) error) error {
	return dnsprovider.WithFiles(h.Values.DNS.Provider, h.Values.DNS.Zone(), data, func(c dnsprovider.Config) error {
		ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
		defer cancel()
		zone, err := dnsprovider.Open(ctx, c, h.Federation)
		if err != nil {
			return err
		}
		defer zone.Close()
		return work(ctx, zone)
	})
}

// dropRecords removes the federation's records from a zone that outlives it. Errors: what stays, and how to know it.
func (h Hook) dropRecords(ctx context.Context) error {
	d := h.Values.DNS
	if d.Provider == dnsprovider.None || d.Own() {
		return nil
	}
	var data map[string][]byte
	err := kube.RetryTransient(ctx, forbiddenTimeout, func(ctx context.Context) error {
		secret := h.secret(dnsProvider)
		_, err := h.release().Get(ctx, h.Host, secret)
		data = secret.Data
		return err
	})
	if err == nil && len(data) == 0 {
		return nil // never configured, so never written
	}
	if err == nil {
		err = h.withZone(ctx, data, func(ctx context.Context, zone *dnsprovider.Zone) error {
			// The controllers may be removing the same ones, now that the members are gone: who comes second is refused, and reads the zone anew.
			return kube.Wait(ctx, 2*time.Second, dropTimeout, "the records to be removed", func(ctx context.Context) (bool, error) {
				removed, err := zone.Sync(ctx, nil)
				if removed > 0 {
					h.Log.Info("removed DNS records", "zone", d.Zone(), "records", removed)
				}
				return err == nil, err
			})
		})
	}
	if err == nil || errors.Is(err, kube.ErrForeign) {
		return nil
	}
	return fmt.Errorf("DNS records of federation %s may be left in zone %s (%w): %s", h.Federation, d.Zone(), err, h.whichRecords(d.Zone()))
}
