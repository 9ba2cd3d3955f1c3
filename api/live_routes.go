package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// writeMax is how long a reader of a stream may take for one message. One that is slower is cut off, and comes again.
const writeMax = 15 * time.Second

func (b *Board) liveRoutes(t *table) {
	part := served[Tail]{
		of: func() (Tail, bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.reads.tail, b.reads.tail != nil
		},
		missing: "this process has not reached Kafka yet, whose end is followed",
	}
	part.stream(t, Route{
		Method: "GET", Path: "/api/v1/events/live", Role: Viewer, CLI: "tillstream events --follow", Stream: true,
		Summary: "What comes in right now, as server-sent events: record, left_out, heartbeat, end; at most 20 records a second",
		Params: []Param{
			textParam,
			{"kinds", "of event, transition, run, command, delivery, dead_letter, with commas; default: all"},
			storeParam, orderParam, emailParam, statusParam,
			kindParam, environmentParam,
			{"destination", "configured name of a destination"},
			{"bad", "true: only what somebody should look at"},
			personalParam,
			{"last_event_id", "for clients that cannot send the header Last-Event-ID"},
		},
	}, follow)
}

func follow(tail Tail, w http.ResponseWriter, r *http.Request, q *query) (any, error) {
	personal, err := personalData(r, q)
	if err != nil {
		return nil, err
	}
	l := LiveQuery{
		Text: q.text("q"), Store: q.text("store"), Order: q.text("order"), Email: q.text("email"), Status: schemas.PaymentStatus(strings.ToUpper(q.text("status"))),
		EventKind: schemas.EventKind(strings.ToUpper(q.text("kind"))), Environment: environment(q), Destination: q.text("destination"), Bad: q.flag("bad"),
		After: r.Header.Get("Last-Event-ID"), PersonalData: personal,
	}
	if l.After == "" {
		l.After = q.text("last_event_id")
	}
	if kinds := q.text("kinds"); kinds != "" {
		l.Kinds = strings.Split(kinds, ",")
	}
	if q.err != nil {
		return nil, q.err
	}
	s, err := tail.Follow(l)
	if errors.Is(err, ErrTooManyStreams) {
		p := Refuse(CodeBusy, "%s; close one, or ask another process", err.Error())
		p.retryAfter = 10
		return nil, p
	}
	if err != nil {
		return nil, err
	}
	defer s.Close()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no") // a proxy in front must pass each message on at once
	w.WriteHeader(http.StatusOK)
	c := http.NewResponseController(w)
	send := func(text string) bool {
		// A writer without deadlines, as those of tests, is taken as it is.
		_ = c.SetWriteDeadline(time.Now().Add(writeMax))
		if _, err := w.Write([]byte(text)); err != nil {
			return false
		}
		return c.Flush() == nil
	}
	if !send("retry: 2000\n\n") {
		return nil, nil
	}
	for {
		m, ok := s.Next(r.Context())
		if !ok || !send(sse(m)) {
			return nil, nil
		}
	}
}

// sse is a message as the stream has it. JSON has no line ends, so that one line of data holds it.
func sse(m LiveMessage) string {
	data, err := json.Marshal(m.Data)
	if err != nil { // our own types can always be written
		data = []byte("{}")
	}
	id := ""
	if m.ID != "" {
		id = "id: " + m.ID + "\n"
	}
	return fmt.Sprintf("%sevent: %s\ndata: %s\n\n", id, m.Event, data)
}
