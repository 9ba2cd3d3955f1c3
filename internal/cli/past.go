package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/embedded"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/recovery"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/jobs"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// pastAsked says which dead letters, commands or deliveries a command is about, and how it answers.
type pastAsked struct {
	target
	parts    map[string]*string
	state    string
	rows     int
	json     bool
	personal bool
}

// partHelp says what each part of a filter means, in the order of the help.
var partHelp = []struct{ name, help string }{
	{jobs.FilterIssue, "of this issue, a key of 'tillstream issues'"},
	{jobs.FilterCause, "of this cause: rejected, gave-up, unparseable, stage-failed, no-contact, undecodable, park-overflow, unwritable, quarantined"},
	{jobs.FilterStage, "made by this stage: orders, automation, deliver, clickhouse"},
	{jobs.FilterDestination, "for this destination"},
	{jobs.FilterConnection, "caused by events of this connection"},
	{jobs.FilterEnvironment, "live or sandbox"},
	{jobs.FilterContact, "about this contact: an e-mail address, or a key such as live/ann@example.com"},
	{jobs.FilterOrder, "about this order or subscription"},
	{jobs.FilterItem, "this dead letter, or this command"},
	{jobs.FilterSince, "from then on: 24h or 3d ago, 2026-11-01, or 2026-11-01T12:00:00Z"},
	{jobs.FilterUntil, "before then, written the same way"},
	{jobs.FilterEffect, "about this type of effect, such as send-message"},
	{jobs.FilterText, "with this text in the reason or error"},
}

// flags adds those of the target, the answer, and the parts that are not left out.
func (a *pastAsked) flags(c *cobra.Command, without ...string) {
	a.target.flags(c)
	a.parts = map[string]*string{}
	for _, part := range partHelp {
		left := false
		for _, name := range without {
			left = left || name == part.name
		}
		if !left {
			a.parts[part.name] = c.Flags().String(part.name, "", part.help)
		}
	}
	c.Flags().BoolVar(&a.json, "json", false, "JSON")
	c.Flags().BoolVar(&a.personal, "show-personal-data", false, "addresses unmasked")
}

// filter is the map form of what was asked.
func (a *pastAsked) filter(now time.Time) (map[string]string, error) {
	m := map[string]string{}
	for name, value := range a.parts {
		if *value == "" {
			continue
		}
		m[name] = *value
		if name == jobs.FilterSince || name == jobs.FilterUntil {
			at, _, err := parseWhen(*value, now)
			if err != nil {
				return nil, &codedError{ExitUsage, fmt.Errorf("--%s %q: %w", name, *value, err)}
			}
			m[name] = at.UTC().Format(time.RFC3339Nano)
		}
	}
	if _, err := jobs.ParseFilter(m); err != nil {
		return nil, &codedError{ExitUsage, errors.New(strings.Replace(err.Error(), "filter: ", "--", 1))}
	}
	return m, nil
}

func (a *pastAsked) query(now time.Time) (api.PastQuery, error) {
	m, err := a.filter(now)
	return api.PastQuery{Filter: m, State: a.state, Limit: a.rows, PersonalData: a.personal}, err
}

// withRecovery opens ClickHouse and has f answer.
func (p Process) withRecovery(ctx context.Context, t target, f func(*recovery.Desk) error) error {
	store, err := p.open(ctx, t)
	if err != nil {
		return err
	}
	defer store.Close()
	return told(f(&recovery.Desk{Store: store, Now: p.Now}))
}

// requests reaches Kafka where ClickHouse is found.
func (p Process) requests(ctx context.Context, t target) (*app.Requests, error) {
	log := p.logger(config.Telemetry{LogLevel: "warn", LogFormat: "text"})
	switch {
	case t.config != "":
		cfg, err := p.loadConfig(t.config, p.Getenv)
		if err != nil {
			return nil, err
		}
		return app.OpenRequests(ctx, cfg.Settings.Kafka, cfg.Settings.Registry, log)
	case t.address != "":
		return nil, &codedError{ExitUsage, errors.New("--clickhouse alone does not say where Kafka is: say --config, or --data of a running dev")}
	}
	k, err := p.brokers(auditAsked{target: t})
	if err != nil {
		return nil, err
	}
	found, err := embedded.Discover(t.data)
	if err != nil {
		return nil, err
	}
	if found.Registry == "" {
		return nil, fmt.Errorf("what runs in %s has no schema registry of its own: say --config", t.data)
	}
	return app.OpenRequests(ctx, k, config.Registry{URL: found.Registry}, log)
}

// wanted is how a command asks for a job.
type wanted struct {
	pastAsked
	all, yes, dry, wait, uncertain, effects bool
	perMinute                               int64
	why, by, id                             string
}

func (a *wanted) flags(c *cobra.Command, without ...string) {
	a.pastAsked.flags(c, without...)
	f := c.Flags()
	f.BoolVar(&a.all, "all", false, "all there are, where no other flag chooses")
	f.BoolVar(&a.yes, "yes", false, "do not ask")
	f.BoolVar(&a.dry, "dry-run", false, "only count, and show some")
	f.BoolVar(&a.wait, "wait", false, "wait for the end of the job, and show how far it is")
	f.Int64Var(&a.perMinute, "per-minute", 0, "items a minute at the most; 0: no limit beside those of the accounts")
	f.StringVar(&a.why, "why", "", "why; it is kept with the job")
	f.StringVar(&a.by, "by", "", "who asks (default: the name of the user)")
	f.StringVar(&a.id, "job-id", "", "id of the job: asked for twice, it is done once (default: drawn)")
}

// request is what is asked for.
func (p Process) request(a wanted, kind schemas.JobKind) (api.AskRequest, error) {
	m, err := a.filter(p.Now())
	if err != nil {
		return api.AskRequest{}, err
	}
	for name, set := range map[string]bool{jobs.FilterUncertain: a.uncertain, jobs.FilterEffects: a.effects} {
		if set {
			m[name] = "true"
		}
	}
	if _, err := jobs.ParseFilter(m); err != nil {
		return api.AskRequest{}, &codedError{ExitUsage, errors.New(strings.Replace(err.Error(), "filter: ", "--", 1))}
	}
	if a.by == "" {
		a.by = p.user()
	}
	if a.id == "" {
		var b [6]byte
		_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
		a.id = strings.ToLower(string(kind)) + "-" + hex.EncodeToString(b[:])
	}
	return api.AskRequest{JobID: a.id, Kind: kind, Filter: m, All: a.all, PerMinute: a.perMinute, Why: a.why, By: a.by}, nil
}

// verbs say what a job of a kind does, as in "12 dead letters will be ...".
var verbs = map[schemas.JobKind]string{
	schemas.JobRetry: "tried again", schemas.JobDismiss: "dismissed", schemas.JobSettle: "noted as having happened", schemas.JobReplay: "sent again",
}

// ask says what a job would be about, asks whether it is meant, and starts it.
func (p Process) ask(c *cobra.Command, a wanted, kind schemas.JobKind) error {
	r, err := p.request(a, kind)
	if err != nil {
		return err
	}
	return p.withRecovery(c.Context(), a.target, func(d *recovery.Desk) error {
		seen, err := d.Preview(c.Context(), r, a.personal)
		if err != nil {
			return err
		}
		if seen.JobID = r.JobID; a.dry {
			seen.JobID = ""
		}
		if !a.json || a.dry {
			if err := p.showPreview(c.OutOrStdout(), seen, a.json); err != nil || a.dry {
				return err
			}
		}
		if seen.Count == 0 {
			if a.json {
				seen.JobID = ""
				return json.NewEncoder(c.OutOrStdout()).Encode(seen)
			}
			return nil
		}
		if err := p.agreedTo(c, fmt.Sprintf("Have %d %s?", seen.Count, verbs[kind]), a.yes); err != nil {
			return err
		}
		requests, err := p.requests(c.Context(), a.target)
		if err != nil {
			return fmt.Errorf("nothing is changed: %w", err)
		}
		defer requests.Close()
		d.Append = requests.Append
		if err := d.Start(c.Context(), r); err != nil {
			return err
		}
		return p.asked(c, d, a, seen)
	})
}

// asked tells of a job that was started, and waits for it where that is wanted.
func (p Process) asked(c *cobra.Command, d *recovery.Desk, a wanted, seen api.JobPreview) error {
	out := c.OutOrStdout()
	if !a.wait {
		if a.json {
			return json.NewEncoder(out).Encode(seen)
		}
		fmt.Fprintf(out, "Job %s is on its way; 'tillstream jobs show %s' tells how far it is.\n", seen.JobID, seen.JobID)
		return nil
	}
	j, err := p.follow(c, d, seen.JobID)
	if err != nil {
		return err
	}
	if a.json {
		if err := json.NewEncoder(out).Encode(j); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "Job %s: %s; %d of %d done, %d needed nothing, %d failed.\n", j.ID, strings.ToLower(j.State), j.Done, max(j.Count, 0), j.Skipped, j.Failed)
	}
	switch {
	case j.State != string(schemas.JobDone):
		return fmt.Errorf("the job %s ended as %s: %s", j.ID, strings.ToLower(j.State), outbound.Redact(j.Detail))
	case j.Failed > 0:
		return fmt.Errorf("%d items of job %s failed; 'tillstream jobs show %s --result failed' says why", j.Failed, j.ID, j.ID)
	}
	return nil
}

func (p Process) showPreview(out io.Writer, seen api.JobPreview, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(seen)
	}
	what := map[schemas.JobKind]string{schemas.JobReplay: "contacts and effects"}[seen.Kind]
	if what == "" {
		what = "dead letters"
		if seen.ByCause == nil {
			what = "uncertain effects"
		}
	}
	if seen.Count == 0 {
		list := "issues"
		if what != "dead letters" {
			list = "deliveries"
		}
		fmt.Fprintf(out, "There is nothing to do: no %s match (%s)", what, harmless(about(seen.Filter)))
		if seen.Closed > 0 {
			fmt.Fprintf(out, " but %d that were retried or dismissed before", seen.Closed)
		}
		fmt.Fprintf(out, ". 'tillstream %s' lists what there is, seconds after it happened.\n", list)
		return nil
	}
	fmt.Fprintf(out, "%d %s are meant (%s); they will be %s.\n", seen.Count, what, harmless(about(seen.Filter)), verbs[seen.Kind])
	for _, cause := range jobs.Causes {
		if n := seen.ByCause[cause]; n > 0 {
			fmt.Fprintf(out, "  %7d %s\n", n, cause)
		}
	}
	if seen.Kind == schemas.JobReplay {
		fmt.Fprintf(out, "  %7d states of contacts, once for each destination\n  %7d effects\n", seen.Contacts, seen.Effects)
	}
	if seen.Closed > 0 {
		fmt.Fprintf(out, "  %7d more were retried or dismissed before, and are left alone\n", seen.Closed)
	}
	for i, s := range seen.Sample {
		if i == 0 {
			fmt.Fprintln(out, "Some of them:")
		}
		fmt.Fprintf(out, "  %s\n", harmless(s))
	}
	return nil
}

// jobPause is how often a job is looked at.
const jobPause = 300 * time.Millisecond

// follow waits for the end of a job. On a terminal a bar shows how far it is.
func (p Process) follow(c *cobra.Command, d *recovery.Desk, id string) (chsink.Job, error) {
	bar := io.Discard
	if f, ok := p.Stderr.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			bar = f
		}
	}
	tick := time.NewTicker(jobPause)
	defer tick.Stop()
	defer fmt.Fprint(bar, "\r\x1b[K")
	for {
		j, ok, err := d.State(c.Context(), id)
		switch {
		case err != nil:
			return j, err
		case ok && j.Ended():
			return j, nil
		case ok:
			fmt.Fprint(bar, "\r\x1b[K", barOf(j))
		}
		select {
		case <-tick.C:
		case <-c.Context().Done():
			return j, fmt.Errorf("no longer waiting; the job goes on: 'tillstream jobs show %s'", id)
		}
	}
}

// barWidth is that of the bar's inside, in characters.
const barWidth = 30

// barOf draws how far a job is.
func barOf(j chsink.Job) string {
	if j.Count < 0 {
		return "counting"
	}
	did := j.Done + j.Skipped + j.Failed
	full := barWidth
	if j.Count > 0 {
		full = int(min(barWidth, barWidth*did/j.Count))
	}
	text := fmt.Sprintf("[%s%s] %d of %d", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), did, j.Count)
	if j.Failed > 0 {
		text += fmt.Sprintf(", %d failed", j.Failed)
	}
	if j.Detail != "" {
		text += ": " + harmless(outbound.Redact(j.Detail))
	}
	return text
}
