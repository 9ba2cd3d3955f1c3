package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/internal/manage"
	"github.com/tillstream/tillstream/pipeline/config"
)

// managing makes the office of a process.
func (p Process) managing(dir string, getenv func(string) (string, bool), alone func(func() error) error) func(app.Managed) api.Managing {
	return func(m app.Managed) api.Managing {
		o := p.office(dir, getenv)
		o.Versions, o.Runs, o.Background, o.Append, o.Alone = m.Versions, m.Runs, m.Background, m.Append, alone
		o.Log = p.logger(config.Telemetry{LogLevel: "info", LogFormat: "json"})
		return o
	}
}

// office is where a folder of configuration is managed.
func (p Process) office(dir string, getenv func(string) (string, bool)) *manage.Office {
	o := &manage.Office{
		Folder: &config.Folder{Dir: dir, Kinds: app.Kinds()}, Options: p.configOptions(getenv), Now: p.Now,
		Log: p.logger(config.Telemetry{LogLevel: "warn", LogFormat: "text"}),
	}
	o.Limits = p.beside(func() (*config.Config, error) { return config.LoadDir(dir, p.configOptions(getenv)) })
	o.Versions = func(ctx context.Context) (*app.Versions, error) {
		cfg, err := p.loadConfig(dir, getenv)
		if err != nil {
			return nil, err
		}
		v, err := app.OpenVersions(ctx, cfg, p.Now, whoAmI(), o.Log)
		if err == nil && p.atEnd != nil {
			*p.atEnd = append(*p.atEnd, v.Close)
		}
		return v, err
	}
	return o
}

// officeFlags say which configuration is meant, and how it is told.
type officeFlags struct {
	dir  string
	json bool
}

func (f *officeFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.dir, "config", "config", "folder of the configuration")
	c.Flags().BoolVar(&f.json, "json", false, "one JSON object")
}

// verb is a command of the office: run gives what is told, print tells it to people.
func verb[T any](p Process, use, short string, args cobra.PositionalArgs, run func(context.Context, *manage.Office, []string) (T, error), print func(io.Writer, T)) *cobra.Command {
	var f officeFlags
	c := &cobra.Command{Use: use, Short: short, Args: usage(args), RunE: func(c *cobra.Command, args []string) error {
		got, err := run(c.Context(), p.office(f.dir, local.Environment(f.dir, p.Getenv)), args)
		if err != nil {
			return asExit(err)
		}
		if f.json {
			enc := json.NewEncoder(c.OutOrStdout())
			enc.SetIndent("", "  ")
			return enc.Encode(got)
		}
		print(c.OutOrStdout(), got)
		return nil
	}}
	f.flags(c)
	return c
}

// asExit gives a refusal of the office its exit code, and tells what it knows besides.
func asExit(err error) error {
	var refused *api.Problem
	if !errors.As(err, &refused) {
		return err
	}
	text := refused.Detail + "; " + refused.Remedy
	for _, p := range refused.Problems {
		text += "\n" + p.String()
	}
	if refused.Conflict != nil {
		text += "\n" + refused.Conflict.Diff
	}
	code := ExitFailed
	switch refused.Code {
	case api.CodeInvalid, api.CodeNotFound:
		code = ExitUsage
	case api.CodeConfigRefused:
		code = ExitConfig
	}
	return &codedError{code, errors.New(text)}
}

func printText(w io.Writer, text string) { fmt.Fprint(w, text) }

// input is a file's text; - is the standard input.
func (p Process) input(file string) (string, error) {
	if file == "-" {
		b, err := io.ReadAll(io.LimitReader(p.Stdin, inputBytesMax))
		return string(b), err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", &codedError{ExitUsage, err}
	}
	return string(b), nil
}

const inputBytesMax = 2 << 20

func printProblems(w io.Writer, list []api.ConfigProblem) {
	for _, x := range list {
		fmt.Fprintln(w, x)
	}
}

func printEdited(w io.Writer, e api.ConfigEdited) {
	fmt.Fprint(w, e.Diff)
	printProblems(w, e.Problems)
	switch {
	case e.Written:
		fmt.Fprintf(w, "%s is written: version %s; 'tillstream apply' puts it in force\n", e.Path, e.Version)
	case e.Diff == "":
		fmt.Fprintf(w, "%s is so already\n", e.Path)
	default:
		fmt.Fprintln(w, "nothing is written")
	}
}

func printPlan(w io.Writer, p api.ConfigPlan) {
	printProblems(w, p.Problems)
	for _, c := range p.Changes {
		fmt.Fprintf(w, "%s %s %s (%s)\n", c.Action, c.Kind, harmless(c.Name), c.Counts)
		for _, f := range c.Fields {
			fmt.Fprintf(w, "    %s: %s -> %s\n", f.Field, asJSON(f.Was), asJSON(f.Is))
		}
	}
	if len(p.Changes) == 0 {
		fmt.Fprintln(w, "nothing would change")
	}
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return harmless(shorten(string(b), 120))
}
