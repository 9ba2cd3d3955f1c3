//go:build unix

package expressions_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tillstream/tillstream/processors/expressions"
)

// bomb is the time of the processor that no expression may take, compiling and evaluating it together.
const bomb = 10 * time.Millisecond

// attempts is how often a slow one is tried again: the collector of memory may have run meanwhile.
const attempts = 20

// used is the processor's time that the process has had, however busy the machine is.
func used(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// hostile values are as large as a provider's field can be, and made to be slow to look through.
func hostileValues() values {
	v := sample()
	long := strings.Repeat("a", 200<<10)
	for _, name := range []string{"custom_id", "order.number", "subscription.plan_id", "data.words", "payer.given_name"} {
		v.texts[name] = long
	}
	v.texts["contact.fields.big"] = strings.Repeat("9", 40)
	v.texts["contact.fields.tiny"] = "0." + strings.Repeat("0", 37) + "1"
	for i := range 1000 {
		v.lists["contact.tags"] = append(v.lists["contact.tags"], fmt.Sprint("tag", i))
	}
	return v
}

func defused(t *testing.T, text string, v values) {
	t.Helper()
	var took time.Duration
	for range attempts {
		start := used(t)
		if e, err := expressions.CompileValue(text, catalogue); err == nil {
			if value, err := e.Value(v); err == nil && len(value) > 300<<10 {
				t.Errorf("%.60q made %d bytes", text, len(value))
			}
		} else if strings.Contains(err.Error(), "\n") || len(err.Error()) > 1000 {
			t.Errorf("%.60q: the error is no short line: %.200q", text, err)
		}
		if took = used(t) - start; took < bomb {
			return
		}
	}
	t.Errorf("%.80q took %s, %d times over", text, took, attempts)
}

func TestBombs(t *testing.T) {
	v := hostileValues()
	nested := func(open, middle, end string, n int) string {
		return strings.Repeat(open, n) + middle + strings.Repeat(end, n)
	}
	for _, text := range []string{
		nested("(", "1", ")", 2000), nested("!", "true", "", 4000), nested("-", "1", "", 4000), nested("[", "1", "]", 2000),
		nested("lower(", "custom_id", ")", 500), nested("lower(upper(", "custom_id", "))", 30), nested("{a:", "1", "}", 1000),
		"true" + strings.Repeat(" ? true", 500), "true" + strings.Repeat(" ? true : false", 250), strings.Repeat("true ? ", 200) + "1" + strings.Repeat(" : 1", 200),
		"custom_id" + strings.Repeat(" + custom_id", 240), "(custom_id + custom_id) + (custom_id + custom_id)",
		"contact.fields.big" + strings.Repeat(" * contact.fields.big * 1", 100), "contact.fields.tiny" + strings.Repeat(" * contact.fields.tiny * 1", 100),
		"1" + strings.Repeat(" / 3", 240), "1" + strings.Repeat(" * 99999999999999999999.9", 150), "1 / contact.fields.tiny / contact.fields.tiny / contact.fields.tiny",
		"1" + strings.Repeat(" < 1", 1000), "(1" + strings.Repeat(" < 2) == (1 < 1", 200) + ")", nested("(true == ", "true", " == true)", 60),
		`custom_id matches "` + strings.Repeat("a?", 40) + strings.Repeat("a", 40) + `"`, `custom_id matches "(a*)*b"`, `custom_id matches "(((((a{9}){9}){9}){9}){9})"`,
		`custom_id matches "` + strings.Repeat("(x+x+)+", 25) + `y"`, `custom_id matches "` + strings.Repeat(`\\pL`, 60) + `"`, `custom_id matches "(?i)` + strings.Repeat(`[^\\PN]`, 30) + `"`,
		`custom_id matches "` + strings.Repeat("(", 199) + `"`, `custom_id matches "x{1000}"`, `custom_id matches "` + strings.Repeat("x{0,199}|", 20) + `"`,
		strings.Repeat(`custom_id contains "b" || `, 150) + "true", strings.Repeat(`"x" in contact.tags || `, 150) + "true", strings.Repeat(`custom_id == order.number && `, 150) + "true",
		strings.Repeat(`number(custom_id) > 1 || date(custom_id) > event.time || `, 60) + "true", strings.Repeat("len(custom_id) + ", 200) + "1",
		`1..999999999`, `all(1..999999999, # > 0)`, `map(1..9999999, {repeat("x", 99)})`, `repeat("x", 999999999)`, `sum(1..99999999)`, `"x" in (1..99999999)`,
		`let a = custom_id + custom_id; let b = a + a; b + b`, `custom_id[0:99999999]`, `now() > event.time`, `toJSON(contact) == ""`, `split(custom_id, "")`, `get(custom_id, 1)`,
		strings.Repeat("9", 4000), "0." + strings.Repeat("9", 4000), "1e999999999", "0x" + strings.Repeat("f", 4000), "round(1, 99999999)", "round(contact.fields.tiny, 20)",
		strings.Repeat("a.", 2000) + "a", strings.Repeat("order.", 680) + "amount", `contact.fields["` + strings.Repeat("x", 4000) + `"]`, "contact" + strings.Repeat("[0]", 1300),
		strings.Repeat(`"x", `, 800), `"x" in [` + strings.Repeat(`"x",`, 900) + `]`, `custom_id in [` + strings.Repeat(`custom_id,`, 300) + `]`,
		strings.Repeat("/*", 2000), "// " + strings.Repeat("x", 4000), "\"" + strings.Repeat("\\u{10FFFF}", 400) + "\"", "`" + strings.Repeat("``", 2000) + "`",
		strings.Repeat("\n", 4000) + "order.amout", strings.Repeat("x", 4000), strings.Repeat("é", 2000), strings.Repeat(";", 4000), strings.Repeat("?.", 2000), "\x00\xff",
		strings.Repeat("true | lower() ", 200), "true" + strings.Repeat(" | trim()", 400), strings.Repeat("order.amount ?? ", 200) + "1", "duration(\"" + strings.Repeat("1h", 1500) + "\")",
		strings.Repeat("x", 10<<20),
	} {
		defused(t, text, v)
	}
}

// TestGeneratedBombs makes expressions of the grammar's worst parts, the same ones each time.
func TestGeneratedBombs(t *testing.T) {
	v := hostileValues()
	dice := rand.New(rand.NewPCG(6, 2026))
	leaves := []string{"custom_id", "order.number", "contact.fields.big", "contact.fields.tiny", "contact.tags", "event.time", "1", "99999999999.99", `"aaaa"`, "true", `duration("1d")`, "[1, 2]", "data.words", "order.amount"}
	binary := []string{"+", "-", "*", "/", "==", "!=", "<", ">=", "&&", "||", "contains", "startsWith", "in", "not in", "matches", "??", "..", "**", "|", ";", "<"}
	calls := append(expressions.FunctionNames(), "all", "map", "repeat", "now", "sum")
	var build func(depth int) string
	build = func(depth int) string {
		if depth == 0 || dice.IntN(8) == 0 {
			return leaves[dice.IntN(len(leaves))]
		}
		switch dice.IntN(7) {
		case 0:
			return "(" + build(depth-1) + " ? " + build(depth-1) + " : " + build(depth-1) + ")"
		case 1:
			return calls[dice.IntN(len(calls))] + "(" + build(depth-1) + ")"
		case 2:
			return "!(" + build(depth-1) + ")"
		case 3:
			return "(" + build(depth-1) + " < " + build(depth-1) + " < " + build(depth-1) + ")"
		case 4:
			return build(depth-1) + ` matches "(a|aa)+$"`
		}
		return "(" + build(depth-1) + " " + binary[dice.IntN(len(binary))] + " " + build(depth-1) + ")"
	}
	for range 1000 {
		defused(t, build(2+dice.IntN(8)), v)
	}
}

// TestGeneratedWork makes expressions that compile, of the parts that do the most work.
func TestGeneratedWork(t *testing.T) {
	v := hostileValues()
	dice := rand.New(rand.NewPCG(13, 2026))
	var text, number, condition func(depth int) string
	one := func(of ...func() string) string { return of[dice.IntN(len(of))]() }
	text = func(d int) string {
		if d == 0 {
			return one(func() string { return "custom_id" }, func() string { return "order.number" }, func() string { return `"aa"` })
		}
		return one(
			func() string { return "(" + text(d-1) + " + " + text(d-1) + ")" }, func() string { return "lower(" + text(d-1) + ")" },
			func() string { return "(" + condition(d-1) + " ? " + text(d-1) + " : " + text(d-1) + ")" }, func() string { return "text(" + number(d-1) + ")" })
	}
	number = func(d int) string {
		if d == 0 {
			return one(func() string { return "order.amount" }, func() string { return "contact.fields.big" }, func() string { return "contact.fields.tiny * 1" }, func() string { return "3" })
		}
		return one(
			func() string { return "(1 * " + number(d-1) + " * " + number(d-1) + ")" }, func() string { return "(1 * " + number(d-1) + " / " + number(d-1) + ")" },
			func() string { return "len(" + text(d-1) + ")" }, func() string { return "number(" + text(d-1) + ")" }, func() string { return "round(" + number(d-1) + ", 2)" })
	}
	condition = func(d int) string {
		if d == 0 {
			return `"x" in contact.tags`
		}
		return one(
			func() string { return "(" + text(d-1) + " == " + text(d-1) + ")" }, func() string { return "(number(" + text(d-1) + ") < 1 + " + number(d-1) + ")" },
			func() string { return "(" + text(d-1) + ` matches "(a|aa)+$")` }, func() string { return "(" + text(d-1) + ` contains "ab")` },
			func() string { return "(" + condition(d-1) + " || " + condition(d-1) + ")" })
	}
	compiled := 0
	for i := range 300 {
		expression := condition(2 + i%6)
		if _, err := expressions.Compile(expression, catalogue); err == nil {
			compiled++
		}
		defused(t, expression, v)
	}
	if compiled < 150 {
		t.Errorf("%d of 300 compile: they are not the work they were meant to be", compiled)
	}
}
