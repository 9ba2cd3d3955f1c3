package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/connectors/generic"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/intake"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

func (p Process) publishCommand() *cobra.Command {
	var dir string
	var backfill, dryRun, asJSON bool
	c := &cobra.Command{
		Use:   "publish CONNECTION [FILE|-] [--config DIR] [--backfill] [--dry-run] [--json]",
		Short: "Put order-status events into Kafka by hand, as if the shop had sent them",
		Long: `Reads order-status JSON (one object, an array, or one object a line) from a file or from standard input and keeps it as
the connection's webhooks are kept; no signature is needed. The connection must be one of the connector generic: its fields,
statuses and ordering hold here, too.

All records are checked first: where one is wrong, nothing is sent. Publishing the same again doubles nothing.`,
		Args: usage(cobra.RangeArgs(1, 2)),
		RunE: func(c *cobra.Command, args []string) error {
			file := "-"
			if len(args) == 2 {
				file = args[1]
			}
			b, err := p.bringer(dir, args[0])
			if err != nil {
				return err
			}
			b.json = asJSON
			if b.o.Origin = schemas.OriginWebhook; backfill {
				b.o.Origin = schemas.OriginBackfill
			}
			return b.publish(c.Context(), file, dryRun)
		},
	}
	c.Flags().StringVar(&dir, "config", "config", "folder of the configuration")
	c.Flags().BoolVar(&backfill, "backfill", false, "mark the events as history: no message is sent for them and no list changed")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only check the records")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object on a line for each event")
	return c
}

// bringer brings records to one connection.
type bringer struct {
	Process
	cfg        *config.Config
	connection config.Connection
	o          intake.Options
	json       bool // events are told to programs
}

// bringer finds a connection that takes records by hand.
func (p Process) bringer(dir, name string) (*bringer, error) {
	cfg, err := p.loadConfig(dir, p.Getenv)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range cfg.Connections {
		if c.Connector.Type != generic.Type {
			if c.Name == name {
				return nil, fmt.Errorf("connection %s is %s; records by hand go to a connection of the connector %s", name, c.Connector.Title, generic.Type)
			}
			continue
		}
		if c.Name == name {
			return &bringer{Process: p, cfg: cfg, connection: c, o: intake.Options{Connector: c.Connector, Connection: c.Name, Environment: c.Environment, Now: p.Now}}, nil
		}
		names = append(names, c.Name)
	}
	if len(names) == 0 {
		return nil, &codedError{ExitUsage, fmt.Errorf("%s has no connection of the connector %s; write connections/%s.yaml", dir, generic.Type, name)}
	}
	return nil, &codedError{ExitUsage, fmt.Errorf("no connection %q; of the connector %s there are %s", name, generic.Type, strings.Join(names, ", "))}
}

// keeping opens what appends, and has b use it.
func (b *bringer) keeping(ctx context.Context) (closer func(), err error) {
	s, err := app.OpenSources(ctx, b.cfg, b.Now, b.logger(config.Telemetry{LogLevel: "error", LogFormat: "text"}))
	if err != nil {
		return nil, err
	}
	b.o.Keep = s.Keeper.Keep
	return s.Close, nil
}

// bodyHeaders says of a body that it is a CloudEvent: a file has no content type.
func bodyHeaders(body []byte) map[string]string {
	if !bytes.Contains(body, []byte(`"specversion"`)) {
		return nil
	}
	v, err := strictjson.Parse(body)
	if o, ok := v.(map[string]any); err != nil || !ok || !strictjson.Object(o).Has("specversion") {
		return nil
	}
	return map[string]string{"Content-Type": "application/cloudevents+json"}
}

func (b *bringer) publish(ctx context.Context, file string, dryRun bool) error {
	in := b.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	items, err := intake.ReadJSON(in, bodyHeaders)
	if err != nil {
		return err
	}
	again := *items
	total := items.Len()
	checked, err := intake.Run(ctx, items, b.o, func(r intake.Result) error {
		if r.Err != nil {
			_, err := fmt.Fprintf(b.Stderr, "line %d: %v\n", r.Line, r.Err)
			return err
		}
		if dryRun {
			return b.printed(r, "good")
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case checked.Rejected > 0:
		return fmt.Errorf("nothing was sent: %d of %d records are wrong", checked.Rejected, total)
	case dryRun || total == 0:
		fmt.Fprintf(b.Stderr, "%d records are good; nothing was sent\n", total)
		return nil
	}
	closer, err := b.keeping(ctx)
	if err != nil {
		return fmt.Errorf("nothing was sent: %w", err)
	}
	defer closer()
	return b.send(ctx, &again, total)
}

// send keeps records that were checked, and says of each what became of it.
func (b *bringer) send(ctx context.Context, items *intake.Items, total int) error {
	done, err := intake.Run(ctx, items, b.o, b.told)
	if err == nil && done.Rejected == 0 {
		return nil
	}
	text := fmt.Sprintf("%d of %d records are kept", done.Kept, total)
	if done.Unsure > 0 {
		text += fmt.Sprintf(", %d may be", done.Unsure)
	}
	if done.Rejected > 0 {
		text += fmt.Sprintf(", %d were set aside and have no effect", done.Rejected)
	}
	if err != nil {
		return fmt.Errorf("%s; publish the same again, what is kept is recognised: %w", text, err)
	}
	return errors.New(text)
}

// told prints what became of one record.
func (b *bringer) told(r intake.Result) error {
	switch r.Outcome {
	case intake.Kept:
		return b.printed(r, "kept")
	case intake.Unsure:
		_, err := fmt.Fprintf(b.Stderr, "line %d: no answer in time, it may be kept: %v\n", r.Line, r.Err)
		return err
	case intake.Unsent:
		_, err := fmt.Fprintf(b.Stderr, "line %d: not sent\n", r.Line)
		return err
	}
	_, err := fmt.Fprintf(b.Stderr, "line %d: %v\n", r.Line, r.Err)
	return err
}

func (b *bringer) printed(r intake.Result, word string) error {
	for _, e := range r.Events {
		if b.json {
			told := publishedEvent{r.Line, e.Kind, e.RootID, e.EventID, e.Status, e.ProviderStatus, e.Deleted, word}
			if err := json.NewEncoder(b.Stdout).Encode(told); err != nil {
				return err
			}
			continue
		}
		if err := printEvent(b.Stdout, r.Line, &e, word); err != nil {
			return err
		}
	}
	return nil
}

// publishedEvent is a line of 'publish --json'.
type publishedEvent struct {
	Line           int                   `json:"line"`
	Kind           schemas.EventKind     `json:"kind"`
	Order          string                `json:"order"`
	Event          string                `json:"event"`
	Status         schemas.PaymentStatus `json:"status"`
	ProviderStatus string                `json:"provider_status"`
	Deleted        bool                  `json:"deleted,omitempty"`
	Outcome        string                `json:"outcome"` // kept, or with --dry-run good
}

func printEvent(w io.Writer, line int, e *schemas.OrderEvent, word string) error {
	status := string(e.Status)
	switch {
	case e.Deleted:
		status = "deleted"
	case e.Status == schemas.StatusUnknown:
		status = fmt.Sprintf("%s (%q has no meaning yet: see statuses)", e.Status, e.ProviderStatus)
	}
	_, err := fmt.Fprintf(w, "line %d: %s %s %s %s\n", line, strings.ToLower(string(e.Kind)), e.RootID, status, word)
	return err
}
