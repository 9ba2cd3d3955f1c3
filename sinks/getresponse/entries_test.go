package getresponse_test

import (
	"testing"
	"time"

	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/getresponse"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/getresponse"
)

// TestCatalogue: what mappings and workflows name is found by its name; what this sink has sent itself is not offered.
func TestCatalogue(t *testing.T) {
	b := open(t, twin.Options{})
	b.AddDraft(twin.Draft{Name: "Hello", Subject: "Hi", Plain: "x"})
	b.AddTemplate("Your receipt", "", "x")
	b.AddTag("VIP_customer")
	b.subscribe(t, "C")
	b.deliver(t, action(schemas.EffectSendMessage, "Hello"))
	c := b.w.(sinks.Cataloguer)
	for kind, words := range map[sinks.EntryKind][]string{
		sinks.EntryField: {"order_amount", "scoring"}, sinks.EntryList: {"promo campaign", "C"}, sinks.EntryShop: {"Monster market", "pf3"},
		sinks.EntryTag: {"vip_customer"}, sinks.EntryMessage: {"Hello"},
	} {
		list, o := c.Catalogue(t.Context(), kind)
		if o.Kind != sinks.Delivered {
			t.Errorf("%s: %v", kind, o.Err)
		}
		for _, word := range words {
			if _, ok := sinks.FindEntry(list, word); !ok {
				t.Errorf("%s %q is not found", kind, word)
			}
		}
		if kind == sinks.EntryMessage && len(list) != 1 {
			t.Errorf("messages: got %+v, want the draft alone", list)
		}
	}
	mails := open(t, twin.Options{}, func(c *getresponse.Config) { c.Messages = getresponse.MessagesTransactional })
	id := mails.AddTemplate("Your receipt", "", "x")
	list, o := mails.w.(sinks.Cataloguer).Catalogue(t.Context(), sinks.EntryMessage)
	if found, ok := sinks.FindEntry(list, "your receipt"); !ok || found.ID != id {
		t.Errorf("templates: got %+v with %v", list, o.Err)
	}
}

// TestOwnFieldNamedScoring goes before the contact's score.
func TestOwnFieldNamedScoring(t *testing.T) {
	b := open(t, twin.Options{})
	cmd := ada()
	cmd.Contact.Fields = map[string]string{"Scoring": "+007.50"}
	b.deliver(t, cmd)
	if got := b.one(t); got.Score != "7.50" || len(got.Fields["scoring"]) > 0 {
		t.Errorf("got the score %q and %v", got.Score, got.Fields)
	}
	b.Score(cmd.Contact.Email, 3)
	cmd.Contact.Fields["Scoring"] = "-2"
	b.deliver(t, cmd)
	if got := b.one(t).Score; got != "-2" {
		t.Errorf("got the score %q, want -2", got)
	}
	writes := b.one(t).Writes
	b.deliver(t, cmd)
	if got := b.one(t).Writes; got != writes {
		t.Errorf("a score that is there was written again")
	}
	cmd.Contact.Fields["Scoring"] = "" // removed
	b.deliver(t, cmd)
	if got := b.one(t).Score; got != "0" {
		t.Errorf("got the score %q, want none", got)
	}
	cmd.Contact.Fields["Scoring"] = "many"
	if o := b.write(t.Context(), cmd); o.Kind != sinks.Rejected {
		t.Errorf("got %d: %v", o.Kind, o.Err)
	}
	b.AddField("scoring")
	b.wait(time.Hour)
	cmd.Contact.Fields["Scoring"] = "many"
	b.deliver(t, cmd)
	if got := b.one(t).Fields["scoring"]; len(got) != 1 || got[0] != "many" {
		t.Errorf("got %q in the account's own field", got)
	}
}
