// Package cli is the command line: one file per command, one struct for the state of the process, so that a test of a
// command is a function call.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/sinks"
)

// Process is what a command may know of the process it runs in.
type Process struct {
	Args       []string
	Getenv     func(string) (string, bool)
	Stdin      io.Reader
	Stdout     io.Writer
	Stderr     io.Writer
	Connectors *connectors.Registry
	Sinks      *sinks.Registry
	Now        func() time.Time

	atEnd *[]func() // of the command
}

// silent is Redis's client, which would tell of each connection in lines of its own form. What Redis's absence means, who
// needs it says.
type silent struct{}

// Printf takes what the client would log.
func (silent) Printf(context.Context, string, ...any) {}

// Exit codes.
const (
	ExitOK       = 0
	ExitFailed   = 1 // the command ran and failed; the last line of stderr says why and what to do
	ExitUsage    = 2 // unknown command, flag or argument
	ExitConfig   = 3 // the configuration was refused; each problem has its place
	ExitDisagree = 4 // demo, audit: the counts do not agree, something was lost or doubled; verify: contacts differ
	ExitGaps     = 5 // reconcile: events are missing afterwards, or, with --dry-run, at all
	ExitStopped  = 130
)

// version is set at the build.
var version = "dev"

// Main runs one command and returns its exit code. The first interrupt drains and stops in order, the second at once.
func Main(ctx context.Context, p Process) int {
	redis.SetLogger(silent{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(ExitStopped)
	}()
	p.atEnd = &[]func(){}
	defer func() {
		for _, end := range *p.atEnd {
			end()
		}
	}()
	root := p.root()
	root.SetArgs(p.Args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	var problems config.Problems
	var coded *codedError
	switch {
	case errors.As(err, &problems):
		fmt.Fprintf(p.Stderr, "the configuration is refused:\n%s\n", problems)
		return ExitConfig
	case errors.As(err, &coded):
		fmt.Fprintf(p.Stderr, "tillstream: %v\n", coded.err)
		return coded.code
	default:
		fmt.Fprintf(p.Stderr, "tillstream: %v\n", err)
		return ExitFailed
	}
}

// codedError carries its exit code.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func (p Process) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "tillstream",
		Short: "Turns payment events into customer action: PayPal and stores, through Kafka, to the CRM and to reports",
		Long: `Tillstream records every payment event on Kafka, works out what changed, brings the customer's contact in the CRM up to
date, and keeps the whole story in ClickHouse. Nothing is lost, nothing happens twice, everything can be seen.

Exit codes: 0 done, 1 failed, 2 usage, 3 configuration refused, 4 the demo's counts or the audit disagree, or contacts differ, 5 reconcile found gaps that remain, 130 stopped at once.`,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &codedError{ExitUsage, fmt.Errorf("%w; see '%s --help'", err, c.CommandPath())}
	})
	root.AddCommand(p.runCommand(), p.devCommand(), p.demoCommand(), p.simulatorCommand(), p.simulateCommand(), p.traceCommand(), p.eventsCommand(), p.overviewCommand(),
		p.queryCommand(), p.reportCommand(), p.generateCommand(), p.auditCommand(), p.eraseCommand(), p.statusCommand(), p.resumeCommand(), p.pauseCommand(), p.pausesCommand(), p.connectCommand(), p.connectionsCommand(), p.disconnectCommand(), p.destinationsCommand(), p.catalogueCommand(), p.limitsCommand(), p.verifyCommand(), p.reconcileCommand(), p.backfillCommand(),
		p.publishCommand(), p.importCommand(), p.explainCommand(), p.waitsCommand(), p.runsCommand(), p.issuesCommand(), p.deliveriesCommand(), p.retryCommand(), p.replayCommand(), p.jobsCommand(), p.applyCommand(), p.checkCommand(), p.initCommand(), p.planCommand(), p.exportCommand(), p.secretsCommand(), p.mappingsCommand(), p.workflowsCommand(), p.testEventCommand(), p.previewCommand(), p.testCommand(), p.backtestCommand(), p.configCommand(), p.manCommand(), p.versionCommand())
	p.completions(root)
	root.AddCommand(p.usersCommand(), p.tokensCommand(), p.auditLogCommand())
	p.tokenFlag(root)
	return group(root)
}

// group makes c, which only holds other commands, refuse a word that is none of them; cobra would print the help and
// report success. Without a word it prints the help.
func group(c *cobra.Command) *cobra.Command {
	c.Args, c.SuggestionsMinimumDistance = cobra.ArbitraryArgs, 2
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		hint := ""
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			hint = fmt.Sprintf("; did you mean %s?", near[0])
		}
		return &codedError{ExitUsage, fmt.Errorf("unknown command %q for %q%s; see '%s --help'", args[0], c.CommandPath(), hint, c.CommandPath())}
	}
	return c
}

func (p Process) versionCommand() *cobra.Command {
	var a answering
	c := &cobra.Command{
		Use: "version", Short: "Print the version", Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			v := struct {
				Version string `json:"version"`
			}{version}
			return a.end(c, v, func(w io.Writer) { fmt.Fprintln(w, "tillstream", version) })
		},
	}
	a.flag(c)
	return c
}

// usage gives wrong arguments the usage exit code.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return &codedError{ExitUsage, fmt.Errorf("%w; see '%s --help'", err, c.CommandPath())}
		}
		return nil
	}
}

// loadConfig loads a folder with the registries of this binary.
func (p Process) loadConfig(dir string, getenv func(string) (string, bool)) (*config.Config, error) {
	if getenv != nil {
		getenv = local.Environment(dir, getenv)
	}
	c, err := config.LoadDir(dir, p.configOptions(getenv))
	if err != nil {
		return nil, err
	}
	return c, app.Check(c)
}

func (p Process) configOptions(getenv func(string) (string, bool)) config.Options {
	host, err := os.Hostname()
	if err != nil {
		host = "tillstream"
	}
	return config.Options{Connectors: p.Connectors, Sinks: p.Sinks, Kinds: app.Kinds(), Getenv: getenv, Hostname: host}
}

func (p Process) logger(t config.Telemetry) zerolog.Logger { return app.NewLogger(p.Stderr, t) }

// beside holds a command to the limits of the accounts that it asks a little of.
func (p Process) beside(load func() (*config.Config, error)) *app.Beside {
	b := app.NewBeside(load, p.Now)
	if p.atEnd != nil {
		*p.atEnd = append(*p.atEnd, b.Close)
	}
	return b
}
