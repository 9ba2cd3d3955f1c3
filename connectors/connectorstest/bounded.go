package connectorstest

import (
	"testing"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// Bounded fails where a record's fields or amounts are none that the rest of the system takes: what a fuzz target asks
// of each record that was understood. fieldsMax is how many fields the connector fills at most.
func Bounded(t *testing.T, e *schemas.OrderEvent, fieldsMax int) {
	t.Helper()
	size := 0
	for name, value := range e.Fields {
		size += len(name) + len(value)
	}
	if len(e.Fields) > fieldsMax || size > connectors.FieldsBytesTotal {
		t.Fatalf("got %d fields of %d bytes", len(e.Fields), size)
	}
	for _, a := range []*schemas.Amount{e.Amount, e.RefundedTotal} {
		if a == nil {
			continue
		}
		if _, err := a.Money(); err != nil {
			t.Fatal(err)
		}
	}
}
