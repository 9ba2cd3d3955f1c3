package app

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/load"
)

// engine is what the board wants of a stage's engine.
type engine interface {
	Ready() error
	Status() []pipeline.PartitionStatus
	Resume(partition int32) bool
}

// partOf is a stage on the board.
func (p *process) partOf(stage string, e engine, groups *groups) api.Part {
	group := func() api.Group { return groups.of(stage) }
	return api.Part{
		Name: "stage " + stage, Ready: e.Ready, Alive: p.turning(e),
		Reasons: func() []string { return stageReasons(e) },
		Status:  func() any { return e.Status() },
		Stage: &api.Stage{Name: stage, Group: group, Resume: func(n int32) api.Resumption {
			return resumption(e, stage, p.Config.Settings.Instance, n, group())
		}},
	}
}

// turning looks at when the loops of x last turned, where x tells: Beat is the oldest of them, zero for none that runs.
func (p *process) turning(x any) func() error {
	b, ok := x.(interface{ Beat() time.Time })
	if !ok {
		return nil
	}
	return func() error {
		last := b.Beat()
		if silent := p.Now().Sub(last); !last.IsZero() && silent > api.HangMax {
			return fmt.Errorf("one of its loops has not turned for %v: restart the process, which loses nothing, and report it", silent.Round(time.Second))
		}
		return nil
	}
}

// stageReasons lists what keeps a stage from being ready: the lanes in its own words, then each partition in full, which
// its words name in short.
func stageReasons(e engine) (reasons []string) {
	if err := e.Ready(); err != nil {
		for _, part := range strings.Split(err.Error(), ", ") {
			if _, rest, ok := strings.Cut(part, ": "); !strings.HasPrefix(part, "partition ") && !(ok && strings.HasPrefix(rest, "partition ")) {
				reasons = append(reasons, part)
			}
		}
	}
	for _, s := range e.Status() {
		switch s.State {
		case "running":
		case "stalled":
			reasons = append(reasons, fmt.Sprintf("partition %d is stalled: %s: %s; %s", s.Partition, s.Reason, s.Detail, s.Remedy))
		default:
			reasons = append(reasons, fmt.Sprintf("partition %d is %s: changelog offset %d of %d", s.Partition, s.State, s.RestorePosition, s.RestoreTarget))
		}
	}
	return reasons
}

// loadReasons lists what keeps the loader from being ready: several partitions often have the same trouble.
func loadReasons(ready error, s load.Status) (reasons []string) {
	where := map[string][]string{}
	var order []string
	for _, p := range s.Partitions {
		if p.Trouble == "" {
			continue
		}
		if where[p.Trouble] == nil {
			order = append(order, p.Trouble)
		}
		where[p.Trouble] = append(where[p.Trouble], fmt.Sprintf("%s/%d", p.Topic, p.Partition))
	}
	// The loader is not ready for the trouble of one of them, or for one of its own.
	if ready != nil {
		if own := outbound.Redact(ready.Error()); !slices.ContainsFunc(order, func(trouble string) bool { return strings.Contains(own, trouble) }) {
			reasons = append(reasons, own)
		}
	}
	for _, trouble := range order {
		reasons = append(reasons, strings.Join(where[trouble], ", ")+": "+trouble)
	}
	return reasons
}

// resumption resumes a partition and says what came of it.
func resumption(e engine, stage, instance string, n int32, group api.Group) api.Resumption {
	name := fmt.Sprintf("partition %d of stage %s", n, stage)
	for _, s := range e.Status() {
		switch {
		case s.Partition != n:
		case s.State != "stalled":
			return api.Resumption{Outcome: api.NotStalled, Detail: fmt.Sprintf("%s is %s at %s: there is nothing to resume", name, s.State, instance)}
		case e.Resume(n):
			return api.Resumption{Outcome: api.Resumed, Detail: fmt.Sprintf("%s was stalled (%s: %s) and recovers now at %s", name, s.Reason, s.Detail, instance)}
		default: // its cause may pass, and it is being looked whether it did
			return api.Resumption{Outcome: api.NotStalled, Detail: fmt.Sprintf("%s is stalled (%s) and tries again by itself at this moment at %s", name, s.Reason, instance)}
		}
	}
	who := "who has it is not known here"
	switch {
	case group.At.IsZero():
	case int(n) >= len(group.Partitions):
		who = fmt.Sprintf("the stage has %d partitions, counted from 0", len(group.Partitions))
	case group.Partitions[n].Member == "":
		who = "nobody had it at " + group.At.UTC().Format(time.TimeOnly) + "Z, as Kafka told"
	default:
		who = "a process at " + group.Partitions[n].Member + " has it"
	}
	return api.Resumption{Outcome: api.NotOwned, Detail: fmt.Sprintf("%s is not at this process (%s): %s", name, instance, who)}
}
