package connections

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/poll"
)

// How often a connection is looked after, and the bounds of one look.
const (
	registerEvery = 10 * time.Minute
	checkEvery    = time.Hour
	checkAgain    = 5 * time.Minute // after a check that found something bad
	watchEvery    = time.Minute
	retryMin      = time.Second
	retryMax      = time.Minute
	callTimeout   = 2 * time.Minute // of one registration or check, the pauses that a provider asks for included
	jitterShare   = 0.1             // of an interval
)

// connection is one entry of the list, from the moment it was read.
type connection struct {
	m   *Manager
	cfg config.Connection
	// former serves until this one does; nil: there is none. The manager's mutex guards it.
	former *connection

	// life lasts until the source is closed, ctx until the loops have to end.
	life, ctx context.Context
	die, stop context.CancelFunc
	done      chan struct{}

	mu         sync.Mutex
	src        connectors.Source
	closed     bool
	serving    bool
	opening    error // why it could not be opened
	registered registered
	tried      bool
	findings   []connectors.Finding
	checkedAt  time.Time
	watched    []connectors.Finding
	budget     outbound.Budget
	counts     bool // the source counts its budget
	refusedAt  time.Time
	lastEvent  time.Time
	since      map[string]time.Time // of the alarms that are on
}

// registered is how the registration went last.
type registered struct {
	connectors.Registration
	at       time.Time
	err      error
	mended   string
	mendedAt time.Time
}

var errNotTried = errors.New("it was not tried yet")

func (m *Manager) newConnection(cfg config.Connection) *connection {
	c := &connection{m: m, cfg: cfg, done: make(chan struct{}), since: map[string]time.Time{}}
	c.life, c.die = context.WithCancel(m.ctx)
	c.ctx, c.stop = context.WithCancel(c.life)
	return c
}

func (c *connection) source() connectors.Source {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.src
}

// close closes the source once.
func (c *connection) close() {
	c.mu.Lock()
	src, was := c.src, c.closed
	c.closed = true
	c.mu.Unlock()
	if src != nil && !was {
		if err := safely(src.Close); err != nil {
			c.m.o.Log.Warn().Err(err).Str("connection", c.cfg.Name).Msg("source not closed in order")
		}
	}
	c.die()
}

// run opens the source, lets it take over, and looks after it until it is stopped.
func (c *connection) run() {
	defer close(c.done)
	if f := c.former; f != nil {
		f.stop() // two of one account would undo each other's registration
		<-f.done
		if !f.isServing() {
			c.inherit(f)
		}
	}
	if !c.repeat(c.open) {
		return
	}
	reg, registers := c.source().(connectors.Registrar)
	// A source may learn from its registration what it verifies with. The former one serves so long.
	changed := c.formerOf() != nil
	if registers && changed && !c.repeat(func() error { return c.register(reg) }) {
		return
	}
	c.takeOver()
	var loops sync.WaitGroup
	if registers {
		loops.Go(func() { c.keepRegistered(reg, changed) })
	} else {
		c.setTried()
	}
	loops.Go(c.keepChecked)
	loops.Go(c.keepWatched)
	loops.Wait()
}

// inherit takes whoever serves in place of f, which never came to it. f is closed.
func (c *connection) inherit(f *connection) {
	c.m.mu.Lock()
	c.former, f.former = f.former, nil
	c.m.mu.Unlock()
	f.close()
}

func (c *connection) formerOf() *connection {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return c.former
}

func (c *connection) isServing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.serving
}

// repeat tries until it works; false: the connection was stopped.
func (c *connection) repeat(try func() error) bool {
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		if c.ctx.Err() != nil {
			return false
		}
		if try() == nil {
			return true
		}
		if c.m.o.Clock.Sleep(c.ctx, wait) != nil {
			return false
		}
	}
}

func (c *connection) open() error {
	var src connectors.Source
	err := safely(func() (err error) { src, err = c.m.o.Open(c.life, c.cfg); return err })
	c.mu.Lock()
	c.opening = err
	if err == nil {
		c.src = src
	} else {
		c.tried = true
	}
	c.mu.Unlock()
	c.tell()
	return err
}

// takeOver makes this connection serve, and retires the former one.
func (c *connection) takeOver() {
	c.m.mu.Lock()
	c.mu.Lock()
	c.serving = true
	c.mu.Unlock()
	former := c.former
	c.former = nil
	c.m.mu.Unlock()
	c.m.adopt()
	if former != nil {
		c.m.retire(former)
		c.m.o.Log.Info().Str("connection", c.cfg.Name).Msg("connection changed")
	}
}

// served is who serves under this name. m.mu is held.
func (c *connection) served() Served {
	who := c
	for !who.isServing() && who.former != nil {
		who = who.former
	}
	s := Served{Connection: who.cfg, Source: who.source()}
	if s.Source == nil || !who.isServing() {
		s.Connection, s.Source, s.Webhook = c.cfg, nil, unopened{}
		return s
	}
	s.Webhook = who.noting()
	return s
}

// unopened judges requests of a connection that cannot be opened: their senders come again.
type unopened struct{}

// Verify implements connectors.Webhooker.
func (unopened) Verify(context.Context, *http.Request, []byte) (connectors.Delivery, connectors.Verdict) {
	return connectors.Delivery{}, connectors.Verdict{Kind: connectors.Unverifiable, Reason: "the connection is not open yet"}
}

// noting is the source's Webhooker that notes when something genuine came; nil where the source is none.
func (c *connection) noting() connectors.Webhooker {
	hook, ok := c.source().(connectors.Webhooker)
	if !ok {
		return nil
	}
	if shake, ok := hook.(connectors.Handshaker); ok {
		return struct {
			noting
			connectors.Handshaker
		}{noting{hook, c}, shake}
	}
	return noting{hook, c}
}

type noting struct {
	connectors.Webhooker
	c *connection
}

// Verify implements connectors.Webhooker.
func (n noting) Verify(ctx context.Context, r *http.Request, body []byte) (connectors.Delivery, connectors.Verdict) {
	d, v := n.Webhooker.Verify(ctx, r, body)
	if v.Kind == connectors.Genuine {
		n.c.mu.Lock()
		n.c.lastEvent = n.c.m.o.Clock.Now()
		n.c.mu.Unlock()
	}
	return d, v
}

// pause waits for about d; false: the connection was stopped.
func (c *connection) pause(d time.Duration) bool {
	spread := time.Duration(jitterShare * c.m.o.Jitter() * float64(d))
	return c.m.o.Clock.Sleep(c.ctx, d+spread) == nil
}

func (c *connection) keepRegistered(reg connectors.Registrar, done bool) {
	for {
		if !done && !c.repeat(func() error { return c.register(reg) }) || !c.pause(registerEvery) {
			return
		}
		done = false
	}
}

// register brings the registration at the provider to what is wanted, and says what it changed.
func (c *connection) register(reg connectors.Registrar) error {
	ctx, cancel := c.m.o.Clock.WithTimeout(c.ctx, callTimeout)
	defer cancel()
	var got connectors.Registration
	err := safely(func() (err error) { got, err = reg.Register(ctx); return err })
	if c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	now, log := c.m.o.Clock.Now(), c.m.o.Log.With().Str("connection", c.cfg.Name).Logger()
	c.mu.Lock()
	was := c.registered
	next := registered{Registration: got, at: now, err: err, mended: was.mended, mendedAt: was.mendedAt}
	if err != nil {
		next.at = was.at
		if got == (connectors.Registration{}) {
			next.Registration = was.Registration
		}
	} else if got.Changed != "" && !was.at.IsZero() {
		next.mended, next.mendedAt = got.Changed, now // what the first call changes is no mending
	}
	c.registered, c.tried = next, true
	c.mu.Unlock()
	switch {
	case err != nil:
	case was.at.IsZero():
		log.Info().Str("webhook", got.ID).Str("changed", got.Changed).Int("used", got.Used).Int("limit", got.Limit).Msg("webhook registered")
	case got.Changed != "":
		log.Warn().Str("webhook", got.ID).Str("changed", got.Changed).Msg("webhook mended")
	}
	c.tell()
	return err
}

func (c *connection) setTried() {
	c.mu.Lock()
	c.tried = true
	c.mu.Unlock()
}

func (c *connection) keepChecked() {
	for {
		bad := c.check()
		wait := checkEvery
		if bad {
			wait = checkAgain
		}
		if !c.pause(wait) {
			return
		}
	}
}

func (c *connection) check() (bad bool) {
	ctx, cancel := c.m.o.Clock.WithTimeout(c.ctx, callTimeout)
	defer cancel()
	found, bad := checkSource(ctx, c.source())
	if c.ctx.Err() != nil {
		return bad
	}
	c.mu.Lock()
	c.findings, c.checkedAt = found, c.m.o.Clock.Now()
	c.mu.Unlock()
	c.watch() // a check is what most of the budget is seen at
	c.tell()
	return bad
}

// checkSource asks a source how it is.
func checkSource(ctx context.Context, src connectors.Source) (found []connectors.Finding, bad bool) {
	if err := safely(func() error { found = src.Check(ctx); return nil }); err != nil {
		found = []connectors.Finding{{Level: connectors.Bad, Message: err.Error()}}
	}
	return found, slices.ContainsFunc(found, func(f connectors.Finding) bool { return f.Level == connectors.Bad })
}

func (c *connection) keepWatched() {
	for {
		c.watch()
		c.tell() // silence and gaps come and go without a request
		if !c.pause(watchEvery) {
			return
		}
	}
}

func (c *connection) watch() {
	w, ok := c.source().(connectors.Watcher)
	if !ok {
		return
	}
	var found []connectors.Finding
	var budget outbound.Budget
	if err := safely(func() error { found, budget = w.Watch(), w.Budget(); return nil }); err != nil {
		found = []connectors.Finding{{Level: connectors.Bad, Message: err.Error()}}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if budget.Refused > c.budget.Refused {
		c.refusedAt = c.m.o.Clock.Now()
	}
	c.watched, c.budget, c.counts = found, budget, true
}

// tell logs each alarm when it begins and when it ends.
func (c *connection) tell() {
	_ = c.status(c.m.o.Clock.Now(), c.m.progress()[c.cfg.Name])
}

func (c *connection) status(now time.Time, p *poll.Status) Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{
		Connection: c.cfg, Running: c.serving, Tried: c.tried, Registration: c.registered.Registration, RegisteredAt: c.registered.at,
		Findings: c.findings, CheckedAt: c.checkedAt, LastEventAt: c.lastEvent, Progress: p, Alarms: c.alarmsOf(now, p),
	}
	if c.src != nil {
		_, listens := c.src.(connectors.Webhooker)
		s.Deaf = !listens
	}
	if c.registered.err != nil {
		s.Webhook = outbound.Redact(c.registered.err.Error())
	} else if _, ok := c.src.(connectors.Registrar); ok && c.registered.at.IsZero() {
		s.Webhook = errNotTried.Error()
	}
	if c.counts {
		budget := c.budget
		s.Budget = &budget
	}
	if p != nil && p.LastEventAt.After(s.LastEventAt) {
		s.LastEventAt = p.LastEventAt
	}
	on := map[string]time.Time{}
	for i, a := range s.Alarms {
		at, was := c.since[a.Kind]
		if !was {
			at = now
			c.m.o.Log.Warn().Str("connection", c.cfg.Name).Str("alarm", a.Kind).Str("remedy", a.Remedy).Msg(a.What)
		}
		on[a.Kind], s.Alarms[i].Since = at, at
	}
	for _, kind := range slices.Sorted(maps.Keys(c.since)) {
		if _, still := on[kind]; !still {
			c.m.o.Log.Info().Str("connection", c.cfg.Name).Str("alarm", kind).Msg("the alarm is over")
		}
	}
	c.since = on
	return s
}
