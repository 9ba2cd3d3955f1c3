package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"github.com/tillstream/tillstream/schemas"
)

type object = map[string]any

// Document is the API as OpenAPI 3.1, made from the table that serves it.
func Document() ([]byte, error) {
	paths, codes := map[string]object{}, []any{}
	types := jsonschema.Definitions{}
	for code := range Codes {
		codes = append(codes, string(code))
	}
	sortAny(codes)
	for _, r := range Routes() {
		path := strings.ReplaceAll(r.Path, "...}", "}")
		if paths[path] == nil {
			paths[path] = object{}
		}
		op, err := operation(r, types)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
		}
		paths[path][strings.ToLower(r.Method)] = op
	}
	problem := schemaOf(&Problem{}, types)
	types["api.Problem"].Properties.Set("code", &jsonschema.Schema{Type: "string", Enum: codes})
	text, err := json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info":    object{"title": "Tillstream", "version": "1", "description": "What the page and the command line ask of a running process. Errors are application/problem+json."},
		"paths":   paths,
		"components": object{
			"schemas":         types,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}, "session": object{"type": "apiKey", "in": "cookie", "name": cookieName}},
			"responses":       object{"Problem": object{"description": "It was not done.", "content": object{"application/problem+json": object{"schema": problem}}}},
		},
	}, "", "  ")
	return bytes.ReplaceAll(text, []byte(`"#/$defs/`), []byte(`"#/components/schemas/`)), err
}

func sortAny(list []any) {
	for i := range list {
		for j := i; j > 0 && list[j].(string) < list[j-1].(string); j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}

func operation(r Route, types jsonschema.Definitions) (object, error) {
	params := []object{}
	for part := range strings.SplitSeq(r.Path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			params = append(params, object{"name": strings.TrimRight(name, ".}"), "in": "path", "required": true, "schema": object{"type": "string"}})
		}
	}
	for _, p := range r.Params {
		params = append(params, object{"name": p.Name, "in": "query", "description": p.Doc, "schema": object{"type": "string"}})
	}
	if r.changes() {
		params = append(params, object{"name": ActionHeader, "in": "header", "required": true, "description": "any value: it shows that no foreign page made the request", "schema": object{"type": "string"}})
	}
	if r.Once {
		params = append(params, object{"name": KeyHeader, "in": "header", "description": "drawn by who asks for each new attempt: the same again within 24 h is not done again and gets the first answer", "schema": object{"type": "string"}})
	}
	done := object{"description": r.Summary}
	if r.Answer != nil {
		done["content"] = object{"application/json": object{"schema": schemaOf(r.Answer, types)}}
	}
	op := object{
		"summary": r.Summary, "x-role": r.Role.String(),
		"responses": object{fmt.Sprint(r.code()): done, "default": object{"$ref": "#/components/responses/Problem"}},
	}
	if r.CLI != "" {
		op["x-cli"] = r.CLI
	} else {
		op["x-no-cli"] = r.NoCLI
	}
	if len(params) > 0 {
		op["parameters"] = params
	}
	if r.Role > Anyone {
		op["security"] = []object{{"token": []string{}}, {"session": []string{}}}
	}
	if r.Body != nil {
		op["requestBody"] = object{"content": object{"application/json": object{"schema": schemaOf(r.Body, types)}}}
	}
	return op, nil
}

// schemaOf is the JSON Schema of a type; the named types in it are put beside the others.
func schemaOf(v any, types jsonschema.Definitions) *jsonschema.Schema {
	r := &jsonschema.Reflector{Anonymous: true, Namer: typeName, Mapper: func(t reflect.Type) *jsonschema.Schema {
		switch t {
		case reflect.TypeFor[time.Time]():
			return &jsonschema.Schema{Type: "string", Format: "date-time"}
		case reflect.TypeFor[time.Duration]():
			return &jsonschema.Schema{Type: "integer"}
		case reflect.TypeFor[json.RawMessage]():
			return jsonschema.TrueSchema
		case reflect.TypeFor[schemas.Secret]():
			return &jsonschema.Schema{Type: "string", WriteOnly: true}
		}
		return nil
	}}
	s := r.Reflect(v)
	for name, one := range s.Definitions {
		if types[name] == nil {
			types[name] = one
		}
	}
	s.Version, s.ID, s.Definitions = "", "", nil
	return s
}

// typeName keeps types of one name in two packages apart.
func typeName(t reflect.Type) string {
	name := strings.NewReplacer("[", "_", "]", "", "/", "_", "*", "").Replace(t.Name())
	if t.Name() == "" {
		return ""
	}
	return t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:] + "." + name
}

// documentRoutes serve the document of the API.
func documentRoutes(t *table) {
	t.add(Route{Method: "GET", Path: "/api/v1/openapi.json", NoCLI: "it describes HTTP; the command line describes itself", Stream: true, early: true, Summary: "This document"},
		func(w http.ResponseWriter, _ *http.Request, _ *query) (any, error) {
			text, err := Document()
			if err != nil {
				return nil, err
			}
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			_, err = w.Write(text)
			return nil, err
		})
}
