package clickhouse_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks/clickhouse"
)

// Worked out by hand: what each of five subscriptions is worth a month, and when that changes.
func TestRecurringRevenueFollowsWhatSubscriptionsPay(t *testing.T) {
	store, conn := prepared(t)
	withoutMerges(t, conn)
	h := &history{numbers: map[string]int64{}, last: map[string]*schemas.Transition{}}
	begin := func(root, at string) {
		h.add(happened{root: "live/shop/" + root, at: at, kind: schemas.KindSubscription, typ: "SUB", said: schemas.StatusActive, to: schemas.StatusActive})
	}
	pays := func(root, at, amount string) {
		h.add(happened{root: "live/shop/" + root, at: at, kind: schemas.KindPayment, typ: "SALE", said: schemas.StatusPaid, amount: amount, entity: at})
	}
	begin("Sa", "01-05 10:00") // monthly: 10, then 15, cancelled in May although it had paid in May
	pays("Sa", "01-05 10:00", "10")
	pays("Sa", "02-05 10:00", "10")
	pays("Sa", "03-05 10:00", "15")
	pays("Sa", "05-05 10:00", "15") // April's was missed: it is monthly all the same
	h.add(happened{root: "live/shop/Sa", at: "05-20 10:00", kind: schemas.KindSubscription, typ: "SUB", said: schemas.StatusCancelled, to: schemas.StatusCancelled})
	begin("Sb", "02-01 10:00") // monthly: 20, then 12
	pays("Sb", "02-01 10:00", "20")
	pays("Sb", "03-01 10:00", "12")
	begin("Sc", "01-10 10:00") // quarterly: 30, which is 10 a month
	pays("Sc", "01-10 10:00", "30")
	pays("Sc", "04-10 10:00", "30")
	begin("Sd", "03-01 10:00") // weekly: 5, which is 21.74 a month
	pays("Sd", "03-01 10:00", "5")
	pays("Sd", "03-08 10:00", "5")
	begin("Se", "03-01 10:00") // a trial that never paid
	for range 2 {
		for topic, rows := range map[string][]*schemas.Transition{schemas.TopicTransitions: h.transitions} {
			all := rowsOf(0, rows...)
			insert(t, store, rangeOf(topic, all), all)
			insert(t, store, rangeOf(topic, all[3:]), all[3:])
		}
	}
	want := []string{ // at start, new, expansion, contraction, lost, at end, began, ended
		"2026-01-01 shop EUR 0 20 0 0 0 20 2 0",
		"2026-02-01 shop EUR 20 20 0 0 0 40 1 0",
		"2026-03-01 shop EUR 40 21.74 5 8 0 58.74 1 0",
		"2026-04-01 shop EUR 58.74 0 0 0 0 58.74 0 0",
		"2026-05-01 shop EUR 58.74 0 0 0 15 43.74 0 1",
	}
	if diff := cmp.Diff(report(t, store, "mrr", clickhouse.ReportFilter{}), want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(report(t, store, "mrr", clickhouse.ReportFilter{Since: moment("03-15 00:00"), Until: moment("04-30 00:00")}), want[2:4]); diff != "" {
		t.Errorf("of two months, which begin where the others end (-got +want):\n%s", diff)
	}
}
