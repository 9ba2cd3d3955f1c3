package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/access"
)

func (p Process) tokensCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "tokens",
		Short: "List, make and revoke tokens with which programs and this command line ask a process",
		Long: `A token stands for a program, with a role of its own. It is shown once, when it is made, and only its hash is kept. Commands
that ask a process send the token of ` + TokenEnv + ` or --token.`,
	}
	c.AddCommand(p.tokenListCommand(), p.tokenAddCommand(), p.tokenRevokeCommand())
	return group(c)
}

func (p Process) tokenListCommand() *cobra.Command {
	var a keysAsked
	c := &cobra.Command{
		Use: "list", Short: "List the tokens, the newest first", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withKeys(c.Context(), a.target, func(k *app.Keys) error {
				list := k.Store.Tokens()
				if a.json {
					return json.NewEncoder(c.OutOrStdout()).Encode(api.TokenList{Items: list})
				}
				if len(list) == 0 {
					fmt.Fprintln(c.OutOrStdout(), "there is no token")
					return nil
				}
				w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "ID\tFOR\tROLE\tMADE\tBY\tEXPIRES\tLAST USED")
				for _, t := range list {
					expires := "never"
					switch {
					case t.Expired:
						expires = "expired"
					case !t.ExpiresAt.IsZero():
						expires = instant(t.ExpiresAt)
					}
					used := "never"
					if !t.UsedAt.IsZero() {
						used = instant(t.UsedAt)
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, harmless(t.Name), t.Role, instant(t.MadeAt), harmless(t.MadeBy), expires, used)
				}
				return w.Flush()
			})
		},
	}
	a.flags(c)
	return c
}

func (p Process) tokenAddCommand() *cobra.Command {
	var a keysAsked
	var role string
	var lasts time.Duration
	c := &cobra.Command{
		Use: "add PURPOSE --role ROLE", Short: "Make a token; it is shown this once", Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if lasts < 0 {
				return &codedError{ExitUsage, errors.New("--expires-in: write a duration such as 720h, or 0 for never")}
			}
			var expires time.Time
			if lasts > 0 {
				expires = p.Now().Add(lasts)
			}
			var made api.MadeToken
			err := p.changeKeys(c.Context(), a.target, "tokens add", args[0], func(k *app.Keys) (err error) {
				made.Secret, made.Token, err = k.Store.AddToken(c.Context(), args[0], access.Role(role), expires, p.user())
				return err
			})
			return p.tell(c, a.json, err, made, fmt.Sprintf("%s\nThis is the only time that the token is shown. Give it to commands as %s.\n", made.Secret, TokenEnv))
		},
	}
	a.flags(c)
	c.Flags().StringVar(&role, "role", string(access.Viewer), "viewer, operator or admin")
	c.Flags().DurationVar(&lasts, "expires-in", access.TokenDefault, "how long it holds; 0: until it is revoked")
	return c
}

func (p Process) tokenRevokeCommand() *cobra.Command {
	var a keysAsked
	c := &cobra.Command{
		Use: "revoke ID", Short: "Revoke a token", Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			var was access.Token
			err := p.changeKeys(c.Context(), a.target, "tokens revoke", args[0], func(k *app.Keys) (err error) {
				was, err = k.Store.RevokeToken(c.Context(), args[0])
				return err
			})
			return p.tell(c, a.json, err, was, "The token "+args[0]+" is refused from now on.\n")
		},
	}
	a.flags(c)
	return c
}
