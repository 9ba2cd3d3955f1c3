package mapping

import "testing"

// A shop of one's own has fields that no catalogue can list: an entry with * stands for them.
func TestKnownNamesMayGoOn(t *testing.T) {
	known := []string{"order.id", "data.*"}
	for name, want := range map[string]bool{
		"order.id": true, "order.id.x": false, "data.colour": true, "data.box.size": true, "data.": false, "data": false, "other": false,
	} {
		if got := Known(name, known); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}
