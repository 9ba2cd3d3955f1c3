package cli

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tillstream/tillstream/internal/local"
	"github.com/tillstream/tillstream/pipeline/config"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// offeredMax bounds the names that a shell is given for one word.
const (
	offeredMax         = 1000
	destinationsFolder = "destinations"
)

// offer is what a shell may put in a place of the command line. Nothing is asked of a server for it: a key press must not wait.
type offer func(p Process, c *cobra.Command) []string

// words offers the same always.
func words(list ...string) offer {
	return func(Process, *cobra.Command) []string { return list }
}

// namesIn offers the names of the files in a folder of the configuration.
func namesIn(folders ...string) offer {
	return func(_ Process, c *cobra.Command) []string {
		names := []string{} // also where there is none, files are no answer
		for _, folder := range folders {
			files, _ := filepath.Glob(filepath.Join(configFolder(c), folder, "*.yaml"))
			for _, f := range files {
				names = append(names, strings.TrimSuffix(filepath.Base(f), ".yaml"))
			}
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
}

// configFolder is the folder that c works with: that of --config, else the one within --data of a 'dev'.
func configFolder(c *cobra.Command) string {
	if f := c.Flag("config"); f != nil && f.Value.String() != "" {
		return f.Value.String()
	}
	if f := c.Flag("data"); f != nil && f.Value.String() != "" {
		return filepath.Join(f.Value.String(), local.ConfigFolder)
	}
	return "config"
}

var (
	ofConnections  = namesIn(config.ConnectionsFolder)
	ofDestinations = namesIn(destinationsFolder)
)

// offeredArgs says what the arguments of a command can be, by its path without the program's name. A command that is not
// here takes no file: nothing is offered.
var offeredArgs = map[string][]offer{
	"backfill":                    {ofConnections},
	"catalogue":                   {ofDestinations},
	"config check":                {folders},
	"config schema":               {schemaKinds},
	"connect":                     {kindsToConnect},
	"connections add-resource":    {ofConnections, resourceNames},
	"connections check":           {ofConnections},
	"connections remove-resource": {ofConnections, resourceNames},
	"connections show":            {ofConnections},
	"destinations check":          {ofDestinations},
	"destinations show":           {ofDestinations},
	"disconnect":                  {namesIn(config.ConnectionsFolder, destinationsFolder)},
	"import":                      {ofConnections, files},
	"man":                         {folders},
	"pause connection":            {ofConnections},
	"pause destination":           {ofDestinations},
	"preview":                     {namesIn("mappings")},
	"publish":                     {ofConnections, files},
	"reconcile":                   {ofConnections},
	"report":                      {reportNames},
	"resume connection":           {ofConnections},
	"resume destination":          {ofDestinations},
	"test":                        {files},
	"verify":                      {ofDestinations},
}

// offeredFlags says what a flag can be, wherever it appears; with the command's path before it, there only.
var offeredFlags = map[string]offer{
	"catalogue --kind":     words("field", "tag", "list", "automation", "message", "shop"),
	"cause":                words("rejected", "gave-up", "unparseable", "stage-failed", "no-contact", "undecodable", "park-overflow", "unwritable", "quarantined"),
	"config":               folders,
	"connection":           ofConnections,
	"data":                 folders,
	"deliveries --outcome": words("delivered", "superseded", "rejected", "retryable", "intent", "uncertain", "settled", "resent"),
	"destination":          ofDestinations,
	"dir":                  folders,
	"effect":               words("add-to-list", "move-to-list", "notify", "send-message", "start-automation", "track-event", "write-order", "write-recurring-payment"),
	"environment":          words("live", "sandbox"),
	"import --format":      words("csv", "ndjson"),
	"issues --stage":       words("orders", "automation", "deliver", "clickhouse"),
	"issues --state":       words("open", "reopened", "retried", "dismissed"),
	"query --format":       words("table", "json", "csv"),
	"reconnect":            namesIn(config.ConnectionsFolder, destinationsFolder),
	"report --format":      words("table", "csv", "json", "html"),
	"resume --stage":       words("orders", "automation"),
	"roles":                words("connectors", "processors", "sinks"),
	"store":                ofConnections,
	"waits --state":        words("open", "met", "not_met", "corrected", "stopped", "all"),
	"workflow":             namesIn("workflows"),
}

// files and folders leave it to the shell.
func files(Process, *cobra.Command) []string   { return nil }
func folders(Process, *cobra.Command) []string { return nil }

func schemaKinds(p Process, _ *cobra.Command) []string {
	kinds := []string{"tillstream", config.ConnectionsFolder, destinationsFolder}
	for _, k := range p.configOptions(nil).Kinds {
		kinds = append(kinds, k.Folder)
	}
	return kinds
}

func kindsToConnect(p Process, _ *cobra.Command) []string {
	var kinds []string
	for _, c := range p.Connectors.All() {
		kinds = append(kinds, c.Type+"\t"+c.Title)
	}
	for _, s := range p.Sinks.All() {
		kinds = append(kinds, s.Type+"\t"+s.Title)
	}
	return kinds
}

func resourceNames(p Process, _ *cobra.Command) []string {
	var ids []string
	for _, c := range p.Connectors.All() {
		for _, r := range c.Resources {
			ids = append(ids, r.ID+"\t"+c.Title)
		}
	}
	return ids
}

func reportNames(Process, *cobra.Command) []string {
	list, err := chsink.Reports()
	if err != nil {
		return nil
	}
	names := make([]string, len(list))
	for i, r := range list {
		names[i] = r.Name + "\t" + r.Title
	}
	return names
}

// completions has the shells complete arguments and flags of all commands below c.
func (p Process) completions(c *cobra.Command) {
	path := pathOf(c)
	args := offeredArgs[path]
	if c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 {
		c.ValidArgsFunction = func(c *cobra.Command, before []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(before) >= len(args) {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return p.offered(args[len(before)], c, begun)
		}
	}
	complete := func(f *pflag.Flag) {
		o, ok := offeredFlags[path+" --"+f.Name]
		if !ok {
			o, ok = offeredFlags[f.Name]
		}
		if !ok || f.Value.Type() == "bool" {
			return
		}
		// A second function for one flag is the only error, and the first one then stays.
		_ = c.RegisterFlagCompletionFunc(f.Name, func(c *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
			return p.offered(o, c, begun)
		})
	}
	c.LocalNonPersistentFlags().VisitAll(complete)
	c.PersistentFlags().VisitAll(complete)
	for _, sub := range c.Commands() {
		p.completions(sub)
	}
}

// offered are the words of o that begin as what was typed; without any word of its own the shell offers files.
func (p Process) offered(o offer, c *cobra.Command, begun string) ([]string, cobra.ShellCompDirective) {
	all := o(p, c)
	if all == nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var fit []string
	for _, w := range all {
		if strings.HasPrefix(w, begun) && len(fit) < offeredMax {
			fit = append(fit, w)
		}
	}
	return fit, cobra.ShellCompDirectiveNoFileComp
}
