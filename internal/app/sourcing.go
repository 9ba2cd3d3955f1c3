package app

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/schemas/registry"
)

// Sources is what a command needs that reads connections and the log, and appends what it found, beside the processes
// that run: no role of them.
type Sources struct {
	Codec  *codec.Codec
	Log    *kafka.Cluster
	Keeper ingest.Keeper

	now      func() time.Time
	log      zerolog.Logger
	accounts accounts
	closers  []func()
}

// sourcesTimeout bounds the wait for the schema registry and Kafka: a command says that they are down, it does not wait.
const sourcesTimeout = 30 * time.Second

// OpenSources reaches the schema registry and Kafka, and makes sure that the topics are there. The error says which of
// them is not reached.
func OpenSources(ctx context.Context, c *config.Config, now func() time.Time, log zerolog.Logger) (*Sources, error) {
	s := &Sources{now: now, log: log}
	reached, cancel := context.WithTimeout(ctx, sourcesTimeout)
	defer cancel()
	set := c.Settings
	reg := registry.New(registry.Options{
		URL: set.Registry.URL, User: set.Registry.User, Password: set.Registry.Password,
		CacheFile: set.Registry.CacheFile, HTTP: &http.Client{Timeout: 10 * time.Second},
	})
	if err := reg.Register(reached); err != nil {
		return nil, fmt.Errorf("the schema registry at %s is not reached: %w", set.Registry.URL, err)
	}
	var err error
	if s.Codec, err = codec.New(reg); err != nil {
		return nil, err
	}
	if err := kafka.EnsureTopics(reached, set.Kafka, kafka.Topics(set.Kafka)); err != nil {
		return nil, fmt.Errorf("kafka at %v: %w", set.Kafka.Brokers, err)
	}
	s.accounts = openAccounts(c, now)
	s.closers = append(s.closers, s.accounts.close)
	if s.Log, err = kafka.NewCluster(set.Kafka, clock.System(), log); err != nil {
		s.Close()
		return nil, err
	}
	s.closers = append(s.closers, s.Log.Close)
	producer, err := set.Kafka.Client(kgo.ProducerLinger(0), kgo.WithLogger(kafka.Logger(log)))
	if err != nil {
		s.Close()
		return nil, err
	}
	s.closers = append(s.closers, producer.Close)
	s.Keeper = ingest.Keeper{Appender: renewing{ingest.KafkaAppender{Client: producer}}, Encode: s.Codec.Encode, AllowCardNumbers: set.Ingest.AllowCardNumbers}
	return s, nil
}

// Connect opens one connection of the configuration. It registers nothing. The caller closes it.
func (s *Sources) Connect(ctx context.Context, c config.Connection) (connectors.Source, error) {
	limiter := s.accounts.connection(c)
	if limiter != nil {
		if err := s.accounts.reached(ctx); err != nil {
			return nil, err
		}
	}
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: c.AllowPrivate, RootCAs: c.TLSRoots, Limiter: limiter})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.File, err)
	}
	source, err := c.Connector.Open(ctx, c.Settings, connectors.Env{
		Connection: c.Name, Environment: c.Environment, Resources: c.Resources, Now: s.now,
		Log: s.log.With().Str("connection", c.Name).Logger(), HTTP: client,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.File, err)
	}
	return source, nil
}

// Close ends what OpenSources opened.
func (s *Sources) Close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}
