package expressions_test

import (
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/processors/expressions"
)

func TestFill(t *testing.T) {
	for text, want := range map[string]string{
		``:                   ``,
		`no placeholder`:     `no placeholder`,
		`{{ order.amount }}`: `100.10`,
		`{{order.amount}}`:   `100.10`,
		`a {{ order.amount | money }} {{ order.currency }} b`:        `a 100.10 EUR b`,
		`{{ payer.given_name | default "friend" }}`:                  `friend`,
		`{{ payer.given_name | default 'my friend' }}`:               `my friend`,
		`{{ payer.given_name | default "a | b }} c" }}`:              `a | b }} c`,
		`{{ payer.given_name }}!`:                                    `!`,
		`{{ payer.full_name | name first | upper }}`:                 `ANA`,
		`{{ payer.phone | phone }}`:                                  `+4930901820`,
		`{{ payer.phone | digits }}`:                                 `030901820`,
		`{{ payer.address.country | country }}`:                      `DE`,
		`{{ event.time | date }}`:                                    `2026-03-01`,
		`{{ event.time | date DD.MM.YYYY HH:mm in Europe/Berlin }}`:  `02.03.2026 00:30`,
		`{{ event.time | date "D MMMM YYYY [at] HH:mm" in +05:30 }}`: `2 March 2026 at 05:00`,
		`{{ event.time | date full in America/New_York }}`:           `2026-03-01T18:30:00-05:00`,
		`{{ event.time | date time in Europe/Berlin }}`:              `00:30`,
		`{{ order.amount | number 0 }}`:                              `100`,
		`{{ contact.fields.points | number 1 }}`:                     `12.5`,
		`{{ contact.fields.VIP since }}`:                             `2024-01-01`,
		`{{ data.utm-source }} {{ items.0.sku }}`:                    `mail A-1`,
		`{{ contact.tags }}`:                                         `new, vip`,
		`{{ contact.tags | upper }}`:                                 `NEW, VIP`,
		`{{ "{{ as it is }}" }}`:                                     `{{ as it is }}`,
		`{{ payer.email | lower | hash }}`:                           `8e43ca37701228e74983efdbd0cff5c16b3b1e5d4e29a7c05626d4d25a018e11`,
		"{{ order.amount\n| money }}":                                `100.10`,
		`} { }} {`:                                                   `} { }} {`,
		`äöü {{ order.currency }} ß`:                                 `äöü EUR ß`,
	} {
		tm, err := expressions.CompileTemplate(text, catalogue, expressions.Plain)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, issues := tm.Fill(sample()); got != want || len(issues) > 0 {
			t.Errorf("%s: got %q, %q, want %q", text, got, issues, want)
		}
		if tm.String() != text {
			t.Errorf("String of %s is %s", text, tm)
		}
	}
}

func TestTemplateProblems(t *testing.T) {
	for text, want := range map[string]string{
		`{{ order.amount`:                                         `column 1: the {{ is not closed; write }} behind it`,
		`x {{ "a }}`:                                              `column 3: the {{ is not closed; write }} behind it`,
		"one\ntwo {{ }}":                                          `line 2, column 5: the placeholder is empty; write for example {{ order.amount | money }}`,
		`ä {{ order.amout }}`:                                     `column 3: order.amout is no known name; did you mean order.amount?`,
		`{{ order }}`:                                             `column 1: order is no known name; it is the beginning of names such as order.amount`,
		`{{ order.amount | mony }}`:                               `column 1: "mony" is no known function; did you mean money?`,
		`{{ order.amount | }}`:                                    `column 1: a function is missing behind |; write for example: trim | lower`,
		`{{ order.amount | money | | trim }}`:                     `column 1: a function is missing beside |; write for example: trim | lower`,
		`{{ event.time | money }}`:                                `column 1: money makes no sense of event.time, which is a time`,
		`{{ order.amount | date }}`:                               `column 1: date makes no sense of order.amount, which is a number`,
		`{{ order.amount | default }}`:                            `column 1: default takes one text; write for example default "friend"`,
		`{{ order.amount | lookup }}`:                             `column 1: lookup needs a table; add table: with one line for each value`,
		`{{ event.time | date day in Europe/Berln }}`:             `column 1: "Europe/Berln" is no time zone; did you mean Europe/Berlin?`,
		`{{ event.time | date day in }}`:                          `column 1: date needs one zone behind in; write date day, date full, date time, or a pattern such as date YYYY-MM-DD HH:mm, then in and a zone such as Europe/Berlin or +02:00`,
		`{{ event.time | date yyyy-mm-dd }}`:                      `column 1: date knows no "yyyy-mm-dd"; write date day, date full, date time, or a pattern such as date YYYY-MM-DD HH:mm, then in and a zone such as Europe/Berlin or +02:00`,
		`{{ "x" | upper }}`:                                       `column 1: a text in quotes takes no functions; write it as it is to be`,
		"\xff":                                                    `the template is no valid UTF-8`,
		strings.Repeat("x", 64<<10+1):                             `a template of 65537 bytes is longer than the 65536 that one may have`,
		strings.Repeat("{{ order.amount }}", 201):                 `column 3601: there are more than 200 placeholders`,
		`{{ order.amount ` + strings.Repeat("| trim ", 21) + `}}`: `column 1: there are more than 20 functions; a value needs a few only`,
	} {
		if _, err := expressions.CompileTemplate(text, catalogue, expressions.Plain); err == nil || err.Error() != want {
			t.Errorf("%.80s:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestFillTellsWhatCouldNotBeMade(t *testing.T) {
	v := values{texts: map[string]string{"event.time": "soon", "order.amount": "12,50 SECRET", "contact.fields.points": "x", "order.paid": "x"}}
	tm, err := expressions.CompileTemplate(`{{ event.time | date }}/{{ order.amount | money | default "0" }}/{{ contact.fields.points | number }}{{ contact.fields.none | number }}{{ order.paid | money | default x | number }}`, catalogue, expressions.Plain)
	if err != nil {
		t.Fatal(err)
	}
	text, whole, issues := tm.FillAll(v)
	want := []string{"event.time: the value is no time", "order.amount: the value is no decimal amount", "contact.fields.points: the value is no plain decimal number", "order.paid: the value is no decimal amount"}
	if diff := cmp.Diff(want, issues); diff != "" || text != "/0/" || whole {
		t.Errorf("got %q, %v (-want +got):\n%s", text, whole, diff)
	}
	long := values{texts: map[string]string{"contact.fields.points": strings.Repeat("x", 16<<10+1)}}
	tm, _ = expressions.CompileTemplate(`a {{ contact.fields.points }}`, catalogue, expressions.Plain)
	if text, issues := tm.Fill(long); text != "a " || len(issues) != 1 || strings.Contains(issues[0], "xx") {
		t.Errorf("a value that is too long gave %.20q and %q", text, issues)
	}
}

func TestTemplateSources(t *testing.T) {
	tm, err := expressions.CompileTemplate(`{{ order.amount | money }} {{ payer.phone | phone }} {{ order.amount }}`, catalogue, expressions.Plain)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"event.provider", "order.amount", "order.currency", "payer.address.country", "payer.phone"}
	if got := tm.Sources(); !slices.Equal(got, want) || tm.Constant() {
		t.Errorf("got %q, want %q", got, want)
	}
	if tm, _ = expressions.CompileTemplate(`x {{ "y" }}`, catalogue, expressions.Plain); !tm.Constant() {
		t.Error("a template without sources is no constant")
	}
}

// Each kind of reader gets back exactly the value, and nothing of it is read as markup.
func TestValuesAreEscaped(t *testing.T) {
	compile := func(text string, e expressions.Escape) *expressions.Template {
		tm, err := expressions.CompileTemplate(text, catalogue, e)
		if err != nil {
			t.Fatal(err)
		}
		return tm
	}
	page := compile(`<a title="{{ custom_id }}">{{ custom_id }}</a>`, expressions.HTML)
	object := compile(`{"a": "{{ custom_id }}"}`, expressions.JSON)
	query := compile(`a={{ custom_id }}&b=1`, expressions.URL)
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{`"><script>`, `'; x=1`, `\", "b": "`, "a&b=2#c", "\u2028\n\x00", "{{ order.amount }}"})).Draw(t, "value")
		v := values{texts: map[string]string{"custom_id": value, "order.amount": "5"}}
		text, _ := page.Fill(v)
		inner := strings.TrimSuffix(strings.SplitN(text, `">`, 2)[1], "</a>")
		if strings.ContainsAny(inner, `<>"'`) || html.UnescapeString(inner) != html.UnescapeString(html.EscapeString(value)) {
			t.Fatalf("HTML: %q", text)
		}
		text, _ = object.Fill(v)
		var got map[string]string
		if err := json.Unmarshal([]byte(text), &got); err != nil || len(got) != 1 || got["a"] != value {
			t.Fatalf("JSON: %q gave %q, %v", text, got, err)
		}
		text, _ = query.Fill(v)
		form, err := url.ParseQuery(text)
		if err != nil || len(form) != 2 || form.Get("a") != value || form.Get("b") != "1" {
			t.Fatalf("URL: %q gave %v, %v", text, form, err)
		}
	})
}

func TestAConstantTakesNoMemory(t *testing.T) {
	tm, err := expressions.CompileTemplate("Thank you.", catalogue, expressions.HTML)
	if err != nil {
		t.Fatal(err)
	}
	v := sample()
	var asValues expressions.Values = v
	if n := testing.AllocsPerRun(100, func() { tm.Fill(asValues) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func TestMoneyInEveryCurrency(t *testing.T) {
	fill := func(text string, v values) (string, []string) {
		tm, err := expressions.CompileTemplate(text, catalogue, expressions.Plain)
		if err != nil {
			t.Fatal(err)
		}
		return tm.Fill(v)
	}
	for _, c := range []struct{ amount, currency, provider, text, minor string }{
		{"10.5", "EUR", "paypal", "10.50", "1050"},
		{"500", "JPY", "paypal", "500", "500"},
		{"500", "HUF", "paypal", "500", "500"},
		{"500", "HUF", "", "500", "500"}, // PayPal's rule where the provider is not known
		{"500", "HUF", "shopify", "500.00", "50000"},
		{"1.5", "KWD", "paypal", "1.500", "1500"},
		{"1.005", "USD", "paypal", "1.005", ""},
		{"10.5", "", "paypal", "10.50", ""},
	} {
		v := values{texts: map[string]string{"order.amount": c.amount, "order.currency": c.currency, "event.provider": c.provider}}
		if got, issues := fill("{{ order.amount | money }}", v); got != c.text || len(issues) > 0 {
			t.Errorf("%s %s at %q: got %q, %q, want %q", c.amount, c.currency, c.provider, got, issues, c.text)
		}
		if got, issues := fill("{{ order.amount | money minor }}", v); got != c.minor || (got == "") != (len(issues) == 1) {
			t.Errorf("%s %s at %q in minor units: got %q, %q, want %q", c.amount, c.currency, c.provider, got, issues, c.minor)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{`{{ order.amount | money }}`, `{{ "}}" }}`, `{{ event.time | date DD.MM in Europe/Berlin }}`, `{{{{ }}`, `{{ payer.phone | phone US | default "x" }}`, "{{ order.amount | number 3", `{{'|'}}`} {
		f.Add(seed, "12.50")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		for _, escape := range []expressions.Escape{expressions.Plain, expressions.HTML, expressions.JSON, expressions.URL} {
			tm, err := expressions.CompileTemplate(text, catalogue, escape)
			if err != nil {
				if strings.Contains(err.Error(), "\n") {
					t.Fatalf("%q: the error %q has more than one line", text, err)
				}
				return
			}
			v := values{texts: map[string]string{}}
			for _, s := range tm.Sources() {
				v.texts[s] = value
			}
			first, _ := tm.Fill(v)
			if again, _ := tm.Fill(v); again != first {
				t.Fatalf("%q: %q, then %q", text, first, again)
			}
		}
	})
}
