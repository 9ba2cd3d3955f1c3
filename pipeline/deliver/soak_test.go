package deliver

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/limits"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/activecampaign"
)

// 200 contacts with an event each, a tenth of them put on a list and asked about it, at an account that times out after applying, refuses for the rate, and fails, while
// the deliverer is restarted. In the end every contact is right and no event happened twice.
func TestSoakWithTheSimulatedAccount(t *testing.T) {
	if testing.Short() {
		t.Skip("takes several seconds")
	}
	// The account allows a little more than we ask of it, because a busy machine delays arrivals. The refusals at random
	// bring the rate down to a fifth of it.
	const contacts, rate, allowed = 200, 600, 720
	r := newRig(t)
	account := twin.New(twin.Options{Key: "key", RatePerSecond: allowed, Seed: 7, Faults: twin.Faults{
		TimeoutAfter: 0.10, TooMany: 0.10, ServerError: 0.05, Tracking: true, RetryAfterSeconds: 1, HangMillis: 2000,
	}})
	srv := httptest.NewServer(account.Handler())
	t.Cleanup(srv.Close)
	memory := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = memory.Close() })
	start := func() *running {
		book := limits.New(limits.Options{Redis: memory, Instance: "one", Now: time.Now})
		client, err := outbound.NewClient(outbound.Options{
			AllowPrivate: true, Timeout: 100 * time.Millisecond,
			Limiter: hastyLimiter{book.Use("crm", "soak", outbound.Limits{Windows: []outbound.Window{{Requests: rate, Per: time.Second}}})},
		})
		if err != nil {
			t.Fatal(err)
		}
		cfg := activecampaign.Sink.Config().(*activecampaign.Config)
		cfg.URL, cfg.Key = srv.URL, schemas.NewSecret("key")
		cfg.EventTracking = activecampaign.EventTracking{AccountID: "1000", Key: schemas.NewSecret("key"), URL: srv.URL + "/event"}
		w, err := activecampaign.Sink.Open(t.Context(), cfg, sinks.Env{Destination: "crm", Now: time.Now, HTTP: client})
		if err != nil {
			t.Fatal(err)
		}
		o := r.options("one", hasty{w})
		o.Settle = 150 * time.Millisecond
		o.Parallel = 16
		// The simulated group puts no session timeout on a member whose connection is gone when its join is answered: it
		// waits this long for it.
		o.Kafka.Extra = append(o.Kafka.Extra, kgo.RebalanceTimeout(2*time.Second))
		return r.start(o)
	}
	var all []schemas.Command
	run := start()
	defer func() {
		if t.Failed() {
			t.Logf("ready: %v, status: %+v", run.Ready(), run.Status())
			groups, err := kadm.NewClient(r.client).DescribeGroups(context.Background(), "deliver")
			t.Logf("group: %+v, %v", groups, err)
		}
	}()
	for v := range int64(2) {
		for i := range contacts {
			who := fmt.Sprintf("c%d@shop.example", i)
			c := r.contact(who, v+1)
			c.Contact.Fields = map[string]string{"ORDER_ID": fmt.Sprintf("%d-%d", i, v+1)}
			c.Contact.Tags = []string{"paid"}
			all = append(all, c)
			if v == 0 {
				all = append(all, r.effect(who))
			}
		}
	}
	var questions []schemas.Command
	for i := 0; i < contacts; i += 10 {
		who := fmt.Sprintf("c%d@shop.example", i)
		add, ask := r.effect(who), r.question(who, "customers")
		add.Effect = &schemas.Effect{Type: schemas.EffectAddToList, Name: "Customers"}
		all, questions = append(all, add, ask), append(questions, ask)
	}
	for i := 0; i < len(all); i += 100 {
		r.produce(all[i:min(i+100, len(all))]...)
	}
	for n := range 3 {
		want := (n + 1) * contacts / 5
		eventually(t, "progress", func() bool { return account.Stats().Contacts >= want })
		if n == 1 {
			run.kill()
		} else {
			run.stop()
		}
		run = start()
	}
	got := r.ended(all...)
	happened := map[string]int{}
	for _, e := range account.Tracked() {
		happened[e.Data]++
	}
	uncertain := 0
	for _, c := range all {
		switch word := got[c.CommandID]; {
		case c.Kind == schemas.CommandQuestion || c.Effect != nil && c.Effect.Type == schemas.EffectAddToList:
			if word != schemas.OutcomeDelivered {
				t.Errorf("%s of %s: outcome %s", c.Effect.Type, c.ContactKey, word)
			}
		case c.Kind == schemas.CommandEffect && happened["id="+c.CommandID] > 1:
			t.Errorf("effect %s happened %d times", c.CommandID, happened["id="+c.CommandID])
		case word == schemas.OutcomeUncertain:
			uncertain++
		case c.Kind == schemas.CommandEffect && (word != schemas.OutcomeDelivered || happened["id="+c.CommandID] != 1):
			t.Errorf("effect %s: outcome %s, happened %d times", c.CommandID, word, happened["id="+c.CommandID])
		case c.Kind == schemas.CommandContact && word != schemas.OutcomeDelivered && word != schemas.OutcomeSuperseded:
			t.Errorf("contact command %s: outcome %s", c.CommandID, word)
		}
	}
	people := account.Contacts()
	if len(people) != contacts {
		t.Errorf("got %d contacts, want %d", len(people), contacts)
	}
	for _, p := range people {
		var i int
		if _, err := fmt.Sscanf(p.Email, "c%d@", &i); err != nil {
			t.Fatal(err)
		}
		if on := p.Lists["Customers"] == 1; on != (i%10 == 0) {
			t.Errorf("%s: got lists %v", p.Email, p.Lists)
		}
		if want := fmt.Sprintf("%d-2", i); p.Fields["ORDER_ID"] != want || len(p.Tags) != 1 {
			t.Errorf("%s: got order %q and tags %v, want %q and one tag", p.Email, p.Fields["ORDER_ID"], p.Tags, want)
		}
	}
	answers := map[string]int{}
	for _, a := range r.answered(len(questions)) {
		answers[a.CommandID]++
		if a.Standing != schemas.StandingActive || answers[a.CommandID] > 1 {
			t.Errorf("answer %+v, the %d. of its question: want one, after the contact was put on the list", a, answers[a.CommandID])
		}
	}
	if s := account.Stats(); s.TooMany > 0 || s.MaxPerSecond > allowed {
		t.Errorf("got %d requests within a second and %d over the limit, want at most %d and none", s.MaxPerSecond, s.TooMany, allowed)
	}
	t.Logf("uncertain: %d; account: %+v", uncertain, account.Stats())
}

// hastyLimiter does the same for the silence of the whole account.
type hastyLimiter struct{ outbound.Limiter }

// Acquire implements outbound.Limiter.
func (h hastyLimiter) Acquire(ctx context.Context) (outbound.Turn, error) {
	turn, err := h.Limiter.Acquire(ctx)
	return hastyTurn{turn}, err
}

type hastyTurn struct{ outbound.Turn }

// Done implements outbound.Turn.
func (h hastyTurn) Done(f outbound.Feedback) {
	f.Hold /= 50
	h.Turn.Done(f)
}

// hasty shortens the pauses that the account asks for, which come in whole seconds.
type hasty struct{ sinks.Writer }

func (h hasty) Write(ctx context.Context, batch []schemas.Command) []sinks.Outcome {
	out := h.Writer.Write(ctx, batch)
	for i := range out {
		out[i].RetryAfter /= 50
	}
	return out
}

// Standing implements sinks.ListReader.
func (h hasty) Standing(ctx context.Context, email, list string) (schemas.Standing, sinks.Outcome) {
	s, o := h.Writer.(sinks.ListReader).Standing(ctx, email, list)
	o.RetryAfter /= 50
	return s, o
}

// Reconcile implements sinks.Writer.
func (h hasty) Reconcile(ctx context.Context, e schemas.Command) sinks.Outcome {
	o := h.Writer.Reconcile(ctx, e)
	o.RetryAfter /= 50
	return o
}
