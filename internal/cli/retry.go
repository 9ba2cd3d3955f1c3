package cli

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/schemas"
)

func (p Process) retryCommand() *cobra.Command {
	var a wanted
	c := &cobra.Command{
		Use:   "retry [--cause C] [--issue KEY] [--destination D] ... | --uncertain | --all",
		Short: "Have dead letters that a filter finds tried again: all of them, as a job, each once",
		Long: `Counts the dead letters that the flags choose, shows some, and asks on a terminal; elsewhere it needs --yes. Then a job has all of
them tried again, each once, however often it is asked: what fails again is a new letter. A refused state of a contact is sent as it
would be now; an event that was not understood is read by the connector of today; a row that ClickHouse refused is stored again.
Letters that are QUARANTINED are let through only with --cause quarantined, or by --item.

With --uncertain it is about effects of which nobody knows whether they happened, and that did not: look at the CRM before. One that
did happen is noted by 'tillstream deliveries settle'.

Exit codes: 0 done, or on its way; 1 the job failed, or with --wait items of it; 2 a flag is wrong.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return p.ask(c, a, schemas.JobRetry) },
	}
	a.flags(c)
	c.Flags().BoolVar(&a.uncertain, "uncertain", false, "effects that are uncertain and did not happen, instead of dead letters")
	return c
}

// agreedTo asks on a terminal.
func (p Process) agreedTo(c *cobra.Command, question string, yes bool) error {
	if yes {
		return nil
	}
	in := p.terminal()
	if in == nil {
		return &codedError{ExitUsage, errors.New("nothing is changed: there is no terminal to ask on; say --yes")}
	}
	fmt.Fprintf(c.ErrOrStderr(), "%s [y/N] ", question)
	answer, err := readLine(bufio.NewReader(in))
	if err != nil || answer != "y" && answer != "yes" {
		return errors.Join(err, errors.New("nothing is changed"))
	}
	return nil
}
