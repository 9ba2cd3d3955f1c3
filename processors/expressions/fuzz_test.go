package expressions_test

import (
	"strings"
	"testing"

	"github.com/tillstream/tillstream/processors/expressions"
)

// FuzzExpression: nothing that is written makes a panic or an error of several lines, and what compiles gives the same
// each time and tells no value in an error.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{
		typical, `round(order.amount * 0.19, 2) > 10`, `payer.email matches "^a+$"`, `event.time - order.time > duration("1w2d")`, `"vip" in contact.tags ? "a" : "b"`,
		`contact.fields["VIP since"] ?? "x"`, `items[0].sku == ""`, `1_0.5 < 2 < 3`, `!(true) || not false`, "a?.b", "{a: 1}", "let x = 1; x", `"\u{1F600}" == custom_id`, "'",
	} {
		f.Add(seed, "12.50")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		e, err := expressions.CompileValue(text, catalogue)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q: the error %q has more than one line", text, err)
			}
			return
		}
		v := values{texts: map[string]string{}, lists: map[string][]string{"contact.tags": {value}}}
		for _, s := range e.Sources() {
			v.texts[s] = value
		}
		first, err := e.Value(v)
		if err != nil && value != "" && len(value) > 3 && strings.Contains(err.Error(), value) {
			t.Fatalf("%q: the error %q holds the value", text, err)
		}
		if again, _ := e.Value(v); again != first {
			t.Fatalf("%q: %q, then %q", text, first, again)
		}
	})
}
