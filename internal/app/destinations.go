package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/destinations"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// OpenDestination opens a destination for a few readings. limiter is the account's; nil: it has none.
func OpenDestination(ctx context.Context, d config.Destination, now func() time.Time, limiter outbound.Limiter) (sinks.Writer, error) {
	o := outbound.Options{AllowPrivate: d.AllowPrivate, Limiter: limiter}
	if t, ok := d.Settings.(interface{ RequestTimeout() time.Duration }); ok {
		o.Timeout = t.RequestTimeout()
	}
	client, err := outbound.NewClient(o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.File, err)
	}
	w, err := d.Sink.Open(ctx, d.Settings, sinks.Env{Destination: d.Name, Now: now, Log: zerolog.Nop(), HTTP: client})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.File, err)
	}
	return w, nil
}

// RedisOf opens a client of the configuration's Redis. The caller closes it.
func RedisOf(c config.Redis) *redis.Client { return redis.NewClient(redisOptions(c)) }

// destinationsDesk answers about destinations on the management port.
type destinationsDesk struct {
	*destinations.Desk
	p          *process
	catalogues *destinations.Catalogues
}

// openRedis makes the client for what is kept in Redis. It talks to nobody yet.
func (p *process) openRedis() {
	p.redis = RedisOf(p.Config.Settings.Redis)
	p.atEnd(func() { _ = p.redis.Close() })
	p.showDestinations()
}

// showDestinations has the management port answer about destinations, from the files until this process delivers.
func (p *process) showDestinations() {
	if p.Desk == nil {
		return
	}
	desk := &destinations.Desk{
		Folder: p.Desk,
		Running: func() []destinations.Status {
			p.mu.Lock()
			k := p.watch
			p.mu.Unlock()
			if k == nil {
				return nil
			}
			return k.Status()
		},
		Open: func(ctx context.Context, d config.Destination) (sinks.Writer, error) {
			return OpenDestination(ctx, d, p.Now, p.accounts.destination(d))
		},
	}
	p.board.SetDestinations(destinationsDesk{desk, p, &destinations.Catalogues{Redis: p.redis, Now: p.Now}}, p.Desk.Dir)
}

// keepDestinations looks after the destinations that this process delivers to.
func (p *process) keepDestinations(ctx context.Context, served []destinations.Served) error {
	k := destinations.NewKeeper(destinations.KeeperOptions{
		Served: served, Catalogues: &destinations.Catalogues{Redis: p.redis, Now: p.Now}, Mentions: p.mentions,
		Log: p.Log.With().Str("role", "deliver").Logger(), Jitter: rand.Float64,
	})
	if err := p.metrics.Register(k); err != nil {
		return fmt.Errorf("metrics of the destinations: %w", err)
	}
	p.board.Add(api.Part{Name: destinations.PartName, Ready: func() error { return nil }, Status: func() any { return k.Standing() }})
	p.mu.Lock()
	p.served, p.watch = served, k
	p.mu.Unlock()
	p.group.Go(func() error { k.Run(ctx); return nil })
	return nil
}

// mentions are what the configuration in force names at destinations.
func (p *process) mentions() []destinations.Mention {
	docs := p.Config.Documents
	if e, ok := p.versions.History.InForce(); ok {
		var err error
		if docs, err = config.Documents(e.Files, Kinds()); err != nil {
			return nil // who follows it says so
		}
	}
	return Mentions(docs)
}

// Catalogue implements api.Destinations.
func (d destinationsDesk) Catalogue(ctx context.Context, name string, kind sinks.EntryKind, refresh bool) (api.CatalogueList, error) {
	c, err := d.p.Desk.Load()
	if err != nil {
		return api.CatalogueList{}, err
	}
	i := slices.IndexFunc(c.Destinations, func(x config.Destination) bool { return x.Name == name })
	if i < 0 {
		return api.CatalogueList{}, connections.Refuse(connections.NotFound, "there is no destination %q", name)
	}
	return CatalogueOf(ctx, c.Destinations[i], kind, refresh, d.catalogues, d.Open)
}

// CatalogueOf tells what an account has: as it was kept, or, with refresh and where nothing was kept, as it is now. Where
// the account cannot be asked, what was kept is told with the problem.
func CatalogueOf(ctx context.Context, d config.Destination, kind sinks.EntryKind, refresh bool, kept *destinations.Catalogues, open destinations.Opener) (api.CatalogueList, error) {
	kinds := destinations.Kinds
	if kind != "" {
		if !slices.Contains(kinds, kind) {
			return api.CatalogueList{}, connections.Refuse(connections.Invalid, "the kind %q: use one of %v", kind, kinds)
		}
		kinds = []sinks.EntryKind{kind}
	}
	list := api.CatalogueList{Destination: d.Name, Catalogue: []destinations.Snapshot{}}
	for _, kind := range kinds {
		s, ok, err := kept.Get(ctx, d, kind)
		if err != nil {
			// The account's limit is kept there, too: nothing is asked without it.
			return list, connections.Refuse(connections.Failed, "%s", outbound.Redact(err.Error()))
		}
		if ok {
			list.Catalogue = append(list.Catalogue, s)
		}
	}
	if len(list.Catalogue) > 0 && !refresh {
		return list, nil
	}
	w, err := open(ctx, d)
	if err != nil {
		return list, err
	}
	defer func() { _ = w.Close() }()
	if _, ok := w.(sinks.Cataloguer); !ok {
		return list, connections.Refuse(connections.Invalid, "%s has nothing that could be listed", d.Sink.Title)
	}
	fresh, err := kept.Refresh(ctx, d, w, kinds)
	for _, s := range fresh {
		list.Catalogue = slices.DeleteFunc(list.Catalogue, func(x destinations.Snapshot) bool { return x.Kind == s.Kind })
		list.Catalogue = append(list.Catalogue, s)
	}
	if err != nil {
		list.Problem = outbound.Redact(err.Error())
		if len(list.Catalogue) == 0 {
			return list, connections.Refuse(connections.Failed, "%s", list.Problem)
		}
	}
	slices.SortFunc(list.Catalogue, func(a, b destinations.Snapshot) int { return slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind) })
	return list, nil
}

// heldBack is how many commands of this process's partitions a pause holds back; nil: this process delivers nothing.
func (p *process) heldBack(pause schemas.Pause) *int64 {
	d := p.deliverer.Load()
	if d == nil {
		return nil
	}
	var n int64
	if pause.Subject == schemas.PauseDestination {
		for _, s := range d.Status().Destinations {
			if s.Name == pause.Name {
				n += int64(s.Unfinished)
			}
		}
		return &n
	}
	for _, s := range d.Status().Connections {
		if s.Name == pause.Name {
			n += int64(s.Waiting)
		}
	}
	return &n
}

// DestinationOpener opens destinations of a configuration for a command beside the processes that run, through the limits
// of their accounts, which are kept in Redis: where that does not answer nothing is opened. The caller ends it.
func DestinationOpener(c *config.Config, now func() time.Time) (open destinations.Opener, end func()) {
	a := openAccounts(c, now)
	return func(ctx context.Context, d config.Destination) (sinks.Writer, error) {
		if err := a.reached(ctx); err != nil {
			return nil, err
		}
		return OpenDestination(ctx, d, now, a.destination(d))
	}, a.close
}
