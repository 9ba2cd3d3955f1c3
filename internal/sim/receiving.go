package sim

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/internal/sim/broker"
	"github.com/tillstream/tillstream/internal/sim/sched"
	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/schemas"
)

// receiving is a world of receivers and a provider that sends each webhook until it is acknowledged.
type receiving struct {
	w     *world
	hooks []*hook
}

type hook struct {
	body   []byte
	forged bool
	acked  bool
	tries  int
}

func newReceiving(w *world) *receiving { return &receiving{w: w} }

// provider is a connector whose signature is a header.
type provider struct{ p *sched.Proc }

func (v provider) Verify(_ context.Context, r *http.Request, body []byte) (connectors.Delivery, connectors.Verdict) {
	if r.Header.Get("Sig") != "good" {
		return connectors.Delivery{}, connectors.Verdict{Kind: connectors.Forged, Reason: "the signature does not match"}
	}
	return connectors.Delivery{
		Connection: "shop", Environment: schemas.Live, ID: r.Header.Get("Id"), Body: body, ReceivedAt: v.p.Now(), Origin: schemas.OriginWebhook,
	}, connectors.Verdict{Kind: connectors.Genuine}
}

var providerConnector = connectors.Connector{Type: "sim", Topic: topicIn, Normalize: func(d connectors.Delivery) ([]schemas.OrderEvent, error) {
	if bytes.Contains(d.Body, []byte("odd")) {
		return nil, fmt.Errorf("a body of no known form")
	}
	return []schemas.OrderEvent{{EventID: d.ID, RootID: d.ID, Environment: d.Environment, Connection: d.Connection, Body: d.Body}}, nil
}}

func (r *receiving) groups() []string { return nil }
func (r *receiving) calm()            {}
func (r *receiving) topics()          { r.w.b.Create(topicIn, int32(r.w.cfg.Partitions), false) }

func (r *receiving) begin(span int64) {
	for i := range r.w.cfg.Events {
		body := fmt.Sprintf(`{"hook":%d,"pad":"%x"}`, i, r.w.work.r.Uint64())
		switch r.w.work.r.IntN(12) {
		case 0:
			r.w.hit(Garbage, PartIngest)
			body = "odd " + body
		case 1:
			r.w.hit(Garbage, PartIngest)
			body += "\xff\x00"
		}
		h := &hook{body: []byte(body), forged: r.w.work.r.IntN(15) == 0}
		r.hooks = append(r.hooks, h)
		r.w.s.After(time.Duration(r.w.work.r.Int64N(span)), func() { r.send(h) })
	}
}

// send is one try of the provider, with the next one planned: it waits 10 s for an answer.
func (r *receiving) send(h *hook) {
	w := r.w
	if h.acked || h.forged && h.tries > 0 {
		return
	}
	if h.tries++; h.tries > 1 {
		w.hit(Duplicate, PartIngest)
	} else {
		w.events++
	}
	w.s.After(10*time.Second+time.Duration(w.work.r.IntN(3000))*time.Millisecond, func() { r.send(h) })
	s := w.slots[w.work.r.IntN(len(w.slots))]
	if s.proc == nil || s.serve == nil || s.ended || s.stopped() {
		return
	}
	p, serve := s.proc, s.serve
	p.Go(func() {
		req := httptest.NewRequest(http.MethodPost, "/webhooks/shop", bytes.NewReader(h.body))
		req.Header.Set("Id", strconv.Itoa(len(h.body))+string(h.body[:min(len(h.body), 12)]))
		if !h.forged {
			req.Header.Set("Sig", "good")
		}
		rec := httptest.NewRecorder()
		serve(rec, req)
		p.Check() // the dead answer nobody
		w.trace("webhook answered %d by %s", rec.Code, s.name)
		w.noteInts(int64(rec.Code))
		if rec.Code/100 == 2 {
			if h.forged {
				w.violate(1, "a forged webhook was acknowledged")
			}
			h.acked = true
		}
	})
}

// appender appends as ingest's own does, with a bounded wait.
type appender struct {
	w *world
	p *sched.Proc
	c *broker.Client
}

var _ ingest.Appender = appender{}

func (a appender) Append(ctx context.Context, topic, key string, value []byte) error {
	ctx, cancel := a.p.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	return a.c.Produce(ctx, &kgo.Record{
		Topic: topic, Partition: partitionOf(key, a.w.cfg.Partitions), Key: []byte(key), Value: value,
		Headers: []kgo.RecordHeader{{Key: pipeline.HeaderStamp, Value: strconv.AppendInt(nil, a.p.Now().UnixMilli(), 10)}},
	})
}

// hasty answers before the record is there.
type hasty struct{ appender }

func (a hasty) Append(_ context.Context, topic, key string, value []byte) error {
	a.p.Go(func() { _ = a.appender.Append(context.Background(), topic, key, value) })
	return nil
}

func (r *receiving) run(env roleEnv) error {
	a := appender{r.w, env.p, r.w.b.Client(env.p)}
	o := ingest.Options{
		Endpoints: []ingest.Endpoint{{Connection: "shop", Connector: providerConnector, Webhook: provider{env.p}, Environment: schemas.Live}},
		Appender:  a, Encode: (&procCodec{w: r.w, p: env.p}).Encode, Clock: env.clock, Log: env.log,
	}
	if m := r.w.mutant; m != nil && m.hasty {
		o.Appender = hasty{a}
	}
	h, err := ingest.New(o)
	if err != nil {
		return err
	}
	env.s.serve = h.ServeHTTP
	_ = env.p.NewSignal().Wait(env.ctx)
	env.s.serve = nil
	return nil
}

func (r *receiving) behind() string {
	for i, h := range r.hooks {
		if !h.acked && !h.forged {
			return fmt.Sprintf("webhook %d is not acknowledged", i)
		}
	}
	return ""
}

// check is invariant 1: what was acknowledged is there, byte for byte, and nothing that was forged.
func (r *receiving) check() {
	there := map[string]int{}
	for _, p := range r.w.b.Topic(topicIn).Parts {
		for _, rec := range p.Committed() {
			if ev, err := shared.Decode(rec.Value); err == nil {
				there[string(ev.(*schemas.OrderEvent).Body)]++
			}
		}
	}
	for i, h := range r.hooks {
		switch n := there[string(h.body)]; {
		case h.acked && n == 0:
			r.w.violate(1, "webhook %d was acknowledged and is not in the log", i)
		case h.forged && n > 0:
			r.w.violate(1, "forged webhook %d is in the log", i)
		case n > h.tries:
			r.w.violate(1, "webhook %d was sent %d times and is in the log %d times", i, h.tries, n)
		}
		delete(there, string(h.body))
	}
	if len(there) > 0 {
		r.w.violate(1, "%d records in the log were never sent", len(there))
	}
}
