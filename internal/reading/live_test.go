package reading

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/schemas"
)

// tape is a log that a test writes to.
type tape struct {
	mu     sync.Mutex
	see    func(time.Time, api.RecordPlace, schemas.Record)
	ready  chan struct{}
	opened int
	fails  error
}

func newTape() *tape { return &tape{ready: make(chan struct{}, 100)} }

func (t *tape) Follow(ctx context.Context, see func(time.Time, api.RecordPlace, schemas.Record)) error {
	t.mu.Lock()
	t.opened++
	t.see = see
	fails := t.fails
	t.mu.Unlock()
	if fails != nil {
		return fails
	}
	t.ready <- struct{}{}
	<-ctx.Done()
	return nil
}

func (t *tape) say(n int, r schemas.Record) {
	t.mu.Lock()
	see := t.see
	t.mu.Unlock()
	see(time.Now(), api.RecordPlace{Topic: "t", Offset: int64(n)}, r)
}

func delivery(n int, outcome schemas.OutcomeWord) *schemas.Delivery {
	return &schemas.Delivery{Destination: "crm", CommandID: fmt.Sprint(n), Outcome: outcome, ContactKey: "live/ann@example.com", RootKey: "live/eu/O1", EventID: fmt.Sprintf("W%d", n)}
}

// next is the next message within a virtual minute.
func next(t *testing.T, s api.LiveStream) api.LiveMessage {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, ok := s.Next(ctx)
	if !ok {
		t.Fatal("the stream has ended")
	}
	return m
}

func follow(t *testing.T, h *Hub, q api.LiveQuery) api.LiveStream {
	t.Helper()
	s, err := h.Follow(q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestAStreamHoldsWhatMeetsItsFilter(t *testing.T) {
	ann := &schemas.Payer{Email: "ann@example.com"}
	event := &schemas.OrderEvent{
		EventID: "W1", Environment: schemas.Live, Connection: "eu", RootID: "O1", Kind: schemas.KindPayment, Status: schemas.StatusPaid, EventType: "PAYMENT.CAPTURE.COMPLETED", Payer: ann,
		Amount: &schemas.Amount{Value: "1.00", Currency: "EUR"},
	}
	records := []schemas.Record{
		event,
		&schemas.OrderEvent{Environment: schemas.Sandbox, Connection: "us", Problem: "no JSON"},
		&schemas.Transition{RootKey: "live/eu/O1", From: schemas.StatusApproved, To: schemas.StatusPaid, Legal: true, Disposition: schemas.Changed, ContactKey: "live/ann@example.com", Event: *event},
		&schemas.RunStep{Workflow: "w", Kind: schemas.StepWaitOpened, Step: "pay", ContactKey: "live/bob@example.com", RootKey: "live/us/O2"},
		&schemas.Command{Destination: "crm", Kind: schemas.CommandContact, ContactKey: "live/ann@example.com", RootKey: "live/eu/O1"},
		delivery(5, schemas.OutcomeRejected),
		&schemas.DeadLetter{Stage: "orders", Cause: "UNPARSEABLE", Reason: "of ann@example.com", EventID: "W9"},
		&schemas.Tick{}, // no part of a stream
	}
	for name, c := range map[string]struct {
		q    api.LiveQuery
		want []string
	}{
		"all":            {api.LiveQuery{}, []string{"event", "event", "transition", "run", "command", "delivery", "dead_letter"}},
		"a kind":         {api.LiveQuery{Kinds: []string{"run", "command"}}, []string{"run", "command"}},
		"a store":        {api.LiveQuery{Store: "us"}, []string{"event", "run"}},
		"a world":        {api.LiveQuery{Environment: schemas.Sandbox}, []string{"event"}},
		"an order":       {api.LiveQuery{Order: "O1"}, []string{"event", "transition", "command", "delivery"}},
		"an order's key": {api.LiveQuery{Order: "live/us/O2"}, []string{"run"}},
		"an address":     {api.LiveQuery{Email: "BOB@example.com"}, []string{"run"}},
		"a status":       {api.LiveQuery{Status: schemas.StatusPaid}, []string{"event", "transition"}},
		"a text":         {api.LiveQuery{Text: "CAPTURE.comp"}, []string{"event", "transition"}},
		"a destination":  {api.LiveQuery{Destination: "crm"}, []string{"command", "delivery"}},
		"bad ones":       {api.LiveQuery{Bad: true}, []string{"event", "delivery", "dead_letter"}},
		"a hostile one":  {api.LiveQuery{Text: "') OR 1=1 --"}, []string{}},
	} {
		synctest.Test(t, func(t *testing.T) {
			log := newTape()
			h := NewHub(log, time.Now)
			defer h.Close()
			s := follow(t, h, c.q)
			<-log.ready
			for i, r := range records {
				log.say(i, r)
			}
			got := []string{}
			for {
				m := next(t, s)
				if m.Event != api.LiveRecordEvent {
					break
				}
				data, err := json.Marshal(m.Data)
				if err != nil || strings.Contains(string(data), "ann@") || m.ID == "" {
					t.Errorf("%s: told %s with id %q, %v", name, data, m.ID, err)
				}
				got = append(got, m.Data.(api.LiveRecord).Kind)
			}
			if diff := cmp.Diff(got, c.want); diff != "" {
				t.Errorf("%s (-got +want):\n%s", name, diff)
			}
		})
	}
}

// A flood comes at its rate to who reads, and to who does not read not at all; what is left out is counted, and nobody waits.
func TestAFloodIsCappedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newTape()
		h := NewHub(log, time.Now)
		defer h.Close()
		quick, slow := follow(t, h, api.LiveQuery{PersonalData: true}), follow(t, h, api.LiveQuery{})
		<-log.ready
		const seconds, each = 10, 500
		var records int
		var leftOut, total int64
		read := func() {
			for {
				m, ok, _ := quick.(*stream).next()
				if !ok {
					return
				}
				switch data := m.Data.(type) {
				case api.LiveRecord:
					if data.Contact != "live/ann@example.com" {
						t.Fatalf("personal data was asked for: got %q", data.Contact)
					}
					records++
				case api.LiveLeftOut:
					leftOut, total = leftOut+data.LeftOut, data.Total
				}
			}
		}
		for second := range seconds {
			for i := range each {
				log.say(second*each+i, delivery(i, schemas.OutcomeDelivered))
			}
			read()
			time.Sleep(time.Second)
		}
		read()
		if records != seconds*RatePerSecond || records+int(leftOut) != seconds*each || total != leftOut {
			t.Errorf("got %d records and %d left out (total %d), want %d and the rest of %d", records, leftOut, total, seconds*RatePerSecond, seconds*each)
		}
		h.mu.Lock()
		waiting, left := len(slow.(*stream).waiting), slow.(*stream).total
		h.mu.Unlock()
		if waiting != waitingMax || left != seconds*each-waitingMax {
			t.Errorf("who does not read: %d lie waiting and %d are left out, want %d and the rest", waiting, left, waitingMax)
		}
	})
}

func TestAStreamGoesOnWhereItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newTape()
		h := NewHub(log, time.Now)
		defer h.Close()
		first := follow(t, h, api.LiveQuery{})
		<-log.ready
		log.say(1, delivery(1, schemas.OutcomeDelivered))
		last := next(t, first).ID
		first.Close()
		log.say(2, delivery(2, schemas.OutcomeDelivered)) // between the two
		again := follow(t, h, api.LiveQuery{After: last})
		log.say(3, delivery(3, schemas.OutcomeDelivered))
		for _, want := range []string{"W2", "W3"} {
			if got := next(t, again).Data.(api.LiveRecord).Event; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		for _, unknown := range []string{"another-1", "x", h.epoch + "-999", h.epoch + "-", h.epoch + "--5", "\n"} {
			s := follow(t, h, api.LiveQuery{After: unknown})
			if m := next(t, s); m.Event != api.LiveLeftEvent || !m.Data.(api.LiveLeftOut).Gap {
				t.Errorf("after %q: got %+v, want a gap", unknown, m)
			}
		}
		// More came than is remembered.
		for i := range rememberedMax + 10 {
			log.say(i, delivery(i, schemas.OutcomeDelivered))
		}
		if m := next(t, follow(t, h, api.LiveQuery{After: last})); m.Event != api.LiveLeftEvent || !m.Data.(api.LiveLeftOut).Gap {
			t.Errorf("after too much: got %+v, want a gap", m)
		}
	})
}

func TestAQuietStreamBeatsAndAnOldOneEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newTape()
		h := NewHub(log, time.Now)
		defer h.Close()
		began := time.Now()
		s := follow(t, h, api.LiveQuery{})
		<-log.ready
		if m := next(t, s); m.Event != api.LiveBeatEvent || time.Since(began) != beatEvery {
			t.Errorf("got %+v after %s, want a heartbeat after %s", m, time.Since(began), beatEvery)
		}
		time.Sleep(streamAgeMax)
		if m := next(t, s); m.Event != api.LiveEndEvent {
			t.Errorf("got %+v, want the end", m)
		}
		if _, ok := s.Next(context.Background()); ok {
			t.Error("there is something after the end")
		}
	})
}

func TestStreamsAreBoundedAndTheLogIsReadOnlyForThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newTape()
		h := NewHub(log, time.Now)
		var open []api.LiveStream
		for range StreamsMax {
			open = append(open, follow(t, h, api.LiveQuery{}))
		}
		if _, err := h.Follow(api.LiveQuery{}); !errors.Is(err, api.ErrTooManyStreams) {
			t.Errorf("one more: got %v", err)
		}
		for _, q := range []api.LiveQuery{{Kinds: []string{"nonsense"}}, {Text: strings.Repeat("x", liveTextMax+1)}} {
			if _, err := h.Follow(q); err == nil {
				t.Errorf("%+v is taken", q)
			}
		}
		<-log.ready
		for _, s := range open {
			s.Close()
			s.Close() // twice is once
		}
		if h.Streams() != 0 {
			t.Errorf("%d streams are open", h.Streams())
		}
		time.Sleep(2 * idleFor)
		h.mu.Lock()
		reading := h.stop != nil
		h.mu.Unlock()
		if reading {
			t.Error("the log is read though nobody follows")
		}
		follow(t, h, api.LiveQuery{})
		<-log.ready
		if log.opened != 2 {
			t.Errorf("the log was opened %d times, want 2", log.opened)
		}
		h.Close()
		if _, err := h.Follow(api.LiveQuery{}); err == nil {
			t.Error("a closed hub takes a stream")
		}
	})
}

func TestALogThatCannotBeReadIsSaidAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newTape()
		log.fails = errors.New("dial tcp 10.0.0.1:9092: refused")
		h := NewHub(log, time.Now)
		defer h.Close()
		s := follow(t, h, api.LiveQuery{})
		var problem string
		for problem == "" {
			if beat, ok := next(t, s).Data.(api.LiveBeat); ok {
				problem = beat.Problem
			}
		}
		if !strings.Contains(problem, "refused") {
			t.Errorf("got %q", problem)
		}
		log.mu.Lock()
		log.fails = nil
		log.mu.Unlock()
		<-log.ready
		log.say(1, delivery(1, schemas.OutcomeDelivered))
		for next(t, s).Event != api.LiveRecordEvent {
		}
	})
}
