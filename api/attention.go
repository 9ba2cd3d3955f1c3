package api

import (
	"context"
	"net/url"
	"slices"
	"strings"
)

// Severities of what needs attention, in the order in which it is listed.
const (
	SeverityError   = "error"
	SeverityWarning = "warning"
	SeverityInfo    = "info"
)

var severities = []string{SeverityError, SeverityWarning, SeverityInfo}

// attentionMax bounds the list.
const attentionMax = 100

// attention adds what the parts of this process know to what was read.
func (b *Board) attention(ctx context.Context, o *Overview) {
	_, states := b.look(false)
	for _, s := range states {
		if s.Ready {
			continue
		}
		o.Attention = append(o.Attention, Attention{Kind: "part", Severity: SeverityError, What: s.Name, Detail: s.Reason, Link: "/issues"})
	}
	b.mu.Lock()
	desk, pauses := b.desk, b.pauses
	b.mu.Unlock()
	if desk != nil {
		if list, err := desk.List(); err == nil { // a folder that cannot be read is told by its own part
			for _, c := range list {
				if string(c.Environment) != o.Environment {
					continue
				}
				for _, a := range c.Alarms {
					o.Attention = append(o.Attention, Attention{
						Kind: "connection", Severity: SeverityWarning, What: c.Name, Detail: a.What, Remedy: a.Remedy, Since: a.Since, Link: "/connections/" + url.PathEscape(c.Name),
					})
				}
			}
		}
	}
	if pauses != nil {
		if list, err := pauses.Pauses(ctx); err == nil {
			for _, p := range list {
				if !p.Paused {
					continue
				}
				a := Attention{Kind: "paused", Severity: SeverityInfo, What: p.Name, Detail: p.Why, Since: p.At, Link: "/connections/" + url.PathEscape(p.Name)}
				if p.Waiting != nil {
					a.Count = *p.Waiting
				}
				a.Remedy = "tillstream resume " + strings.ToLower(string(p.Subject)) + " " + p.Name
				o.Attention = append(o.Attention, a)
			}
		}
	}
	slices.SortStableFunc(o.Attention, func(a, b Attention) int {
		return slices.Index(severities, a.Severity) - slices.Index(severities, b.Severity)
	})
	if len(o.Attention) > attentionMax {
		o.Attention = o.Attention[:attentionMax]
	}
}
