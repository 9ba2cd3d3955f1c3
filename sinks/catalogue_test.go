package sinks

import "testing"

func TestFindEntry(t *testing.T) {
	list := []Entry{
		{ID: "7", Names: []string{"PAYPAL_STATUS", "PayPal status"}, Type: FieldText},
		{ID: "8", Names: []string{"7"}, Type: FieldNumber},
		{ID: "9", Names: []string{"Newsletter"}},
	}
	for word, want := range map[string]string{
		"paypal_status": "7", " %PAYPAL_STATUS% ": "7", "paypal STATUS": "7", "newsletter": "9",
		"7": "8", // fields have names only
		"9": "9", // a list's id
	} {
		if got, ok := FindEntry(list, word); !ok || got.ID != want {
			t.Errorf("%q is entry %q (%v), want %s", word, got.ID, ok, want)
		}
	}
	for _, word := range []string{"", "PAYPAL", "8"} {
		if got, ok := FindEntry(list, word); ok {
			t.Errorf("%q is %+v, want none", word, got)
		}
	}
}
