package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/deliver"
	"github.com/tillstream/tillstream/pipeline/destinations"
	"github.com/tillstream/tillstream/pipeline/load"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// startSinks adds the CRM deliverer and the ClickHouse loader to the group.
func (p *process) startSinks(ctx context.Context) error {
	if len(p.Config.Destinations) > 0 {
		if err := p.startDeliverer(ctx); err != nil {
			return err
		}
	}
	options := p.ClickHouse
	if options == nil {
		if p.Config.Settings.ClickHouse.Address == "" {
			p.Log.Warn().Msg("clickhouse.address is not set: no reports, no trace")
			return nil
		}
		options = ClickHouseOptions(p.Config.Settings.ClickHouse)
	}
	return p.startLoader(ctx, options)
}

// ClickHouseOptions turns the settings into the client's: the native protocol, or HTTP where the address says so.
func ClickHouseOptions(c config.ClickHouse) *clickhouse.Options {
	o := &clickhouse.Options{Auth: clickhouse.Auth{Database: c.Database, Username: c.User, Password: c.Password.Reveal()}}
	address := c.Address
	if rest, ok := strings.CutPrefix(address, "http://"); ok {
		o.Protocol, address = clickhouse.HTTP, rest
	}
	o.Addr = []string{address}
	if c.TLS {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return o
}

func (p *process) startDeliverer(ctx context.Context) error {
	s := p.Config.Settings
	writers, accounts := map[string]sinks.Writer{}, map[string]string{}
	var served []destinations.Served
	for _, d := range p.Config.Destinations {
		accounts[d.Name] = accountOf(d)
		o := outbound.Options{AllowPrivate: d.AllowPrivate, Limiter: p.accounts.destination(d)}
		if t, ok := d.Settings.(interface{ RequestTimeout() time.Duration }); ok {
			o.Timeout = t.RequestTimeout()
		}
		client, err := outbound.NewClient(o)
		if err != nil {
			return fmt.Errorf("%s: %w", d.File, err)
		}
		w, err := d.Sink.Open(ctx, d.Settings, sinks.Env{
			Destination: d.Name, Now: p.Now, HTTP: client,
			Log: p.Log.With().Str("destination", d.Name).Logger(),
		})
		if err != nil {
			return fmt.Errorf("%s: %w", d.File, err)
		}
		p.atEnd(func() { _ = w.Close() })
		writers[d.Name] = w
		served = append(served, destinations.Served{Destination: d, Writer: w})
	}
	d, err := deliver.New(deliver.Options{
		Kafka: s.Kafka, Codec: p.codec, Group: "tillstream-deliver", Instance: s.Instance, Writers: writers, Accounts: accounts, Pauses: p.pauses,
		Log: p.Log.With().Str("role", "deliver").Logger(), Registerer: p.metrics,
	})
	if err != nil {
		return err
	}
	p.board.Add(api.Part{Name: "deliver", Ready: d.Ready, Alive: p.turning(d), Status: func() any { return d.Status() }})
	p.group.Go(func() error { return stopped(d.Run(ctx), "deliver") })
	p.deliverer.Store(d)
	return p.keepDestinations(ctx, served)
}

func stopped(err error, what string) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// startLoader adds the loader to the group. It makes the tables and waits for ClickHouse by itself: ClickHouse being down
// keeps neither webhooks nor stages from starting.
func (p *process) startLoader(ctx context.Context, options *clickhouse.Options) error {
	s := p.Config.Settings
	log := p.Log.With().Str("role", "load").Logger()
	store, err := chsink.Open(ctx, chsink.Options{
		Client: options, Cluster: s.ClickHouse.Cluster, Retention: s.ClickHouse.Retention, Now: p.Now, Log: log,
	})
	if err != nil {
		return err
	}
	p.atEnd(func() { _ = store.Close() })
	letters, err := s.Kafka.Client()
	if err != nil {
		return err
	}
	p.atEnd(letters.Close)
	l, err := load.New(load.Options{
		Kafka: s.Kafka, Codec: p.codec, Writer: store, Topics: chsink.Topics(), Group: "tillstream-load",
		FlushInterval: s.ClickHouse.FlushInterval, FlushRows: s.ClickHouse.FlushRows, FlushBytes: s.ClickHouse.FlushBytes, Log: log, Registerer: p.metrics,
		Count:       store.CountOffsets,
		DeadLetters: func(ctx context.Context, dl schemas.DeadLetter) error { return p.deadLetter(ctx, letters, dl) },
	})
	if err != nil {
		return err
	}
	p.board.Add(api.Part{
		Name: "load", Ready: l.Ready, Alive: p.turning(l), Status: func() any { return l.Status() },
		Reasons: func() []string { return loadReasons(l.Ready(), l.Status()) },
	})
	p.group.Go(func() error { return stopped(l.Run(ctx), "load") })
	return nil
}

// deadLetter appends what a sink without a transaction of its own refuses. Its id is the row's place, so that a
// repetition after a crash is the same letter.
func (p *process) deadLetter(ctx context.Context, cl *kgo.Client, dl schemas.DeadLetter) error {
	value, err := p.codec.Encode(&dl)
	if err != nil {
		return err
	}
	return cl.ProduceSync(ctx, &kgo.Record{Topic: schemas.TopicDeadLetters, Key: []byte(dl.ID), Value: value}).FirstErr()
}
