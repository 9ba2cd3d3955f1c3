package cli

import (
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/pipeline/config"
)

// TokenEnv names the variable with the token of requests to management ports.
const TokenEnv = "TILLSTREAM_TOKEN"

// bearer sends the token of the command with each request to a management port.
type bearer struct {
	next  http.RoundTripper
	token atomic.Pointer[string]
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if t := b.token.Load(); t != nil && *t != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+*t)
	}
	return b.next.RoundTrip(r)
}

// managementPorts is how every command reaches management ports. It takes no proxy: these are addresses inside.
var managementPorts = &bearer{next: &http.Transport{DisableKeepAlives: true}}

// portURL is the address of a path at a management port, which is named host:port, or https://host:port where it has a
// certificate.
func portURL(address, path string) string {
	address = strings.TrimSuffix(address, "/")
	if strings.HasPrefix(address, "https://") {
		return address + path
	}
	return "http://" + strings.TrimPrefix(address, "http://") + path
}

// ownPort is the management port that a configuration names.
func ownPort(m config.Management) string {
	if m.TLS == (config.ManagementTLS{}) {
		return m.Listen
	}
	return "https://" + m.Listen
}

// tokenFlag gives every command --token.
func (p Process) tokenFlag(root *cobra.Command) {
	var token string
	root.PersistentFlags().StringVar(&token, "token", "", "token for management ports, where users have to sign in (default: "+TokenEnv+"; a flag is seen by whoever lists processes)")
	root.PersistentPreRun = func(*cobra.Command, []string) {
		if token == "" && p.Getenv != nil {
			token, _ = p.Getenv(TokenEnv)
		}
		managementPorts.token.Store(&token)
	}
}
