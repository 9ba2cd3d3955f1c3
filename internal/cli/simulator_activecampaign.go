package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/simulators/activecampaign"
)

func (p Process) activecampaignSimulator() *cobra.Command {
	var listen string
	var hang time.Duration
	var o activecampaign.Options
	c := &cobra.Command{
		Use: "activecampaign", Short: "Play an ActiveCampaign account: contacts, 137 fields over many pages, tags, lists, automations, bulk imports, orders of shops, its limit and errors",
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			o.Faults.HangMillis = int(hang / time.Millisecond)
			o.Now, o.Log = p.Now, p.logger(config.Telemetry{LogLevel: "info", LogFormat: "text"})
			return listenHint(activecampaign.Run(c.Context(), o, listen, func(url string) {
				fmt.Fprintf(c.OutOrStdout(), "activecampaign simulator on %s (account %s)\n  contacts         %s/_simulator/contacts\n  stats            %s/_simulator/stats\n  faults           POST %s/_simulator/faults\n  what people do   POST %s/_simulator/people\n", url, o.Account, url, url, url, url)
			}))
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:9444", "address (HTTP)")
	f.StringVar(&o.Key, "key", "simulator-key", "API key")
	f.StringVar(&o.Account, "account", "1000001", "account id, as event tracking names it")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of faults")
	f.IntVar(&o.Fields, "fields", activecampaign.DefaultFields, "custom fields")
	f.StringSliceVar(&o.ListNames, "lists", local.CRMLists(), "lists beside Customers and Newsletter")
	f.StringSliceVar(&o.MessageNames, "messages", local.CRMMessages(), "automations beside the account's own, each of which sends a message")
	f.StringToStringVar(&o.Triggers, "automations", nil, "automations that start by themselves: NAME=tag:vip, field:TAG, event:NAME, order:STATUS, recurring:STATUS")
	f.StringSliceVar(&o.Denied, "denied", nil, "what the key's user may not use: contacts, tags, fields, lists, automations, deep_data, imports, tracking")
	f.Float64Var(&o.RatePerSecond, "rate", activecampaign.DefaultRatePerSecond, "requests a second that the account allows; 0 lifts it")
	f.DurationVar(&o.ImportAfter, "import-after", 2*time.Second, "how long a bulk import waits before it is done")
	f.DurationVar(&o.OrderCopyAfter, "copy-after", 0, "how long the copy of a written order takes to show")
	f.DurationVar(&hang, "hang", time.Minute, "how long a time-out lasts for a client that does not give up")
	activecampaignFaults(c, &o.Faults)
	return c
}

// activecampaignFaults add a rate for each fault.
func activecampaignFaults(c *cobra.Command, to *activecampaign.Faults) {
	for _, one := range []struct {
		rate       *float64
		name, what string
	}{
		{&to.TooMany, "too-many", "answered 429 with Retry-After"},
		{&to.ServerError, "server-errors", "answered 500, not applied"},
		{&to.ServerErrorAfter, "server-errors-after", "answered 500, applied"},
		{&to.Unavailable, "maintenance", "answered 503 with Retry-After, not applied"},
		{&to.Gateway, "gateway", "answered 520, applied, or 521, 525, 526, not applied"},
		{&to.TimeoutBefore, "timeouts-before", "never answered, not applied"},
		{&to.TimeoutAfter, "timeouts-after", "never answered, applied"},
		{&to.Cut, "cuts", "applied, with the connection closed in place of an answer"},
		{&to.Half, "halves", "applied, with half of the answer"},
		{&to.Drip, "drips", "applied, with an answer of which a byte comes now and then"},
		{&to.HTML, "html", "answered 200 with a page for people, not applied"},
		{&to.Huge, "huge", "answered without an end, applied"},
	} {
		c.Flags().Float64Var(one.rate, one.name, 0, "rate of requests, 0 to 1: "+one.what)
	}
	c.Flags().BoolVar(&to.Tracking, "tracking-faults", false, "the faults strike the tracking endpoint, too")
	c.Flags().IntVar(&to.RetryAfterSeconds, "retry-after", 1, "seconds that 429 and 503 on demand ask for")
	c.Flags().StringSliceVar(&to.Reject, "reject", nil, "addresses that are refused as invalid")
}
