package connectorstest

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// The words of the schema that a connector may use.
var (
	statuses = []schemas.PaymentStatus{
		schemas.StatusUnknown, schemas.StatusDraft, schemas.StatusPending, schemas.StatusApproved, schemas.StatusFailed,
		schemas.StatusAuthorized, schemas.StatusPartiallyPaid, schemas.StatusPaid, schemas.StatusPartiallyRefunded,
		schemas.StatusDisputed, schemas.StatusExpired, schemas.StatusCancelled, schemas.StatusVoided, schemas.StatusRefunded,
		schemas.StatusChargedBack, schemas.StatusActive, schemas.StatusSuspended,
	}
	kinds = []schemas.EventKind{
		schemas.KindOrder, schemas.KindSubscription, schemas.KindPayment, schemas.KindRefund, schemas.KindDispute, schemas.KindOther,
	}
	relations = []schemas.LinkRelation{
		schemas.LinkOrder, schemas.LinkSubscription, schemas.LinkAuthorization, schemas.LinkCapture, schemas.LinkSale,
	}
	amountForm = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)
	hashForm   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// earliest and latest bound a sample's times: what is outside was read in another unit.
var earliest, latest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// each calls f with every record of every sample that is understood.
func each(c connectors.Connector, samples []connectors.Delivery, f func(i int, d connectors.Delivery, all []schemas.OrderEvent)) {
	for i, d := range samples {
		if events, err := c.Normalize(clone(d)); err == nil {
			f(i, d, events)
		}
	}
}

// vocabulary: statuses, kinds and links are words of the schema, money is decimal text in a currency, times are UTC in
// milliseconds, and texts are UTF-8.
func vocabulary(t *testing.T, c connectors.Connector, o Options) {
	understood := 0
	each(c, o.Samples, func(i int, _ connectors.Delivery, all []schemas.OrderEvent) {
		understood++
		for n := range all {
			e := &all[n]
			if !slices.Contains(statuses, e.Status) || !slices.Contains(kinds, e.Kind) {
				t.Errorf("sample %d: status %q, kind %q: not in the schema", i, e.Status, e.Kind)
			}
			if e.Links == nil || e.DeliveryIDs == nil || e.Fields == nil {
				t.Errorf("sample %d: a list of record %s is nil", i, e.EventID)
			}
			for _, l := range e.Links {
				if !slices.Contains(relations, l.Relation) || l.ID == "" {
					t.Errorf("sample %d: link %+v: not in the schema", i, l)
				}
			}
			for _, a := range []*schemas.Amount{e.Amount, e.RefundedTotal} {
				if a == nil {
					continue
				}
				if _, err := a.Money(); err != nil || !amountForm.MatchString(a.Value) {
					t.Errorf("sample %d: amount %+v is no plain decimal in a currency: %v", i, *a, err)
				}
			}
			for _, at := range []time.Time{e.ProviderTime, e.ReceivedAt} {
				if !at.Equal(at.Truncate(time.Millisecond)) || at.Before(earliest) || at.After(latest) {
					t.Errorf("sample %d: time %v of %s: want UTC in milliseconds", i, at, e.EventID)
				}
			}
			if e.ProviderTime.Location() != time.UTC {
				t.Errorf("sample %d: time %v of %s is not UTC", i, e.ProviderTime, e.EventID)
			}
			if !hashForm.MatchString(e.BodyHash) || e.Sequence < 0 || e.Versioned && e.Sequence == 0 {
				t.Errorf("sample %d: body hash %q, sequence %d, versioned %t", i, e.BodyHash, e.Sequence, e.Versioned)
			}
			textsBounded(t, e, 0)
		}
		deliveriesDiffer(t, i, all)
	})
	if understood == 0 {
		t.Error("no sample is understood")
	}
}

// deliveriesDiffer: two events of one order that came together would pass for one delivery with two contents.
func deliveriesDiffer(t *testing.T, sample int, all []schemas.OrderEvent) {
	seen := map[string]bool{}
	for _, e := range all {
		for _, id := range e.DeliveryIDs {
			if key := e.Key() + " " + id; seen[key] {
				t.Errorf("sample %d: two records of %s have the delivery id %s", sample, e.RootID, id)
			} else {
				seen[key] = true
			}
		}
	}
}

// Bounds of one record beside its body.
const (
	idBytesMax        = 512
	fieldsMax         = 1000
	textBytesMax      = 2 << 10
	statusBytesMax    = 16 << 10 // the provider's own word, unchanged: a bad one becomes UNKNOWN and is told as it is
	recordBytesMax    = 64 << 10
	recordFactorMax   = 4 // times the bytes of the body
	recordsOfABodyMax = 10_000
)

// textsBounded: every text of the record is UTF-8 within its bound. bodyBytes widens the bound of all together.
func textsBounded(t *testing.T, e *schemas.OrderEvent, bodyBytes int) {
	t.Helper()
	total := 0
	check := func(what, text string, most int) {
		total += len(text)
		if len(text) > most || !utf8.ValidString(text) {
			t.Errorf("%s: %d bytes, valid %t, want valid UTF-8 of at most %d: %.60q", what, len(text), utf8.ValidString(text), most, text)
		}
	}
	for what, id := range map[string]string{
		"event id": e.EventID, "root id": e.RootID, "entity id": e.EntityID, "event type": e.EventType,
	} {
		check(what, id, idBytesMax)
	}
	check("provider status", e.ProviderStatus, statusBytesMax)
	for _, l := range e.Links {
		check("link", l.ID, idBytesMax)
	}
	if p := e.Payer; p != nil {
		for _, text := range []string{
			p.Email, p.GivenName, p.Surname, p.FullName, p.Phone, p.PayerID, p.Address.Line1, p.Address.Line2, p.Address.City,
			p.Address.State, p.Address.PostalCode, p.Address.Country,
		} {
			check("payer", text, textBytesMax)
		}
	}
	for name, value := range e.Fields {
		check("field name", name, textBytesMax)
		check("field "+name, value, textBytesMax)
	}
	check("custom id", e.CustomID, textBytesMax)
	check("invoice id", e.InvoiceID, textBytesMax)
	if len(e.Fields) > fieldsMax || total > max(recordBytesMax, recordFactorMax*bodyBytes) {
		t.Errorf("record %.60q has %d fields and %d bytes of text", e.EventID, len(e.Fields), total)
	}
}

// stored rebuilds the delivery of a record that was kept.
func stored(e *schemas.OrderEvent) connectors.Delivery {
	d := connectors.Delivery{
		Connection: e.Connection, Environment: e.Environment, Body: bytes.Clone(e.Body), Headers: e.Headers,
		ReceivedAt: e.ReceivedAt, Origin: e.Origin, Test: e.Test,
	}
	if len(e.DeliveryIDs) > 0 {
		d.ID = e.DeliveryIDs[0]
	}
	return d
}

// replayable: the bytes and headers of a record, normalised alone, give that record and no other.
func replayable(t *testing.T, c connectors.Connector, o Options) {
	each(c, o.Samples, func(i int, _ connectors.Delivery, all []schemas.OrderEvent) {
		for n := range all {
			again, err := c.Normalize(stored(&all[n]))
			if err != nil {
				t.Errorf("sample %d: record %s cannot be made from what is stored: %v", i, all[n].EventID, err)
				continue
			}
			if !o.Batches && len(again) == len(all) {
				again = again[n : n+1] // all of a delivery's records hold the whole body
			}
			if diff := cmp.Diff(again, all[n:n+1]); diff != "" {
				t.Errorf("sample %d: from storage against the first time:\n%s", i, diff)
			}
		}
	})
}

// withoutBytes is a record without what follows its bytes rather than their meaning.
func withoutBytes(e schemas.OrderEvent) schemas.OrderEvent {
	e.Body, e.BodyHash = nil, ""
	return e
}

// sameContent: members in another order, and other white space, make no other event.
func sameContent(t *testing.T, c connectors.Connector, o Options) {
	each(c, o.Samples, func(i int, d connectors.Delivery, all []schemas.OrderEvent) {
		doc, ok := parse(d.Body)
		if !ok {
			return
		}
		d.Body = doc.reordered()
		again, err := c.Normalize(d)
		if err != nil || len(again) != len(all) {
			t.Errorf("sample %d with its members in another order: %d records, %v", i, len(again), err)
			return
		}
		for n := range all {
			if diff := cmp.Diff(withoutBytes(again[n]), withoutBytes(all[n])); diff != "" {
				t.Errorf("sample %d: members in another order against the first:\n%s", i, diff)
			}
		}
	})
}

// meaning is what other parts of the system act on.
func meaning(e schemas.OrderEvent) schemas.OrderEvent {
	e = withoutBytes(e)
	e.EventID, e.Fingerprint, e.DeliveryIDs, e.ReceivedAt, e.Headers = "", "", nil, time.Time{}, nil
	return e
}

// leavesMax bounds how many values of one sample are changed, one at a time.
const leavesMax = 400

// otherContent: no value can be changed so that a record means something else and passes for the same content.
func otherContent(t *testing.T, c connectors.Connector, o Options) {
	changes := 0
	each(c, o.Samples, func(i int, d connectors.Delivery, all []schemas.OrderEvent) {
		doc, ok := parse(d.Body)
		if !ok {
			return
		}
		for n := range min(doc.leaves(), leavesMax) {
			path, text := doc.changed(n)
			d.Body = text
			again, err := c.Normalize(clone(d))
			if err != nil || len(again) != len(all) {
				continue
			}
			for k := range all {
				if cmp.Equal(meaning(again[k]), meaning(all[k])) {
					continue
				}
				changes++
				if again[k].Fingerprint == all[k].Fingerprint {
					t.Errorf("sample %d: %s changed the record and not its fingerprint", i, path)
				}
				if o.ContentIDs && again[k].EventID == all[k].EventID {
					t.Errorf("sample %d: %s changed the record and not its event id", i, path)
				}
			}
		}
	})
	if changes == 0 {
		t.Error("no change of a sample changed a record")
	}
}

// plainDigits are a decimal's digits without point and leading zeros: the same for "20.00" and 2000 minor units.
func plainDigits(text string) string {
	return strings.TrimLeft(strings.Replace(strings.TrimPrefix(text, "-"), ".", "", 1), "0")
}

// exactDigits are more than a float64 holds, wherever the point stands; roundingMax is how far off one would be.
const (
	exactDigits = "9007199254740993"
	roundingMax = 8
)

// rounded reports whether digits are nearly exactDigits.
func rounded(digits string) bool {
	got, err := strconv.ParseInt(digits, 10, 64)
	want, _ := strconv.ParseInt(exactDigits, 10, 64)
	return err == nil && got != want && got-want <= roundingMax && want-got <= roundingMax
}

// exactMoney: an amount beyond what a float holds comes out with each of its digits.
func exactMoney(t *testing.T, c connectors.Connector, o Options) {
	each(c, o.Samples, func(i int, d connectors.Delivery, all []schemas.OrderEvent) {
		doc, ok := parse(d.Body)
		if !ok {
			return
		}
		for _, a := range amounts(all) {
			for n := range min(doc.leaves(), leavesMax) {
				_, old := doc.leaf(n)
				if plainDigits(old) != plainDigits(a.Value) || plainDigits(old) == "" || !amountForm.MatchString(old) {
					continue
				}
				big := exactDigits
				if _, decimals, ok := strings.Cut(old, "."); ok {
					big = exactDigits[:len(exactDigits)-len(decimals)] + "." + exactDigits[len(exactDigits)-len(decimals):]
				}
				path, text := doc.replaced(n, big)
				d.Body = text
				again, err := c.Normalize(clone(d))
				if err != nil {
					continue
				}
				for _, b := range amounts(again) {
					if rounded(plainDigits(b.Value)) {
						t.Errorf("sample %d: %s of %s came out as %s", i, path, big, b.Value)
					}
				}
			}
		}
	})
}

func amounts(all []schemas.OrderEvent) []schemas.Amount {
	var out []schemas.Amount
	for _, e := range all {
		for _, a := range []*schemas.Amount{e.Amount, e.RefundedTotal} {
			if a != nil {
				out = append(out, *a)
			}
		}
	}
	return out
}

// listed: what the provider lists is the same event as what it sent, so that a poll repairs and never doubles.
func listed(t *testing.T, c connectors.Connector, o Options) {
	pairs := 0
	each(c, o.Samples, func(i int, d connectors.Delivery, all []schemas.OrderEvent) {
		polled, ok := o.Listed(clone(d))
		if !ok {
			return
		}
		pairs++
		again, err := c.Normalize(polled)
		if err != nil {
			t.Errorf("sample %d as listed: %v", i, err)
			return
		}
		ids := func(list []schemas.OrderEvent) (out []string) {
			for _, e := range list {
				out = append(out, e.RootID+" "+e.EventID+" "+e.Fingerprint+" "+string(e.Status))
			}
			slices.Sort(out)
			return out
		}
		if diff := cmp.Diff(ids(again), ids(all)); diff != "" {
			t.Errorf("sample %d: listed against sent (root, event, fingerprint, status):\n%s", i, diff)
		}
	})
	if pairs == 0 {
		t.Error("no sample has a listed form")
	}
}

// tombstones: a removal names what was removed and says Deleted; no other sample does.
func tombstones(t *testing.T, c connectors.Connector, o Options) {
	for i, d := range o.Tombstones {
		events, err := c.Normalize(clone(d))
		if err != nil || len(events) == 0 {
			t.Errorf("tombstone %d: %d records, %v", i, len(events), err)
		}
		for _, e := range events {
			if !e.Deleted || e.RootID == "" || e.EventID == "" || e.ProviderTime.IsZero() || e.Fingerprint == "" {
				t.Errorf("tombstone %d: got %+v, want a complete record that says Deleted", i, e)
			}
		}
		again, err := c.Normalize(clone(d))
		if diff := cmp.Diff(again, events); err != nil || diff != "" {
			t.Errorf("tombstone %d, once more: %v\n%s", i, err, diff)
		}
	}
}
