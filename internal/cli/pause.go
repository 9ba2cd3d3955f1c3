package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/embedded"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// pauseAsked is one pause or resume.
type pauseAsked struct {
	target
	why, by string
	json    bool
}

func (a *pauseAsked) flags(c *cobra.Command) {
	c.Flags().StringVar(&a.data, "data", "data", "data folder of a running 'tillstream dev' or 'demo'")
	c.Flags().StringVar(&a.config, "config", "", "configuration folder whose Kafka to use")
	c.Flags().BoolVar(&a.json, "json", false, "one JSON object")
}

func (p Process) pauseCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "pause",
		Short: "Send nothing to a CRM, or nothing because of one connection's events, until it is resumed",
		Long: `Holds back what is for one destination, or what the events of one connection cause, at every destination. Everything else
goes on: webhooks are taken, events are recorded, workflows run and wait, reports grow. Only requests to CRMs wait; what is in
flight ends. A pause holds in every process within two seconds, and outlives restarts. 'tillstream resume' lets what waited go,
under the account's rate limit; 'tillstream pauses' shows what is paused and how much waits.`,
	}
	c.AddCommand(p.pauseOne(schemas.PauseDestination, true), p.pauseOne(schemas.PauseConnection, true))
	return group(c)
}

// pauseOne is 'pause destination NAME' and its like.
func (p Process) pauseOne(subject schemas.PauseSubject, paused bool) *cobra.Command {
	var a pauseAsked
	word := strings.ToLower(string(subject))
	use, short := word+" NAME", map[schemas.PauseSubject]string{
		schemas.PauseDestination: "Let a paused destination go on: what waited is sent, under its rate limit",
		schemas.PauseConnection:  "Let what a paused connection's events caused go on",
	}[subject]
	if paused {
		use += " --why TEXT"
		short = map[schemas.PauseSubject]string{
			schemas.PauseDestination: "Send nothing to a destination until it is resumed",
			schemas.PauseConnection:  "Send nothing anywhere because of a connection's events until it is resumed",
		}[subject]
	}
	c := &cobra.Command{
		Use: use, Short: short, Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if paused && strings.TrimSpace(a.why) == "" {
				return &codedError{ExitUsage, errors.New("say --why, for whoever finds it paused")}
			}
			by := a.by
			if by == "" {
				by = p.user()
			}
			return p.setPause(c, a, schemas.Pause{Subject: subject, Name: args[0], Paused: paused, Why: a.why, By: by})
		},
	}
	a.flags(c)
	c.Flags().StringVar(&a.why, "why", "", "why; it is shown to everybody")
	c.Flags().StringVar(&a.by, "by", "", "who says it (default: the name of the user)")
	return c
}

func (p Process) setPause(c *cobra.Command, a pauseAsked, want schemas.Pause) error {
	at, err := p.reach(a.target)
	if err != nil {
		return err
	}
	if at.config != nil {
		dests, conns := app.Pausable(at.config)
		if err := app.CheckPause(want, dests, conns); err != nil {
			return told(err)
		}
	}
	book, err := app.OpenPauses(c.Context(), at.kafka, at.registry, p.Now, p.logger(config.Telemetry{LogLevel: "error", LogFormat: "text"}))
	if err != nil {
		return err
	}
	defer book.Close()
	_, was := book.Follower.Paused(want.Subject, want.Name)
	got, err := book.Set(c.Context(), want)
	if err != nil {
		return told(err)
	}
	if a.json {
		return json.NewEncoder(c.OutOrStdout()).Encode(got)
	}
	what, waits := strings.ToLower(string(want.Subject))+" "+want.Name, "what is for it"
	if want.Subject == schemas.PauseConnection {
		waits = "what they cause"
	}
	switch {
	case want.Paused && was:
		fmt.Fprintf(c.OutOrStdout(), "%s is paused already, by %s since %s: %s\n", what, harmless(got.By), instant(got.At), harmless(got.Why))
	case want.Paused:
		fmt.Fprintf(c.OutOrStdout(), "%s is paused: nothing is sent any more within two seconds; events are recorded, and %s waits.\n'tillstream resume %s' lets it go on.\n", what, waits, what)
	default:
		fmt.Fprintf(c.OutOrStdout(), "%s goes on: what waited is sent, under the account's rate limit.\n", what)
	}
	return nil
}

// reached is where Kafka and the schema registry are; config is nil where the folder cannot be read.
type reached struct {
	kafka    kafka.Options
	registry config.Registry
	config   *config.Config
}

// reach finds Kafka and the schema registry by --config, else by the running dev of --data.
func (p Process) reach(t target) (reached, error) {
	if t.config != "" {
		cfg, err := p.loadConfig(t.config, p.Getenv)
		if err != nil {
			return reached{}, err
		}
		return reached{cfg.Settings.Kafka, cfg.Settings.Registry, cfg}, nil
	}
	k, err := p.brokers(auditAsked{target: t})
	if err != nil {
		return reached{}, err
	}
	found, err := embedded.Discover(t.data)
	if err != nil {
		return reached{}, err
	}
	if found.Registry == "" {
		return reached{}, fmt.Errorf("what runs in %s has no schema registry of its own: say --config", t.data)
	}
	r := reached{kafka: k, registry: config.Registry{URL: found.Registry}}
	if cfg, err := p.loadConfig(filepath.Join(t.data, local.ConfigFolder), p.Getenv); err == nil {
		r.config = cfg
	}
	return r, nil
}

func (p Process) pausesCommand() *cobra.Command {
	var a pauseAsked
	var ports asked
	c := &cobra.Command{
		Use:   "pauses",
		Short: "List what is paused: by whom, since when, why, and how many commands wait",
		Long: `Reads what is paused from Kafka. How many commands wait is asked of the processes that deliver, by their management ports, or
counted in ClickHouse where none answers, which is seconds behind.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			at, err := p.reach(a.target)
			if err != nil {
				return err
			}
			book, err := app.OpenPauses(c.Context(), at.kafka, at.registry, p.Now, p.logger(config.Telemetry{LogLevel: "error", LogFormat: "text"}))
			if err != nil {
				return err
			}
			defer book.Close()
			list := []api.PauseView{}
			for _, one := range book.Follower.List() {
				list = append(list, app.PauseView(one))
			}
			p.countWaiting(c.Context(), a.target, at, ports, list)
			if a.json {
				return json.NewEncoder(c.OutOrStdout()).Encode(api.PauseList{Pauses: list})
			}
			return printPauses(c.OutOrStdout(), list)
		},
	}
	a.flags(c)
	c.Flags().StringArrayVar(&ports.addresses, "address", nil, "management port of a process that delivers, host:port; repeat it for several")
	return c
}

// countWaiting fills in how much waits, where that can be known.
func (p Process) countWaiting(ctx context.Context, t target, at reached, ports asked, list []api.PauseView) {
	if len(list) == 0 {
		return
	}
	if len(ports.addresses) == 0 && at.config != nil {
		ports.addresses = []string{ownPort(at.config.Settings.Management)}
	}
	counted := map[string]int64{}
	if addresses, err := ports.resolve(p); err == nil {
		for _, address := range addresses {
			var got api.PauseList
			if err := (&remote{address: address}).call(ctx, "GET", "/api/v1/pauses", nil, &got); err != nil {
				continue
			}
			for _, v := range got.Pauses {
				if v.Waiting != nil {
					counted[string(v.Subject)+v.Name] += *v.Waiting
				}
			}
		}
	}
	for i, v := range list {
		if n, ok := counted[string(v.Subject)+v.Name]; ok {
			list[i].Waiting = &n
		}
	}
	store, err := p.open(ctx, t)
	if err != nil {
		return
	}
	defer store.Close()
	for i, v := range list {
		if v.Waiting != nil {
			continue
		}
		if n, err := store.Waiting(ctx, v.Subject, v.Name); err == nil {
			list[i].Waiting = &n
		}
	}
}

func printPauses(out io.Writer, list []api.PauseView) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "nothing is paused")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PAUSED\tNAME\tWAITING\tSINCE\tBY\tWHY")
	for _, v := range list {
		waiting := "?"
		if v.Waiting != nil {
			waiting = fmt.Sprint(*v.Waiting)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", strings.ToLower(string(v.Subject)), v.Name, waiting, instant(v.At), harmless(v.By), harmless(outbound.Redact(v.Why)))
	}
	return w.Flush()
}
