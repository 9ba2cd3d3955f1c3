package sim

import (
	"context"
	"encoding/json"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/schemas"
)

// flowMutants are the mistakes about workflows, their configuration and their clock.
var flowMutants = []Mutant{
	{
		Name: "config-forgotten", About: "a recovery begins with the first version of the configuration", Kind: kindFlows,
		log: func(_ *slot, l kafka.Log) kafka.Log { return forgetfulLog{l, "config"} },
	},
	{
		Name: "config-of-now", About: "timers fire under the newest version, whatever their partition follows", Kind: kindFlows,
		stage: func(pipeline.BoundStage) pipeline.BoundStage {
			return pipeline.Bind(modernStage{automation.NewFollowing(bookOfTheWorld)})
		},
	},
	{
		Name: "activation-lost", About: "a partition reads that a version is in force, and goes on as before", Kind: kindFlows,
		decode: func(rec schemas.Record) schemas.Record {
			if a, ok := rec.(*schemas.ConfigActivation); ok {
				return &schemas.ConfigActivation{Version: versionBad, By: a.By, At: a.At}
			}
			return rec
		},
	},
	{
		Name: "watermark-ignored", About: "deadlines pass while no receiver is there to take events", Kind: kindFlows,
		decode: func(rec schemas.Record) schemas.Record {
			if t, ok := rec.(*schemas.Tick); ok {
				return &schemas.Tick{Owner: t.Owner, At: t.At}
			}
			return rec
		},
	},
	{
		Name: "words-ignored", About: "a runner of jobs does not learn what others said about an item", Kind: kindJobs,
		decode: func(rec schemas.Record) schemas.Record {
			if i, ok := rec.(*schemas.JobItem); ok {
				return &schemas.JobItem{JobID: i.JobID, Kind: i.Kind, Item: i.Item, Result: schemas.ItemFailed, At: i.At}
			}
			return rec
		},
	},
	{
		Name: "watermark-forgotten", About: "a recovery does not know how far receivers were there", Kind: kindFlows,
		log: func(_ *slot, l kafka.Log) kafka.Log { return forgetfulLog{l, "watermark"} },
	},
	{
		Name: "answer-lost", About: "what a destination answers about a list is not taken", Kind: kindFlows,
		stage: func(pipeline.BoundStage) pipeline.BoundStage {
			return pipeline.Bind(deafStage{automation.NewFollowing(bookOfTheWorld)})
		},
	},
	{
		Name: "once-in-memory", About: "what runs once is forgotten with the process that knew it", Kind: kindFlows,
		stage: func(pipeline.BoundStage) pipeline.BoundStage {
			return pipeline.Bind(amnesicStage{automation.NewFollowing(bookOfTheWorld)})
		},
	},
	{
		Name: "timer-first", About: "a deadline passes before an event that is stamped exactly at it", Kind: kindFlows,
		stage: func(pipeline.BoundStage) pipeline.BoundStage {
			return pipeline.Bind(hastyStage{automation.NewFollowing(bookOfTheWorld)})
		},
	},
	{
		Name: "effects-outside", About: "commands are written beside the transaction, not in it", Kind: kindFlows,
		log: func(_ *slot, l kafka.Log) kafka.Log {
			return sessionLog{l, func(in kafka.Session) kafka.Session { return leaky{in, l} }}
		},
	},
}

// forgetfulLog reads changelogs whose meta records lack one fact.
type forgetfulLog struct {
	kafka.Log
	fact string
}

func (l forgetfulLog) Read(ctx context.Context, r kafka.Range, apply func([]*kgo.Record, int64) error) error {
	return l.Log.Read(ctx, r, func(records []*kgo.Record, next int64) error {
		spoiled := make([]*kgo.Record, len(records))
		for i, rec := range records {
			spoiled[i] = rec
			var m map[string]json.RawMessage
			if string(rec.Key) != metaKey || json.Unmarshal(rec.Value, &m) != nil {
				continue
			}
			delete(m, l.fact)
			copied := *rec
			copied.Value, _ = json.Marshal(m)
			spoiled[i] = &copied
		}
		return apply(spoiled, next)
	})
}

// modernStage lets timers fire under another version than their partition's.
type modernStage struct{ *automation.Stage }

func (m modernStage) Apply(s automation.State, in processors.Input) (automation.State, []processors.Output, error) {
	if in.Timer != nil {
		in.Config = versionRemoves
	}
	return m.Stage.Apply(s, in)
}

// deafStage takes no answers.
type deafStage struct{ *automation.Stage }

func (d deafStage) Apply(s automation.State, in processors.Input) (automation.State, []processors.Output, error) {
	if _, ok := in.Record.(*schemas.ListAnswer); ok {
		return s, nil, nil
	}
	return d.Stage.Apply(s, in)
}

// amnesicStage loses from its bytes what ran once.
type amnesicStage struct{ *automation.Stage }

func (a amnesicStage) Decode(b []byte) (automation.State, error) {
	s, err := a.Stage.Decode(b)
	s.Done = nil
	return s, err
}

// hastyStage sets its timers a moment too early.
type hastyStage struct{ *automation.Stage }

func (h hastyStage) Timers(s automation.State) []processors.Timer {
	list := h.Stage.Timers(s)
	for i := range list {
		list[i].At = list[i].At.Add(-1)
	}
	return list
}

// leaky writes commands outside of the transaction.
type leaky struct {
	kafka.Session
	log kafka.Log
}

func (l leaky) Produce(ctx context.Context, rec *kgo.Record, promise func(*kgo.Record, error)) {
	if rec.Topic != schemas.TopicCommands {
		l.Session.Produce(ctx, rec, promise)
		return
	}
	l.log.Append(ctx, rec, promise)
}
