package activecampaign_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/sinkstest"
)

// document is the part of the provider's OpenAPI document that this sink uses.
type document struct {
	Paths map[string]map[string]*operation
}

type operation struct {
	Parameters  []parameter
	RequestBody *struct {
		Content map[string]struct{ Schema schema }
	}
}

type parameter struct {
	Name, In string
	Schema   schema
}

type schema struct {
	Type       string
	Required   []string
	Properties map[string]*schema
	Items      *schema
	Enum       []any
}

// undocumented operations are known from other sources: the provider's plugin, and clients that use them.
var undocumented = map[string]bool{
	"GET /contacts/{id}/contactTags": true,
	"POST /ecom/graphql":             true,
}

// shown are members that the document shows in its example of the operation, and not in its schema.
var shown = map[string]string{"POST /import/bulk_import": "exclude_automations"}

// tracking is the operation of the other host.
const tracking = "POST /event"

// documents are the copied parts of the provider's documents, by operation.
var documents = sync.OnceValues(func() (map[string]*operation, error) {
	out := map[string]*operation{}
	for _, name := range []string{"testdata/openapi.json", "testdata/tracking-openapi.json"} {
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var d document
		if err := json.Unmarshal(raw, &d); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for path, methods := range d.Paths {
			for method, op := range methods {
				out[strings.ToUpper(method)+" "+path] = op
			}
		}
	}
	return out, nil
})

// documented lets requests through to h and fails t where one is not as the documents have it.
func documented(t *testing.T, h http.Handler) http.Handler {
	t.Helper()
	known, err := documents()
	if err != nil {
		t.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil { // a client that goes away is no mistake of its request
			name, wrong := judge(known, sent{r, body})
			for _, text := range wrong {
				t.Errorf("%s: %s\n%s?%s\n%.2000s", name, text, r.URL.Path, r.URL.RawQuery, body)
			}
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		h.ServeHTTP(w, r)
	})
}

// judge names the request's operation and says what is wrong with it.
func judge(known map[string]*operation, x sent) (name string, wrong []string) {
	name = operationOf(x.r)
	op := known[name]
	switch {
	case op == nil && undocumented[name]:
		return name, nil
	case op == nil:
		return name, []string{"not documented"}
	case name == tracking:
		return name, op.form(x)
	}
	return name, op.request(x, shown[name])
}

func operationOf(r *http.Request) string {
	return r.Method + " " + pathID.ReplaceAllString(strings.TrimPrefix(r.URL.Path, "/api/3"), "/{id}$1")
}

// check returns what of value is not as the document says. A member that it does not name counts too. Ids may be written
// as numbers or as texts, whichever the document happens to have: its own examples differ from it in both directions.
func (s *schema) check(value any, at string) []string {
	if s == nil || s.Type == "" && s.Properties == nil {
		return nil
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, value) {
		return []string{fmt.Sprintf("%s is %v, want one of %v", at, value, s.Enum)}
	}
	wrong := []string{fmt.Sprintf("%s is %v (%T), want %s", at, value, value, s.Type)}
	switch v := value.(type) {
	case string:
		if _, err := strconv.Atoi(v); s.Type != "string" && (s.Type != "integer" || err != nil) {
			return wrong
		}
	case float64:
		whole := v == math.Trunc(v)
		if s.Type != "number" && !(whole && (s.Type == "integer" || s.Type == "string")) {
			return wrong
		}
	case bool:
		if s.Type != "boolean" {
			return wrong
		}
	case []any:
		if s.Type != "array" {
			return wrong
		}
		var out []string
		for i, x := range v {
			out = append(out, s.Items.check(x, fmt.Sprintf("%s[%d]", at, i))...)
		}
		return out
	case map[string]any:
		return s.members(v, at)
	default:
		return wrong
	}
	return nil
}

func (s *schema) members(v map[string]any, at string) (out []string) {
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			out = append(out, at+"."+name+" is missing")
		}
	}
	for name, x := range v {
		if p := s.Properties[name]; p != nil {
			out = append(out, p.check(x, at+"."+name)...)
		} else {
			out = append(out, at+"."+name+" is not documented")
		}
	}
	return out
}

// operator is that of a filter.
var operator = regexp.MustCompile(`\[(eq|neq|lt|lte|gt|gte|contains|starts_with)\]$`)

var pathID = regexp.MustCompile(`/[0-9]+(/|$)`)

// sent is one request as it came.
type sent struct {
	r    *http.Request
	body []byte
}

// everything makes the sink use all that it uses of the API, and returns the operations.
func everything(t *testing.T) map[string]bool {
	t.Helper()
	var mu sync.Mutex
	used, lose := map[string]bool{}, false
	s := twin.New(twin.Options{Key: apiKey, EventKey: eventKey, Lists: 230})
	h := documented(t, s.Handler())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		used[operationOf(r)] = true
		lost := lose && r.URL.Path == "/api/3/import/bulk_import" && r.Method == http.MethodPost
		mu.Unlock()
		if lost {
			h.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		h.ServeHTTP(w, r)
	}))
	defer srv.Close()
	w := opened(t, srv.URL)
	w.Check(t.Context())
	turned := ada()
	turned.Contact.Tags, turned.Contact.NoTags = nil, []string{"paid"}
	for _, cmd := range []schemas.Command{
		ada(), turned, *paid(), effect(schemas.EffectAddToList, "Customers"), effect(schemas.EffectMoveToList, "List 229", "from", "Customers"),
		effect(schemas.EffectStartAutomation, "Welcome"), effect(schemas.EffectSendMessage, "Payment reminder", "ORDER_ID", "5O1"),
		order("PAID"), order("REFUNDED"), subscription("ACTIVE"),
	} {
		write(t, w, cmd)
		if cmd.Kind == schemas.CommandEffect {
			w.Reconcile(t.Context(), cmd)
		}
	}
	if _, o := w.(sinks.ListReader).Standing(t.Context(), adasAddress, "Customers"); o.Kind != sinks.Delivered {
		t.Fatalf("standing: got %d: %v", o.Kind, o.Err)
	}
	if _, o := w.(sinks.Verifier).Verify(t.Context(), ada().Contact); o.Kind != sinks.Delivered {
		t.Fatalf("verify: got %d: %v", o.Kind, o.Err)
	}
	if _, o := w.(sinks.Accounter).Account(t.Context()); o.Kind != sinks.Delivered {
		t.Fatalf("account: got %d: %v", o.Kind, o.Err)
	}
	for _, kind := range sinkstest.EntryKinds {
		if _, o := w.(sinks.Cataloguer).Catalogue(t.Context(), kind); o.Kind != sinks.Delivered {
			t.Fatalf("%s: got %d: %v", kind, o.Kind, o.Err)
		}
	}
	list := many(20)
	w.Write(t.Context(), list)
	mu.Lock()
	lose = true
	mu.Unlock()
	w.Write(t.Context(), list)
	w.Write(t.Context(), list) // asks first what became of the import whose answer was lost
	mu.Lock()
	defer mu.Unlock()
	return used
}

// TestEndpointsAreTabled: the table of the README holds each operation that the sink uses, and no other; the tests that
// it names exist; each operation of the copied documents is used, and each that is used is in them, or known to be
// documented nowhere. That every request of every test has their form is what the package's server sees to.
func TestEndpointsAreTabled(t *testing.T) {
	known, err := documents()
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t)
	tabled := map[string]bool{}
	row := regexp.MustCompile("(?m)^\\| `([A-Z]+ /[^`]*)`[^|]*\\| [^|]+ \\| `([^`]+)`")
	for _, m := range row.FindAllStringSubmatch(string(readme), -1) {
		tabled[m[1]] = true
		if !tests[m[2]] {
			t.Errorf("%s: there is no test %s", m[1], m[2])
		}
	}
	used := everything(t)
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if !tabled[name] {
			t.Errorf("%s is used and not in the table of README.md", name)
		}
		if known[name] == nil && !undocumented[name] {
			t.Errorf("%s is used and not documented", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tabled)) {
		if !used[name] {
			t.Errorf("%s is in the table and not used", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if !used[name] {
			t.Errorf("%s is in the copied documents and not used", name)
		}
	}
}

func testNames(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]*)\(`).FindAllStringSubmatch(string(raw), -1) {
			out[m[1]] = true
		}
	}
	return out
}

// TestWrongRequestsAreSeen: what checks the requests fails one that is wrong.
func TestWrongRequestsAreSeen(t *testing.T) {
	known, err := documents()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ method, target, media, body, wrong string }{
		"unknown path":      {"GET", "/api/3/nothing", "", "", "not documented"},
		"unknown parameter": {"GET", "/api/3/contacts?mail=x", "", "", "mail is not documented"},
		"missing member":    {"POST", "/api/3/contact/sync", "application/json", `{"contact":{"firstName":"A"}}`, "email is missing"},
		"unknown member":    {"POST", "/api/3/contact/sync", "application/json", `{"contact":{"email":"a","first_name":"A"}}`, "first_name is not documented"},
		"wrong type":        {"POST", "/api/3/contactTags", "application/json", `{"contactTag":{"contact":true,"tag":"1"}}`, "want"},
		"wrong media":       {"POST", "/api/3/tags", "text/plain", `{}`, "media type"},
		"a body too many":   {"GET", "/api/3/lists", "", `{}`, "there is a body"},
		"no event":          {"POST", "/event", "application/x-www-form-urlencoded", "key=k&actid=1&visit=x", "event is missing"},
	} {
		r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.media)
		r.Header.Set("Api-Token", apiKey)
		if _, wrong := judge(known, sent{r, []byte(c.body)}); !strings.Contains(strings.Join(wrong, "; "), c.wrong) {
			t.Errorf("%s: got %q, want %q", name, wrong, c.wrong)
		}
	}
}

// form checks a form against the schema that the document gives for the members.
func (op *operation) form(x sent) (out []string) {
	if x.r.Header.Get("Api-Token") != "" {
		out = append(out, "the API's key is sent to another host")
	}
	if got := x.r.Header.Get("Content-Type"); got != "application/x-www-form-urlencoded" {
		out = append(out, "the media type is "+got)
	}
	values, err := url.ParseQuery(string(x.body))
	if err != nil {
		return append(out, err.Error())
	}
	body := map[string]any{}
	for name, v := range values {
		body[name] = v[0]
	}
	s := op.RequestBody.Content["application/json"].Schema // its text says that the members are a form
	return append(out, s.check(body, "form")...)
}

func (op *operation) request(x sent, shown string) (out []string) {
	if got := x.r.Header.Get("Api-Token"); got != apiKey {
		out = append(out, "the key is not in Api-Token as documented")
	}
	for name, values := range x.r.URL.Query() {
		if name == "limit" || name == "offset" { // of every list, as the page on pagination says
			continue
		}
		i := slices.IndexFunc(op.Parameters, func(p parameter) bool {
			return p.In == "query" && (p.Name == name || p.Name == operator.ReplaceAllString(name, "[<operator>]"))
		})
		if i < 0 {
			out = append(out, "the query parameter "+name+" is not documented")
			continue
		}
		// The types of filters are guesses of the document's: it calls a shop's own order id a number here, and a text in bodies.
		for _, v := range values {
			if enum := op.Parameters[i].Schema.Enum; len(enum) > 0 && !slices.Contains(enum, any(v)) {
				out = append(out, fmt.Sprintf("%s is %q, want one of %v", name, v, enum))
			}
		}
	}
	if op.RequestBody == nil {
		if len(x.body) > 0 {
			out = append(out, "there is a body, and none is documented")
		}
		return out
	}
	content, ok := op.RequestBody.Content[x.r.Header.Get("Content-Type")]
	if !ok {
		return append(out, "the media type "+x.r.Header.Get("Content-Type")+" is not documented")
	}
	var body any
	if err := json.Unmarshal(x.body, &body); err != nil {
		return append(out, err.Error())
	}
	for _, wrong := range content.Schema.check(body, "body") {
		if shown == "" || !strings.HasSuffix(wrong, "."+shown+" is not documented") {
			out = append(out, wrong)
		}
	}
	return out
}
