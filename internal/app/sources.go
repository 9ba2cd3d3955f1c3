package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/ingest"
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

// openReceiver opens every connection and answers their webhooks on l until ctx ends.
func (p *process) openReceiver(ctx context.Context, l net.Listener) error {
	s := p.Config.Settings.Ingest
	var endpoints []ingest.Endpoint
	for _, c := range p.Config.Connections {
		e := ingest.Endpoint{Connection: c.Name, Token: c.Token, Connector: c.Connector, Environment: c.Environment}
		source, err := p.openConnection(ctx, c, e.Path(), l.Addr().String())
		if err != nil {
			return err
		}
		p.atEnd(func() { _ = source.Close() })
		if hook, ok := source.(connectors.Webhooker); ok {
			e.Webhook = hook
			endpoints = append(endpoints, e)
		}
		if reg, ok := source.(connectors.Registrar); ok {
			p.keepRegistered(ctx, c, reg)
		}
	}
	h, err := ingest.New(ingest.Options{
		Endpoints: endpoints, Appender: &p.gate, Encode: p.gate.encode, BodyBytesMax: s.BodyBytesMax, ConcurrentMax: s.ConcurrentMax,
		Log: p.Log.With().Str("role", "ingest").Logger(), Registerer: p.metrics,
	})
	if err != nil {
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

func (p *process) openConnection(ctx context.Context, c config.Connection, path, address string) (connectors.Source, error) {
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: c.AllowPrivate, RootCAs: c.TLSRoots})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.File, err)
	}
	base := strings.TrimSuffix(p.Config.Settings.Ingest.PublicURL, "/")
	if base == "" && c.AllowPrivate { // a simulator on this machine reaches the port itself
		base = "http://" + address
	}
	url := ""
	if base != "" {
		url = base + path
	}
	source, err := c.Connector.Open(ctx, c.Settings, connectors.Env{
		Connection: c.Name, Environment: c.Environment, Resources: c.Resources, Now: p.Now,
		Log: p.Log.With().Str("connection", c.Name).Logger(), HTTP: client, PublicURL: url,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.File, err)
	}
	return source, nil
}

// keepRegistered registers the webhook in the background: a provider that is down must not keep the others' events
// out. Until it worked, this connection is not ready and its deliveries are answered 503, so that they come again.
func (p *process) keepRegistered(ctx context.Context, c config.Connection, reg connectors.Registrar) {
	var trouble atomic.Pointer[error]
	pending := errors.New("its webhook is not registered yet")
	trouble.Store(&pending)
	p.board.Add(api.Part{Name: "connection " + c.Name, Ready: func() error {
		if err := trouble.Load(); err != nil {
			return *err
		}
		return nil
	}})
	p.group.Go(func() error {
		for wait := time.Second; ; wait = min(2*wait, time.Minute) {
			got, err := reg.Register(ctx)
			if err == nil {
				p.Log.Info().Str("connection", c.Name).Str("webhook", got.ID).Msg("webhook registered")
				trouble.Store(nil)
				return nil
			}
			if ctx.Err() != nil {
				return nil
			}
			trouble.Store(&err)
			p.Log.Warn().Err(err).Str("connection", c.Name).Dur("again_in", wait).Msg("webhook not registered")
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(wait):
			}
		}
	})
}
