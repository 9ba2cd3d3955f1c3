package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/config/versions"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// askedAtOnce is how many partitions are looked at side by side.
const askedAtOnce = 8

// How contacts are touched after a version whose workflows want it.
const (
	touchesPerSecond = 2000
	touchesAtOnce    = 500
)

// Versions puts versions of the configuration in force and sees who follows them: a process at its start, and the commands
// beside the processes that run.
type Versions struct {
	History *versions.History

	writer    versions.Writer
	log       versions.Log
	catalogue []string
	closers   []func()
}

func newVersions(c *config.Config, cd *codec.Codec, now func() time.Time, by string, lines zerolog.Logger, log versions.Log) (*Versions, error) {
	client, err := c.Settings.Kafka.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.WithLogger(kafka.Logger(lines)))
	if err != nil {
		return nil, err
	}
	return &Versions{
		History:   versions.New(versions.Options{Log: log, Decode: cd.Decode, Lines: lines}),
		writer:    versions.Writer{Client: client, Encode: cd.Encode, Now: now, By: by},
		log:       log,
		catalogue: knownTo(c).FieldCatalogue, closers: []func(){client.Close},
	}, nil
}

// OpenVersions reaches the schema registry and Kafka, and reads the history. by names who changes something. The caller
// closes it.
func OpenVersions(ctx context.Context, c *config.Config, now func() time.Time, by string, log zerolog.Logger) (*Versions, error) {
	s, err := OpenSources(ctx, c, now, log)
	if err != nil {
		return nil, err
	}
	v, err := newVersions(c, s.Codec, now, by, log, s.Log)
	if err != nil {
		s.Close()
		return nil, err
	}
	v.closers = append(v.closers, s.Close)
	if err := v.History.CatchUp(ctx); err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

// Close ends what OpenVersions opened.
func (v *Versions) Close() {
	for _, end := range v.closers {
		end()
	}
}

// Check compiles a version as the processes do. The error is config.Problems.
func (v *Versions) Check(e versions.Entry) error {
	_, err := compileVersion(e, v.catalogue)
	return err
}

// Publish puts a version in force that is not yet. It returns the one before; the zero Entry: there was none.
func (v *Versions) Publish(ctx context.Context, version string, files map[string]string) (was versions.Entry, published bool, err error) {
	if err := v.History.CatchUp(ctx); err != nil {
		return was, false, err
	}
	was, _ = v.History.InForce()
	if was.Version == version {
		return was, false, nil
	}
	if err := v.writer.Publish(ctx, version, files); err != nil {
		return was, false, err
	}
	return was, true, v.History.CatchUp(ctx)
}

// Partitions are those of the stage that follows versions.
func (v *Versions) Partitions(ctx context.Context) ([]int32, error) {
	info, err := v.log.Describe(ctx, schemas.TopicAutomationInbox)
	if err != nil {
		return nil, err
	}
	list := make([]int32, info.Count)
	for i := range list {
		list[i] = int32(i)
	}
	return list, nil
}

// Following is how far a partition is with a version.
type Following struct {
	Partition int32
	pipeline.Followed
}

// Passed reports whether the partition has read the offset of its inbox.
func (f Following) Passed(offset int64) bool { return f.Next[schemas.TopicAutomationInbox] > offset }

// needs reports whether the partition is to be told of version, its inbox ending at end. One that has not read all is told
// again: the activation of another version may be among it.
func (f Following) needs(version string, end int64, fresh bool) bool {
	if f.Config == "" {
		return !fresh
	}
	return f.Config != version || f.Next[schemas.TopicAutomationInbox] < end
}

// Following tells of every partition which version it follows, as committed.
func (v *Versions) Following(ctx context.Context) ([]Following, error) {
	partitions, err := v.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Following, len(partitions))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(askedAtOnce)
	for i, n := range partitions {
		g.Go(func() error {
			f, err := pipeline.ReadFollowed(ctx, v.log, schemas.TopicAutomationLog, n)
			if err != nil {
				return fmt.Errorf("which version partition %d follows: %w", n, err)
			}
			list[i] = Following{n, f}
			return nil
		})
	}
	return list, g.Wait()
}

// Activate has the partitions follow version that do not yet, or may not when they have read on. It returns the offsets of the records that say so; fresh
// leaves those out that follow none yet: what runs them begins with its own.
func (v *Versions) Activate(ctx context.Context, version string, fresh bool) (map[int32]int64, error) {
	list, err := v.Following(ctx)
	if err != nil {
		return nil, err
	}
	var behind []int32
	for _, f := range list {
		_, end, err := v.log.Bounds(ctx, schemas.TopicAutomationInbox, f.Partition)
		if err != nil {
			return nil, fmt.Errorf("how far partition %d has read: %w", f.Partition, err)
		}
		if f.needs(version, end, fresh) {
			behind = append(behind, f.Partition)
		}
	}
	if len(behind) == 0 {
		return map[int32]int64{}, nil
	}
	return v.writer.Activate(ctx, version, behind)
}

// WantsTouch reports whether next has workflows that contacts are to be looked at for, which was has not: one that starts
// by the clock, or one that moves open runs.
func (v *Versions) WantsTouch(was, next versions.Entry) bool {
	rules, err := compileVersion(next, v.catalogue)
	if err != nil {
		return false
	}
	before, err := compileVersion(was, v.catalogue)
	if err != nil {
		before = automation.Rules{}
	}
	for _, p := range rules.Workflows() {
		old := before.Workflow(p.Name)
		if old != nil && old.Version == p.Version {
			continue
		}
		scheduled := slices.ContainsFunc(p.Starts, func(s workflows.Start) bool { return s.Schedule != nil })
		if scheduled || p.OpenRuns == workflows.Move && old != nil {
			return true
		}
	}
	return false
}

// Touch has the automation stage look at every contact that it knows again, at a bounded rate. told is called after each
// step with how many were, of how many of the partitions read so far.
func (v *Versions) Touch(ctx context.Context, why string, told func(done, of int)) error {
	partitions, err := v.Partitions(ctx)
	if err != nil {
		return err
	}
	pace := rate.NewLimiter(touchesPerSecond, touchesAtOnce)
	done, of := 0, 0
	for _, n := range partitions {
		keys, err := pipeline.StateKeys(ctx, v.log, schemas.TopicAutomationLog, n)
		if err != nil {
			return fmt.Errorf("read the contacts of partition %d: %w", n, err)
		}
		of += len(keys)
		for chunk := range slices.Chunk(keys, touchesAtOnce) {
			if err := pace.WaitN(ctx, len(chunk)); err != nil {
				return err
			}
			if err := v.writer.Touch(ctx, n, chunk, why); err != nil {
				return err
			}
			done += len(chunk)
			told(done, of)
		}
	}
	return nil
}

// As is v for changes that somebody else makes: the history names them.
func (v *Versions) As(by string) *Versions {
	w := *v
	w.writer.By, w.closers = by, nil
	return &w
}
