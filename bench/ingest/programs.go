package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/ingest/redisonce"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

const connection = "shop"

// receive is Tillstream's receiver, or the bare program. It tells its address on standard output and ends with its
// standard input.
func receive(ctx context.Context, o options) error {
	switch {
	case o.gcPercent != 0:
		debug.SetGCPercent(o.gcPercent)
	case o.role == roleOurs:
		debug.SetGCPercent(ingest.GCPercent) // as a process that only receives does
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	s, ok := find(o.source)
	if !ok {
		return fmt.Errorf("no source %q", o.source)
	}
	var given setup
	if err := json.Unmarshal([]byte(o.setup), &given); err != nil {
		return err
	}
	// As the process of the product makes it: no linger, since a webhook waits for its own record.
	producer, err := kafka.Options{Brokers: []string{o.broker}}.Client(kgo.ProducerLinger(o.linger))
	if err != nil {
		return err
	}
	defer producer.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var srv *http.Server
	if o.role == roleBare {
		srv, err = bare(o, s, given, producer)
	} else {
		var end func()
		srv, end, err = ours(ctx, o, s, given, producer, l.Addr().String())
		defer end()
	}
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	if o.profile != "" && o.role == roleOurs {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ours is assembled as the product does: source, handler, codec, appender, metrics, delivery ids in Redis.
func ours(ctx context.Context, o options, s source, given setup, producer *kgo.Client, address string) (*http.Server, func(), error) {
	end := func() {}
	cfg := s.config(given)
	if v, ok := cfg.(connectors.Validator); ok {
		if found := v.Validate(); len(found) > 0 {
			return nil, end, fmt.Errorf("its configuration: %s: %s", found[0].Field, found[0].Message)
		}
	}
	c, err := s.connectorOf(cfg)
	if err != nil {
		return nil, end, err
	}
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: true})
	if err != nil {
		return nil, end, err
	}
	src, err := c.Open(ctx, cfg, connectors.Env{
		Connection: connection, Environment: schemas.Sandbox, Now: time.Now, Log: zerolog.Nop(), HTTP: client, PublicURL: "http://" + address + webhookPath,
	})
	if err != nil {
		return nil, end, err
	}
	end = func() { _ = src.Close() }
	hook, ok := src.(connectors.Webhooker)
	if !ok {
		return nil, end, errors.New("it receives no webhooks")
	}
	c.Topic = o.topic
	options := ingest.Options{
		Endpoints: []ingest.Endpoint{{Connection: connection, Connector: c, Webhook: hook, Environment: schemas.Sandbox}},
		Appender:  ingest.KafkaAppender{Client: producer}, Encode: codec.NewLocal().Encode, Log: zerolog.New(os.Stderr), Registerer: prometheus.NewRegistry(),
	}
	if o.redisAddress != "" {
		rdb := redis.NewClient(&redis.Options{Addr: o.redisAddress, Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true})
		end = func() { _, _ = src.Close(), rdb.Close() }
		options.Once = redisonce.New(rdb, 0)
	}
	h, err := ingest.New(options)
	if err != nil {
		return nil, end, err
	}
	return h.Server(address), end, nil
}

const webhookPath = "/webhooks/" + connection

// bare is what nobody can do without: read, check, append with all acknowledgements, answer.
func bare(o options, s source, given setup, producer *kgo.Client) (*http.Server, error) {
	check, err := s.check(given)
	if err != nil {
		return nil, err
	}
	return &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !check(r.Header, body) {
			http.Error(w, "", http.StatusUnauthorized)
			return
		}
		if err := producer.ProduceSync(r.Context(), &kgo.Record{Topic: o.topic, Key: []byte(r.RemoteAddr), Value: body}).FirstErr(); err != nil {
			http.Error(w, "", http.StatusServiceUnavailable)
		}
	})}, nil
}
