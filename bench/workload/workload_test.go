package workload

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

func plan(t testing.TB, orders int, seed uint64) *Plan {
	t.Helper()
	p, err := NewPlan(orders, seed)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The fast path reads what the product's codec reads, whatever the other fields hold.
func TestDecodeEventAgreesWithTheCodec(t *testing.T) {
	c := codec.NewLocal()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		want := &schemas.OrderEvent{
			EventID: text.Draw(t, "id"), Kind: schemas.EventKind(text.Draw(t, "kind")), Provider: text.Draw(t, "provider"),
			Environment: schemas.Environment(text.Draw(t, "environment")), Connection: text.Draw(t, "connection"), Resource: text.Draw(t, "resource"),
			RootID: text.Draw(t, "root"), EntityID: text.Draw(t, "entity"), EventType: text.Draw(t, "type"), ProviderStatus: text.Draw(t, "word"),
			Status:       schemas.PaymentStatus(rapid.OneOf(text, rapid.SampledFrom(statuses)).Draw(t, "status")),
			ProviderTime: time.UnixMilli(rapid.Int64Range(-1<<50, 1<<50).Draw(t, "time")).UTC(),
			Body:         rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
		}
		for range rapid.IntRange(0, 5).Draw(t, "links") {
			want.Links = append(want.Links, schemas.Link{Relation: schemas.LinkRelation(text.Draw(t, "relation")), ID: text.Draw(t, "link")})
		}
		b, err := c.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Event
		if err := DecodeEvent(b, &got); err != nil {
			t.Fatal(err)
		}
		rec, err := c.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		o := rec.(*schemas.OrderEvent)
		if diff := cmp.Diff(got, Event{ID: o.EventID, Status: string(o.Status), Time: o.ProviderTime.UnixMilli()}); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTheLocalIDOfAnOrderEventIsOurs(t *testing.T) {
	b, err := codec.NewLocal().Encode(&schemas.OrderEvent{})
	if id, ok := SchemaID(b); err != nil || !ok || id != OrderEventID {
		t.Errorf("got id %d, %v, %v; want %d", id, ok, err, OrderEventID)
	}
}

func FuzzDecodeEvent(f *testing.F) {
	m, err := NewEncoder().Captured(7, Begin)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.Value)
	f.Add(m.Value[:60])
	f.Add([]byte{0, 0, 0, 0, OrderEventID, 1})
	c := codec.NewLocal()
	f.Fuzz(func(t *testing.T, b []byte) {
		var got Event
		err := DecodeEvent(b, &got)
		rec, slow := c.Decode(b)
		o, ok := rec.(*schemas.OrderEvent)
		if slow != nil || !ok {
			return // the fast path does not read to the end, so it may accept what the codec refuses there
		}
		if err != nil || got.ID != o.EventID || got.Status != string(o.Status) || got.Time != o.ProviderTime.UnixMilli() {
			t.Errorf("got %+v, %v; the codec reads %+v", got, err, o)
		}
	})
}

func FuzzDecodeState(f *testing.F) {
	f.Add(State{Status: Paid, Time: 5, Deadline: 9}.see("one").see("two").Encode())
	f.Add([]byte{stateVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := DecodeState(b); err == nil && string(s.Encode()) != string(b) {
			t.Errorf("%x came back as %x", b, s.Encode())
		}
	})
}

func FuzzDecodeTransition(f *testing.F) {
	f.Add(AppendTransition(nil, &Transition{"k", Paid, TimedOut, "e", 5}))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := DecodeTransition(b)
		if err != nil {
			return
		}
		if again, err := DecodeTransition(AppendTransition(nil, &got)); err != nil || again != got {
			t.Errorf("%+v came back as %+v, %v", got, again, err)
		}
	})
}

func TestAStateComesBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s State
		now := int64(0)
		for range rapid.IntRange(0, 40).Draw(t, "events") {
			now += rapid.Int64Range(0, 100).Draw(t, "later")
			e := Event{ID: rapid.StringN(0, 20, 60).Draw(t, "id"), Status: rapid.SampledFrom(statuses[1:]).Draw(t, "status"), Time: rapid.Int64Range(0, 1000).Draw(t, "time")}
			s, _ = s.Apply(&e, now)
			if again, changed := s.Apply(&e, now+1); changed || again != s {
				t.Fatalf("the same event again changed %+v to %+v", s, again)
			}
		}
		got, err := DecodeState(s.Encode())
		if err != nil || got != s {
			t.Errorf("got %+v, %v; want %+v", got, err, s)
		}
		if s.SeenIDs > SeenMax || strings.Count(s.Seen, "") < s.SeenIDs {
			t.Errorf("%d ids are kept", s.SeenIDs)
		}
	})
}

func TestApply(t *testing.T) {
	paidIn := func(at int64) Event { return Event{"c", Paid, at} }
	for _, c := range []struct {
		name   string
		events []Event
		want   []string
		status string
		waits  bool
	}{
		{"one way", []Event{{"a", "DRAFT", 1}, {"b", "APPROVED", 2}, paidIn(3)}, []string{"DRAFT", "APPROVED", Paid}, Paid, false},
		{"twice", []Event{{"a", "DRAFT", 1}, {"a", "DRAFT", 1}}, []string{"DRAFT"}, "DRAFT", true},
		{"overtaken", []Event{{"a", "DRAFT", 1}, paidIn(3), {"b", "APPROVED", 2}}, []string{"DRAFT", Paid}, Paid, false},
		{"same time", []Event{{"a", "DRAFT", 1}, {"b", "APPROVED", 1}}, []string{"DRAFT", "APPROVED"}, "APPROVED", true},
		{"another notice", []Event{paidIn(3), {"d", Paid, 4}}, []string{Paid}, Paid, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s State
			var got []string
			for i := range c.events {
				next, changed := s.Apply(&c.events[i], 10)
				if s = next; changed {
					got = append(got, s.Status)
				}
			}
			if !slices.Equal(got, c.want) || s.Status != c.status || (s.Deadline != 0) != c.waits {
				t.Errorf("got %v and %+v, want %v, status %s, waiting %v", got, s, c.want, c.status, c.waits)
			}
		})
	}
}

func TestAPlanIsWhatItSays(t *testing.T) {
	const orders = 200_000
	p := plan(t, orders, 1)
	if got, want := p.Len(), orders*39/10; got != want {
		t.Errorf("got %d events, want %d", got, want)
	}
	x := Expect(p)
	if x.Open != Partitions || x.Counts["DRAFT"] != orders {
		t.Errorf("got %d orders waiting at the end and %v, want %d and %d drafts", x.Open, x.Counts, Partitions, orders)
	}
	if n := x.Counts[Paid]; n < orders*88/100 || n > orders*96/100 {
		t.Errorf("got %d paid orders", n)
	}
	if n := x.Counts[TimedOut]; n < orders*5/100 || n > orders*10/100 {
		t.Errorf("got %d time-outs", n)
	}
	if n := x.Counts["APPROVED"]; n < orders*97/100 || n > orders*99/100 {
		t.Errorf("got %d approvals: some must be overtaken", n)
	}
	t.Logf("%d orders: %v, %d bytes of state an order", orders, x.Counts, x.StateBytes/orders)

	var bytes, back int
	var last time.Time
	keys := map[string]bool{}
	err := p.Messages(func(m Message) error {
		bytes += len(m.Value)
		if m.Time.Before(last) {
			back++
		}
		last = m.Time
		keys[string(m.Key)] = true
		if n, err := OrderOf(m.Key); err != nil || n != m.Order {
			t.Fatalf("OrderOf(%s): got %d, %v; want %d", m.Key, n, err, m.Order)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if size := bytes / p.Len(); size < 450 || size > 550 {
		t.Errorf("got events of %d bytes, want about 500", size)
	}
	if back == 0 || len(keys) != orders {
		t.Errorf("got %d steps back in time and %d keys, want some and %d", back, len(keys), orders)
	}
	if same := Expect(plan(t, 2000, 5)); cmp.Diff(same.Counts, Expect(plan(t, 2000, 5)).Counts) != "" {
		t.Error("the same seed gave another plan")
	}
}

// play writes the transitions that a right program writes, partition by partition.
func play(p *Plan, visit func(Transition)) {
	states, now := map[int]State{}, map[int32]int64{}
	for _, s := range p.steps {
		part := partitionOf(p.Key(int(s.order)))
		now[part] = max(now[part], Begin.UnixMilli()+s.time)
		for n, st := range states {
			if partitionOf(p.Key(n)) == part && st.Deadline != 0 && st.Deadline < now[part] {
				visit(st.TimeOutOf(p.Key(n)))
				states[n] = st.TimeOut()
			}
		}
		e := Event{EventID(int(s.order), int(s.kind)), kinds[s.kind].status, Begin.UnixMilli() + s.time}
		was := states[int(s.order)]
		next, changed := was.Apply(&e, now[part])
		if changed {
			visit(Transition{p.Key(int(s.order)), was.Status, next.Status, e.ID, e.Time})
		}
		states[int(s.order)] = next
	}
}

func TestTheCheckerFindsWhatIsWrong(t *testing.T) {
	p := plan(t, 300, 3)
	x := Expect(p)
	var right []Transition
	play(p, func(tr Transition) { right = append(right, tr) })
	if x.Counts[TimedOut] == 0 {
		t.Fatal("no time-out in the plan")
	}
	check := func(ts []Transition) error {
		c := NewChecker(x)
		for i := range ts {
			c.Add([]byte(ts[i].Key), AppendTransition(nil, &ts[i]))
		}
		return c.Result()
	}
	if err := check(right); err != nil {
		t.Fatal(err)
	}
	order := slices.IndexFunc(right, func(tr Transition) bool { return tr.To == Paid })
	before := slices.IndexFunc(right, func(tr Transition) bool { return tr.Key == right[order].Key })
	for name, spoil := range map[string]func([]Transition) []Transition{
		"lost":        func(ts []Transition) []Transition { return append(ts[:9:9], ts[10:]...) },
		"doubled":     func(ts []Transition) []Transition { return append(ts, ts[4]) },
		"other time":  func(ts []Transition) []Transition { ts[7].Time++; return ts },
		"other id":    func(ts []Transition) []Transition { ts[7].EventID += "x"; return ts },
		"other order": func(ts []Transition) []Transition { ts[order], ts[before] = ts[before], ts[order]; return ts },
		"damaged key": func(ts []Transition) []Transition { return append(ts, Transition{Key: "x"}) },
	} {
		if err := check(spoil(slices.Clone(right))); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
}
