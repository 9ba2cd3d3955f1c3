package cli

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/access"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/schemas"
)

// keysAsked is where users and tokens are, and how a command about them answers.
type keysAsked struct {
	target
	json bool
}

func (a *keysAsked) flags(c *cobra.Command) {
	c.Flags().StringVar(&a.data, "data", "data", "data folder of a running 'tillstream dev' or 'demo'")
	c.Flags().StringVar(&a.config, "config", "", "configuration folder whose Kafka to use")
	c.Flags().BoolVar(&a.json, "json", false, "one JSON object")
}

// withKeys runs f with users, tokens and the audit log.
func (p Process) withKeys(ctx context.Context, t target, f func(*app.Keys) error) error {
	at, err := p.reach(t)
	if err != nil {
		return err
	}
	keys, err := app.OpenKeys(ctx, at.kafka, at.registry, p.logger(config.Telemetry{LogLevel: "error", LogFormat: "text"}))
	if err != nil {
		return err
	}
	defer keys.Close()
	return f(keys)
}

// changeKeys runs f, which changes something, and leaves one record of it in the audit log.
func (p Process) changeKeys(ctx context.Context, t target, action, subject string, f func(*app.Keys) error) error {
	return p.withKeys(ctx, t, func(k *app.Keys) error {
		if err := k.Trail.Reachable(ctx); err != nil {
			return fmt.Errorf("nothing is changed: %w", err)
		}
		err := f(k)
		e := schemas.AuditEntry{
			ID: rand.Text(), At: p.Now().UTC().Truncate(time.Millisecond), Who: p.user(), Via: string(access.ViaLocal), Role: string(access.Admin),
			Action: "tillstream " + action, Subject: subject, Outcome: access.Done,
		}
		if err != nil {
			e.Outcome, e.Detail = access.Refused, err.Error()
		}
		k.Trail.Write(ctx, e)
		return err
	})
}

func (p Process) usersCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "users",
		Short: "List who may sign in on the page, and add, change or remove users",
		Long: `Users are kept on Kafka, so that they hold for every process. As long as there is none, whoever is on the machine itself may
do everything without signing in; the first user is an admin, and from then on everybody signs in. Roles: a viewer reads, with
people masked; an operator repairs and changes what runs; an admin manages users and tokens, too.

These commands write to Kafka by themselves: who may do that can also make an admin who forgot the password a new one.`,
	}
	c.AddCommand(p.userListCommand(), p.userAddCommand(), p.userRoleCommand(), p.userPasswordCommand(), p.userRemoveCommand())
	return group(c)
}

func (p Process) userListCommand() *cobra.Command {
	var a keysAsked
	c := &cobra.Command{
		Use: "list", Short: "List the users with their roles", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withKeys(c.Context(), a.target, func(k *app.Keys) error {
				list := k.Store.Users()
				if a.json {
					return json.NewEncoder(c.OutOrStdout()).Encode(api.UserList{Items: list})
				}
				if len(list) == 0 {
					fmt.Fprintln(c.OutOrStdout(), "there is no user: nobody has to sign in on the machine itself. 'tillstream users add NAME --role admin' makes the first")
					return nil
				}
				w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "NAME\tROLE\tSIGNED IN\tADDED\tBY")
				for _, u := range list {
					fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", harmless(u.Name), u.Role, u.Sessions, instant(u.MadeAt), harmless(u.MadeBy))
				}
				return w.Flush()
			})
		},
	}
	a.flags(c)
	return c
}

// password asks for a new password twice at a terminal, else reads the first line of standard input.
func (p Process) password(c *cobra.Command, name string) (string, error) {
	in := p.terminal()
	if in == nil {
		text, err := readLine(bufio.NewReader(io.LimitReader(c.InOrStdin(), access.PasswordBytesMax+2)))
		if err != nil || text == "" {
			return "", &codedError{ExitUsage, errors.New("the password is read from standard input, one line, or typed at a terminal; nothing is changed")}
		}
		return text, access.CheckPassword(name, text)
	}
	d := &dialogue{in: in, out: c.ErrOrStderr(), lines: bufio.NewReader(in)}
	text, err := d.secret(fmt.Sprintf("Password of %s, %d characters or more", name, access.PasswordBytesMin))
	if err != nil {
		return "", err
	}
	if err := access.CheckPassword(name, text); err != nil {
		return "", err
	}
	again, err := d.secret("Again")
	if err == nil && again != text {
		err = errors.New("the two are not the same; nothing is changed")
	}
	return text, err
}

func (p Process) userAddCommand() *cobra.Command {
	var a keysAsked
	var role string
	c := &cobra.Command{
		Use: "add NAME --role ROLE", Short: "Add a user; the password is typed, or the first line of standard input", Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			password, err := p.password(c, args[0])
			if err != nil {
				return err
			}
			var made access.User
			err = p.changeKeys(c.Context(), a.target, "users add", args[0], func(k *app.Keys) (err error) {
				if err = k.Store.AddUser(c.Context(), args[0], access.Role(role), password, p.user()); err == nil {
					made, err = k.Store.User(args[0])
				}
				return err
			})
			return p.tell(c, a.json, err, made, fmt.Sprintf("%s may sign in as %s. It holds in every process within two seconds.\n", args[0], role))
		},
	}
	a.flags(c)
	c.Flags().StringVar(&role, "role", string(access.Viewer), "viewer, operator or admin; the first user is an admin")
	return c
}

// tell says what was done.
func (p Process) tell(c *cobra.Command, asJSON bool, err error, made any, text string) error {
	switch {
	case err != nil:
		return err
	case asJSON:
		return json.NewEncoder(c.OutOrStdout()).Encode(made)
	}
	_, err = fmt.Fprint(c.OutOrStdout(), text)
	return err
}

func (p Process) userRoleCommand() *cobra.Command {
	var a keysAsked
	c := &cobra.Command{
		Use: "role NAME ROLE", Short: "Give a user another role: viewer, operator or admin", Args: usage(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			var now access.User
			err := p.changeKeys(c.Context(), a.target, "users role", strings.Join(args, " "), func(k *app.Keys) (err error) {
				if err = k.Store.SetRole(c.Context(), args[0], access.Role(args[1])); err == nil {
					now, err = k.Store.User(args[0])
				}
				return err
			})
			return p.tell(c, a.json, err, now, fmt.Sprintf("%s is %s from the next request on.\n", args[0], args[1]))
		},
	}
	a.flags(c)
	return c
}

func (p Process) userPasswordCommand() *cobra.Command {
	var a keysAsked
	c := &cobra.Command{
		Use: "password NAME", Short: "Give a user another password, and end the user's sessions", Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			password, err := p.password(c, args[0])
			if err != nil {
				return err
			}
			var now access.User
			err = p.changeKeys(c.Context(), a.target, "users password", args[0], func(k *app.Keys) (err error) {
				if err = k.Store.SetPassword(c.Context(), args[0], password); err == nil {
					now, err = k.Store.User(args[0])
				}
				return err
			})
			return p.tell(c, a.json, err, now, args[0]+" signs in with the new password; sessions from before have ended.\n")
		},
	}
	a.flags(c)
	return c
}

func (p Process) userRemoveCommand() *cobra.Command {
	var a keysAsked
	c := &cobra.Command{
		Use: "remove NAME", Short: "Remove a user, and end the user's sessions", Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			err := p.changeKeys(c.Context(), a.target, "users remove", args[0], func(k *app.Keys) error { return k.Store.RemoveUser(c.Context(), args[0]) })
			return p.tell(c, a.json, err, map[string]string{"removed": args[0]}, args[0]+" may sign in no more.\n")
		},
	}
	a.flags(c)
	return c
}
