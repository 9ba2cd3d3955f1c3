package app

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/explain"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/schemas/registry"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// showAutomation has the management port answer about workflows, where ClickHouse is known: runs and waits are looked up
// there. It waits for nothing.
func (p *process) showAutomation(ctx context.Context) error {
	options := p.ClickHouse
	if options == nil {
		if p.Config.Settings.ClickHouse.Address == "" {
			return nil
		}
		options = ClickHouseOptions(p.Config.Settings.ClickHouse)
	}
	store, err := chsink.Open(ctx, chsink.Options{Client: options, Now: p.Now, Log: p.Log.With().Str("role", "api").Logger()})
	if err != nil {
		return err
	}
	p.atEnd(func() { _ = store.Close() })
	p.managed.runs.Store(store)
	producer, err := p.Config.Settings.Kafka.Client(kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	p.atEnd(producer.Close)
	p.board.SetAutomation(&explain.Desk{Store: store, Append: appendDecisions(producer, p.codec.Encode), Now: p.Now})
	return nil
}

// appendDecisions puts decisions on the inbox of the automation stage, keyed by contact, so that each comes to the
// partition that holds the contact's runs.
func appendDecisions(cl *kgo.Client, encode func(schemas.Record) ([]byte, error)) func(context.Context, []*schemas.WaitDecision) error {
	return func(ctx context.Context, list []*schemas.WaitDecision) error {
		records := make([]*kgo.Record, len(list))
		for i, d := range list {
			value, err := encode(d)
			if err != nil {
				return err
			}
			records[i] = &kgo.Record{Topic: schemas.TopicAutomationInbox, Key: []byte(d.ContactKey), Value: value}
		}
		return cl.ProduceSync(ctx, records...).FirstErr()
	}
}

// Decisions appends what people decide about waits, for a command beside the processes that run.
type Decisions struct {
	Append func(context.Context, []*schemas.WaitDecision) error
	Close  func()
}

// decisionsTimeout bounds the wait for the schema registry and Kafka.
const decisionsTimeout = 30 * time.Second

// OpenDecisions reaches the schema registry and Kafka. The error says which of them is not reached.
func OpenDecisions(ctx context.Context, k kafka.Options, r config.Registry) (*Decisions, error) {
	ctx, cancel := context.WithTimeout(ctx, decisionsTimeout)
	defer cancel()
	c, err := openCodec(ctx, r)
	if err != nil {
		return nil, err
	}
	cl, err := k.Client(kgo.ProducerLinger(0), kgo.RecordDeliveryTimeout(decisionsTimeout))
	if err != nil {
		return nil, err
	}
	if err := cl.Ping(ctx); err != nil {
		cl.Close()
		return nil, fmt.Errorf("kafka at %v is not reached: %w", k.Brokers, err)
	}
	return &Decisions{Append: appendDecisions(cl, c.Encode), Close: cl.Close}, nil
}

// openCodec reaches the schema registry. The error says where it is not.
func openCodec(ctx context.Context, r config.Registry) (*codec.Codec, error) {
	reg := registry.New(registry.Options{URL: r.URL, User: r.User, Password: r.Password, CacheFile: r.CacheFile, HTTP: &http.Client{Timeout: 10 * time.Second}})
	if err := reg.Register(ctx); err != nil {
		return nil, fmt.Errorf("the schema registry at %s is not reached: %w", r.URL, err)
	}
	return codec.New(reg)
}
