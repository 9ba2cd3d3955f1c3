package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/e2e/parts"
)

const (
	formatLimit = time.Minute
	startLimit  = 90 * time.Second
	lookEvery   = 100 * time.Millisecond
)

// until looks until ok returns nil or limit is over.
func until(ctx context.Context, limit time.Duration, what string, ok func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		err := ok(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v: %w", what, limit, err)
		case <-look.C:
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// groupDelay lets the lanes and threads of a program join at once, as on any broker with its default of 3 s: else the first
// to join gets everything, begins, and gives half of it away again.
const groupDelay = "group.initial.rebalance.delay.ms"

// startKafka starts a broker with the heap that a small production broker has.
func startKafka(ctx context.Context, dir, jars string) (p *process, address string, err error) {
	listen, err := freePort()
	if err != nil {
		return nil, "", err
	}
	control, err := freePort()
	if err != nil {
		return nil, "", err
	}
	address, controller := fmt.Sprintf("localhost:%d", listen), fmt.Sprintf("localhost:%d", control)
	var lines []string
	for name, value := range parts.KafkaSettings(parts.KafkaAddresses{
		Listen: address, Advertised: address, ControllerListen: controller, ControllerQuorum: controller, Dir: filepath.Join(dir, "kafka"),
	}) {
		lines = append(lines, name+"="+value+"\n")
	}
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, groupDelay) })
	lines = append(lines, groupDelay+"=1000\n")
	slices.Sort(lines)
	file := filepath.Join(dir, "server.properties")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o600); err != nil {
		return nil, "", err
	}
	java := []string{"-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", filepath.Join(jars, "*")}
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	id[0] &= 0x7f // no id begins with a dash, which would be read as an option
	format, err := launch(dir, "kafka-format", "java", append(java, "kafka.tools.StorageTool", "format", "-t", base64.RawURLEncoding.EncodeToString(id), "-c", file)...)
	if err != nil {
		return nil, "", err
	}
	if err := format.wait(ctx, formatLimit); err != nil {
		return nil, "", err
	}
	if p, err = launch(dir, "kafka", "java", append(java, "kafka.Kafka", file)...); err != nil {
		return nil, "", err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.RetryTimeout(time.Second))
	if err != nil {
		return nil, "", err
	}
	defer cl.Close()
	return p, address, until(ctx, startLimit, "kafka answers", func(ctx context.Context) error {
		brokers, err := kadm.NewClient(cl).ListBrokers(ctx)
		if err == nil && len(brokers) == 0 || p.ended() {
			err = fmt.Errorf("no broker is registered: %s", p.tail())
		}
		return err
	})
}

// redisServer is a Redis that is started empty for each run, so that the memory which it takes is the run's.
type redisServer struct {
	dir, address string
	process      *process
	client       *redis.Client
	before       memory
}

// quiet is a log for the Redis client: that a server which the harness ended is gone is no news.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// memory is what INFO memory says, in bytes.
type memory struct{ used, rss int64 }

func startRedis(ctx context.Context, dir string) (*redisServer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &redisServer{address: fmt.Sprintf("127.0.0.1:%d", port)}
	if r.dir, err = os.MkdirTemp(dir, "redis-"); err != nil {
		return nil, err
	}
	args := append([]string{"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", r.dir, "--save", ""}, parts.RedisArguments()...)
	if r.process, err = launch(r.dir, "redis", "redis-server", args...); err != nil {
		return nil, err
	}
	redis.SetLogger(quiet{})
	r.client = redis.NewClient(&redis.Options{Addr: r.address, Protocol: 2, DisableIdentity: true})
	if err := until(ctx, startLimit, "redis answers", func(ctx context.Context) error { return r.client.Ping(ctx).Err() }); err != nil {
		return nil, err
	}
	r.before, err = r.memory(ctx)
	return r, err
}

func (r *redisServer) memory(ctx context.Context) (memory, error) {
	text, err := r.client.Info(ctx, "memory").Result()
	if err != nil {
		return memory{}, fmt.Errorf("ask redis for its memory: %w", err)
	}
	var m memory
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "used_memory":
			m.used = n
		case "used_memory_rss":
			m.rss = n
		}
	}
	return m, nil
}

// taken is what Redis holds more than when it was empty.
func (r *redisServer) taken(ctx context.Context) (memory, error) {
	m, err := r.memory(ctx)
	return memory{m.used - r.before.used, m.rss - r.before.rss}, err
}

// end stops the server and removes its data.
func (r *redisServer) end() {
	_ = r.client.Close()
	r.process.kill()
	_ = os.RemoveAll(r.dir)
}
