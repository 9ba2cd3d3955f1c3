package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/internal/manage"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/schemas"
)

// previewFlags say what to look at.
type previewFlags struct {
	dir, event                string
	sample, offline, personal bool
	asJSON                    bool
}

func (p Process) previewCommand() *cobra.Command {
	var f previewFlags
	c := &cobra.Command{
		Use:   "preview MAPPING",
		Short: "Show what a mapping would make of a stored event, or of a sample, and send nothing",
		Long: `Shows the value of each field with what is wrong about it, the tags and effects, and the contact before and after, for
one event: a stored one by its id (it needs ClickHouse and Kafka), or one made of the samples of the connector's catalogue.
The contact before is what was last asked of the destination; what people changed there is not seen.

The destination is asked for its fields where it can be reached; nothing is written. Personal data is masked unless
--show-personal-data is said.`,
		Example: "  tillstream preview orders --sample\n  tillstream preview orders --event WH-2WR32451HC0233532-67976317FL4543714",
		Args:    usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if (f.event == "") == !f.sample {
				return &codedError{ExitUsage, errors.New("say either --event ID or --sample")}
			}
			r, err := p.preview(c.Context(), f, strings.TrimSuffix(args[0], ".yaml"))
			if err != nil {
				return err
			}
			if !f.personal {
				r.Mask()
			}
			if f.asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(r)
			}
			return printPreview(c.OutOrStdout(), r)
		},
	}
	s := c.Flags()
	s.StringVar(&f.dir, "config", "config", "folder of the configuration")
	s.StringVar(&f.event, "event", "", "id of a stored event")
	s.BoolVar(&f.sample, "sample", false, "an event made of the connector's samples")
	s.BoolVar(&f.offline, "offline", false, "do not ask the destination for its fields")
	s.BoolVar(&f.personal, "show-personal-data", false, "personal data unmasked")
	s.BoolVar(&f.asJSON, "json", false, "one JSON object")
	return c
}

func (p Process) preview(ctx context.Context, f previewFlags, name string) (*manage.PreviewResult, error) {
	cfg, err := p.loadConfig(f.dir, local.CheckEnv(f.dir, local.Environment(f.dir, p.Getenv)))
	if err != nil {
		return nil, err
	}
	r, err := manage.Preview(ctx, manage.PreviewOptions{
		Config: cfg, Mapping: name, Event: f.event, Offline: f.offline, Now: p.Now,
		Limits: p.beside(func() (*config.Config, error) { return cfg, nil }),
	})
	if errors.Is(err, manage.ErrNoMapping) {
		return nil, &codedError{ExitUsage, fmt.Errorf("%w; %s is where they were looked for", err, f.dir)}
	}
	return r, unreachable(err)
}

func printPreview(w io.Writer, r *manage.PreviewResult) error {
	what := "event " + r.Event.ID
	if r.Event.Sample {
		what = "a sample"
	}
	fmt.Fprintf(w, "mapping %s (configuration %s) on %s: %s of %s, status %s\nNothing is sent.\n", r.Mapping, r.ConfigVersion, what, r.Event.Type, r.Event.Source, orNone(r.Event.Status))
	if r.Why != "" {
		fmt.Fprintf(w, "\nNothing would be asked of %s: %s\n", r.Destination, r.Why)
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "FIELD\tFROM\tAS\tVALUE\tTYPE THERE\tISSUE")
	for _, f := range r.Fields {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", f.To, f.From, f.As, shorten(f.Value, 60), f.Type, f.Issue)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if r.After != nil {
		fmt.Fprintf(w, "\ncontact at %s:\n", r.Destination)
		if r.Before == nil {
			fmt.Fprintln(w, "  nothing is known of it before")
		}
		for _, line := range difference(r.Before, r.After) {
			fmt.Fprintln(w, " ", line)
		}
	}
	for _, e := range r.Effects {
		fmt.Fprintf(w, "\neffect %s %s %s\n", e.Type, e.Name, e.Data)
	}
	for _, n := range r.NotChecked {
		fmt.Fprintln(w, "not checked:", n)
	}
	return nil
}

// difference is a contact line by line: "  " stays, "+ " comes, "- " goes.
func difference(before, after *schemas.Contact) []string {
	old, now := contactLines(before), contactLines(after)
	var lines []string
	for _, l := range now {
		mark := "+ "
		if slices.Contains(old, l) {
			mark = "  "
		}
		lines = append(lines, mark+l)
	}
	for _, l := range old {
		if !slices.Contains(now, l) {
			lines = append(lines, "- "+l)
		}
	}
	return lines
}

func contactLines(c *schemas.Contact) (lines []string) {
	if c == nil {
		return nil
	}
	for _, part := range [][2]string{{"email", c.Email}, {"first name", c.FirstName}, {"last name", c.LastName}, {"phone", c.Phone}} {
		if part[1] != "" {
			lines = append(lines, part[0]+": "+part[1])
		}
	}
	names := make([]string, 0, len(c.Fields))
	for n := range c.Fields {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		lines = append(lines, "field "+n+": "+c.Fields[n])
	}
	for _, t := range c.Tags {
		lines = append(lines, "tag "+t)
	}
	for _, t := range c.NoTags {
		lines = append(lines, "no tag "+t)
	}
	return lines
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
