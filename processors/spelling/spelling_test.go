package spelling_test

import (
	"testing"

	"github.com/tillstream/tillstream/processors/spelling"
)

func TestNearest(t *testing.T) {
	known := []string{"payer.email", "order.amount", "order.paid", "Europe/Berlin"}
	for name, want := range map[string]string{
		"payer.emial":   "payer.email", // two letters changed places
		"order.amout":   "order.amount",
		"ORDER.PAID":    "order.paid",
		"email":         "payer.email", // the end of a longer name
		"europe/berlin": "Europe/Berlin",
		"zzzzzzzzzzz":   "",
		"order.zzzzzz":  "",
		"x":             "",
		"":              "",
	} {
		if got := spelling.Nearest(name, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
	if got := spelling.Nearest("cat", []string{"bat", "hat"}); got != "bat" {
		t.Errorf("two that are as near: got %q, want the first", got)
	}
}
