package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/chaos/proxy"
	"github.com/tillstream/tillstream/internal/e2e/parts"
)

const (
	brokerCount      = 3
	brokerHeap       = "-Xmx256m"
	formatLimit      = 60 * time.Second
	clusterLimit     = 120 * time.Second
	segmentBytes     = "4194304" // small, so that changelogs are compacted while they are read
	internalParts    = "6"       // partitions of the offsets' and the transactions' topics
	requestPatience  = 5 * time.Second
	awaitPause       = 100 * time.Millisecond
	brokerSessionMs  = "6000"
	brokerHeartbeats = "1000"
)

// cluster is three brokers, each behind a proxy, and each with a listener of its own for whoever only watches.
type cluster struct {
	brokers []*broker
	admin   *kadm.Client
	client  *kgo.Client
}

type broker struct {
	id      int
	direct  string // not through the proxy
	proxy   *proxy.Proxy
	dir     string
	command parts.Command

	mu      sync.Mutex
	process *parts.Process
}

// startCluster starts the brokers and returns when all are registered.
func startCluster(ctx context.Context, dir string, faults *proxy.Faults) (*cluster, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, errors.New("there is no java in PATH; scripts/install.sh kafka brings it")
	}
	jars, err := parts.KafkaJars()
	if err != nil {
		return nil, err
	}
	c := &cluster{}
	var quorum []string
	controllers := make([]string, brokerCount)
	for i := range controllers {
		port, err := parts.FreePort()
		if err != nil {
			return nil, err
		}
		controllers[i] = fmt.Sprintf("localhost:%d", port)
		quorum = append(quorum, fmt.Sprintf("%d@%s", i+1, controllers[i]))
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	for i := range brokerCount {
		b, err := newBroker(i+1, filepath.Join(dir, fmt.Sprintf("broker-%d", i+1)), controllers[i], strings.Join(quorum, ","), java, jars, faults)
		if err != nil {
			c.close()
			return nil, err
		}
		c.brokers = append(c.brokers, b)
	}
	id[0] &= 0x7f // no id begins with a dash, which would be read as an option
	if err := c.format(java, jars, base64.RawURLEncoding.EncodeToString(id)); err != nil {
		c.close()
		return nil, err
	}
	for _, b := range c.brokers {
		if err := b.start(); err != nil {
			c.close()
			return nil, err
		}
	}
	if c.client, err = kgo.NewClient(kgo.SeedBrokers(c.direct()...), kgo.RetryTimeout(requestPatience)); err != nil {
		c.close()
		return nil, err
	}
	c.admin = kadm.NewClient(c.client)
	err = await(ctx, clusterLimit, "the brokers are registered", func(ctx context.Context) error {
		got, err := c.admin.ListBrokers(ctx)
		if err == nil && len(got) != brokerCount {
			err = fmt.Errorf("%d of %d brokers are there", len(got), brokerCount)
		}
		return err
	})
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func newBroker(id int, dir, controller, quorum, java, jars string, faults *proxy.Faults) (*broker, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var ports [2]int
	for i := range ports {
		var err error
		if ports[i], err = parts.FreePort(); err != nil {
			return nil, err
		}
	}
	b := &broker{id: id, dir: dir, direct: fmt.Sprintf("localhost:%d", ports[0])}
	behind := fmt.Sprintf("localhost:%d", ports[1])
	var err error
	if b.proxy, err = proxy.Start(proxy.Options{Listen: "127.0.0.1:0", Target: behind, Kafka: true, Faults: faults}); err != nil {
		return nil, err
	}
	s := parts.KafkaSettings(parts.KafkaAddresses{Dir: filepath.Join(dir, "data"), ControllerListen: controller, ControllerQuorum: controller})
	for name, value := range map[string]string{
		"node.id":                                  fmt.Sprint(id),
		"controller.quorum.voters":                 quorum,
		"listeners":                                "DIRECT://" + b.direct + ",PROXIED://" + behind + ",CONTROLLER://" + controller,
		"advertised.listeners":                     "DIRECT://" + b.direct + ",PROXIED://" + b.proxy.Addr(),
		"listener.security.protocol.map":           "DIRECT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name":               "DIRECT",
		"offsets.topic.replication.factor":         "3",
		"transaction.state.log.replication.factor": "3",
		"transaction.state.log.min.isr":            "2",
		"default.replication.factor":               "3",
		"min.insync.replicas":                      "2",
		"offsets.topic.num.partitions":             internalParts,
		"transaction.state.log.num.partitions":     internalParts,
		"broker.session.timeout.ms":                brokerSessionMs,
		"broker.heartbeat.interval.ms":             brokerHeartbeats,
		"num.network.threads":                      "2",
		"num.io.threads":                           "4",
		"log.segment.bytes":                        segmentBytes,
		"log.cleaner.dedupe.buffer.size":           "16777216", // a heap holds more than that
		"log.cleaner.backoff.ms":                   "1000",
		"log.cleaner.min.cleanable.ratio":          "0.1",
	} {
		s[name] = value
	}
	var lines []string
	for name, value := range s {
		lines = append(lines, name+"="+value+"\n")
	}
	sort.Strings(lines)
	file := filepath.Join(dir, "server.properties")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o600); err != nil {
		return nil, err
	}
	b.command = javaCommand(fmt.Sprintf("broker %d", id), java, jars, dir, "kafka.Kafka", file)
	return b, nil
}

func javaCommand(name, java, jars, dir, class string, args ...string) parts.Command {
	return parts.Command{Name: name, Path: java, Dir: dir, Args: append([]string{
		brokerHeap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true", "-cp", filepath.Join(jars, "*"), class,
	}, args...)}
}

// format prepares the data folders of all brokers, side by side.
func (c *cluster) format(java, jars, id string) error {
	var processes []*parts.Process
	for _, b := range c.brokers {
		p, err := parts.Launch(b.dir, javaCommand(fmt.Sprintf("format %d", b.id), java, jars, b.dir,
			"kafka.tools.StorageTool", "format", "-t", id, "-c", filepath.Join(b.dir, "server.properties")))
		if err != nil {
			return err
		}
		defer p.Kill()
		processes = append(processes, p)
	}
	for _, p := range processes {
		code, err := p.Wait(formatLimit)
		if err == nil && code != 0 {
			err = fmt.Errorf("%s: exit code %d: %s", p.Name, code, p.Tail())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *broker) start() error {
	p, err := parts.Launch(b.dir, b.command)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.process = p
	b.mu.Unlock()
	return nil
}

func (b *broker) kill() {
	b.mu.Lock()
	p := b.process
	b.mu.Unlock()
	if p != nil {
		p.Kill()
	}
}

// ended says how a broker ended that nobody killed.
func (b *broker) ended() (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process == nil || !b.process.Ended() {
		return "", false
	}
	return b.process.State() + ": " + b.process.Tail(), true
}

func (c *cluster) direct() (list []string) {
	for _, b := range c.brokers {
		list = append(list, b.direct)
	}
	return list
}

// whole reports an error while a broker is missing or a replica lags behind.
func (c *cluster) whole(ctx context.Context) error {
	got, err := c.admin.ListBrokers(ctx)
	if err != nil {
		return err
	}
	if len(got) != brokerCount {
		return fmt.Errorf("%d of %d brokers are there", len(got), brokerCount)
	}
	topics, err := c.admin.ListTopicsWithInternal(ctx)
	if err != nil {
		return err
	}
	for _, t := range topics {
		for _, p := range t.Partitions {
			if len(p.ISR) < len(p.Replicas) || p.Leader < 0 {
				return fmt.Errorf("%s/%d: %d of %d replicas are in sync", t.Topic, p.Partition, len(p.ISR), len(p.Replicas))
			}
		}
	}
	return nil
}

func (c *cluster) close() {
	if c.client != nil {
		c.client.Close()
	}
	for _, b := range c.brokers {
		b.kill()
		b.proxy.Close()
	}
}

// await looks until ok returns nil; its error after limit is the last one.
func await(ctx context.Context, limit time.Duration, what string, ok func(context.Context) error) error {
	deadline := time.Now().Add(limit)
	for {
		one, cancel := context.WithTimeout(ctx, requestPatience)
		err := ok(one)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %v: %w", what, limit, err)
		}
		if err := pause(ctx, awaitPause); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
