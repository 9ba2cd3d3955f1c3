package activecampaign_test

import (
	"strings"
	"testing"

	twin "github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/sinks"
)

// Every page is read: the fields of a payment stand behind the third page of 20.
func TestCatalogueIsComplete(t *testing.T) {
	_, w := open(t, twin.Options{})
	c := w.(sinks.Cataloguer)
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
	lists, o := c.Catalogue(t.Context(), sinks.EntryList)
	if o.Kind != sinks.Delivered || len(lists) == 0 || lists[0].ID == "" || lists[0].Names[0] == "" {
		t.Errorf("lists %+v, %v", lists, o.Err)
	}
	if list, o := c.Catalogue(t.Context(), sinks.EntryMessage); o.Kind != sinks.Rejected || list != nil || o.Remedy == "" {
		t.Errorf("messages %v with outcome %+v, want a refusal that says what to do", list, o)
	}
}

func TestCatalogueSaysWhyItCannotBeRead(t *testing.T) {
	s, w := open(t, twin.Options{})
	s.SetFaults(twin.Faults{ServerError: 1})
	if _, o := w.(sinks.Cataloguer).Catalogue(t.Context(), sinks.EntryField); o.Kind == sinks.Delivered || o.Err == nil || strings.Contains(o.Err.Error(), apiKey) {
		t.Errorf("outcome %+v", o)
	}
}
