package getresponse_test

import (
	"testing"

	twin "github.com/tillstream/tillstream/simulators/getresponse"
	"github.com/tillstream/tillstream/sinks"
)

func TestCatalogueIsComplete(t *testing.T) {
	b := open(t, twin.Options{})
	c := b.w.(sinks.Cataloguer)
	fields, o := c.Catalogue(t.Context(), sinks.EntryField)
	if o.Kind != sinks.Delivered || len(fields) != twin.DefaultFields {
		t.Fatalf("%d fields, %v; want %d", len(fields), o.Err, twin.DefaultFields)
	}
	lists, o := c.Catalogue(t.Context(), sinks.EntryList)
	if o.Kind != sinks.Delivered || len(lists) == 0 || lists[0].ID == "" || lists[0].Names[0] == "" {
		t.Errorf("lists %+v, %v", lists, o.Err)
	}
	if list, o := c.Catalogue(t.Context(), sinks.EntryAutomation); o.Kind != sinks.Rejected || list != nil || o.Remedy == "" {
		t.Errorf("automations %v with outcome %+v, want a refusal that says what to do", list, o)
	}
}
