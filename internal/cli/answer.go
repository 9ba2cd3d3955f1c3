package cli

import (
	"encoding/json"
	"io"

	"github.com/spf13/cobra"
)

// answering is how a command that changes something tells what it did: to people line by line as it goes on, or to programs as one
// JSON object at the end, with what is for people on the standard error.
type answering struct{ json bool }

func (a *answering) flag(c *cobra.Command) {
	c.Flags().BoolVar(&a.json, "json", false, "one JSON object on standard output; what is for people goes to standard error")
}

// people is where text for people goes.
func (a *answering) people(c *cobra.Command) io.Writer {
	if a.json {
		return c.ErrOrStderr()
	}
	return c.OutOrStdout()
}

// end tells what was done: v to programs, print to people.
func (a *answering) end(c *cobra.Command, v any, print func(io.Writer)) error {
	if !a.json {
		print(c.OutOrStdout())
		return nil
	}
	enc := json.NewEncoder(c.OutOrStdout())
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
