package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/schemas"
)

// terminal is the terminal that a person types at; nil: nobody does.
func (p Process) terminal() *os.File {
	f, ok := p.Stdin.(*os.File)
	if !ok || !canHide(f) {
		return nil
	}
	return f
}

// lineBytesMax bounds a line that is typed.
const lineBytesMax = 8 << 10

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	if len(line) > lineBytesMax {
		return "", errors.New("the answer is too long")
	}
	return strings.TrimSpace(line), nil
}

// connectFlags are what a connection is made of.
type connectFlags struct {
	deskFlags
	answering
	draft       connections.Draft
	environment string
	settings    []string
	secrets     []string
	reconnect   string
	as          string
	rate        float64
}

func (p Process) connectCommand() *cobra.Command {
	var f connectFlags
	c := &cobra.Command{
		Use:   "connect [TYPE]",
		Short: "Connect an account, a store or a CRM: check its credentials, choose its resources, register its webhook",
		Long: `Connects one account: a source of events, or a CRM that contacts are written to. At a terminal it asks for what no flag says, secrets without an echo; else the flags have to
suffice. Without TYPE it lists what can be connected.

The credentials and permissions are tried first; where something is bad nothing is written, unless --force is given.
A secret that is typed goes into a file of its own in the configuration's folder secrets, readable for its owner only;
--secret KEY=env:NAME and --secret KEY=file:PATH say where it is kept already. A running process takes the connection
over within a few seconds.

Of a CRM the account, its permissions and what it has are shown, and destinations/NAME.yaml is written. --reconnect gives a
connected CRM a new key; every other byte of its file stays. A type that is both, such as getresponse, is connected as a
destination, or with --as source, --environment or --resource as a source.`,
		Example: `  tillstream connect activecampaign --name crm --set url=https://ACCOUNT.api-us1.com --secret key=env:CRM_KEY --config config
  tillstream connect --reconnect crm --secret key=env:NEW_KEY
  tillstream connect paypal --name paypal-eu --environment live --resource checkout-order-approved \
    --set client_id=AbC --secret client_secret=env:PAYPAL_SECRET --config config
  tillstream connect --reconnect paypal-eu`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case f.reconnect != "" && len(args) == 0:
				what, err := p.belongs(f.dir, f.reconnect, f.as)
				if err != nil {
					return err
				}
				if what == asDestination {
					return p.reconnectDestination(c, &f)
				}
				return p.reconnect(c, &f)
			case f.reconnect != "":
				return &codedError{ExitUsage, errors.New("--reconnect takes the name of a disconnected connection, and no type")}
			case len(args) == 0:
				return p.listConnectors(c, &f)
			}
			what, err := p.as(&f, args[0])
			if err != nil {
				return err
			}
			if what == asDestination {
				return p.connectDestination(c, &f, args[0])
			}
			return p.connect(c, &f, args[0])
		},
	}
	f.deskFlags.flags(c)
	f.flag(c)
	s := c.Flags()
	s.StringVar(&f.draft.Name, "name", "", "name of the connection")
	s.StringVar(&f.environment, "environment", "", "sandbox or live")
	s.StringSliceVar(&f.draft.Resources, "resource", nil, "a resource to receive; repeat it for several (default: all)")
	s.StringArrayVar(&f.settings, "set", nil, "KEY=VALUE of the connector's settings; repeat it for several")
	s.StringArrayVar(&f.secrets, "secret", nil, "KEY=env:NAME or KEY=file:PATH, where a secret is kept; repeat it for several")
	s.BoolVar(&f.draft.AllowPrivate, "allow-private-address", false, "permit a provider address inside the network (a simulator, a proxy)")
	s.StringVar(&f.draft.TLSRoots, "tls-roots", "", "PEM file of further trusted roots for the provider's address")
	s.BoolVar(&f.draft.Force, "force", false, "also where the check finds something bad")
	s.StringVar(&f.reconnect, "reconnect", "", "connect what is disconnected again, as its file says; or give a destination a new key")
	s.StringVar(&f.as, "as", "", "source or destination, for a type or a name that is both")
	s.Float64Var(&f.rate, "rate-per-second", 0, "requests a second to a destination over all processes (default: the provider's documented limit; -1: none)")
	return c
}

func (p Process) listConnectors(c *cobra.Command, f *connectFlags) error {
	if !f.json {
		p.printConnectors(c.OutOrStdout())
		return nil
	}
	desk, _ := f.folder(p)
	list, err := desk.Connectors()
	if err != nil {
		return err
	}
	return f.end(c, struct {
		api.ConnectorList
		api.SinkList
	}{api.ConnectorList{Connectors: list}, api.SinkList{Sinks: p.destinationDesk(f.dir).Sinks()}}, nil)
}

func (p Process) printConnectors(w io.Writer) {
	fmt.Fprintln(w, "tillstream connect TYPE, where TYPE is one of:")
	for _, c := range p.Connectors.All() {
		fmt.Fprintf(w, "%s (%s)\n", c.Type, c.Title)
		for _, r := range c.Resources {
			fmt.Fprintf(w, "  %s (%s): %s\n", r.ID, r.Title, strings.Join(r.EventTypes, ", "))
		}
	}
	p.listSinks(w)
}

func (p Process) reconnect(c *cobra.Command, f *connectFlags) error {
	desk, err := f.counter(c.Context(), p)
	if err != nil {
		return err
	}
	r, err := desk.Reconnect(c.Context(), f.reconnect, f.draft.Force)
	if err != nil {
		return err
	}
	return f.end(c, r, func(w io.Writer) { printChange(w, r) })
}

func (p Process) connect(c *cobra.Command, f *connectFlags, typ string) error {
	connector, ok := p.Connectors.Get(typ)
	if !ok {
		var types []string
		for _, k := range p.Connectors.All() {
			types = append(types, k.Type)
		}
		for _, k := range p.Sinks.All() {
			if !slices.Contains(types, k.Type) {
				types = append(types, k.Type)
			}
		}
		return &codedError{ExitUsage, fmt.Errorf("there is no connector %q; connectors are %s", typ, strings.Join(types, ", "))}
	}
	f.draft.Type, f.draft.Environment = typ, schemas.Environment(f.environment)
	f.draft.Secrets = map[string]string{}
	var err error
	if f.draft.Settings, err = pairs("--set", f.settings); err != nil {
		return err
	}
	if f.draft.References, err = pairs("--secret", f.secrets); err != nil {
		return err
	}
	if in := p.terminal(); in != nil {
		if err := (&dialogue{in: in, lines: bufio.NewReader(in), out: f.people(c)}).ask(&f.draft, connector); err != nil {
			return err
		}
	} else if err := suffices(f.draft, connector); err != nil {
		return err
	}
	desk, _ := f.folder(p)
	r, err := desk.Connect(c.Context(), f.draft)
	if err != nil {
		return err
	}
	return f.end(c, r, func(w io.Writer) { printChange(w, r) })
}

// pairs reads KEY=VALUE.
func pairs(flag string, list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, one := range list {
		key, value, ok := strings.Cut(one, "=")
		if !ok || key == "" {
			return nil, &codedError{ExitUsage, fmt.Errorf("%s wants KEY=VALUE", flag)} // what was given may be a secret
		}
		out[key] = value
	}
	return out, nil
}

// suffices says which flags are missing where nobody can be asked.
func suffices(d connections.Draft, c connectors.Connector) error {
	var missing []string
	if d.Name == "" {
		missing = append(missing, "--name NAME")
	}
	if d.Environment == "" {
		missing = append(missing, "--environment sandbox|live")
	}
	for _, f := range d.Missing(c) {
		flag := "--set " + f.Field + "=VALUE"
		if s, ok := settingFor(c, f.Field); ok && s.Secret {
			flag = "--secret " + f.Field + "=env:NAME"
		}
		missing = append(missing, flag)
	}
	if len(missing) > 0 {
		return &codedError{ExitUsage, fmt.Errorf("it is not said: %s; see 'tillstream connect --help'", strings.Join(missing, ", "))}
	}
	return nil
}

func settingFor(c connectors.Connector, key string) (connections.Setting, bool) {
	list := connections.Settings(c)
	i := slices.IndexFunc(list, func(s connections.Setting) bool { return s.Key == key })
	if i < 0 {
		return connections.Setting{}, false
	}
	return list[i], true
}

// dialogue asks a person for what no flag said.
type dialogue struct {
	in    *os.File
	lines *bufio.Reader
	out   io.Writer
}

func (d *dialogue) ask(draft *connections.Draft, c connectors.Connector) error {
	fmt.Fprintf(d.out, "Connect %s\n", c.Title)
	if err := d.line(&draft.Name, "Name of the connection", c.Type); err != nil {
		return err
	}
	environment := string(draft.Environment)
	if err := d.line(&environment, "Environment, sandbox or live", string(schemas.Sandbox)); err != nil {
		return err
	}
	draft.Environment = schemas.Environment(environment)
	for _, f := range draft.Missing(c) {
		s, ok := settingFor(c, f.Field)
		if !ok {
			continue // the configuration's own check says what is wrong
		}
		if f.Hint != "" {
			fmt.Fprintf(d.out, "  (%s)\n", f.Hint)
		}
		value := ""
		if s.Secret {
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
	if len(draft.Resources) > 0 || len(c.Resources) < 2 {
		return nil
	}
	return d.resources(draft, c)
}

// line asks for a value that is not known yet.
func (d *dialogue) line(value *string, what, usual string) error {
	for tries := 0; *value == "" && tries < 3; tries++ {
		if usual != "" {
			fmt.Fprintf(d.out, "%s [%s]: ", what, usual)
		} else {
			fmt.Fprintf(d.out, "%s: ", what)
		}
		text, err := readLine(d.lines)
		if err != nil {
			return err
		}
		if text == "" {
			text = usual
		}
		*value = text
	}
	if *value == "" {
		return fmt.Errorf("%s: nothing was typed; nothing is changed", what)
	}
	return nil
}

// secret asks without showing what is typed.
func (d *dialogue) secret(what string) (string, error) {
	fmt.Fprintf(d.out, "%s (it is not shown): ", what)
	var text string
	err := hidden(d.in, func() (err error) { text, err = readLine(d.lines); return err })
	fmt.Fprintln(d.out)
	if err == nil && text == "" {
		err = fmt.Errorf("%s: nothing was typed; nothing is changed", what)
	}
	return text, err
}

func (d *dialogue) resources(draft *connections.Draft, c connectors.Connector) error {
	fmt.Fprintln(d.out, "Resources:")
	for i, r := range c.Resources {
		fmt.Fprintf(d.out, "  %d  %s: %s\n", i+1, r.Title, strings.Join(r.EventTypes, ", "))
	}
	choice := ""
	if err := d.line(&choice, "Numbers of those to receive", "all"); err != nil {
		return err
	}
	if choice == "all" {
		return nil
	}
	for _, word := range strings.FieldsFunc(choice, func(r rune) bool { return r == ',' || r == ' ' }) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > len(c.Resources) {
			return fmt.Errorf("resource %q: write numbers from 1 to %d; nothing is changed", word, len(c.Resources))
		}
		draft.Resources = append(draft.Resources, c.Resources[n-1].ID)
	}
	return nil
}
