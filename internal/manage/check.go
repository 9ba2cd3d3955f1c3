package manage

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/destinations"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/sinks"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// Bounds of what a check asks the outside.
const (
	checkTimeout      = 30 * time.Second // for one destination
	seenTimeout       = 10 * time.Second // for ClickHouse
	seenStatusesMax   = 10_000
	checkFindingsMax  = 1_000
	namesSuggestedMax = 3
)

// CheckFinding is one thing that is wrong in meaning.
type CheckFinding struct {
	File     string `json:"file"`
	Line     int    `json:"line,omitempty"` // from 1
	Field    string `json:"field,omitempty"`
	Severity string `json:"severity"` // error or warning
	Rule     string `json:"rule"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
}

// CheckResult is what a check found.
type CheckResult struct {
	Version  string         `json:"version,omitempty"`
	Refused  []CheckFinding `json:"refused,omitempty"` // why it would not be run
	Findings []CheckFinding `json:"findings"`
	// NotChecked says what could not be looked at, and why.
	NotChecked []string `json:"not_checked"`
}

// String is "severity: file:line: field: message; hint".
func (f CheckFinding) String() string {
	return f.Severity + ": " + config.Problem{File: f.File, Line: f.Line, Field: f.Field, Message: f.Message, Hint: f.Hint}.String()
}

// Check looks at one valid configuration: what it means, and whether the CRMs have what it names. limits hold it to the
// accounts' limits; offline asks nobody.
func Check(ctx context.Context, cfg *config.Config, limits *app.Beside, now func() time.Time, offline bool) CheckResult {
	k := checker{now: now, cfg: cfg, offline: offline, limits: limits}
	return k.run(ctx)
}

// checker looks at one valid configuration.
type checker struct {
	now     func() time.Time
	cfg     *config.Config
	offline bool
	limits  *app.Beside
	r       CheckResult
	// fieldsOf are the fields of the destinations that were asked for them.
	fieldsOf map[string][]sinks.Entry
}

func (k *checker) run(ctx context.Context) CheckResult {
	k.r = CheckResult{Version: k.cfg.Version, Findings: []CheckFinding{}, NotChecked: []string{}}
	set := k.programs()
	k.meaning(set, k.seenStatuses(ctx))
	k.destinations(ctx, k.mentions(set))
	slices.SortStableFunc(k.r.Findings, func(a, b CheckFinding) int {
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
	f := CheckFinding{File: at.doc.File, Field: at.field, Severity: string(severity), Rule: rule, Message: message, Hint: hint}
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
	store, err := chsink.Open(ctx, chsink.Options{Client: app.ClickHouseOptions(k.cfg.Settings.ClickHouse), Now: k.now, Log: zerolog.Nop()})
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
	k.notChecked("which statuses came so far: %v", firstLine(err))
	return nil
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
	kept := &destinations.Catalogues{Redis: client, Now: k.now}
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
	k.notChecked("destination %s as it is now: %s; what it had %v ago (%s) was used", d.Name, firstLine(why), k.now().Sub(oldest).Round(time.Second), instant(oldest))
	if len(unknown) > 0 {
		k.notChecked("the %s that are named at destination %s: nothing is kept of them", strings.Join(unknown, " and "), d.Name)
	}
}
