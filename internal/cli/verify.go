package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/verify"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// verifyAsked is one 'tillstream verify'.
type verifyAsked struct {
	dir, contact, since    string
	sample, perMinute      int
	repair, json, personal bool
}

func (p Process) verifyCommand() *cobra.Command {
	var a verifyAsked
	c := &cobra.Command{
		Use:   "verify DESTINATION [--contact EMAIL] [--sample N] [--since T] [--repair]",
		Short: "Read contacts back from a CRM, compare them with what they are meant to be, and list what differs",
		Long: `Compares the newest desired state of each contact, as it lies on Kafka, with what the CRM has: fields, tags, names. What is not
meant at all is no difference, and a contact whose newest state is still on its way is left out. It asks through the account's
rate limit, which it shares with delivery, and writes nothing to the CRM.

With --repair the desired state of a contact that differs is sent again, as any other change is. One whom the CRM does not know is
told and left alone, for somebody may have erased the contact there; 'tillstream replay' makes it again.

Values are hidden unless --show-personal-data is said. Exit code 0: all are as meant. 4: some differ or are absent. 1: not all could
be compared.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return p.verify(c, a, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&a.dir, "config", "config", "folder of the configuration")
	f.StringVar(&a.contact, "contact", "", "only this contact: an e-mail address, or a key such as live/ann@example.com")
	f.IntVar(&a.sample, "sample", 0, "only so many contacts, drawn at random (default: all)")
	f.StringVar(&a.since, "since", "", "only contacts whose newest state was made since: 24h or 3d ago, 2026-11-01, or 2026-11-01T12:00:00Z")
	f.IntVar(&a.perMinute, "per-minute", 0, "contacts a minute at most (default: what the account's limit leaves)")
	f.BoolVar(&a.repair, "repair", false, "have the desired state of contacts that differ sent again")
	f.BoolVar(&a.json, "json", false, "one JSON object a line: each contact that is not as meant, then the counts")
	f.BoolVar(&a.personal, "show-personal-data", false, "addresses and values in full")
	return c
}

// comparison is what a verify needs of the outside.
type comparison struct {
	sources *app.Sources
	writer  sinks.Writer
	end     []func()
}

func (c *comparison) close() {
	for i := len(c.end) - 1; i >= 0; i-- {
		c.end[i]()
	}
}

func (p Process) comparison(ctx context.Context, cfg *config.Config, d config.Destination) (_ *comparison, _ sinks.Verifier, err error) {
	c := &comparison{}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	open, end := app.DestinationOpener(cfg, p.Now)
	c.end = append(c.end, end)
	if c.writer, err = open(ctx, d); err != nil {
		return nil, nil, err
	}
	c.end = append(c.end, func() { _ = c.writer.Close() })
	v, ok := c.writer.(sinks.Verifier)
	if !ok {
		return nil, nil, &codedError{ExitUsage, fmt.Errorf("contacts cannot be read back from %s", d.Sink.Title)}
	}
	if c.sources, err = app.OpenSources(ctx, cfg, p.Now, p.logger(config.Telemetry{LogLevel: "error", LogFormat: "text"})); err != nil {
		return nil, nil, err
	}
	c.end = append(c.end, c.sources.Close)
	return c, v, nil
}

func (p Process) verify(c *cobra.Command, a verifyAsked, name string) error {
	if a.sample < 0 || a.perMinute < 0 {
		return &codedError{ExitUsage, errors.New("--sample and --per-minute are numbers from 0")}
	}
	asked := verify.Asked{Destination: name, Contact: strings.TrimSpace(a.contact), Sample: a.sample, Seed: rand.Text()}
	if a.since != "" {
		at, _, err := parseWhen(a.since, p.Now())
		if err != nil {
			return &codedError{ExitUsage, fmt.Errorf("--since %q: %w", a.since, err)}
		}
		asked.Since = at
	}
	cfg, d, err := p.destination(a.dir, name)
	if err != nil {
		return err
	}
	ctx := c.Context()
	outside, reader, err := p.comparison(ctx, cfg, d)
	if err != nil {
		return err
	}
	defer outside.close()
	book, err := verify.Open(ctx, outside.sources.Log, outside.sources.Codec.Decode, asked)
	if err != nil {
		return err
	}
	o := verify.RunOptions{Verifier: reader, PerMinute: a.perMinute, Why: "other than meant at " + name + ", found by verify"}
	if a.repair {
		touches, err := app.OpenTouches(cfg.Settings.Kafka, outside.sources.Codec)
		if err != nil {
			return err
		}
		defer touches.Close()
		o.Repair = touches.Append
	}
	total, done, told := book.Selected(), 0, time.Time{}
	o.Told = func(r verify.Result) error {
		done++
		if now := p.Now(); isTerminal(c.ErrOrStderr()) && now.Sub(told) > time.Second {
			told = now
			fmt.Fprintf(c.ErrOrStderr(), "\r%d of %d ", done, total)
		}
		if r.Result == schemas.ItemMatches && r.Standing == "" {
			return nil
		}
		if !a.personal {
			r = r.Masked(outbound.Redact)
		}
		if a.json {
			return json.NewEncoder(c.OutOrStdout()).Encode(r)
		}
		printComparison(c.OutOrStdout(), r)
		return nil
	}
	tally, err := verify.Run(ctx, book, o)
	if a.json {
		err = errors.Join(err, json.NewEncoder(c.OutOrStdout()).Encode(tally))
	} else {
		printTally(c.OutOrStdout(), tally, total)
	}
	return verified(a, name, tally, total, err)
}

// verified is the command's end: its exit code says whether all is as meant.
func verified(a verifyAsked, name string, tally verify.Tally, total int, err error) error {
	switch {
	case err != nil:
		return err
	case tally.Drifted+tally.Absent > 0:
		return &codedError{ExitDisagree, fmt.Errorf("%s: %d contacts differ and %d are absent%s", name, tally.Drifted, tally.Absent, verifyNext(a, tally))}
	case total == 0 && tally.Unfinished == 0 && a.contact != "":
		return fmt.Errorf("%s: nothing was ever meant for this contact there; look with 'tillstream trace' at what came of the person's events", name)
	case tally.Failed > 0:
		return fmt.Errorf("%s: %d contacts could not be read back", name, tally.Failed)
	}
	return nil
}

func printComparison(w io.Writer, r verify.Result) {
	fmt.Fprintf(w, "%s: %s\n", harmless(r.ContactKey), harmless(r.Detail))
	for _, d := range r.Differences {
		fmt.Fprintf(w, "  %s: meant %s, is %s\n", harmless(d.Part), valueWord(d.Want), valueWord(d.Got))
	}
}

func valueWord(v string) string {
	if v == "" {
		return "(nothing)"
	}
	return harmless(v)
}

// verifyNext is what a person does about contacts that are not as meant.
func verifyNext(a verifyAsked, t verify.Tally) (next string) {
	if t.Drifted > 0 && !a.repair {
		next += "; --repair has those that differ sent again"
	}
	if t.Absent > 0 {
		next += "; 'tillstream replay --contact ADDRESS' makes one who is absent again"
	}
	if !a.personal {
		next += "; --show-personal-data shows who"
	}
	return next
}

func printTally(w io.Writer, t verify.Tally, total int) {
	fmt.Fprintf(w, "%d of %d contacts compared: %d as meant, %d differ, %d absent", t.Compared, total, t.Matches, t.Drifted, t.Absent)
	for _, more := range []struct {
		n    int
		text string
	}{
		{t.Unsubscribed, "of them unsubscribed or bounced"},
		{t.Failed, "could not be read"},
		{t.Changed, "got a newer state meanwhile"},
		{t.Unfinished, "left out, for their newest state is on its way"},
		{t.Mended, "sent again"},
	} {
		if more.n > 0 {
			fmt.Fprintf(w, ", %d %s", more.n, more.text)
		}
	}
	fmt.Fprintln(w)
}
