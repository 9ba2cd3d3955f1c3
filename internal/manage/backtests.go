package manage

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/backtest"
	"github.com/tillstream/tillstream/internal/scenarios"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/registry"
)

// Bounds of backtests in one process.
const (
	backtestsKept   = 20
	backtestsWait   = 5 // that wait for the one that runs
	backtestSpan    = 30 * 24 * time.Hour
	registryTimeout = 15 * time.Second
)

// backtests are those of this process, one at a time.
type backtests struct {
	mu   sync.Mutex
	list []*oneBacktest
	turn sync.Mutex
}

type oneBacktest struct {
	api.Backtest
	cancel context.CancelFunc
}

// shown is an event as JSON, without what only machines read.
func shown(e *schemas.OrderEvent) (json.RawMessage, error) { return json.Marshal(e) }

// StartBacktest implements api.Managing.
func (o *Office) StartBacktest(ctx context.Context, r api.BacktestRequest) (api.Backtest, error) {
	texts, err := o.tried(ctx, api.ConfigTry{Files: r.Files, Whole: r.Whole, Version: r.Version})
	if err != nil {
		return api.Backtest{}, err
	}
	until := r.Until
	if until.IsZero() {
		until = o.Now().UTC()
	}
	since := r.Since
	if since.IsZero() {
		since = until.Add(-backtestSpan)
	}
	if !since.Before(until) {
		return api.Backtest{}, api.Refuse(api.CodeInvalid, "since lies after the end of the span")
	}
	options, cfg, err := o.backtestOptions(ctx, texts, r.Against)
	if err != nil {
		return api.Backtest{}, err
	}
	options.Since, options.Until = since, until
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b := &oneBacktest{cancel: cancel, Backtest: api.Backtest{
		ID: rand.Text()[:12], State: api.BacktestQueued, Since: since, Until: until, New: options.New.Version, Current: options.Current.Version, Began: o.Now().UTC(),
	}}
	o.tests.mu.Lock()
	defer o.tests.mu.Unlock()
	waiting := 0
	for _, x := range o.tests.list {
		if x.State == api.BacktestQueued || x.State == api.BacktestRunning {
			waiting++
		}
	}
	if waiting > backtestsWait {
		cancel()
		return api.Backtest{}, api.Refuse(api.CodeBusy, "%d backtests wait already", waiting)
	}
	o.tests.list = append(o.tests.list, b)
	if over := len(o.tests.list) - backtestsKept; over > 0 {
		o.tests.list = slices.Delete(o.tests.list, 0, over)
	}
	o.background(func(process context.Context) {
		defer cancel()
		defer context.AfterFunc(process, cancel)()
		o.runBacktest(run, b, options, cfg)
	})
	return b.Backtest, nil
}

// backtestOptions compile what is tried and what it is compared with. Secrets need not be known for that.
func (o *Office) backtestOptions(ctx context.Context, texts map[string]string, against string) (out backtest.Options, cfg *config.Config, err error) {
	v, err := o.history(ctx)
	if err != nil {
		return out, nil, err
	}
	current, ok := v.History.InForce()
	if against != "" {
		if current, err = FindVersion(v.History.List(), against); err != nil {
			return out, nil, err
		}
	} else if !ok {
		return out, nil, api.Refuse(api.CodeConflict, "no configuration was ever in force: there is nothing to compare with")
	}
	l := &scenarios.Loader{Connectors: o.Options.Connectors, Sinks: o.Options.Sinks, Getenv: o.Options.Getenv}
	rules := func(files map[string]string) (backtest.Rules, error) {
		c, r, err := l.Compile(o.Folder.Dir, files)
		if err != nil {
			return backtest.Rules{}, err
		}
		return backtest.Rules{Version: c.Version, Orders: app.OrdersOptions(c.Settings.Stages), Rules: r}, nil
	}
	if out.New, err = rules(texts); err != nil {
		return out, nil, err
	}
	if out.Current, err = rules(current.Files); err != nil {
		return out, nil, fmt.Errorf("the configuration to compare with: %w", err)
	}
	cfg, err = o.load(texts)
	if err != nil { // where Kafka is, the version in force says
		cfg, err = o.load(current.Files)
	}
	return out, cfg, err
}

func (o *Office) runBacktest(ctx context.Context, b *oneBacktest, options backtest.Options, cfg *config.Config) {
	o.tests.turn.Lock()
	defer o.tests.turn.Unlock()
	note := func(f func()) {
		o.tests.mu.Lock()
		defer o.tests.mu.Unlock()
		f()
	}
	note(func() { b.State = api.BacktestRunning })
	options.Progress = func(events int, at time.Time) {
		note(func() {
			b.Events, b.At = events, at.UTC()
			if total := b.Until.Sub(b.Since); at.After(b.Since) {
				b.Progress = min(1, float64(at.Sub(b.Since))/float64(total))
			}
		})
	}
	report, err := o.overLog(ctx, options, cfg)
	var out api.BacktestReport
	if err == nil {
		err = translate(report, &out)
	}
	note(func() {
		b.Ended = o.Now().UTC()
		switch {
		case err == nil:
			b.State, b.Report, b.Progress, b.Events = api.BacktestDone, &out, 1, out.Events
		case errors.Is(err, context.Canceled):
			b.State = api.BacktestCancelled
		default:
			b.State, b.Error = api.BacktestFailed, outbound.Redact(firstLine(err))
		}
	})
}

// overLog runs a backtest over the recorded events.
func (o *Office) overLog(ctx context.Context, options backtest.Options, cfg *config.Config) (*backtest.Report, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cluster, err := kafka.NewCluster(cfg.Settings.Kafka, clock.System(), o.Log)
	if err != nil {
		return nil, err
	}
	defer cluster.Close()
	r := cfg.Settings.Registry
	source, err := backtest.OpenLog(cluster, registry.New(registry.Options{URL: r.URL, User: r.User, Password: r.Password, HTTP: &http.Client{Timeout: registryTimeout}}))
	if err != nil {
		return nil, err
	}
	defer source.Close()
	if options.Answers, err = source.Facts(ctx); err != nil {
		return nil, fmt.Errorf("read the answers about lists: %w", err)
	}
	return backtest.Run(ctx, options, source)
}

func (o *Office) backtest(id string) (*oneBacktest, error) {
	i := slices.IndexFunc(o.tests.list, func(b *oneBacktest) bool { return b.ID == id })
	if i < 0 {
		return nil, api.Refuse(api.CodeNotFound, "this process knows no backtest %.40q: a restart forgets them", id)
	}
	return o.tests.list[i], nil
}

// Backtest implements api.Managing.
func (o *Office) Backtest(_ context.Context, id string) (api.Backtest, error) {
	o.tests.mu.Lock()
	defer o.tests.mu.Unlock()
	b, err := o.backtest(id)
	if err != nil {
		return api.Backtest{}, err
	}
	return b.Backtest, nil
}

// CancelBacktest implements api.Managing.
func (o *Office) CancelBacktest(_ context.Context, id string) (api.Backtest, error) {
	o.tests.mu.Lock()
	defer o.tests.mu.Unlock()
	b, err := o.backtest(id)
	if err != nil {
		return api.Backtest{}, err
	}
	b.cancel()
	return b.Backtest, nil
}

// Backtests implements api.Managing.
func (o *Office) Backtests(context.Context) (api.BacktestList, error) {
	o.tests.mu.Lock()
	defer o.tests.mu.Unlock()
	out := api.BacktestList{Items: []api.Backtest{}}
	for _, b := range slices.Backward(o.tests.list) {
		one := b.Backtest
		one.Report = nil
		out.Items = append(out.Items, one)
	}
	return out, nil
}
