package cli

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

func TestMoneyIsWrittenWithTheDigitsOfItsCurrency(t *testing.T) {
	number := decimal.RequireFromString
	r := chsink.Result{
		Columns: []chsink.Column{{Name: "currency", Type: "String"}, {Name: "net", Type: "Decimal(38, 9)"}, {Name: "captures", Type: "UInt64"}},
		Rows: [][]any{
			{"EUR", number("287.500000000"), uint64(2)},
			{"EUR", number("0"), uint64(0)},
			{"JPY", number("1200"), uint64(1)},
			{"KWD", number("1.5"), uint64(1)},
			{"EUR", number("0.125"), uint64(1)},
			{"?", number("1.5"), uint64(1)},
		},
	}
	amounts(r)
	var got []string
	for _, row := range r.Rows {
		got = append(got, fmt.Sprintf("%v %v %v", row...))
	}
	want := []string{"EUR 287.50 2", "EUR 0.00 0", "JPY 1200 1", "KWD 1.500 1", "EUR 0.125 1", "? 1.5 1"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}
