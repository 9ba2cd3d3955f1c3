package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/store/redisstore"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
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
func (p *process) startStages(ctx context.Context, groups *groups) error {
	s := p.Config.Settings
	watermark := p.followBeats(ctx)
	topologies := []pipeline.Topology{
		{
			Stage:     pipeline.Bind(orders.New(OrdersOptions(s.Stages))),
			Inputs:    []string{schemas.TopicPayPalEvents, schemas.TopicStoreOrders, schemas.TopicOrdersInbox},
			Inbox:     schemas.TopicOrdersInbox,
			Changelog: schemas.TopicOrdersChangelog,
			Group:     "tillstream-orders",
		},
		{
			Stage:     pipeline.Bind(automation.NewFollowing(p.book)),
			Inputs:    []string{schemas.TopicAutomationInbox},
			Inbox:     schemas.TopicAutomationInbox,
			Changelog: schemas.TopicAutomationLog,
			Group:     "tillstream-automation",
		},
	}
	for _, t := range topologies {
		name := t.Stage.Name()
		o := pipeline.EngineOptions{
			Kafka: s.Kafka, Store: redisstore.New(p.redis), Codec: codec.InPlace{Codec: p.codec}, Topology: t,
			Instance: s.Instance, Lanes: s.Stages.Lanes, RulesHash: p.Config.Version, Watermark: watermark,
			Log: p.Log.With().Str("stage", name).Logger(), Registerer: p.metrics,
		}
		if t.Inbox == schemas.TopicAutomationInbox {
			o.ConfigVersion, o.Config = p.Config.Version, p.book.Config
		}
		e, err := pipeline.NewEngine(o)
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
