package sinkstest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// BulkCase is how a sink writes many desired states together.
type BulkCase struct {
	// Command is a desired state that may be written with others; its address is replaced.
	Command schemas.Command
	// Single are changes after each of which it may not.
	Single map[string]func(*schemas.Command)
	// Writes reports whether the request is the one that writes many.
	Writes func(*http.Request) bool
	// RequestsMax is what BulkMax contacts may cost, once all that is known of the account was read.
	RequestsMax int
}

// many are n commands for different people.
func (c BulkCase) many(n int) []schemas.Command {
	out := make([]schemas.Command, n)
	for i := range out {
		out[i] = c.Command
		who := fmt.Sprintf("many%d@shop.example", i)
		out[i].CommandID, out[i].ContactKey, out[i].Contact.Email = "many-"+who, "live/"+who, who
	}
	return out
}

func (o Options) bulk(t *testing.T) {
	b := o.open(t)
	w, can := b.writer.(sinks.BulkWriter)
	if can != (o.Bulk != nil) {
		t.Fatalf("the writer can write many together: %v, and a case for it is given: %v", can, !can)
	}
	if !can {
		return
	}
	t.Run("what may go together", func(t *testing.T) { o.bulkable(t, w) })
	t.Run("takes place", func(t *testing.T) { o.manyTakePlace(t, w.BulkMax()) })
	t.Run("one that is refused is refused alone", o.oneOfMany)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { o.bulkTrouble(t, c) })
	}
	t.Run("the connection is lost after it was applied", func(t *testing.T) {
		b := o.open(t)
		b.writes = o.Bulk.Writes
		b.answerWith(func(_ http.ResponseWriter, r *http.Request) {
			b.twin.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		})
		b.goThrough(o.Bulk.many(20))
	})
}

func (o Options) bulkable(t *testing.T, w sinks.BulkWriter) {
	if w.BulkMax() < 2 || !w.Bulk(o.Bulk.Command) {
		t.Fatalf("got a most of %d, and %v for the command of the case", w.BulkMax(), w.Bulk(o.Bulk.Command))
	}
	effect := o.Bulk.Command
	effect.Kind, effect.Effect = schemas.CommandEffect, &schemas.Effect{Type: schemas.EffectAddToList, Name: "x"}
	live := o.Bulk.Command
	live.Origin = schemas.OriginWebhook
	if w.Bulk(effect) || w.Bulk(live) {
		t.Errorf("an effect: %v, a desired state of a live event: %v; want neither", w.Bulk(effect), w.Bulk(live))
	}
	for name, change := range o.Bulk.Single {
		cmd := o.Bulk.Command
		change(&cmd)
		if w.Bulk(cmd) {
			t.Errorf("%s: it may go with others", name)
		}
	}
}

func (o Options) manyTakePlace(t *testing.T, most int) {
	b := o.open(t)
	warm := o.Bulk.many(1)
	warm[0].Contact.Email = "warm@shop.example"
	b.goThrough(warm)
	requests := 0
	b.writes = func(*http.Request) bool { requests++; return false } // one request at a time
	b.answerWith(func(http.ResponseWriter, *http.Request) {})
	list := o.Bulk.many(most)
	for i, got := range b.write(t.Context(), list...) {
		if got.Kind != sinks.Delivered || len(got.Exchanges) == 0 {
			t.Fatalf("command %d: got %d with %d exchanges: %v", i, got.Kind, len(got.Exchanges), got.Err)
		}
		for _, x := range got.Exchanges {
			if strings.Contains(x.Request+x.Response, list[(i+1)%most].Contact.Email) {
				t.Fatalf("command %d: its exchange tells of somebody else", i)
			}
		}
	}
	if requests > o.Bulk.RequestsMax {
		t.Errorf("%d contacts took %d requests, want at most %d", most, requests, o.Bulk.RequestsMax)
	}
	b.answerWith(nil)
	if o.Verify != nil {
		for _, i := range []int{0, most / 2, most - 1} {
			b.settled(list[i].Contact)
		}
	}
}

func (o Options) oneOfMany(t *testing.T) {
	b := o.open(t)
	list := o.Bulk.many(30)
	list[7].Contact.Email = "not an@address"
	list[9].Contact.Fields = map[string]string{"NO_SUCH_FIELD": "x"}
	for i, got := range b.write(t.Context(), list...) {
		want := sinks.Delivered
		if i == 7 || i == 9 {
			want = sinks.Rejected
		}
		if got.Kind != want || got.Account {
			t.Errorf("command %d: got %d, account %v, want %d: %v", i, got.Kind, got.Account, want, got.Err)
		}
	}
}

// bulkTrouble: whatever is answered, nothing is refused or uncertain for it, and all goes through in the end.
func (o Options) bulkTrouble(t *testing.T, c trouble) {
	b := o.openWith(t, c.patience)
	b.writes = o.Bulk.Writes
	b.answerWith(c.answer)
	list := o.Bulk.many(20)
	for i, got := range b.write(t.Context(), list...) {
		if got.Kind != sinks.Delivered && got.Kind != sinks.Retryable {
			t.Fatalf("command %d: got %d: %v", i, got.Kind, got.Err)
		}
	}
	b.answerWith(nil)
	b.goThrough(list)
	if o.Verify != nil {
		b.settled(list[0].Contact)
	}
}

// goThrough writes what is left until all is delivered.
func (b *bench) goThrough(list []schemas.Command) {
	b.t.Helper()
	for range triesMax {
		var left []schemas.Command
		for i, got := range b.write(b.t.Context(), list...) {
			switch got.Kind {
			case sinks.Delivered:
			case sinks.Retryable:
				left = append(left, list[i])
			default:
				b.t.Fatalf("%s: got %d: %v", list[i].CommandID, got.Kind, got.Err)
			}
		}
		if list = slices.Clip(left); len(list) == 0 {
			return
		}
	}
	b.t.Fatalf("%d commands were not delivered in %d tries", len(list), triesMax)
}
