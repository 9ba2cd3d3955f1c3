package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update-openapi", false, "write docs/openapi.json")

// The file that people and programs read is what the port serves.
func TestTheDocumentOfTheAPIIsKept(t *testing.T) {
	const file = "../docs/openapi.json"
	got, err := Document()
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if !json.Valid(got) {
		t.Fatal("it is no JSON")
	}
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what is served: go test ./api -run Document -update-openapi", file)
	}
	for _, r := range Routes() {
		if r.Summary == "" {
			t.Errorf("%s %s has no summary", r.Method, r.Path)
		}
	}
}

// untyped are the routes whose answer is no JSON of one shape: a stream, an archive, a page for Prometheus, a schema.
var untyped = []string{
	"GET /api/v1/config/export", "GET /api/v1/config/schemas/{kind}", "GET /api/v1/events/live", "GET /api/v1/openapi.json", "GET /healthz", "GET /metrics",
}

// A program can be made from the document: every answer in JSON has its shape, and every shape says its fields.
func TestTheDocumentHasEveryAnswersShape(t *testing.T) {
	var without []string
	for _, r := range Routes() {
		switch {
		case r.Answer == nil:
			without = append(without, r.Method+" "+r.Path)
		case reflect.Indirect(reflect.ValueOf(r.Answer)).Kind() != reflect.Struct || reflect.Indirect(reflect.ValueOf(r.Answer)).NumField() == 0:
			t.Errorf("%s %s answers %T, which has no fields", r.Method, r.Path, r.Answer)
		}
	}
	if diff := cmp.Diff(without, untyped); diff != "" {
		t.Errorf("give the route its Answer (-without, +listed):\n%s", diff)
	}
}
