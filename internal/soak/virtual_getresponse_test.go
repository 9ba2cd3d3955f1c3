//go:build synctests

package soak

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/pipeline/limits"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/simulators/getresponse"
	"github.com/tillstream/tillstream/sinks"
	grsink "github.com/tillstream/tillstream/sinks/getresponse"
)

// What the simulated GetResponse account has from the start.
const (
	grMainList  = "C" // where contacts are created
	grOtherList = "V"
	grField     = "survey_answer_1" // says which state the account has
	grShop      = "Payments"
)

var grFaults = getresponse.Faults{TooMany: 0.10, ServerError: 0.025, TimeoutAfter: 0.10, Cut: 0.025}

// TestVirtualSoakGetResponse is the plan at the other CRM: a contact is created through a queue there, is found before it
// is written, and has a row on each of its lists. It has a quarter of the contacts, each of which takes more requests.
func TestVirtualSoakGetResponse(t *testing.T) {
	redis.SetLogger(quietRedis{})
	synctest.Test(t, func(t *testing.T) {
		r := &result{Seed: seed(), Contacts: *virtualContacts / 4, Rate: getresponse.SecondMax}
		crm, err := getresponse.New(getresponse.Options{
			APIKey: key, Seed: int64(r.Seed), CreateDelay: 3 * time.Second, Faults: grFaults, Now: time.Now, Log: zerolog.Nop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		v := newVirtual(t, r, virtualCRM{handler: crm.Handler(), requests: func() int64 { return crm.Stats().Requests }, open: openGetResponse})
		v.play(newPlan(r.Seed, r.Contacts, versions).forGetResponse())
		stats := crm.Stats()
		r.Requests, r.Faults, r.TooMany, r.MaxSecond = stats.Requests, stats.Faults, stats.TooMany, stats.MaxPerSecond
		r.Ratio = float64(r.Requests-r.Faults) / float64(r.Least)
		countEnds(t, v.finals, r)
		checkRows(t, v.plan, crm)
		checkGetResponseEffects(t, v.plan, crm, v.finals)
		if r.MaxSecond > getresponse.SecondMax || stats.MaxPerWindow > getresponse.WindowMax || stats.MaxParallel > getresponse.ParallelMax {
			t.Errorf("%d requests within a second, %d within ten minutes, %d at a time", r.MaxSecond, stats.MaxPerWindow, stats.MaxParallel)
		}
		line, _ := json.Marshal(r)
		t.Logf("%s", line)
		if r.Kills != *virtualKills || r.Faults == 0 || r.Superseded == 0 || r.Effects == 0 {
			t.Errorf("it proves less than it should: %s", line)
		}
	})
}

func openGetResponse(ctx context.Context, book *limits.Book, network *http.Transport) (*http.Client, sinks.Writer, error) {
	cfg := grsink.Sink.Config().(*grsink.Config)
	cfg.URL, cfg.Key, cfg.List = "http://"+crmAddress+"/v3", schemas.NewSecret(key), grMainList
	return openSink(ctx, grsink.Sink, cfg, network, book.Use("getresponse:"+cfg.Account(), destination, cfg.Limits()))
}

// forGetResponse says the plan in what GetResponse has: an order in place of an automation, and its own field and list.
// The least is the search for each contact and its creation; an effect's requests are not in it.
func (p *plan) forGetResponse() *plan {
	for _, cmd := range p.commands {
		if cmd.Kind == schemas.CommandContact {
			cmd.Contact.Fields = map[string]string{grField: cmd.Contact.Fields[versionField]}
		}
	}
	for _, e := range p.effects {
		switch e.Effect.Type {
		case schemas.EffectStartAutomation:
			e.Effect = &schemas.Effect{Type: schemas.EffectWriteOrder, Name: mark(e), Arguments: map[string]string{
				"shop": grShop, "status": "PAID", "amount": "12.50", "currency": "EUR", "time": e.At.Format(time.RFC3339),
			}}
		case schemas.EffectAddToList:
			e.Effect.Name = grOtherList
		}
	}
	p.least = int64(2 * len(p.newest))
	return p
}

// countEnds counts how commands ended; none is refused.
func countEnds(t *testing.T, ends finals, r *result) {
	t.Helper()
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
}

// checkRows: each person is as last meant on one row, and no row went back.
func checkRows(t *testing.T, p *plan, crm *getresponse.Server) {
	t.Helper()
	newest, lists := map[string]getresponse.Contact{}, map[string]int{}
	value := func(fields map[string][]string) string {
		if len(fields[grField]) == 0 {
			return ""
		}
		return fields[grField][0]
	}
	for _, c := range crm.Contacts() {
		if p.newest[c.Email] == nil {
			t.Errorf("the account has %s, whom nobody asked for", c.Email)
			continue
		}
		if lists[c.Email+" "+c.List]++; lists[c.Email+" "+c.List] > 1 {
			t.Errorf("%s is on the list %s twice", c.Email, c.List)
		}
		last := ""
		for _, v := range c.Versions {
			if now := value(v.Fields); now < last {
				t.Errorf("%s went from %q back to %q", c.Email, last, now)
			} else {
				last = now
			}
		}
		if was, ok := newest[c.Email]; !ok || value(c.Fields) > value(was.Fields) {
			newest[c.Email] = c
		}
	}
	for email, want := range p.newest {
		got, ok := newest[email]
		if !ok {
			t.Errorf("%s is not there", email)
			continue
		}
		if value(got.Fields) != want.Contact.Fields[grField] {
			t.Errorf("%s is at %q, want %q", email, value(got.Fields), want.Contact.Fields[grField])
		}
		var tags []string
		for _, name := range want.Contact.Tags {
			tag, err := grsink.TagName(name)
			if err != nil {
				t.Fatal(err)
			}
			tags = append(tags, tag)
		}
		if slices.Sort(tags); !slices.Equal(got.Tags, tags) {
			t.Errorf("%s has the tags %q, want %q", email, got.Tags, tags)
		}
	}
}

// checkGetResponseEffects: each happened once, or at most once where its end is not certain.
func checkGetResponseEffects(t *testing.T, p *plan, crm *getresponse.Server, ends finals) {
	t.Helper()
	times := map[string]int{}
	for _, e := range crm.Triggered() {
		times["event "+e.Attributes["command_id"]]++
	}
	for _, o := range crm.PlacedOrders() {
		times["order "+o.ExternalID]++
	}
	for _, c := range crm.Contacts() {
		if c.List == grOtherList {
			times["list "+c.Email]++
		}
	}
	for _, e := range p.effects {
		what := map[string]string{
			schemas.EffectTrackEvent: "event " + e.CommandID, schemas.EffectWriteOrder: "order " + mark(e), schemas.EffectAddToList: "list " + e.Contact.Email,
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
