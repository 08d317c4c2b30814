package manager

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/fedhelm/fedhelm/pkg/controllers/service"
	"github.com/fedhelm/fedhelm/pkg/dnsprovider"
)

func isAddressAndPort(text string) bool {
	_, err := netip.ParseAddrPort(text)
	return err == nil
}

// keepsDNS says whether there are DNS records to keep.
func (o *Options) keepsDNS() bool {
	return o.DNSProvider != "" && o.DNSProvider != dnsprovider.None && o.enabled(service.DNSName) && o.enabled(service.Name)
}

// serviceOptions are those of the controllers of Services. The flags are valid.
func (o *Options) serviceOptions() service.Options {
	options := o.Service
	options.FederationName = o.FederationName
	if o.keepsDNS() {
		options.Provider = &service.Provider{
			Open:    o.openZone,
			Check:   o.DNSCheck,
			Version: func() string { return filesVersion(o.DNSProviderConfig) },
			Held:    dnsprovider.Held,
		}
	}
	return options
}

// openZone opens the zone as the provider's configuration says now. The owner of the records is in that configuration, where fedhook wrote it; else it
// is the federation with its namespace in the host cluster, which a federation that lost its data still has, unlike any UID: its old records stay its own.
func (o *Options) openZone(ctx context.Context) (service.Zone, error) {
	config, err := dnsprovider.Read(o.DNSProvider, o.Service.ZoneName, o.DNSProviderConfig)
	if err != nil {
		return nil, err
	}
	zone, err := dnsprovider.Open(ctx, config, o.FederationName+"/"+o.Namespace)
	if err != nil {
		return nil, err
	}
	return zone, nil
}

// filesVersion is another text when a file, or one beside it, has other content. The folder is a Secret's, so there is little to read.
func filesVersion(path string) string {
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err.Error()
	}
	hash := fnv.New64a()
	for _, file := range files { // in the order of their names
		if strings.HasPrefix(file.Name(), "..") { // the kubelet's folders behind a mounted Secret's files
			continue
		}
		name := filepath.Join(filepath.Dir(path), file.Name())
		if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() { // a pipe would never end
			continue
		}
		content, err := os.ReadFile(name)
		_, _ = fmt.Fprintf(hash, "%q %q %v\n", file.Name(), content, err != nil)
	}
	return fmt.Sprintf("%x", hash.Sum64())
}
