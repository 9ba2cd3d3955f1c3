package schemas_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/schemas"
)

func parseAVSC(t *testing.T, name string) map[string]any {
	t.Helper()
	text, ok := schemas.AVSC(name)
	if !ok {
		t.Fatalf("%s has no schema", name)
	}
	var schema map[string]any
	if err := json.Unmarshal([]byte(text), &schema); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return schema
}

func TestEveryRecordHasItsSchemaAndEverySchemaItsRecord(t *testing.T) {
	var want []string
	for _, rec := range schemas.Records() {
		want = append(want, rec.RecordName()+".avsc")
		schema := parseAVSC(t, rec.RecordName())
		if schema["name"] != rec.RecordName() || schema["namespace"] != schemas.Namespace {
			t.Errorf("%s.avsc is of %v.%v", rec.RecordName(), schema["namespace"], schema["name"])
		}
		if name := reflect.TypeOf(rec).Elem().Name(); name != rec.RecordName() {
			t.Errorf("the type of %s is called %s", rec.RecordName(), name)
		}
	}
	got, err := fs.Glob(os.DirFS("."), "*.avsc")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("schema files (-got +want):\n%s", diff)
	}
	if text, ok := schemas.AVSC("Nothing"); ok {
		t.Errorf("AVSC(Nothing) = %q", text)
	}
}

// The Avro type that each Go field calls for is worked out from its type, and must be what the file says.
func TestStructFieldsAndSchemaFieldsAgree(t *testing.T) {
	for _, rec := range schemas.Records() {
		named := make(map[string]map[string]any)
		compareRecord(t, reflect.TypeOf(rec).Elem(), parseAVSC(t, rec.RecordName()), named)
	}
}

func compareRecord(t *testing.T, typ reflect.Type, schema map[string]any, named map[string]map[string]any) {
	t.Helper()
	named[typ.Name()] = schema
	if schema["type"] != "record" || schema["name"] != typ.Name() || schema["doc"] == nil {
		t.Errorf("%s: want a record of that name with a doc, got %v %v", typ.Name(), schema["type"], schema["name"])
	}
	fields := schema["fields"].([]any)
	var got, want []string
	for _, f := range fields {
		got = append(got, f.(map[string]any)["name"].(string))
	}
	for i := range typ.NumField() {
		want = append(want, typ.Field(i).Tag.Get("avro"))
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("%s: fields of the schema and of the struct (-schema +struct):\n%s", typ.Name(), diff)
		return
	}
	for i, f := range fields {
		field := f.(map[string]any)
		compareField(t, typ.Name()+"."+got[i], typ.Field(i).Type, field["type"], named)
		if union, ok := field["type"].([]any); ok {
			if def, present := field["default"]; !present || def != nil || union[0] != "null" {
				t.Errorf("%s.%s: a nullable field starts with null, its default", typ.Name(), got[i])
			}
		}
	}
}

func compareField(t *testing.T, path string, typ reflect.Type, avro any, named map[string]map[string]any) {
	t.Helper()
	object, _ := avro.(map[string]any)
	kind := ""
	switch {
	case typ == reflect.TypeFor[time.Time]():
		if object["type"] != "long" || object["logicalType"] != "timestamp-millis" {
			t.Errorf("%s: got %v, want timestamp-millis", path, avro)
		}
		return
	case typ.Kind() == reflect.Pointer:
		union, ok := avro.([]any)
		if !ok || len(union) != 2 {
			t.Errorf("%s: got %v, want a union with null", path, avro)
			return
		}
		compareField(t, path, typ.Elem(), union[1], named)
		return
	case typ.Kind() == reflect.Struct:
		if object != nil {
			compareRecord(t, typ, object, named)
		} else if avro != typ.Name() || named[typ.Name()] == nil {
			t.Errorf("%s: got %v, want the record %s", path, avro, typ.Name())
		}
		return
	case typ.Kind() == reflect.Map:
		if object["type"] != "map" || object["values"] != "string" {
			t.Errorf("%s: got %v, want a map of strings", path, avro)
		}
		return
	case typ.Kind() == reflect.Slice && typ.Elem().Kind() != reflect.Uint8:
		if object["type"] != "array" {
			t.Errorf("%s: got %v, want an array", path, avro)
			return
		}
		compareField(t, path+"[]", typ.Elem(), object["items"], named)
		return
	case typ.Kind() == reflect.Slice:
		kind = "bytes"
	case typ.Kind() == reflect.String:
		kind = "string"
	case typ.Kind() == reflect.Int64:
		kind = "long"
	case typ.Kind() == reflect.Bool:
		kind = "boolean"
	default:
		kind = fmt.Sprintf("something for %s, which this test does not know", typ)
	}
	if avro != kind {
		t.Errorf("%s: got %v, want %s", path, avro, kind)
	}
}

// Avro files cannot include each other, so Transition repeats OrderEvent; the two must not drift apart.
func TestTransitionHoldsTheWholeOrderEvent(t *testing.T) {
	want := parseAVSC(t, "OrderEvent")
	delete(want, "namespace") // inherited
	for _, f := range parseAVSC(t, "Transition")["fields"].([]any) {
		if field := f.(map[string]any); field["name"] == "event" {
			if diff := cmp.Diff(field["type"], any(want)); diff != "" {
				t.Errorf("event of Transition.avsc and OrderEvent.avsc (-event +OrderEvent):\n%s", diff)
			}
			return
		}
	}
	t.Error("Transition.avsc has no field event")
}

// A released version never changes. Whoever changes a schema adds a release; the newest one equals today's.
func TestNewestReleaseEqualsTodaysSchemas(t *testing.T) {
	releases := schemas.Releases()
	if len(releases) == 0 {
		t.Fatal("there is no released version")
	}
	for i, r := range releases {
		if r.Number != i+1 {
			t.Errorf("release %d has number %d", i+1, r.Number)
		}
	}
	got := make(map[string]string)
	for _, rec := range schemas.Records() {
		got[rec.RecordName()], _ = schemas.AVSC(rec.RecordName())
	}
	if diff := cmp.Diff(got, releases[len(releases)-1].Schemas); diff != "" {
		t.Errorf("today's schemas differ from the newest release; add the next folder under released (-today +released):\n%s", diff)
	}
}

func TestDocsAreSentences(t *testing.T) {
	for _, rec := range schemas.Records() {
		for _, doc := range docsOf(parseAVSC(t, rec.RecordName())) {
			if !strings.HasSuffix(doc, ".") {
				t.Errorf("%s: doc %q does not end with a full stop", rec.RecordName(), doc)
			}
		}
	}
}

func docsOf(v any) []string {
	var docs []string
	switch v := v.(type) {
	case map[string]any:
		for key, part := range v {
			if text, ok := part.(string); ok && key == "doc" {
				docs = append(docs, text)
			}
			docs = append(docs, docsOf(part)...)
		}
	case []any:
		for _, part := range v {
			docs = append(docs, docsOf(part)...)
		}
	}
	return docs
}
