package orders

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/schemas"
)

// MarshalText undoes UnmarshalText, so that a test can write a state as format 1 was written.
func (m mark) MarshalText() ([]byte, error) {
	return []byte(base64.RawURLEncoding.EncodeToString(m[:])), nil
}

var sameState = cmp.Options{cmp.AllowUnexported(State{}, seen{}), cmpopts.IgnoreFields(State{}, "Gone"), cmp.Exporter(func(reflect.Type) bool { return true })}

// testdata/states-v1.txt holds states as the release before wrote them, with what that release read off them: facts,
// what is pending, transitions, timers. They are never written anew.
func TestStatesOfFormat1(t *testing.T) {
	lines, err := os.ReadFile("testdata/states-v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	st := New(Options{})
	var before, after int
	for i, line := range strings.Split(strings.TrimSpace(string(lines)), "\n") {
		parts := strings.Split(line, "\t")
		old, err := st.Decode([]byte(parts[0]))
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		b, err := st.Encode(old)
		if err != nil {
			t.Fatal(err)
		}
		s, err := st.Decode(b)
		if err != nil {
			t.Fatalf("line %d, in its new form: %v", i+1, err)
		}
		if diff := cmp.Diff(s, old, sameState); diff != "" {
			t.Errorf("line %d: read from its new form (-new +old):\n%s", i+1, diff)
		}
		for form, s := range map[string]State{"old": old, "new": s} {
			f, _ := s.Facts()
			facts, err := json.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			events, transitions := s.Pending()
			if got := []string{string(facts), fmt.Sprint(events, transitions, s.Number, st.Timers(s))}; !slices.Equal(got, parts[1:]) {
				t.Errorf("line %d, %s form:\ngot  %s\nwant %s", i+1, form, got, parts[1:])
			}
		}
		before, after = before+len(parts[0]), after+len(b)
	}
	if after*2 > before {
		t.Errorf("states of %d bytes became %d, want less than half", before, after)
	}
}

// A field added to the state and forgotten in its bytes would be lost.
func TestEveryFieldIsKept(t *testing.T) {
	var want State
	n := 0
	fill(t, reflect.ValueOf(&want).Elem(), &n)
	want.Format, want.Gone = 0, false
	st := New(Options{})
	b, err := st.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := st.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want, sameState); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	want.Format = formatJSON
	old, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err = st.Decode(old); err != nil {
		t.Fatal(err)
	}
	got.Format = formatJSON // what came to the state since has no name in JSON: compare what has
	again, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(again), string(old)); diff != "" {
		t.Errorf("from JSON (-got +want):\n%s", diff)
	}
	for n := range b {
		if _, err := st.Decode(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are read", n, len(b))
		}
	}
}

func TestStatesOfNewerProgramsAreRefused(t *testing.T) {
	st := New(Options{})
	b, err := st.Encode(State{Kind: schemas.KindOrder, Touched: 1})
	if err != nil {
		t.Fatal(err)
	}
	field := append(bytes.Clone(b[:len(b)-1]), 99, 0)
	version := append([]byte{formatCompact + 1}, b[1:]...)
	for name, tt := range map[string]struct {
		b    []byte
		want string
	}{
		"field":        {field, "decode the state of an order: field 99 is not known: it was written by a newer tillstream: upgrade this one"},
		"version":      {version, "decode the state of an order: format 3 is not known, this program reads up to 2: it was written by a newer tillstream: upgrade this one"},
		"bytes left":   {append(bytes.Clone(b), 0), "decode the state of an order: more bytes after its end"},
		"foreign link": {[]byte{formatCompact, 13, 1, 1, 0}, "decode the state of an order: it refers to a payment that it does not hold"},
		"foreign time": {[]byte{formatCompact, 4, 1, 0}, "decode the state of an order: it refers to a moment that it does not hold"},
		"foreign text": {[]byte{formatCompact, 14, 1, 0}, "decode the state of an order: its bytes are damaged"},
		"foreign word": {[]byte{formatCompact, 14, 0xff, 0x7f, 0}, "decode the state of an order: its bytes are damaged"},
	} {
		if s, err := st.Decode(tt.b); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %+v, %v", name, s, err)
		}
	}
}

// An order as most are: approved, captured, one e-mail address. What Redis holds of it beyond its own data is what the
// engine needs to recognise repetitions and late events.
func TestSizeOfAnOrdinaryOrder(t *testing.T) {
	st := New(Options{})
	var s State
	own := 0
	for i, e := range ordinaryOrder() {
		next, _, err := st.Apply(s, processors.Input{At: e.ReceivedAt, Key: e.Key(), Topic: schemas.TopicPayPalEvents, Record: e})
		if err != nil {
			t.Fatal(err)
		}
		s = next
		own += len(e.EventID) + len(e.ProviderStatus) + len(e.Amount.Value) + len(e.Amount.Currency)
		if i == 0 {
			p := e.Payer
			own += len(e.RootID) + len(p.Email+p.GivenName+p.Surname+p.PayerID+p.Address.Country)
		} else {
			own += len(e.EntityID)
		}
	}
	b, err := st.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	s.Format = formatJSON
	old, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, %d of them its own data; as format 1: %d", len(b), own, len(old))
	if len(b) > own+200 {
		t.Errorf("the state has %d bytes for %d bytes of data", len(b), own)
	}
}

func ordinaryOrder() []*schemas.OrderEvent {
	approved := &schemas.OrderEvent{
		EventID: "WH-58D329510W468432D-8HN650336L201105X", Kind: schemas.KindOrder, Provider: "paypal", Environment: schemas.Live, Connection: "shop",
		RootID: "5O190127TN364715T", EntityID: "5O190127TN364715T", EventType: "CHECKOUT.ORDER.APPROVED", ProviderStatus: "APPROVED",
		Status: schemas.StatusApproved, ProviderTime: start, ReceivedAt: start.Add(1500e6), DeliveryIDs: []string{"69cd13f0-d67a-11e5-baa3-778b53f4ae55"},
		Amount: &schemas.Amount{Value: "100.00", Currency: "USD"}, Fingerprint: strings.Repeat("ab", 32),
		Payer: &schemas.Payer{Email: "ana.cruz@example.com", GivenName: "Ana", Surname: "Cruz", PayerID: "QYR5Z8XDVJNXQ", Address: schemas.Address{Country: "US"}},
	}
	captured := *approved
	captured.EventID, captured.Kind, captured.EntityID = "WH-58D329510W468432D-1UV30552J8264353U", schemas.KindPayment, "2GG279541U471931P"
	captured.EventType, captured.ProviderStatus, captured.Status = "PAYMENT.CAPTURE.COMPLETED", "COMPLETED", schemas.StatusPaid
	captured.Links = []schemas.Link{{Relation: schemas.LinkOrder, ID: approved.RootID}}
	captured.ProviderTime, captured.ReceivedAt, captured.Payer = start.Add(4e9), start.Add(6e9), nil
	captured.DeliveryIDs, captured.Fingerprint = []string{"79cd13f0-d67a-11e5-baa3-778b53f4ae55"}, strings.Repeat("cd", 32)
	return []*schemas.OrderEvent{approved, &captured}
}
