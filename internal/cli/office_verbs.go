package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/manage"
)

// planCommand is 'tillstream plan'.
func (p Process) planCommand() *cobra.Command {
	var version string
	c := verb(p, "plan [--version VERSION]", "Say what 'apply' would change: mappings, rules, workflows, connections; changes nothing", cobra.NoArgs,
		func(ctx context.Context, o *manage.Office, _ []string) (api.ConfigPlan, error) {
			return o.PlanConfig(ctx, api.ConfigTry{Version: version})
		}, printPlan)
	c.Flags().StringVar(&version, "version", "", "an earlier version in the place of the folder")
	return c
}

// configVerbs are the parts of 'tillstream config' that look at and edit files.
func (p Process) configVerbs() []*cobra.Command {
	show := verb(p, "show [FILE]", "Show the folder's files and what is wrong with them, or one file's text", cobra.MaximumNArgs(1),
		func(ctx context.Context, o *manage.Office, args []string) (any, error) {
			if len(args) == 1 {
				return o.ConfigFile(ctx, args[0])
			}
			return o.ConfigFolder(ctx)
		}, printShown)
	return []*cobra.Command{show, p.editFile("edit FILE --from TEXT", false), p.editFile("delete FILE", true), p.versionVerb(), p.restoreVerb()}
}

func printShown(w io.Writer, v any) {
	switch v := v.(type) {
	case api.ConfigText:
		printText(w, v.Text)
	case api.ConfigFolder:
		for _, f := range v.Files {
			fmt.Fprintf(w, "%s  %s\n", f.ETag, f.Path)
		}
		printProblems(w, v.Problems)
		for _, n := range v.NotKnown {
			fmt.Fprintln(w, "not known:", harmless(n))
		}
	}
}

// editFlags say how an edit is meant.
type editFlags struct {
	from, match   string
	dryRun, apply bool
}

func (e *editFlags) flags(c *cobra.Command, from bool) {
	if from {
		c.Flags().StringVar(&e.from, "from", "-", "file with the text; -: the standard input")
	}
	c.Flags().StringVar(&e.match, "if-match", "", "refuse where the file is not the one with this ETag any more")
	c.Flags().BoolVar(&e.dryRun, "dry-run", false, "say what it would come to, and write nothing")
	c.Flags().BoolVar(&e.apply, "apply", false, "put the folder in force after it")
}

func (e *editFlags) edit() api.Edit {
	return api.Edit{Match: e.match, Force: e.match == "", DryRun: e.dryRun, Apply: e.apply, By: whoAmI()}
}

func (p Process) editFile(use string, remove bool) *cobra.Command {
	var e editFlags
	short := "Write a file of the configuration whole, if it is good with it"
	if remove {
		short = "Delete a file of the configuration, if it is good without it"
	}
	c := verb(p, use, short, cobra.ExactArgs(1), func(ctx context.Context, o *manage.Office, args []string) (api.ConfigEdited, error) {
		if remove {
			return o.EditConfigFile(ctx, args[0], nil, e.edit())
		}
		text, err := p.input(e.from)
		if err != nil {
			return api.ConfigEdited{}, err
		}
		return o.EditConfigFile(ctx, args[0], &text, e.edit())
	}, printEdited)
	e.flags(c, !remove)
	return c
}

func (p Process) versionVerb() *cobra.Command {
	var against string
	c := verb(p, "version VERSION", "Show what a version changed", cobra.ExactArgs(1),
		func(ctx context.Context, o *manage.Office, args []string) (api.ConfigVersionText, error) {
			return o.ConfigVersionText(ctx, args[0], against)
		}, func(w io.Writer, v api.ConfigVersionText) {
			fmt.Fprintf(w, "version %s, put in force %s by %s, against %s\n", v.Version, instant(v.At), harmless(v.By), orNone(v.Against))
			for _, f := range v.Plan.Files {
				printText(w, f.Diff)
			}
		})
	c.Flags().StringVar(&against, "against", "", "folder, in_force or another version (default: the one before it)")
	return c
}

func (p Process) restoreVerb() *cobra.Command {
	var r api.ConfigRestore
	c := verb(p, "restore VERSION", "Write an earlier version to the folder and put it in force", cobra.ExactArgs(1),
		func(ctx context.Context, o *manage.Office, args []string) (api.ConfigRestored, error) {
			f, err := o.ConfigFolder(ctx)
			if err != nil {
				return api.ConfigRestored{}, err
			}
			return o.RestoreConfig(ctx, args[0], r, f.ETag, whoAmI())
		}, func(w io.Writer, v api.ConfigRestored) {
			printPlan(w, v.Plan)
			for _, f := range v.Written {
				fmt.Fprintln(w, "written:", f)
			}
			if v.Applied != nil {
				fmt.Fprintf(w, "version %s is in force\n", v.Applied.Version)
			}
		})
	c.Flags().BoolVar(&r.DryRun, "dry-run", false, "say what would change, and change nothing")
	c.Flags().BoolVar(&r.FolderOnly, "folder-only", false, "write the folder and put nothing in force")
	c.Flags().BoolVar(&r.ForceOnly, "force-only", false, "put it in force and leave the folder")
	return c
}

// mappingsCommand is 'tillstream mappings' with its parts.
func (p Process) mappingsCommand() *cobra.Command {
	c := verb(p, "mappings", "List the mappings; show, set and delete one, or list its versions", cobra.NoArgs,
		func(ctx context.Context, o *manage.Office, _ []string) (api.MappingList, error) {
			return o.Mappings(ctx)
		},
		func(w io.Writer, l api.MappingList) {
			for _, m := range l.Items {
				fmt.Fprintf(w, "%s  %s -> %s, %d rules\n", m.Name, orNone(m.Resource), m.Destination, m.Rules)
				printProblems(w, m.Problems)
			}
		})
	show := verb(p, "show NAME", "Show a mapping", cobra.ExactArgs(1),
		func(ctx context.Context, o *manage.Office, a []string) (api.MappingView, error) {
			return o.Mapping(ctx, a[0])
		},
		func(w io.Writer, m api.MappingView) { printText(w, m.Text) })
	versions := verb(p, "versions NAME", "List the texts that a mapping had, newest first", cobra.ExactArgs(1),
		func(ctx context.Context, o *manage.Office, a []string) (api.MappingVersions, error) {
			return o.MappingVersions(ctx, a[0])
		}, printFileVersions)
	var set, remove editFlags
	put := verb(p, "set NAME --from TEXT", "Write a mapping whole, if the configuration is good with it", cobra.ExactArgs(1),
		func(ctx context.Context, o *manage.Office, a []string) (api.ConfigEdited, error) {
			text, err := p.input(set.from)
			if err != nil {
				return api.ConfigEdited{}, err
			}
			return o.EditMapping(ctx, a[0], &api.MappingEdit{Text: &text}, set.edit())
		}, printEdited)
	set.flags(put, true)
	del := verb(p, "delete NAME", "Delete a mapping, if the configuration is good without it", cobra.ExactArgs(1),
		func(ctx context.Context, o *manage.Office, a []string) (api.ConfigEdited, error) {
			return o.EditMapping(ctx, a[0], nil, remove.edit())
		}, printEdited)
	remove.flags(del, false)
	c.AddCommand(show, versions, put, del)
	return c
}

func printFileVersions(w io.Writer, v api.MappingVersions) {
	for _, x := range v.Items {
		fmt.Fprintf(w, "%s %s %s by %s\n%s", x.Version, x.Action, instant(x.At), harmless(x.By), x.Diff)
	}
}

// workflowsCommand is 'tillstream workflows' with its parts.
func (p Process) workflowsCommand() *cobra.Command {
	c := verb(p, "workflows", "List the workflows; show, set, delete, draw and test one, or list its versions", cobra.NoArgs,
		func(ctx context.Context, o *manage.Office, _ []string) (api.WorkflowList, error) {
			return o.Workflows(ctx)
		},
		func(w io.Writer, l api.WorkflowList) {
			for _, m := range l.Items {
				fmt.Fprintf(w, "%s  %s, on %s, %d steps\n", m.Name, m.Mode, strings.Join(m.Starts, ", "), m.Steps)
				printProblems(w, m.Problems)
			}
		})
	show := verb(p, "show NAME", "Show a workflow", cobra.ExactArgs(1),
		func(ctx context.Context, o *manage.Office, a []string) (api.WorkflowView, error) {
			return o.Workflow(ctx, a[0])
		},
		func(w io.Writer, m api.WorkflowView) { printText(w, m.Text) })
	versions := verb(p, "versions NAME", "List the texts that a workflow had, newest first", cobra.ExactArgs(1),
		func(ctx context.Context, o *manage.Office, a []string) (api.MappingVersions, error) {
			return o.WorkflowVersions(ctx, a[0])
		}, printFileVersions)
	var set, remove editFlags
	put := verb(p, "set NAME --from TEXT", "Write a workflow whole, if the configuration is good with it", cobra.ExactArgs(1),
		func(ctx context.Context, o *manage.Office, a []string) (api.ConfigEdited, error) {
			text, err := p.input(set.from)
			if err != nil {
				return api.ConfigEdited{}, err
			}
			return o.EditWorkflow(ctx, a[0], &api.WorkflowEdit{Text: &text}, set.edit())
		}, printEdited)
	set.flags(put, true)
	del := verb(p, "delete NAME", "Delete a workflow, if the configuration is good without it", cobra.ExactArgs(1),
		func(ctx context.Context, o *manage.Office, a []string) (api.ConfigEdited, error) {
			return o.EditWorkflow(ctx, a[0], nil, remove.edit())
		}, printEdited)
	remove.flags(del, false)
	graph := verb(p, "graph NAME", "Show a workflow as nodes and edges", cobra.ExactArgs(1),
		func(ctx context.Context, o *manage.Office, a []string) (api.WorkflowGraph, error) {
			return o.WorkflowGraph(ctx, a[0], api.RunsQuery{Workflow: a[0]})
		}, func(w io.Writer, g api.WorkflowGraph) {
			for _, e := range g.Edges {
				fmt.Fprintf(w, "%s -> %s  %s\n", e.From, e.To, e.Branch)
			}
		})
	c.AddCommand(show, versions, put, del, graph, p.workflowTest())
	return c
}

func (p Process) workflowTest() *cobra.Command {
	var events []string
	var lists []string
	c := verb(p, "test NAME --event 'STATUS[@AFTER]'", "Run a workflow on events at times, in memory; sends nothing", cobra.ExactArgs(1),
		func(ctx context.Context, o *manage.Office, a []string) (api.WorkflowTested, error) {
			t := api.WorkflowTest{Lists: lists}
			for _, e := range events {
				status, after, _ := strings.Cut(e, "@")
				t.Events = append(t.Events, api.TestEvent{Status: status, After: after})
			}
			return o.TestWorkflow(ctx, a[0], t)
		}, func(w io.Writer, t api.WorkflowTested) {
			if t.Why != "" {
				fmt.Fprintln(w, "no run began:", harmless(t.Why))
			}
			printOutcomes(w, t.Steps, t.Effects)
		})
	c.Flags().StringArrayVar(&events, "event", nil, "status of a payment, and how long after the event before it: FAILED, PAID@1d")
	c.Flags().StringSliceVar(&lists, "on-list", nil, "lists that the contact is on")
	return c
}

func printOutcomes(w io.Writer, steps []api.TestedStep, effects []api.TestedEffect) {
	for _, s := range steps {
		fmt.Fprintf(w, "%s  %s  %s %s  %s\n", s.At.Format(time.RFC3339), s.Workflow, orNone(s.Step), s.Kind, harmless(s.Detail))
	}
	for _, e := range effects {
		fmt.Fprintf(w, "%s  %s at %s: %s %s\n", e.At.Format(time.RFC3339), e.Type, e.Destination, harmless(e.Name), harmless(shorten(e.Data, 100)))
	}
}

// testEventCommand is 'tillstream test-event'.
func (p Process) testEventCommand() *cobra.Command {
	var r api.TestEventRequest
	c := verb(p, "test-event", "Show what the configuration makes of an event that is marked as a test; sends nothing", cobra.NoArgs,
		func(ctx context.Context, o *manage.Office, _ []string) (api.TestEventTaken, error) {
			return o.SendTestEvent(ctx, r, whoAmI())
		}, func(w io.Writer, t api.TestEventTaken) {
			fmt.Fprintf(w, "event %s of order %s, test\n", t.EventID, t.Order)
			printOutcomes(w, t.Steps, t.Effects)
		})
	f := c.Flags()
	f.StringVar(&r.Connection, "connection", "", "connection that it is of (default: the first)")
	f.StringVar(&r.Status, "status", "", "status of the payment (default: PENDING)")
	f.StringVar(&r.Type, "type", "", "the provider's event type")
	f.StringVar(&r.Resource, "resource", "", "resource that it is of")
	f.StringVar(&r.Email, "email", "", "address of the customer")
	f.StringVar(&r.Amount, "amount", "", "amount (default: 10.00)")
	f.StringVar(&r.Currency, "currency", "", "currency (default: EUR)")
	return c
}
