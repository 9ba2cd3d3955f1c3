package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/pipeline/beat"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/config/versions"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// ConfigPart is the part of the board that tells which version of the configuration is in force; its status is a
// ConfigStanding.
const ConfigPart = "configuration"

// ConfigStanding is what a process knows of the configuration in force.
type ConfigStanding struct {
	InForce string    `json:"in_force"`
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty"`
	// Refused says why this process cannot follow it, with places; what it runs goes on with the version before.
	Refused string `json:"refused,omitempty"`
}

// startVersions puts the process's configuration in force, and follows what is put in force after it.
func (p *process) startVersions(ctx context.Context) error {
	cluster, err := kafka.NewCluster(p.Config.Settings.Kafka, clock.System(), p.Log)
	if err != nil {
		return err
	}
	p.atEnd(cluster.Close)
	by := "start of " + p.Config.Settings.Instance
	if p.versions, err = newVersions(p.Config, p.codec, p.Now, by, p.Log, cluster); err != nil {
		return err
	}
	p.atEnd(p.versions.Close)
	p.managed.versions.Store(p.versions)
	p.book = newRulesBook(p.versions.History, p.Config, p.Log)
	var was versions.Entry
	first, touch := false, false
	err = p.await(ctx, "kafka", func(ctx context.Context) error {
		before, published, err := p.versions.Publish(ctx, p.Config.Version, p.Config.Files)
		if published {
			was, touch, first = before, true, before.Version == ""
		}
		if err != nil {
			return err
		}
		_, err = p.versions.Activate(ctx, p.Config.Version, first)
		return err
	})
	if err != nil {
		return err
	}
	p.board.Add(api.Part{Name: ConfigPart, Ready: func() error { return nil }, Status: func() any { return p.standing() }})
	p.group.Go(func() error {
		p.versions.History.Run(ctx, func() { p.ahead(ctx) })
		return nil
	})
	if e, ok := p.versions.History.InForce(); ok && touch && !first && p.versions.WantsTouch(was, e) {
		p.group.Go(func() error {
			err := p.versions.Touch(ctx, "version "+e.Version, func(int, int) {})
			if err != nil && ctx.Err() == nil {
				p.Log.Error().Err(err).Msg("not every contact was looked at under the new configuration; 'tillstream apply --touch' does it again")
			}
			return nil
		})
	}
	return nil
}

// ahead compiles a version that was just put in force, before a partition asks for it.
func (p *process) ahead(ctx context.Context) {
	if e, ok := p.versions.History.InForce(); ok && p.Roles.Processors {
		if err := p.book.Config(ctx, e.Version); err == nil {
			p.Log.Info().Str("config_version", e.Version).Str("by", e.By).Msg("another version of the configuration is in force")
		}
	}
}

func (p *process) standing() ConfigStanding {
	e, _ := p.versions.History.InForce()
	s := ConfigStanding{InForce: e.Version, At: e.At, By: e.By}
	if err := p.book.problems(); err != nil {
		s.Refused = err.Error()
	}
	return s
}

var errNotYet = errors.New("no version is in force yet")

// publishConnections puts the connections of adopted in force, beside whatever else is.
func (p *process) publishConnections(ctx context.Context, adopted *config.Config) error {
	if p.versions == nil {
		return errNotYet
	}
	if err := p.versions.History.CatchUp(ctx); err != nil {
		return err
	}
	e, ok := p.versions.History.InForce()
	if !ok {
		return errNotYet
	}
	files := config.WithConnectionFiles(e.Files, adopted.Files)
	version := config.Version(files)
	if _, _, err := p.versions.Publish(ctx, version, files); err != nil {
		return err
	}
	_, err := p.versions.Activate(ctx, version, false)
	return err
}

// difference is how the folder on disk differs from what runs.
type difference struct {
	restart   bool // in files that count from the next start on
	unapplied bool // in mappings or workflows, which 'tillstream apply' puts in force
}

// differs compares the folder with what runs. f.mu is held.
func (f *follower) differs() (d difference) {
	if f.disk == nil {
		return d
	}
	live := []string{MappingsFolder, WorkflowsFolder}
	for _, folder := range config.Differ(f.p.Config.Files, f.disk) {
		d.restart = d.restart || folder != config.ConnectionsFolder && !slices.Contains(live, folder)
	}
	inForce := f.p.Config.Files
	if f.p.versions != nil {
		if e, ok := f.p.versions.History.InForce(); ok {
			inForce = e.Files
		}
	}
	d.unapplied = slices.ContainsFunc(config.Differ(inForce, f.disk), func(folder string) bool { return slices.Contains(live, folder) })
	return d
}

// startBeats says that this receiver is there, the way its events are appended.
func (p *process) startBeats(ctx context.Context) {
	r := beat.NewReceiver(p.beats(), p.Config.Settings.Instance, func(ctx context.Context, b *schemas.ReceiverBeat) error {
		value, err := p.gate.encode(b)
		if err != nil {
			return fmt.Errorf("encode a beat: %w", err)
		}
		return p.gate.Append(ctx, schemas.TopicReceiverBeats, b.Instance, value)
	})
	p.group.Go(func() error { r.Run(ctx); return nil })
}

func (p *process) beats() beat.Options {
	return beat.Options{Log: p.versions.log, Decode: p.codec.Decode, Grace: p.Config.Settings.Stages.OutageGrace, Lines: p.Log}
}

// followBeats is the watermark of the stages' ticks.
func (p *process) followBeats(ctx context.Context) func() time.Time {
	if p.Config.Settings.Stages.OutageGrace < 0 {
		return p.Now // whether receivers are there or not
	}
	f := beat.NewFollower(p.beats())
	p.group.Go(func() error { f.Run(ctx); return nil })
	return f.Watermark
}
