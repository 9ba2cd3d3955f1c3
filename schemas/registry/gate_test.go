package registry

import (
	"errors"
	"strings"
	"testing"

	"github.com/tillstream/tillstream/schemas"
)

// Today's schemas read everything that any released version wrote.
func TestTodaysSchemasPassTheGate(t *testing.T) {
	releases := schemas.Releases()
	if len(releases) == 0 || len(releases[len(releases)-1].Schemas) < len(schemas.Records()) {
		t.Fatalf("released schemas are missing: %d releases", len(releases))
	}
	if err := GateReleases(releases, schemas.AVSC); err != nil {
		t.Error(err)
	}
}

// Each of these changes to today's OrderEvent must be seen by the same check, or refused by it.
func TestGate(t *testing.T) {
	const custom = `{"name": "custom_id", "type": "string"`
	for name, tt := range map[string]struct {
		old, new string
		field    string // that the refusal names; empty: compatible
	}{
		"field with default added":     {custom, `{"name": "added", "type": "string", "default": ""}, ` + custom, ""},
		"field without default added":  {custom, `{"name": "added", "type": "string"}, ` + custom, "added"},
		"field removed":                {`{"name": "test", "type": "boolean", "default": false, "doc": "A test event: it must touch no customer."},`, "", ""},
		"field renamed with alias":     {`{"name": "event_id",`, `{"name": "id", "aliases": ["event_id"],`, ""},
		"field renamed":                {`{"name": "event_id",`, `{"name": "id",`, "id"},
		"type changed":                 {`{"name": "event_id", "type": "string"`, `{"name": "event_id", "type": "long"`, "event_id"},
		"long widened to double":       {`{"name": "sequence", "type": "long"`, `{"name": "sequence", "type": "double"`, ""},
		"long narrowed to int":         {`{"name": "sequence", "type": "long"`, `{"name": "sequence", "type": "int"`, "sequence"},
		"nullable made mandatory":      {`"type": ["null", "Amount"], "default": null`, `"type": "Amount"`, "refunded_total"},
		"word turned into an enum":     {`{"name": "kind", "type": "string"`, `{"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["ORDER"]}`, "kind"},
		"field of nested record added": {`{"name": "given_name",`, `{"name": "title", "type": "string"}, {"name": "given_name",`, "title"},
	} {
		t.Run(name, func(t *testing.T) {
			today, _ := schemas.AVSC("OrderEvent")
			if strings.Count(today, tt.old) != 1 {
				t.Fatalf("%q is %d times in OrderEvent.avsc, want once", tt.old, strings.Count(today, tt.old))
			}
			changed := func(name string) (string, bool) {
				text, ok := schemas.AVSC(name)
				if name == "OrderEvent" {
					text = strings.Replace(text, tt.old, tt.new, 1)
				}
				return text, ok
			}
			err := GateReleases(schemas.Releases(), changed)
			switch {
			case tt.field == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.field != "" && !errors.Is(err, ErrIncompatible):
				t.Errorf("got %v, want ErrIncompatible", err)
			case tt.field != "" && (!strings.Contains(err.Error(), tt.field) || !strings.Contains(err.Error(), "OrderEvent")):
				t.Errorf("the error does not name OrderEvent and field %s: %v", tt.field, err)
			}
		})
	}
}

func TestGateRefusesARecordThatIsGone(t *testing.T) {
	err := GateReleases(schemas.Releases(), func(name string) (string, bool) {
		if name == "Tick" {
			return "", false
		}
		return schemas.AVSC(name)
	})
	if !errors.Is(err, ErrIncompatible) || !strings.Contains(err.Error(), "Tick") {
		t.Errorf("got %v, want ErrIncompatible for Tick", err)
	}
}

// Transitive: the newest schema must read the oldest too, not only the one before it.
func TestGateIsTransitive(t *testing.T) {
	record := func(fields string) string { return `{"type":"record","name":"R","fields":[` + fields + `]}` }
	v1 := record(``)
	v2 := record(`{"name":"a","type":"int","default":0}`)
	v3 := record(`{"name":"a","type":"int"}`)
	if err := Gate(v3, v2); err != nil {
		t.Fatalf("v3 cannot read v2: %v", err)
	}
	if err := Gate(v3, v1, v2); !errors.Is(err, ErrIncompatible) {
		t.Errorf("got %v, want ErrIncompatible: v3 cannot read v1", err)
	}
	if err := Gate("<html>", v1); err == nil || errors.Is(err, ErrIncompatible) {
		t.Errorf("got %v, want an error about the schema itself", err)
	}
}
