package orders

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fill sets every field that v leads to to something that is not its zero value.
func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(start.Add(time.Duration(*n) * time.Second)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(uint64(*n % 256))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0), n)
		fill(t, v.Index(1), n)
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"b": "2", "a": "1"}))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	default:
		t.Fatalf("a field of kind %s: say here how to fill it", v.Kind())
	}
}

// A field added to the record and forgotten in the image would be lost for events that wait.
func TestParkedEventKeepsEveryField(t *testing.T) {
	var e schemas.OrderEvent
	n := 0
	fill(t, reflect.ValueOf(&e).Elem(), &n)
	s := State{Parked: []parked{{Since: 1, Event: imageOf(&e)}}}
	st := New(Options{})
	b, err := st.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	s, err = st.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, s.Parked[0].Event.event()); diff != "" {
		t.Errorf("event after parking (-want +got):\n%s", diff)
	}
}

func TestCloneEventSharesNothing(t *testing.T) {
	var e schemas.OrderEvent
	n := 0
	fill(t, reflect.ValueOf(&e).Elem(), &n)
	c := cloneEvent(&e)
	e.Links[0].ID, e.DeliveryIDs[0], e.Fields["a"], e.Body[0], e.Amount.Value, e.Payer.Email = "!", "!", "!", 0, "!", "!"
	if c.Links[0].ID == "!" || c.DeliveryIDs[0] == "!" || c.Fields["a"] == "!" || c.Body[0] == 0 || c.Amount.Value == "!" || c.Payer.Email == "!" {
		t.Error("a copied event shares memory with the one it was copied from")
	}
}

func TestOldStatesAreReadAndForeignOnesRefused(t *testing.T) {
	st := New(Options{})
	s, err := st.Decode([]byte(`{"v":1,"k":"ORDER","n":2,"h":{"t":1,"r":7,"e":"WH-1"},"o":{"c":{"a":{"t":1,"r":7,"e":"WH-1"},"s":"PAID"}},"a":5}`))
	if err != nil || s.Status() != schemas.StatusPaid || s.Number != 2 {
		t.Errorf("Decode = %+v, %v; want a paid order with two transitions", s, err)
	}
	for _, bad := range []string{``, `null`, `{}`, `{"v":2}`, `{"v":1,"zz":1}`, `{"v":1}{"v":1}`, `{"v":1,"i":[{"e":"x","f":"x","a":1}]}`, `[]`, "\x00"} {
		if s, err := st.Decode([]byte(bad)); err == nil {
			t.Errorf("Decode(%q) = %+v, want an error", bad, s)
		}
	}
}

func sample(i int) *schemas.OrderEvent {
	return &schemas.OrderEvent{
		EventID: fmt.Sprintf("WH-%d", i), Kind: schemas.KindPayment, Provider: "paypal", Environment: schemas.Sandbox, Connection: "eu",
		RootID: "O1", EntityID: fmt.Sprintf("C%d", i%3), Links: []schemas.Link{{Relation: schemas.LinkOrder, ID: "O1"}},
		EventType: "PAYMENT.CAPTURE.COMPLETED", ProviderStatus: "COMPLETED", Status: schemas.StatusPaid, ProviderTime: start, ReceivedAt: start,
		DeliveryIDs: []string{fmt.Sprintf("T-%d", i)}, Amount: &schemas.Amount{Value: "10.00", Currency: "EUR"},
		Payer: &schemas.Payer{Email: "ana@example.com"}, Body: bytes.Repeat([]byte("x"), 2000), Fingerprint: fmt.Sprintf("F-%d", i),
	}
}

// FuzzDecode: whatever was decoded can be applied to, gives equal bytes when encoded twice, and never panics.
func FuzzDecode(f *testing.F) {
	st := New(Options{})
	var s State
	for i := range 4 {
		in := processors.Input{At: start, Key: "sandbox/eu/O1", Topic: schemas.TopicPayPalEvents, Record: sample(i)}
		if i == 2 {
			e := sample(i)
			e.Kind, e.RootID, e.Links = schemas.KindRefund, "C9", nil
			in.Record, in.Key = e, "sandbox/eu/C9"
		}
		next, _, err := st.Apply(s, in)
		if err != nil {
			f.Fatal(err)
		}
		s = next
		b, err := st.Encode(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"v":1,"t":"x","w":[{"a":1,"e":{}}],"c":[{"a":1,"e":{}}],"p":[{"i":"C1"}],"st":[{"c":"EUR"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := st.Decode(b)
		if err != nil {
			return
		}
		first, err := st.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := st.Decode(first)
		if err != nil {
			t.Fatalf("its own bytes are refused: %v", err)
		}
		if second, _ := st.Encode(again); !bytes.Equal(first, second) {
			t.Fatalf("encoded first %s, then %s", first, second)
		}
		_, _, _ = st.Apply(s, processors.Input{At: start, Key: "sandbox/eu/O1", Topic: schemas.TopicPayPalEvents, Record: sample(0)})
		_, _, _ = st.Apply(s, processors.Input{At: start, Key: "sandbox/eu/O1", Topic: schemas.TopicOrdersInbox, Record: &schemas.OrderLink{From: "sandbox/eu/C1", To: "sandbox/eu/O1"}})
		for _, timer := range st.Timers(s) {
			_, _, _ = st.Apply(s, processors.Input{At: timer.At, Timer: &timer})
		}
	})
}

// BenchmarkApply is one event as the engine sees it: decode, apply, encode.
func BenchmarkApply(b *testing.B) {
	st := New(Options{})
	var s State
	for i := range 5 {
		s, _, _ = st.Apply(s, processors.Input{At: start, Key: "sandbox/eu/O1", Topic: schemas.TopicPayPalEvents, Record: sample(i)})
	}
	in := processors.Input{At: start, Key: "sandbox/eu/O1", Topic: schemas.TopicPayPalEvents, Record: sample(9)}
	benchmarkApply(b, st, s, in)
}

// BenchmarkSubscription is the next sale of a subscription with three years of them.
func BenchmarkSubscription(b *testing.B) {
	st := New(Options{})
	sale := func(i int) processors.Input {
		e := sample(i)
		e.RootID, e.EntityID, e.EventType = "I-BW452GLLEP1G", fmt.Sprintf("8A%013dX", i), "PAYMENT.SALE.COMPLETED"
		e.EventID, e.Links = fmt.Sprintf("WH-%033d", i), []schemas.Link{{Relation: schemas.LinkSubscription, ID: e.RootID}}
		e.ProviderTime = start.AddDate(0, i, 0)
		e.ReceivedAt = e.ProviderTime
		return processors.Input{At: e.ReceivedAt, Key: "sandbox/eu/" + e.RootID, Topic: schemas.TopicPayPalEvents, Record: e}
	}
	var s State
	for i := range 36 {
		s, _, _ = st.Apply(s, sale(i))
	}
	benchmarkApply(b, st, s, sale(36))
}

func benchmarkApply(b *testing.B, st *Stage, s State, in processors.Input) {
	image, err := st.Encode(s)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("apply", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := st.Apply(s, in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode apply encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s, err := st.Decode(image)
			if err != nil {
				b.Fatal(err)
			}
			if s, _, err = st.Apply(s, in); err != nil {
				b.Fatal(err)
			}
			if _, err = st.Encode(s); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(image)), "state-bytes")
	})
}
