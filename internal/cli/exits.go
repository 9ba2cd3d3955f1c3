package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// exit is one way in which a command ends.
type exit struct {
	code int
	when string
}

// commonExits hold for every command, where exits does not say otherwise for one.
var commonExits = []exit{
	{ExitOK, "done"},
	{ExitFailed, "it failed; the last line of the errors says why and what to do"},
	{ExitUsage, "a command, flag or argument is wrong"},
	{ExitConfig, "the configuration is refused; each problem has its file and line"},
	{ExitStopped, "a second Ctrl-C ended it at once"},
}

// exits are those of single commands, by the path without the program's name.
var exits = map[string][]exit{
	"apply":              {{ExitOK, "every partition follows the version"}, {ExitFailed, "not all do yet, or one cannot"}},
	"audit":              {{ExitOK, "all agrees"}, {ExitFailed, "it could not be found out"}, {ExitDisagree, "something is missing or doubled"}},
	"catalogue":          {{ExitOK, "shown"}, {ExitFailed, "it could not be read, and nothing is known of before; with `--refresh` also where it is older than asked for"}},
	"check":              {{ExitOK, "nothing found"}, {ExitFindings, "findings"}, {ExitRefused, "the configuration is refused"}},
	"connections check":  {{ExitOK, "all is well"}, {ExitFailed, "something is bad"}},
	"deliveries settle":  jobExits,
	"demo":               {{ExitOK, "the counts agree"}, {ExitDisagree, "something was lost or doubled"}},
	"destinations check": {{ExitOK, "all is well"}, {ExitFailed, "something is bad"}},
	"erase":              {{ExitOK, "done"}, {ExitFailed, "it failed; run again, it goes on where it stopped"}},
	"issues dismiss":     jobExits,
	"limits":             {{ExitOK, "shown"}, {ExitCannotAsk, "no process answers"}},
	"reconcile":          {{ExitOK, "all that is listed is on the log"}, {ExitFailed, "a list or the log could not be read"}, {ExitGaps, "something is missing still, or, with `--dry-run`, at all"}},
	"replay":             jobExits,
	"resume":             {{ExitOK, "the partition was stalled and recovers now; or what was paused goes on"}, {ExitFailed, "there was nothing to resume, or none of the processes has it"}, {ExitCannotAsk, "no process answers"}},
	"retry":              jobExits,
	"status":             {{ExitOK, "everything runs"}, {ExitNotRunning, "a partition or a part does not run, or nobody has a partition"}, {ExitCannotAsk, "a process does not answer, and the others show nothing wrong"}},
	"test":               {{ExitOK, "all scenarios hold"}, {ExitFailed, "some do not"}, {ExitUsage, "a file could not be understood"}},
	"verify":             {{ExitOK, "all contacts are as meant"}, {ExitFailed, "not all could be compared"}, {ExitDisagree, "some differ or are absent"}},
}

var jobExits = []exit{
	{ExitOK, "done, or on its way"},
	{ExitFailed, "the job failed, or with `--wait` some of its items"},
	{ExitUsage, "a flag is wrong, or there is no terminal to ask on and `--yes` is missing"},
}

// exitsOf are all ways in which c ends, in the order of their codes.
func exitsOf(c *cobra.Command) []exit {
	own := exits[pathOf(c)]
	var all []exit
	for code := range ExitStopped + 1 {
		found := false
		for _, e := range own {
			if e.code == code {
				all, found = append(all, e), true
			}
		}
		for _, e := range commonExits {
			if e.code == code && !found {
				all = append(all, e)
			}
		}
	}
	return all
}

// pathOf is a command's path without the program's name.
func pathOf(c *cobra.Command) string {
	return strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), c.Root().Name()), " ")
}
