package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/poll"
)

// sourcesState is who serves the connections now, and who wants to know of it.
type sourcesState struct {
	manager *connections.Manager

	mu      sync.Mutex
	served  []connections.Served
	told    []func([]connections.Served)
	onBoard []string // connections that have a part there
}

// showFolder has a process that runs no connections itself tell of them from the files.
func (p *process) showFolder() {
	if p.Desk != nil && !p.Roles.Connectors {
		p.board.SetConnections(p.Desk)
	}
}

// onServed has f called with the connections as they are served, now and after each change, never twice at a time.
func (p *process) onServed(f func([]connections.Served)) {
	p.sources.mu.Lock()
	defer p.sources.mu.Unlock()
	p.sources.told = append(p.sources.told, f)
	f(p.sources.served)
}

func (p *process) adoptServed(list []connections.Served) {
	p.sources.mu.Lock()
	defer p.sources.mu.Unlock()
	p.sources.served = list
	p.accounts.keep(list)
	for _, f := range p.sources.told {
		f(list)
	}
	var names []string
	for _, s := range list {
		names = append(names, s.Name)
		if !slices.Contains(p.sources.onBoard, s.Name) {
			p.board.Add(api.Part{Name: "connection " + s.Name, Ready: func() error { return p.connectionReady(s.Name) }})
		}
	}
	for _, name := range p.sources.onBoard {
		if !slices.Contains(names, name) {
			p.board.Remove("connection " + name)
		}
	}
	p.sources.onBoard = names
}

// connectionReady says why a connection's deliveries cannot be taken.
func (p *process) connectionReady(name string) error {
	for _, s := range p.sources.manager.Status() {
		switch {
		case s.Connection.Name != name:
		case s.Webhook != "" && s.RegisteredAt.IsZero():
			return fmt.Errorf("its webhook is not registered: %s", s.Webhook)
		case !s.Running && s.RegisteredAt.IsZero():
			if len(s.Alarms) > 0 {
				return fmt.Errorf("%s; %s", s.Alarms[0].What, s.Alarms[0].Remedy)
			}
			return errors.New("it is being opened")
		}
	}
	return nil
}

// startConnections opens the configured connections, and follows the folder that they are configured in. address is where
// the receiver listens.
func (p *process) startConnections(ctx context.Context, address string) error {
	opener := connections.Opener{PublicURL: p.Config.Settings.Ingest.PublicURL, Address: address, Now: p.Now, Log: p.Log, Limiter: p.accounts.connection}
	m, err := connections.New(ctx, connections.Options{
		Open:  func(ctx context.Context, c config.Connection) (connectors.Source, error) { return opener.Open(ctx, c) },
		Adopt: p.adoptServed, Progress: p.pollStatus, Log: p.Log, Jitter: rand.Float64,
	})
	if err != nil {
		return err
	}
	p.sources.manager = m
	p.atEnd(m.Close)
	if err := p.metrics.Register(m); err != nil {
		return fmt.Errorf("metrics of the connections: %w", err)
	}
	if err := m.Apply(ctx, p.Config.Connections); err != nil {
		return err
	}
	f := &follower{p: p, adopted: p.Config, desk: p.Desk}
	p.board.Add(api.Part{Name: connections.PartName, Ready: f.ready, Status: func() any { return f.standing() }})
	if err := p.metrics.Register(f); err != nil {
		return fmt.Errorf("metrics of the configuration: %w", err)
	}
	if p.Desk == nil {
		return nil
	}
	p.Desk.Opener, p.Desk.Running, p.Desk.Follow = opener, m.Status, f.follow
	p.board.SetConnections(p.Desk)
	p.group.Go(func() error { f.run(ctx); return nil })
	return nil
}

func (p *process) pollStatus() []poll.Status {
	if r := p.polling.Load(); r != nil {
		return r.Status()
	}
	return nil
}

// followEvery is how often the folder is looked at. A change is adopted once two looks saw the same, so that a file which
// is being written is not.
const (
	followEvery = time.Second
	// refusedLooks is after how many looks a folder that was refused is tried again unchanged: what it refers to may be
	// elsewhere.
	refusedLooks = 10
)

// follower takes over the connections of a folder when they change. Everything else in it waits for a restart.
type follower struct {
	p    *process
	desk *connections.Desk

	adopting sync.Mutex // one at a time

	mu       sync.Mutex
	adopted  *config.Config
	problems []string // why the folder as it is was not adopted
	since    time.Time
	disk     map[string]string // the folder as it was adopted last, all of it
	unsaid   bool              // the adopted configuration is not on the config topic yet
}

func (f *follower) run(ctx context.Context) {
	stamp, seen := "", "" // it may have changed since it was loaded
	for look := 1; clock.System().Sleep(ctx, followEvery) == nil; look++ {
		now := f.desk.Stamp()
		if now != stamp && now == seen || look%refusedLooks == 0 && f.ready() != nil {
			stamp = now
			f.adopt(ctx)
		}
		seen = now
		f.publish(ctx)
	}
}

// adopt takes over the connections of the folder as it is. One that is not good leaves the running ones untouched.
func (f *follower) adopt(ctx context.Context) {
	f.adopting.Lock()
	defer f.adopting.Unlock()
	next, err := f.desk.Load()
	f.mu.Lock()
	if err != nil {
		problems := strings.Split(err.Error(), "\n")
		if !slices.Equal(problems, f.problems) {
			f.p.Log.Error().Strs("problems", problems).Msg("the configuration on disk is refused; what runs goes on as it was")
			f.problems, f.since = problems, f.p.Now()
		}
		f.mu.Unlock()
		return
	}
	adopted, _ := f.adopted.WithConnections(next)
	was, before := f.adopted.Version, f.differs()
	f.adopted, f.problems, f.disk = adopted, nil, next.Files
	if now := f.differs(); now.restart && !before.restart {
		f.p.Log.Warn().Msg("files that count from the next start on have changed")
	} else if now.unapplied && !before.unapplied {
		f.p.Log.Info().Msg("mappings or workflows on disk differ from those in force: 'tillstream apply' puts them in force")
	}
	f.unsaid = f.unsaid || adopted.Version != was
	f.mu.Unlock()
	if err := f.p.sources.manager.Apply(ctx, adopted.Connections); err != nil && ctx.Err() == nil {
		f.p.Log.Warn().Err(err).Msg("connections changed, and one that was removed has not ended yet")
	}
	if adopted.Version != was {
		f.p.Log.Info().Str("config_version", adopted.Version).Int("connections", len(adopted.Connections)).Msg("connections adopted")
	}
}

// publishTimeout bounds one try to append an adopted configuration.
const publishTimeout = 10 * time.Second

// publish appends the adopted configuration to the config topic, once Kafka takes it.
func (f *follower) publish(ctx context.Context) {
	f.mu.Lock()
	adopted, unsaid := f.adopted, f.unsaid
	f.mu.Unlock()
	if !unsaid || f.p.gate.open.Load() == nil {
		return
	}
	c, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if err := f.p.publishConnections(c, adopted); err != nil {
		f.p.Log.Debug().Err(err).Msg("the adopted configuration is not published yet")
		return
	}
	f.mu.Lock()
	f.unsaid = f.adopted != adopted // another was adopted meanwhile
	f.mu.Unlock()
}

// lookAgain is how soon what a change came to is looked at again.
const lookAgain = 50 * time.Millisecond

// follow adopts the folder now, and waits for what done wants.
func (f *follower) follow(ctx context.Context, done func([]connections.View) bool) bool {
	f.adopt(ctx)
	for {
		list, err := f.desk.List()
		if err == nil && done(list) {
			return true
		}
		if clock.System().Sleep(ctx, lookAgain) != nil {
			return false
		}
	}
}

func (f *follower) ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.problems) == 0 {
		return nil
	}
	return fmt.Errorf("the configuration on disk is refused since %s, and what runs goes on as it was: %s", f.since.UTC().Format(time.TimeOnly+"Z"), strings.Join(f.problems, "; "))
}

// standing is what the board shows.
func (f *follower) standing() connections.Standing {
	s := connections.Standing{Alarms: []connections.NamedAlarm{}}
	f.mu.Lock()
	d := f.differs()
	s.ConfigVersion, s.Problems, s.RestartNeeded, s.Unapplied = f.adopted.Version, f.problems, d.restart, d.unapplied
	f.mu.Unlock()
	for _, c := range f.p.sources.manager.Status() {
		for _, a := range c.Alarms {
			s.Alarms = append(s.Alarms, connections.NamedAlarm{Connection: c.Connection.Name, Alarm: a})
		}
	}
	return s
}

var (
	refusedDesc = prometheus.NewDesc("tillstream_config_refused", "1 while the configuration on disk is refused and what runs goes on as it was, else 0.", nil, nil)
	restartDesc = prometheus.NewDesc("tillstream_config_restart_needed", "1 while files that count from the next start on differ from what runs, else 0.", nil, nil)
)

// Describe implements prometheus.Collector.
func (f *follower) Describe(ch chan<- *prometheus.Desc) { ch <- refusedDesc; ch <- restartDesc }

// Collect implements prometheus.Collector.
func (f *follower) Collect(ch chan<- prometheus.Metric) {
	f.mu.Lock()
	refused, restart := 0.0, 0.0
	if len(f.problems) > 0 {
		refused = 1
	}
	if f.differs().restart {
		restart = 1
	}
	f.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.GaugeValue, refused)
	ch <- prometheus.MustNewConstMetric(restartDesc, prometheus.GaugeValue, restart)
}
