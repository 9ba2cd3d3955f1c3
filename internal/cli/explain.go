package cli

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/internal/explain"
)

func (p Process) explainCommand() *cobra.Command {
	var t target
	var asJSON, personal bool
	c := &cobra.Command{
		Use:   "explain ORDER|CONTACT",
		Short: "Say in plain sentences why an order or a contact stands as it does",
		Long: `Tells what happened to an order or a contact, why each tag is there or was taken away, why a message was or was not sent, which rule
in which version did it, what is waited for, what would end that and when, and what the CRM answered. The id is that of an order,
subscription or payment, of a run or a wait, an e-mail address, or a contact key such as live/ann@example.com.
Addresses are masked unless --show-personal-data is said.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return p.withDesk(c.Context(), t, func(d *explain.Desk) error {
				e, err := d.Of(c.Context(), "", args[0], personal)
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(c.OutOrStdout()).Encode(e)
				}
				explain.Print(c.OutOrStdout(), e)
				return nil
			})
		},
	}
	t.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	c.Flags().BoolVar(&personal, "show-personal-data", false, "addresses unmasked")
	return c
}
