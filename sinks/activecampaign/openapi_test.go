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
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/activecampaign"
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

var pathID = regexp.MustCompile(`/[0-9]+(/|$)`)

// sent is one request as it came.
type sent struct {
	r    *http.Request
	body []byte
}

// everything makes the sink use all that it uses of the API.
func everything(t *testing.T) []sent {
	t.Helper()
	var list []sent
	s := twin.New(twin.Options{Key: apiKey, EventKey: eventKey, Lists: 230})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		list = append(list, sent{r, body}) // one caller, one request at a time
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.Handler().ServeHTTP(w, r)
	}))
	defer srv.Close()
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: true, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	w, err := activecampaign.Sink.Open(t.Context(), config(srv.URL), sinks.Env{Destination: "crm", Now: time.Now, HTTP: client})
	if err != nil {
		t.Fatal(err)
	}
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
	if _, o := w.(sinks.ListReader).Standing(t.Context(), "ada@shop.example", "Customers"); o.Kind != sinks.Delivered {
		t.Fatalf("standing: got %d: %v", o.Kind, o.Err)
	}
	return list
}

// TestRequestsKeepToTheDocument: each request that the sink makes has a documented path, query and body, and each
// operation of the copied document is used.
func TestRequestsKeepToTheDocument(t *testing.T) {
	raw, err := os.ReadFile("testdata/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	byOperation := map[string][]sent{}
	for path, methods := range d.Paths {
		for method := range methods {
			byOperation[strings.ToUpper(method)+" "+path] = nil
		}
	}
	for _, x := range everything(t) {
		if x.r.URL.Path == "/event" {
			continue // of another host, with its own form
		}
		path, ok := strings.CutPrefix(x.r.URL.Path, "/api/3")
		name := x.r.Method + " " + pathID.ReplaceAllString(path, "/{id}$1")
		if _, known := byOperation[name]; !ok || !known {
			if !undocumented[name] {
				t.Errorf("%s is not documented", name)
			}
			continue
		}
		byOperation[name] = append(byOperation[name], x)
	}
	for _, name := range slices.Sorted(maps.Keys(byOperation)) {
		t.Run(name, func(t *testing.T) {
			if len(byOperation[name]) == 0 {
				t.Fatal("the operation is not used")
			}
			method, path, _ := strings.Cut(name, " ")
			for _, x := range byOperation[name] {
				for _, wrong := range d.Paths[path][strings.ToLower(method)].request(x) {
					t.Errorf("%s\n%s?%s\n%s", wrong, x.r.URL.Path, x.r.URL.RawQuery, x.body)
				}
			}
		})
	}
}

func (op *operation) request(x sent) (out []string) {
	if got := x.r.Header.Get("Api-Token"); got != apiKey {
		out = append(out, "the key is not in Api-Token as documented")
	}
	for name, values := range x.r.URL.Query() {
		if name == "limit" || name == "offset" { // of every list, as the page on pagination says
			continue
		}
		i := slices.IndexFunc(op.Parameters, func(p parameter) bool { return p.In == "query" && p.Name == name })
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
	return append(out, content.Schema.check(body, "body")...)
}
