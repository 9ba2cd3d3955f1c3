package cli

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/access"
)

func (p Process) auditLogCommand() *cobra.Command {
	var a keysAsked
	var q access.TrailQuery
	var since, until string
	c := &cobra.Command{
		Use:   "audit-log [--who NAME] [--action TEXT] [--outcome done|refused|failed] [--since T] ...",
		Short: "Show who changed, exported or unmasked what, the newest first",
		Long: `Each request to a management port that may change something leaves one record, refused ones too, and so do sign-ins, exports
and whoever asks for people unmasked. Records hold no secret and people only masked; nothing removes one before two years.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) (err error) {
			for _, f := range []struct {
				flag, text string
				at         *time.Time
			}{{"--since", since, &q.Since}, {"--until", until, &q.Until}} {
				if f.text == "" {
					continue
				}
				if *f.at, err = time.Parse(time.RFC3339, f.text); err != nil {
					return &codedError{ExitUsage, fmt.Errorf("%s %q: write it like 2026-11-01T12:00:00Z", f.flag, f.text)}
				}
			}
			return p.withKeys(c.Context(), a.target, func(k *app.Keys) error {
				found, next, err := k.Trail.Find(c.Context(), q)
				if err != nil {
					return err
				}
				if a.json {
					return json.NewEncoder(c.OutOrStdout()).Encode(api.NewAuditList(found, next))
				}
				w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "AT\tWHO\tFROM\tACTION\tSUBJECT\tOUTCOME")
				for _, e := range found {
					outcome := e.Outcome
					if e.Detail != "" {
						outcome += ": " + e.Detail
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", instant(e.At), dash(harmless(e.Who)), dash(e.Address), harmless(e.Action), harmless(e.Subject), harmless(outcome))
				}
				if err := w.Flush(); err != nil {
					return err
				}
				if next > 0 {
					fmt.Fprintf(c.ErrOrStderr(), "there are more: --after %d\n", next)
				}
				return nil
			})
		},
	}
	a.flags(c)
	f := c.Flags()
	f.StringVar(&q.Who, "who", "", "only of this user or token")
	f.StringVar(&q.Action, "action", "", "only where the action has this text")
	f.StringVar(&q.Text, "text", "", "only where the subject, or what was changed, has this text")
	f.StringVar(&q.Outcome, "outcome", "", "only done, refused or failed")
	f.StringVar(&since, "since", "", "RFC 3339")
	f.StringVar(&until, "until", "", "RFC 3339")
	f.IntVar(&q.Limit, "rows", access.TrailPageDefault, fmt.Sprintf("rows at the most, up to %d", access.TrailPageMax))
	f.Int64Var(&q.After, "after", 0, "go on after the page before")
	return c
}
