package getresponse_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/getresponse"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/getresponse"
	"github.com/tillstream/tillstream/sinks/sinkstest"
)

// document is the part of the provider's OpenAPI document that this sink uses.
type document struct {
	Paths      map[string]map[string]*operation
	Components struct{ Schemas map[string]*schema }
}

type operation struct {
	Parameters []struct {
		Name, In string
		Schema   schema
	}
	RequestBody *struct {
		Content map[string]struct{ Schema schema }
	}
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type, Pattern        string
	Nullable             bool
	MinLength, MaxLength *int
	Minimum, Maximum     *float64
	Required             []string
	Properties           map[string]*schema
	Items                *schema
	Enum                 []any
	OneOf                []*schema
}

// check returns what of value is not as the document says. A member that it does not name counts too.
func (d *document) check(s *schema, value any, at string) []string {
	if s.Ref != "" {
		return d.check(d.Components.Schemas[s.Ref[strings.LastIndex(s.Ref, "/")+1:]], value, at)
	}
	if len(s.OneOf) > 0 {
		for _, one := range s.OneOf {
			if len(d.check(one, value, at)) == 0 {
				return nil
			}
		}
		return []string{at + " is none of the documented forms"}
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, value) {
		return []string{fmt.Sprintf("%s is %v, want one of %v", at, value, s.Enum)}
	}
	var out []string
	switch v := value.(type) {
	case string:
		n := utf8.RuneCountInString(v)
		if s.Type != "string" || s.MinLength != nil && n < *s.MinLength || s.MaxLength != nil && n > *s.MaxLength ||
			s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(v) {
			out = append(out, fmt.Sprintf("%s is %q, which does not suit %s %s", at, v, s.Type, s.Pattern))
		}
	case []any:
		if s.Type != "array" {
			return []string{at + " is an array, want " + s.Type}
		}
		for i, x := range v {
			out = append(out, d.check(s.Items, x, fmt.Sprintf("%s[%d]", at, i))...)
		}
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				out = append(out, at+"."+name+" is missing")
			}
		}
		for name, x := range v {
			if p := s.Properties[name]; p != nil {
				out = append(out, d.check(p, x, at+"."+name)...)
			} else {
				out = append(out, at+"."+name+" is not documented")
			}
		}
	case nil:
		if !s.Nullable {
			out = append(out, at+" is null")
		}
	default:
		if s.Type == "string" || s.Type == "array" || s.Type == "object" {
			out = append(out, fmt.Sprintf("%s is %v, want %s", at, v, s.Type))
		}
	}
	return out
}

// find returns the documented path of a request.
func (d *document) find(method, path string) (string, *operation) {
	for _, exact := range []bool{true, false} {
		for shape, methods := range d.Paths {
			form := "^" + regexp.MustCompile(`\\\{[A-Za-z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(shape), "[A-Za-z0-9_-]+") + "$"
			op := methods[strings.ToLower(method)]
			if op != nil && (exact && shape == path || !exact && regexp.MustCompile(form).MatchString(path)) {
				return shape, op
			}
		}
	}
	return "", nil
}

// theDocument is the part of the provider's document that is in use.
var theDocument = sync.OnceValues(func() (*document, error) {
	raw, err := os.ReadFile("testdata/openapi.json")
	if err != nil {
		return nil, err
	}
	var d document
	return &d, json.Unmarshal(raw, &d)
})

// watched puts the document between the sink and a twin: every request that a test makes has to be documented. seen, if
// given, is called with the operation of each.
func watched(t *testing.T, next http.Handler, seen func(operation string)) http.Handler {
	t.Helper()
	d, err := theDocument()
	if err != nil {
		t.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, below := strings.CutPrefix(r.URL.Path, "/v3")
		if !below { // a test of a wrong address
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		shape, op := d.find(r.Method, path)
		if op == nil {
			t.Errorf("%s %s is not documented", r.Method, path)
		} else {
			for _, wrong := range d.request(op, r, body) {
				t.Errorf("%s %s: %s\n%s", r.Method, path, wrong, body)
			}
			if seen != nil {
				seen(r.Method + " " + shape)
			}
		}
		next.ServeHTTP(w, r)
	})
}

// everything makes the sink use all that it uses of the API, and returns how often it used which operation.
func everything(t *testing.T) map[string]int {
	t.Helper()
	used := map[string]int{}
	s := newTwin(t, twin.Options{SecondMax: 1_000_000})
	s.AddDraft(twin.Draft{Name: "Hello", Subject: "Hi", Plain: "x", HTML: "<p>x</p>"})
	s.AddTemplate("Your receipt", "<p>x</p>", "x")
	srv := httptest.NewServer(watched(t, s.Handler(), func(operation string) { used[operation]++ })) // one caller, one request at a time
	defer srv.Close()
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: true, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	do := func(change func(*getresponse.Config), f func(sinks.Writer)) {
		c := config(srv.URL).(*getresponse.Config)
		change(c)
		w, err := getresponse.Sink.Open(t.Context(), c, sinks.Env{Destination: "crm", Now: time.Now, HTTP: client})
		if err != nil {
			t.Fatal(err)
		}
		f(w)
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	do(func(c *getresponse.Config) { c.List = "zz" }, func(w sinks.Writer) { w.Check(t.Context()) })
	do(func(c *getresponse.Config) { c.Messages = getresponse.MessagesTransactional }, func(w sinks.Writer) {
		w.Check(t.Context())
		cmd := action(schemas.EffectSendMessage, "Your receipt")
		cmd.At = time.Now()
		performed(t, w, cmd)
	})
	do(func(*getresponse.Config) {}, func(w sinks.Writer) {
		w.Check(t.Context())
		w.(sinks.Accounter).Account(t.Context())
		for _, kind := range sinkstest.EntryKinds {
			if _, o := w.(sinks.Cataloguer).Catalogue(t.Context(), kind); o.Kind != sinks.Delivered {
				t.Errorf("catalogue of %ss: %v", kind, o.Err)
			}
		}
		for _, change := range []func(*schemas.Command){
			func(*schemas.Command) {},
			func(c *schemas.Command) {
				c.Contact.Fields, c.Contact.Tags = map[string]string{"order_status": "PAID", "scoring": "7"}, []string{"more"}
			},
			func(c *schemas.Command) { c.Contact.FirstName, c.Contact.NoTags = "Augusta", []string{"more"} },
			func(c *schemas.Command) { c.Contact.Fields = map[string]string{"order_status": "", "scoring": ""} },
			func(c *schemas.Command) { *c = *paid() },
			func(c *schemas.Command) { *c = *paid(); c.Effect.Data = "" },
			func(c *schemas.Command) {
				*c = action(schemas.EffectMoveToList, "Newsletter", schemas.ArgumentFrom, "C")
			},
			func(c *schemas.Command) { *c = action(schemas.EffectAddToList, "C") },
			func(c *schemas.Command) {
				*c = action(schemas.EffectMoveToList, "Newsletter", schemas.ArgumentFrom, "C") // she is on both now
			},
			func(c *schemas.Command) { *c = action(schemas.EffectSendMessage, "Hello") },
			func(c *schemas.Command) { *c = order("PAID") },
			func(c *schemas.Command) { *c = order("REFUNDED"); c.Origin = schemas.OriginReplay },
		} {
			cmd := ada()
			change(&cmd)
			performed(t, w, cmd)
			w.(sinks.Verifier).Verify(t.Context(), cmd.Contact)
		}
	})
	return used
}

// performed writes a command, and asks whether it happened.
func performed(t *testing.T, w sinks.Writer, cmd schemas.Command) {
	t.Helper()
	if o := w.Write(t.Context(), []schemas.Command{cmd})[0]; o.Kind != sinks.Delivered {
		t.Fatalf("got %d: %v", o.Kind, o.Err)
	}
	w.Reconcile(t.Context(), cmd)
}

// TestRequestsKeepToTheDocument: each request that the sink makes has a documented path, query and body, and each
// operation of the copied document is used. So are the requests of all other tests here, which go the same way.
func TestRequestsKeepToTheDocument(t *testing.T) {
	d, err := theDocument()
	if err != nil {
		t.Fatal(err)
	}
	used := everything(t)
	for _, name := range d.operations() {
		t.Run(name, func(t *testing.T) {
			if used[name] == 0 {
				t.Fatal("the operation is not used")
			}
		})
	}
}

// operations are the document's, as "GET /path", sorted.
func (d *document) operations() []string {
	var out []string
	for path, methods := range d.Paths {
		for method := range methods {
			out = append(out, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(out)
	return out
}

// TestTableOfEndpoints: the README names each operation once, with what it is for and the test that proves its form.
func TestTableOfEndpoints(t *testing.T) {
	d, err := theDocument()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /[^`]*)` \\| ([^|]+) \\| `([^`]+)` \\|$").FindAllStringSubmatch(string(text), -1) {
		got = append(got, row[1])
		if want := "TestRequestsKeepToTheDocument/" + strings.ReplaceAll(row[1], " ", "_"); row[3] != want {
			t.Errorf("%s is proved by %s, want %s", row[1], row[3], want)
		}
	}
	slices.Sort(got)
	if d := cmp.Diff(got, d.operations()); d != "" {
		t.Errorf("the table in README.md, got - want:\n%s", d)
	}
}

// request returns what of a request is not as the document says.
func (d *document) request(op *operation, r *http.Request, sent []byte) []string {
	var out []string
	if !strings.HasPrefix(r.Header.Get("X-Auth-Token"), "api-key ") {
		out = append(out, "the key is not in X-Auth-Token as documented")
	}
	if strings.ContainsAny(r.URL.RawQuery, "[]") {
		out = append(out, "brackets of the query are not encoded: "+r.URL.RawQuery)
	}
	for name := range r.URL.Query() {
		documented := false
		for _, p := range op.Parameters {
			documented = documented || p.In == "query" && p.Name == name
		}
		if !documented {
			out = append(out, "the query parameter "+name+" is not documented")
		}
	}
	if op.RequestBody == nil {
		if len(sent) > 0 {
			out = append(out, "there is a body, and none is documented")
		}
		return out
	}
	media := r.Header.Get("Content-Type")
	content, ok := op.RequestBody.Content[media]
	if !ok {
		return append(out, "the media type "+media+" is not documented")
	}
	var body any
	if err := json.Unmarshal(sent, &body); err != nil {
		return append(out, err.Error())
	}
	return append(out, d.check(&content.Schema, body, "body")...)
}
