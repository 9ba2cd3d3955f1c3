package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/enrich"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/ingest/redisonce"
	"github.com/tillstream/tillstream/pipeline/poll"
	"github.com/tillstream/tillstream/schemas"
)

// gate holds what the receiver needs of Kafka and the registry. It is closed at the start: the port is open and its
// requests are verified, but answered 503 until they can be kept, so that their senders come again.
type gate struct {
	open    atomic.Pointer[keeper]
	healthy func() error // Options.Healthy
}

type keeper struct {
	appender ingest.Appender
	encode   func(schemas.Record) ([]byte, error)
}

// renewing forgets a topic that was deleted and created again. The client never takes over the id of the new one by
// itself, and would refuse every webhook until a restart.
type renewing struct{ ingest.KafkaAppender }

// Append implements ingest.Appender.
func (r renewing) Append(ctx context.Context, topic, key string, value []byte) error {
	err := r.KafkaAppender.Append(ctx, topic, key, value)
	if errors.Is(err, kerr.UnknownTopicID) {
		r.Client.PurgeTopicsFromProducing(topic)
	}
	return err
}

var errStarting = errors.New("kafka and the schema registry were not reached yet")

// Append implements ingest.Appender.
func (g *gate) Append(ctx context.Context, topic, key string, value []byte) error {
	k := g.open.Load()
	if k == nil {
		return errStarting
	}
	if g.healthy != nil {
		if err := g.healthy(); err != nil {
			return err
		}
	}
	return k.appender.Append(ctx, topic, key, value)
}

func (g *gate) encode(rec schemas.Record) ([]byte, error) {
	k := g.open.Load()
	if k == nil {
		return nil, errStarting
	}
	return k.encode(rec)
}

// openReceiver opens the connections in the background and answers their webhooks on l until ctx ends. A connection that
// is not open yet is answered 503, so that its senders come again.
func (p *process) openReceiver(ctx context.Context, l net.Listener) error {
	s := p.Config.Settings.Ingest
	proxies, err := s.Proxies()
	if err != nil {
		return err
	}
	ids := redis.NewClient(redisOptions(p.Config.Settings.Redis)) // of its own: the receiver opens before anything else is reached
	p.atEnd(func() { _ = ids.Close() })
	h, err := ingest.New(ingest.Options{
		Appender: &p.gate, Encode: p.gate.encode, BodyBytesMax: s.BodyBytesMax, ConcurrentMax: s.ConcurrentMax,
		TrustedProxies: proxies, AllowCardNumbers: s.AllowCardNumbers, Once: redisonce.New(ids, 0),
		Log: p.Log.With().Str("role", "ingest").Logger(), Registerer: p.metrics,
	})
	if err != nil {
		return err
	}
	p.onServed(func(list []connections.Served) {
		if err := h.SetEndpoints(endpoints(list)); err != nil { // the configuration's names and tokens were checked
			p.Log.Error().Err(err).Msg("the receiver keeps its former endpoints")
		}
	})
	if err := p.startConnections(ctx, l.Addr().String()); err != nil {
		return err
	}
	p.board.Add(api.Part{Name: "ingest", Ready: func() error {
		if p.gate.open.Load() == nil {
			return errStarting
		}
		return nil
	}})
	srv := h.Server(l.Addr().String())
	p.group.Go(func() error {
		stop := context.AfterFunc(ctx, func() {
			c, cancel := context.WithTimeout(context.Background(), stopTimeout/2)
			defer cancel()
			_ = srv.Shutdown(c)
		})
		defer stop()
		if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("webhooks on %s: %w", l.Addr(), err)
		}
		return nil
	})
	return nil
}

// endpoints are the addresses of those that take webhooks.
func endpoints(list []connections.Served) (out []ingest.Endpoint) {
	for _, s := range list {
		if s.Webhook != nil && s.Connector.Normalize != nil && s.Connector.Topic != "" {
			out = append(out, ingest.Endpoint{Connection: s.Name, Token: s.Token, Connector: s.Connector, Webhook: s.Webhook, Environment: s.Environment})
		}
	}
	return out
}

// keeper keeps what comes otherwise than by webhook, by the same rules.
func (p *process) keeper() ingest.Keeper {
	return ingest.Keeper{Appender: &p.gate, Encode: p.gate.encode, AllowCardNumbers: p.Config.Settings.Ingest.AllowCardNumbers}
}

// startPolling reads the connections' lists at intervals, for what no webhook brought.
func (p *process) startPolling(ctx context.Context) error {
	r, err := poll.New(poll.Options{
		Kafka: p.Config.Settings.Kafka, Codec: p.codec, Keeper: p.keeper(),
		Group: pollGroup, Instance: p.Config.Settings.Instance, Log: p.Log.With().Str("role", "poll").Logger(), Registerer: p.metrics,
	})
	if err != nil {
		return fmt.Errorf("polling: %w", err)
	}
	p.polling.Store(r)
	p.onServed(func(list []connections.Served) { r.Set(polled(list)) })
	p.board.Add(api.Part{Name: "poll", Ready: r.Ready, Status: func() any { return r.Status() }})
	p.group.Go(func() error {
		if err := r.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("polling: %w", err)
		}
		return nil
	})
	return nil
}

// startEnriching asks the providers for what events do not say.
func (p *process) startEnriching(ctx context.Context) error {
	grace := p.Config.Settings.Ingest.EnrichAfter
	if grace < 0 {
		return nil
	}
	e, err := enrich.New(enrich.Options{
		Kafka: p.Config.Settings.Kafka, Decode: p.codec.Decode, Keeper: p.keeper(),
		Group: enrichGroup, Grace: grace, Log: p.Log.With().Str("role", "enrich").Logger(), Registerer: p.metrics,
	})
	if err != nil {
		return fmt.Errorf("enrichment: %w", err)
	}
	p.onServed(func(list []connections.Served) {
		var askable []enrich.Connection
		for _, s := range list {
			if f, ok := s.Source.(connectors.Fetcher); ok {
				askable = append(askable, enrich.Connection{Name: s.Name, Environment: s.Environment, Connector: s.Connector, Fetcher: f})
			}
		}
		e.Set(askable)
	})
	p.board.Add(api.Part{Name: "enrich", Ready: e.Ready})
	p.group.Go(func() error {
		if err := e.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("enrichment: %w", err)
		}
		return nil
	})
	return nil
}

// enrichGroup is the consumer group of all processes that ask for what events lack.
const enrichGroup = "tillstream-enrich"

// pollGroup is the consumer group of all processes that poll.
const pollGroup = "tillstream-sources"

func polled(list []connections.Served) (out []poll.Connection) {
	for _, s := range list {
		if s.Source == nil {
			continue
		}
		c := poll.Connection{Name: s.Name, Environment: s.Environment, Connector: s.Connector, Every: s.PollEvery}
		c.Poller, _ = s.Source.(connectors.Poller)
		out = append(out, c)
	}
	return out
}

// openGate lets the receiver keep what it gets.
func (p *process) openGate() error {
	// No linger: a webhook waits for its own record only, and batches form by themselves under load.
	producer, err := p.Config.Settings.Kafka.Client(kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	p.atEnd(producer.Close)
	p.gate.open.Store(&keeper{renewing{ingest.KafkaAppender{Client: producer}}, p.codec.Encode})
	return nil
}
