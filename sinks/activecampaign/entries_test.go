package activecampaign_test

import (
	"fmt"
	"strings"
	"testing"

	twin "github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/sinks"
)

// Every page is read: the fields of a payment stand behind the third page of 20.
func TestCatalogueIsComplete(t *testing.T) {
	s, w := open(t, twin.Options{Lists: 130, Automations: 140})
	c := w.(sinks.Cataloguer)
	s.Subscribe("ada@shop.example", "Newsletter", 1)
	for n := range 120 {
		if err := s.Do(twin.Act{Do: "tag", Email: "ada@shop.example", Name: fmt.Sprintf("Tag %d", n)}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 110 {
		cmd := order("PAID")
		cmd.Effect.Arguments["shop"] = fmt.Sprintf("shop-%d", n)
		write(t, w, cmd)
	}
	for kind, want := range map[sinks.EntryKind]struct {
		rows int
		word string
	}{
		sinks.EntryTag: {120, "TAG 119"}, sinks.EntryShop: {110, "shop-109"}, sinks.EntryList: {130, "List 129"},
		sinks.EntryAutomation: {140, "automation 139"}, sinks.EntryMessage: {140, "payment reminder"},
	} {
		rows, o := c.Catalogue(t.Context(), kind)
		if _, found := sinks.FindEntry(rows, want.word); o.Kind != sinks.Delivered || len(rows) != want.rows || !found {
			t.Errorf("%s: %d rows, %s among them: %v, outcome %d: %v; want %d", kind, len(rows), want.word, found, o.Kind, o.Err, want.rows)
		}
	}
	fields, o := c.Catalogue(t.Context(), sinks.EntryField)
	if o.Kind != sinks.Delivered || len(fields) != twin.DefaultFields {
		t.Fatalf("%d fields, %v; want %d", len(fields), o.Err, twin.DefaultFields)
	}
	for word, want := range map[string]sinks.FieldType{
		"ORDER_ID": sinks.FieldText, "order amount": sinks.FieldNumber, "ORDER_DATE": sinks.FieldTime, "%NEXT_BILLING%": sinks.FieldDate, "interests": sinks.FieldOptions,
	} {
		if f, ok := sinks.FindEntry(fields, word); !ok || f.Type != want || (want == sinks.FieldOptions) != (len(f.Options) > 0) {
			t.Errorf("%s: found %v, %+v; want a field of type %s", word, ok, f, want)
		}
	}
	if list, o := c.Catalogue(t.Context(), "tin"); o.Kind != sinks.Rejected || list != nil || o.Remedy == "" {
		t.Errorf("tins %v with outcome %+v, want a refusal that says what to do", list, o)
	}
}

func TestCatalogueSaysWhyItCannotBeRead(t *testing.T) {
	s, w := open(t, twin.Options{})
	s.SetFaults(twin.Faults{ServerError: 1})
	if _, o := w.(sinks.Cataloguer).Catalogue(t.Context(), sinks.EntryField); o.Kind == sinks.Delivered || o.Err == nil || strings.Contains(o.Err.Error(), apiKey) {
		t.Errorf("outcome %+v", o)
	}
}
