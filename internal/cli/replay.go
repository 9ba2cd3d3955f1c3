package cli

import (
	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/pipeline/jobs"
	"github.com/tillstream/tillstream/schemas"
)

func (p Process) replayCommand() *cobra.Command {
	var a wanted
	c := &cobra.Command{
		Use:   "replay [--contact C] [--order O] [--connection C] [--destination D] [--since T] [--until T] [--effects] | --all",
		Short: "Send contacts to the CRM again, as they should look now; effects only with --effects",
		Long: `Finds the commands that the flags choose, and has the newest state of each contact among them sent again, once for each
destination, made by the configuration in force. No message is sent and no automation started, unless --effects is said: then the
effects among those commands happen again, as new ones that are marked as a replay.

It counts first, shows some, and asks on a terminal; elsewhere it needs --yes. Exit codes are those of 'tillstream retry'.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return p.ask(c, a, schemas.JobReplay) },
	}
	a.flags(c, jobs.FilterIssue, jobs.FilterCause, jobs.FilterStage, jobs.FilterText)
	c.Flags().BoolVar(&a.effects, "effects", false, "messages, automations and events, too: they happen again")
	return c
}
