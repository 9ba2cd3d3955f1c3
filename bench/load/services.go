package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tillstream/tillstream/embedded/chdb"
	"github.com/tillstream/tillstream/embedded/chserver"
	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

const (
	partitions   = 8 // as topics of the product have
	startLimit   = 90 * time.Second
	headerWait   = 10 * time.Second
	sessionShort = 3 * time.Second // a killed member is missed soon
)

// services are the addresses of Kafka and ClickHouse, in a process of their own.
type services struct{ Kafka, ClickHouse string }

// serve is that process.
func serve(ctx context.Context, o options) error {
	lib, err := chdb.Open(chdb.Options{Dir: filepath.Join(o.dir, "clickhouse"), Connections: o.connections + 1})
	if err != nil {
		return err
	}
	defer lib.Close()
	engine, err := chserver.New(lib, chserver.Options{Database: chsink.DatabaseDefault})
	if err != nil {
		return err
	}
	defer engine.Close()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topics()...), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		return err
	}
	defer cluster.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: engine.Handler(), ReadHeaderTimeout: headerWait}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	if err := json.NewEncoder(os.Stdout).Encode(services{Kafka: cluster.ListenAddrs()[0], ClickHouse: listener.Addr().String()}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return server.Close()
	case err := <-failed:
		return err
	}
}

func topics() []string { return append(chsink.Topics(), schemas.TopicDeadLetters+".bench") }

// startServices starts them and waits for their addresses. program is this program, or a test that can be it.
func startServices(ctx context.Context, o options, program parts.Command) (*parts.Process, services, error) {
	program.Name = roleServices
	program.Args = append(slices.Clone(program.Args), "-role", roleServices, "-dir", o.dir, "-connections", fmt.Sprint(o.connections))
	p, err := parts.Launch(o.dir, program)
	if err != nil {
		return nil, services{}, err
	}
	var s services
	err = until(ctx, startLimit, func() error {
		if p.Ended() {
			return fmt.Errorf("the services ended: %s", p.Tail())
		}
		line, _, whole := strings.Cut(p.Stdout(), "\n")
		if !whole {
			return errors.New("the services have not said where they are")
		}
		return json.Unmarshal([]byte(line), &s)
	})
	if err != nil {
		p.Kill()
		return nil, services{}, err
	}
	return p, s, nil
}

// until asks again and again, for so long.
func until(ctx context.Context, limit time.Duration, ok func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %s: %w", limit, err)
		case <-tick.C:
		}
	}
}

// clickhouseAt is how both programs reach ClickHouse.
func clickhouseAt(address, database string) *clickhouse.Options {
	return &clickhouse.Options{Protocol: clickhouse.HTTP, Addr: []string{address}, Auth: clickhouse.Auth{Database: database}}
}

func openStore(ctx context.Context, address, database string) (*chsink.Store, error) {
	return chsink.Open(ctx, chsink.Options{Client: clickhouseAt(address, database), Log: zerolog.Nop(), Now: time.Now})
}
