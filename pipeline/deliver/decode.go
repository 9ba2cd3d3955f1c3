package deliver

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

// schemaIDBytes is the head of a value that names its schema: a zero and four bytes of id.
const schemaIDBytes = 5

// decoded is what became of one value.
type decoded struct {
	e   *entry
	rec schemas.Record
	err error
}

// decodeWaiting decodes what was admitted. The registry may be slow, so it is asked outside of mu, and for one unknown
// id once in a while only: what needs another id does not wait for it. What cannot be decoded yet fills its window.
func (d *Deliverer) decodeWaiting() {
	d.lock()
	list, now := d.undecoded, d.now
	d.undecoded = nil
	d.mu.Unlock()
	if len(list) == 0 {
		return
	}
	var done []decoded
	var later []*entry
	for _, e := range list {
		id := string(e.value[:min(schemaIDBytes, len(e.value))])
		if now.Before(d.notAsked[id]) {
			later = append(later, e)
			continue
		}
		rec, err := d.opts.Codec.Decode(e.value)
		if errors.Is(err, codec.ErrUnavailable) {
			d.notAsked[id] = now.Add(d.opts.RetryBase)
			later = append(later, e)
			continue
		}
		delete(d.notAsked, id)
		done = append(done, decoded{e, rec, err})
	}
	d.lock()
	defer d.mu.Unlock()
	for _, x := range done {
		if !x.e.win.dropped {
			d.take(x)
		}
	}
	for _, e := range later {
		if !e.win.dropped {
			e.refusedID = true
			d.undecoded = append(d.undecoded, e)
		}
	}
}

// take puts a command into its lane, and what is none among the dead letters. Deliverer.mu is held.
func (d *Deliverer) take(x decoded) {
	e, err := x.e, x.err
	cmd, ok := x.rec.(*schemas.Command)
	if err == nil && !ok {
		err = fmt.Errorf("%w: it is a %T", errNoCommand, x.rec)
	}
	if err != nil {
		d.deadLetter(e, schemas.CauseUndecodable, result{entry: e, outcome: sinks.Outcome{
			Err: fmt.Errorf("command cannot be read: %w", err), Remedy: "see which program wrote it; replay it from a version that knows its schema",
		}})
		return
	}
	e.win.decoded(e)
	e.know(cmd)
	d.place(e)
}

// take keeps what the record says. The record itself shares its memory with all that was fetched with it.
func (e *entry) take(r *kgo.Record) {
	e.key, e.value, e.at, e.trace = bytes.Clone(r.Key), bytes.Clone(r.Value), r.Timestamp, traceOf(r)
}

// know keeps the command that was decoded.
func (e *entry) know(cmd *schemas.Command) {
	e.cmd = cmd
	if !cmd.At.IsZero() {
		e.at = cmd.At
	}
}
