package expressions_test

import (
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/processors/expressions"
)

// values are the values of a test.
type values struct {
	texts map[string]string
	lists map[string][]string
}

func (v values) Text(name string) string   { return v.texts[name] }
func (v values) List(name string) []string { return v.lists[name] }

var catalogue = expressions.Catalogue{
	"order.amount": expressions.Number, "order.paid": expressions.Number, "order.refunded": expressions.Number, "order.currency": expressions.Text, "order.number": expressions.Text,
	"order.status": expressions.Text, "event.time": expressions.Time, "order.time": expressions.Time, "event.type": expressions.Text, "event.provider": expressions.Text,
	"payer.email": expressions.Text, "payer.given_name": expressions.Text, "payer.full_name": expressions.Text, "payer.phone": expressions.Text, "payer.address.country": expressions.Text,
	"contact.tags": expressions.List, "contact.orders": expressions.Number, "contact.fields.*": expressions.Any,
	"subscription.plan_id": expressions.Any, "subscription.cycles": expressions.Any, "items.0.sku": expressions.Any, "custom_id": expressions.Text, "data.*": expressions.Any,
}

func sample() values {
	return values{
		texts: map[string]string{
			"order.amount": "100.10", "order.paid": "100.10", "order.refunded": "0", "order.currency": "EUR", "order.status": "PAID",
			"event.time": "2026-03-01T23:30:00Z", "order.time": "2026-02-27T10:00:00Z", "event.type": "PAYMENT.CAPTURE.COMPLETED",
			"payer.email": "Ana@Example.com", "payer.full_name": "Ana de la Cruz", "payer.phone": "030 901820", "payer.address.country": "DE",
			"contact.orders": "3", "contact.fields.VIP": "yes", "contact.fields.VIP since": "2024-01-01", "contact.fields.points": "12.50",
			"subscription.plan_id": "P-1", "subscription.cycles": "9", "items.0.sku": "A-1", "data.2nd": "x", "data.utm-source": "mail", "data.words": "abc",
		},
		lists: map[string][]string{"contact.tags": {"new", "vip"}},
	}
}

func TestHolds(t *testing.T) {
	for text, want := range map[string]bool{
		// numbers are exact
		`order.amount >= 100.10`: true, `order.amount > 100.10`: false, `order.amount == 100.1`: true, `order.amount != 100.1`: false,
		`order.amount < 100.11`: true, `order.amount <= 100.0999999999`: false, `100 < order.amount`: true, `order.amount > -5`: true,
		`0.1 + 0.2 == 0.3`: true, `order.amount * 3 == 300.30`: true, `order.amount - 0.10 == 100`: true, `order.amount / 3 > 33.36`: true,
		`99999999999999999999.01 > 9999999999999999999.9`: true,
		`order.amount == 100.100000000000000000001`:       false, `1_000.50 > order.amount`: true, `order.amount - order.paid == 0`: true,
		`-order.amount < 0`: true, `+order.amount > 0`: true, `0 < order.amount < 1000`: true, `0 < order.amount < 100`: false,
		`order.refunded / order.paid > 0.5`:   false,
		`round(order.amount / 3, 2) == 33.37`: true,
		`order.amount <= 100.10`:              true, `(922337203685477580 + 0.1) + (922337203685477580 + 0.1) > 0`: true,
		`duration("5200w") + duration("5200w") + duration("5200w") == ""`: true, // longer than any duration: absent
		// texts
		`order.currency == "EUR"`: true, `order.currency != "EUR"`: false, `order.currency == 'EUR'`: true, `"EUR" == order.currency`: true,
		`payer.email endsWith "@Example.com"`: true, `payer.email startsWith "Bob"`: false, `payer.email contains "@"`: true, `payer.email not contains "@"`: false,
		`lower(payer.email) == "ana@example.com"`: true, `upper(order.currency) == "EUR"`: true, `trim("  x ") == "x"`: true, `len(order.currency) == 3`: true, `len("äöü") == 3`: true,
		`payer.email matches "^[A-Za-z]+@"`: true, `payer.email matches "(?i)^ana@EXAMPLE"`: true, `not (payer.email matches "x$")`: true,
		// lists
		`"vip" in contact.tags`: true, `"VIP" in contact.tags`: false, `"old" not in contact.tags`: true, `!("vip" in contact.tags)`: false, `contact.tags contains "vip"`: true,
		`len(contact.tags) == 2`: true, `contact.tags == ""`: false, `order.currency in ["USD", "EUR"]`: true, `order.currency not in ["USD", "GBP"]`: true, `contact.orders in [1, 3]`: true,
		// times and durations
		`event.time >= date("2026-03-01")`: true, `event.time < date("2026-03-01T23:30:00Z")`: false, `event.time == date("2026-03-02T00:30:00+01:00")`: true,
		`event.time - order.time > duration("2d")`: true, `event.time - order.time < duration("2d13h31m")`: true, `order.time + duration("3d") > event.time`: true,
		`event.time - duration("1w") < order.time`: true, `date(contact.fields["VIP since"]) < date("2025-01-01")`: true,
		`duration("36h") == duration("1d12h")`:               true,
		`duration("1d") + duration("12h") > duration("35h")`: true, `event.time - order.time - duration("2d") < duration("14h")`: true, `duration("1h") - duration("2h") < duration("0s")`: true,
		`date("2026-03-01 10:00:00") == date("2026-03-01T10:00:00")`: true, `event.time > date(contact.fields.none)`: false, `event.time - date(contact.fields.none) == ""`: true,
		// fields of a provider take the kind of the other side
		`subscription.plan_id == "P-1"`: true, `subscription.cycles > 8`: true, `subscription.cycles == 9.0`: true, `subscription.cycles == "9"`: true, `subscription.cycles >= 10`: false,
		`subscription.cycles == subscription.cycles`: true, `contact.fields.points + 1 == 13.5`: true, `number(contact.fields.points) > number(subscription.cycles)`: true,
		`contact.fields["VIP since"] > date("2023-12-31")`: true, `data.words > 5`: false, `data.words < 5`: false,
		`items[0].sku == "A-1"`: true, `items.0.sku == "A-1" && 1 < 2.5`: true, `data.2nd == "x"`: true, `data.2nd != "data.2nd" // data.2nd isn't "x`: true, `"items.0.sku" == 'items.0.sku'`: true,
		"/* a\n it's */ data.2nd == \"x\"": true,
		"/* it's */ \"a.1b\" == `a.1b` ":   true, `items.0.sku == "A-1" /* "x */ && data.2nd == "x"`: true, `data["2nd"] == "x"`: true, `data["utm-source"] == "mail"`: true, `contact.fields.VIP == "yes"`: true,
		// absent
		`order.number == ""`: true, `order.number != ""`: false, `order.number != "x"`: true, `contact.fields.none == ""`: true, `contact.fields.none > 5`: false, `contact.fields.none < 5`: false,
		`contact.fields.none != 5`: false, `!(contact.fields.none > 5)`: true, `contact.fields.none + 1 > 0`: false, `order.amount / order.refunded > 0`: false, `order.amount == ""`: false,
		`contact.fields.none < date("2026-01-01")`: false, `(payer.given_name ?? "friend") == "friend"`: true, `(order.currency ?? "USD") == "EUR"`: true,
		`contact.fields.none + contact.orders == ""`: true, `payer.given_name contains "a"`: false, `len(payer.given_name) == 0`: true,
		`"vip" in contact.tags == true`: true, `contact.fields.VIP == "yes" ? true : false`: true, `(contact.fields.none ?? 5) > 4`: true, `(contact.fields.none ?? event.time) == event.time`: true,
		`((event.time - order.time) ?? duration("1d")) > duration("1d")`: true, `(true ? data.words : custom_id) == "abc"`: true, `event.time + duration("1d") == ""`: false,
		`len(contact.tags) == ""`: false, `contact.tags != ""`: true, `(1 < 2) == ""`: false,
		// logic
		`order.amount >= 100 && order.currency == "EUR" && !("bad" in contact.tags)`: true, `order.amount > 1000 or "vip" in contact.tags`: true, `true`: true, `not true`: false,
		`order.amount > 1000 and "vip" in contact.tags`: false, `order.amount > 50 ? "vip" in contact.tags : false`: true, `(order.amount > 50 ? 1 : 2) == 1`: true,
		"order.amount > 50 // a remark": true, "order.amount > 50\n  && true": true, `(order.amount > 50) == true`: true,
	} {
		e, err := expressions.Compile(text, catalogue)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := e.Holds(sample()); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
		}
		if e.String() != text {
			t.Errorf("String of %s is %s", text, e)
		}
	}
}

func TestValue(t *testing.T) {
	for text, c := range map[string]struct {
		want string
		kind expressions.Kind
	}{
		`order.amount`:                        {"100.10", expressions.Number},
		`order.amount * 0.19`:                 {"19.019", expressions.Number},
		`round(order.amount * 0.19, 2)`:       {"19.02", expressions.Number},
		`round(order.amount, 0)`:              {"100", expressions.Number},
		`round(100, 2) + " EUR"`:              {"100.00 EUR", expressions.Text},
		`1 / 3`:                               {"0.33333333333333333333", expressions.Number},
		`order.amount + " " + order.currency`: {"100.10 EUR", expressions.Text},
		`"plan " + subscription.plan_id`:      {"plan P-1", expressions.Text},
		`event.time`:                          {"2026-03-01T23:30:00Z", expressions.Time},
		`order.time + duration("1d")`:         {"2026-02-28T10:00:00Z", expressions.Time},
		`order.amount > 50`:                   {"true", expressions.Text},
		`order.amount > 500`:                  {"false", expressions.Text},
		`order.amount > 50 ? "big" : "small"`: {"big", expressions.Text},
		`order.number ?? custom_id ?? "-"`:    {"-", expressions.Text},
		`contact.fields.none`:                 {"", expressions.Any},
		`contact.fields.none * 2`:             {"", expressions.Number},
		`text(order.amount)`:                  {"100.10", expressions.Text},
		`len(contact.tags)`:                   {"2", expressions.Number},
		`upper(payer.full_name)`:              {"ANA DE LA CRUZ", expressions.Text},
	} {
		e, err := expressions.CompileValue(text, catalogue)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := e.Value(sample()); err != nil || got != c.want || e.Kind() != c.kind {
			t.Errorf("%s: got %q, %s, %v, want %q, %s", text, got, e.Kind(), err, c.want, c.kind)
		}
	}
}

// An evaluation that would take too much is an error, and so is a bug in what gives the values: neither stops the others.
func TestLimitsOfAnEvaluation(t *testing.T) {
	v := sample()
	v.texts["custom_id"] = strings.Repeat("a", 200<<10)
	v.texts["contact.fields.big"] = strings.Repeat("9", 40)
	for text, want := range map[string]string{
		`custom_id + custom_id == "x"`:                                                      "the text gets too long",
		`lower(custom_id) == "x" || upper(custom_id) == "x"`:                                "it takes more work than one expression may",
		strings.Repeat(`custom_id contains "b" || `, 5) + `custom_id endsWith "b"`:          "it takes more work than one expression may",
		`custom_id matches "(a|bb)+c(d|ee)+f"`:                                              "it takes more work than one expression may",
		`1 * contact.fields.big` + strings.Repeat(` * contact.fields.big * 1`, 10) + ` > 1`: "the number gets too long",
	} {
		e, err := expressions.Compile(text, catalogue)
		if err != nil {
			t.Errorf("%.60s: %v", text, err)
			continue
		}
		if holds, err := e.Holds(v); err == nil || err.Error() != want || holds {
			t.Errorf("%.60s: got %v, %v, want the error %q", text, holds, err, want)
		}
	}
	e, err := expressions.Compile(`order.amount > 1`, catalogue)
	if err != nil {
		t.Fatal(err)
	}
	if holds, err := e.Holds(nil); err == nil || holds || !strings.HasPrefix(err.Error(), "the expression could not be evaluated") {
		t.Errorf("without values: got %v, %v, want an error", holds, err)
	}
	if text, err := e.Value(nil); err == nil || text != "" {
		t.Errorf("without values: got %q, %v, want an error", text, err)
	}
}

// Sums and products are checked against math/big, whose rationals are exact.
func TestArithmeticIsExact(t *testing.T) {
	literal := rapid.StringMatching(`[0-9]{1,8}(\.[0-9]{1,4})?`)
	rapid.Check(t, func(t *rapid.T) {
		text := literal.Draw(t, "first")
		want, _ := new(big.Rat).SetString(text)
		for i := range rapid.IntRange(0, 8).Draw(t, "operations") {
			operator, operand := rapid.SampledFrom([]string{"+", "-", "*"}).Draw(t, "operator"), literal.Draw(t, "operand")
			value, _ := new(big.Rat).SetString(operand)
			switch operator {
			case "+":
				want.Add(want, value)
			case "-":
				want.Sub(want, value)
			default:
				want.Mul(want, value)
			}
			text = "(" + text + ") " + operator + " " + operand
			if i%2 == 0 {
				text = "(" + text + ")"
			}
		}
		e, err := expressions.CompileValue(text, catalogue)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		value, err := e.Value(sample())
		if got, ok := new(big.Rat).SetString(value); err != nil || !ok || got.Cmp(want) != 0 {
			t.Fatalf("%s = %s, %v, want %s", text, value, err, want.FloatString(40))
		}
	})
}

func TestSources(t *testing.T) {
	e, err := expressions.Compile(`order.paid > 1 && (order.amount > 1 || order.amount < 0) && "x" in contact.tags && contact.fields["VIP since"] == ""`, catalogue)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := e.Sources(), []string{"contact.fields.VIP since", "contact.tags", "order.amount", "order.paid"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		``:                          `the expression is empty; write for example order.amount >= 100`,
		"\xff":                      `the expression is no valid UTF-8`,
		`order.amout > 5`:           `column 1: order.amout is no known name; did you mean order.amount?`,
		`true && order.amout > 5`:   `column 9: order.amout is no known name; did you mean order.amount?`,
		"true &&\n order.amout > 5": `line 2, column 2: order.amout is no known name; did you mean order.amount?`,
		`data.7.x = 1`:              `column 10: a single = compares nothing; write ==`, `items.1.sku == ""`: `column 1: items.1.sku is no known name; did you mean items.0.sku?`, `items.0.sku items.1`: `column 13: unexpected token Identifier("items")`,
		`email == "x"`:                                     `column 1: email is no known name; did you mean payer.email?`,
		`order == "x"`:                                     `column 1: order is no known name; it is the beginning of names such as order.amount`,
		`contact.fields == "x"`:                            `column 1: contact.fields is no known name; write which one, for example contact.fields.NAME`,
		`order.amount > "100"`:                             `column 14: a number and text cannot be compared; write 100 without quotes`,
		`order.number > 100`:                               `column 14: text and a number cannot be compared; write number(order.number)`,
		`event.time > "2026-03-01"`:                        `column 12: a time and text cannot be compared; write date("2026-03-01")`,
		`contact.tags == "vip"`:                            `column 14: a list and text cannot be compared; write in`,
		`order.currency > "A"`:                             `column 16: text has no order; > compares numbers and times`,
		`subscription.cycles > subscription.plan_id`:       `column 21: it is not known whether subscription.cycles and subscription.plan_id are numbers or times; write number(subscription.cycles) or date(subscription.cycles)`,
		`order.amount`:                                     `column 1: a number is no condition; compare it, for example with == or >`,
		`order.amount = 5`:                                 `column 14: a single = compares nothing; write ==`,
		`order.amount >`:                                   `column 14: the expression ends too early`,
		`order.amount > 1e3`:                               `column 16: 1e3 is no plain decimal number; write for example 100.10`,
		`order.amount > 0x10`:                              `column 16: 0x10 is no plain decimal number; write for example 100.10`,
		`"vip" in order.currency`:                          `column 10: in needs a list, and this is text; write contains to look into a text`,
		`5 in contact.tags`:                                `column 1: a list holds texts, and this is a number`,
		`"x" in []`:                                        `column 8: the list is empty`,
		`["x"] == ""`:                                      `column 1: a list in brackets may stand behind in only`,
		`order.number == nil`:                              `column 17: nil is not known; compare with "" to find out whether a value is there`,
		`date("soon") > event.time`:                        `column 6: "soon" is no time; write 2026-03-01, or 2026-03-01T10:00:00Z`,
		`event.time - order.time > duration("soon")`:       `column 36: "soon" is no duration; write for example 90m, 36h, 3d or 2w`,
		`event.time + order.time == ""`:                    `column 12: a time + a time makes no sense; write for example event.time - date("2026-03-01"), or event.time + duration("3d")`,
		`payer.email matches order.number`:                 `column 21: matches takes a pattern in quotes`,
		`payer.email matches "(x"`:                         `column 21: the pattern cannot be read: missing closing ): ` + "`(x`",
		`payer.email matches "((x{12}){12}){6}"`:           `column 21: the pattern is too large: it repeats too much`,
		`lowr(payer.email) == "x"`:                         `column 1: lowr is no known function; did you mean lower?`,
		`now() > event.time`:                               `column 1: now is no known function; known are date, duration, len, lower, number, round, text, trim, upper`,
		`all(contact.tags, {# == "x"})`:                    `column 1: all is no known function; known are date, duration, len, lower, number, round, text, trim, upper`,
		`1..1000000 == ""`:                                 `column 2: the operator .. is not available`,
		`order.amount ** 99 > 1`:                           `column 14: the operator ** is not available`,
		`let x = 1; x > 0`:                                 `column 5: this kind of expression is not available; conditions have no variables, loops, maps or slices`,
		`{"a": 1} == ""`:                                   `column 1: this kind of expression is not available; conditions have no variables, loops, maps or slices`,
		`payer.email[0:3] == "a"`:                          `column 12: this kind of expression is not available; conditions have no variables, loops, maps or slices`,
		`payer.email.trim() == "a"`:                        `column 13: a value cannot be called; functions are date, duration, len, lower, number, round, text, trim, upper`,
		`order.amount && true`:                             `column 1: && joins conditions, and this is a number`,
		`lower(order.amount) == "x"`:                       `column 7: this function takes a text, and this is a number`,
		`lower() == "x"`:                                   `column 1: lower takes a text`,
		`round(order.amount, order.paid) > 1`:              `column 21: round takes how many decimals to keep, 0 to 20`,
		`subscription.cycles + subscription.plan_id == ""`: `column 21: it is not known whether subscription.cycles and subscription.plan_id are numbers or texts; write number(subscription.cycles), or text(subscription.cycles)`,
	} {
		e, err := expressions.Compile(text, catalogue)
		if err == nil {
			t.Errorf("%s: compiled to %v", text, e)
			continue
		}
		if got := err.Error(); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", text, got, want)
		}
	}
	doubled := "1"
	for range 9 {
		doubled = "(0 < " + doubled + " < 9 ? 1 : 2)"
	}
	for text, want := range map[string]string{
		strings.Repeat("!", 70) + "true":                         `column 65: more than 64 parts lie within each other`,
		"true" + strings.Repeat(" && true", 250):                 `the expression has more than the 500 parts that one may have`,
		`payer.email matches "` + strings.Repeat("x", 201) + `"`: `column 21: the pattern is longer than 200 bytes`,
		strings.Repeat(" ", 4<<10+1):                             `an expression of 4097 bytes is longer than the 4096 that one may have`,
	} {
		if _, err := expressions.Compile(text, catalogue); err == nil || err.Error() != want {
			t.Errorf("%.60s:\ngot  %v\nwant %s", text, err, want)
		}
	}
	if _, err := expressions.Compile(doubled+" > 0", catalogue); err == nil || !strings.HasSuffix(err.Error(), "the expression has more than the 500 parts that one may have") {
		t.Errorf("comparisons in a row, within each other: got %v", err)
	}
	for text, want := range map[string]string{
		`contact.tags`:            `column 1: a list is no value; write for example len(contact.tags)`,
		`event.time - order.time`: `column 1: a duration is no value; compare it, or add it to a time`,
	} {
		if _, err := expressions.CompileValue(text, catalogue); err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", text, err, want)
		}
	}
}
