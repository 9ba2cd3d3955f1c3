package cli

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/simulators/paypal"
)

func (p Process) simulatorCommand() *cobra.Command {
	c := &cobra.Command{Use: "simulator", Short: "Play the outside: PayPal or ActiveCampaign, as a real HTTP server"}
	c.AddCommand(p.paypalSimulator(), p.activecampaignSimulator())
	return group(c)
}

func (p Process) paypalSimulator() *cobra.Command {
	var listen, roots, secret string
	var seed int64
	faults := paypal.Faults{}
	c := &cobra.Command{
		Use: "paypal", Short: "PayPal: OAuth, webhooks signed under a test CA, events API, orders, subscriptions", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := paypal.New(paypal.Options{
				Accounts: local.Accounts(secret), Seed: seed, Now: p.Now, Faults: faults, LocalWebhooks: true,
				Log: p.logger(config.Telemetry{LogLevel: "info", LogFormat: "text"}),
			})
			if err != nil {
				return err
			}
			if err := os.WriteFile(roots, s.TrustPEM(), 0o644); err != nil {
				return fmt.Errorf("write the test roots: %w", err)
			}
			return listenHint(s.ListenAndServe(c.Context(), listen, func(url string) {
				fmt.Fprintf(c.OutOrStdout(), "paypal simulator on %s\n  roots to trust   %s\n  client ids       paypal-eu-client, paypal-us-client\n  sent events      %s/_simulator/sent\n", url, roots, url)
			}))
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:9443", "address (HTTPS)")
	f.StringVar(&roots, "roots", "simulator-ca.pem", "file to write the test CA's certificates to, for tls_roots and trust_file")
	f.StringVar(&secret, "client-secret", "simulator-secret", "client secret of both accounts")
	f.Int64Var(&seed, "seed", 1, "seed of ids and faults")
	f.Float64Var(&faults.DuplicateRate, "duplicates", 0, "rate of deliveries sent twice, 0 to 1")
	f.Float64Var(&faults.DisorderRate, "disorder", 0, "rate of deliveries held back a little")
	f.Float64Var(&faults.LateRate, "late", 0, "rate of deliveries held back for seconds")
	return c
}

func (p Process) activecampaignSimulator() *cobra.Command {
	var listen string
	var o activecampaign.Options
	c := &cobra.Command{
		Use: "activecampaign", Short: "ActiveCampaign: contacts, 137 fields over many pages, tags, event tracking, 5 requests a second", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			o.Now, o.Log = p.Now, p.logger(config.Telemetry{LogLevel: "info", LogFormat: "text"})
			return listenHint(activecampaign.Run(c.Context(), o, listen, func(url string) {
				fmt.Fprintf(c.OutOrStdout(), "activecampaign simulator on %s (account %s)\n  contacts         %s/_simulator/contacts\n", url, o.Account, url)
			}))
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:9444", "address (HTTP)")
	f.StringVar(&o.Key, "key", "simulator-key", "API key")
	f.StringVar(&o.Account, "account", "1000001", "account id, as event tracking names it")
	f.IntVar(&o.Fields, "fields", 137, "custom fields")
	f.Float64Var(&o.RatePerSecond, "rate", 5, "requests a second that the account allows; 0 lifts it")
	return c
}

// listenHint names the flag of an address that cannot be listened on.
func listenHint(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "listen" {
		return fmt.Errorf("%w; free the port, or give another address with --listen (port 0 takes a free one)", err)
	}
	return err
}
