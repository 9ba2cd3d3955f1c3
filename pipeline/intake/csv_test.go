package intake_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors/generic"
	"github.com/tillstream/tillstream/pipeline/intake"
	"github.com/tillstream/tillstream/schemas"
)

func table(t intake.Table) intake.Table {
	t.Known, t.MediaType = generic.Names(), generic.OrderMediaType
	return t
}

// bodies are the rows' events; of a row that is none, its line and reason.
func bodies(t *testing.T, text string, tab intake.Table) []string {
	t.Helper()
	rows, err := intake.NewRows(strings.NewReader(text), table(tab))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for {
		i, err := rows.Read()
		switch {
		case errors.Is(err, io.EOF):
			return out
		case err != nil:
			t.Fatal(err)
		case i.Err != nil:
			out = append(out, "line "+string(rune('0'+i.Line))+": "+i.Err.Error())
		default:
			if i.Headers["Content-Type"] != generic.OrderMediaType {
				t.Errorf("line %d: headers %v", i.Line, i.Headers)
			}
			out = append(out, string(i.Body))
		}
	}
}

func TestRows(t *testing.T) {
	warsaw, err := time.LoadLocation("Europe/Warsaw")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text string
		table      intake.Table
		want       []string
	}{
		{"our names", "order_id,status,occurred_at,amount,currency,customer.email\n1,PAID,2026-11-02T10:00:00Z,5.00,EUR,a@example.com\n", intake.Table{}, []string{
			`{"data":{"amount":"5.00","currency":"EUR","customer":{"email":"a@example.com"},"occurred_at":"2026-11-02T10:00:00Z","order_id":"1","status":"PAID"}}`,
		}},
		{
			"a spreadsheet of another country", "\xef\xbb\xbfBestellung;Stand;Datum;Summe;Mail;Farbe.1;Intern;tillstream_line\r\n\" 7\";bezahlt;02.11.2026 10:00;\"1.234,50\";a@example.com;rot;x;3\r\n",
			intake.Table{
				Columns:      map[string]string{"Bestellung": "order_id", "Stand": "status", "Datum": "occurred_at", "Summe": "amount", "Mail": "customer.email", "Intern": "-"},
				Fixed:        map[string]string{"currency": "EUR", "type": "order.history"},
				DecimalComma: true, Zone: warsaw, TimeLayouts: []string{intake.Layout("DD.MM.YYYY HH:mm")},
			},
			[]string{
				`{"data":{"amount":"1234.50","currency":"EUR","customer":{"email":"a@example.com"},"metadata":{"Farbe_1":"rot"},"occurred_at":"2026-11-02T09:00:00Z","order_id":"7","status":"bezahlt"},"type":"order.history"}`,
			},
		},
		{"items, and a sequence", "order_id\tstatus\toccurred_at\titems.name\titems.price\tsequence\n1\tPAID\t2026-11-02T10:00:00Z\tBelt\t5\t007\n", intake.Table{}, []string{
			`{"data":{"items":[{"name":"Belt","price":"5"}],"occurred_at":"2026-11-02T10:00:00Z","order_id":"1","status":"PAID"},"sequence":"007"}`,
		}},
		{
			"bad rows hold up no other", "order_id,status,occurred_at\n1,PAID\n2,PAID,yesterday\n3,PA\"ID,2026-11-02T10:00:00Z\n4,\xff,2026-11-02T10:00:00Z\n5,PAID,2026-11-02 10:00:00\n6,PAID,2026-11-02T10:00:00Z\n",
			intake.Table{},
			[]string{
				"line 2: 2 cells, and the header has 3", `line 3: occurred_at: "yesterday" is no date and time of a known layout`,
				`line 4: column 5: bare " in non-quoted-field`, "line 5: status: not UTF-8; save the table as UTF-8",
				`line 6: occurred_at: "2026-11-02 10:00:00": the time has no zone: say which is meant`,
				`{"data":{"occurred_at":"2026-11-02T10:00:00Z","order_id":"6","status":"PAID"}}`,
			},
		},
		{
			"amounts with a comma", "order_id,status,occurred_at,amount\n1,PAID,2026-11-02T10:00:00Z,\"-1\u00a0234,5\"\n2,PAID,2026-11-02T10:00:00Z,12.50\n3,PAID,2026-11-02T10:00:00Z,\"1,5,0\"\n",
			intake.Table{DecimalComma: true},
			[]string{
				`{"data":{"amount":"-1234.5","occurred_at":"2026-11-02T10:00:00Z","order_id":"1","status":"PAID"}}`,
				`line 3: amount: "12.50" is no amount with a decimal comma`, `line 4: amount: "1,5,0" is no amount with a decimal comma`,
			},
		},
		{"cells over several lines", "order_id,status,occurred_at,note\n1,PAID,2026-11-02T10:00:00Z,\"a\nb\"\n2,PAID,never,\n", intake.Table{}, []string{
			`{"data":{"note":"a\u000ab","occurred_at":"2026-11-02T10:00:00Z","order_id":"1","status":"PAID"}}`, `line 4: occurred_at: "never" is no date and time of a known layout`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(bodies(t, c.text, c.table), c.want); diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
		})
	}
}

func TestTimes(t *testing.T) {
	for _, c := range []struct{ cell, layout, want string }{
		{"2026-11-02T10:00:00.5+01:00", "", "2026-11-02T09:00:00.5Z"},
		{"2026-11-02 10:00:00+01:00", "", "2026-11-02T09:00:00Z"},
		{"2026-11-02T10:00:00", "", "2026-11-02T10:00:00Z"},
		{"2026-11-02 10:00", "", "2026-11-02T10:00:00Z"},
		{"2026-11-02", "", "2026-11-02T00:00:00Z"},
		{"11/02/26 3:04 PM", "MM/DD/YY h:mm AM", "2026-11-02T15:04:00Z"},
		{"2 Nov 2026 10:00:00", "D MMM YYYY HH:mm:ss", "2026-11-02T10:00:00Z"},
		{"1793613600", "unix", "2026-11-02T10:00:00Z"},
		{"1793613600123", "unix_ms", "2026-11-02T10:00:00.123Z"},
		{"1793613600123", "unix", ""},
		{"1793613600", "", ""},
		{"02.11.2026", "", ""},
		{"31.02.2026", "DD.MM.YYYY", ""},
	} {
		tab := intake.Table{Zone: time.UTC}
		if c.layout != "" {
			tab.TimeLayouts = []string{intake.Layout(c.layout)}
		}
		got := bodies(t, "order_id,status,occurred_at\n1,PAID,"+c.cell+"\n", tab)[0]
		want := `{"data":{"occurred_at":"` + c.want + `","order_id":"1","status":"PAID"}}`
		if c.want == "" {
			want = `line 2: occurred_at: "` + c.cell + `" is no date and time of a known layout`
		}
		if got != want {
			t.Errorf("%q as %q: got %s, want %s", c.cell, c.layout, got, want)
		}
	}
}

func TestHeadersThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, text, err string
		table           intake.Table
	}{
		{"nothing", "", "the table is empty", intake.Table{}},
		{"no status", "order_id,occurred_at,Stand\n", "no column is status; columns are order_id, occurred_at, Stand", intake.Table{}},
		{"a column that is not there", "a\n", `there is no column "b"; columns are a`, intake.Table{Columns: map[string]string{"b": "order_id"}}},
		{"a field that is none", "a\n", `column "a": "oder" is no field; fields are `, intake.Table{Columns: map[string]string{"a": "oder"}}},
		{"a fixed field that is none", "a\n", `"oder" is no field`, intake.Table{Fixed: map[string]string{"oder": "1"}}},
		{"two columns for one field", "a,b\n", `columns "a" and "b" are both order_id; leave one out with b=-`, intake.Table{Columns: map[string]string{"a": "order_id", "b": "order_id"}}},
		{"two columns of one name", "order_id,Order ID\n", "are both order_id", intake.Table{}},
		{"a column and a fixed value", "order_id,status,occurred_at\n", "has a fixed value, too", intake.Table{Fixed: map[string]string{"status": "PAID"}}},
		{"a broken header", "a,\"b\n", "the header: ", intake.Table{}},
		{"very many columns", strings.Repeat("a,", 1000) + "b\n", "more than 1000 columns", intake.Table{}},
	} {
		if _, err := intake.NewRows(strings.NewReader(c.text), table(c.table)); err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.err)
		}
	}
}

// TestAQuoteWithoutItsEnd does not read the rest of an endless file into memory.
func TestAQuoteWithoutItsEnd(t *testing.T) {
	endless := io.MultiReader(strings.NewReader("order_id,status,occurred_at\n1,\"PAID,"), zeros{})
	rows, err := intake.NewRows(endless, table(intake.Table{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rows.Read(); err == nil || !strings.Contains(err.Error(), "a row is longer than") {
		t.Errorf("got %v, want that the row does not end", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

// TestARowIsUnderstood by the connector, whatever the shop's own JSON looks like.
func TestARowIsUnderstood(t *testing.T) {
	rows, err := intake.NewRows(strings.NewReader("order_id,status,occurred_at,amount,currency,VIP\n1,Bezahlt,2026-11-02T10:00:00Z,5.00,EUR,yes\n"), table(intake.Table{}))
	if err != nil {
		t.Fatal(err)
	}
	o := options(nil)
	o.Connector = generic.Connector.For(&generic.Config{Amounts: generic.AmountsMinor, Fields: map[string]string{"order_id": "nr"}, Statuses: map[string]schemas.PaymentStatus{"bezahlt": "PAID"}})
	_, err = intake.Run(t.Context(), rows, o, func(r intake.Result) error {
		e := r.Events[0]
		if e.RootID != "1" || e.Status != "PAID" || e.Amount.Value != "5.00" || e.Fields["data.metadata.VIP"] != "yes" || !strings.HasPrefix(e.EventID, "order.status_changed:1:") {
			t.Errorf("got %+v", e)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// FuzzRows: no table panics, and a row's body is one that the connector can at least look at.
func FuzzRows(f *testing.F) {
	f.Add("order_id,status,occurred_at\n1,PAID,2026-11-02T10:00:00Z\n", true)
	f.Add("order_id;status;occurred_at;items.name;items\n1;PAID;x;\"a\";b\n", false)
	f.Add("customer,customer.email,order_id,status,occurred_at\n\"", false)
	f.Fuzz(func(t *testing.T, text string, comma bool) {
		rows, err := intake.NewRows(strings.NewReader(text), table(intake.Table{DecimalComma: comma, Zone: time.UTC}))
		if err != nil {
			return
		}
		_, err = intake.Run(t.Context(), rows, options(nil), func(r intake.Result) error {
			if r.Err == nil && len(r.Events) == 0 {
				t.Errorf("line %d: neither an event nor a reason", r.Line)
			}
			return nil
		})
		if err != nil && !strings.Contains(err.Error(), "row is longer") {
			t.Error(err)
		}
	})
}
