package generic

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/schemas"
)

var start = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)

func delivery(body string, headers map[string]string) connectors.Delivery {
	return connectors.Delivery{
		Connection: "shop", Environment: schemas.Live, ID: "msg_1", Body: []byte(body), Headers: headers,
		ReceivedAt: start.Add(time.Minute), Origin: schemas.OriginWebhook,
	}
}

// samplesMin is how many golden files there are at least.
const samplesMin = 15

// sample is one golden file, read.
type sample struct {
	delivery connectors.Delivery
	config   *Config
}

func readSample(t testing.TB, file string) sample {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := sample{config: &Config{}}
	for _, f := range archive.Files {
		switch f.Name {
		case "headers":
			headers := map[string]string{}
			for line := range strings.Lines(string(f.Data)) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				headers[name] = value
			}
			s.delivery.Headers = headers
		case "config.yaml":
			if err := yaml.Unmarshal(f.Data, s.config); err != nil {
				t.Fatal(err)
			}
		case "body.json":
			s.delivery = delivery(strings.TrimSuffix(string(f.Data), "\n"), s.delivery.Headers)
		}
	}
	return s
}

// TestGolden: each body gives the records beside it, or the error.
func TestGolden(t *testing.T) {
	connectorstest.Golden(t, samplesMin, func(t *testing.T, file string) (any, error) {
		s := readSample(t, file)
		events, err := Connector.For(s.config).Normalize(s.delivery)
		return shown(t, s.delivery, events), err
	})
}

// shown leaves the body out where it stands in the same file; an event of a batch shows its own part.
func shown(t *testing.T, d connectors.Delivery, events []schemas.OrderEvent) any {
	t.Helper()
	type record struct {
		schemas.OrderEvent
		Body string `json:",omitempty"`
	}
	var list []record
	for _, e := range events {
		s := record{OrderEvent: e}
		if !bytes.Equal(e.Body, d.Body) {
			s.Body = string(e.Body)
			if !bytes.Contains(d.Body, e.Body) {
				t.Errorf("body %q is no part of what was received", e.Body)
			}
		}
		list = append(list, s)
	}
	return list
}

// TestReplay: a record's own bytes and headers give the same record, also those of one event of a batch.
func TestReplay(t *testing.T) {
	for _, file := range connectorstest.GoldenFiles(t, samplesMin) {
		s := readSample(t, file)
		c := Connector.For(s.config)
		events, err := c.Normalize(s.delivery)
		if err != nil {
			continue
		}
		for _, e := range events {
			again := s.delivery
			again.Body, again.Headers, again.ID = e.Body, e.Headers, e.DeliveryIDs[0]
			got, err := c.Normalize(again)
			if e.Problem != "" {
				if err == nil {
					t.Errorf("%s: %s has a problem, and none on replay", file, e.EventID)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: replay of %s: %v", file, e.EventID, err)
				continue
			}
			if diff := cmp.Diff(got, []schemas.OrderEvent{e}); diff != "" {
				t.Errorf("%s: replay of %s: -got +want:\n%s", file, e.EventID, diff)
			}
		}
	}
}

// one normalises a body that gives one record.
func one(t rapid.TB, c *Config, body string, headers map[string]string) schemas.OrderEvent {
	t.Helper()
	events, err := Connector.For(c).Normalize(delivery(body, headers))
	if err != nil || len(events) != 1 {
		t.Fatalf("%s: got %d records, %v", body, len(events), err)
	}
	return events[0]
}

func order(members string) string {
	return `{"type":"order.status_changed","timestamp":"2026-11-02T10:00:00Z","data":{"order_id":"A1",` + members + `}}`
}

func TestStatuses(t *testing.T) {
	mapped := map[string]schemas.PaymentStatus{"bezahlt": "PAID", "Pending": "FAILED", "läuft": "active", "egal": "UNKNOWN"}
	for _, c := range []struct {
		status, raw, kind string
		statuses          map[string]schemas.PaymentStatus
		want              schemas.PaymentStatus
		provider          string
	}{
		{status: "DRAFT", want: "DRAFT"},
		{status: "pending", want: "PENDING"},
		{status: "Approved", want: "APPROVED"},
		{status: "authorized", want: "AUTHORIZED"},
		{status: "partially_paid", want: "PARTIALLY_PAID"},
		{status: "paid", want: "PAID"},
		{status: "partially_refunded", want: "PARTIALLY_REFUNDED"},
		{status: "disputed", want: "DISPUTED"},
		{status: "expired", want: "EXPIRED"},
		{status: "cancelled", want: "CANCELLED"},
		{status: "voided", want: "VOIDED"},
		{status: "refunded", want: "REFUNDED"},
		{status: "charged_back", want: "CHARGED_BACK"},
		{status: "failed", want: "FAILED"},
		{status: "unknown", want: "UNKNOWN"},
		{status: "canceled", want: "UNKNOWN"},
		{status: "something", want: "UNKNOWN"},
		{status: "paid", raw: "Bezahlt", want: "PAID", provider: "Bezahlt"},
		{status: "Bezahlt", statuses: mapped, want: "PAID"},
		{status: " BEZAHLT ", statuses: mapped, want: "PAID", provider: "BEZAHLT"},
		{status: "pending", statuses: mapped, want: "FAILED"}, // the shop's own meaning goes before
		{status: "", raw: "bezahlt", statuses: mapped, want: "PAID", provider: "bezahlt"},
		{status: "egal", raw: "paid", statuses: mapped, want: "PAID", provider: "paid"},
		{status: "active", want: "UNKNOWN"},
		{status: "suspended", want: "UNKNOWN"},
		{status: "active", kind: "subscription", want: "ACTIVE"},
		{status: "Suspended", kind: "SUBSCRIPTION", want: "SUSPENDED"},
		{status: "läuft", kind: "subscription", statuses: mapped, want: "ACTIVE"},
		{status: "expired", kind: "subscription", want: "EXPIRED"},
		{status: "cancelled", kind: "subscription", want: "CANCELLED"},
		{status: "pending", kind: "subscription", want: "PENDING"},
		{status: "approved", kind: "subscription", want: "APPROVED"},
		{status: "paid", kind: "subscription", want: "UNKNOWN"},
	} {
		members, err := json.Marshal(map[string]string{"status": c.status, "raw_status": c.raw, "kind": c.kind})
		if err != nil {
			t.Fatal(err)
		}
		got := one(t, &Config{Statuses: c.statuses}, order(strings.Trim(string(members), "{}")), nil)
		if c.provider == "" {
			c.provider = c.status
		}
		if got.Status != c.want || got.ProviderStatus != c.provider {
			t.Errorf("%+v: got %s (%q), want %s (%q)", c, got.Status, got.ProviderStatus, c.want, c.provider)
		}
	}
}

func TestOrdering(t *testing.T) {
	ce := func(sequence, typ string) string {
		extra := ""
		if typ != "" {
			extra = `,"sequencetype":"` + typ + `"`
		}
		return `{"specversion":"1.0","id":"e","source":"s","type":"t","time":"2026-11-02T10:00:00Z","sequence":"` + sequence + `"` + extra + `,"data":{"order_id":"A1","status":"paid"}}`
	}
	cloud := map[string]string{"Content-Type": "application/cloudevents+json"}
	for _, c := range []struct {
		name, ordering, body string
		headers              map[string]string
		sequence             int64
		versioned            bool
		err                  string
	}{
		{"time alone", "", order(`"status":"paid"`), nil, 0, false, ""},
		{"a version breaks ties of time", "time", order(`"status":"paid","version":7`), nil, 7, false, ""},
		{"version", "version", order(`"status":"paid","version":"7"`), nil, 7, true, ""},
		{"no version", "version", order(`"status":"paid"`), nil, 0, false, "version: missing; this connection orders events by it"},
		{"negative version", "version", order(`"status":"paid","version":-7`), nil, 0, false, `version: "-7" is no whole number`},
		{"fractional version", "time", order(`"status":"paid","version":7.0`), nil, 0, false, `version: "7.0" is no whole number`},
		{"large version", "version", order(`"status":"paid","version":9223372036854775807`), nil, 9223372036854775807, true, ""},
		{"too large a version", "version", order(`"status":"paid","version":9223372036854775808`), nil, 0, false, "is larger than"},
		{"padded sequence", "sequence", ce("0000000017", ""), cloud, 17, true, ""},
		{"milliseconds as sequence", "sequence", ce("1793613600123", ""), cloud, 1793613600123, true, ""},
		{"numbers as sequence", "sequence", ce("17", "Integer"), cloud, 17, true, ""},
		{"unpadded sequence", "sequence", ce("17", ""), cloud, 0, false, `sequence: "17" is not padded with zeros`},
		{"letters as sequence", "sequence", ce("00a7", ""), cloud, 0, false, `sequence: "00a7" is not made of digits`},
		{"long sequence", "sequence", ce(strings.Repeat("0", 19), ""), cloud, 0, false, "has more than 18 digits"},
		{"no sequence", "sequence", order(`"status":"paid"`), nil, 0, false, "sequence: missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			events, err := Connector.For(&Config{Ordering: c.ordering}).Normalize(delivery(c.body, c.headers))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want an error with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := events[0]; got.Sequence != c.sequence || got.Versioned != c.versioned || !got.ProviderTime.Equal(start) {
				t.Errorf("got %d %t %v, want %d %t %v", got.Sequence, got.Versioned, got.ProviderTime, c.sequence, c.versioned, start)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	cloud := map[string]string{"Content-Type": "application/cloudevents+json"}
	event := func(members string) string {
		return `{"specversion":"1.0","id":"e","source":"s","type":"t","time":"2026-11-02T10:00:00Z"` + members + `}`
	}
	good := `,"data":{"order_id":"A1","status":"paid"}`
	binary := func(name, value string) map[string]string {
		h := map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "e", "Ce-Source": "s", "Ce-Type": "t", "Ce-Time": "2026-11-02T10:00:00Z"}
		h[name] = value
		return h
	}
	for _, c := range []struct {
		name, body string
		headers    map[string]string
		err        string
	}{
		{"no order", `{"data":{"status":"paid","occurred_at":"2026-11-02T10:00:00Z"}}`, nil, "order_id: missing"},
		{"order without a sensible id", `{"data":{"order_id":"a b","status":"paid","occurred_at":"2026-11-02T10:00:00Z"}}`, nil, "order_id: "},
		{"order is an object", `{"data":{"order_id":{},"status":"paid","occurred_at":"2026-11-02T10:00:00Z"}}`, nil, "order_id: missing"},
		{"no status", order(`"amount":"1","currency":"EUR"`), nil, "status: missing"},
		{"no time", `{"data":{"order_id":"A1","status":"paid"}}`, nil, "occurred_at: missing"},
		{"time without zone", `{"data":{"order_id":"A1","status":"paid","occurred_at":"2026-11-02T10:00:00"}}`, nil, "occurred_at: "},
		{"time is a fraction", `{"data":{"order_id":"A1","status":"paid","occurred_at":1.5}}`, nil, "occurred_at: "},
		{"time of another age", `{"data":{"order_id":"A1","status":"paid","occurred_at":"0001-01-01T00:00:00Z"}}`, nil, "occurred_at: not between"},
		{"time is true", `{"data":{"order_id":"A1","status":"paid","occurred_at":true}}`, nil, "occurred_at: not a date"},
		{"unknown kind", order(`"status":"paid","kind":"invoice"`), nil, "kind: "},
		{"amount without currency", order(`"status":"paid","amount":"1"`), nil, "currency: missing"},
		{"amount with a comma", order(`"status":"paid","amount":"1,5","currency":"EUR"`), nil, "amount: "},
		{"amount with an exponent", order(`"status":"paid","amount":1e3,"currency":"EUR"`), nil, "amount: "},
		{"amount is an object", order(`"status":"paid","amount":{"value":"1"},"currency":"EUR"`), nil, "amount: not an amount"},
		{"refund is no money", order(`"status":"paid","amount_refunded":"x","currency":"EUR"`), nil, "amount_refunded: "},
		{"shipping is no money", order(`"status":"paid","shipping_total":"x","currency":"EUR"`), nil, "shipping_total: "},
		{"currency is a word", order(`"status":"paid","amount":"1","currency":"Euro"`), nil, "currency: "},
		{"key given twice", order(`"status":"paid","status":"failed"`), nil, "repeated"},
		{"another content", `<order/>`, map[string]string{"Content-Type": "text/xml"}, `content-type: "text/xml" is not JSON`},
		{"an event in avro", `x`, map[string]string{"Content-Type": "application/cloudevents+avro"}, "only the JSON form"},
		{"event without id", `{"specversion":"1.0","source":"s","type":"t"` + good + `}`, cloud, "id: missing"},
		{"event without source", `{"specversion":"1.0","id":"s","type":"t"` + good + `}`, cloud, "source: missing"},
		{"event of another version", `{"specversion":"1.1","id":"s","source":"s","type":"t"` + good + `}`, cloud, "specversion: "},
		{"event with a number as id", `{"specversion":"1.0","id":7,"source":"s","type":"t"` + good + `}`, cloud, "id: missing"},
		{"event with data twice", event(good + `,"data_base64":"e30="`), cloud, "data: given twice"},
		{"event with text as data", event(`,"data":"{}"`), cloud, "data: not a JSON object"},
		{"event without data", event(``), cloud, "data: not a JSON object"},
		{"event with xml", event(`,"datacontenttype":"text/xml"` + good), cloud, "datacontenttype: "},
		{"event with bad base64", event(`,"data_base64":"?"`), cloud, "data_base64: not base64"},
		{"event with a bad time", `{"specversion":"1.0","id":"e","source":"s","type":"t","time":"now"` + good + `}`, cloud, "time: "},
		{"binary with datacontenttype", `{"order_id":"A1","status":"paid"}`, binary("Ce-Datacontenttype", "application/json"), "ce-datacontenttype: forbidden"},
		{"binary in another encoding", `{"order_id":"A1","status":"paid"}`, binary("Ce-Subject", "%FF"), "ce-subject: invalid UTF-8"},
		{"binary with a bad escape", `{"order_id":"A1","status":"paid"}`, binary("Ce-Subject", "%zz"), "ce-subject: bad percent-encoding"},
		{"binary with an open quote", `{"order_id":"A1","status":"paid"}`, binary("Ce-Subject", `"a`), "ce-subject: quote"},
		{"binary with xml", `<a/>`, binary("Content-Type", "text/xml"), "content-type: "},
		{"binary without type", `{"order_id":"A1","status":"paid"}`, binary("Ce-Type", ""), "type: missing"},
		{"an empty batch", `[]`, map[string]string{"Content-Type": "application/cloudevents-batch+json"}, "batch: without events"},
		{"a batch that is none", event(good), map[string]string{"Content-Type": "application/cloudevents-batch+json"}, "batch: not a JSON array"},
		{"a huge batch", "[" + strings.Repeat("1,", 1000) + "1]", map[string]string{"Content-Type": "application/cloudevents-batch+json"}, "batch: more than 1000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			events, err := Connector.Normalize(delivery(c.body, c.headers))
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %d records and %v, want an error with %q", len(events), err, c.err)
			}
		})
	}
}

// TestOneEventHasOneID: what says the same is the same event, in whatever form and with whatever order of members.
func TestOneEventHasOneID(t *testing.T) {
	a := one(t, &Config{}, `{"type":"t","data":{"order_id":"A1","status":"paid","occurred_at":"2026-11-02T10:00:00Z"}}`, nil)
	b := one(t, &Config{}, `{"data":{"occurred_at":"2026-11-02T10:00:00Z","status":"paid", "order_id":"A1"},"type":"t"}`, nil)
	if a.EventID != b.EventID || a.Fingerprint != b.Fingerprint || !strings.HasPrefix(a.EventID, "t:A1:2026-11-02T10:00:00Z:") {
		t.Errorf("got %s and %s, want one id made of the content", a.EventID, b.EventID)
	}
	if c := one(t, &Config{}, `{"type":"t","data":{"order_id":"A1","status":"failed","occurred_at":"2026-11-02T10:00:00Z"}}`, nil); c.EventID == a.EventID {
		t.Error("another content has the same id")
	}
	whole := one(t, &Config{}, `{"specversion":"1.0","id":"e","source":"/s","type":"t","traceparent":"x","data":{"order_id":"A1","status":"paid","occurred_at":"2026-11-02T10:00:00Z"}}`,
		map[string]string{"Content-Type": "application/CloudEvents+JSON; charset=UTF-8"})
	parts := one(t, &Config{}, `{"status":"paid","order_id":"A1","occurred_at":"2026-11-02T10:00:00Z"}`,
		map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "e", "Ce-Source": "%2Fs", "Ce-Type": `"t"`, "Content-Type": "application/json"})
	if whole.EventID != parts.EventID || whole.Fingerprint != parts.Fingerprint {
		t.Errorf("structured %s/%s and binary %s/%s are the same event", whole.EventID, whole.Fingerprint, parts.EventID, parts.Fingerprint)
	}
	if s := one(t, &Config{}, string(whole.Body), map[string]string{"Content-Type": "application/cloudevents+json"}); s.Headers["Webhook-Id"] != "" || s.EventID != whole.EventID {
		t.Errorf("got %s, want %s", s.EventID, whole.EventID)
	}
}

// TestABadEventOfABatchHoldsUpNoOther: it becomes a record that says what is wrong.
func TestABadEventOfABatchHoldsUpNoOther(t *testing.T) {
	body := `[{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"order_id":"A1","status":"paid","occurred_at":"2026-11-02T10:00:00Z"}}, 7]`
	events, err := Connector.Normalize(delivery(body, map[string]string{"Content-Type": "application/cloudevents-batch+json"}))
	if err != nil || len(events) != 2 {
		t.Fatalf("got %d events, %v, want 2", len(events), err)
	}
	if events[0].Problem != "" || events[0].Status != schemas.StatusPaid {
		t.Errorf("got %+v, want the good one", events[0])
	}
	if got := events[1]; got.Problem != "event 2 of the batch: cloud event: not a JSON object" || string(got.Body) != "7" || got.EventID == "" || got.RootID == "" {
		t.Errorf("got %+v, want the bad one with its bytes and its reason", got)
	}
}

// TestFieldsAreInTheCatalogueAndBounded also with a shop that sends very much.
func TestFieldsAreInTheCatalogueAndBounded(t *testing.T) {
	names := map[string]bool{}
	for _, f := range catalogue {
		names[f.Name] = true
	}
	var much strings.Builder
	for i := range 5000 {
		much.WriteString(`"f` + strings.Repeat("x", i%90) + string(rune('a'+i%26)) + strings.Repeat("y", i/500) + `":"` + strings.Repeat("v", i%2000) + `",`)
	}
	bodies := []sample{{delivery: delivery(order(`"status":"paid","m":[[[[1,2,3,4]]]],"z":{"a.b":1,"":2,"a\u0000":3}`), nil), config: &Config{}}}
	unique := map[string]bool{}
	var members []string
	for m := range strings.SplitSeq(strings.TrimSuffix(much.String(), ","), ",") {
		key, _, _ := strings.Cut(m, ":")
		if !unique[key] {
			unique[key] = true
			members = append(members, m)
		}
	}
	bodies = append(bodies, sample{delivery: delivery(order(`"status":"paid",`+strings.Join(members, ",")), nil), config: &Config{}})
	for _, file := range connectorstest.GoldenFiles(t, samplesMin) {
		bodies = append(bodies, readSample(t, file))
	}
	for _, s := range bodies {
		events, err := Connector.For(s.config).Normalize(s.delivery)
		if err != nil {
			continue
		}
		for _, e := range events {
			total := 0
			for name, value := range e.Fields {
				total += len(name) + len(value)
				if !names[name] && !strings.HasPrefix(name, OwnFields) {
					t.Errorf("field %s is not in the catalogue", name)
				}
			}
			if len(e.Fields) > connectors.FieldsMax || total > connectors.FieldsBytesTotal {
				t.Errorf("got %d fields of %d bytes", len(e.Fields), total)
			}
		}
	}
	last := one(t, &Config{}, string(bodies[0].delivery.Body), nil)
	want := map[string]string{"data.m.1.1.1.1": "1", "data.m.1.1.1.2": "2", "data.m.1.1.1.3": "3"}
	if diff := cmp.Diff(last.Fields, want); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
}

// TestAmounts: what a shop counts in the smallest unit has as many decimals as its currency.
func TestAmounts(t *testing.T) {
	for _, c := range []struct{ units, currency, want string }{
		{"4999", "EUR", "49.99"}, {"500", "JPY", "500"}, {"1234", "KWD", "1.234"}, {"-4999", "EUR", "-49.99"}, {`"7"`, "usd", "0.07"},
	} {
		got := one(t, &Config{Amounts: AmountsMinor}, order(`"status":"paid","amount":`+c.units+`,"currency":"`+c.currency+`"`), nil)
		if got.Amount == nil || got.Amount.Value != c.want || got.Amount.Currency != strings.ToUpper(c.currency) {
			t.Errorf("%+v: got %+v", c, got.Amount)
		}
	}
	if _, err := Connector.For(&Config{Amounts: AmountsMinor}).Normalize(delivery(order(`"status":"paid","amount":"49.99","currency":"EUR"`), nil)); err == nil {
		t.Error("a decimal passes as a number of cents")
	}
	// A row of an import writes decimals in the proposed form, whatever the shop itself writes.
	own := &Config{Amounts: AmountsMinor, Fields: map[string]string{"order_id": "no"}, Statuses: map[string]schemas.PaymentStatus{"bezahlt": "PAID"}}
	got := one(t, own, order(`"status":"bezahlt","amount":"49.99","currency":"EUR"`), map[string]string{"Content-Type": OrderMediaType})
	if got.RootID != "A1" || got.Amount.Value != "49.99" || got.Status != schemas.StatusPaid {
		t.Errorf("got %s %+v %s, want A1 49.99 PAID", got.RootID, got.Amount, got.Status)
	}
}

// TestOwnFieldNames: a path longer than a name may be is left out, however short its parts are.
func TestOwnFieldNames(t *testing.T) {
	part := strings.Repeat("p", (fieldNameMax-len(OwnFields))/2)
	long := strings.Repeat("l", fieldNameMax-len(OwnFields)-len(part)-1)
	got := one(t, &Config{}, order(`"status":"paid","`+part+`":{"`+long+`":"fits","`+long+`x":"does not"}`), nil)
	if value := got.Fields[OwnFields+part+"."+long]; value != "fits" {
		t.Errorf("a name of %d bytes: got %q, want %q", fieldNameMax, value, "fits")
	}
	if value, ok := got.Fields[OwnFields+part+"."+long+"x"]; ok {
		t.Errorf("a name of %d bytes: got %q, want none", fieldNameMax+1, value)
	}
}
