package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/simulators/paypal"
	"github.com/tillstream/tillstream/simulators/story"
)

func (p Process) simulatorCommand() *cobra.Command {
	c := &cobra.Command{Use: "simulator", Short: "Play the outside: PayPal, a shop, a CRM or a receiver of notices, as a real HTTP server"}
	c.AddCommand(p.paypalSimulator(), p.activecampaignSimulator(), p.getresponseSimulator(), p.webhookSimulator())
	for _, kind := range local.ShopKinds() {
		if kind.Name == getresponseName {
			continue // a CRM as well, with flags of its own
		}
		c.AddCommand(p.shopSimulator(kind))
	}
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

func (p Process) shopSimulator(kind local.ShopKind) *cobra.Command {
	var o local.ShopOptions
	var listen, webhook string
	var orders int
	var every time.Duration
	c := &cobra.Command{
		Use: kind.Name, Short: "Play " + kind.Says, Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			o.Now, o.Log = p.Now, p.logger(config.Telemetry{LogLevel: "info", LogFormat: "text"})
			s, err := kind.New(o)
			if err != nil {
				return err
			}
			defer s.Close()
			if kind.Receive != nil && webhook != "" {
				kind.Receive(s, webhook, o.Secret)
			}
			group, ctx := errgroup.WithContext(c.Context())
			group.Go(func() error {
				return listenHint(s.ListenAndServe(ctx, listen, func(url string) {
					fmt.Fprintf(c.OutOrStdout(), "%s simulator on %s\n  status           %s/_simulator/status\n", kind.Name, url, url)
				}))
			})
			group.Go(func() error {
				for _, order := range story.ShopOrders(o.Seed, kind.Name, orders) {
					if err := clock.System().Sleep(ctx, every); err != nil {
						return nil
					}
					if err := trade(ctx, s, []story.ShopOrder{order}); err != nil {
						return fmt.Errorf("%s: %w", kind.Name, err)
					}
				}
				return nil
			})
			return group.Wait()
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:9445", "address (HTTP)")
	f.StringVar(&o.Key, "key", "simulatorkey", "what its API key ends in")
	f.StringVar(&o.Secret, "secret", "a-secret-of-the-simulated-shop-32", "signs its webhooks")
	f.Int64Var(&o.Seed, "seed", 1, "seed of ids, faults and orders")
	f.Float64Var(&o.DuplicateRate, "duplicates", 0, "rate of deliveries sent twice, 0 to 1")
	f.Float64Var(&o.DisorderRate, "disorder", 0, "rate of deliveries held back a little")
	f.IntVar(&orders, "orders", 0, "orders that it makes by itself, with what happens to them")
	f.DurationVar(&every, "every", 5*time.Second, "time between two of these orders")
	if kind.Receive != nil {
		f.StringVar(&webhook, "webhook", "", "where it sends its webhooks")
	}
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
