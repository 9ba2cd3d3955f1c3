package web_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// operation is what the API's document says of one address and method.
type operation struct {
	Parameters []struct{ Name, In string }
}

// document is the API's document: by path and method.
type document map[string]map[string]operation

func readDocument(t *testing.T) document {
	t.Helper()
	text, err := os.ReadFile("../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct{ Paths document }
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d.Paths
}

// find is the operation that serves an address of the page, in which * stands for a value. A segment that is written out
// goes before a parameter, as it does where the port decides.
func (d document) find(method, address string) (operation, bool) {
	var best operation
	exact, found := -1, false
	want := strings.Split("/api/v1"+address, "/")
	for at, methods := range d {
		op, ok := methods[strings.ToLower(method)]
		has := strings.Split(at, "/")
		if !ok || len(has) != len(want) {
			continue
		}
		same := 0
		for i, segment := range has {
			switch {
			case segment == want[i]:
				same++
			case !strings.HasPrefix(segment, "{"):
				same = -1
			}
			if same < 0 {
				break
			}
		}
		if same > exact {
			best, exact, found = op, same, true
		}
	}
	return best, found
}

// wrong says what the document does not have of a call; empty: it has all of it.
func (d document) wrong(c call) string {
	op, found := d.find(c.method, c.path)
	if !found {
		return fmt.Sprintf("%s: the API has no %s %s", c.at, c.method, c.path)
	}
	var unknown []string
	for _, name := range c.query {
		if !slices.ContainsFunc(op.Parameters, func(p struct{ Name, In string }) bool { return p.In == "query" && p.Name == name }) {
			unknown = append(unknown, name)
		}
	}
	if takes := func(p struct{ Name, In string }) bool { return p.In == "header" && p.Name == "Idempotency-Key" }; c.keyed && !slices.ContainsFunc(op.Parameters, takes) {
		return fmt.Sprintf("%s: %s %s takes no Idempotency-Key", c.at, c.method, c.path)
	}
	if len(unknown) > 0 {
		return fmt.Sprintf("%s: %s %s takes no parameter %s", c.at, c.method, c.path, strings.Join(unknown, ", "))
	}
	return ""
}

// TestThePageAsksWhatTheAPIHas: each request that the page's sources make is an operation of the API's document, with
// parameters that it takes. A request that cannot be followed to its address fails, too: nothing goes unseen.
func TestThePageAsksWhatTheAPIHas(t *testing.T) {
	calls, err := readCalls(os.DirFS("src"))
	if err != nil {
		t.Fatal(err)
	}
	d, methods := readDocument(t), map[string]int{}
	for _, c := range calls {
		methods[c.method]++
		if said := d.wrong(c); said != "" {
			t.Error(said)
		}
	}
	// Fewer would mean that the sources are written in a way that is no longer seen here.
	if len(calls) < 60 || len(methods) != 5 {
		t.Errorf("only %d calls were seen in the sources: %v", len(calls), methods)
	}
}

// Nobody goes round the one way to the API, where the test above would not see it.
func TestThePageAsksInOneWay(t *testing.T) {
	for name, text := range readSources(t, os.DirFS("src")) {
		if name == "api/index.ts" {
			continue
		}
		for _, round := range regexp.MustCompile(`(?:\bfetch|new EventSource|new XMLHttpRequest|\bsendBeacon)\([^,)]{0,40}|["'`+"`"+`]/api/v1[^"'`+"`"+`]*`).FindAllString(text, -1) {
			if !regexp.MustCompile("^(fetch|new EventSource)\\((base \\+|`/assets/)").MatchString(round) {
				t.Errorf("%s: %s: ask through api, or begin with base", name, round)
			}
		}
	}
}

func TestCallsAreSeenInSources(t *testing.T) {
	d := document{"/api/v1/jobs/{id}": {"get": {}}, "/api/v1/jobs/all": {"get": {Parameters: []struct{ Name, In string }{{"limit", "query"}}}}, "/api/v1/jobs/{id}/pause": {"post": {}}}
	for source, want := range map[string]string{
		"api.get<{ a: Map<string, X> }>(`/jobs/${escape(id)}`)":                         "",
		`api.get("/jobs/all?limit=5")`:                                                  "",
		`useLoad(link("/jobs/all", { ...x, limit, "other": f(1, { b }) }))`:             "a.tsx:3: GET /jobs/all takes no parameter other",
		"const at = `/jobs/${id}`;\nawait api.post(`${at}/${on ? \"pause\" : \"go\"}`)": "a.tsx:4: the API has no POST /jobs/*/go",
		`api.get(some(thing))`: "a.tsx:3: some(thing) cannot be followed to an address of the API",
		"function Two({ at }: P) {\n api.del(at + \"/pause\") }\n<Two b={{}} at=\"/x\" />": "a.tsx:5: the API has no DELETE /x/pause",
		"api.post(`/jobs/${id}/pause`, { why }, { key: newKey() })":                        "a.tsx:3: POST /jobs/*/pause takes no Idempotency-Key",
		`const csv = base + "/jobs/none/csv"`:                                              "a.tsx:3: the API has no GET /jobs/none/csv",
	} {
		calls, err := readCalls(fstest.MapFS{
			"a.tsx":       {Data: []byte("import { api } from \"x\";\n\n" + source)},
			"api/load.ts": {Data: []byte("export function useLoad<T>(path: string | null, o = {}) {\n  api.get<T>(path);\n}\nuseLoad(\"/jobs/all\")")},
		})
		got := ""
		if err != nil {
			got = err.Error()
		}
		for _, c := range calls {
			if said := d.wrong(c); said != "" {
				got = said
			}
		}
		if got != want {
			t.Errorf("%s\n got %q\nwant %q", source, got, want)
		}
	}
}

func readSources(t *testing.T, from fs.FS) map[string]string {
	t.Helper()
	s, err := sourcesOf(from)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sourcesOf(from fs.FS) (map[string]string, error) {
	all := map[string]string{}
	err := fs.WalkDir(from, ".", func(name string, e fs.DirEntry, err error) error {
		if ext := path.Ext(name); err != nil || e.IsDir() || ext != ".ts" && ext != ".tsx" || strings.HasSuffix(name, ".d.ts") {
			return err
		}
		text, err := fs.ReadFile(from, name)
		all[name] = string(text)
		return err
	})
	return all, err
}
