package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/embedded"
	"github.com/tillstream/tillstream/internal/e2e/parts"
)

const (
	startLimit = 90 * time.Second
	lookEvery  = 100 * time.Millisecond
	stopLimit  = 10 * time.Second
	tailBytes  = 4000
	partitions = 8 // as topics of the product have
)

// process is a program that was started. It ends with this one.
type process struct {
	cmd   *exec.Cmd
	first string // line of standard output
	stdin io.Closer
	log   string
	done  chan struct{}
}

// launch starts a program whose standard error goes to a file, and, with talks, reads one line of what it says.
func launch(dir, name, path string, talks bool, args ...string) (*process, error) {
	p := &process{log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	says, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer says.Close()
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir, p.cmd.Stderr = dir, log
	if talks {
		p.cmd.Stdout = out
	}
	dieWithParent(p.cmd)
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	started := make(chan error)
	go func() {
		// The death signal is bound to the thread that starts the child: it has to live as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			close(p.done)
		}
	}()
	err = errors.Join(<-started, out.Close())
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if !talks {
		return p, nil
	}
	line, err := bufio.NewReader(says).ReadString('\n')
	if err != nil {
		p.end()
		return nil, fmt.Errorf("%s did not start: %s", name, p.tail())
	}
	p.first = strings.TrimSpace(line)
	return p, nil
}

// end asks by closing standard input, which our own programs heed, and then does not wait long.
func (p *process) end() {
	_ = p.stdin.Close()
	timer := time.AfterFunc(stopLimit, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	<-p.done
}

// kill ends it at once.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-tailBytes):])
}

// rssMB is the most memory that the process ever had, in MB; 0 where the system does not say.
func (p *process) rssMB() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kb, _ := strconv.ParseFloat(fields[0], 64)
	return kb / 1024
}

// cpu is the processor time that the process took.
func (p *process) cpu() time.Duration { return cpuOf(strconv.Itoa(p.cmd.Process.Pid)) }

// ownCPU is that of this process, which makes the load.
func ownCPU() time.Duration { return cpuOf("self") }

// cpuOf reads it from /proc; 0 where there is none.
func cpuOf(pid string) time.Duration {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // clock ticks of 1/100 s
}

// broker is a running Kafka and Redis.
type broker struct {
	Kafka, Redis string
	processes    []*process
	admin        *kadm.Client
}

func (b *broker) end() {
	if b.admin != nil {
		b.admin.Close()
	}
	for _, p := range slices.Backward(b.processes) {
		p.kill()
	}
}

// topic makes an empty topic.
func (b *broker) topic(ctx context.Context, name string) error {
	made, err := b.admin.CreateTopic(ctx, partitions, 1, nil, name)
	if err == nil {
		err = made.Err
	}
	if err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	return nil
}

// records counts what is on a topic.
func (b *broker) records(ctx context.Context, topic string) (int64, error) {
	ends, err := b.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("ends of topic %s: %w", topic, err)
	}
	var n int64
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n, nil
}

func startBroker(ctx context.Context, o options, kind string) (*broker, error) {
	b := &broker{}
	var err error
	switch kind {
	case "memory", "synced":
		err = b.startEmbedded(o, kind)
	case "kafka":
		err = b.startReal(ctx, o)
	default:
		return nil, fmt.Errorf("broker %q: use memory, synced or kafka", kind)
	}
	if err != nil {
		b.end()
		return nil, err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Kafka), kgo.RetryTimeout(5*time.Second))
	if err != nil {
		b.end()
		return nil, err
	}
	b.admin = kadm.NewClient(cl)
	err = until(ctx, startLimit, "kafka answers", func(ctx context.Context) error {
		brokers, err := b.admin.ListBrokers(ctx)
		if err == nil && len(brokers) == 0 {
			err = fmt.Errorf("no broker is registered: %s", b.processes[0].tail())
		}
		return err
	})
	if err != nil {
		b.end()
		return nil, err
	}
	return b, nil
}

// startEmbedded runs the embedded Kafka and Redis in a process of their own, as the peers of the receiver are.
func (b *broker) startEmbedded(o options, kind string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p, err := launch(o.dir, "broker-"+kind, self, true, "-role", roleBroker, "-brokers", kind, "-dir", filepath.Join(o.dir, kind))
	if err != nil {
		return err
	}
	b.processes = append(b.processes, p)
	return json.Unmarshal([]byte(p.first), b)
}

// serveBroker is the process of the embedded parts.
func serveBroker(ctx context.Context, o options) error {
	var b broker
	if o.brokers == "synced" {
		s, err := embedded.Start(ctx, embedded.Options{Dir: o.dir, Without: []string{embedded.ClickHouse}})
		if err != nil {
			return err
		}
		defer s.Close()
		b.Kafka, b.Redis = s.Brokers[0], s.RedisAddr
	} else {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			return err
		}
		defer cluster.Close()
		redis, err := miniredis.Run()
		if err != nil {
			return err
		}
		defer redis.Close()
		b.Kafka, b.Redis = cluster.ListenAddrs()[0], redis.Addr()
	}
	if err := json.NewEncoder(os.Stdout).Encode(b); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// startReal runs Apache Kafka and redis-server, with the settings of docker-compose.yml.
func (b *broker) startReal(ctx context.Context, o options) error {
	jars := o.kafkaDir
	if jars == "" {
		var err error
		if jars, err = parts.KafkaJars(); err != nil {
			return err
		}
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	b.Kafka, b.Redis = fmt.Sprintf("localhost:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[2])
	controller := fmt.Sprintf("localhost:%d", ports[1])
	var lines []string
	for name, value := range parts.KafkaSettings(parts.KafkaAddresses{
		Listen: b.Kafka, Advertised: b.Kafka, ControllerListen: controller, ControllerQuorum: controller, Dir: filepath.Join(o.dir, "kafka"),
	}) {
		lines = append(lines, name+"="+value+"\n")
	}
	slices.Sort(lines)
	file := filepath.Join(o.dir, "server.properties")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o600); err != nil {
		return err
	}
	java := []string{"-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", filepath.Join(jars, "*")}
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	id[0] &= 0x7f // no id begins with a dash, which would be read as an option
	format := append(java, "kafka.tools.StorageTool", "format", "-t", base64.RawURLEncoding.EncodeToString(id), "-c", file)
	if out, err := exec.CommandContext(ctx, "java", format...).CombinedOutput(); err != nil {
		return fmt.Errorf("format kafka's folder: %w: %s", err, out)
	}
	p, err := launch(o.dir, "kafka", "java", false, append(slices.Clone(java), "kafka.Kafka", file)...)
	if err != nil {
		return err
	}
	b.processes = append(b.processes, p)
	folder := filepath.Join(o.dir, "redis")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	args := append([]string{"--bind", "127.0.0.1", "--port", strconv.Itoa(ports[2]), "--dir", folder, "--save", ""}, parts.RedisArguments()...)
	if p, err = launch(folder, "redis", "redis-server", false, args...); err != nil {
		return err
	}
	b.processes = append(b.processes, p)
	return nil
}

func freePorts(n int) ([]int, error) {
	var out []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out, nil
}

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
