package story

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files")

var start = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)

func tell(seed int64, orders int) []Event {
	return New(Options{Seed: seed, Orders: orders, Accounts: []string{"shop-eu", "shop-us"}, Start: start}).Events()
}

// payload is the envelope as PayPal documents it.
type payload struct {
	ID           string          `json:"id"`
	CreateTime   string          `json:"create_time"`
	EventType    string          `json:"event_type"`
	ResourceType string          `json:"resource_type"`
	Resource     json.RawMessage `json:"resource"`
}

func TestEveryBodyReadsAsDocumented(t *testing.T) {
	decimal := regexp.MustCompile(`^((-?[0-9]+)|(-?([0-9]+)?[.][0-9]+))$`)
	ids := regexp.MustCompile(`^WH-[0-9A-Z]{17}-[0-9A-Z]{17}$`)
	seen := map[string]bool{}
	for _, e := range tell(1, 1200) {
		var p payload
		if err := json.Unmarshal(e.Body, &p); err != nil {
			t.Fatalf("%s %s: %v", e.Type, e.ID, err)
		}
		if p.ID != e.ID || p.EventType != e.Type || len(p.Resource) == 0 || !ids.MatchString(e.ID) {
			t.Errorf("%s: envelope %+v", e.ID, p)
		}
		if seen[e.ID] != (e.Bad == BadChanged) {
			t.Errorf("%s %s: id seen before is %t, bad is %q", e.Type, e.ID, seen[e.ID], e.Bad)
		}
		seen[e.ID] = true
		if at, err := time.Parse(time.RFC3339, p.CreateTime); (err != nil) != (e.Bad == BadDate) || err == nil && e.Bad == "" && !at.Equal(e.Time) {
			t.Errorf("%s %s: create_time %q, time %v, bad %q", e.Type, e.ID, p.CreateTime, e.Time, e.Bad)
		}
		wrong := 0
		walk(t, p.Resource, func(path string, v any) {
			s, ok := v.(string)
			switch {
			case !ok:
			case strings.HasSuffix(path, ".value") || strings.HasSuffix(path, ".total"):
				if !decimal.MatchString(s) {
					wrong++
				}
			case strings.HasSuffix(path, "email_address") || strings.HasSuffix(path, ".email"):
				if !strings.HasSuffix(strings.ToLower(s), "@example.com") && !strings.HasSuffix(s, "@business.example.com") {
					t.Errorf("%s %s: %s is no invented address: %s", e.Type, e.ID, path, s)
				}
			}
		})
		if (wrong > 0) != (e.Bad == BadMoney) {
			t.Errorf("%s %s: %d amounts are no decimal, bad is %q", e.Type, e.ID, wrong, e.Bad)
		}
		if bytes.ContainsAny(e.Body[:1], " \n") || !json.Valid(e.Body) || bytes.Contains(e.Body, []byte(`": `)) && !bytes.Contains(e.Body, []byte(`Case #`)) {
			t.Errorf("%s: body is not compact: %.80s", e.ID, e.Body)
		}
	}
}

func walk(t *testing.T, raw json.RawMessage, f func(path string, v any)) {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	var visit func(path string, v any)
	visit = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				visit(path+"."+k, x)
			}
		case []any:
			for _, x := range v {
				visit(path, x)
			}
		default:
			f(path, v)
		}
	}
	visit("", v)
}

func TestMixIsRealistic(t *testing.T) {
	const n = 3000
	events := tell(7, n)
	types, bad, roots, currencies, utf8 := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}, 0
	currency := regexp.MustCompile(`"(?:currency_code|currency)":"([A-Z]{3})"`)
	captured := map[string]bool{}
	emails := map[string]map[string]bool{}
	email := regexp.MustCompile(`customer\.?[0-9]{5}`)
	for _, e := range events {
		if e.Bad != "" {
			bad[e.Bad]++
			continue
		}
		types[e.Type]++
		if strings.HasPrefix(e.Type, "CHECKOUT.") || strings.HasPrefix(e.Type, "PAYMENT.") || strings.HasPrefix(e.Type, "BILLING.SUBSCRIPTION.") || strings.HasPrefix(e.Type, "CUSTOMER.") {
			roots[e.Root]++
		}
		if m := currency.FindSubmatch(e.Body); m != nil {
			currencies[string(m[1])]++
		}
		if bytes.Contains(e.Body, []byte("ö")) || bytes.Contains(e.Body, []byte("東京")) {
			utf8++
		}
		if e.Type == "PAYMENT.CAPTURE.COMPLETED" {
			captured[e.Root] = true
		}
		if who := email.Find(bytes.ToLower(e.Body)); who != nil {
			if emails[string(who)] == nil {
				emails[string(who)] = map[string]bool{}
			}
			emails[string(who)][e.Root] = true
		}
	}
	if len(roots) != n {
		t.Errorf("got %d roots, want %d", len(roots), n)
	}
	if mean := float64(len(events)) / n; mean < 3.4 || mean > 4.6 {
		t.Errorf("got %.2f events a root, want about 4", mean)
	}
	if diff := cmp.Diff(map[string]int{BadMoney: 3, BadDate: 3, BadChanged: 3}, bad); diff != "" {
		t.Errorf("bad events (-want +got):\n%s", diff)
	}
	for _, typ := range []string{
		"CHECKOUT.ORDER.APPROVED", "CHECKOUT.PAYMENT-APPROVAL.REVERSED", "PAYMENT.CAPTURE.COMPLETED", "PAYMENT.CAPTURE.PENDING",
		"PAYMENT.CAPTURE.DENIED", "PAYMENT.CAPTURE.DECLINED", "PAYMENT.CAPTURE.REFUNDED", "PAYMENT.CAPTURE.REVERSED", "CUSTOMER.DISPUTE.CREATED",
		"CUSTOMER.DISPUTE.RESOLVED", "BILLING.SUBSCRIPTION.CREATED", "BILLING.SUBSCRIPTION.ACTIVATED", "BILLING.SUBSCRIPTION.PAYMENT.FAILED",
		"BILLING.SUBSCRIPTION.SUSPENDED", "BILLING.SUBSCRIPTION.CANCELLED", "BILLING.SUBSCRIPTION.EXPIRED", "PAYMENT.SALE.COMPLETED",
		"PAYMENT.SALE.REFUNDED", "BILLING.PLAN.UPDATED", "VAULT.PAYMENT-TOKEN.CREATED",
	} {
		if types[typ] == 0 {
			t.Errorf("no %s", typ)
		}
	}
	if share := float64(len(captured)) / float64(types["CHECKOUT.ORDER.APPROVED"]); share < 0.70 || share > 0.85 {
		t.Errorf("%.2f of the orders are captured, want 0.72 at once and some of the pending ones", share)
	}
	for _, c := range []string{"USD", "EUR", "GBP", "JPY", "SEK", "AUD"} {
		if currencies[c] == 0 {
			t.Errorf("nothing in %s", c)
		}
	}
	again := 0
	for _, r := range emails {
		if len(r) > 1 {
			again++
		}
	}
	if utf8 == 0 || again < n/10 {
		t.Errorf("%d bodies with other letters, %d customers with several roots", utf8, again)
	}
	t.Logf("%d events of %d roots, %d customers: %v", len(events), n, len(emails), types)
}

func TestEventsComeInOrderAndTheirRootFirst(t *testing.T) {
	began := map[string]bool{}
	last := time.Time{}
	for _, e := range tell(3, 800) {
		if e.Time.Before(last) {
			t.Errorf("%s %s comes before its time", e.Type, e.ID)
		}
		last = e.Time
		if e.Bad != "" {
			continue
		}
		switch e.Type {
		case "CHECKOUT.ORDER.APPROVED", "BILLING.SUBSCRIPTION.CREATED", "BILLING.PLAN.UPDATED", "VAULT.PAYMENT-TOKEN.CREATED":
			began[e.Root] = true
		}
		if !began[e.Root] {
			t.Errorf("%s %s comes before its root %s", e.Type, e.ID, e.Root)
		}
	}
}

// TestNoSampleIDIsLeft finds ids of the recorded payloads that were forgotten.
func TestNoSampleIDIsLeft(t *testing.T) {
	id := regexp.MustCompile(`"(?:id|order_id|sale_id|plan_id|billing_agreement_id|seller_transaction_id|dispute_id|href)":\s*"([^"]+)"`)
	part := regexp.MustCompile(`[A-Z0-9][A-Z0-9-]{11,}`)
	known := map[string]string{}
	files, err := filepath.Glob("templates/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("templates: %v %v", files, err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range id.FindAllSubmatch(raw, -1) {
			for _, p := range part.FindAll(m[1], -1) {
				known[string(p)] = f
			}
		}
	}
	for _, e := range tell(5, 300) {
		for _, p := range part.FindAll(e.Body, -1) {
			if f, ok := known[string(p)]; ok && !strings.HasPrefix(string(p), "PD-") && !strings.HasPrefix(string(p), "CHM-") {
				t.Fatalf("%s %s still holds %s of %s", e.Type, e.ID, p, f)
			}
		}
		if bytes.Contains(e.Body, []byte("api.paypal.com")) || bytes.Contains(e.Body, []byte("10.24.121.37")) {
			t.Fatalf("%s: a link to another world", e.ID)
		}
	}
}

func TestSameSeedSameStory(t *testing.T) {
	if !reflect.DeepEqual(tell(11, 200), tell(11, 200)) {
		t.Error("two tellings of one seed differ")
	}
	if reflect.DeepEqual(tell(11, 50), tell(12, 50)) {
		t.Error("two seeds tell one story")
	}
	if got := tell(1, 0); len(got) != 0 {
		t.Errorf("an empty story has %d events", len(got))
	}
}

func TestTreeKeepsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := map[string]any{rapid.String().Draw(t, "key"): []any{rapid.String().Draw(t, "value"), rapid.Bool().Draw(t, "bool"), nil, 1.5, map[string]any{}}}
		raw, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		n, err := parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		var out map[string]any
		if err := json.Unmarshal(n.compact(nil), &out); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(in, out); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"a":[1,"x",null,true,{"b":1.50}]}`))
	f.Add([]byte(`{"a":`))
	f.Add([]byte(`1 2`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := parse(raw)
		if err == nil && !json.Valid(n.compact(nil)) {
			t.Errorf("%q became %q", raw, n.compact(nil))
		}
	})
}

func TestGoldenStory(t *testing.T) {
	var b bytes.Buffer
	for _, e := range tell(2, 6) {
		b.WriteString(e.Time.Format(time.RFC3339Nano) + " " + e.Account + " " + e.Type + " root=" + e.Root + " bad=" + e.Bad + "\n")
		b.Write(e.Body)
		b.WriteString("\n\n")
	}
	const file = "testdata/small.golden"
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("story changed (-want +got); -update accepts it:\n%s", diff)
	}
}

func BenchmarkStory(b *testing.B) {
	for b.Loop() {
		tell(1, 1000)
	}
}
