package getresponse

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
)

// enveloped is an order with the members that a case is about.
func enveloped(rest string) string {
	return `{"order":{"orderId":"o1","totalPrice":10.50,"currency":"EUR",` + rest + `},"contact":null}`
}

func one(t *testing.T, body string) schemas.OrderEvent {
	t.Helper()
	events, err := Connector.Normalize(delivery(body))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return events[0]
}

// TestStatus: canonical names and the plugins' usual words in any case, what is configured before both, and else nothing.
func TestStatus(t *testing.T) {
	want := map[string]schemas.PaymentStatus{
		"PAID": "PAID", "paid": "PAID", "Partially Refunded": "PARTIALLY_REFUNDED", "partially-refunded": "PARTIALLY_REFUNDED", "CHARGED_BACK": "CHARGED_BACK",
		"Unknown": "UNKNOWN", "DENIED": "FAILED", "NEW": "PENDING", "awaiting": "PENDING", " pending ": "PENDING",
		// WooCommerce
		"pending": "PENDING", "on-hold": "PENDING", "processing": "PAID", "completed": "PAID", "cancelled": "CANCELLED", "refunded": "REFUNDED", "failed": "FAILED",
		"checkout-draft": "DRAFT", "auto-draft": "DRAFT", "draft": "DRAFT", "trash": "CANCELLED",
		// Magento
		"pending_payment": "PENDING", "payment_review": "PENDING", "holded": "PENDING", "fraud": "PENDING", "pending_paypal": "PENDING",
		"complete": "PAID", "closed": "REFUNDED", "canceled": "CANCELLED",
		// Nobody's
		"W realizacji": "UNKNOWN", "pre-ordered": "UNKNOWN", "": "UNKNOWN",
	}
	for word, status := range want {
		if e := one(t, enveloped(fmt.Sprintf(`"billingStatus":%q`, word))); e.Status != status || e.ProviderStatus != word {
			t.Errorf("%q: got %s of %q, want %s", word, e.Status, e.ProviderStatus, status)
		}
	}
	for s := range canonicalNames {
		if e := one(t, enveloped(fmt.Sprintf(`"billingStatus":%q`, strings.ToUpper(s)))); fold(string(e.Status)) != s {
			t.Errorf("%s: got %s, want its own", s, e.Status)
		}
	}
	if e := one(t, enveloped(`"status":"completed","billingStatus":"pending"`)); e.Status != schemas.StatusPending {
		t.Errorf("got %s: the billing status decides, not the order's", e.Status)
	}
	if e := one(t, enveloped(`"status":"completed"`)); e.Status != schemas.StatusPaid || e.ProviderStatus != "completed" {
		t.Errorf("got %s: without a billing status the order's decides", e.Status)
	}
	bound := Connector.For(&Config{Statuses: map[string]string{"W realizacji": "paid", "processing": "AUTHORIZED", "paid": "Pending"}})
	for word, status := range map[string]schemas.PaymentStatus{"w REALIZACJI": "PAID", "Processing": "AUTHORIZED", "PAID": "PENDING", "completed": "PAID"} {
		events, err := bound.Normalize(delivery(enveloped(fmt.Sprintf(`"billingStatus":%q`, word))))
		if err != nil || events[0].Status != status {
			t.Errorf("%q as configured: got %v %v, want %s", word, events, err, status)
		}
	}
}

// TestRefused: what cannot be understood is refused by the name of the field.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ name, body, err string }{
		{"no JSON", `order`, "json at byte 0"},
		{"a list", `[]`, "body: not a JSON object"},
		{"no order", `{"contact":{}}`, "order: missing"},
		{"no id", `{"order":{}}`, "order.orderId"},
		{"an id that is none", `{"order":{"orderId":"a/b"}}`, "order.orderId"},
		{"money with a comma", `{"order":{"orderId":"o1","totalPrice":"1,00","currency":"EUR"}}`, "order.totalPrice"},
		{"money with an exponent", `{"order":{"orderId":"o1","totalPrice":1e3,"currency":"EUR"}}`, "order.totalPrice"},
		{"money without a currency", `{"order":{"orderId":"o1","totalPrice":1}}`, "order.totalPrice"},
		{"shipping that is a word", enveloped(`"shippingPrice":"free"`), "order.shippingPrice"},
	} {
		if _, err := Connector.Normalize(delivery(c.body)); err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %v, want one with %q", c.name, err, c.err)
		}
	}
	d := delivery(enveloped(`"status":"x"`))
	d.ReceivedAt = time.Time{}
	if _, err := Connector.Normalize(d); err == nil || !strings.Contains(err.Error(), "time at which the order was read") {
		t.Errorf("without a time: got %v", err)
	}
}

// TestContentIsTheEvent: an order is the same event for as long as its content is, whenever it is read and whatever its
// contact does meanwhile; another content is another event.
func TestContentIsTheEvent(t *testing.T) {
	order := `{"orderId":"o1","billingStatus":"PAID","totalPrice":10,"currency":"EUR","processedAt":"2024-05-02T09:30:00+0000","contactId":"c1"}`
	contact := `{"contactId":"c1","email":"jo@example.com","name":"Jo","scoring":1,"changedOn":"2024-05-02T09:30:00+0000","engagementScore":2}`
	a := one(t, string(envelope([]byte(order), []byte(contact), "")))
	later := delivery(`{"contact":{"engagementScore":5,"changedOn":"2025-01-01T00:00:00+0000","scoring":99,"name":"Jo","email":"jo@example.com","contactId":"c1"}, "order":` + order + `}`)
	later.ReceivedAt = later.ReceivedAt.Add(24 * time.Hour)
	events, err := Connector.Normalize(later)
	if err != nil {
		t.Fatal(err)
	}
	if b := events[0]; a.EventID != b.EventID || a.Fingerprint != b.Fingerprint || !b.ProviderTime.Equal(later.ReceivedAt) {
		t.Errorf("got %s and %s at %s, want one event at the time of reading", a.EventID, b.EventID, b.ProviderTime)
	}
	if !strings.HasPrefix(a.EventID, "order:o1:2024-05-02T09:30:00+0000:") {
		t.Errorf("got event id %s", a.EventID)
	}
	for what, other := range map[string]string{
		"another status":  string(envelope([]byte(strings.Replace(order, "PAID", "REFUNDED", 1)), []byte(contact), "")),
		"another address": string(envelope([]byte(order), []byte(strings.Replace(contact, "jo@", "joe@", 1)), "")),
		"no contact":      string(envelope([]byte(order), nil, "")),
		"come back":       string(envelope([]byte(order), []byte(contact), "2026-01-01T00:00:00Z")),
	} {
		if e := one(t, other); e.EventID == a.EventID || e.Fingerprint == a.Fingerprint {
			t.Errorf("%s: the same event", what)
		}
	}
	if body := string(envelope([]byte(`{"a" : 1.0}`), []byte(` {"b":2}`), "")); body != `{"order":{"a" : 1.0},"contact": {"b":2}}` {
		t.Errorf("got %s, want both parts byte for byte", body)
	}
}

// TestMoney: digits stay as they are; what is refunded whole is known, and paid takes it back.
func TestMoney(t *testing.T) {
	for _, c := range []struct{ rest, amount, refunded string }{
		{`"billingStatus":"PENDING"`, "10.50 EUR", ""},
		{`"billingStatus":"PAID"`, "10.50 EUR", "0 EUR"},
		{`"billingStatus":"REFUNDED"`, "10.50 EUR", "10.50 EUR"},
		{`"billingStatus":"PARTIALLY_REFUNDED"`, "10.50 EUR", ""},
	} {
		e := one(t, enveloped(c.rest))
		refunded := ""
		if e.RefundedTotal != nil {
			refunded = e.RefundedTotal.Value + " " + e.RefundedTotal.Currency
		}
		if got := e.Amount.Value + " " + e.Amount.Currency; got != c.amount || refunded != c.refunded {
			t.Errorf("%s: got %s, refunded %q, want %s, %q", c.rest, got, refunded, c.amount, c.refunded)
		}
	}
	if e := one(t, `{"order":{"orderId":"o1"}}`); e.Amount != nil {
		t.Errorf("got %+v of nothing", e.Amount)
	}
}

// TestPayer: the contact first; the bill completes it and never gives it another name.
func TestPayer(t *testing.T) {
	bill := `"billingAddress":{"firstName":"John","lastName":"Doe","phone":"+48 58 1","address1":"Arkonska 6","city":"Gdansk","zip":"80-387","province":"pomorskie","countryCode":"POL"},"shippingAddress":{"firstName":"Grandma","phone":"2","city":"Sopot","countryCode":"DEU"}`
	home := schemas.Address{Line1: "Arkonska 6", City: "Gdansk", State: "pomorskie", PostalCode: "80-387", Country: "PL"}
	for _, c := range []struct {
		name, order, contact string
		want                 *schemas.Payer
	}{
		{"one person", bill, `{"contactId":"c1","email":" jo@example.com","name":"john doe"}`, &schemas.Payer{Email: "jo@example.com", FullName: "john doe", GivenName: "John", Surname: "Doe", Phone: "+48 58 1", PayerID: "c1", Address: home}},
		{"another on the bill", bill, `{"contactId":"c1","email":"jo@example.com","name":"Jo Roe"}`, &schemas.Payer{Email: "jo@example.com", FullName: "Jo Roe", Phone: "+48 58 1", PayerID: "c1", Address: home}},
		{"a contact without a name", bill, `{"contactId":"c1","email":"jo@example.com","name":null}`, &schemas.Payer{Email: "jo@example.com", FullName: "John Doe", GivenName: "John", Surname: "Doe", Phone: "+48 58 1", PayerID: "c1", Address: home}},
		{"a contact that is gone", `"contactId":"c1"`, `null`, nil},
		{"a parcel only", `"shippingAddress":{"phone":"2","city":"Sopot","countryCode":"deu"}`, `null`, &schemas.Payer{Phone: "2", Address: schemas.Address{City: "Sopot", Country: "DE"}}},
		{"nobody", `"status":"x"`, `null`, nil},
	} {
		e := one(t, strings.Replace(enveloped(c.order), `"contact":null`, `"contact":`+c.contact, 1))
		if diff := cmp.Diff(e.Payer, c.want); diff != "" {
			t.Errorf("%s: -got +want\n%s", c.name, diff)
		}
	}
}

// TestCountries: three letters become two; what is no code stays.
func TestCountries(t *testing.T) {
	for code, want := range map[string]string{"POL": "PL", "deu": "DE", "GBR": "GB", "USA": "US", "UKR": "UA", "XKX": "XK", "ZWE": "ZW", "AND": "AD", "PL": "PL", "XXX": "XXX", "": "", "Poland": "Poland"} {
		if got := country(code); got != want {
			t.Errorf("%q: got %q, want %q", code, got, want)
		}
	}
	codes := strings.Fields(alpha3)
	seen := map[string]bool{}
	for _, c := range codes {
		if len(c) != 5 || seen[c[:3]] || seen[c[3:]] || c != strings.ToUpper(c) {
			t.Errorf("entry %q: wrong or twice", c)
		}
		seen[c[:3]], seen[c[3:]] = true, true
	}
	if len(codes) < 245 || strings.Join(codes, " ") != alpha3 {
		t.Errorf("got %d countries, want all, with one space between", len(codes))
	}
}

// TestErrors: GetResponse's own examples of errors, and what each asks a person to do.
func TestErrors(t *testing.T) {
	data, err := os.ReadFile("testdata/errors.json")
	if err != nil {
		t.Fatal(err)
	}
	var samples map[string]json.RawMessage
	if err := json.Unmarshal(data, &samples); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		code  int
		field string
		hint  string
	}{
		"validation_400": {1000, "base_url", "did not answer as expected"},
		"auth_401":       {1014, "api_key", "copy it again"},
		"not_found_404":  {1013, "shop_id", "no such shop"},
		"duplicate_409":  {1008, "base_url", "did not answer as expected"},
		"throttled_429":  {1015, "api_key", "used up"},
	} {
		var body struct{ HTTPStatus int }
		if err := json.Unmarshal(samples[name], &body); err != nil {
			t.Fatal(err)
		}
		e := &outbound.StatusError{Status: body.HTTPStatus, Body: string(samples[name])}
		if f := explain(e); codeOf(e) != want.code || f.Field != want.field || !strings.Contains(f.Hint, want.hint) {
			t.Errorf("%s: got code %d and %+v, want %d, %s, %s", name, codeOf(e), f, want.code, want.field, want.hint)
		}
	}
	for code, want := range map[int]string{1016: "ask its support", 1017: "ask its support", 1018: "ask its support", 1021: "MAX accounts", 1023: "may not read", 1024: "MAX accounts"} {
		if f := explain(&outbound.StatusError{Status: 403, Body: fmt.Sprintf(`{"httpStatus":403,"code":%d}`, code)}); !strings.Contains(f.Hint, want) {
			t.Errorf("code %d: got %q, want %q", code, f.Hint, want)
		}
	}
}

// TestCatalogue: what is emitted is in the catalogue and bounded.
func TestCatalogue(t *testing.T) {
	var names []string
	for _, f := range catalogue {
		names = append(names, f.Name)
	}
	seen := map[string]bool{}
	for _, file := range connectorstest.GoldenFiles(t, 1) {
		events, err := Connector.Normalize(delivery(string(connectorstest.GoldenBody(t, file))))
		if err != nil {
			continue
		}
		for name, value := range events[0].Fields {
			seen[name] = true
			if !slices.Contains(names, name) || len(value) > connectors.FieldBytesMax {
				t.Errorf("%s: field %s is not in the catalogue, or too long", file, name)
			}
		}
	}
	if len(seen) < 18 {
		t.Errorf("got %d fields over all samples, want more: %v", len(seen), seen)
	}
	long := strings.Repeat("ż", 5000)
	e := one(t, enveloped(fmt.Sprintf(`"externalId":%q,"description":%q,"billingStatus":%q,"processedAt":%q`, long, long, long, long)))
	if len(e.CustomID) > textBytesMax || len(e.ProviderStatus) > textBytesMax || len(e.EventID) > 200 || len(e.Fields["order.description"]) > connectors.FieldBytesMax {
		t.Errorf("got custom id of %d, status of %d, event id of %d bytes", len(e.CustomID), len(e.ProviderStatus), len(e.EventID))
	}
}

// TestMemory: news is told until a later question shows that it was kept, and what comes back is told apart from what
// it was before.
func TestMemory(t *testing.T) {
	start := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	a, b, c := [32]byte{1}, [32]byte{2}, [32]byte{3}
	m := newMemory()
	for i, s := range []struct {
		hash     [32]byte
		from, to int
		news     bool
		returned bool
	}{
		{a, 0, 10, true, false},
		{a, 0, 11, true, false}, // asked again: the answer was not kept
		{a, 8, 12, true, false}, // read again for safety
		{a, 10, 13, false, false},
		{b, 12, 14, true, false},
		{b, 14, 15, false, false},
		{a, 15, 16, true, true},
		{a, 15, 17, true, true}, // and is still the same event
		{a, 16, 18, false, false},
		{c, 18, 19, true, false},
	} {
		returned, news := m.look("recent o1", s.hash, at(s.from), at(s.to), at(s.to))
		if news != s.news || (returned != "") != s.returned || s.returned && returned != "2026-11-02T10:16:00Z" {
			t.Errorf("look %d: got %q %t, want returned %t, news %t", i, returned, news, s.returned, s.news)
		}
	}
}

// TestWalk: pages lead on to the end, and back where orders were deleted before the page.
func TestWalk(t *testing.T) {
	for _, c := range []struct {
		name     string
		cursor   string
		n, total int
		last     int
		next     string
	}{
		{"first of many", "", ordersPerPage, 1000, 100, "2:1000:0"},
		{"first of one", "", 3, 3, 100, ""},
		{"last", "10:1000:0", 7, 1000, 100, ""},
		{"as far as asked", "10:1000:0", ordersPerPage, 5000, 10, ""},
		{"one was deleted", "5:1000:0", ordersPerPage, 999, 100, "4:999:1"},
		{"many were deleted", "5:1000:0", ordersPerPage, 1000 - 2*ordersPerPage, 100, "3:800:1"},
		{"deleted, at the end", "10:1000:0", 7, 999, 100, "9:999:1"},
		{"deleted again and again", "5:1000:50", ordersPerPage, 999, 100, "6:999:50"},
		{"some were made", "5:1000:0", ordersPerPage, 1010, 100, "6:1010:0"},
	} {
		w, err := parseCursor(c.cursor)
		if err != nil {
			t.Fatal(err)
		}
		next, more := w.after(c.n, c.total, c.last)
		got := ""
		if more {
			got = next.cursor()
		}
		if got != c.next {
			t.Errorf("%s: got %q, want %q", c.name, got, c.next)
		}
	}
	for _, text := range []string{"x", "1", "1:2", "0:1:0", "1:-1:0", "20001:1:0", "1:1:51", "1:1:1:1"} {
		if _, err := parseCursor(text); err == nil {
			t.Errorf("cursor %q: no error", text)
		}
	}
}
