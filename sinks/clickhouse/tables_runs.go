package clickhouse

import (
	"slices"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

type runStep = *schemas.RunStep

var runStepsTable = tableOf[runStep]{"run_steps", slices.Concat([]column[runStep]{
	of("workflow", func(c cell[runStep]) string { return c.rec.Workflow }),
	of("contact_key", func(c cell[runStep]) string { return c.rec.ContactKey }),
	of("run_id", func(c cell[runStep]) string { return c.rec.RunID }),
	of("number", func(c cell[runStep]) int64 { return c.rec.Number }),
	of("workflow_version", func(c cell[runStep]) string { return c.rec.WorkflowVersion }),
	of("config_version", func(c cell[runStep]) string { return c.rec.ConfigVersion }),
	of("root_key", func(c cell[runStep]) string { return c.rec.RootKey }),
	of("event_id", func(c cell[runStep]) string { return c.rec.EventID }),
	of("step", func(c cell[runStep]) string { return c.rec.Step }),
	of("kind", func(c cell[runStep]) string { return string(c.rec.Kind) }),
	of("detail", func(c cell[runStep]) string { return c.rec.Detail }),
	of("wait_id", func(c cell[runStep]) string { return c.rec.WaitID }),
	instant("deadline", func(c cell[runStep]) time.Time { return c.rec.Deadline }),
	of("command_id", func(c cell[runStep]) string { return c.rec.CommandID }),
	of("destination", func(c cell[runStep]) string { return c.rec.Destination }),
	of("origin", func(c cell[runStep]) string { return string(c.rec.Origin) }),
	of("test", func(c cell[runStep]) bool { return c.rec.Test }),
	of("shadow", func(c cell[runStep]) bool { return c.rec.Shadow }),
	instant("at", func(c cell[runStep]) time.Time { return c.rec.At }),
}, coordinates[runStep]())}
