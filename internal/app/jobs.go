package app

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/internal/recovery"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/jobs"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/schemas/registry"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// JobsPart is the part of the board that tells of jobs; its status is a jobs.Status.
const JobsPart = "jobs"

// automationGroup is the consumer group of the automation stage.
const automationGroup = "tillstream-automation"

// startJobs has the management port answer about what went wrong, where ClickHouse is known, and, where commands are
// delivered, adds a runner of jobs: one of all of them has the work.
func (p *process) startJobs(ctx context.Context) error {
	s := p.Config.Settings
	options := p.ClickHouse
	if options == nil && s.ClickHouse.Address != "" {
		options = ClickHouseOptions(s.ClickHouse)
	}
	var store *chsink.Store
	if options != nil {
		var err error
		log := p.Log.With().Str("role", "jobs").Logger()
		if store, err = chsink.Open(ctx, chsink.Options{Client: options, Cluster: s.ClickHouse.Cluster, Retention: s.ClickHouse.Retention, Now: p.Now, Log: log}); err != nil {
			return err
		}
		p.atEnd(func() { _ = store.Close() })
		p.board.SetRecovery(&recovery.Desk{Store: store, Now: p.Now, Append: func(ctx context.Context, r *schemas.JobRequest) error {
			return AskJob(ctx, p.cluster, p.codec.Encode, r)
		}})
	}
	if !p.Roles.Sinks {
		return nil
	}
	o := jobs.Options{
		Kafka: s.Kafka, Codec: p.codec, Instance: s.Instance, AutomationGroup: automationGroup, Connector: p.connector,
		Works: map[schemas.JobKind]jobs.Work{schemas.JobVerify: p.verifyWork()},
		Log:   p.Log.With().Str("role", "jobs").Logger(), Registerer: p.metrics,
	}
	if store != nil {
		o.Rows = store
	}
	r, err := jobs.New(o)
	if err != nil {
		return err
	}
	p.board.Add(api.Part{Name: JobsPart, Ready: r.Ready, Status: func() any { return r.Status() }})
	p.group.Go(func() error { return stopped(r.Run(ctx), "jobs") })
	if store != nil {
		return p.countLetters(ctx, r, store)
	}
	return nil
}

// connector is that of a connection as it is configured now, by environment and name.
func (p *process) connector(env schemas.Environment, connection string) (connectors.Connector, bool) {
	c := p.Config
	if p.Desk != nil { // connections come and go while the process runs
		if now, err := p.Desk.Load(); err == nil {
			c = now
		}
	}
	for _, one := range c.Connections {
		if one.Name == connection && one.Environment == env {
			return one.Connector, true
		}
	}
	return connectors.Connector{}, false
}

// lettersInterval is how often open dead letters are counted.
const lettersInterval = 30 * time.Second

// countLetters keeps a metric of open dead letters, at the process that does the jobs.
func (p *process) countLetters(ctx context.Context, r *jobs.Runner, store *chsink.Store) error {
	open := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tillstream_dead_letters_open", Help: "Dead letters that were neither retried nor dismissed, as ClickHouse knows them; at the process that does the jobs.",
	}, []string{"cause"})
	if err := p.metrics.Register(open); err != nil {
		return fmt.Errorf("metrics of dead letters: %w", err)
	}
	p.group.Go(func() error {
		for clock.System().Sleep(ctx, lettersInterval) == nil {
			if !r.Status().Working {
				open.Reset()
				continue
			}
			n, err := store.CountLetters(ctx, chsink.PastFilter{})
			if err != nil { // readiness of the loader says that ClickHouse is away
				p.Log.Debug().Str("error", outbound.Redact(err.Error())).Msg("open dead letters are not counted")
				continue
			}
			open.Reset()
			for cause, k := range n.Open {
				open.WithLabelValues(cause).Set(float64(k))
			}
		}
		return nil
	})
	return nil
}

// Requests appends requests for jobs, for a command beside the processes that run.
type Requests struct {
	log   *kafka.Cluster
	codec *codec.Codec
}

// OpenRequests reaches the schema registry. The error says that it is not reached; Kafka is when something is appended.
func OpenRequests(ctx context.Context, k kafka.Options, r config.Registry, log zerolog.Logger) (*Requests, error) {
	ctx, cancel := context.WithTimeout(ctx, decisionsTimeout)
	defer cancel()
	reg := registry.New(registry.Options{URL: r.URL, User: r.User, Password: r.Password, CacheFile: r.CacheFile, HTTP: &http.Client{Timeout: 10 * time.Second}})
	if err := reg.Register(ctx); err != nil {
		return nil, fmt.Errorf("the schema registry at %s is not reached: %w", r.URL, err)
	}
	c, err := codec.New(reg)
	if err != nil {
		return nil, err
	}
	cl, err := kafka.NewCluster(k, clock.System(), log)
	if err != nil {
		return nil, err
	}
	return &Requests{cl, c}, nil
}

// Append asks for a job.
func (r *Requests) Append(ctx context.Context, q *schemas.JobRequest) error {
	ctx, cancel := context.WithTimeout(ctx, decisionsTimeout)
	defer cancel()
	return AskJob(ctx, r.log, r.codec.Encode, q)
}

// Close ends what OpenRequests opened.
func (r *Requests) Close() { r.log.Close() }
