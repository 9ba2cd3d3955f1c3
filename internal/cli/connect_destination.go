package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/destinations"
	"github.com/tillstream/tillstream/sinks"
)

// What a type that is both is connected as.
const (
	asSource      = "source"
	asDestination = "destination"
)

// as decides what a type is connected as. One that is both, such as GetResponse, is a source where flags say what only
// sources have.
func (p Process) as(f *connectFlags, typ string) (string, error) {
	_, source := p.Connectors.Get(typ)
	_, destination := p.Sinks.Get(typ)
	switch {
	case f.as != "" && f.as != asSource && f.as != asDestination:
		return "", &codedError{ExitUsage, fmt.Errorf("--as %q: use %s or %s", f.as, asSource, asDestination)}
	case f.as == asSource && !source || f.as == asDestination && !destination:
		return "", &codedError{ExitUsage, fmt.Errorf("%s is no %s; tillstream connect lists what can be connected", typ, f.as)}
	case f.as != "":
		return f.as, nil
	case source && destination && (f.environment != "" || len(f.draft.Resources) > 0):
		return asSource, nil
	case destination:
		return asDestination, nil
	}
	return asSource, nil // an unknown type, too: it is told as such
}

// listSinks is what else can be connected.
func (p Process) listSinks(w io.Writer) {
	for _, s := range p.Sinks.All() {
		fmt.Fprintf(w, "%s (%s), as a destination\n", s.Type, s.Title)
		what := []string{}
		if !s.NoContacts {
			what = append(what, "contacts, fields, tags")
		}
		for _, e := range s.Effects {
			what = append(what, strings.ToLower(strings.ReplaceAll(e, "_", " ")))
		}
		fmt.Fprintf(w, "  writes: %s\n", strings.Join(what, ", "))
	}
}

// destinationDesk is the folder's desk of destinations.
func (p Process) destinationDesk(dir string) *destinations.Desk {
	folder := p.desk(dir, local.CheckEnv(dir, local.Environment(dir, p.Getenv)))
	folder.AllowPrivate = true
	return &destinations.Desk{Folder: folder, Open: p.beside(folder.Load).Open}
}

func (p Process) connectDestination(c *cobra.Command, f *connectFlags, typ string) error {
	sink, _ := p.Sinks.Get(typ)
	draft := destinations.Draft{
		Type: typ, Name: f.draft.Name, Secrets: map[string]string{}, RatePerSecond: f.rate, AllowPrivate: f.draft.AllowPrivate, Force: f.draft.Force,
	}
	if f.environment != "" || len(f.draft.Resources) > 0 || f.draft.TLSRoots != "" {
		return &codedError{ExitUsage, errors.New("--environment, --resource and --tls-roots are for sources: a destination has none of them")}
	}
	var err error
	if draft.Settings, err = pairs("--set", f.settings); err != nil {
		return err
	}
	if draft.References, err = pairs("--secret", f.secrets); err != nil {
		return err
	}
	if in := p.terminal(); in != nil {
		if err := (&dialogue{in: in, lines: bufio.NewReader(in), out: f.people(c)}).askDestination(&draft, sink); err != nil {
			return err
		}
	} else if err := sufficesDestination(draft, sink); err != nil {
		return err
	}
	desk := p.destinationDesk(f.dir)
	r, err := desk.Connect(c.Context(), draft)
	if err != nil {
		return err
	}
	return f.end(c, r, func(w io.Writer) { printDestinationChange(w, r) })
}

// missing says what a destination's settings still lack, in the words of its sink.
func missing(s sinks.Sink, given ...map[string]string) (out []sinks.Finding) {
	v, ok := s.Config().(sinks.Validator)
	if !ok {
		return nil
	}
	for _, f := range v.Validate() {
		has := f.Field == "" || !f.Bad
		for _, m := range given {
			if _, said := m[f.Field]; said {
				has = true
			}
		}
		if !has {
			out = append(out, f)
		}
	}
	return out
}

func secretSetting(s sinks.Sink, key string) bool {
	for _, x := range connections.SettingsOf(s.Config()) {
		if x.Key == key {
			return x.Secret
		}
	}
	return false
}

func sufficesDestination(d destinations.Draft, s sinks.Sink) error {
	var lacks []string
	if d.Name == "" {
		lacks = append(lacks, "--name NAME")
	}
	for _, f := range missing(s, d.Settings, d.Secrets, d.References) {
		if secretSetting(s, f.Field) {
			lacks = append(lacks, "--secret "+f.Field+"=env:NAME")
		} else {
			lacks = append(lacks, "--set "+f.Field+"=VALUE")
		}
	}
	if len(lacks) > 0 {
		return &codedError{ExitUsage, fmt.Errorf("it is not said: %s; see 'tillstream connect --help'", strings.Join(lacks, ", "))}
	}
	return nil
}

// askDestination asks a person for what no flag said.
func (d *dialogue) askDestination(draft *destinations.Draft, s sinks.Sink) error {
	fmt.Fprintf(d.out, "Connect %s\n", s.Title)
	if err := d.line(&draft.Name, "Name of the destination", s.Type); err != nil {
		return err
	}
	for _, f := range missing(s, draft.Settings, draft.Secrets, draft.References) {
		if f.Hint != "" {
			fmt.Fprintf(d.out, "  (%s)\n", f.Hint)
		}
		value := ""
		if secretSetting(s, f.Field) {
			text, err := d.secret(f.Field)
			if err != nil {
				return err
			}
			draft.Secrets[f.Field] = text
		} else if err := d.line(&value, f.Field, ""); err != nil {
			return err
		} else {
			draft.Settings[f.Field] = value
		}
	}
	return nil
}

// belongs says whether a name is a destination's or a connection's, by the files; as decides where it is both.
func (p Process) belongs(dir, name, as string) (string, error) {
	if as != "" && as != asSource && as != asDestination {
		return "", &codedError{ExitUsage, fmt.Errorf("--as %q: use %s or %s", as, asSource, asDestination)}
	}
	if as != "" {
		return as, nil
	}
	has := func(folder string) bool {
		for _, ext := range []string{".yaml", ".yml", ".yaml" + config.DisconnectedSuffix, ".yml" + config.DisconnectedSuffix} {
			if connections.ValidName(name) && there(filepath.Join(dir, folder, name+ext)) {
				return true
			}
		}
		return false
	}
	destination, source := has(destinations.Folder), has(config.ConnectionsFolder)
	switch {
	case destination && source:
		return "", &codedError{ExitUsage, fmt.Errorf("%s is a connection and a destination: say --as %s or --as %s", name, asSource, asDestination)}
	case destination:
		return asDestination, nil
	}
	return asSource, nil
}

// reconnectDestination gives a destination what is new, at a terminal a new key where nothing was said.
func (p Process) reconnectDestination(c *cobra.Command, f *connectFlags) error {
	change := destinations.Change{Secrets: map[string]string{}, Force: f.draft.Force}
	var err error
	if change.Settings, err = pairs("--set", f.settings); err != nil {
		return err
	}
	if change.References, err = pairs("--secret", f.secrets); err != nil {
		return err
	}
	desk := p.destinationDesk(f.dir)
	v, err := desk.Show(f.reconnect)
	if err != nil {
		return err
	}
	said := len(change.Settings) > 0 || len(change.References) > 0
	connected := v.State != connections.StateDisconnected
	in := p.terminal()
	switch {
	case connected && !said && in == nil:
		return &codedError{ExitUsage, fmt.Errorf("%s is connected: say what is new by --secret KEY=env:NAME or --set KEY=VALUE", f.reconnect)}
	case connected && !said:
		d := &dialogue{in: in, lines: bufio.NewReader(in), out: f.people(c)}
		if change.Secrets["key"], err = d.secret("New key"); err != nil {
			return err
		}
	}
	r, err := desk.Reconnect(c.Context(), f.reconnect, change)
	if err != nil {
		return err
	}
	return f.end(c, r, func(w io.Writer) { printDestinationChange(w, r) })
}

func printDestinationChange(w io.Writer, r *destinations.Result) {
	printTrial(w, r.Trial)
	for _, line := range r.Next {
		fmt.Fprintln(w, line)
	}
}

func printTrial(w io.Writer, t destinations.Trial) {
	if a := t.Account; a != nil {
		printAccount(w, *a)
	}
	printFindings(w, t.Findings)
	var counts []string
	for _, n := range t.Counts {
		counts = append(counts, fmt.Sprintf("%d %s", n.Count, plural(string(n.Kind), n.Count)))
	}
	if len(counts) > 0 {
		fmt.Fprintln(w, "  the account has "+strings.Join(counts, ", "))
	}
}

func printAccount(w io.Writer, a destinations.AccountView) {
	line := "  account: " + dash(harmless(a.Name))
	if a.ID != "" {
		line += " (" + harmless(a.ID) + ")"
	}
	if a.User != "" {
		line += ", key of " + harmless(a.User)
	}
	fmt.Fprintln(w, line)
	for _, d := range a.Detail {
		fmt.Fprintf(w, "  %s: %s\n", harmless(d.Name), harmless(d.Value))
	}
}

func plural(word string, n int) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func there(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func (p Process) disconnectDestination(c *cobra.Command, a *answering, dir, name string, forget, yes bool) error {
	if in := p.terminal(); in != nil && !yes {
		fmt.Fprintf(a.people(c), "Disconnect %s? Nothing is written there any more; what was written stays in the CRM. [y/N] ", name)
		answer, err := readLine(bufio.NewReader(in))
		if err != nil || answer != "y" && answer != "yes" {
			return errors.Join(err, errors.New("nothing is changed"))
		}
	}
	r, err := p.destinationDesk(dir).Disconnect(c.Context(), name, forget)
	if r != nil {
		err = errors.Join(a.end(c, r, func(w io.Writer) { printDestinationChange(w, r) }), err)
	}
	return err
}
