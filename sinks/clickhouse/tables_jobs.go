package clickhouse

import (
	"slices"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

type job = *schemas.Job

var jobsTable = tableOf[job]{"jobs", slices.Concat([]column[job]{
	of("job_id", func(c cell[job]) string { return c.rec.JobID }),
	of("kind", func(c cell[job]) string { return string(c.rec.Kind) }),
	of("filter", func(c cell[job]) map[string]string { return c.rec.Filter }),
	of("per_minute", func(c cell[job]) int64 { return c.rec.PerMinute }),
	of("state", func(c cell[job]) string { return string(c.rec.State) }),
	of("count", func(c cell[job]) int64 { return c.rec.Count }),
	of("done", func(c cell[job]) int64 { return c.rec.Done }),
	of("skipped", func(c cell[job]) int64 { return c.rec.Skipped }),
	of("failed", func(c cell[job]) int64 { return c.rec.Failed }),
	of("detail", func(c cell[job]) string { return c.rec.Detail }),
	of("why", func(c cell[job]) string { return c.rec.Why }),
	of("by", func(c cell[job]) string { return c.rec.By }),
	instant("asked_at", func(c cell[job]) time.Time { return c.rec.AskedAt }),
	instant("at", func(c cell[job]) time.Time { return c.rec.At }),
}, coordinates[job]())}

type jobItem = *schemas.JobItem

var jobItemsTable = tableOf[jobItem]{"job_items", slices.Concat([]column[jobItem]{
	of("job_id", func(c cell[jobItem]) string { return c.rec.JobID }),
	of("number", func(c cell[jobItem]) int64 { return c.rec.Number }),
	of("item", func(c cell[jobItem]) string { return c.rec.Item }),
	of("kind", func(c cell[jobItem]) string { return string(c.rec.Kind) }),
	of("result", func(c cell[jobItem]) string { return string(c.rec.Result) }),
	of("detail", func(c cell[jobItem]) string { return c.rec.Detail }),
	of("destination", func(c cell[jobItem]) string { return c.rec.Destination }),
	of("contact_key", func(c cell[jobItem]) string { return c.rec.ContactKey }),
	of("by", func(c cell[jobItem]) string { return c.rec.By }),
	instant("at", func(c cell[jobItem]) time.Time { return c.rec.At }),
}, coordinates[jobItem]())}
