package tags_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/processors/expressions"
	"github.com/tillstream/tillstream/processors/tags"
)

type values map[string]string

func (v values) Text(name string) string { return v[name] }
func (v values) List(name string) []string {
	if v[name] == "" {
		return nil
	}
	return strings.Split(v[name], ",")
}

var catalogue = expressions.Catalogue{
	"order.amount": expressions.Number, "order.currency": expressions.Text, "contact.tags": expressions.List,
	"subscription.plan_id": expressions.Any, "event.time": expressions.Time,
}

func TestRules(t *testing.T) {
	for name, c := range map[string]struct {
		rules []tags.Conditional
		with  values
		want  tags.Changes
	}{
		"none": {},
		"always": {
			rules: []tags.Conditional{{Add: []string{"b", "a"}, Remove: []string{"c"}}},
			want:  tags.Changes{Add: []string{"a", "b"}, Remove: []string{"c"}},
		},
		"a condition that holds": {
			rules: []tags.Conditional{{If: "order.amount > 100", Add: []string{"big"}, Remove: []string{"small"}}},
			with:  values{"order.amount": "100.01"},
			want:  tags.Changes{Add: []string{"big"}, Remove: []string{"small"}},
		},
		"one that does not": {
			rules: []tags.Conditional{{If: "order.amount > 100", Add: []string{"big"}}},
			with:  values{"order.amount": "100.00"},
		},
		"of an amount that is not there": {rules: []tags.Conditional{{If: "order.amount > 100", Add: []string{"big"}}}},
		"the last word counts": {
			rules: []tags.Conditional{{Add: []string{"new", "x"}}, {If: `"vip" in contact.tags`, Remove: []string{"new"}}},
			with:  values{"contact.tags": "vip,old"},
			want:  tags.Changes{Add: []string{"x"}, Remove: []string{"new"}},
		},
		"a tag with a value in it": {
			rules: []tags.Conditional{{Add: []string{"plan-{{ subscription.plan_id | lower }}"}}},
			with:  values{"subscription.plan_id": "P-1"},
			want:  tags.Changes{Add: []string{"plan-p-1"}},
		},
		"a value that is not there makes no tag": {
			rules: []tags.Conditional{{Add: []string{"plan-{{ subscription.plan_id }}", "x"}}},
			want:  tags.Changes{Add: []string{"x"}, Issues: []string{"tag plan-{{ subscription.plan_id }}: the event lacks a value of it"}},
		},
		"unless it has a default": {
			rules: []tags.Conditional{{Add: []string{`plan-{{ subscription.plan_id | default "none" }}`}}},
			want:  tags.Changes{Add: []string{"plan-none"}},
		},
		"a value that is no use": {
			rules: []tags.Conditional{{Add: []string{"on-{{ subscription.plan_id | date }}"}}},
			with:  values{"subscription.plan_id": "soon"},
			want:  tags.Changes{Issues: []string{"tag on-{{ subscription.plan_id | date }}: subscription.plan_id: the value is no time"}},
		},
		"a value is tidied": {
			rules: []tags.Conditional{{Add: []string{"plan {{ subscription.plan_id }}"}}},
			with:  values{"subscription.plan_id": " a\n\tb  c\x00 "},
			want:  tags.Changes{Add: []string{"plan a b c"}},
		},
		"a value that is too long": {
			rules: []tags.Conditional{{Add: []string{"{{ subscription.plan_id }}"}}},
			with:  values{"subscription.plan_id": strings.Repeat("ä", tags.TagCharsMax+1)},
			want:  tags.Changes{Issues: []string{"tag {{ subscription.plan_id }}: a tag must not have more than 255 characters"}},
		},
	} {
		p, problems := tags.Compile(c.rules, catalogue)
		if len(problems) > 0 {
			t.Errorf("%s: problems %v", name, problems)
			continue
		}
		if diff := cmp.Diff(c.want, p.Run(c.with)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	var none *tags.Program
	if got := none.Run(values{}); got.Add != nil || got.Remove != nil || none.Sources() != nil || none.Constants() != nil {
		t.Errorf("no program gave %+v", got)
	}
}

func TestRuleProblems(t *testing.T) {
	many := make([]string, tags.PerRuleMax+1)
	for i := range many {
		many[i] = fmt.Sprint("t", i)
	}
	for _, c := range []struct {
		rules []tags.Conditional
		want  string
	}{
		{[]tags.Conditional{{}}, `rules[0]: the rule neither adds nor removes a tag; give add or remove`},
		{[]tags.Conditional{{Add: []string{"a"}}, {If: "order.amout > 1", Add: []string{"x"}}}, `rules[1].if: column 1: order.amout is no known name; did you mean order.amount?`},
		{[]tags.Conditional{{Add: []string{"a", " "}}}, `rules[0].add[1]: a tag must not be empty; remove the line`},
		{[]tags.Conditional{{Remove: []string{"plan-{{ subscription.plan }}"}}}, `rules[0].remove[0]: column 6: subscription.plan is no known name; did you mean subscription.plan_id?`},
		{[]tags.Conditional{{Add: []string{"plan-{{ x"}}}, `rules[0].add[0]: column 6: the {{ is not closed; write }} behind it`},
		{[]tags.Conditional{{Add: []string{"VIP"}, Remove: []string{"vip "}}}, `rules[0].remove[0]: "vip " is added and removed; keep one of the two`},
		{[]tags.Conditional{{Add: []string{"a"}}, {Remove: []string{"A"}}}, `rules[1].remove[0]: rules[0] always adds "A"; give one of the two a condition, or remove it`},
		{[]tags.Conditional{{Remove: []string{"a"}}, {Add: []string{"a"}}}, `rules[1].add[0]: rules[0] always removes "a"; give one of the two a condition, or remove it`},
		{[]tags.Conditional{{Add: many}}, `rules[0].add: 51 tags are more than the 50 that one rule may have; split the rule into two`},
		{make([]tags.Conditional, tags.RulesMax+1), `rules: 201 rules are more than the 200 that one mapping may have; split the mapping into two`},
	} {
		p, problems := tags.Compile(c.rules, catalogue)
		if p != nil || len(problems) != 1 {
			t.Errorf("want %s, got program %v and problems %v", c.want, p, problems)
			continue
		}
		if got := fmt.Sprintf("%s: %s; %s", problems[0].Field, problems[0].Message, problems[0].Hint); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	if _, problems := tags.Compile([]tags.Conditional{{Add: []string{"a"}}, {If: "order.amount > 5", Remove: []string{"a"}}}, catalogue); len(problems) > 0 {
		t.Errorf("a rule with a condition may take away: %v", problems)
	}
}

func TestWhatRulesRead(t *testing.T) {
	p, problems := tags.Compile([]tags.Conditional{
		{If: `"x" in contact.tags`, Add: []string{"a", "{{ order.amount | money }}"}},
		{Remove: []string{"b", "a "}},
	}, catalogue)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if got, want := p.Sources(), []string{"contact.tags", "event.provider", "order.amount", "order.currency"}; !slices.Equal(got, want) {
		t.Errorf("sources %q, want %q", got, want)
	}
	if got, want := p.Constants(), []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("constants %q, want %q", got, want)
	}
}

func TestCollisions(t *testing.T) {
	narrow := func(tag string) (string, error) {
		name := strings.NewReplacer("-", "_", " ", "_", ".", "_").Replace(tag)
		if strings.Trim(name, "_") == "" {
			return "", errors.New("nothing is left of it")
		}
		return name, nil
	}
	collisions, unusable := tags.Collisions([]string{"plan-a", "Plan.A", "plan a", "vip", "VIP", "other", "..."}, narrow)
	if diff := cmp.Diff([]tags.Collision{{As: "Plan_A", Tags: []string{"Plan.A", "plan a", "plan-a"}}}, collisions); diff != "" {
		t.Errorf("collisions (-want +got):\n%s", diff)
	}
	if len(unusable) != 1 || unusable["..."] == nil {
		t.Errorf("unusable %v, want ... alone", unusable)
	}
}

func TestCleanIsDoneOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		tag, err := tags.Clean(text)
		if err != nil {
			return
		}
		if again, err := tags.Clean(tag); err != nil || again != tag {
			t.Fatalf("%q cleans to %q, and that to %q, %v", text, tag, again, err)
		}
		if strings.TrimSpace(tag) != tag || strings.ContainsAny(tag, "\n\t\r\x00") || strings.Contains(tag, "  ") {
			t.Fatalf("%q cleans to %q", text, tag)
		}
	})
}
