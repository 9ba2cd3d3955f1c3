package getresponse_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/getresponse"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/getresponse"
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

// sent is one request as it came.
type sent struct {
	r    *http.Request
	body []byte
}

// everything makes the sink use all that it uses of the API.
func everything(t *testing.T) []sent {
	t.Helper()
	var list []sent
	s := newTwin(t, twin.Options{SecondMax: 1_000_000})
	s.AddDraft(twin.Draft{Name: "Hello", Subject: "Hi", Plain: "x", HTML: "<p>x</p>"})
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
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: true, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	do := func(c *getresponse.Config, f func(sinks.Writer)) {
		w, err := getresponse.Sink.Open(t.Context(), c, sinks.Env{Destination: "crm", Now: time.Now, HTTP: client})
		if err != nil {
			t.Fatal(err)
		}
		f(w)
	}
	wrong := config(srv.URL).(*getresponse.Config)
	wrong.List = "zz"
	do(wrong, func(w sinks.Writer) { w.Check(t.Context()) })
	do(config(srv.URL).(*getresponse.Config), func(w sinks.Writer) {
		w.Check(t.Context())
		for _, change := range []func(*schemas.Command){
			func(*schemas.Command) {},
			func(c *schemas.Command) {
				c.Contact.Fields, c.Contact.Tags = map[string]string{"order_status": "PAID"}, []string{"more"}
			},
			func(c *schemas.Command) { c.Contact.FirstName, c.Contact.NoTags = "Augusta", []string{"more"} },
			func(c *schemas.Command) { c.Contact.Fields = map[string]string{"order_status": ""} },
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
			if o := w.Write(t.Context(), []schemas.Command{cmd})[0]; o.Kind != sinks.Delivered {
				t.Fatalf("got %d: %v", o.Kind, o.Err)
			}
		}
	})
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
		path := strings.TrimPrefix(x.r.URL.Path, "/v3")
		shape, op := d.find(x.r.Method, path)
		if op == nil {
			t.Errorf("%s %s is not documented", x.r.Method, path)
			continue
		}
		byOperation[x.r.Method+" "+shape] = append(byOperation[x.r.Method+" "+shape], x)
	}
	for _, name := range slices.Sorted(maps.Keys(byOperation)) {
		t.Run(name, func(t *testing.T) {
			if len(byOperation[name]) == 0 {
				t.Fatal("the operation is not used")
			}
			method, path, _ := strings.Cut(name, " ")
			op := d.Paths[path][strings.ToLower(method)]
			for _, x := range byOperation[name] {
				for _, wrong := range d.request(op, x) {
					t.Errorf("%s\n%s", wrong, x.body)
				}
			}
		})
	}
}

func (d *document) request(op *operation, x sent) []string {
	var out []string
	if got := x.r.Header.Get("X-Auth-Token"); got != "api-key "+apiKey {
		out = append(out, "the key is not in X-Auth-Token as documented")
	}
	if strings.ContainsAny(x.r.URL.RawQuery, "[]") {
		out = append(out, "brackets of the query are not encoded: "+x.r.URL.RawQuery)
	}
	for name := range x.r.URL.Query() {
		documented := false
		for _, p := range op.Parameters {
			documented = documented || p.In == "query" && p.Name == name
		}
		if !documented {
			out = append(out, "the query parameter "+name+" is not documented")
		}
	}
	if op.RequestBody == nil {
		if len(x.body) > 0 {
			out = append(out, "there is a body, and none is documented")
		}
		return out
	}
	media := x.r.Header.Get("Content-Type")
	content, ok := op.RequestBody.Content[media]
	if !ok {
		return append(out, "the media type "+media+" is not documented")
	}
	var body any
	if err := json.Unmarshal(x.body, &body); err != nil {
		return append(out, err.Error())
	}
	return append(out, d.check(&content.Schema, body, "body")...)
}
