package connections

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/poll"
)

// Alarm is one thing that is wrong with a connection and wants somebody.
type Alarm struct {
	Kind   string    `json:"kind"`
	Since  time.Time `json:"since"` // when this process saw it first
	What   string    `json:"what"`
	Remedy string    `json:"remedy"`
}

// The kinds of alarms, as the label of the metric.
const (
	AlarmSilence     = "silence"     // nothing comes although much is usual
	AlarmCredentials = "credentials" // the account cannot be used as it is configured
	AlarmCertificate = "certificate" // a certificate or another date after which it stops working
	AlarmWebhook     = "webhook"     // not registered, or the provider had switched it off
	AlarmGap         = "gap"         // events may be missing
	AlarmBudget      = "budget"      // the provider refuses requests for their number
)

// AlarmKinds are all kinds, sorted.
func AlarmKinds() []string { return slices.Clone(alarmKinds) }

var alarmKinds = []string{AlarmBudget, AlarmCertificate, AlarmCredentials, AlarmGap, AlarmSilence, AlarmWebhook}

const (
	// gapAfter is how old the time up to which the log is complete may be. The slowest list that a provider offers shows
	// a record within hours.
	gapAfter = 6 * time.Hour
	// mendedFor is how long it is told that a webhook had to be mended, and a provider's refusal for the number of requests.
	mendedFor  = time.Hour
	refusedFor = 15 * time.Minute
)

// alarmsOf says what is wrong. c.mu is held.
func (c *connection) alarmsOf(now time.Time, p *poll.Status) (out []Alarm) {
	add := func(kind, what, remedy string) {
		if slices.ContainsFunc(out, func(a Alarm) bool { return a.Kind == kind }) {
			return // one alarm a kind: the first is the cause
		}
		out = append(out, Alarm{Kind: kind, What: outbound.Redact(what), Remedy: remedy})
	}
	if c.opening != nil {
		add(AlarmCredentials, "it cannot be opened: "+c.opening.Error(), "correct "+c.cfg.File+"; it is tried again by itself")
	}
	for _, f := range slices.Concat(c.findings, c.watched) {
		if f.Level == connectors.Bad || f.Level == connectors.Warn && worsens(f) {
			add(kindOf(f), f.Message, or(f.Hint, "run tillstream connections check "+c.cfg.Name))
		}
	}
	switch r := c.registered; {
	case r.err != nil:
		what := "its webhook is not registered: " + r.err.Error()
		if r.Limit > 0 && r.Used >= r.Limit {
			what += fmt.Sprintf(" (%d of %d addresses are in use)", r.Used, r.Limit)
		}
		add(AlarmWebhook, what, "it is tried again by itself; tillstream connections check "+c.cfg.Name+" says more")
	case r.mended != "" && now.Sub(r.mendedAt) < mendedFor:
		add(AlarmWebhook, "its webhook was not as it should be, and was mended: "+r.mended,
			"see why (answers of this receiver, somebody at the provider's dashboard); tillstream reconcile finds what was not delivered meanwhile")
	}
	if now.Before(c.budget.HoldUntil) || !c.refusedAt.IsZero() && now.Sub(c.refusedAt) < refusedFor {
		what := fmt.Sprintf("the provider refuses requests for their number (%d of %d so far)", c.budget.Refused, c.budget.Requests)
		if now.Before(c.budget.HoldUntil) {
			what += ", and is asked nothing before " + c.budget.HoldUntil.UTC().Format(time.TimeOnly) + "Z"
		}
		add(AlarmBudget, what, "nothing is lost; look for another program that uses the same app's allowance")
	}
	c.progressAlarms(now, p, add)
	slices.SortFunc(out, func(a, b Alarm) int { return strings.Compare(a.Kind, b.Kind) })
	return out
}

func (c *connection) progressAlarms(now time.Time, p *poll.Status, add func(kind, what, remedy string)) {
	if p == nil || !p.Owned {
		return
	}
	if s := p.Silent; s != nil {
		add(AlarmSilence, fmt.Sprintf("no event since %s, where %.1f an hour are usual", s.Since.UTC().Format(time.RFC3339), s.UsualPerHour),
			"try the webhook at the provider, and the way from there to this receiver; tillstream reconcile finds what was missed")
	}
	for _, f := range p.Feeds {
		if f.Gap != nil {
			add(AlarmGap, fmt.Sprintf("what happened from %s to %s is no longer in the provider's list %s", f.Gap.From.UTC().Format(time.RFC3339),
				f.Gap.To.UTC().Format(time.RFC3339), f.Name), "load it with tillstream backfill")
		}
	}
	if !p.CompleteUpTo.IsZero() && now.Sub(p.CompleteUpTo) > gapAfter {
		what := "complete only up to " + p.CompleteUpTo.UTC().Format(time.RFC3339)
		for _, f := range p.Feeds {
			if f.LastError != "" {
				what += fmt.Sprintf(" (%s: %s)", f.Name, f.LastError)
				break
			}
		}
		add(AlarmGap, what, "it goes on by itself once the provider's lists can be read")
	}
}

// worsens reports whether a warning is told, too: a date comes by itself, and without the provider's address no token is
// renewed.
func worsens(f connectors.Finding) bool {
	return kindOf(f) == AlarmCertificate || strings.HasSuffix(f.Field, "_url")
}

// kindOf is the kind of alarm that a finding belongs to.
func kindOf(f connectors.Finding) string {
	about := strings.ToLower(f.Field + " " + f.Message)
	switch {
	case strings.Contains(about, "certificate") || strings.Contains(about, "expires"):
		return AlarmCertificate
	case strings.Contains(strings.ToLower(f.Field), "webhook"):
		return AlarmWebhook
	}
	return AlarmCredentials
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

var alarmDesc = prometheus.NewDesc("tillstream_connection_alarm", "1 while something is wrong with a connection, else 0; /connections says what, since when and what to do.", []string{"connection", "alarm"}, nil)

// Describe implements prometheus.Collector.
func (m *Manager) Describe(ch chan<- *prometheus.Desc) { ch <- alarmDesc }

// Collect implements prometheus.Collector.
func (m *Manager) Collect(ch chan<- prometheus.Metric) {
	for _, s := range m.Status() {
		for _, kind := range alarmKinds {
			value := 0.0
			if slices.ContainsFunc(s.Alarms, func(a Alarm) bool { return a.Kind == kind }) {
				value = 1
			}
			ch <- prometheus.MustNewConstMetric(alarmDesc, prometheus.GaugeValue, value, s.Connection.Name, kind)
		}
	}
}
