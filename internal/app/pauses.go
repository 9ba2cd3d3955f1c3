package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/pauses"
	"github.com/tillstream/tillstream/schemas"
)

// PausesPart is the part of the board that tells what is paused; its status is a list of schemas.Pause.
const PausesPart = "pauses"

// pausesDesk reads and writes pauses for the management port.
type pausesDesk struct {
	book    *Pauses
	known   func() (destinations, connections []string)
	waiting func(p schemas.Pause) *int64
}

// startPauses follows what is paused, and has the management port answer about it.
func (p *process) startPauses(ctx context.Context) error {
	cluster, err := kafka.NewCluster(p.Config.Settings.Kafka, clock.System(), p.Log)
	if err != nil {
		return err
	}
	p.atEnd(cluster.Close)
	f := pauses.New(pauses.Options{Log: cluster, Decode: p.codec.Decode, Lines: p.Log})
	if err := p.metrics.Register(f); err != nil {
		return fmt.Errorf("metrics of pauses: %w", err)
	}
	p.pauses, p.cluster = f, cluster
	p.board.Add(api.Part{Name: PausesPart, Ready: f.Ready, Status: func() any { return f.List() }})
	p.board.SetPauses(pausesDesk{
		book:  &Pauses{Follower: f, log: cluster, encode: p.codec.Encode, now: p.Now},
		known: p.named, waiting: p.heldBack,
	})
	p.group.Go(func() error { f.Run(ctx); return nil })
	return nil
}

// named are the configured names that can be paused.
func (p *process) named() (dests, conns []string) {
	c := p.Config
	if p.Desk != nil { // accounts come and go while the process runs
		if now, err := p.Desk.Load(); err == nil {
			c = now
		}
	}
	return Pausable(c)
}

// Pausable are the names of a configuration that can be paused.
func Pausable(c *config.Config) (dests, conns []string) {
	conns = append(conns, c.Disconnected...)
	for _, d := range c.Destinations {
		dests = append(dests, d.Name)
	}
	for _, x := range c.Connections {
		conns = append(conns, x.Name)
	}
	return dests, conns
}

// Pauses reads and writes what is paused: a process, and the commands beside the processes that run.
type Pauses struct {
	Follower *pauses.Follower

	log    pauses.Log
	encode func(schemas.Record) ([]byte, error)
	now    func() time.Time
	close  func()
}

// OpenPauses reaches the schema registry and Kafka, and reads what is paused. The caller closes it.
func OpenPauses(ctx context.Context, k kafka.Options, r config.Registry, now func() time.Time, lines zerolog.Logger) (*Pauses, error) {
	ctx, cancel := context.WithTimeout(ctx, decisionsTimeout)
	defer cancel()
	c, err := openCodec(ctx, r)
	if err != nil {
		return nil, err
	}
	cluster, err := kafka.NewCluster(k, clock.System(), lines)
	if err != nil {
		return nil, err
	}
	p := &Pauses{
		Follower: pauses.New(pauses.Options{Log: cluster, Decode: c.Decode, Lines: lines}),
		log:      cluster, encode: c.Encode, now: now, close: cluster.Close,
	}
	if err := p.Follower.CatchUp(ctx); err != nil {
		p.Close()
		return nil, fmt.Errorf("kafka at %v is not reached: %w", k.Brokers, err)
	}
	return p, nil
}

// Close ends what OpenPauses opened.
func (p *Pauses) Close() {
	if p.close != nil {
		p.close()
	}
}

// Set pauses or resumes. What is so already is left as it is, and told.
func (p *Pauses) Set(ctx context.Context, want schemas.Pause) (api.PauseView, error) {
	want.At = p.now().UTC()
	if err := pauses.Validate(want); err != nil {
		return api.PauseView{}, &connections.Refusal{Kind: connections.Invalid, Detail: err.Error()}
	}
	if err := p.Follower.CatchUp(ctx); err != nil {
		return api.PauseView{}, err
	}
	is, paused := p.Follower.Paused(want.Subject, want.Name)
	switch {
	case paused && want.Paused:
		return PauseView(is), nil
	case !paused && !want.Paused:
		return api.PauseView{}, &connections.Refusal{Kind: connections.Conflict, Detail: fmt.Sprintf("%s %s is not paused", strings.ToLower(string(want.Subject)), want.Name)}
	}
	if err := pauses.Write(ctx, p.log, p.encode, want); err != nil {
		return api.PauseView{}, err
	}
	return PauseView(want), p.Follower.CatchUp(ctx)
}

// PauseView shows a pause.
func PauseView(p schemas.Pause) api.PauseView {
	return api.PauseView{Subject: p.Subject, Name: p.Name, Paused: p.Paused, Why: outbound.Redact(p.Why), By: p.By, At: p.At}
}

// Pauses implements api.Pauses.
func (d pausesDesk) Pauses(ctx context.Context) ([]api.PauseView, error) {
	if err := d.book.Follower.CatchUp(ctx); err != nil {
		return nil, err
	}
	out := []api.PauseView{}
	for _, p := range d.book.Follower.List() {
		v := PauseView(p)
		v.Waiting = d.waiting(p)
		out = append(out, v)
	}
	return out, nil
}

// Set implements api.Pauses. A name that is not configured can be resumed only.
func (d pausesDesk) Set(ctx context.Context, want schemas.Pause) (api.PauseView, error) {
	dests, conns := d.known()
	if err := CheckPause(want, dests, conns); err != nil {
		return api.PauseView{}, err
	}
	v, err := d.book.Set(ctx, want)
	if err == nil && v.Paused {
		v.Waiting = d.waiting(want)
	}
	return v, err
}

// CheckPause refuses to pause what is not configured. What is no more configured can be resumed.
func CheckPause(want schemas.Pause, dests, conns []string) error {
	what, list := "destination", dests
	if want.Subject == schemas.PauseConnection {
		what, list = "connection", conns
	}
	for _, name := range list {
		if name == want.Name {
			return nil
		}
	}
	if !want.Paused {
		return nil
	}
	if len(list) == 0 {
		return connections.Refuse(connections.NotFound, "there is no %s %q, and no other", what, want.Name)
	}
	return connections.Refuse(connections.NotFound, "there is no %s %q; there are %s", what, want.Name, strings.Join(list, ", "))
}
