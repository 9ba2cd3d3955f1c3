package manage

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/config"
)

// What happened to a thing between two configurations, and from when on it counts.
const (
	Added   = "added"
	Changed = "changed"
	Removed = "removed"

	countsOnApply   = "on_apply"
	countsAtOnce    = "at_once"
	countsNextStart = "next_start"
)

const settingsKind = "settings"

// kinds are the words of a plan for the folders, in the order in which a plan tells them.
var kinds = []struct{ folder, word, counts string }{
	{settingsKind, settingsKind, countsNextStart},
	{config.ConnectionsFolder, "connection", countsAtOnce},
	{"destinations", "destination", countsNextStart},
	{app.MappingsFolder, "mapping", countsOnApply},
	{app.WorkflowsFolder, "workflow", countsOnApply},
}

// Plan tells what differs between two configurations, each as texts by path. It does not look at whether they are good.
func Plan(was, is map[string]string) ([]api.ConfigChange, []api.ConfigFileDiff) {
	changes, files := []api.ConfigChange{}, []api.ConfigFileDiff{}
	all := maps.Clone(was)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, is)
	for _, file := range slices.Sorted(maps.Keys(all)) {
		before, had := was[file]
		after, has := is[file]
		if had && has && before == after {
			continue
		}
		action, a, b := Changed, &before, &after
		switch {
		case !had:
			action, a = Added, nil
		case !has:
			action, b = Removed, nil
		}
		files = append(files, api.ConfigFileDiff{Path: file, Action: action, Diff: unified(file, a, b)})
		changes = append(changes, changesOf(file, action, before, after)...)
	}
	order := func(kind string) int {
		if kind == "rule" {
			kind = "mapping"
		}
		for i, k := range kinds {
			if k.word == kind {
				return i
			}
		}
		return len(kinds)
	}
	sort.SliceStable(changes, func(i, j int) bool {
		a, b := changes[i], changes[j]
		return cmp.Or(cmp.Compare(order(a.Kind), order(b.Kind)), strings.Compare(a.File, b.File)) < 0
	})
	return changes, files
}

// changesOf tells of one file that differs: of what it configures, and of a mapping's rules one by one.
func changesOf(file, action, before, after string) []api.ConfigChange {
	folder, base, inFolder := strings.Cut(file, "/")
	if !inFolder {
		folder, base = settingsKind, file
	}
	name := strings.TrimSuffix(strings.TrimSuffix(base, ".yaml"), ".yml")
	c := api.ConfigChange{Action: action, Kind: folder, Name: name, File: file, Counts: countsNextStart}
	for _, k := range kinds {
		if k.folder == folder {
			c.Kind, c.Counts = k.word, k.counts
		}
	}
	was, is := document(before), document(after)
	var rules []api.ConfigChange
	if folder == app.MappingsFolder {
		rules = rulesOf(c, was, is)
	}
	if action == Changed {
		if folder == app.MappingsFolder {
			delete(was, "fields")
			delete(is, "fields")
		}
		c.Fields = fieldsOf(was, is)
	}
	return append([]api.ConfigChange{c}, rules...)
}

// document is what a text says; nothing where it cannot be read.
func document(text string) map[string]any {
	var m map[string]any
	if yaml.Unmarshal([]byte(text), &m) != nil {
		return map[string]any{}
	}
	return m
}

// rulesOf tells of a mapping's rules, by the field that each fills.
func rulesOf(c api.ConfigChange, was, is map[string]any) (out []api.ConfigChange) {
	before, _ := byField(was)
	after, order := byField(is)
	_, old := byField(was)
	for _, to := range append(order, slices.DeleteFunc(old, func(to string) bool { _, still := after[to]; return still })...) {
		rule := api.ConfigChange{Kind: "rule", Name: c.Name + "/" + to, File: c.File, Counts: c.Counts}
		a, had := before[to]
		b, has := after[to]
		switch {
		case !had:
			rule.Action = Added
		case !has:
			rule.Action = Removed
		case !reflect.DeepEqual(a, b):
			rule.Action = Changed
		default:
			continue
		}
		rule.Fields = fieldsOf(a, b)
		out = append(out, rule)
	}
	return out
}

// byField are the rules by their field; of several for one, each has a number.
func byField(m map[string]any) (rules map[string]map[string]any, order []string) {
	rules = map[string]map[string]any{}
	list, _ := m["fields"].([]any)
	for _, x := range list {
		rule, ok := x.(map[string]any)
		if !ok {
			continue
		}
		to := fmt.Sprint(rule["to"])
		name := to
		for n := 2; rules[name] != nil; n++ {
			name = fmt.Sprintf("%s#%d", to, n)
		}
		rules[name] = rule
		order = append(order, name)
	}
	return rules, order
}

// fieldsOf are the keys in which two documents differ, at the innermost mapping.
func fieldsOf(was, is map[string]any) (out []api.ConfigFieldChange) {
	var walk func(at string, a, b any)
	walk = func(at string, a, b any) {
		if reflect.DeepEqual(a, b) {
			return
		}
		x, isMap := a.(map[string]any)
		y, too := b.(map[string]any)
		if !isMap || !too {
			out = append(out, api.ConfigFieldChange{Field: at, Was: a, Is: b})
			return
		}
		keys := maps.Clone(x)
		maps.Copy(keys, y)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			walk(strings.TrimPrefix(at+"."+k, "."), x[k], y[k])
		}
	}
	if was == nil {
		was = map[string]any{}
	}
	if is == nil {
		is = map[string]any{}
	}
	walk("", was, is)
	return out
}
