package soak

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/simulators/activecampaign"
)

// ratioMax is how many times the requests that are needed may be made, those that a fault struck not counted.
const ratioMax = 1.3

// finals are the last words about commands, by id.
type finals map[string]schemas.OutcomeWord

// read takes the deliveries of about the time given.
func (f finals) read(ctx context.Context, t *testing.T, words *kgo.Client, c *codec.Codec, during time.Duration) error {
	t.Helper()
	look, cancel := context.WithTimeout(ctx, during)
	defer cancel()
	for look.Err() == nil {
		for _, r := range words.PollFetches(look).Records() {
			rec, err := c.Decode(r.Value)
			if err != nil {
				return err
			}
			d := rec.(*schemas.Delivery)
			if d.Outcome == schemas.OutcomeIntent || d.Outcome == schemas.OutcomeRetryable {
				continue
			}
			if was, twice := f[d.CommandID]; twice {
				t.Errorf("command %s ended as %s and again as %s", d.CommandID, was, d.Outcome)
			}
			f[d.CommandID] = d.Outcome
		}
	}
	return ctx.Err()
}

// send appends the plan's commands to the destination's partition.
func send(ctx context.Context, cl *kgo.Client, c *codec.Codec, p *plan) error {
	partition := kafka.Partition([]byte(destination), partitions)
	var batch []*kgo.Record
	for i, cmd := range p.commands {
		value, err := c.Encode(cmd)
		if err != nil {
			return err
		}
		batch = append(batch, &kgo.Record{Topic: schemas.TopicCommands, Partition: partition, Key: []byte(cmd.ContactKey), Value: value})
		if len(batch) == sendTogether || i == len(p.commands)-1 {
			if err := cl.ProduceSync(ctx, batch...).FirstErr(); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return nil
}

// check holds the account against the plan.
func check(t *testing.T, p *plan, crm *activecampaign.Server, ends finals, r *result) {
	t.Helper()
	stats := crm.Stats()
	r.Requests, r.Faults, r.TooMany, r.MaxSecond = stats.Requests, stats.Faults, stats.TooMany, stats.MaxPerSecond
	for _, id := range slices.Sorted(maps.Keys(ends)) {
		switch ends[id] {
		case schemas.OutcomeSuperseded:
			r.Superseded++
		case schemas.OutcomeUncertain:
			r.Uncertain++
		case schemas.OutcomeRejected:
			t.Errorf("command %s was rejected, and nothing is wrong with any", id)
		}
	}
	list := crm.Contacts()
	checkContacts(t, p, list)
	checkEffects(t, p, crm, list, ends)
	if r.Rate > 0 && r.MaxSecond > r.Rate {
		t.Errorf("%d requests within a second, and %d are allowed", r.MaxSecond, r.Rate)
	}
}

// checkContacts: each is as it was last meant, and was never taken back.
func checkContacts(t *testing.T, p *plan, list []activecampaign.Contact) {
	t.Helper()
	if len(list) != len(p.newest) {
		t.Errorf("the account has %d contacts, want %d", len(list), len(p.newest))
	}
	for _, c := range list {
		want := p.newest[c.Email]
		if want == nil {
			t.Errorf("the account has %s, whom nobody asked for", c.Email)
			continue
		}
		if got := c.Fields[versionField]; got != want.Contact.Fields[versionField] {
			t.Errorf("%s is at %q, want %q", c.Email, got, want.Contact.Fields[versionField])
		}
		if !slices.Equal(c.Tags, sortedTags(want)) {
			t.Errorf("%s has the tags %q, want %q", c.Email, c.Tags, want.Contact.Tags)
		}
		last := ""
		for _, v := range c.Versions {
			if now := v.Fields[versionField]; now < last {
				t.Errorf("%s went from %q back to %q", c.Email, last, now)
			} else {
				last = now
			}
		}
	}
}

// checkEffects: each happened once, or at most once where its end is not certain.
func checkEffects(t *testing.T, p *plan, crm *activecampaign.Server, list []activecampaign.Contact, ends finals) {
	t.Helper()
	times := map[string]int{}
	for _, e := range crm.Tracked() {
		if _, id, ok := strings.Cut(e.Data, "id="); ok {
			times["event "+id]++
		}
	}
	for _, e := range crm.Enrolments() {
		times["start "+e.Email]++
	}
	for _, c := range list {
		if c.Lists[listName] == 1 {
			times["list "+c.Email]++
		}
	}
	for _, e := range p.effects {
		what := map[string]string{
			schemas.EffectTrackEvent: "event " + mark(e), schemas.EffectStartAutomation: "start " + e.Contact.Email, schemas.EffectAddToList: "list " + e.Contact.Email,
		}[e.Effect.Type]
		least := 1
		if ends[e.CommandID] == schemas.OutcomeUncertain {
			least = 0
		}
		if n := times[what]; n < least || n > 1 {
			t.Errorf("%s (%s) happened %d times", what, ends[e.CommandID], n)
		}
		delete(times, what)
	}
	for what := range times {
		t.Errorf("%s happened, and nobody asked for it", what)
	}
}
