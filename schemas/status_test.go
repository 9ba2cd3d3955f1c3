package schemas_test

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tillstream/tillstream/schemas"
)

type step struct {
	rank int
	next []string
}

// readTransitions reads testdata/transitions.txt, which states the steps independently of the code: kind, status, row.
func readTransitions(t *testing.T) map[schemas.EventKind]map[string]step {
	t.Helper()
	b, err := os.ReadFile("testdata/transitions.txt")
	if err != nil {
		t.Fatal(err)
	}
	tables := make(map[schemas.EventKind]map[string]step)
	var kind schemas.EventKind
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0] == "#":
		case len(words) == 1:
			kind = schemas.EventKind(words[0])
			tables[kind] = make(map[string]step)
		default:
			rank, err := strconv.Atoi(words[1])
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			tables[kind][words[0]] = step{rank, words[2:]}
		}
	}
	return tables
}

func allStatuses(tables map[schemas.EventKind]map[string]step) []string {
	var all []string
	for _, table := range tables {
		for status := range table {
			if !slices.Contains(all, status) {
				all = append(all, status)
			}
		}
	}
	slices.Sort(all)
	return all
}

func TestLegalAgreesWithTheTableForEveryPair(t *testing.T) {
	tables := readTransitions(t)
	all := allStatuses(tables)
	if got, want := len(all), 17; got != want {
		t.Fatalf("the table names %d statuses, want %d", got, want)
	}
	for kind, table := range tables {
		for _, from := range all {
			for _, to := range all {
				row := table[from]
				want := from == to || from == "UNKNOWN" || to == "UNKNOWN" || slices.Contains(row.next, to)
				if got := schemas.Legal(kind, schemas.PaymentStatus(from), schemas.PaymentStatus(to)); got != want {
					t.Errorf("%s: %s -> %s is legal: %t, want %t", kind, from, to, got, want)
				}
			}
		}
	}
}

func TestRanksAgreeWithTheTable(t *testing.T) {
	for kind, table := range readTransitions(t) {
		for status, row := range table {
			if got := schemas.PaymentStatus(status).Rank(); got != row.rank {
				t.Errorf("%s: rank of %s = %d, want %d", kind, status, got, row.rank)
			}
		}
	}
}

// The kinds of event that move an order share its table; only a subscription has its own.
func TestPaymentsFollowTheOrderTable(t *testing.T) {
	for _, kind := range []schemas.EventKind{schemas.KindPayment, schemas.KindRefund, schemas.KindDispute, schemas.KindOther} {
		if !schemas.Legal(kind, schemas.StatusApproved, schemas.StatusPaid) || schemas.Legal(kind, schemas.StatusVoided, schemas.StatusPaid) {
			t.Errorf("%s does not follow the order table", kind)
		}
	}
}

func TestLegalEdges(t *testing.T) {
	for _, tt := range []struct {
		kind     schemas.EventKind
		from, to schemas.PaymentStatus
		want     bool
	}{
		{schemas.KindOrder, "", schemas.StatusRefunded, true}, // the first event of a root
		{schemas.KindOrder, "SOMETHING_NEW", schemas.StatusPaid, false},
		{schemas.KindOrder, schemas.StatusPaid, "SOMETHING_NEW", false},
		{schemas.KindOrder, "SOMETHING_NEW", schemas.StatusUnknown, true},
		{schemas.KindSubscription, schemas.StatusCancelled, schemas.StatusActive, false}, // no late payment revives it
		{schemas.KindSubscription, schemas.StatusActive, schemas.StatusPaid, false},
		{schemas.KindOrder, schemas.StatusPaid, schemas.StatusActive, false},
	} {
		if got := schemas.Legal(tt.kind, tt.from, tt.to); got != tt.want {
			t.Errorf("%s: %q -> %q is legal: %t, want %t", tt.kind, tt.from, tt.to, got, tt.want)
		}
	}
}

func TestHard(t *testing.T) {
	hard := map[schemas.EventKind][]string{
		schemas.KindOrder:        {"CHARGED_BACK", "REFUNDED", "VOIDED"},
		schemas.KindPayment:      {"CHARGED_BACK", "REFUNDED", "VOIDED"},
		schemas.KindSubscription: {"CANCELLED", "EXPIRED"},
	}
	all := allStatuses(readTransitions(t))
	for kind, want := range hard {
		var got []string
		for _, status := range all {
			if schemas.PaymentStatus(status).Hard(kind) {
				got = append(got, status)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("hard for %s: %v, want %v", kind, got, want)
		}
	}
}
