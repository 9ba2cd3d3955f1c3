package getresponse

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// rows decodes a list and gives one member of each row.
func rows(t *testing.T, text, member string) []string {
	t.Helper()
	var list []map[string]any
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	out := []string{}
	for _, x := range list {
		out = append(out, fmt.Sprint(x[member]))
	}
	return out
}

func (f *fixture) field(t *testing.T, name string) string {
	t.Helper()
	for _, x := range f.fields {
		if x.name == name {
			return x.id
		}
	}
	t.Fatalf("there is no field %s", name)
	return ""
}

// create asks for a contact, and wants this status.
func (f *fixture) create(t *testing.T, email, more string, want int) string {
	t.Helper()
	res, text := f.call(t, "POST", "/v3/contacts", `{"email":"`+email+`","campaign":{"campaignId":"C"}`+more+`}`)
	if res.StatusCode != want {
		t.Fatalf("got %d %s, want %d", res.StatusCode, text, want)
	}
	return text
}

func query(email string) string {
	return "/v3/contacts?query%5Bemail%5D=" + email + "&additionalFlags=exactMatch"
}

const searchBody = `{"subscribersType":["undelivered","removed","unconfirmed"],"sectionLogicOperator":"and","section":[{"campaignIdsList":["C","D"],
	"logicOperator":"and","subscriberCycle":["receiving_autoresponder"],"subscriptionDate":"all_time","conditions":[{"conditionType":"email",
	"operatorType":"string_operator","operator":"is","value":"%s"}]}]}`

// TestQueue: a contact is accepted with nothing, shown after the delay, and then taken.
func TestQueue(t *testing.T) {
	f := start(t, Options{CreateDelay: time.Minute})
	for range 2 {
		if body := f.create(t, "jo@example.com", "", 202); body != "" {
			t.Errorf("got %q, want nothing", body)
		}
	}
	if _, text := f.call(t, "GET", query("jo@example.com"), ""); len(rows(t, text, "email")) != 0 {
		t.Errorf("got %s before the delay is over", text)
	}
	f.now = f.now.Add(time.Minute)
	_, text := f.call(t, "GET", query("jo@example.com"), "")
	if d := cmp.Diff(rows(t, text, "email"), []string{"jo@example.com"}); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
	f.create(t, "JO@example.com", "", 409)
	if got := f.Contacts(); len(got) != 1 || !got[0].Visible || got[0].List != "C" {
		t.Errorf("got %+v", got)
	}
}

// TestFilters: patterns unless an exact match is asked for; lists apart.
func TestFilters(t *testing.T) {
	f := start(t, Options{})
	for _, email := range []string{"jo@example.com", "bijo@example.com"} {
		if err := f.Subscribe(email, "", "C"); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Subscribe("jo@example.com", "", "V"); err != nil {
		t.Fatal(err)
	}
	for q, want := range map[string]int{
		"query%5Bemail%5D=jo@example.com":                                                    3,
		"query%5Bemail%5D=jo@example.com&additionalFlags=exactMatch":                         2,
		"query%5Bemail%5D=jo@example.com&additionalFlags=exactMatch&query%5BcampaignId%5D=V": 1,
		"query%5BcampaignId%5D=C":                                                            2,
		"query%5Bemail%5D=no@example.com":                                                    0,
	} {
		if _, text := f.call(t, "GET", "/v3/contacts?"+q, ""); len(rows(t, text, "email")) != want {
			t.Errorf("%s: got %s, want %d", q, text, want)
		}
	}
	if err := f.Subscribe("jo@example.com", "", "zz"); err == nil {
		t.Error("a list that is none is taken")
	}
}

// TestReplaceAndUpsert: updating replaces all tags and values, the calls of their own leave the others.
func TestReplaceAndUpsert(t *testing.T) {
	f := start(t, Options{})
	var tags []string
	for _, name := range []string{"one", "two", "three"} {
		_, text := f.call(t, "POST", "/v3/tags", `{"name":"`+name+`"}`)
		var made struct{ TagID string }
		if err := json.Unmarshal([]byte(text), &made); err != nil || made.TagID == "" {
			t.Fatalf("%s: %v", text, err)
		}
		tags = append(tags, made.TagID)
	}
	order, age := f.field(t, "order_id"), f.field(t, "age")
	f.create(t, "jo@example.com", `,"name":"Jo","tags":[{"tagId":"`+tags[0]+`"}],"customFieldValues":[{"customFieldId":"`+order+`","value":["5O1"]}]`, 202)
	path := "/v3/contacts/" + f.Contacts()[0].ID
	for _, c := range []struct {
		what, path, body string
		tags             []string
		fields           map[string][]string
	}{
		{"tags more", path + "/tags", `{"tags":[{"tagId":"` + tags[1] + `"}]}`, []string{"one", "two"}, map[string][]string{"order_id": {"5O1"}}},
		{"values more", path + "/custom-fields", `{"customFieldValues":[{"customFieldId":"` + age + `","value":["60+"]}]}`, []string{"one", "two"}, map[string][]string{"order_id": {"5O1"}, "age": {"60+"}}},
		{"tags instead", path, `{"tags":[{"tagId":"` + tags[2] + `"}]}`, []string{"three"}, map[string][]string{"order_id": {"5O1"}, "age": {"60+"}}},
		{"values instead", path, `{"customFieldValues":[{"customFieldId":"` + age + `","value":["<18"]}]}`, []string{"three"}, map[string][]string{"age": {"<18"}}},
		{"name only", path, `{"name":"Jo Roe"}`, []string{"three"}, map[string][]string{"age": {"<18"}}},
	} {
		if res, text := f.call(t, "POST", c.path, c.body); res.StatusCode != 200 {
			t.Fatalf("%s: got %d %s", c.what, res.StatusCode, text)
		}
		got := f.Contacts()[0]
		if d := cmp.Diff(got.Tags, c.tags) + cmp.Diff(got.Fields, c.fields); d != "" {
			t.Errorf("%s, got - want:\n%s", c.what, d)
		}
	}
	if got := len(f.Contacts()[0].Versions); got != 6 {
		t.Errorf("got %d versions, want 6", got)
	}
}

// TestCRMErrors: as documented, by code; where that is open, as the twin's comments say.
func TestCRMErrors(t *testing.T) {
	f := start(t, Options{Faults: Faults{Reject: []string{"listed@example.com"}}})
	f.create(t, "jo@example.com", "", 202)
	f.DefineEvent("order_paid", "data")
	id := f.Contacts()[0].ID
	field := func(name, value string) string {
		return `{"customFieldValues":[{"customFieldId":"` + f.field(t, name) + `","value":[` + value + `]}]}`
	}
	for _, c := range []struct {
		name, path, body string
		status, code     int
	}{
		{"no list", "contacts", `{"email":"x@example.com"}`, 400, 1005},
		{"no such list", "contacts", `{"email":"x@example.com","campaign":{"campaignId":"zz"}}`, 400, 1001},
		{"no address", "contacts", `{"email":"x","campaign":{"campaignId":"C"}}`, 400, 1000},
		{"blocklist", "contacts", `{"email":"listed@example.com","campaign":{"campaignId":"C"}}`, 400, 1002},
		{"a member that is none", "contacts", `{"email":"x@example.com","campaign":{"campaignId":"C"},"phone":"1"}`, 400, 1000},
		{"no such tag", "contacts/" + id + "/tags", `{"tags":[{"tagId":"zz"}]}`, 400, 1001},
		{"no such field", "contacts/" + id + "/custom-fields", `{"customFieldValues":[{"customFieldId":"zz","value":["x"]}]}`, 400, 1001},
		{"no such contact", "contacts/zz/tags", `{"tags":[]}`, 404, 1013},
		{"no number", "contacts/" + id + "/custom-fields", field("order_amount", `"ten"`), 400, 1000},
		{"no date", "contacts/" + id + "/custom-fields", field("next_billing", `"soon"`), 400, 1000},
		{"no option", "contacts/" + id + "/custom-fields", field("age", `"7"`), 400, 1000},
		{"two of one", "contacts/" + id + "/custom-fields", field("age", `"60+","<18"`), 400, 1000},
		{"none", "contacts/" + id + "/custom-fields", field("age", ``), 400, 1000},
		{"too long", "contacts/" + id + "/custom-fields", field("order_id", `"`+strings.Repeat("x", 256)+`"`), 400, 1007},
		{"a tag with a space", "tags", `{"name":"a b"}`, 400, 1000},
		{"an event in capitals", "custom-events", `{"name":"Paid","attributes":[]}`, 400, 1000},
		{"an event that is there", "custom-events", `{"name":"order_paid","attributes":[]}`, 409, 1008},
		{"a trigger of no event", "custom-events/trigger", `{"name":"nothing","contactId":"` + id + `"}`, 404, 1013},
		{"a trigger for nobody", "custom-events/trigger", `{"name":"order_paid","contactId":"zz"}`, 404, 1013},
		{"an attribute that is none", "custom-events/trigger", `{"name":"order_paid","contactId":"` + id + `","attributes":[{"name":"total","value":"1"}]}`, 400, 1000},
		{"a trigger", "custom-events/trigger", `{"name":"order_paid","contactId":"` + id + `","attributes":[{"name":"data","value":"1"}]}`, 201, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, text := f.call(t, "POST", "/v3/"+c.path, c.body)
			var e struct{ Code int }
			_ = json.Unmarshal([]byte(text), &e) // a success has no body
			if res.StatusCode != c.status || e.Code != c.code {
				t.Errorf("got %d %s, want %d with code %d", res.StatusCode, text, c.status, c.code)
			}
		})
	}
	if got := f.Triggered(); len(got) != 1 || got[0].Attributes["data"] != "1" || got[0].Email != "jo@example.com" {
		t.Errorf("got %+v, want one event", got)
	}
}

// TestLeaving: who is gone has no id, is found by a search for such, and may come back unless they bounced or complained.
func TestLeaving(t *testing.T) {
	f := start(t, Options{})
	for i, reason := range []string{"unsubscribe", "bounce"} {
		email := fmt.Sprintf("jo%d@example.com", i)
		f.create(t, email, "", 202)
		f.TakeOff(email, reason)
		_, text := f.call(t, "POST", "/v3/search-contacts/contacts", fmt.Sprintf(searchBody, email))
		if d := cmp.Diff(rows(t, text, "reason"), []string{reason}); d != "" {
			t.Errorf("got - want:\n%s", d)
		}
		f.create(t, email, "", []int{202, 400}[i])
	}
	f.create(t, "api@example.com", "", 202)
	i := slices.IndexFunc(f.Contacts(), func(c Contact) bool { return c.Email == "api@example.com" })
	path := "/v3/contacts/" + f.Contacts()[i].ID
	if res, _ := f.call(t, "DELETE", path, ""); res.StatusCode != 204 {
		t.Errorf("got %d", res.StatusCode)
	}
	if res, _ := f.call(t, "GET", path, ""); res.StatusCode != 404 {
		t.Errorf("after deleting: got %d", res.StatusCode)
	}
}

// TestConfirmation: on a list with double opt-in a contact shows in a search for unconfirmed ones until it confirms.
func TestConfirmation(t *testing.T) {
	f := start(t, Options{})
	f.call(t, "POST", "/v3/contacts", `{"email":"jo@example.com","campaign":{"campaignId":"D"}}`)
	look := func() [2]int {
		_, list := f.call(t, "GET", query("jo@example.com"), "")
		_, found := f.call(t, "POST", "/v3/search-contacts/contacts", fmt.Sprintf(searchBody, "jo@example.com"))
		return [2]int{len(rows(t, list, "email")), len(rows(t, found, "email"))}
	}
	if got := look(); got != [2]int{0, 1} {
		t.Errorf("got %v shown and found, want 0 and 1", got)
	}
	f.Confirm("jo@example.com")
	if got := look(); got != [2]int{1, 0} {
		t.Errorf("confirmed: got %v, want 1 and 0", got)
	}
}

// TestFaults: each kind of trouble looks as it should, and is applied or not as it says.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		faults  Faults
		status  int // 0: no answer
		header  string
		applied int
	}{
		"too many":    {Faults{TooMany: 1, RetryAfterSeconds: 3}, 429, "3", 0},
		"quota":       {Faults{Quota: 1}, 429, "", 0},
		"server":      {Faults{ServerError: 1}, 500, "", 0},
		"maintenance": {Faults{Unavailable: 1}, 503, "1", 0},
		"page":        {Faults{HTML: 1}, 200, "", 0},
		"huge":        {Faults{Huge: 1, HugeBytes: 1 << 20}, 200, "", 1},
		"cut":         {Faults{Cut: 1}, 0, "", 1},
		"late":        {Faults{TimeoutAfter: 1, HangMillis: 1}, 0, "", 1},
		"never":       {Faults{TimeoutBefore: 1, HangMillis: 1}, 0, "", 0},
		"dropped":     {Faults{Drop: []string{"jo@example.com"}}, 202, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, Options{Faults: c.faults})
			srv := httptest.NewServer(f.Handler())
			defer srv.Close()
			req, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL+"/v3/contacts", strings.NewReader(`{"email":"jo@example.com","campaign":{"campaignId":"C"}}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Auth-Token", "api-key "+key)
			res, err := srv.Client().Do(req)
			if c.status == 0 {
				if !errors.Is(err, io.EOF) {
					t.Errorf("got %v, want a cut connection", err)
				}
			} else if err != nil {
				t.Fatal(err)
			} else {
				defer res.Body.Close()
				n, err := io.Copy(io.Discard, res.Body)
				if res.StatusCode != c.status || res.Header.Get("Retry-After") != c.header || err != nil || c.faults.Huge > 0 && n < 1<<20 {
					t.Errorf("got %d, Retry-After %q, %d bytes, %v", res.StatusCode, res.Header.Get("Retry-After"), n, err)
				}
			}
			if got := len(f.Contacts()); got != c.applied {
				t.Errorf("got %d contacts, want %d", got, c.applied)
			}
		})
	}
}

// TestControl: faults by HTTP, with a mistake refused; and the look inside.
func TestControl(t *testing.T) {
	f := start(t, Options{})
	if res, _ := f.call(t, "POST", "/_simulator/faults", `{"too_manny":1}`); res.StatusCode != 400 {
		t.Errorf("got %d for a fault that is none", res.StatusCode)
	}
	f.call(t, "POST", "/_simulator/faults", `{"too_many":1}`)
	if res, _ := f.call(t, "GET", "/v3/tags", ""); res.StatusCode != 429 {
		t.Errorf("got %d, want 429", res.StatusCode)
	}
	f.SetFaults(Faults{})
	f.create(t, "jo@example.com", "", 202)
	_, text := f.call(t, "GET", "/_simulator/contacts", "")
	if d := cmp.Diff(rows(t, text, "email"), []string{"jo@example.com"}); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
	if got := f.Stats(); got.Requests != 2 || got.Faults != 1 || got.MaxPerSecond < 1 || got.MaxParallel != 1 {
		t.Errorf("got %+v", got)
	}
}
