package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
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
