package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/embedded"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/reading"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// eventsAsked is what the command is told.
type eventsAsked struct {
	target
	text, store, order, email, status, kind, eventType, environment, since, until, after string
	rows                                                                                 int
	follow, problem, bad, json, personal                                                 bool
}

func (p Process) eventsCommand() *cobra.Command {
	var a eventsAsked
	c := &cobra.Command{
		Use:   "events [ID]",
		Short: "Search events, look at one whole, or follow what comes in",
		Long: `Searches events, the newest first: by an id, address, invoice number or name (--text), by order, store, status, kind and time.
With the ID of an event, or of its record (paypal.events-3-1042), it shows that one whole. --follow shows what comes in from now on,
events and what they cause, at most 20 a second. Addresses and names are masked unless --show-personal-data is said.

  tillstream events --text jane@example.com --since 7d
  tillstream events WH-7Y7254563A4550640-11V2185806837105M
  tillstream events --follow --store paypal-eu`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return p.events(c, args, a) },
	}
	a.target.flags(c)
	f := c.Flags()
	f.StringVar(&a.text, "text", "", "an id or address, or a part of one, of a name, of an event type")
	f.StringVar(&a.store, "store", "", "name of one connection")
	f.StringVar(&a.order, "order", "", "an order's or subscription's id, or its key such as live/shop/O1")
	f.StringVar(&a.email, "email", "", "an address, or a contact key such as live/ann@example.com")
	f.StringVar(&a.status, "status", "", "canonical payment status, such as PAID")
	f.StringVar(&a.kind, "kind", "", "order, subscription, payment, refund, dispute or other")
	f.StringVar(&a.eventType, "type", "", "the provider's own event type")
	f.StringVar(&a.environment, "environment", "", "live or sandbox (default: both)")
	f.StringVar(&a.since, "since", "", "begin: 24h, 30d, 2026-11-01, or 2026-11-01T12:00:00Z")
	f.StringVar(&a.until, "until", "", "end, like --since, not part of it")
	f.StringVar(&a.after, "after", "", "go on after the page that gave this cursor")
	f.IntVar(&a.rows, "rows", chsink.EventsPageDefault, fmt.Sprintf("events at the most, up to %d", chsink.EventsPageMax))
	f.BoolVar(&a.problem, "problem", false, "only what could not be read")
	f.BoolVar(&a.follow, "follow", false, "show what comes in, until it is interrupted")
	f.BoolVar(&a.bad, "bad", false, "with --follow: only what somebody should look at")
	f.BoolVar(&a.json, "json", false, "one JSON object; with --follow one on each line")
	f.BoolVar(&a.personal, "show-personal-data", false, "addresses and names unmasked")
	return c
}

// query checks what was asked.
func (a eventsAsked) query(now time.Time) (q api.EventsQuery, err error) {
	q = api.EventsQuery{
		Text: a.text, Store: a.store, Order: a.order, Email: a.email, Status: schemas.PaymentStatus(strings.ToUpper(a.status)), Kind: schemas.EventKind(strings.ToUpper(a.kind)),
		Type: a.eventType, Environment: schemas.Environment(a.environment), Problem: a.problem, Limit: a.rows, After: a.after, PersonalData: a.personal,
	}
	for _, end := range []struct {
		flag, text string
		into       *time.Time
	}{{"since", a.since, &q.Since}, {"until", a.until, &q.Until}} {
		if end.text == "" {
			continue
		}
		if *end.into, _, err = parseWhen(end.text, now); err != nil {
			return q, &codedError{ExitUsage, fmt.Errorf("--%s %q: %w", end.flag, end.text, err)}
		}
	}
	return q, nil
}

func (p Process) events(c *cobra.Command, args []string, a eventsAsked) error {
	q, err := a.query(p.Now())
	switch {
	case err != nil:
		return err
	case a.follow && (len(args) > 0 || a.since != "" || a.until != "" || a.after != "" || a.problem || a.eventType != ""):
		return &codedError{ExitUsage, errors.New("--follow shows what comes in from now on: it takes no ID and no --since, --until, --after, --problem or --type")}
	case a.follow:
		return p.followEvents(c, a, q)
	case a.bad:
		return &codedError{ExitUsage, errors.New("--bad goes with --follow; 'tillstream issues' lists what was given up")}
	}
	return p.withReading(c.Context(), a.target, func(d *reading.Desk) error {
		out := c.OutOrStdout()
		if len(args) == 1 {
			v, err := d.Event(c.Context(), args[0], a.personal)
			if err != nil {
				return err
			}
			if a.json {
				return json.NewEncoder(out).Encode(v)
			}
			return printWhole(out, v)
		}
		page, err := d.Events(c.Context(), q)
		if err != nil {
			return err
		}
		if a.json {
			return json.NewEncoder(out).Encode(page)
		}
		return printEvents(out, c.ErrOrStderr(), page)
	})
}

// withReading opens ClickHouse and has f answer.
func (p Process) withReading(ctx context.Context, t target, f func(*reading.Desk) error) error {
	store, err := p.open(ctx, t)
	if err != nil {
		return err
	}
	defer store.Close()
	return told(f(&reading.Desk{Store: store, Now: p.Now}))
}

func printEvents(out, notes io.Writer, page api.EventPage) error {
	if len(page.Items) == 0 && page.Next == "" {
		fmt.Fprintln(out, "there is no such event")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "AT\tEVENT\tTYPE\tSTATUS\tSTORE\tORDER\tAMOUNT\tCONTACT")
	for _, e := range page.Items {
		id, amount := e.ID, ""
		if id == "" {
			id = e.Record
		}
		if e.Amount != nil {
			amount = e.Amount.Amount + " " + e.Amount.Currency
		}
		for i, cell := range []string{e.At.Format(time.RFC3339), id, dash(e.Type), dash(e.Status), e.Environment + "/" + e.Store, dash(e.Order), dash(amount), dash(e.Contact)} {
			fmt.Fprintf(w, "%s%s", tab(i), harmless(cell))
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if !page.SearchedTo.IsZero() {
		fmt.Fprintf(notes, "searched back to %s; further: --after %s\n", page.SearchedTo.Format(time.RFC3339), page.Next)
	} else if page.Next != "" {
		fmt.Fprintf(notes, "there are more: --after %s\n", page.Next)
	}
	return nil
}

func printWhole(out io.Writer, v api.EventView) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, harmless(value))
		}
	}
	money := func(m *api.MoneyText) string {
		if m == nil {
			return ""
		}
		return m.Amount + " " + m.Currency
	}
	line("event", v.ID)
	line("record", v.Record)
	line("received", instant(v.ReceivedAt)+" by "+strings.ToLower(v.Origin))
	line("store", v.Environment+"/"+v.Store)
	line("type", v.Type)
	line("kind", v.Kind)
	line("status", v.Status+" (provider: "+dash(v.ProviderStatus)+", "+instant(v.ProviderTime)+")")
	line("order", v.Order)
	line("about", v.Entity)
	line("amount", money(v.Amount))
	line("refunded", money(v.RefundedTotal))
	line("contact", v.Contact)
	line("name", v.Name)
	line("phone", v.Phone)
	line("address", strings.Join(append(v.Address, v.Country), ", "))
	line("invoice", v.InvoiceID)
	line("custom id", v.CustomID)
	for _, l := range v.Links {
		line("belongs to", strings.ToLower(l.Name)+" "+l.Value)
	}
	line("problem", v.Problem)
	line("deliveries", strings.Join(v.Deliveries, ", "))
	line("body hash", v.BodyHash)
	if n := len(v.Records); n > 1 {
		line("sent", fmt.Sprintf("%d times", n))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if v.Body != "" {
		fmt.Fprintf(out, "\n%s\n", harmless(v.Body))
	}
	return nil
}

// kafkaAt reaches Kafka and the schema registry where ClickHouse is found.
func (p Process) kafkaAt(t target) (k kafka.Options, r config.Registry, err error) {
	switch {
	case t.config != "":
		cfg, err := p.loadConfig(t.config, p.Getenv)
		if err != nil {
			return k, r, err
		}
		return cfg.Settings.Kafka, cfg.Settings.Registry, nil
	case t.address != "":
		return k, r, &codedError{ExitUsage, errors.New("--clickhouse alone does not say where Kafka is: say --config, or --data of a running dev")}
	}
	if k, err = p.brokers(auditAsked{target: t}); err != nil {
		return k, r, err
	}
	found, err := embedded.Discover(t.data)
	if err != nil {
		return k, r, err
	}
	if found.Registry == "" {
		return k, r, fmt.Errorf("what runs in %s has no schema registry of its own: say --config", t.data)
	}
	return k, config.Registry{URL: found.Registry}, nil
}

func (p Process) followEvents(c *cobra.Command, a eventsAsked, q api.EventsQuery) error {
	k, r, err := p.kafkaAt(a.target)
	if err != nil {
		return err
	}
	log, err := app.OpenTail(c.Context(), k, r)
	if err != nil {
		return err
	}
	hub := reading.NewHub(log, p.Now)
	defer hub.Close()
	s, err := hub.Follow(api.LiveQuery{
		Text: q.Text, Store: q.Store, Order: q.Order, Email: q.Email, Status: q.Status, EventKind: q.Kind, Environment: q.Environment, Bad: a.bad, PersonalData: a.personal,
	})
	if err != nil {
		return told(err)
	}
	defer s.Close()
	out, enc := c.OutOrStdout(), json.NewEncoder(c.OutOrStdout())
	for {
		m, ok := s.Next(c.Context())
		if !ok {
			return nil
		}
		switch data := m.Data.(type) {
		case api.LiveRecord:
			if a.json {
				if err := enc.Encode(data); err != nil {
					return err
				}
				continue
			}
			fmt.Fprintln(out, harmless(fmt.Sprintf("%s  %-11s %-40s %s %s", data.At.Format(time.TimeOnly), data.Kind, data.What, data.Order, data.Contact)))
		case api.LiveLeftOut:
			if data.LeftOut > 0 {
				fmt.Fprintf(c.ErrOrStderr(), "%d more came and are not shown\n", data.LeftOut)
			}
		case api.LiveBeat:
			if data.Problem != "" {
				fmt.Fprintf(c.ErrOrStderr(), "Kafka cannot be read: %s\n", harmless(data.Problem))
			}
		case api.LiveEnd:
			return nil
		}
	}
}
