package getresponse

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

func TestTagName(t *testing.T) {
	for in, want := range map[string]string{
		"paid": "paid", "Paid": "Paid", "paypal-integration": "paypal_integration", " order  paid! ": "order_paid", "a.b/c": "a_b_c", "!paid?": "paid",
		"_private_": "_private_", "zapłacono": "zap_acono", "x": "", "": "", "оплачено": "", "___": "", "--": "",
		strings.Repeat("t", 64): strings.Repeat("t", 64), strings.Repeat("t", 65): "",
	} {
		got, err := TagName(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]string{"Order Paid!": "order_paid", "!!": ""} {
		if got := Sink.TagName(in); got != want {
			t.Errorf("as the sink tells %q: got %q, want %q", in, got, want)
		}
	}
	if got, err := EventName("Order Paid"); got != "order_paid" || err != nil {
		t.Errorf("got %q, %v, want order_paid", got, err)
	}
	if _, err := EventName("ab"); err == nil {
		t.Error("an event's name of two characters is taken")
	}
}

// TestTagNameKeepsTheRule: what comes out is a tag of GetResponse, and stays as it is when it goes in again.
func TestTagNameKeepsTheRule(t *testing.T) {
	rule := regexp.MustCompile(`^[_a-zA-Z0-9]{2,64}$`)
	rapid.Check(t, func(t *rapid.T) {
		got, err := TagName(rapid.String().Draw(t, "name"))
		if err != nil {
			return
		}
		if again, err := TagName(got); !rule.MatchString(got) || again != got || err != nil {
			t.Errorf("got %q and then %q, %v", got, again, err)
		}
	})
}

func TestValues(t *testing.T) {
	of := func(kind, widget string, options ...string) field {
		return field{id: "f", name: "f", kind: kind, widget: widget, options: options}
	}
	for _, c := range []struct {
		name  string
		f     field
		value string
		want  []string // nil with bad: an error
		bad   bool
	}{
		{"text", of("string", "text"), " as it is ", []string{"as it is"}, false},
		{"nothing", of("number", "text"), "", nil, false},
		{"number", of("number", "text"), "-10.50", []string{"-10.50"}, false},
		{"number with a sign", of("number", "text"), "+3", []string{"3"}, false},
		{"number with an exponent", of("number", "text"), "1e9", nil, true},
		{"fraction", of("number", "text"), "1/3", nil, true},
		{"date of a time", of("date", "text"), "2026-02-28T10:00:00Z", []string{"2026-02-28"}, false},
		{"time in UTC", of("datetime", "text"), "2026-02-28T23:30:00-02:00", []string{"2026-03-01 01:30:00"}, false},
		{"no time", of("datetime", "text"), "soon", nil, true},
		{"currency", of("currency", "text"), "pln", []string{"PLN"}, false},
		{"no currency", of("currency", "text"), "zł", nil, true},
		{"phone", of("phone", "text"), "+48 (123) 456-789", []string{"+48123456789"}, false},
		{"no phone", of("phone", "text"), "+", nil, true},
		{"gender", of("gender", "single_select", "Male", "Female", "Prefer not to say"), "female", []string{"Female"}, false},
		{"gender without options", of("gender", "text"), "x", nil, true},
		{"ip", of("ip", "text"), "2001:DB8::1", []string{"2001:db8::1"}, false},
		{"no ip", of("ip", "text"), "1.2.3", nil, true},
		{"url", of("url", "text"), "https://example.com/a?b=c", []string{"https://example.com/a?b=c"}, false},
		{"no url", of("url", "text"), "example", nil, true},
		{"option", of("string", "single_select", "18-29", "<18"), "<18", []string{"<18"}, false},
		{"no option", of("string", "radio", "a", "b"), "c", nil, true},
		{"options", of("string", "multi_select", "Books", "Tea", "A, B"), "tea, books, tea", []string{"Tea", "Books"}, false},
		{"an option with a comma", of("string", "multi_select", "Books", "A, B"), "a, b", []string{"A, B"}, false},
		{"options between bars", of("string", "checkbox", "Books", "Tea"), "||Tea||Books||", []string{"Tea", "Books"}, false},
		{"checkbox without options", of("string", "checkbox"), "x,y", []string{"x", "y"}, false},
		{"one of several is none", of("string", "checkbox", "Books", "Tea"), "Tea,Cars", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if len(c.f.options) == 0 {
				c.f.options = nil
			}
			got, err := c.f.format(c.value)
			if (err != nil) != c.bad {
				t.Fatalf("got %v, %v", got, err)
			}
			if d := cmp.Diff(got, c.want); err == nil && d != "" {
				t.Errorf("got - want:\n%s", d)
			}
			if err == nil && !c.f.same(got, c.want) {
				t.Error("the value is not the same as itself")
			}
		})
	}
	if n := of("number", "text"); !n.same([]string{"10"}, []string{"10.00"}) || n.same([]string{"10"}, []string{"10.01"}) || n.same([]string{"1e9"}, []string{"1000000000"}) {
		t.Error("numbers are compared by their text, or exponents are computed")
	}
}

// TestFieldsInBothForms: the documentation's and the older one, which real accounts show.
func TestFieldsInBothForms(t *testing.T) {
	var samples struct {
		List []struct {
			ID        string   `json:"customFieldId"`
			Name      string   `json:"name"`
			Type      string   `json:"type"`
			ValueType string   `json:"valueType"`
			Format    string   `json:"format"`
			FieldType string   `json:"fieldType"`
			Values    []string `json:"values"`
		} `json:"list_response_apidocs"`
	}
	sample(t, "custom-fields.json", &samples)
	got := map[string]string{}
	for _, f := range samples.List {
		x := newField(f.ID, f.Name, f.Type, f.ValueType, f.Format, f.FieldType, f.Values)
		got[x.name] = x.kind + " " + x.widget + " " + strings.Join(x.options, "|")
	}
	got["new"] = newField("p", "new", "phone", "phone", "text", "text", nil).kind
	want := map[string]string{"age": "string single_select 18-29|30-44|45-59|60+|<18", "city": "string text ", "new": "phone"}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
}

// TestContactOfTheDocumentation is read whole.
func TestContactOfTheDocumentation(t *testing.T) {
	var samples struct {
		Details struct{ Body details } `json:"details_response"`
	}
	sample(t, "contact-get.json", &samples)
	want := details{
		ID: "pV3r", Email: "john.doe@example.com", Name: "John Doe", Campaign: campaign{"C"}, Tags: []tagRef{{"hR"}},
		Values: []held{{"4klkN", []string{"18-35"}, []string{"18-35"}}}, Scoring: []byte("8"),
	}
	if d := cmp.Diff(samples.Details.Body, want); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
}

func sample(t testing.TB, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func answered(status int, body string, header ...string) reply {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return reply{
		method: http.MethodPost, path: "/contacts/pV3r/tags", body: []byte(body), at: time.Unix(1_700_000_000, 0),
		resp: &http.Response{StatusCode: status, Header: h, Request: &http.Request{Method: http.MethodPost}},
	}
}

func code(n int, rest string) string {
	return `{"httpStatus":400,"code":` + itoa(n) + `,"message":"M"` + rest + `,"uuid":"u-1"}`
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

// TestClassify: by GetResponse's code first, then by status.
func TestClassify(t *testing.T) {
	for _, c := range []struct {
		name string
		r    reply
		kind failKind
		wait time.Duration
		says string // in cause or remedy
	}{
		{"validation", answered(400, code(1000, `,"context":{"fieldName":"age","errorDescription":"bad","originalName":"secret text"}`)), failReject, 0, "age: bad"},
		{"validation as a list", answered(400, code(1000, `,"context":[{"fieldName":"age","errorDescription":"bad"},"worse"]`)), failReject, 0, "age: bad; worse"},
		{"context null", answered(400, code(1000, `,"context":null`)), failReject, 0, "M (code 1000, uuid u-1)"},
		{"members of other types", answered(404, `{"code":"1013","message":["x"],"uuid":7,"context":"gone"}`), failReject, 0, "gone (code 1013)"},
		{"related", answered(400, code(1001, "")), failReject, 0, ""},
		{"blacklisted", answered(400, code(1002, "")), failReject, 0, "not subscribed again"},
		{"too long", answered(400, code(1007, "")), failReject, 0, ""},
		{"taken", answered(409, code(1008, "")), failReject, 0, ""},
		{"external check", answered(400, code(1010, "")), failRetry, 0, ""},
		{"not found", answered(404, code(1013, "")), failReject, 0, ""},
		{"authentication", answered(401, code(1014, "")), failAccount, 0, "90 days"},
		{"authentication of the registry", answered(403, code(1014, "")), failAccount, 0, "90 days"},
		{"blocked", answered(403, code(1016, "")), failAccount, 0, "blocked"},
		{"blocked for good", answered(403, code(1017, "")), failAccount, 0, "blocked"},
		{"address blocked", answered(403, code(1018, "")), failAccount, 0, "address"},
		{"maintenance", answered(503, code(1019, "")), failAccount, time.Second, "maintenance"},
		{"headers", answered(400, code(1021, "")), failAccount, 0, "domain"},
		{"permission", answered(403, code(1023, "")), failAccount, 0, "user who may"},
		{"domain", answered(404, code(1024, "")), failAccount, 0, "domain"},
		{"contacts used up", answered(400, code(1027, "")), failAccount, 0, "plan"},
		{"internal", answered(500, code(1, "")), failRetry, 0, ""},
		{"gateway", answered(502, "<html>"), failUnknown, 0, ""},
		{"redirect", answered(302, ""), failAccount, 0, "url"},
		{"another server's 404", answered(404, "<html>"), failAccount, 0, "url"},
		{"429 by Retry-After", answered(429, code(1015, `,"context":{"timeToReset":"100 seconds"}`), "Retry-After", "7", "X-RateLimit-Reset", "9 seconds"), failAccount, 7 * time.Second, ""},
		{"429 by header", answered(429, code(1015, `,"context":{"timeToReset":"100 seconds"}`), "X-RateLimit-Reset", "9 seconds"), failAccount, 9 * time.Second, ""},
		{"429 by context", answered(429, code(1015, `,"context":{"currentLimit":30000,"timeToReset":"100 seconds"}`)), failAccount, 100 * time.Second, ""},
		{"429 bare", answered(429, ""), failAccount, time.Second, ""},
		{"429 of ten years", answered(429, "", "X-RateLimit-Reset", "315360000 seconds"), failAccount, 24 * time.Hour, ""},
		{"200 with nothing", answered(200, ""), failUnknown, 0, "other than the documented JSON"},
		{"cut", reply{method: "POST", path: "/tags", err: io.ErrUnexpectedEOF}, failUnknown, 0, ""},
		{"not sent", reply{method: "POST", path: "/tags", err: notSent{errors.New("x")}}, failRetry, 0, "was not sent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := classify(c.r)
			if f.kind != c.kind || f.retryAfter != c.wait {
				t.Errorf("got kind %d after %s, want %d after %s: %s", f.kind, f.retryAfter, c.kind, c.wait, f.cause)
			}
			if text := f.cause + " -> " + f.remedy; !strings.Contains(text, c.says) || f.remedy == "" || strings.Contains(text, "secret") || strings.Contains(text, "pV3r") {
				t.Errorf("got %q, want it to say %q, a remedy, and nothing personal", text, c.says)
			}
		})
	}
}

// TestOnlyQueuesAnswerWithNothing: an empty 200 is not the API's.
func TestOnlyQueuesAnswerWithNothing(t *testing.T) {
	for status, want := range map[int]bool{200: false, 201: true, 202: true} {
		if got := answered(status, " ").ok(nil); got != want {
			t.Errorf("%d with nothing: got %v, want %v", status, got, want)
		}
		if !answered(status, "{}").ok(nil) || answered(status, "{").ok(nil) || answered(status, "").ok(new(details)) {
			t.Errorf("%d: JSON is refused, half of it taken, or nothing taken for something", status)
		}
	}
}

// TestClassifyKnowsTheDocumentedErrors reads the provider's own examples.
func TestClassifyKnowsTheDocumentedErrors(t *testing.T) {
	var samples map[string]json.RawMessage
	sample(t, "errors.json", &samples)
	for name, want := range map[string]struct {
		status, code int
		kind         failKind
		wait         time.Duration
	}{
		"validation_400": {400, 1000, failReject, 0}, "auth_401": {401, codeAuthentication, failAccount, 0},
		"not_found_404": {404, codeNotFound, failReject, 0}, "duplicate_409": {409, codeTaken, failReject, 0},
		"throttled_429": {429, codeThrottled, failAccount, 100 * time.Second},
	} {
		f := classify(answered(want.status, string(samples[name])))
		if f.kind != want.kind || f.code != want.code || f.retryAfter != want.wait {
			t.Errorf("%s: got kind %d, code %d, after %s: %s", name, f.kind, f.code, f.retryAfter, f.cause)
		}
	}
}

// TestManyTags: with as many tags as the API shows, none is removed through it.
func TestManyTags(t *testing.T) {
	have := &details{ID: "x"}
	for i := range tagsOfContact {
		have.Tags = append(have.Tags, tagRef{"t" + itoa(i)})
	}
	if _, fail := replacement(&desired{remove: []string{"t3"}}, have); fail == nil || fail.kind != failReject || fail.remedy == "" {
		t.Errorf("got %v, want a refusal", fail)
	}
	body, fail := replacement(&desired{remove: []string{"none"}}, have)
	if fail != nil || len(body) != 0 {
		t.Errorf("got %v, %v, want nothing to do", body, fail)
	}
}

// TestPeopleAreBounded: the least recently used go, and old knowledge is asked for again.
func TestPeopleAreBounded(t *testing.T) {
	now := time.Unix(0, 0)
	p := newPeople(2, func() time.Time { return now })
	p.is("A@x.example", "1")
	p.is("b@x.example", "2")
	p.get("a@x.example")
	p.is("c@x.example", "3")
	got := []string{p.get("a@x.example").id, p.get("b@x.example").id, p.get("c@x.example").id}
	if d := cmp.Diff(got, []string{"1", "", "3"}); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
	now = now.Add(personAge)
	if got := p.get("a@x.example").id; got != "" {
		t.Errorf("got %q after %s, want nothing", got, personAge)
	}
	if p.order.Len() != len(p.byEmail) {
		t.Errorf("got %d in order and %d by address", p.order.Len(), len(p.byEmail))
	}
}

func TestConfig(t *testing.T) {
	good := func() *Config {
		c := defaults()
		c.Key, c.List = schemas.NewSecret("k3y"), "pV3r"
		return c
	}
	for name, c := range map[string]struct {
		change func(*Config)
		field  string // "": good
	}{
		"good":                   {func(*Config) {}, ""},
		"MAX":                    {func(c *Config) { c.URL, c.Domain = "https://api3.getresponse360.pl/v3/", "example.com" }, ""},
		"no address":             {func(c *Config) { c.URL = "" }, ""},
		"no key":                 {func(c *Config) { c.Key = schemas.Secret{} }, "key"},
		"key with its word":      {func(c *Config) { c.Key = schemas.NewSecret("api-key abc") }, "key"},
		"no list":                {func(c *Config) { c.List = "" }, "list"},
		"a list's name":          {func(c *Config) { c.List = "My list" }, "list"},
		"a domain with its www":  {func(c *Config) { c.Domain = "www.example.com" }, "domain"},
		"an address without one": {func(c *Config) { c.URL = "api.getresponse.com" }, "url"},
		"an address with a user": {func(c *Config) { c.URL = "https://a:b@api.getresponse.com/v3" }, "url"},
		"plain http":             {func(c *Config) { c.URL = "http://api.getresponse.com/v3" }, "url"},
		"plain http to this one": {func(c *Config) { c.URL = "http://127.0.0.1:1/v3" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			conf := good()
			c.change(conf)
			found := conf.Validate()
			switch {
			case c.field == "" && len(found) > 0, c.field != "" && (len(found) != 1 || found[0].Field != c.field || found[0].Hint == ""):
				t.Errorf("got %+v, want %q", found, c.field)
			}
			_, err := open(t.Context(), conf, sinks.Env{Destination: "crm"})
			if (err == nil) != (c.field == "") {
				t.Errorf("open: got %v", err)
			}
		})
	}
	a, b, other := good(), good(), good()
	b.List = "other"
	other.Key = schemas.NewSecret("another")
	if a.Account() != b.Account() || a.Account() == other.Account() || strings.Contains(a.Account(), "k3y") {
		t.Errorf("got accounts %q, %q, %q", a.Account(), b.Account(), other.Account())
	}
}

// FuzzErrors: no body of an error makes trouble or shows an address.
func FuzzErrors(f *testing.F) {
	var samples map[string]json.RawMessage
	sample(f, "errors.json", &samples)
	for _, s := range samples {
		f.Add(400, string(s))
	}
	f.Add(429, `{"code":1015,"context":{"timeToReset":"9999999999999999999 seconds"}}`)
	f.Add(400, `{"code":1000,"context":[["x"],{"fieldName":7}],"message":"ada@shop.example"}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 300 || status > 999 {
			status = 400
		}
		got := classify(answered(status, body))
		if got.kind < failReject || got.kind > failAccount || got.remedy == "" || got.cause == "" || got.retryAfter < 0 {
			t.Errorf("got %+v", got)
		}
		if strings.Contains(got.cause, "ada@shop.example") {
			t.Errorf("an address shows: %s", got.cause)
		}
	})
}

// FuzzValues: whatever is mapped, a value of a field is in its form or refused.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"", "10.00", "1e999999999", "2026-02-28T10:00:00Z", "+48 123", "Tea,Books", "||", "https://x.example/", "0x1p-9"} {
		for kind := range kinds {
			f.Add(kind, s)
		}
	}
	f.Fuzz(func(t *testing.T, kind int, value string) {
		if kind < 0 || kind >= len(kinds) {
			kind = 0
		}
		for _, fl := range []field{
			{name: "f", kind: kinds[kind], widget: "text"}, {name: "f", kind: kinds[kind], widget: "multi_select", options: []string{"Tea", "Books"}},
		} {
			got, err := fl.format(value)
			if err != nil {
				continue
			}
			for _, v := range got {
				if v == "" {
					t.Errorf("%s %q: got an empty value", fl.kind, value)
				}
			}
			if len(got) > 0 {
				if again, err := fl.format(strings.Join(got, "||")); err != nil || len(again) != len(got) {
					t.Errorf("%s %q: got %q and then %q, %v", fl.kind, value, got, again, err)
				}
			}
		}
	})
}
