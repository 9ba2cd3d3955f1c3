package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/destinations"
	"github.com/tillstream/tillstream/sinks"
)

func (p Process) destinationsCommand() *cobra.Command {
	var d deskFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "destinations",
		Short: "List the CRM accounts that contacts are written to, and look at or check one",
		Long: `Lists every destination: from the process that delivers with the folder, else from the files alone, which know nothing of
alarms. 'tillstream connect' adds one, 'tillstream catalogue' shows what an account has, 'tillstream limits' its rate.`,
	}
	c.AddCommand(p.destinationShowCommand(), p.destinationCheckCommand())
	c = group(c)
	other := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return other(c, args)
		}
		list, err := p.destinationList(c.Context(), &d)
		if err != nil {
			return err
		}
		if asJSON {
			return json.NewEncoder(c.OutOrStdout()).Encode(list)
		}
		return printDestinations(c.OutOrStdout(), list)
	}
	d.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON list")
	return c
}

// destinationList is from the process that runs with the folder, else from the folder. An address that was named must
// answer.
func (p Process) destinationList(ctx context.Context, d *deskFlags) ([]destinations.View, error) {
	_, r := d.folder(p)
	var got api.DestinationList
	err := r.call(ctx, http.MethodGet, "/api/v1/destinations", nil, &got)
	abs, absErr := filepath.Abs(d.dir)
	switch {
	case err == nil && (d.address != "" || absErr == nil && abs == got.Folder):
		return got.Destinations, nil
	case d.address != "" && err != nil:
		return nil, err
	}
	return p.destinationDesk(d.dir).List()
}

func printDestinations(out io.Writer, list []destinations.View) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "no CRM is connected; tillstream connect lists what can be")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DESTINATION\tTYPE\tSTATE\tACCOUNT\tRATE\tCHECKED\tALARMS")
	for _, v := range list {
		var alarms []string
		for _, a := range v.Alarms {
			alarms = append(alarms, a.Kind)
		}
		account := ""
		if v.Account != nil {
			account = harmless(v.Account.Name)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.Name, dash(v.Type), v.State, dash(account), rateWord(v), instant(v.CheckedAt), dash(strings.Join(alarms, ",")))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, v := range list {
		for _, a := range v.Alarms {
			fmt.Fprintf(out, "%s: %s since %s: %s; %s\n", v.Name, a.Kind, instant(a.Since), harmless(a.What), a.Remedy)
		}
	}
	return nil
}

func rateWord(v destinations.View) string {
	switch {
	case v.RatePerSecond < 0:
		return "no limit"
	case v.RatePerSecond > 0:
		return fmt.Sprintf("%g/s", v.RatePerSecond)
	}
	return "-"
}

func (p Process) destinationShowCommand() *cobra.Command {
	var d deskFlags
	var asJSON bool
	c := &cobra.Command{
		Use: "show NAME", Short: "Show a destination: its account, its last check, its alarms", Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			list, err := p.destinationList(c.Context(), &d)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(list, func(v destinations.View) bool { return v.Name == args[0] })
			if i < 0 {
				return fmt.Errorf("there is no destination %q; tillstream destinations lists them", args[0])
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(list[i])
			}
			w, v := c.OutOrStdout(), list[i]
			fmt.Fprintf(w, "%s: %s, %s (%s)\n", v.Name, dash(v.Title), v.State, v.File)
			if v.Account != nil {
				printAccount(w, *v.Account)
			}
			printFindings(w, v.Findings)
			for _, a := range v.Alarms {
				fmt.Fprintf(w, "  %s since %s: %s; %s\n", a.Kind, instant(a.Since), harmless(a.What), a.Remedy)
			}
			return nil
		},
	}
	d.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return c
}

func (p Process) destinationCheckCommand() *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use: "check NAME", Short: "Try a destination's key and permissions; exit code 1 where something is bad", Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			t, err := p.destinationDesk(dir).Check(c.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				if err := json.NewEncoder(c.OutOrStdout()).Encode(t); err != nil {
					return err
				}
			} else {
				printTrial(c.OutOrStdout(), t)
			}
			bad := 0
			for _, f := range t.Findings {
				if f.Level == connectors.Bad {
					bad++
				}
			}
			if bad > 0 {
				return fmt.Errorf("%s: %d of %d findings are bad", args[0], bad, len(t.Findings))
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "config", "config", "folder of the configuration")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return c
}

// catalogueAsked is one 'tillstream catalogue'.
type catalogueAsked struct {
	dir, kind, search string
	refresh, json     bool
}

func (p Process) catalogueCommand() *cobra.Command {
	var a catalogueAsked
	c := &cobra.Command{
		Use:   "catalogue DESTINATION [--kind KIND] [--search TEXT] [--refresh]",
		Short: "Show what a CRM account has for mappings and workflows to name: fields, tags, lists, automations, messages, shops",
		Long: `Shows what the account had when it was last read, and when that was: a process that delivers reads it each hour. With
--refresh, and where it was never read, it is read now, every page.

Exit code 0: shown. 1: it could not be read, and nothing is known of before; with --refresh also where it is older than asked for.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return p.catalogue(c, a, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&a.dir, "config", "config", "folder of the configuration")
	f.StringVar(&a.kind, "kind", "", "field, tag, list, automation, message or shop (default: all)")
	f.StringVar(&a.search, "search", "", "only what has this text in its names, id or options")
	f.BoolVar(&a.refresh, "refresh", false, "read it from the CRM now")
	f.BoolVar(&a.json, "json", false, "one JSON object")
	return c
}

// catalogueTimeout bounds the reading of all pages, under the account's limit.
const catalogueTimeout = 10 * time.Minute

func (p Process) catalogue(c *cobra.Command, a catalogueAsked, name string) error {
	cfg, d, err := p.destination(a.dir, name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), catalogueTimeout)
	defer cancel()
	open, end := app.DestinationOpener(cfg, p.Now)
	defer end()
	redis := app.RedisOf(cfg.Settings.Redis)
	defer redis.Close()
	list, err := app.CatalogueOf(ctx, d, sinks.EntryKind(a.kind), a.refresh, &destinations.Catalogues{Redis: redis, Now: p.Now}, open)
	if err != nil {
		return told(err)
	}
	for i, s := range list.Catalogue {
		list.Catalogue[i].Entries = destinations.Search(s.Entries, a.search)
	}
	if a.json {
		err = json.NewEncoder(c.OutOrStdout()).Encode(list)
	} else {
		err = printCatalogue(c.OutOrStdout(), list, p.Now())
	}
	if err == nil && a.refresh && list.Problem != "" {
		return errors.New(list.Problem)
	}
	if list.Problem != "" && !a.json {
		fmt.Fprintln(c.ErrOrStderr(), list.Problem)
	}
	return err
}

// destination finds one of the folder.
func (p Process) destination(dir, name string) (*config.Config, config.Destination, error) {
	cfg, err := p.loadConfig(dir, p.Getenv)
	if err != nil {
		return nil, config.Destination{}, err
	}
	var names []string
	for _, d := range cfg.Destinations {
		if d.Name == name {
			return cfg, d, nil
		}
		names = append(names, d.Name)
	}
	return nil, config.Destination{}, &codedError{ExitUsage, fmt.Errorf("there is no destination %q in %s; there are: %s", name, dir, dash(strings.Join(names, ", ")))}
}

func printCatalogue(out io.Writer, list api.CatalogueList, now time.Time) error {
	for i, s := range list.Catalogue {
		if i > 0 {
			fmt.Fprintln(out)
		}
		more := ""
		if s.Truncated {
			more = ", the first of more"
		}
		fmt.Fprintf(out, "%d %s%s, read %s ago (%s)\n", len(s.Entries), plural(string(s.Kind), len(s.Entries)), more, age(now.Sub(s.At)), instant(s.At))
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, e := range s.Entries {
			first, others := "", ""
			if len(e.Names) > 0 {
				first, others = e.Names[0], strings.Join(e.Names[1:], ", ")
			}
			if len(e.Options) > 0 {
				others = strings.TrimPrefix(others+"; one of "+strings.Join(e.Options, ", "), "; ")
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", harmless(first), dash(harmless(e.ID)), dash(string(e.Type)), harmless(shorten(others, 120)))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for _, g := range s.Gone {
			fmt.Fprintf(out, "  gone since %s: %s\n", instant(g.SeenLast), harmless(strings.Join(g.Names, ", ")))
		}
	}
	return nil
}

// age is how old something is, in the unit that fits a glance.
func age(d time.Duration) string { return seconds(max(0, d.Seconds())) }
