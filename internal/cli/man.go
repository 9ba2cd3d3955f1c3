package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (p Process) manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man [DIR]", Short: "Print the manual page, or write one for each command to a folder",
		Long: `Without DIR it prints the page of tillstream itself, to be read with 'man -l -'. With DIR it writes tillstream.1, and one
page for each command, such as tillstream-connections-check.1. For all users of a machine:

  tillstream man /usr/local/share/man/man1`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return manPage(c.OutOrStdout(), c.Root())
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("the folder of the manual pages cannot be made: %w", err)
			}
			return writeManPages(args[0], c.Root())
		},
	}
}

// writeManPages writes the page of c and of all commands below it.
func writeManPages(dir string, c *cobra.Command) error {
	var page strings.Builder
	if err := manPage(&page, c); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, manName(c)+".1"), []byte(page.String()), 0o644); err != nil {
		return fmt.Errorf("write manual page: %w", err)
	}
	for _, sub := range c.Commands() {
		if !sub.IsAvailableCommand() || sub.Name() == "help" {
			continue
		}
		if err := writeManPages(dir, sub); err != nil {
			return err
		}
	}
	return nil
}

func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// manPage writes the page of one command in the macros of man(7).
func manPage(w io.Writer, c *cobra.Command) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, ".TH %s 1 \"\" \"tillstream %s\" \"Tillstream\"\n", roff(strings.ToUpper(manName(c))), roff(version))
	fmt.Fprintf(b, ".SH NAME\n%s \\- %s\n", roff(manName(c)), roff(c.Short))
	fmt.Fprintf(b, ".SH SYNOPSIS\n.B %s\n", roff(c.UseLine()))
	long := c.Long
	if long == "" {
		long = c.Short
	}
	fmt.Fprintf(b, ".SH DESCRIPTION\n%s", verbatim(long))
	if c.HasExample() {
		fmt.Fprintf(b, ".SH EXAMPLES\n%s", verbatim(c.Example))
	}
	if flags := c.NonInheritedFlags(); flags.HasAvailableFlags() {
		b.WriteString(".SH OPTIONS\n")
		flags.VisitAll(func(f *pflag.Flag) { manFlag(b, f) })
	}
	if flags := c.InheritedFlags(); flags.HasAvailableFlags() {
		b.WriteString(".SH OPTIONS OF ALL COMMANDS\n")
		flags.VisitAll(func(f *pflag.Flag) { manFlag(b, f) })
	}
	b.WriteString(".SH EXIT STATUS\n")
	for _, e := range exitsOf(c) {
		fmt.Fprintf(b, ".TP\n.B %d\n%s\n", e.code, roff(strings.ReplaceAll(e.when, "`", "")))
	}
	if c.HasAvailableSubCommands() {
		b.WriteString(".SH COMMANDS\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() && sub.Name() != "help" {
				fmt.Fprintf(b, ".TP\n.BR %s (1)\n%s\n", roff(manName(sub)), roff(sub.Short))
			}
		}
	}
	if c.HasParent() {
		fmt.Fprintf(b, ".SH SEE ALSO\n.BR %s (1)\n", roff(manName(c.Parent())))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func manFlag(b *strings.Builder, f *pflag.Flag) {
	if f.Hidden {
		return
	}
	kind, meaning := pflag.UnquoteUsage(f)
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	fmt.Fprintf(b, ".TP\n\\fB%s\\fR", roff(name))
	if kind != "" {
		fmt.Fprintf(b, " \\fI%s\\fR", roff(kind))
	}
	if given := defaultOf(f); given != "" {
		meaning += " (default " + given + ")"
	}
	fmt.Fprintf(b, "\n%s\n", roff(meaning))
}

// defaultOf is what a flag is when it is left out; empty where that is nothing.
func defaultOf(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "false", "0", "0s", "[]":
		return ""
	}
	return f.DefValue
}

// verbatim keeps the lines of a help text as they are: it is set by hand, with lists and examples in it.
func verbatim(text string) string {
	return ".nf\n" + roff(strings.TrimRight(text, "\n")) + "\n.fi\n"
}

var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

// roff escapes what troff would read as its own, so that what is copied out of a page is what was meant.
func roff(text string) string {
	lines := strings.Split(roffEscapes.Replace(text), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
