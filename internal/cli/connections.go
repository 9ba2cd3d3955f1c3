package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/connections"
)

// desk is the folder of a configuration, as commands and running processes change its connections.
func (p Process) desk(dir string, getenv func(string) (string, bool)) *connections.Desk {
	d := &connections.Desk{
		Dir: dir, Options: p.configOptions(getenv), Check: app.Check, Opener: connections.Opener{Now: p.Now, Log: zerolog.Nop()},
	}
	d.Opener.Limiter = p.beside(d.Load).Connection
	return d
}

// counter is where connections are looked at and changed: the process that runs them, else the folder's desk.
type counter interface {
	List() ([]connections.View, error)
	Show(name string) (connections.View, error)
	CheckConnection(ctx context.Context, name string) ([]connections.FindingView, error)
	AddResource(ctx context.Context, name, resource string, force bool) (*connections.Result, error)
	RemoveResource(ctx context.Context, name, resource string) (*connections.Result, error)
	Disconnect(ctx context.Context, name string, forget bool) (*connections.Result, error)
	Reconnect(ctx context.Context, name string, force bool) (*connections.Result, error)
}

// deskFlags say which connections a command is about.
type deskFlags struct {
	dir, address string
}

func (d *deskFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&d.dir, "config", "config", "folder of the configuration")
	c.Flags().StringVar(&d.address, "address", "", "management port of the process that runs the connections, host:port, or https://host:port (default: management.listen of the configuration)")
}

// folder is the desk of the folder. What a process that runs with it answers is waited for.
func (d *deskFlags) folder(p Process) (*connections.Desk, *remote) {
	desk := p.desk(d.dir, local.CheckEnv(d.dir, local.Environment(d.dir, p.Getenv)))
	desk.AllowPrivate = true
	r := &remote{address: d.address}
	if r.address == "" {
		a := asked{addresses: []string{defaultAddress}}
		if cfg, err := desk.Load(); err == nil {
			a.addresses = []string{ownPort(cfg.Settings.Management)}
		}
		if list, err := a.resolve(p); err == nil {
			r.address = list[0]
		}
	}
	desk.Follow = func(ctx context.Context, done func([]connections.View) bool) bool {
		if !r.runs(ctx, d.dir) {
			return false
		}
		for {
			if list, err := r.List(); err == nil && done(list) {
				return true
			}
			if clock.System().Sleep(ctx, followPause) != nil {
				return false
			}
		}
	}
	return desk, r
}

const followPause = 200 * time.Millisecond

// counter is the process that runs the folder's connections, else the folder itself. An address that was named must answer.
func (d *deskFlags) counter(ctx context.Context, p Process) (counter, error) {
	desk, r := d.folder(p)
	if d.address != "" {
		if _, err := r.List(); err != nil {
			return nil, err
		}
		return r, nil
	}
	if r.runs(ctx, d.dir) {
		return r, nil
	}
	return desk, nil
}

// remote asks the management port of a process.
type remote struct{ address string }

// runs reports whether a process there runs the connections of the folder dir.
func (r *remote) runs(ctx context.Context, dir string) bool {
	if r.address == "" {
		return false
	}
	var got api.ConnectionList
	if err := r.call(ctx, http.MethodGet, "/api/v1/connections", nil, &got); err != nil {
		return false
	}
	abs, err := filepath.Abs(dir)
	return err == nil && abs == got.Folder
}

// managementSlow asks management ports for what takes a provider's answer. It takes no proxy.
var managementSlow = &http.Client{Timeout: 40 * time.Second, Transport: managementPorts}

func (r *remote) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, portURL(r.address, path), body)
	if err != nil {
		return err
	}
	req.Header.Set(api.ActionHeader, "connections")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := managementSlow.Do(req)
	if err != nil {
		return &codedError{ExitCannotAsk, fmt.Errorf("%s does not answer: %w", r.address, plain(err))}
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(io.LimitReader(resp.Body, statusBytesMax))
	if resp.StatusCode < http.StatusMultipleChoices {
		if err := dec.Decode(out); err != nil {
			return fmt.Errorf("%s: its answer cannot be read, it is perhaps of another version: %w", r.address, err)
		}
		return nil
	}
	return refusedBy(r.address, resp.Status, dec)
}

func (r *remote) path(name, rest string) string {
	return "/api/v1/connections/" + url.PathEscape(name) + rest
}

// List implements counter.
func (r *remote) List() ([]connections.View, error) {
	var got api.ConnectionList
	err := r.call(context.Background(), http.MethodGet, "/api/v1/connections", nil, &got)
	return got.Connections, err
}

// Show implements counter.
func (r *remote) Show(name string) (v connections.View, err error) {
	err = r.call(context.Background(), http.MethodGet, r.path(name, ""), nil, &v)
	return v, err
}

// CheckConnection implements counter.
func (r *remote) CheckConnection(ctx context.Context, name string) ([]connections.FindingView, error) {
	var got api.CheckResult
	err := r.call(ctx, http.MethodPost, r.path(name, "/check"), nil, &got)
	return got.Findings, err
}

func (r *remote) change(ctx context.Context, method, path string, in any) (*connections.Result, error) {
	got := &connections.Result{}
	if err := r.call(ctx, method, path, in, got); err != nil {
		return nil, err
	}
	return got, nil
}

// AddResource implements counter.
func (r *remote) AddResource(ctx context.Context, name, resource string, force bool) (*connections.Result, error) {
	return r.change(ctx, http.MethodPatch, r.path(name, ""), api.ResourcesChange{Add: resource, Force: force})
}

// RemoveResource implements counter.
func (r *remote) RemoveResource(ctx context.Context, name, resource string) (*connections.Result, error) {
	return r.change(ctx, http.MethodPatch, r.path(name, ""), api.ResourcesChange{Remove: resource})
}

// Disconnect implements counter.
func (r *remote) Disconnect(ctx context.Context, name string, forget bool) (*connections.Result, error) {
	return r.change(ctx, http.MethodDelete, r.path(name, fmt.Sprintf("?forget=%t", forget)), nil)
}

// Reconnect implements counter.
func (r *remote) Reconnect(ctx context.Context, name string, force bool) (*connections.Result, error) {
	return r.change(ctx, http.MethodPost, r.path(name, "/reconnect"), api.Reconnection{Force: force})
}

func (p Process) connectionsCommand() *cobra.Command {
	var d deskFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "connections",
		Short: "List the accounts and stores that events come from, and look at or change one",
		Long: `Lists every connection: from the process that runs with the folder, else from the files alone, which know nothing of
alarms, of the last event, and of how far events are complete.`,
	}
	c.AddCommand(p.connectionShowCommand(), p.connectionCheckCommand(), p.resourceCommand("add-resource"), p.resourceCommand("remove-resource"))
	c = group(c)
	other := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return other(c, args)
		}
		desk, err := d.counter(c.Context(), p)
		if err != nil {
			return err
		}
		list, err := desk.List()
		if err != nil {
			return err
		}
		if asJSON {
			return json.NewEncoder(c.OutOrStdout()).Encode(list)
		}
		return printConnections(c.OutOrStdout(), list)
	}
	d.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON list")
	return c
}

func printConnections(out io.Writer, list []connections.View) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "no account is connected; tillstream connect lists what can be")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CONNECTION\tTYPE\tENVIRONMENT\tSTATE\tRESOURCES\tWEBHOOK\tCOMPLETE UP TO\tLAST EVENT\tALARMS")
	for _, v := range list {
		var ids, alarms []string
		for _, r := range v.Resources {
			ids = append(ids, r.ID)
		}
		for _, a := range v.Alarms {
			alarms = append(alarms, a.Kind)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.Name, dash(v.Type), dash(string(v.Environment)), v.State,
			dash(strings.Join(ids, ",")), webhookWord(v), instant(v.CompleteUpTo), instant(v.LastEventAt), dash(strings.Join(alarms, ",")))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, v := range list {
		printAlarms(out, v)
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func instant(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// webhookWord is how a webhook stands, in a word or two.
func webhookWord(v connections.View) string {
	w := v.Webhook
	switch {
	case w == nil:
		return "-"
	case w.Error != "":
		return "not registered"
	case w.ID != "" && w.Limit > 0:
		return fmt.Sprintf("registered (%d of %d)", w.Used, w.Limit)
	case w.ID != "":
		return "registered"
	}
	return "by hand"
}

func printAlarms(w io.Writer, v connections.View) {
	for _, a := range v.Alarms {
		fmt.Fprintf(w, "%s: %s since %s: %s; %s\n", v.Name, a.Kind, instant(a.Since), a.What, a.Remedy)
	}
}

func (p Process) connectionShowCommand() *cobra.Command {
	var d deskFlags
	var asJSON bool
	c := &cobra.Command{
		Use: "show NAME", Short: "Show a connection: its resources with their events, its webhook, its alarms", Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			desk, err := d.counter(c.Context(), p)
			if err != nil {
				return err
			}
			v, err := desk.Show(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(v)
			}
			printConnection(c.OutOrStdout(), v)
			return nil
		},
	}
	d.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return c
}

func printConnection(w io.Writer, v connections.View) {
	fmt.Fprintf(w, "%s: %s, %s, %s (%s)\n", v.Name, v.Title, v.Environment, v.State, v.File)
	printResources(w, v.Resources)
	if h := v.Webhook; h != nil {
		fmt.Fprintf(w, "  webhook %s: %s\n", dash(h.Address), webhookWord(v))
		if h.Error != "" {
			fmt.Fprintln(w, "    "+h.Error)
		}
	}
	fmt.Fprintf(w, "  complete up to %s, last event %s\n", instant(v.CompleteUpTo), instant(v.LastEventAt))
	if b := v.Budget; b != nil {
		fmt.Fprintf(w, "  requests to the provider: %d, refused for their number: %d\n", b.Requests, b.Refused)
	}
	printFindings(w, v.Findings)
	printAlarms(w, v)
}

func printResources(w io.Writer, list []connections.ResourceView) {
	for _, r := range list {
		fmt.Fprintf(w, "  %s (%s): %s\n", r.ID, r.Title, strings.Join(r.EventTypes, ", "))
	}
}

func printFindings(w io.Writer, list []connections.FindingView) {
	for _, f := range list {
		fmt.Fprintf(w, "  %s: %s", f.Level, f.Message)
		if f.Hint != "" && f.Level != connectors.OK {
			fmt.Fprintf(w, "; %s", f.Hint)
		}
		fmt.Fprintln(w)
	}
}

func (p Process) connectionCheckCommand() *cobra.Command {
	var d deskFlags
	var a answering
	c := &cobra.Command{
		Use: "check NAME", Short: "Try a connection's credentials and permissions; exit code 1 where something is bad", Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			desk, err := d.counter(c.Context(), p)
			if err != nil {
				return err
			}
			found, err := desk.CheckConnection(c.Context(), args[0])
			if err != nil {
				return err
			}
			if err := a.end(c, api.CheckResult{Findings: found}, func(w io.Writer) { printFindings(w, found) }); err != nil {
				return err
			}
			bad := 0
			for _, f := range found {
				if f.Level == connectors.Bad {
					bad++
				}
			}
			if bad > 0 {
				return fmt.Errorf("%s: %d of %d findings are bad", args[0], bad, len(found))
			}
			return nil
		},
	}
	d.flags(c)
	a.flag(c)
	return c
}

func (p Process) resourceCommand(verb string) *cobra.Command {
	var d deskFlags
	var a answering
	var force bool
	short := "Receive a resource too"
	if verb == "remove-resource" {
		short = "No longer receive a resource; what was received stays, and so does the account"
	}
	c := &cobra.Command{
		Use: verb + " NAME RESOURCE", Short: short, Args: usage(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			desk, err := d.counter(c.Context(), p)
			if err != nil {
				return err
			}
			var r *connections.Result
			if verb == "add-resource" {
				r, err = desk.AddResource(c.Context(), args[0], args[1], force)
			} else {
				r, err = desk.RemoveResource(c.Context(), args[0], args[1])
			}
			if err != nil {
				return err
			}
			return a.end(c, r, func(w io.Writer) { printChange(w, r) })
		},
	}
	d.flags(c)
	a.flag(c)
	if verb == "add-resource" {
		c.Flags().BoolVar(&force, "force", false, "also where the check finds something bad")
	}
	return c
}

func printChange(w io.Writer, r *connections.Result) {
	printFindings(w, r.Findings)
	for _, line := range r.Next {
		fmt.Fprintln(w, line)
	}
	if len(r.Connection.Resources) > 0 && r.Connection.State != connections.StateDisconnected {
		fmt.Fprintln(w, "its resources, and the events that they stand for:")
		printResources(w, r.Connection.Resources)
	}
}

func (p Process) disconnectCommand() *cobra.Command {
	var d deskFlags
	var a answering
	var forget, yes bool
	var as string
	c := &cobra.Command{
		Use:   "disconnect NAME",
		Short: "Stop receiving an account's events, and remove its webhook at the provider; or stop writing to a CRM",
		Long: `Puts the connection's file aside and removes the webhook that Tillstream had registered; of a destination, puts its file
aside. Nothing that was received or synced is removed. 'tillstream connect --reconnect NAME' connects the account again; with
--delete the file and the secrets that were typed in are deleted.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			what, err := p.belongs(d.dir, args[0], as)
			if err != nil {
				return err
			}
			if what == asDestination {
				return p.disconnectDestination(c, &a, d.dir, args[0], forget, yes)
			}
			desk, err := d.counter(c.Context(), p)
			if err != nil {
				return err
			}
			if in := p.terminal(); in != nil && !yes {
				fmt.Fprintf(a.people(c), "Disconnect %s? Its events stop; what was received and synced stays. [y/N] ", args[0])
				answer, err := readLine(bufio.NewReader(in))
				if err != nil || answer != "y" && answer != "yes" {
					return errors.Join(err, errors.New("nothing is changed"))
				}
			}
			r, err := desk.Disconnect(c.Context(), args[0], forget)
			if r != nil {
				err = errors.Join(a.end(c, r, func(w io.Writer) { printChange(w, r) }), err)
			}
			return err
		},
	}
	d.flags(c)
	a.flag(c)
	c.Flags().BoolVar(&forget, "delete", false, "delete its file and its secrets, too")
	c.Flags().StringVar(&as, "as", "", "source or destination, for a name that is both")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}
