package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/config/versions"
)

const (
	applyWait  = 60 * time.Second
	applyPause = 200 * time.Millisecond // between two looks at the partitions
)

// applying is one 'tillstream apply'.
type applying struct {
	dir, version string
	wait         time.Duration
	touch        bool
	answering
	done api.ConfigApplied // so far
}

func (p Process) applyCommand() *cobra.Command {
	var a applying
	c := &cobra.Command{
		Use:   "apply [--config DIR] [--version VERSION]",
		Short: "Put a configuration in force while everything runs, or go back to an earlier one",
		Long: `Checks the folder, puts it in force as a new version, and waits until every partition follows it. Mappings and workflows
count for events from then on: each partition has an offset from which it follows the new version, and what came before stays as
it was. Open runs of a workflow keep the text that they started under, unless the new one says open_runs: move. A folder that is
not good is refused with file and line, and nothing changes.

With --version, an earlier version of 'tillstream config versions' is put in force again. A process that starts puts the folder
that it starts from in force: put the folder back, too.

Exit code 0: every partition follows it. 1: not all do yet, or one cannot. 3: the configuration is refused.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := p.loadConfig(a.dir, p.Getenv)
			if err != nil {
				return err
			}
			v, err := app.OpenVersions(c.Context(), cfg, p.Now, whoAmI(), p.logger(cfg.Settings.Telemetry))
			if err != nil {
				return err
			}
			defer v.Close()
			err = a.run(c.Context(), a.people(c), v, cfg)
			if a.json && a.done.Version != "" { // what was done is told also where not every partition follows yet
				err = errors.Join(a.end(c, a.done, nil), err)
			}
			return err
		},
	}
	c.Flags().StringVar(&a.dir, "config", "config", "folder of the configuration")
	a.flag(c)
	c.Flags().StringVar(&a.version, "version", "", "put this earlier version in force again")
	c.Flags().DurationVar(&a.wait, "wait", applyWait, "how long to wait until every partition follows it")
	c.Flags().BoolVar(&a.touch, "touch", false, "have every contact looked at under the new version, also where no workflow wants it")
	return c
}

// whoAmI names the person at the command line, as far as the system knows.
func whoAmI() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "somebody"
}

func (a *applying) run(ctx context.Context, w io.Writer, v *app.Versions, cfg *config.Config) error {
	version, files, err := a.wanted(v, cfg)
	if err != nil {
		return err
	}
	was, published, err := v.Publish(ctx, version, files)
	if err != nil {
		return err
	}
	a.done = api.ConfigApplied{Version: version, Was: was.Version, Published: published, Notes: []string{}, Partitions: []api.ConfigFollower{}}
	switch {
	case !published:
		fmt.Fprintf(w, "version %s is in force already\n", version)
	case was.Version == "":
		fmt.Fprintf(w, "version %s is in force\n", version)
	default:
		fmt.Fprintf(w, "version %s is in force, after %s\n", version, was.Version)
	}
	for _, note := range notes(was, files, a.version != "", version != cfg.Version) {
		fmt.Fprintln(w, note)
		a.done.Notes = append(a.done.Notes, note)
	}
	activated, err := v.Activate(ctx, version, false)
	if err != nil {
		return fmt.Errorf("%w; run the command again: the partitions that follow it already stay with it", err)
	}
	if err := a.follow(ctx, w, v, version, activated); err != nil {
		return err
	}
	next, _ := v.History.Get(version)
	if !a.touch && (!published || !v.WantsTouch(was, next)) {
		return nil
	}
	a.done.Touching = true
	return touchAll(ctx, w, v, version)
}

// wanted is the version to put in force.
func (a *applying) wanted(v *app.Versions, cfg *config.Config) (version string, files map[string]string, err error) {
	if a.version == "" {
		return cfg.Version, cfg.Files, nil
	}
	var found []versions.Entry
	for _, e := range v.History.List() {
		if strings.HasPrefix(e.Version, a.version) {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return "", nil, &codedError{ExitUsage, fmt.Errorf("there is no version %s; 'tillstream config versions' lists them", a.version)}
	case 1:
		return found[0].Version, found[0].Files, v.Check(found[0])
	default:
		return "", nil, &codedError{ExitUsage, fmt.Errorf("%d versions begin with %s: write more of it", len(found), a.version)}
	}
}

// notes say what the version has that does not count at once.
func notes(was versions.Entry, files map[string]string, back, folderDiffers bool) (out []string) {
	if was.Version != "" {
		restart := slices.DeleteFunc(config.Differ(was.Files, files), func(folder string) bool {
			return slices.Contains([]string{app.MappingsFolder, app.WorkflowsFolder, config.ConnectionsFolder}, folder)
		})
		if len(restart) > 0 {
			out = append(out, "what changed in "+strings.Join(restart, ", ")+" counts from the next start of each process on")
		}
	}
	if back && folderDiffers {
		out = append(out, "the folder says something else: put it back, too, for a process that starts puts its folder in force")
	}
	return out
}

// follow waits until every partition follows version, and tells of each. activated are the offsets of the records that
// say so.
func (a *applying) follow(ctx context.Context, w io.Writer, v *app.Versions, version string, activated map[int32]int64) error {
	told := map[int32]bool{}
	for deadline := time.Now().Add(a.wait); ; {
		list, err := v.Following(ctx)
		if err != nil {
			return err
		}
		for _, f := range list {
			switch at, asked := activated[f.Partition]; {
			case told[f.Partition]:
			case f.Config == version && (!asked || f.Passed(at)): // before at another one may come
				owner, _, _ := strings.Cut(f.Owner, "/")
				fmt.Fprintf(w, "partition %d follows it since offset %d (%s)\n", f.Partition, f.From, owner)
				told[f.Partition] = true
				a.done.Partitions = append(a.done.Partitions, api.ConfigFollower{Partition: f.Partition, Version: f.Config, Since: f.From, Owner: owner, Follows: true})
			case asked && f.Passed(at):
				return fmt.Errorf("partition %d read it at offset %d and stays with %s: its process cannot follow it, and its log says why; "+
					"put it in force again once every process is of a release that can", f.Partition, at, f.Config)
			}
		}
		if len(told) == len(list) {
			return nil
		}
		if !time.Now().Before(deadline) {
			return fmt.Errorf("%d of %d partitions do not follow it within %v; they do as soon as they are run ('tillstream status' says what keeps them)",
				len(list)-len(told), len(list), a.wait)
		}
		if err := clock.System().Sleep(ctx, applyPause); err != nil {
			return errors.New("stopped while partitions were waited for: the version is in force all the same")
		}
	}
}

func touchAll(ctx context.Context, w io.Writer, v *app.Versions, version string) error {
	fmt.Fprintln(w, "every contact is looked at under the new workflows")
	last := 0
	const tell = 10_000 // after so many contacts
	err := v.Touch(ctx, "version "+version, func(done, of int) {
		if done-last >= tell {
			last = done
			fmt.Fprintf(w, "  %d contacts\n", done)
		}
	})
	if err != nil {
		return fmt.Errorf("%w; 'tillstream apply --touch' does it again, which does no harm", err)
	}
	return nil
}
