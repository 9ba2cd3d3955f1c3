package config

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/invopop/jsonschema"
)

// Schemas returns a JSON Schema (draft 2020-12) for each kind of file, by its name: "tillstream", "connections",
// "destinations" and the caller's kinds. Editors complete and check with them; Load says more (references, meaning).
func Schemas(o Options) (map[string][]byte, error) {
	out := map[string]any{
		"tillstream":   reflectSchema(&Settings{}),
		"connections":  connectionSchema(o),
		"destinations": destinationSchema(o),
	}
	for _, k := range o.Kinds {
		out[k.Folder] = reflectSchema(k.New())
	}
	texts := map[string][]byte{}
	for name, s := range out {
		b, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("json schema of %s: %w", name, err)
		}
		texts[name] = append(b, '\n')
	}
	return texts, nil
}

// reflectSchema derives a schema from the yaml tags, so that struct, decoder and schema can't disagree on names.
func reflectSchema(v any) *jsonschema.Schema {
	r := &jsonschema.Reflector{
		FieldNameTag: "yaml", DoNotReference: true, Anonymous: true, RequiredFromJSONSchemaTags: true,
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			switch t {
			case durationType:
				return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$|^\$\{`, Description: "a duration such as 30s, 15m or 24h"}
			case secretType:
				return &jsonschema.Schema{Type: "string", Pattern: `^age:|\$\{(env|file):[^}]+\}`, Description: "a secret: ${env:NAME}, ${file:PATH}, or what 'tillstream secrets encrypt' makes (age:...)"}
			}
			return nil
		},
	}
	return r.Reflect(v)
}

// connectionSchema is one alternative per connector, told apart by the key connector.
func connectionSchema(o Options) *jsonschema.Schema {
	var forms []*jsonschema.Schema
	for _, c := range o.Connectors.All() {
		s := reflectSchema(&connectionFile{})
		s.Properties.Set("connector", &jsonschema.Schema{Const: c.Type, Description: c.Title})
		s.Properties.Set("settings", withoutMeta(reflectSchema(c.Config())))
		var ids []any
		for _, r := range c.Resources {
			ids = append(ids, r.ID)
		}
		if len(ids) > 0 {
			s.Properties.Set("resources", &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "string", Enum: ids}})
		}
		forms = append(forms, withoutMeta(s))
	}
	return alternatives(forms)
}

func destinationSchema(o Options) *jsonschema.Schema {
	var forms []*jsonschema.Schema
	for _, k := range o.Sinks.All() {
		s := reflectSchema(&destinationFile{})
		s.Properties.Set("sink", &jsonschema.Schema{Const: k.Type, Description: k.Title})
		s.Properties.Set("settings", withoutMeta(reflectSchema(k.Config())))
		forms = append(forms, withoutMeta(s))
	}
	return alternatives(forms)
}

func alternatives(forms []*jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Version: jsonschema.Version, Type: "object", OneOf: forms}
}

func withoutMeta(s *jsonschema.Schema) *jsonschema.Schema {
	s.Version, s.ID = "", ""
	return s
}
