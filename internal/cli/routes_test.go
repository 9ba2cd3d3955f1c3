package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
)

// TestRoutesHaveCommands: what can be done over HTTP can be done in a shell. A route names its command, with the flag that it
// takes there, or says why it has none; what it names is in the tree.
func TestRoutesHaveCommands(t *testing.T) {
	_, root := program()
	for _, r := range api.Routes() {
		if said := wrongCommand(root, r); said != "" {
			t.Errorf("%s %s: %s", r.Method, r.Path, said)
		}
	}
}

// A renamed command, a flag that is gone, a reason beside a command and neither of both are seen.
func TestRoutesWithWrongCommandsAreSeen(t *testing.T) {
	_, root := program()
	for want, r := range map[string]api.Route{
		"":                                  {CLI: "tillstream erase --list"},
		"it names no command and no reason": {},
		"it names a command, and a reason why there is none": {CLI: "tillstream status", NoCLI: "because"},
		"tillstream wait is no command":                      {CLI: "tillstream wait"},
		"tillstream jobs shows is no command":                {CLI: "tillstream jobs shows"},
		"tillstream jobs only holds commands":                {CLI: "tillstream jobs"},
		"tillstream erase has no flag --listing":             {CLI: "tillstream erase --listing"},
	} {
		if got := wrongCommand(root, r); got != want {
			t.Errorf("%+v: got %q, want %q", r, got, want)
		}
	}
}

// wrongCommand says what is wrong with the command that a route names.
func wrongCommand(root *cobra.Command, r api.Route) string {
	switch {
	case r.CLI == "" && r.NoCLI == "":
		return "it names no command and no reason"
	case r.CLI != "" && r.NoCLI != "":
		return "it names a command, and a reason why there is none"
	case r.CLI == "":
		return ""
	}
	path, flags, _ := strings.Cut(r.CLI, " --")
	words := strings.Fields(path)
	c, rest, err := root.Find(words[1:])
	switch {
	case words[0] != root.Name() || err != nil || len(rest) > 0 || c == root || c.Hidden:
		return path + " is no command"
	case onlyHolds(c):
		return path + " only holds commands"
	}
	for flag := range strings.SplitSeq(flags, " --") {
		if flag != "" && c.Flag(flag) == nil {
			return path + " has no flag --" + flag
		}
	}
	return ""
}
