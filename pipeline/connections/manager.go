package connections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/poll"
)

// Options of a Manager.
type Options struct {
	Open func(ctx context.Context, c config.Connection) (connectors.Source, error)
	// Adopt is told every connection as it is served now, after each change and never twice at a time. It must not block.
	Adopt func([]Served)
	// Progress says how far the log is complete; nil: nothing is known of it.
	Progress func() []poll.Status
	Clock    clock.Clock // default clock.System
	Log      zerolog.Logger
	// Jitter is a number from 0 to 1, so that many processes do not ask at the same moment; nil: none.
	Jitter func() float64
}

// Served is a connection and the source that serves it.
type Served struct {
	config.Connection
	// Source is nil while it was not opened yet.
	Source connectors.Source
	// Webhook judges its requests: Source where that is a Webhooker, nil where it is none; before it was opened one that
	// cannot tell, so that senders come again.
	Webhook connectors.Webhooker
}

// Manager keeps the connections of a running process. Its methods may be called from several goroutines.
type Manager struct {
	o    Options
	ctx  context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	applying sync.Mutex // one list at a time
	adopting sync.Mutex // one Adopt at a time

	mu     sync.Mutex
	list   []*connection // as configured
	closed bool
}

// New returns a manager without connections. It works until ctx ends; Close then closes every source.
func New(ctx context.Context, o Options) (*Manager, error) {
	if o.Open == nil || o.Adopt == nil {
		return nil, errors.New("a manager of connections needs Open and Adopt")
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Jitter == nil {
		o.Jitter = func() float64 { return 0 }
	}
	m := &Manager{o: o}
	m.ctx, m.end = context.WithCancel(ctx)
	return m, nil
}

// Apply takes over list: new ones are opened, those that are gone are closed, changed ones are opened anew and take over
// once they can serve; until then the former source does. It waits for those that are gone to have ended what they were
// doing at their provider, and for nothing else. A webhook that is gone from the list stays registered: an account is
// disconnected on purpose only.
func (m *Manager) Apply(ctx context.Context, list []config.Connection) error {
	m.applying.Lock()
	defer m.applying.Unlock()
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return errors.New("the connections are closed")
	}
	var next, fresh, gone []*connection
	for _, c := range list {
		had := m.find(c.Name)
		if had != nil && same(had.cfg, c) {
			next = append(next, had)
			continue
		}
		n := m.newConnection(c)
		if had != nil && had.cfg.Environment == c.Environment && had.cfg.Connector.Type == c.Connector.Type {
			n.former = had
		} else if had != nil { // another account under the same name: nothing of it goes on
			gone = append(gone, had)
		}
		next, fresh = append(next, n), append(fresh, n)
	}
	for _, had := range m.list {
		if !slices.ContainsFunc(list, func(c config.Connection) bool { return c.Name == had.cfg.Name }) {
			gone = append(gone, had)
		}
	}
	m.list = next
	m.mu.Unlock()
	for _, c := range gone {
		c.stop()
	}
	m.adopt()
	var err error
	for _, c := range gone {
		select {
		case <-c.done:
		case <-ctx.Done():
			err = fmt.Errorf("connection %s: its last request has not ended: %w", c.cfg.Name, ctx.Err())
		}
		m.retire(c)
	}
	for _, c := range fresh {
		m.work.Go(c.run)
	}
	return err
}

// find is the connection of that name, nil where there is none. m.mu is held.
func (m *Manager) find(name string) *connection {
	for _, c := range m.list {
		if c.cfg.Name == name {
			return c
		}
	}
	return nil
}

// adopt tells who serves now.
func (m *Manager) adopt() {
	m.adopting.Lock()
	defer m.adopting.Unlock()
	m.mu.Lock()
	served := make([]Served, len(m.list))
	for i, c := range m.list {
		served[i] = c.served()
	}
	m.mu.Unlock()
	m.o.Adopt(served)
}

// retireAfter is longer than any request that the receiver lets run.
const retireAfter = 30 * time.Second

// retire closes a connection that serves no more, once its last requests have ended.
func (m *Manager) retire(c *connection) {
	c.stop()
	m.work.Go(func() {
		<-c.done
		if c.source() != nil {
			_ = m.o.Clock.Sleep(m.ctx, retireAfter) // at the end of the process nobody is served any more
		}
		c.close()
		if f := c.formerOf(); f != nil {
			f.close()
		}
	})
}

// Close ends all work and closes every source. The caller has stopped the receiver.
func (m *Manager) Close() {
	m.applying.Lock()
	defer m.applying.Unlock()
	m.mu.Lock()
	m.closed = true
	list := m.list
	m.mu.Unlock()
	m.end()
	m.work.Wait()
	for _, c := range list {
		c.close()
		if f := c.formerOf(); f != nil {
			f.close()
		}
	}
}

// Source is the source of a connection that is served; nil: there is none.
func (m *Manager) Source(name string) connectors.Source {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.find(name); c != nil {
		return c.served().Source
	}
	return nil
}

// Status is how one connection stands.
type Status struct {
	Connection   config.Connection
	Running      bool // it serves as it is configured
	Tried        bool // it, or its registration where it has one, was tried
	Deaf         bool // its source is open and takes no webhooks
	Registration connectors.Registration
	RegisteredAt time.Time // zero: it is not, or has none
	Webhook      string    // why it is not registered; empty: it is, or has none
	Findings     []connectors.Finding
	CheckedAt    time.Time
	Budget       *outbound.Budget // nil: the source does not count
	LastEventAt  time.Time        // of the last genuine delivery; zero: none is known
	Progress     *poll.Status     // nil: nothing is known
	Alarms       []Alarm
}

// Status tells of every connection, in the order of the list.
func (m *Manager) Status() []Status {
	progress := m.progress()
	m.mu.Lock()
	list := slices.Clone(m.list)
	m.mu.Unlock()
	out := make([]Status, len(list))
	for i, c := range list {
		out[i] = c.status(m.o.Clock.Now(), progress[c.cfg.Name])
	}
	return out
}

func (m *Manager) progress() map[string]*poll.Status {
	out := map[string]*poll.Status{}
	if m.o.Progress == nil {
		return out
	}
	for _, s := range m.o.Progress() {
		out[s.Connection] = &s
	}
	return out
}
