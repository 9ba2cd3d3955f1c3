package clickhouse_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/clickhouse"
)

// A money is what one step of a root brought, as a plain fold over its transitions finds it.
type money struct {
	root, store, kind, currency, contact string
	month                                time.Time
	captured, refunded                   int64 // cents
}

// randomMoney makes the transitions of some roots, interleaved, and folds them. Totals rise, stay, fall and come back to
// zero; times go back; a contact is known late, or never; some records count nothing.
func randomMoney(random *rand.Rand) (list []*schemas.Transition, steps []money) {
	type state struct{ paid, refunded, number int64 }
	const roots = 40
	states := make([]state, roots)
	mine := make([][]money, roots)
	contacts := make([]string, roots)
	for range 12 * roots {
		i := random.IntN(roots)
		s := &states[i]
		s.number++
		store, kind, currency := []string{"shop", "mall"}[i%2], []schemas.EventKind{schemas.KindOrder, schemas.KindSubscription}[i/2%2], []string{"EUR", "USD"}[i/4%2]
		contact := ""
		if random.IntN(3) > 0 && i%5 > 0 {
			contact = fmt.Sprintf("live/buyer%d@example.com", (i+random.IntN(2))%15)
		}
		at := moment("01-15 10:00").AddDate(0, random.IntN(6), random.IntN(10))
		t := &schemas.Transition{
			RootKey: fmt.Sprintf("live/%s/R%d", store, i), RootKind: kind, Number: s.number, Disposition: schemas.Changed, Legal: true, Currency: currency, ContactKey: contact, At: at,
			Event: schemas.OrderEvent{EventID: fmt.Sprintf("E%d-%d", i, s.number), Environment: schemas.Live, Connection: store, RootID: fmt.Sprintf("R%d", i), ProviderTime: at, ReceivedAt: at},
		}
		paid, refunded := s.paid, s.refunded
		switch random.IntN(6) {
		case 0, 1:
			paid += random.Int64N(5000)
		case 2:
			refunded += random.Int64N(500)
		case 3:
			paid, refunded = 0, 0
		}
		t.Paid, t.Refunded = decimal.New(paid, -2).String(), decimal.New(refunded, -2).String()
		list = append(list, t)
		switch random.IntN(12) {
		case 0:
			t.Disposition = schemas.Duplicate
			continue
		case 1:
			t.Event.Test = true
			continue
		}
		if contact != "" {
			contacts[i] = contact
		}
		if paid != s.paid || refunded != s.refunded {
			month := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
			mine[i] = append(mine[i], money{t.RootKey, store, string(kind), currency, "", month, paid - s.paid, refunded - s.refunded})
		}
		s.paid, s.refunded = paid, refunded
	}
	for i, of := range mine {
		for _, m := range of {
			m.contact = contacts[i]
			steps = append(steps, m)
		}
	}
	return list, steps
}

func euros(cents int64) string { return decimal.New(cents, -2).String() }

// foldRevenue is the report revenue.
func foldRevenue(steps []money) (lines []string) {
	type sum struct{ gross, refunds, captures, back int64 }
	sums := map[string]*sum{}
	for _, m := range steps {
		key := strings.Join([]string{m.month.Format(time.DateOnly), m.store, m.kind, m.currency}, " ")
		if sums[key] == nil {
			sums[key] = &sum{}
		}
		s := sums[key]
		s.gross, s.refunds = s.gross+m.captured, s.refunds+m.refunded
		if m.captured > 0 {
			s.captures++
		}
		if m.refunded > 0 {
			s.back++
		}
	}
	for key, s := range sums {
		lines = append(lines, fmt.Sprint(key, " ", euros(s.gross), " ", euros(s.refunds), " ", euros(s.gross-s.refunds), " ", s.captures, " ", s.back))
	}
	return lines
}

// foldCohorts is the report cohorts, without what it divides.
func foldCohorts(steps []money) (lines []string) {
	type buyer struct{ contact, currency string }
	type sum struct{ gross, net int64 }
	months := map[buyer]map[time.Time]*sum{}
	for _, m := range steps {
		b := buyer{m.contact, m.currency}
		switch {
		case m.contact == "":
			continue
		case months[b] == nil:
			months[b] = map[time.Time]*sum{}
		}
		if months[b][m.month] == nil {
			months[b][m.month] = &sum{}
		}
		s := months[b][m.month]
		s.gross, s.net = s.gross+m.captured, s.net+m.captured-m.refunded
	}
	type row struct {
		cohort   time.Time
		currency string
		months   int
	}
	buyers, nets := map[row]int64{}, map[row]int64{}
	for b, of := range months {
		var cohort time.Time
		for month, s := range of {
			if s.gross > 0 && (cohort.IsZero() || month.Before(cohort)) {
				cohort = month
			}
		}
		for month, s := range of {
			if cohort.IsZero() || month.Before(cohort) {
				continue
			}
			r := row{cohort, b.currency, int(month.Month()) - int(cohort.Month())}
			if nets[r] += s.net; s.gross > 0 {
				buyers[r]++
			}
		}
	}
	for r, net := range nets {
		size := buyers[row{r.cohort, r.currency, 0}]
		lines = append(lines, fmt.Sprint(r.cohort.Format(time.DateOnly), " ", r.currency, " ", r.months, " ", size, " ", buyers[r], " ", euros(net)))
	}
	return lines
}

// foldTags is the report revenue-by-tag, of contacts with the tags given.
func foldTags(steps []money, tags map[string][]string) (lines []string) {
	type key struct{ tag, currency string }
	type sum struct {
		contacts, orders map[string]bool
		gross, refunds   int64
	}
	sums := map[key]*sum{}
	for _, m := range steps {
		for _, tag := range tags[m.contact] {
			k := key{tag, m.currency}
			if sums[k] == nil {
				sums[k] = &sum{contacts: map[string]bool{}, orders: map[string]bool{}}
			}
			s := sums[k]
			s.contacts[m.contact], s.orders[m.root] = true, true
			s.gross, s.refunds = s.gross+m.captured, s.refunds+m.refunded
		}
	}
	for k, s := range sums {
		lines = append(lines, fmt.Sprint(k.tag, " ", k.currency, " ", len(s.contacts), " ", len(s.orders), " ", euros(s.gross), " ", euros(s.refunds), " ", euros(s.gross-s.refunds)))
	}
	return lines
}

// randomTags makes desired states of contacts at two destinations, and tells the tags of the newest ones.
func randomTags(random *rand.Rand) (list []*schemas.Command, tags map[string][]string) {
	newest := map[string][]string{}
	for i := range 60 {
		contact := fmt.Sprintf("live/buyer%d@example.com", random.IntN(15))
		var names []string
		for _, tag := range []string{"buyer", "vip", "late"} {
			if random.IntN(2) == 0 {
				names = append(names, tag)
			}
		}
		c := contactCommand(fmt.Sprint("C", i), contact, int64(i+1), names...)
		c.Destination = []string{"crm", "mail"}[random.IntN(2)]
		list, newest[c.Destination+" "+contact] = append(list, c), names
	}
	tags = map[string][]string{}
	for at, names := range newest {
		_, contact, _ := strings.Cut(at, " ")
		for _, tag := range names {
			if !slices.Contains(tags[contact], tag) {
				tags[contact] = append(tags[contact], tag)
			}
		}
	}
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list, tags
}

// TestReportsAboutMoneyAreAPlainFold over what the records say, although every batch is inserted twice, and again in ranges
// that overlap.
func TestReportsAboutMoneyAreAPlainFold(t *testing.T) {
	for seed := range uint64(3) {
		store, conn := prepared(t)
		withoutMerges(t, conn)
		random := rand.New(rand.NewPCG(seed, 8))
		transitions, steps := randomMoney(random)
		commands, tags := randomTags(random)
		for topic, rows := range map[string][]sinks.Row{schemas.TopicTransitions: rowsOf(0, transitions...), schemas.TopicCommands: rowsOf(0, commands...)} {
			n := len(rows)
			for _, cut := range [][2]int{{0, n / 2}, {n / 3, n}, {0, n}, {n / 4, n / 4 * 3}} {
				part := rows[cut[0]:cut[1]]
				insert(t, store, rangeOf(topic, part), part)
				insert(t, store, rangeOf(topic, part), part)
			}
		}
		if got := count(t, conn, "SELECT toUInt64(count() - uniqExact(_offset)) FROM transitions"); got == 0 {
			t.Fatal("no row is stored twice: the test tests nothing")
		}
		cohorts := report(t, store, "cohorts", clickhouse.ReportFilter{})
		for i, line := range cohorts {
			cells := strings.Fields(line)
			cohorts[i] = strings.Join(append(cells[:5:5], cells[6]), " ")
		}
		for _, c := range []struct {
			name      string
			got, want []string
		}{
			{"revenue", report(t, store, "revenue", clickhouse.ReportFilter{}), foldRevenue(steps)},
			{"cohorts", cohorts, foldCohorts(steps)},
			{"revenue-by-tag", report(t, store, "revenue-by-tag", clickhouse.ReportFilter{}), foldTags(steps, tags)},
		} {
			slices.Sort(c.got)
			slices.Sort(c.want)
			if diff := cmp.Diff(c.got, c.want); diff != "" || len(c.want) == 0 {
				t.Errorf("seed %d, %s (-got +want):\n%s", seed, c.name, diff)
			}
		}
	}
}
