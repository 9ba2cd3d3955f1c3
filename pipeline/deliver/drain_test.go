package deliver

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// counting is a destination that answers at once, and counts what it is asked.
type counting struct {
	gone
	requests atomic.Int64
}

func (c *counting) Write(_ context.Context, batch []schemas.Command) (out []sinks.Outcome) {
	c.requests.Add(int64(len(batch)))
	for range batch {
		out = append(out, sinks.Outcome{Kind: sinks.Delivered})
	}
	return out
}

// A backlog costs the requests that its merged states need: five changes of each contact are one request.
func TestBacklogCostsOneRequestForEachContact(t *testing.T) {
	requests, _ := drain(t, 20_000, 2000)
	if ratio := float64(requests) / 2000; ratio > 1.1 {
		t.Errorf("%d requests for 2,000 contacts, want 1.1 for each at most", requests)
	}
}

// BenchmarkDrain delivers 100,000 changes of 20,000 contacts to a destination that takes no time.
func BenchmarkDrain(b *testing.B) {
	for range b.N {
		const contacts = 20_000
		requests, took := drain(b, 100_000, contacts)
		b.ReportMetric(float64(requests)/contacts, "requests/contact")
		b.ReportMetric(float64(requests)/took.Seconds(), "requests/s")
	}
}

// drain lets a backlog of changes go that is there at the start.
func drain(t testing.TB, changes, contacts int) (requests int64, took time.Duration) {
	r := newRig(t)
	const part = 5000
	for at := 0; at < changes; at += part {
		var cmds []schemas.Command
		for i := at; i < at+part; i++ {
			cmds = append(cmds, r.contact(fmt.Sprintf("c%d@x.example", i%contacts), int64(1+i/contacts)))
		}
		r.produce(cmds...)
	}
	c := &counting{}
	o := r.options("one", c)
	o.session = sessionTimeout
	began := time.Now()
	run := r.start(o)
	run.through(int64(changes))
	took = time.Since(began)
	run.stop()
	return c.requests.Load(), took
}
