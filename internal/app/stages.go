package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/store/redisstore"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// Limits of one call to Redis. A stop waits for the call at hand: with its one repetition it has to leave time for the
// rest of the 10 s.
const (
	redisTimeout    = 2 * time.Second // of a dial, a write and a read
	redisRetriesMax = 1               // for a connection that had gone stale
)

func redisOptions(r config.Redis) *redis.Options {
	o := &redis.Options{
		Addr: r.Address, Username: r.User, Password: r.Password.Reveal(), DB: r.DB, Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true,
		DialTimeout: redisTimeout, DialerRetries: 1, ReadTimeout: redisTimeout, WriteTimeout: redisTimeout, MaxRetries: redisRetriesMax,
	}
	if r.TLS {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return o
}

// OrdersOptions are the orders stage's limits, as configured.
func OrdersOptions(s config.Stages) orders.Options {
	return orders.Options{
		OrphanAfter: s.OrphanAfter, ForgetAfter: s.ForgetAfter, ClockSkew: s.ClockSkew,
		AliasDomains: s.AliasDomains, CustomIDIsCustomer: s.CustomID == config.CustomIDCustomer,
	}
}

// startStages adds one engine per stage to the group.
func (p *process) startStages(ctx context.Context, rules rulesSet, groups *groups) error {
	s := p.Config.Settings
	topologies := []pipeline.Topology{
		{
			Stage:     pipeline.Bind(orders.New(OrdersOptions(s.Stages))),
			Inputs:    []string{schemas.TopicPayPalEvents, schemas.TopicStoreOrders, schemas.TopicOrdersInbox},
			Inbox:     schemas.TopicOrdersInbox,
			Changelog: schemas.TopicOrdersChangelog,
			Group:     "tillstream-orders",
		},
		{
			Stage:     pipeline.Bind(automation.New(rules)),
			Inputs:    []string{schemas.TopicAutomationInbox},
			Inbox:     schemas.TopicAutomationInbox,
			Changelog: schemas.TopicAutomationLog,
			Group:     "tillstream-automation",
		},
	}
	for _, t := range topologies {
		name := t.Stage.Name()
		e, err := pipeline.NewEngine(pipeline.EngineOptions{
			Kafka: s.Kafka, Store: redisstore.New(p.redis), Codec: codec.InPlace{Codec: p.codec}, Topology: t,
			Instance: s.Instance, Lanes: s.Stages.Lanes, RulesHash: p.Config.Version,
			Log: p.Log.With().Str("stage", name).Logger(), Registerer: p.metrics,
		})
		if err != nil {
			return fmt.Errorf("stage %s: %w", name, err)
		}
		groups.add(name, t.Group, t.Inputs)
		p.board.Add(p.partOf(name, e, groups))
		p.group.Go(func() error {
			if err := e.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				return fmt.Errorf("stage %s: %w", name, err)
			}
			return nil
		})
	}
	return nil
}

// publishConfig appends a configuration to the config topic, unless it is the newest there already.
func (p *process) publishConfig(ctx context.Context, c *config.Config) error {
	value, err := p.codec.Encode(&schemas.ConfigVersion{Version: c.Version, Files: c.Files, At: p.Now()})
	if err != nil {
		return err
	}
	last, err := p.lastConfig(ctx)
	if err != nil || last == c.Version {
		return err
	}
	cl, err := p.Config.Settings.Kafka.Client()
	if err != nil {
		return err
	}
	defer cl.Close()
	record := &kgo.Record{Topic: schemas.TopicConfig, Key: []byte("current"), Value: value}
	if err := cl.ProduceSync(ctx, record).FirstErr(); err != nil {
		return fmt.Errorf("append the configuration to topic %s: %w", schemas.TopicConfig, err)
	}
	return nil
}

// lastConfig reads the newest version on the config topic; empty where there is none.
func (p *process) lastConfig(ctx context.Context) (version string, err error) {
	reader, err := p.Config.Settings.Kafka.Client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		schemas.TopicConfig: {0: kgo.NewOffset().AtEnd().Relative(-1)},
	}))
	if err != nil {
		return "", err
	}
	defer reader.Close()
	end, err := endOffset(ctx, reader, schemas.TopicConfig)
	if err != nil || end == 0 {
		return "", err
	}
	fetches := reader.PollFetches(ctx)
	if err := fetches.Err(); err != nil {
		return "", fmt.Errorf("read topic %s: %w", schemas.TopicConfig, err)
	}
	fetches.EachRecord(func(r *kgo.Record) {
		if rec, err := p.codec.Decode(r.Value); err == nil {
			if c, ok := rec.(*schemas.ConfigVersion); ok {
				version = c.Version
			}
		}
	})
	return version, nil
}
