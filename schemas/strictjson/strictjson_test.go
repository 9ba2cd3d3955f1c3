package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestStrictJSON: what two readers could understand differently, or what is too much, is refused.
func TestStrictJSON(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	keys := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":1`, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	for _, c := range []struct {
		name, text, err string
	}{
		{"object", ` {"a":[1,-0.5e+3,true,false,null,"x"]} `, ""},
		{"escapes", `"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"`, ""},
		{"depth at the bound", deep(DepthMax), ""},
		{"too deep", deep(DepthMax + 1), "nested deeper than 64"},
		{"keys at the bound", keys(KeysMax), ""},
		{"too many keys", keys(KeysMax + 1), "more than 10000 keys"},
		{"too many values", "[" + strings.Repeat("1,", ValuesMax) + "1]", "more than 100000 values"},
		{"key repeated", `{"a":1,"b":2,"a":1}`, `key "a" repeated`},
		{"key repeated far apart", `{"a":1,"b":{"a":2,"c":[{"a":3}]},"a":[1,2]}`, `at byte 36: key "a" repeated`},
		{"key repeated inside", `{"a":{"b":1,"b":1},"c":2}`, `key "b" repeated`},
		{"keys of several objects", `[{"a":1},{"a":1},{"a":{"a":{"a":1}}}]`, ""},
		{"invalid UTF-8 after an escape", "\"\\n\xff\"", "invalid UTF-8"},
		{"invalid UTF-8 outside a string", "\xff", "invalid UTF-8"},
		{"key repeated by escape", `{"a":1,"\u0061":1}`, `key "a" repeated`},
		{"invalid UTF-8", "\"\xff\"", "invalid UTF-8"},
		{"overlong UTF-8", "\"\xc0\xaf\"", "invalid UTF-8"},
		{"lone high surrogate", `"\ud800"`, "lone surrogate"},
		{"lone low surrogate", `"\udc00"`, "lone surrogate"},
		{"two high surrogates", `"\ud800\ud800"`, "lone surrogate"},
		{"byte order mark", "\ufeff{}", "unexpected"},
		{"control character", "\"\n\"", "control character"},
		{"control character after an escape", "\"\\n\n\"", "control character"},
		{"two values", `{} {}`, "text after the value"},
		{"comment", `{/**/}`, "expected a key"},
		{"single quotes", `{'a':1}`, "expected a key"},
		{"trailing comma", `[1,]`, "unexpected"},
		{"leading zero", `01`, "text after the value"},
		{"plus", `+1`, "unexpected"},
		{"bare point", `.5`, "unexpected"},
		{"point at the end", `5.`, "bad number"},
		{"NaN", `NaN`, "unexpected"},
		{"cut", `{"a":"b`, "unexpected end"},
		{"cut escape", `"\u12`, "unexpected end"},
		{"nothing", ` `, "unexpected end"},
		{"NUL", "\x00", "unexpected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.text))
			if got := fmt.Sprint(err); c.err == "" && err != nil || c.err != "" && !strings.Contains(got, c.err) {
				t.Errorf("got %v, want %q", err, c.err)
			}
		})
	}
	t.Run("numbers keep their digits", func(t *testing.T) {
		v, err := Parse([]byte(`[1.10, 1e400, 12345678901234567890.12345678901234567890]`))
		want := []any{Number("1.10"), Number("1e400"), Number("12345678901234567890.12345678901234567890")}
		if err != nil || !reflect.DeepEqual(v, want) {
			t.Errorf("got %v %v, want %v", v, err, want)
		}
	})
}

// TestManyKeys: every member of a large object is there, and one repeated key among them is found.
func TestManyKeys(t *testing.T) {
	const n = 4000
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"k%d":{"v":[%d,"%d"]},`, i, i, i)
	}
	text := "{" + b.String() + `"last":null}`
	v, err := Parse([]byte(text))
	o, _ := v.(map[string]any)
	if err != nil || len(o) != n+1 {
		t.Fatalf("got %d members, %v", len(o), err)
	}
	for _, i := range []int{0, 63, 64, 65, n - 1} {
		want := map[string]any{"v": []any{Number(fmt.Sprint(i)), fmt.Sprint(i)}}
		if got := o[fmt.Sprint("k", i)]; !reflect.DeepEqual(got, want) {
			t.Errorf("k%d: got %v, want %v", i, got, want)
		}
	}
	if _, err := Parse([]byte("{" + b.String() + `"k17":null}`)); err == nil || !strings.Contains(err.Error(), `key "k17" repeated`) {
		t.Errorf("got %v", err)
	}
}

// TestBodyIsNotKept: what was parsed does not change with the bytes that it came from.
func TestBodyIsNotKept(t *testing.T) {
	body := []byte(`{"key":["text",12]}`)
	v, err := Parse(body)
	for i := range body {
		body[i] = 'x'
	}
	if want := any(map[string]any{"key": []any{"text", Number("12")}}); err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("got %v %v, want %v", v, err, want)
	}
}

// reference is the canonical form written the slow way.
func reference(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool, Number:
		return fmt.Sprint(v)
	case string:
		var b strings.Builder
		for _, r := range v {
			switch {
			case r == '"' || r == '\\':
				b.WriteString("\\" + string(r))
			case r < ' ':
				fmt.Fprintf(&b, "\\u%04x", r)
			default:
				b.WriteRune(r)
			}
		}
		return `"` + b.String() + `"`
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, reference(e))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	var parts []string
	m := v.(map[string]any)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, reference(k)+":"+reference(m[k]))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// plain turns our values into encoding/json's.
func plain(v any) any {
	switch v := v.(type) {
	case Number:
		return json.Number(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plain(e)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = plain(e)
		}
		return out
	}
	return v
}

// FuzzStrictJSON: what is accepted, the standard library understands in the same way, and its canonical form is JSON of
// the same content and its own canonical form.
func FuzzStrictJSON(f *testing.F) {
	for _, s := range []string{`[{"a":{"b":[{},[],{"c":"d"}]}},{"b":"\u0000\"\\","a":"é"},true,false]`, `{"a":[1,2.50,"\u00e9\ud83d\ude00"],"b":null}`, `{"a":1,"a":2}`, `"\ud800"`, `[[[]]]`, `-0e1`, "{\"\x00\":1}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := Parse(body)
		if err != nil {
			return
		}
		std := func(b []byte) any {
			dec := json.NewDecoder(bytes.NewReader(b))
			dec.UseNumber()
			var out any
			if err := dec.Decode(&out); err != nil {
				t.Fatalf("%q accepted, encoding/json: %v", b, err)
			}
			return out
		}
		if want := std(body); !reflect.DeepEqual(plain(v), want) {
			t.Fatalf("%q: got %v, encoding/json says %v", body, plain(v), want)
		}
		form := AppendCanonical(nil, v)
		if want := reference(v); string(form) != want {
			t.Fatalf("canonical form %q of %q, want %q", form, body, want)
		}
		again, err := Parse(form)
		if err != nil || !reflect.DeepEqual(again, v) {
			t.Fatalf("canonical form %q of %q: %v %v", form, body, again, err)
		}
		if twice := AppendCanonical(nil, again); !bytes.Equal(twice, form) {
			t.Fatalf("canonical form %q of %q", twice, form)
		}
	})
}

// TestCanonicalOrder: the order of members and the white space are not content.
func TestCanonicalOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.MapOf(rapid.StringMatching(`[a-zé"\\]{0,4}`), rapid.String()).Draw(t, "members")
		sorted, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		b.WriteString("{ ")
		first := true
		for k, v := range m { // the language shuffles it
			kb, _ := json.Marshal(k)
			vb, _ := json.Marshal(v)
			if !first {
				b.WriteString(" ,\n")
			}
			first = false
			b.Write(kb)
			b.WriteString(" : ")
			b.Write(vb)
		}
		b.WriteString("}")
		x, err1 := Parse(sorted)
		y, err2 := Parse([]byte(b.String()))
		if err1 != nil || err2 != nil || !bytes.Equal(AppendCanonical(nil, x), AppendCanonical(nil, y)) {
			t.Fatalf("%s and %s: %v %v", sorted, b.String(), err1, err2)
		}
	})
}
