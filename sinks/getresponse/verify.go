package getresponse

import (
	"context"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

var _ sinks.Verifier = (*writer)(nil)

// Verify implements sinks.Verifier: the contact is read as Write reads it, and compared as Write compares. Someone whose
// creation is in GetResponse's queue, or who has not confirmed, is absent: the API shows neither.
func (w *writer) Verify(ctx context.Context, want schemas.Contact) (sinks.Comparison, sinks.Outcome) {
	ctx, rec := outbound.Record(ctx)
	got, fail := w.compare(ctx, &want)
	o := fail.outcome(false)
	if fail != nil {
		got = sinks.Comparison{}
	}
	o.Exchanges = w.scrub(rec.Exchanges())
	return got, o
}

func (w *writer) compare(ctx context.Context, want *schemas.Contact) (sinks.Comparison, *failure) {
	email, fail := address(want)
	if fail != nil {
		return sinks.Comparison{}, fail
	}
	d, fail := w.desire(ctx, want, false)
	if fail != nil {
		return sinks.Comparison{}, fail
	}
	have, fail := w.person(ctx, email)
	if fail != nil {
		return sinks.Comparison{}, fail
	}
	if have == nil {
		return w.unseen(ctx, email)
	}
	return sinks.Comparison{Standing: schemas.StandingActive, Differences: d.differences(have)}, nil
}

// unseen tells why no list shows the address.
func (w *writer) unseen(ctx context.Context, email string) (sinks.Comparison, *failure) {
	ids, fail := w.catalogue.listIDs(ctx)
	if fail != nil {
		return sinks.Comparison{}, fail
	}
	state, fail := w.standing(ctx, email, ids...)
	switch {
	case fail != nil:
		return sinks.Comparison{}, fail
	case state == "" || state == unconfirmed:
		return sinks.Comparison{Absent: true, Standing: schemas.StandingActive}, nil
	case bounced(state):
		return sinks.Comparison{Standing: schemas.StandingBounced}, nil
	}
	return sinks.Comparison{Standing: schemas.StandingUnsubscribed}, nil
}

// bounced reports whether a standing of someone who left says that messages came back.
func bounced(state string) bool { return strings.HasSuffix(state, " bounce") }

// differences are what converge would write, for people. Wanted values are in GetResponse's form.
func (d *desired) differences(have *details) []sinks.Difference {
	var out []sinks.Difference
	add := func(part, want, got string) { out = append(out, sinks.Difference{Part: part, Want: want, Got: got}) }
	if d.name != "" && d.name != have.Name {
		add("name", d.name, have.Name)
	}
	holds := func(id string) string {
		i := slices.IndexFunc(have.Values, func(v held) bool { return v.ID == id })
		if i < 0 {
			return ""
		}
		return strings.Join(have.Values[i].all(), ", ")
	}
	for _, v := range d.changed(have) {
		add("field "+d.fields[v.ID].name, strings.Join(v.Value, ", "), holds(v.ID))
	}
	for _, id := range d.empty {
		if got := holds(id); got != "" {
			add("field "+d.fields[id].name, "", got)
		}
	}
	if d.scored && !d.sameScore(have) {
		add("field "+scoreField, string(d.score), have.score())
	}
	for _, id := range d.missingTags(have) {
		add("tag "+d.names[id], d.names[id], "")
	}
	for _, name := range d.unknown {
		add("tag "+name, name, "")
	}
	for _, id := range d.remove {
		if slices.ContainsFunc(have.Tags, func(t tagRef) bool { return t.ID == id }) {
			add("tag "+d.names[id], "", d.names[id])
		}
	}
	return out
}
