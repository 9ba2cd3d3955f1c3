package mapping_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/schemas"
)

func transition() schemas.Transition {
	return schemas.Transition{
		Number: 3, To: schemas.StatusPaid, Paid: "10", Refunded: "0", Currency: "EUR",
		Payer: &schemas.Payer{Email: " Ana@Example.com ", FullName: "Ana de la Cruz", Phone: "030 901820", Address: schemas.Address{Country: "de", City: "Bonn"}},
		Event: schemas.OrderEvent{
			EventID: "WH-1", EventType: "PAYMENT.CAPTURE.COMPLETED", RootID: "O1", InvoiceID: "2026-17", Amount: &schemas.Amount{Value: "10.5", Currency: "EUR"},
			ProviderTime: time.Date(2026, 3, 1, 23, 30, 0, 0, time.UTC),
			Fields:       map[string]string{"subscription.plan_id": "P-1", "item.price": "abc", "item.bought": "2026-03-01T10:00:00+0000"},
		},
	}
}

func text(s string) *string { return &s }

var catalogue = []string{"subscription.plan_id", "item.price", "item.bought", "item.none"}

func TestValues(t *testing.T) {
	usd := func(code, value string) func(*schemas.Transition) {
		return func(t *schemas.Transition) { t.Event.Amount = &schemas.Amount{Value: value, Currency: code} }
	}
	country := func(c, phone string) func(*schemas.Transition) {
		return func(t *schemas.Transition) { t.Payer.Address.Country, t.Payer.Phone = c, phone }
	}
	for name, c := range map[string]struct {
		rule mapping.Rule
		with func(*schemas.Transition)
		want string // "-": the field is left alone
	}{
		"text":                        {rule: mapping.Rule{From: "event.type"}, want: "PAYMENT.CAPTURE.COMPLETED"},
		"a field of the provider":     {rule: mapping.Rule{From: "subscription.plan_id"}, want: "P-1"},
		"order number":                {rule: mapping.Rule{From: "order.number"}, want: "2026-17"},
		"missing is left alone":       {rule: mapping.Rule{From: "item.none"}, want: "-"},
		"missing with a default":      {rule: mapping.Rule{From: "item.none", Default: text("x")}, want: "x"},
		"an empty default empties":    {rule: mapping.Rule{From: "item.none", Default: text("")}, want: ""},
		"a constant":                  {rule: mapping.Rule{Default: text("PayPal")}, want: "PayPal"},
		"first name":                  {rule: mapping.Rule{From: "payer.full_name", As: "name first"}, want: "Ana"},
		"last name with its particle": {rule: mapping.Rule{From: "payer.full_name", As: "name last"}, want: "de la Cruz"},
		"day":                         {rule: mapping.Rule{From: "event.time", As: "date"}, want: "2026-03-01"},
		"day in a zone":               {rule: mapping.Rule{From: "event.time", As: "date day +01:00"}, want: "2026-03-02"},
		"time in a zone":              {rule: mapping.Rule{From: "event.time", As: "date full -05:30"}, want: "2026-03-01T18:00:00-05:30"},
		"PayPal's other time form":    {rule: mapping.Rule{From: "item.bought", As: "date full"}, want: "2026-03-01T10:00:00Z"},
		"no time":                     {rule: mapping.Rule{From: "item.price", As: "date"}, want: "-"},
		"money":                       {rule: mapping.Rule{From: "order.amount", As: "money"}, want: "10.50"},
		"money in minor units":        {rule: mapping.Rule{From: "order.amount", As: "money minor"}, want: "1050"},
		"yen have no decimals":        {rule: mapping.Rule{From: "order.amount", As: "money minor"}, with: usd("JPY", "500"), want: "500"},
		"forint have none at PayPal":  {rule: mapping.Rule{From: "order.amount", As: "money"}, with: usd("HUF", "500"), want: "500"},
		"dinars have three":           {rule: mapping.Rule{From: "order.amount", As: "money minor"}, with: usd("KWD", "1.5"), want: "1500"},
		"more decimals than minor":    {rule: mapping.Rule{From: "order.amount", As: "money minor"}, with: usd("USD", "1.005"), want: "-"},
		"no decimal":                  {rule: mapping.Rule{From: "item.price", As: "money"}, want: "-"},
		"no decimal with a default":   {rule: mapping.Rule{From: "item.price", As: "money", Default: text("0")}, want: "0"},
		"phone by the country":        {rule: mapping.Rule{From: "payer.phone", As: "phone"}, want: "+4930901820"},
		"phone of no country":         {rule: mapping.Rule{From: "payer.phone", As: "phone"}, with: country("", "030/90-1820"), want: "030901820"},
		"phone by the given country":  {rule: mapping.Rule{From: "payer.phone", As: "phone US"}, with: country("", "(202) 555-0143"), want: "+12025550143"},
		"phone that cannot be":        {rule: mapping.Rule{From: "payer.phone", As: "phone"}, with: country("US", "12"), want: "12"},
		"phone in full":               {rule: mapping.Rule{From: "payer.phone", As: "phone"}, with: country("", "+49 30 901820"), want: "+4930901820"},
		"country":                     {rule: mapping.Rule{From: "payer.address.country", As: "country"}, want: "DE"},
		"PayPal's own China":          {rule: mapping.Rule{From: "payer.address.country", As: "country"}, with: country("C2", ""), want: "CN"},
		"concat":                      {rule: mapping.Rule{From: "payer.address.city", Concat: []string{"item.none", "order.currency"}, Separator: text(", ")}, want: "Bonn, EUR"},
		"lookup":                      {rule: mapping.Rule{From: "order.status", Table: map[string]string{"PAID": "bezahlt"}}, want: "bezahlt"},
		"lookup of something else":    {rule: mapping.Rule{From: "order.status", As: "lookup", Table: map[string]string{"X": "y"}, Default: text("?")}, want: "?"},
		"functions in a row":          {rule: mapping.Rule{From: "payer.email", As: "trim | lower | hash"}, want: "8e43ca37701228e74983efdbd0cff5c16b3b1e5d4e29a7c05626d4d25a018e11"},
		"upper":                       {rule: mapping.Rule{From: "payer.address.city", As: "upper"}, want: "BONN"},
		"when it holds":               {rule: mapping.Rule{From: "order.id", When: map[string][]string{"order.status": {"PAID", "REFUNDED"}, "order.currency": {"EUR"}}}, want: "O1"},
		"day in a named zone":         {rule: mapping.Rule{From: "event.time", As: "date day Europe/Berlin"}, want: "2026-03-02"},
		"in a named zone":             {rule: mapping.Rule{From: "event.time", As: "date DD.MM.YYYY HH:mm in Europe/Berlin"}, want: "02.03.2026 00:30"},
		"number":                      {rule: mapping.Rule{From: "order.amount", As: "number 1"}, want: "10.5"},
		"default as a function":       {rule: mapping.Rule{From: "item.none", As: `default "none yet"`}, want: "none yet"},
		"an expression":               {rule: mapping.Rule{Expr: "order.paid - order.refunded * 2"}, want: "10"},
		"an expression and functions": {rule: mapping.Rule{Expr: "order.amount * 2", As: "money"}, want: "21.00"},
		"an expression of nothing":    {rule: mapping.Rule{Expr: "item.none"}, want: "-"},
		"nothing, with a default":     {rule: mapping.Rule{Expr: "item.none", Default: text("?")}, want: "?"},
		"if it holds":                 {rule: mapping.Rule{From: "order.id", If: `order.amount > 10 && order.currency == "EUR"`}, want: "O1"},
		"if it does not":              {rule: mapping.Rule{From: "order.id", If: `order.amount > 10.5`}, want: "-"},
		"if and when":                 {rule: mapping.Rule{From: "order.id", If: `order.amount > 10`, When: map[string][]string{"order.status": {"REFUNDED"}}}, want: "-"},
		"a contact that is not known": {rule: mapping.Rule{Expr: `"vip" in contact.tags ? "yes" : "no"`}, want: "no"},
		"when one does not hold":      {rule: mapping.Rule{From: "order.id", When: map[string][]string{"order.status": {"PAID"}, "order.currency": {"USD"}}}, want: "-"},
	} {
		t.Run(name, func(t *testing.T) {
			c.rule.To = "F"
			p, problems := mapping.Compile(mapping.Mapping{Fields: []mapping.Rule{c.rule}}, catalogue)
			if len(problems) > 0 {
				t.Fatalf("problems: %v", problems)
			}
			tr := transition()
			if c.with != nil {
				c.with(&tr)
			}
			values, _ := p.Apply(tr)
			got := "-"
			if len(values) > 0 {
				got = values[0].Value
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestValuesAreSortedAndTheLaterRuleWins(t *testing.T) {
	p, problems := mapping.Compile(mapping.Mapping{Fields: []mapping.Rule{
		{To: "Z", From: "order.id"},
		{To: "A", From: "order.status"},
		{To: "Z", From: "event.id", When: map[string][]string{"order.status": {"PAID"}}},
		{To: "M", From: "item.price", As: "money"},
	}}, catalogue)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	values, issues := p.Apply(transition())
	if diff := cmp.Diff([]mapping.Value{{To: "A", Value: "PAID"}, {To: "Z", Value: "WH-1"}}, values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]mapping.Issue{{To: "M", From: "item.price", Reason: "the value is no decimal amount"}}, issues); diff != "" {
		t.Errorf("issues (-want +got):\n%s", diff)
	}
}

func TestNames(t *testing.T) {
	for full, want := range map[string][2]string{
		"Ana":                   {"Ana", ""},
		"Ana Cruz":              {"Ana", "Cruz"},
		"Ana Maria Cruz":        {"Ana Maria", "Cruz"},
		"  Ludwig  van   Beet ": {"Ludwig", "van Beet"},
		"Van Morrison":          {"Van", "Morrison"},
		"Cruz, Ana Maria":       {"Ana Maria", "Cruz"},
		"de la Cruz":            {"de", "la Cruz"},
	} {
		for i, part := range []string{"first", "last"} {
			p, _ := mapping.Compile(mapping.Mapping{Fields: []mapping.Rule{{To: "F", From: "payer.full_name", As: "name " + part, Default: text("")}}}, nil)
			tr := transition()
			tr.Payer.FullName = full
			if values, _ := p.Apply(tr); values[0].Value != want[i] {
				t.Errorf("%s of %q is %q, want %q", part, full, values[0].Value, want[i])
			}
		}
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		rule mapping.Rule
		want string
	}{
		{mapping.Rule{To: "F", From: "payer.emial"}, `fields[0].from: "payer.emial" is no known source; did you mean payer.email?`},
		{mapping.Rule{To: "F", From: "email"}, `fields[0].from: "email" is no known source; did you mean payer.email?`},
		{mapping.Rule{To: "F", From: "zzzzzzzzzzzz"}, `fields[0].from: "zzzzzzzzzzzz" is no known source; the sources are listed in the documentation of mapping`},
		{mapping.Rule{To: "F", From: "subscription.plan_di"}, `fields[0].from: "subscription.plan_di" is no known source; did you mean subscription.plan_id?`},
		{mapping.Rule{To: "F"}, `fields[0].from: a rule needs a source or a default; give from, for example payer.email`},
		{mapping.Rule{To: " ", From: "order.id"}, `fields[0].to: a rule must say which CRM field it fills; give the field's personalisation tag, for example PAYPAL_STATUS`},
		{mapping.Rule{To: "F", From: "event.time", As: "money"}, `fields[0].as: money makes no sense of event.time, which is a time; use text, or another source`},
		{mapping.Rule{To: "F", From: "order.paid", As: "date"}, `fields[0].as: date makes no sense of order.paid, which is a number; use text, or another source`},
		{mapping.Rule{To: "F", From: "order.id", As: "lowr"}, `fields[0].as: "lowr" is no known function; did you mean lower?`},
		{mapping.Rule{To: "F", From: "order.id", As: "trim |"}, `fields[0].as: a function is missing beside |; write for example: trim | lower`},
		{mapping.Rule{To: "F", From: "order.id", As: "lookup"}, `fields[0].as: lookup needs a table; add table: with one line for each value`},
		{mapping.Rule{To: "F", From: "payer.full_name", As: "name"}, `fields[0].as: name must say which part; write name first, or name last`},
		{mapping.Rule{To: "F", From: "event.time", As: "date day Europe/Berln"}, `fields[0].as: "Europe/Berln" is no time zone; did you mean Europe/Berlin?`},
		{mapping.Rule{To: "F", From: "event.time", As: "date soon"}, `fields[0].as: date knows no "soon"; write date day, date full, date time, or a pattern such as date YYYY-MM-DD HH:mm, then in and a zone such as Europe/Berlin or +02:00`},
		{mapping.Rule{To: "F", From: "order.id", Expr: "order.amount"}, `fields[0].expr: a rule has one source, and from is given too; remove from, or expr`},
		{mapping.Rule{To: "F", Expr: "order.amout"}, `fields[0].expr: column 1: order.amout is no known name; did you mean order.amount?`},
		{mapping.Rule{To: "F", Expr: "order.amount >"}, `fields[0].expr: column 14: the expression ends too early; see expressions in the documentation of mapping`},
		{mapping.Rule{To: "F", From: "order.id", If: "order.amount"}, `fields[0].if: column 1: a number is no condition; compare it, for example with == or >`},
		{mapping.Rule{To: "F", Expr: "order.amount * 2", As: "date"}, `fields[0].as: date makes no sense of the expression, which is a number; use text, or another source`},
		{mapping.Rule{To: "F", From: "event.time", As: "date | money"}, `fields[0].as: money makes no sense of event.time, which is a date; use text, or another source`},
		{mapping.Rule{To: "F", From: "order.id", When: map[string][]string{"order.state": {"x"}}}, `fields[0].when: "order.state" is no known source; did you mean order.status?`},
		{mapping.Rule{To: "F", From: "order.id", Concat: []string{"order.idd"}}, `fields[0].concat[0]: "order.idd" is no known source; did you mean order.id?`},
	} {
		p, problems := mapping.Compile(mapping.Mapping{Fields: []mapping.Rule{c.rule}}, catalogue)
		if p != nil || len(problems) != 1 {
			t.Errorf("%+v: program %v and problems %v, want one problem", c.rule, p, problems)
			continue
		}
		if got := fmt.Sprintf("%s: %s; %s", problems[0].Field, problems[0].Message, problems[0].Hint); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	if _, problems := mapping.Compile(mapping.Mapping{Fields: []mapping.Rule{{To: "F", From: "order.id"}, {To: "F", From: "event.id"}}}, nil); len(problems) != 1 {
		t.Errorf("one field filled twice: problems %v, want one", problems)
	}
}

// FuzzRule: no rule and no value makes the program panic, and a value never comes out of nothing.
func FuzzRule(f *testing.F) {
	f.Add("payer.full_name", "name last", "Ana de la Cruz", "DE")
	f.Add("payer.phone", "phone US", "+49 (0) 30-1", "C2")
	f.Add("order.amount", "money minor", "12.50", "")
	f.Add("event.time", "date full +01:00", "2026-03-01T10:00:00+0000", "x")
	f.Fuzz(func(t *testing.T, from, as, value, country string) {
		p, problems := mapping.Compile(mapping.Mapping{Fields: []mapping.Rule{{To: "F", From: from, As: as}}}, []string{"any"})
		if len(problems) > 0 {
			return
		}
		tr := schemas.Transition{
			Payer: &schemas.Payer{Phone: value, FullName: value, Address: schemas.Address{Country: country}}, Paid: value, Currency: country,
			Event: schemas.OrderEvent{Amount: &schemas.Amount{Value: value, Currency: country}, Fields: map[string]string{"any": value}},
		}
		values, _ := p.Apply(tr)
		if len(values) > 0 && !strings.Contains(as, "default") && (values[0].Value == "" || mapping.Lookup(tr, from) == "") {
			t.Fatalf("%q of %q by %q gave %q", from, value, as, values[0].Value)
		}
	})
}
