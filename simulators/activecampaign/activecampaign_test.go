package activecampaign

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const key = "the-key"

func ask(t *testing.T, h http.Handler, method, path, body string) (int, http.Header, map[string]any) {
	t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("Api-Token", key)
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	var out map[string]any
	_ = json.Unmarshal(rec.Body.Bytes(), &out)
	return rec.Code, rec.Header(), out
}

func TestAnswers(t *testing.T) {
	h := New(Options{Key: key, Faults: Faults{Reject: []string{"no@x.example"}}}).Handler()
	for _, c := range []struct {
		method, path, body string
		code               int
		part               string
	}{
		{"POST", "/api/3/contact/sync", `{"contact":{"email":"a@x.example","fieldValues":[{"field":"66","value":"P"}]}}`, 201, `"id":"1"`},
		{"POST", "/api/3/contact/sync", `{"contact":{"email":"A@x.example","firstName":"A"}}`, 200, `"firstName":"A"`},
		{"POST", "/api/3/contacts", `{"contact":{"email":"a@x.example"}}`, 422, `"code":"duplicate"`},
		{"POST", "/api/3/contacts/sync", `{"contact":{"email":"a@x.example"}}`, 422, `"code":"duplicate"`},
		{"POST", "/api/3/contact/sync", `{"contact":{"email":"no@x.example"}}`, 422, `"pointer":"/data/attributes/email"`},
		{"POST", "/api/3/contact/sync", `{`, 400, `{}`},
		{"GET", "/api/3/contacts/99", "", 404, `No Result found for Subscriber with id 99`},
		{"GET", "/api/3/fieldValues/99", "", 403, `No Result found for FieldValue with id 99`},
		{"DELETE", "/api/3/lists/99", "", 403, `No Result found for _List with id 99`},
		{"GET", "/api/3/contacts?email=a@x.example", "", 200, `"total":"1"`},
		{"GET", "/api/3/contacts?email=a@x", "", 200, `"total":"0"`},
		{"POST", "/api/3/tags", `{"tag":{"tag":"Paid","tagType":"contact"}}`, 201, `"id":"1"`},
		{"POST", "/api/3/tags", `{"tag":{"tag":"PAID"}}`, 422, `"duplicate"`},
		{"POST", "/api/3/contactTags", `{"contactTag":{"contact":1,"tag":"1"}}`, 201, `"tag":"1"`},
		{"POST", "/api/3/contactTags", `{"contactTag":{"contact":"1","tag":"1"}}`, 200, `"tag":"1"`},
		{"POST", "/api/3/contactTags", `{"contactTag":{"contact":"9","tag":"1"}}`, 404, `Contact not found`},
		{"POST", "/api/3/contactTags", `{"contactTag":{"tag":"1"}}`, 422, `Missing attribute`},
		{"GET", "/api/3/contacts/1/contactTags?include=tag", "", 200, `"Paid"`},
		{"DELETE", "/api/3/contactTags/7", "", 404, `No Result found for SubscriberTag with id 7`},
		{"DELETE", "/api/3/contactTags/1", "", 200, `{}`},
		{"POST", "/api/3/contactLists", `{"contactList":{"list":2,"contact":1,"status":2}}`, 200, `"status":"2"`},
		{"POST", "/api/3/contactLists", `{"contactList":{"list":2,"contact":1,"status":1}}`, 200, `"status":"2"`},
		{"POST", "/api/3/contactLists", `{"contactList":{"list":2,"contact":1,"status":1,"sourceid":4}}`, 200, `"status":"1"`},
		{"POST", "/api/3/contactAutomations", `{"contactAutomation":{"contact":"1","automation":"2"}}`, 403, `Could not create SubscriberSeries`},
		{"POST", "/api/3/fieldValues", `{"fieldValue":{"contact":1,"field":66,"value":"Q"}}`, 200, `"value":"Q"`},
		{"POST", "/api/3/fieldOption/bulk", `{}`, 422, `Bulk operation failed`},
		{"GET", "/api/3/nothing", "", 404, `{}`},
	} {
		req := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		req.Header.Set("Api-Token", key)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if got := rec.Body.String(); rec.Code != c.code || !strings.Contains(got, c.part) {
			t.Errorf("%s %s %s: got %d %.300s, want %d with %s", c.method, c.path, c.body, rec.Code, got, c.code, c.part)
		}
	}
}

// A client that reads one page of 20, or three, misses the fields of a payment; limits above 100 are cut.
func TestFieldsArePaged(t *testing.T) {
	h := New(Options{Key: key}).Handler()
	at := map[string]int{}
	for offset := 0; ; {
		_, _, page := ask(t, h, "GET", fmt.Sprintf("/api/3/fields?offset=%d", offset), "")
		rows := page["fields"].([]any)
		if page["meta"].(map[string]any)["total"] != "137" {
			t.Fatalf("got total %v", page["meta"])
		}
		if len(rows) == 0 {
			break
		}
		if len(rows) > 20 {
			t.Fatalf("got a page of %d, want 20", len(rows))
		}
		for i, r := range rows {
			at[r.(map[string]any)["perstag"].(string)] = offset + i
		}
		offset += len(rows)
	}
	for _, f := range paymentFields {
		if at[f.perstag] < 60 {
			t.Errorf("%s is at %d, want it behind the third page", f.perstag, at[f.perstag])
		}
	}
	if _, _, page := ask(t, h, "GET", "/api/3/fields?limit=1000", ""); len(page["fields"].([]any)) != 100 {
		t.Errorf("limit=1000 gives %d, want 100", len(page["fields"].([]any)))
	}
}

func TestSixthRequestOfASecondIsRefused(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := New(Options{Key: key, RatePerSecond: 5, Now: func() time.Time { return now }})
	var codes []int
	for range 6 {
		code, header, _ := ask(t, s.Handler(), "GET", "/api/3/lists", "")
		codes = append(codes, code)
		//lint:ignore SA1008 the provider writes it so
		if header["RateLimit-Limit"][0] != "5" || code == 429 && header.Get("Retry-After") != "1" {
			t.Errorf("got headers %v", header)
		}
		now = now.Add(100 * time.Millisecond)
	}
	if d := cmp.Diff(codes, []int{200, 200, 200, 200, 200, 429}); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
	now = now.Add(500 * time.Millisecond)
	if code, _, _ := ask(t, s.Handler(), "GET", "/api/3/lists", ""); code != 200 {
		t.Errorf("a second later: got %d", code)
	}
	if st := s.Stats(); st.TooMany != 1 || st.MaxPerSecond != 6 || st.Requests != 7 {
		t.Errorf("got %+v", st)
	}
}

func TestWrongKeyIs403(t *testing.T) {
	if code, _, _ := ask(t, New(Options{Key: "other"}).Handler(), "GET", "/api/3/lists", ""); code != 403 {
		t.Errorf("got %d, want 403", code)
	}
}

func TestTracking(t *testing.T) {
	s := New(Options{Key: key, Account: "77"})
	send := func(change func(url.Values)) string {
		form := url.Values{"actid": {"77"}, "key": {key}, "event": {"paid"}, "eventdata": {"id=1"}, "visit": {`{"email":"a@x.example"}`}}
		change(form)
		req := httptest.NewRequest("POST", "/event", strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(rec, req)
		return fmt.Sprint(rec.Code, strings.Contains(rec.Body.String(), `"success":1`))
	}
	if got := send(func(url.Values) {}); got != "200 true" {
		t.Errorf("unknown address: got %s, want it taken and ignored", got)
	}
	ask(t, s.Handler(), "POST", "/api/3/contact/sync", `{"contact":{"email":"a@x.example"}}`)
	send(func(url.Values) {})
	for _, field := range []string{"actid", "key", "event", "visit"} {
		if got := send(func(f url.Values) { f.Set(field, "") }); got != "400 false" {
			t.Errorf("without %s: got %s", field, got)
		}
	}
	if _, _, logs := ask(t, s.Handler(), "GET", "/api/3/contacts/1/trackingLogs", ""); len(logs["trackingLogs"].([]any)) != 1 {
		t.Errorf("got %v", logs)
	}
	if got := s.Tracked(); len(got) != 2 || got[0].Known || !got[1].Known {
		t.Errorf("got %+v", got)
	}
}

func TestFaultsAndControlOverHTTP(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- Run(ctx, Options{Key: key}, "127.0.0.1:0", func(u string) { ready <- u }) }()
	base := <-ready
	post := func(path, body string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, "POST", base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Api-Token", key)
		return http.DefaultClient.Do(req)
	}
	if resp, err := post("/_simulator/faults", `{"cut":1}`); err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %v, %v", resp, err)
	}
	if resp, err := post("/api/3/contact/sync", `{"contact":{"email":"a@x.example"}}`); err == nil {
		t.Errorf("got %d, want a cut connection", resp.StatusCode)
	}
	resp, err := http.Get(base + "/_simulator/contacts")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); !strings.Contains(string(b), "a@x.example") {
		t.Errorf("the cut request was not applied: %s", b)
	}
	if resp, err := post("/_simulator/faults", `{"nonsense":1}`); err != nil || resp.StatusCode != 400 {
		t.Errorf("unknown fault: got %v, %v", resp, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}
