package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/internal/manage"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/processors/workflows"
)

// Exit codes of check besides ExitOK.
const (
	ExitFindings = 1 // the configuration is valid, and something in it does not do what it says
	ExitRefused  = 2 // it would not be run
)

func (p Process) checkCommand() *cobra.Command {
	var dir string
	var offline, asJSON bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong with a configuration, in form and in meaning, before it runs",
		Long: `Checks a configuration folder: first that it is valid, as 'config check' does; then what it means. Steps that nothing
reaches, waits that nothing ends, tag rules that fight, loops between workflows; mapped fields that the CRM does not have or
whose type does not fit, lists and automations that it does not have, statuses that never came.

The CRMs and ClickHouse are asked where they can be reached, and nothing is written there; --offline asks nobody. What could
not be asked is said once and is no finding.

Exit codes: 0 nothing found, 1 findings, 2 the configuration is refused.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := p.loadConfig(dir, local.CheckEnv(dir, local.Environment(dir, p.Getenv)))
			if err != nil {
				return refused(c.OutOrStdout(), err, asJSON)
			}
			r := manage.Check(c.Context(), cfg, p.beside(func() (*config.Config, error) { return cfg, nil }), p.Now, offline)
			if asJSON {
				if err := json.NewEncoder(c.OutOrStdout()).Encode(r); err != nil {
					return err
				}
			} else {
				printCheck(c.OutOrStdout(), dir, r)
			}
			if n := len(r.Findings); n > 0 {
				return &codedError{ExitFindings, fmt.Errorf("%s: %d findings", dir, n)}
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "config", "config", "folder of the configuration")
	c.Flags().BoolVar(&offline, "offline", false, "ask neither the CRMs nor ClickHouse")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return c
}

// refused gives a configuration that is not valid the exit code of check.
func refused(w io.Writer, err error, asJSON bool) error {
	var problems config.Problems
	if !errors.As(err, &problems) {
		return &codedError{ExitRefused, err}
	}
	if !asJSON {
		return &codedError{ExitRefused, errors.New("the configuration is refused:\n" + problems.Error())}
	}
	r := manage.CheckResult{Findings: []manage.CheckFinding{}, NotChecked: []string{}}
	for _, p := range problems {
		r.Refused = append(r.Refused, manage.CheckFinding{File: p.File, Line: p.Line, Field: p.Field, Severity: string(workflows.Error), Rule: "invalid", Message: p.Message, Hint: p.Hint})
	}
	if err := json.NewEncoder(w).Encode(r); err != nil {
		return err
	}
	return &codedError{ExitRefused, fmt.Errorf("the configuration is refused: %d problems", len(problems))}
}

func printCheck(w io.Writer, dir string, r manage.CheckResult) {
	for _, f := range r.Findings {
		fmt.Fprintln(w, f)
	}
	for _, n := range r.NotChecked {
		fmt.Fprintln(w, "not checked:", n)
	}
	if len(r.Findings) == 0 {
		fmt.Fprintf(w, "%s is good: version %s, nothing found\n", dir, r.Version)
	}
}
