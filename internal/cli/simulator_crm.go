package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/simulators"
	"github.com/tillstream/tillstream/simulators/getresponse"
	"github.com/tillstream/tillstream/simulators/story"
	"github.com/tillstream/tillstream/simulators/webhook"
)

// getresponseName is the simulator that plays both a store and a CRM.
const getresponseName = "getresponse"

// getresponseFlags are what its command line says beside the twin's own options.
type getresponseFlags struct {
	listen, statusMet string
	templates, drafts []string
	orders            int
	every, hang       time.Duration
	rate              int
}

func (p Process) getresponseSimulator() *cobra.Command {
	var o getresponse.Options
	var with getresponseFlags
	var plugin string
	c := &cobra.Command{
		Use: getresponseName, Short: "Play a GetResponse account: contacts through a queue, lists, fields, tags, custom events, messages, stores with orders, its limits and errors",
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			o.Plugin = getresponse.Plugin(plugin)
			if !slices.Contains([]getresponse.Plugin{getresponse.Canonical, getresponse.WooCommerce, getresponse.Magento}, o.Plugin) {
				return &codedError{ExitUsage, fmt.Errorf("--plugin %q: want woocommerce, magento or nothing", plugin)}
			}
			o.SecondMax, o.Unlimited = with.rate, with.rate == 0
			o.Faults.HangMillis = int(with.hang / time.Millisecond)
			o.Now, o.Log = p.Now, p.logger(config.Telemetry{LogLevel: "info", LogFormat: "text"})
			s, err := getresponse.New(o)
			if err != nil {
				return err
			}
			defer s.Close()
			with.furnish(s)
			group, ctx := errgroup.WithContext(c.Context())
			group.Go(func() error {
				return listenHint(s.ListenAndServe(ctx, with.listen, func(url string) {
					fmt.Fprintf(c.OutOrStdout(), "getresponse simulator on %s\n  API              %s/v3\n  stats            %s/_simulator/stats\n  contacts         %s/_simulator/contacts\n", url, url, url, url)
				}))
			})
			group.Go(func() error { return with.trade(ctx, s, o.Seed) })
			return group.Wait()
		},
	}
	f := c.Flags()
	with.bind(c)
	f.StringVar(&o.APIKey, "key", "simulatorkey", "API key")
	f.StringVar(&o.Domain, "domain", "", "makes it a MAX account of this domain")
	f.StringVar(&plugin, "plugin", "", "whose words its own orders have: woocommerce, magento, or none for PAID and the like")
	f.Int64Var(&o.Seed, "seed", 1, "seed of ids, faults and orders")
	f.IntVar(&o.Fields, "fields", getresponse.DefaultFields, "custom fields")
	f.IntVar(&o.Tags, "tags", 0, "tags that people have made")
	f.IntVar(&o.Lists, "lists", 0, "lists beside its own three, C, V and D")
	f.DurationVar(&o.CreateDelay, "create-delay", 2*time.Second, "how long a created contact waits in the queue")
	f.BoolVar(&o.WithoutTransactional, "without-transactional", false, "the account has no transactional e-mail")
	faultFlags(c, &o.Faults)
	return c
}

// bind adds the flags that are not the twin's own.
func (with *getresponseFlags) bind(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&with.listen, "listen", "127.0.0.1:9445", "address (HTTP)")
	f.IntVar(&with.rate, "rate", getresponse.SecondMax, "requests a second that the account allows; 0 lifts all limits")
	f.StringSliceVar(&with.drafts, "messages", nil, "messages of the account, as drafts")
	f.StringSliceVar(&with.templates, "templates", nil, "templates of transactional e-mail, by subject")
	f.StringVar(&with.statusMet, "workflow", "", "a billing status: a workflow begins each time that an order gets it")
	f.IntVar(&with.orders, "orders", 0, "orders that it makes by itself, with what happens to them")
	f.DurationVar(&with.every, "every", 5*time.Second, "time between two of these orders")
	f.DurationVar(&with.hang, "hang", time.Minute, "how long a time-out lasts for a client that does not give up")
}

// faultFlags add a rate for each fault.
func faultFlags(c *cobra.Command, to *getresponse.Faults) {
	for _, one := range []struct {
		rate       *float64
		name, what string
	}{
		{&to.TooMany, "too-many", "answered 429 with Retry-After"},
		{&to.Quota, "quota", "answered 429 with timeToReset only"},
		{&to.ServerError, "server-errors", "answered 500, not applied"},
		{&to.Unavailable, "maintenance", "answered 503, not applied"},
		{&to.TimeoutBefore, "timeouts-before", "never answered, not applied"},
		{&to.TimeoutAfter, "timeouts-after", "never answered, applied"},
		{&to.Cut, "cuts", "applied, with the connection closed in place of an answer"},
		{&to.HTML, "html", "answered 200 with a page for people"},
		{&to.Huge, "huge", "answered without an end, applied"},
		{&to.DropRate, "drops", "creations of contacts that the queue loses"},
	} {
		c.Flags().Float64Var(one.rate, one.name, 0, "rate of requests, 0 to 1: "+one.what)
	}
	c.Flags().StringSliceVar(&to.Reject, "reject", nil, "addresses on its blocklist")
	c.Flags().IntVar(&to.ContactsMax, "contacts-max", 0, "contacts that its plan has room for; 0: any number")
}

// furnish makes what people would make in the panel.
func (with *getresponseFlags) furnish(s *getresponse.Server) {
	for _, name := range with.drafts {
		s.AddDraft(getresponse.Draft{Name: name, Subject: name, Plain: name, HTML: "<p>" + name + "</p>"})
	}
	for _, subject := range with.templates {
		s.AddTemplate(subject, "<p>"+subject+"</p>", subject)
	}
	if with.statusMet != "" {
		s.AddWorkflow(getresponse.Workflow{Name: "Payment status changed to " + with.statusMet, Status: with.statusMet, Many: true})
	}
}

// trade makes the orders that it was told to make, one after another.
func (with *getresponseFlags) trade(ctx context.Context, s simulators.Shop, seed int64) error {
	for _, order := range story.ShopOrders(seed, getresponseName, with.orders) {
		if err := clock.System().Sleep(ctx, with.every); err != nil {
			return nil
		}
		if err := trade(ctx, s, []story.ShopOrder{order}); err != nil {
			return fmt.Errorf("%s: %w", getresponseName, err)
		}
	}
	return nil
}

func (p Process) webhookSimulator() *cobra.Command {
	var listen string
	o := webhook.Options{}
	c := &cobra.Command{
		Use: "webhook", Short: "Receive signed notices as a user's own service does: verified, each id once, with answers on demand", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			o.Now = p.Now
			return listenHint(webhook.Run(c.Context(), o, listen, func(url string) {
				fmt.Fprintf(c.OutOrStdout(), "webhook simulator on %s, which takes notices at any path\n  notices          %s/_simulator/notices\n  refusals         %s/_simulator/refusals\n", url, url, url)
			}))
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:9446", "address (HTTP)")
	f.StringSliceVar(&o.Secrets, "secret", []string{"whsec_c2ltdWxhdG9yLXNlY3JldC1vZi0zMi1ieXRlcw=="}, "secrets that it accepts: whsec_ and base64")
	f.DurationVar(&o.Tolerance, "tolerance", 5*time.Minute, "how far a notice's time may be off")
	f.Float64Var(&o.Faults.ServerError, "server-errors", 0, "rate of notices answered 500, 0 to 1")
	f.Float64Var(&o.Faults.CutBefore, "cuts-before", 0, "rate of notices not taken, with the connection closed")
	f.Float64Var(&o.Faults.CutAfter, "cuts-after", 0, "rate of notices taken, with the connection closed")
	f.Int64Var(&o.Seed, "seed", 1, "seed of faults")
	return c
}
