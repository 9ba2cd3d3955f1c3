package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/destinations"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/sinks"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// Exit codes of check besides ExitOK.
const (
	ExitFindings = 1 // the configuration is valid, and something in it does not do what it says
	ExitRefused  = 2 // it would not be run
)

// Bounds of what check asks the outside.
const (
	checkTimeout      = 30 * time.Second // for one destination
	seenTimeout       = 10 * time.Second // for ClickHouse
	seenStatusesMax   = 10_000
	checkFindingsMax  = 1_000
	namesSuggestedMax = 3
)

// checkFinding is one thing that is wrong in meaning.
type checkFinding struct {
	File     string `json:"file"`
	Line     int    `json:"line,omitempty"` // from 1
	Field    string `json:"field,omitempty"`
	Severity string `json:"severity"` // error or warning
	Rule     string `json:"rule"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
}

// checkResult is what check prints as JSON.
type checkResult struct {
	Version  string         `json:"version,omitempty"`
	Refused  []checkFinding `json:"refused,omitempty"` // why it would not be run
	Findings []checkFinding `json:"findings"`
	// NotChecked says what could not be looked at, and why.
	NotChecked []string `json:"not_checked"`
}

func (p Process) checkCommand() *cobra.Command {
	var dir string
	var offline, asJSON bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong with a configuration, in form and in meaning, before it runs",
		Long: `Checks a configuration folder: first that it is valid, as 'config check' does; then what it means. Steps that nothing
reaches, waits that nothing ends, tag rules that fight, loops between workflows; mapped fields that the CRM does not have or
whose type does not fit, lists and automations that it does not have, statuses that never came.

The CRMs and ClickHouse are asked where they can be reached, and nothing is written there; --offline asks nobody. What could
not be asked is said once and is no finding.

Exit codes: 0 nothing found, 1 findings, 2 the configuration is refused.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := p.loadConfig(dir, local.CheckEnv(dir, local.Environment(dir, p.Getenv)))
			if err != nil {
				return refused(c.OutOrStdout(), err, asJSON)
			}
			k := checker{p: p, cfg: cfg, offline: offline, limits: p.beside(func() (*config.Config, error) { return cfg, nil })}
			r := k.run(c.Context())
			if asJSON {
				if err := json.NewEncoder(c.OutOrStdout()).Encode(r); err != nil {
					return err
				}
			} else {
				printCheck(c.OutOrStdout(), dir, r)
			}
			if n := len(r.Findings); n > 0 {
				return &codedError{ExitFindings, fmt.Errorf("%s: %d findings", dir, n)}
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "config", "config", "folder of the configuration")
	c.Flags().BoolVar(&offline, "offline", false, "ask neither the CRMs nor ClickHouse")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return c
}

// refused gives a configuration that is not valid the exit code of check.
func refused(w io.Writer, err error, asJSON bool) error {
	var problems config.Problems
	if !errors.As(err, &problems) {
		return &codedError{ExitRefused, err}
	}
	if !asJSON {
		return &codedError{ExitRefused, errors.New("the configuration is refused:\n" + problems.Error())}
	}
	r := checkResult{Findings: []checkFinding{}, NotChecked: []string{}}
	for _, p := range problems {
		r.Refused = append(r.Refused, checkFinding{File: p.File, Line: p.Line, Field: p.Field, Severity: string(workflows.Error), Rule: "invalid", Message: p.Message, Hint: p.Hint})
	}
	if err := json.NewEncoder(w).Encode(r); err != nil {
		return err
	}
	return &codedError{ExitRefused, fmt.Errorf("the configuration is refused: %d problems", len(problems))}
}

func (f checkFinding) String() string {
	return f.Severity + ": " + config.Problem{File: f.File, Line: f.Line, Field: f.Field, Message: f.Message, Hint: f.Hint}.String()
}

func printCheck(w io.Writer, dir string, r checkResult) {
	for _, f := range r.Findings {
		fmt.Fprintln(w, f)
	}
	for _, n := range r.NotChecked {
		fmt.Fprintln(w, "not checked:", n)
	}
	if len(r.Findings) == 0 {
		fmt.Fprintf(w, "%s is good: version %s, nothing found\n", dir, r.Version)
	}
}

// checker looks at one valid configuration.
type checker struct {
	p       Process
	cfg     *config.Config
	offline bool
	limits  *app.Beside
	r       checkResult
	// fieldsOf are the fields of the destinations that were asked for them.
	fieldsOf map[string][]sinks.Entry
}

func (k *checker) run(ctx context.Context) checkResult {
	k.r = checkResult{Version: k.cfg.Version, Findings: []checkFinding{}, NotChecked: []string{}}
	set := k.programs()
	k.meaning(set, k.seenStatuses(ctx))
	k.destinations(ctx, k.mentions(set))
	slices.SortStableFunc(k.r.Findings, func(a, b checkFinding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return k.r
}

// spot is where something stands that is looked at.
type spot struct {
	doc   config.Document
	field string // dotted
}

func (k *checker) find(at spot, severity workflows.Severity, rule, message, hint string) {
	if len(k.r.Findings) >= checkFindingsMax {
		return
	}
	f := checkFinding{File: at.doc.File, Field: at.field, Severity: string(severity), Rule: rule, Message: message, Hint: hint}
	if at.doc.Line != nil {
		f.Line = at.doc.Line(at.field)
	}
	k.r.Findings = append(k.r.Findings, f)
}

func (k *checker) notChecked(format string, args ...any) {
	k.r.NotChecked = append(k.r.NotChecked, fmt.Sprintf(format, args...))
}

// seenStatuses are those that came so far; nil where that is not known.
func (k *checker) seenStatuses(ctx context.Context) []string {
	address := k.cfg.Settings.ClickHouse.Address
	if k.offline || address == "" || len(k.cfg.Documents[app.WorkflowsFolder]) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, seenTimeout)
	defer cancel()
	store, err := chsink.Open(ctx, chsink.Options{Client: app.ClickHouseOptions(k.cfg.Settings.ClickHouse), Now: k.p.Now, Log: zerolog.Nop()})
	if err == nil {
		defer func() { _ = store.Close() }()
		var res chsink.Result
		res, err = store.Query(ctx, "SELECT DISTINCT arrayJoin([to_status, provider_status]) AS status FROM transitions WHERE status != '' ORDER BY status", chsink.Limits{Rows: seenStatusesMax})
		if err == nil {
			list := []string{}
			for _, row := range res.Rows {
				list = append(list, cell(row[0]))
			}
			if len(list) == 0 || res.Truncated {
				return nil // nothing came yet, or too much to say what is missing
			}
			return list
		}
	}
	k.notChecked("which statuses came so far: %v", firstLine(unreachable(err)))
	return nil
}

func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return shorten(text, 300)
}

// destinations asks each destination for what is named there, and finds what is missing or does not fit.
func (k *checker) destinations(ctx context.Context, all []mention) {
	if k.offline {
		return
	}
	k.fieldsOf = map[string][]sinks.Entry{}
	for _, d := range k.cfg.Destinations {
		byKind := map[sinks.EntryKind][]mention{}
		var kinds []sinks.EntryKind
		for _, m := range all {
			if m.destination == d.Name {
				if byKind[m.kind] == nil {
					kinds = append(kinds, m.kind)
				}
				byKind[m.kind] = append(byKind[m.kind], m)
			}
		}
		if len(kinds) == 0 {
			continue
		}
		asked, cancel := context.WithTimeout(ctx, checkTimeout)
		k.destination(asked, d, kinds, byKind)
		cancel()
	}
}

// destination asks one; where it does not answer once, it is not asked again.
func (k *checker) destination(ctx context.Context, d config.Destination, kinds []sinks.EntryKind, named map[sinks.EntryKind][]mention) {
	w, err := k.limits.Open(ctx, d)
	if err != nil {
		k.fromKept(ctx, d, kinds, named, err)
		return
	}
	defer func() { _ = w.Close() }()
	c, ok := w.(sinks.Cataloguer)
	if !ok {
		return // nothing that could be named is listed there
	}
	for i, kind := range kinds {
		entries, o := c.Catalogue(ctx, kind)
		switch {
		case o.Kind == sinks.Delivered:
			k.compareAll(d, kind, named[kind], entries)
		case o.Kind == sinks.Rejected:
			k.notChecked("the %ss that are named at destination %s: %s; %s", kind, d.Name, firstLine(o.Err), o.Remedy)
		default:
			k.fromKept(ctx, d, kinds[i:], named, fmt.Errorf("it does not answer: %s", firstLine(o.Err)))
			return
		}
	}
}

// compareAll compares what is named of one kind with what the destination has.
func (k *checker) compareAll(d config.Destination, kind sinks.EntryKind, named []mention, entries []sinks.Entry) {
	if kind == sinks.EntryField {
		k.fieldsOf[d.Name] = entries
	}
	for _, m := range named {
		k.compare(d, m, entries)
	}
}

// fromKept compares with what a process that delivers kept of a destination that cannot be asked, and says how old that is.
func (k *checker) fromKept(ctx context.Context, d config.Destination, kinds []sinks.EntryKind, named map[sinks.EntryKind][]mention, why error) {
	client := app.RedisOf(k.cfg.Settings.Redis)
	defer client.Close()
	// The destination may have used up the time of both.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), seenTimeout)
	defer cancel()
	kept := &destinations.Catalogues{Redis: client, Now: k.p.Now}
	var oldest time.Time
	var unknown []string
	for _, kind := range kinds {
		s, ok, err := kept.Get(ctx, d, kind)
		if err != nil || !ok || s.Truncated {
			unknown = append(unknown, string(kind)+"s")
			continue
		}
		k.compareAll(d, kind, named[kind], s.Sinks())
		if oldest.IsZero() || s.At.Before(oldest) {
			oldest = s.At
		}
	}
	if oldest.IsZero() {
		k.notChecked("what is named at destination %s: %s", d.Name, firstLine(why))
		return
	}
	k.notChecked("destination %s as it is now: %s; what it had %s ago (%s) was used", d.Name, firstLine(why), age(k.p.Now().Sub(oldest)), instant(oldest))
	if len(unknown) > 0 {
		k.notChecked("the %s that are named at destination %s: nothing is kept of them", strings.Join(unknown, " and "), d.Name)
	}
}
