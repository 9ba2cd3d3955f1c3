package mapping_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/processors/expressions"
	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/schemas"
)

// person is a contact's own values.
type person struct {
	texts map[string]string
	tags  []string
}

func (p person) Text(name string) string { return p.texts[name] }
func (p person) List(name string) []string {
	if name == "contact.tags" {
		return p.tags
	}
	return nil
}

func TestExpressionsSeeTheContact(t *testing.T) {
	p, problems := mapping.Compile(mapping.Mapping{Fields: []mapping.Rule{
		{To: "LEVEL", Expr: `contact.orders >= 3 ? "regular" : "new"`},
		{To: "VIP", From: "order.id", If: `"vip" in contact.tags && contact.fields["VIP since"] != ""`},
		{To: "POINTS", Expr: `(contact.score ?? 0) + order.amount`},
	}}, catalogue)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	tr := transition()
	known := person{map[string]string{"contact.orders": "3", "contact.fields.VIP since": "2024", "contact.score": "5"}, []string{"vip"}}
	values, issues := p.RunWith(&tr, known)
	want := []mapping.Value{{To: "LEVEL", Value: "regular"}, {To: "POINTS", Value: "15.5"}, {To: "VIP", Value: "O1"}}
	if diff := cmp.Diff(want, values); diff != "" || len(issues) > 0 {
		t.Errorf("issues %v, values (-want +got):\n%s", issues, diff)
	}
	values, issues = p.Run(&tr)
	want = []mapping.Value{{To: "LEVEL", Value: "new"}, {To: "POINTS", Value: "10.5"}}
	if diff := cmp.Diff(want, values); diff != "" || len(issues) > 0 {
		t.Errorf("without the contact: issues %v, values (-want +got):\n%s", issues, diff)
	}
}

// A provider's own field may begin as the contact's names do.
func TestAProvidersOwnFieldNamedLikeAContacts(t *testing.T) {
	tr := schemas.Transition{Event: schemas.OrderEvent{Fields: map[string]string{"contact.shop_id": "7"}}}
	p, problems := mapping.Compile(mapping.Mapping{Fields: []mapping.Rule{{To: "A", From: "contact.shop_id"}, {To: "B", Expr: "contact.shop_id"}}}, []string{"contact.shop_id"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, contact := range []expressions.Values{nil, person{}} {
		values, _ := p.RunWith(&tr, contact)
		if diff := cmp.Diff([]mapping.Value{{To: "A", Value: "7"}, {To: "B", Value: "7"}}, values); diff != "" {
			t.Errorf("contact %v (-want +got):\n%s", contact, diff)
		}
	}
}

func TestAnExpressionThatTakesTooMuchLeavesItsFieldAlone(t *testing.T) {
	p, problems := mapping.Compile(mapping.Mapping{Fields: []mapping.Rule{
		{To: "A", Expr: "text(subscription.plan_id) + text(subscription.plan_id)", Default: text("-")},
		{To: "B", From: "order.id", If: `text(subscription.plan_id) + text(subscription.plan_id) == "x"`},
		{To: "C", From: "order.id"},
	}}, catalogue)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	tr := transition()
	tr.Event.Fields = map[string]string{"subscription.plan_id": strings.Repeat("x", 60<<10)}
	values, issues := p.Run(&tr)
	if diff := cmp.Diff([]mapping.Value{{To: "A", Value: "-"}, {To: "C", Value: "O1"}}, values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	want := []mapping.Issue{{To: "A", From: "expr", Reason: "the text gets too long"}, {To: "B", From: "if", Reason: "the text gets too long"}}
	if diff := cmp.Diff(want, issues); diff != "" {
		t.Errorf("issues (-want +got):\n%s", diff)
	}
}

func TestKinds(t *testing.T) {
	p, problems := mapping.Compile(mapping.Mapping{Fields: []mapping.Rule{
		{To: "TEXT", From: "order.id"},
		{To: "NAME", From: "payer.full_name", As: "name first"},
		{To: "AMOUNT", From: "order.amount"},
		{To: "CENTS", From: "order.amount", As: "money minor"},
		{To: "DAY", From: "event.time", As: "date"},
		{To: "DAY2", From: "event.time", As: "date YYYY-MM-DD in Europe/Berlin"},
		{To: "WHEN", From: "event.time"},
		{To: "FULL", From: "event.time", As: "date full"},
		{To: "WORDS", From: "event.time", As: "date DD.MM.YYYY"},
		{To: "PHONE", From: "payer.phone", As: "phone"},
		{To: "RAW", From: "payer.phone"},
		{To: "OWN", From: "item.price"},
		{To: "PRICE", From: "item.price", As: "number 2"},
		{To: "SUM", Expr: "order.paid - order.refunded"},
		{To: "YES", Expr: "order.paid > 0"},
		{To: "LATER", Expr: `event.time + duration("7d")`},
		{To: "CONST", Default: text("x")},
		{To: "JOINED", From: "order.amount", Concat: []string{"order.currency"}},
		{To: "TABLE", From: "order.status", Table: map[string]string{"PAID": "1"}},
		{To: "DEF", From: "item.none", As: "default 5 | date"},
		{To: "TWO", From: "order.amount", If: "order.amount > 5"},
		{To: "TWO", From: "order.id", If: "order.amount <= 5"},
		{To: "SAME", From: "order.amount", If: "order.amount > 5"},
		{To: "SAME", Default: text("0"), If: "order.amount <= 5"},
		{To: "SAME2", Default: text("0"), If: "order.amount <= 5"},
		{To: "SAME2", From: "order.amount", If: "order.amount > 5"},
	}}, catalogue)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := map[string]string{
		"TEXT": "text", "NAME": "text", "AMOUNT": "number", "CENTS": "number", "DAY": "date", "DAY2": "date", "WHEN": "datetime", "FULL": "datetime", "WORDS": "text", "PHONE": "phone", "RAW": "text",
		"OWN": "any", "PRICE": "number", "SUM": "number", "YES": "text", "LATER": "datetime", "CONST": "text", "JOINED": "text", "TABLE": "any", "DEF": "date", "TWO": "any", "SAME": "number", "SAME2": "number",
	}
	if diff := cmp.Diff(want, p.Kinds()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The catalogue is what the rest goes by: every source has a label, and a sample of its kind.
func TestCatalogue(t *testing.T) {
	kinds := mapping.CatalogueFor([]string{"item.price", "data.*"})
	seen := map[string]bool{}
	for _, e := range mapping.Catalogue() {
		if seen[e.Name] || e.Label == "" || e.Sample == "" {
			t.Errorf("%s is there twice, or lacks label or sample: %+v", e.Name, e)
		}
		seen[e.Name] = true
		if kind, ok := kinds.Kind(strings.Replace(e.Name, "*", "x", 1)); !ok || kind != e.Kind {
			t.Errorf("%s: expressions know %v, %v, the catalogue says %v", e.Name, kind, ok, e.Kind)
		}
		if inRules := slices.Contains(mapping.Sources(), e.Name); inRules == e.Condition {
			t.Errorf("%s: for conditions only is %v, in the sources of rules is %v", e.Name, e.Condition, inRules)
		}
		function := map[expressions.Kind]string{expressions.Number: "number", expressions.Time: "date"}[e.Kind]
		chain, err := expressions.ParseChain(function, nil)
		if err != nil {
			t.Fatal(err)
		}
		if value, reason := chain.Run(e.Sample, person{}); value == "" || reason != "" {
			t.Errorf("%s: its sample %q is not %s: %s", e.Name, e.Sample, e.Kind, reason)
		}
	}
	for _, name := range []string{"item.price", "data.colour", "contact.fields.VIP"} {
		if kind, ok := kinds.Kind(name); !ok || kind != expressions.Any {
			t.Errorf("%s: got %v, %v", name, kind, ok)
		}
	}
	if _, ok := kinds.Kind("data."); ok {
		t.Error("data. is known, and names nothing")
	}
}
