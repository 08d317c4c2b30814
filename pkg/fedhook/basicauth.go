package fedhook

import (
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fedhelm/fedhelm/pkg/basicauth"
	"github.com/fedhelm/fedhelm/pkg/controlplane"
)

func basicAuthProxyCommand(o *options) *cobra.Command {
	var (
		proxy          basicauth.Options
		listen, probes string
	)
	command := &cobra.Command{
		Use:   "basic-auth-proxy",
		Short: "Let users into the federation's API by name and password, for debugging",
		Long: `basic-auth-proxy stands before the federation's API, beside the API server, and lets users in by name and password, which kube-apiserver does no more since Kubernetes 1.19. It is for
debugging, and runs where apiServer.basicAuth.enabled says so.

The users are the lines of an htpasswd file with bcrypt hashes, and all are administrators. Files are read again when they change: a user who is taken out of the file is refused from the
next request on. It runs until it is stopped, whatever --timeout says.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if missing := notGiven(command.Flags(), "server", "certificate-authority", "tls-cert-file", "tls-private-key-file", "proxy-client-cert-file", "proxy-client-key-file", "htpasswd-file"); missing != "" {
				return fmt.Errorf("%s are missing: give them, as the chart's Deployment of the API server does", missing)
			}
			var listeners []net.Listener
			for _, address := range []string{listen, probes} {
				listener, err := (&net.ListenConfig{}).Listen(command.Context(), "tcp", address)
				if err != nil {
					return fmt.Errorf("listen at %s: %w", address, err)
				}
				defer func() { _ = listener.Close() }()
				listeners = append(listeners, listener)
			}
			return basicauth.Serve(command.Context(), proxy, listeners[0], listeners[1], o.log)
		},
	}
	flags := command.Flags()
	flags.StringVar(&listen, "listen", ":8444", "address for clients, by TLS")
	flags.StringVar(&probes, "probes", ":8081", "address of /healthz and /readyz, in plain HTTP")
	flags.StringVar(&proxy.Server, "server", "", "URL of the API server")
	flags.StringVar(&proxy.CertificateAuthority, "certificate-authority", "", "file with the CA of the API server")
	flags.StringVar(&proxy.TLSCertificate, "tls-cert-file", "", "file with the certificate for clients")
	flags.StringVar(&proxy.TLSKey, "tls-private-key-file", "", "file with its key")
	flags.StringVar(&proxy.ProxyCertificate, "proxy-client-cert-file", "", "file with the front proxy's certificate, for the API server")
	flags.StringVar(&proxy.ProxyKey, "proxy-client-key-file", "", "file with its key")
	flags.StringVar(&proxy.Passwords, "htpasswd-file", "", "file with the users: name:hash, a line each, as htpasswd -B writes it")
	flags.StringVar(&proxy.Group, "group", controlplane.AdminGroup, "group that every user is in")
	return command
}

// notGiven lists those of some flags that are not given.
func notGiven(flags *pflag.FlagSet, names ...string) string {
	var missing []string
	for _, name := range names {
		if !flags.Changed(name) {
			missing = append(missing, "--"+name)
		}
	}
	return strings.Join(missing, ", ")
}
