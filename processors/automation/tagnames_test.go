package automation_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/tags"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

// narrow is a CRM that keeps letters, digits and underscores only.
func narrow(tag string) string {
	name := strings.Map(func(r rune) rune {
		if r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(tag))
	return name
}

func TestTagsThatADestinationCannotTellApart(t *testing.T) {
	files := automation.Files{
		Mappings: map[string]automation.MappingFile{"orders": {Destination: "gr", Tags: automation.TagOptions{
			Add: []string{"big-spender"}, Rules: []tags.Conditional{{If: "order.amount > 100", Add: []string{"bigspender", "plan-{{ order.id }}"}}, {Remove: []string{"日本"}}},
		}}},
		Workflows: map[string]workflows.File{"vip": {
			Destination: "gr", Start: []workflows.FileStart{{On: "order-placed"}}, Steps: []workflows.FileStep{{AddTags: []string{"Big Spender"}}},
		}},
	}
	_, problems := automation.CompileAll(files, automation.Known{TagName: map[string]func(string) string{"gr": narrow}})
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprintf("%s/%s %s: %s", p.Folder, p.File, p.Field, p.Message))
	}
	want := []string{
		`mappings/orders tags.add[0]: "Big Spender" and "big-spender" are one tag at gr, "bigspender"`,
		`mappings/orders tags.rules[0].add[0]: "Big Spender" and "bigspender" are one tag at gr, "bigspender"`,
		`mappings/orders tags.rules[1].remove[0]: gr can keep no tag "日本"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if _, problems := automation.CompileAll(files, automation.Known{}); len(problems) > 0 {
		t.Errorf("at a CRM that keeps names as they are: %v", problems)
	}
}

func TestTagRulesSeeTheOrderAndTheContact(t *testing.T) {
	file := checkout()
	file.Tags.Rules = []tags.Conditional{
		{If: `order.amount >= 10`, Add: []string{"large", "{{ order.currency | lower }}"}},
		{If: `"large" in contact.tags`, Add: []string{"large-again"}},
		{If: `order.status == "REFUNDED"`, Remove: []string{"large"}},
	}
	r := rules(t, map[string]automation.MappingFile{"orders": file})
	tagsOf := func(list ...*schemas.Transition) []string {
		commands, err := apply(t, r, list...)
		if err != nil || len(commands) == 0 {
			t.Fatal(commands, err)
		}
		var own []string
		for _, tag := range commands[0].Contact.Tags {
			if !strings.HasPrefix(tag, "paypal-integration") {
				own = append(own, tag)
			}
		}
		return own
	}
	if diff := cmp.Diff([]string{"eur", "large"}, tagsOf(transition(1, schemas.StatusPaid))); diff != "" {
		t.Errorf("first order (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"eur", "large-again"}, tagsOf(transition(1, schemas.StatusPaid), transition(2, schemas.StatusRefunded))); diff != "" {
		t.Errorf("after the refund (-want +got):\n%s", diff)
	}
}
