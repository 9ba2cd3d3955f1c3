package load

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tillstream/tillstream/embedded/linger"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

var (
	stormSeed  = flag.Uint64("seed", 0, "run the storm with this seed only")
	stormSeeds = flag.Int("seeds", 3, "how many seeds the storm runs; from 10 on every kind of fault must be met")
)

// TestStorm runs up to three loaders for hours of virtual time, kills and restarts them at every step, and lets Kafka, the
// writer, the registry and the dead letters fail in every way, late answers and late effects included. Then it lets things
// calm down: every committed record is stored exactly once, or a dead letter and not stored.
func TestStorm(t *testing.T) {
	if !clientInBubble {
		t.Skip("the storm takes hours of virtual time: run it with -tags synctests")
	}
	first, n := uint64(1), *stormSeeds
	if *stormSeed != 0 {
		first, n = *stormSeed, 1
	}
	met := map[string]int{}
	for seed := first; seed < first+uint64(n); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStorm(t, seed)
				s.run()
				for kind, n := range s.met {
					met[kind] += n
				}
				if t.Failed() {
					t.Logf("again: go test ./pipeline/load -tags synctests -run TestStorm -seed=%d", seed)
				}
			})
		})
	}
	t.Logf("faults met: %v", met)
	for _, kind := range slices.Concat(steps, []string{
		"insert fails", "insert's answer is lost", "insert is late", "writer is down", "writer asks for a pause", "row refused",
		"prepare fails", "registry away", "letter fails", "letter's answer is lost", "commit refused", "commit is late", "commit's answer is lost",
		"list is late", "kill", "stop", "repeated range", "transaction aborted",
	}) {
		if met[kind] == 0 && n >= 10 { // fewer seeds may miss a rare one
			t.Errorf("never met: %s", kind)
		}
	}
}

var steps = []string{"before plan commit", "after plan commit", "after insert", "before final commit", "after final commit", "after dead letter"}

const stormPartitions = 3

type storm struct {
	t         *testing.T
	r         *rand.Rand
	net       *kfake.VirtualNetwork
	cluster   *kfake.Cluster
	side      *kgo.Client
	txn       *kgo.Client
	processes map[string]*process
	began     time.Time
	n         int

	mu        sync.Mutex // of the fields below
	faults    *rand.Rand
	calm      bool
	met       map[string]int
	downUntil time.Time
	tokens    map[string][]string // by topic, the newest last
	stored    map[string]int
	letters   map[string]bool
}

func newStorm(t *testing.T, seed uint64) *storm {
	t.Helper()
	s := &storm{
		t: t, r: rand.New(rand.NewPCG(seed, 1)), faults: rand.New(rand.NewPCG(seed, 2)), net: new(kfake.VirtualNetwork), began: time.Now(),
		processes: map[string]*process{}, met: map[string]int{}, tokens: map[string][]string{}, stored: map[string]int{}, letters: map[string]bool{},
	}
	var err error
	s.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(linger.Listen(s.net.Listen)), kfake.SeedTopics(stormPartitions, topic, otherTopic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.cluster.Close)
	s.cluster.ControlKey(int16(kmsg.OffsetCommit), s.offsetCommit)
	s.cluster.ControlKey(int16(kmsg.ListOffsets), s.listOffsets)
	s.side = s.client()
	s.txn = s.client(kgo.TransactionalID("storm"))
	return s
}

func (s *storm) client(opts ...kgo.Opt) *kgo.Client {
	s.t.Helper()
	c, err := s.options(s.net.DialContext).Client(opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

func (s *storm) options(dial func(context.Context, string, string) (net.Conn, error)) kafka.Options {
	return kafka.Options{Brokers: s.cluster.ListenAddrs(), Extra: []kgo.Opt{kgo.Dialer(dial)}}
}

// draw decides with probability p whether a fault happens, and counts it.
func (s *storm) draw(kind string, p float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calm || s.faults.Float64() >= p {
		return false
	}
	s.met[kind]++
	return true
}

func (s *storm) span(most time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.faults.Int64N(int64(most)))
}

func (s *storm) offsetCommit(raw kmsg.Request) (kmsg.Response, error, bool) {
	s.cluster.KeepControl()
	req := raw.(*kmsg.OffsetCommitRequest)
	if s.draw("commit is late", 0.01) { // carried out after the client has given up, or just before
		d := commitTimeout/2 + s.span(3*commitTimeout)
		s.cluster.SleepControl(func() { time.Sleep(d) })
	}
	if !s.draw("commit refused", 0.02) {
		return nil, nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	code := []*kerr.Error{kerr.UnknownServerError, kerr.RequestTimedOut, kerr.CoordinatorLoadInProgress, kerr.UnknownMemberID, kerr.RebalanceInProgress}[s.faults.IntN(5)].Code
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetCommitResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetCommitResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, code
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil, true
}

func (s *storm) listOffsets(kmsg.Request) (kmsg.Response, error, bool) {
	s.cluster.KeepControl()
	if s.draw("list is late", 0.01) {
		d := s.span(2 * inspectTimeout)
		s.cluster.SleepControl(func() { time.Sleep(d) })
	}
	return nil, nil, false
}

// stormWriter deduplicates as ClickHouse does: by token only, in a window, and whatever the rows are.
type stormWriter struct{ s *storm }

const windowTokens = 1000

func (w stormWriter) Close() error { return nil }

func (w stormWriter) Prepare(context.Context) error {
	if w.s.draw("prepare fails", 0.2) {
		return errors.New("no route to host")
	}
	return nil
}

func (w stormWriter) Insert(ctx context.Context, r sinks.Range, rows []sinks.Row) error {
	s := w.s
	if s.draw("writer is down", 0.005) {
		d := s.span(5 * time.Minute)
		s.mu.Lock()
		s.downUntil = time.Now().Add(d)
		s.mu.Unlock()
	}
	s.mu.Lock()
	down := !s.calm && time.Now().Before(s.downUntil)
	s.mu.Unlock()
	switch {
	case down, s.draw("insert fails", 0.05):
		return errors.New("connection refused")
	case s.draw("writer asks for a pause", 0.02):
		return busyError{errors.New("too many parts")}
	}
	for _, row := range rows {
		if strings.HasPrefix(string(row.Value), "refused") {
			s.count("row refused")
			return &sinks.RowError{Offset: row.Offset, Err: errors.New("no such number")}
		}
	}
	if s.draw("insert is late", 0.03) { // carried out some time after the client has given up, or just before
		rows, done, d := slices.Clone(rows), make(chan struct{}), s.span(3*insertTimeoutDefault)
		go func() {
			defer close(done)
			time.Sleep(d)
			w.store(r, rows)
		}()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w.store(r, rows)
	if s.draw("insert's answer is lost", 0.05) {
		return errors.New("connection reset by peer")
	}
	return nil
}

func (w stormWriter) store(r sinks.Range, rows []sinks.Row) {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	token := fmt.Sprint(r.TopicID, r.Partition, r.From, r.To, r.Replay)
	if slices.Contains(s.tokens[r.Topic], token) {
		s.met["repeated range"]++
		return
	}
	s.tokens[r.Topic] = append(s.tokens[r.Topic], token)
	if len(s.tokens[r.Topic]) > windowTokens {
		s.tokens[r.Topic] = s.tokens[r.Topic][1:]
	}
	for _, row := range rows {
		if row.Record == nil != strings.HasPrefix(string(row.Value), "garbage") {
			s.t.Errorf("row %q came with the record %v", row.Value, row.Record)
		}
		s.stored[place(r.Topic, r.Partition, row.Offset)]++
	}
}

func place(topic string, partition int32, offset int64) string {
	return fmt.Sprintf("%s-%d-%d", topic, partition, offset)
}

func (s *storm) count(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.met[kind]++
}

func (s *storm) letter(_ context.Context, d schemas.DeadLetter) error {
	if s.draw("letter fails", 0.3) {
		return errors.New("no broker")
	}
	s.mu.Lock()
	s.letters[d.ID] = true
	s.mu.Unlock()
	if s.draw("letter's answer is lost", 0.3) {
		return errors.New("no answer")
	}
	return nil
}

type stormCodec struct{ s *storm }

func (c stormCodec) Decode(b []byte) (schemas.Record, error) {
	if c.s.draw("registry away", 0.002) {
		return nil, fmt.Errorf("schema 7: %w", codec.ErrUnavailable)
	}
	return (&textCodec{}).Decode(b)
}

// process is one loader with a network of its own, that can be cut.
type process struct {
	s      *storm
	cancel context.CancelFunc
	done   chan struct{}
	mu     sync.Mutex
	conns  []net.Conn
	dead   bool
}

func (p *process) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return nil, &net.OpError{Op: "dial", Err: errors.New("the process is dead")}
	}
	c, err := p.s.net.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	p.conns = append(p.conns, c)
	return forgetful{c, p.s}, nil
}

// forgetful loses the answers to some offset commits.
type forgetful struct {
	net.Conn
	s *storm
}

func (c forgetful) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err == nil && len(b) > 6 && binary.BigEndian.Uint16(b[4:]) == uint16(kmsg.OffsetCommit) && c.s.draw("commit's answer is lost", 0.02) {
		c.Conn.Close()
	}
	return n, err
}

// start runs a loader that crashes the nth time that it comes to a step; an empty one: never.
func (s *storm) start(name, step string, nth int) {
	s.t.Helper()
	p := &process{s: s, done: make(chan struct{})}
	log := zerolog.Nop()
	if testing.Verbose() && *stormSeed != 0 {
		log = zerolog.New(zerolog.NewTestWriter(s.t)).With().Str("loader", name).Logger()
		log = log.Hook(zerolog.HookFunc(func(e *zerolog.Event, _ zerolog.Level, _ string) { e.Str("at", time.Since(s.began).String()) }))
	}
	l, err := New(Options{
		Kafka: s.options(p.dial), Codec: stormCodec{s}, Writer: stormWriter{s}, Topics: []string{topic, otherTopic}, DeadLetters: s.letter,
		FlushRows: 1 + s.r.IntN(40), FlushBytes: 4000, BufferBytesMax: 4000 + s.r.IntN(8000), Log: log, Clock: clock.System(),
		Random: rand.NewChaCha8([32]byte{byte(s.r.Uint32()), byte(s.r.Uint32())}),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	l.crash = func(at string) error {
		if at != step {
			return nil
		}
		if nth--; nth > 0 {
			return nil
		}
		s.count(step)
		p.cut()
		return errCrashed
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() {
		defer close(p.done)
		if err := l.Run(ctx); err != nil && !errors.Is(err, errCrashed) {
			s.t.Errorf("Run of %s: %v", name, err)
		}
	}()
	s.processes[name] = p
}

var errCrashed = errors.New("crashed")

// cut is what others see of a kill.
func (p *process) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
	for _, c := range p.conns {
		c.Close()
	}
}

func (s *storm) kill(name string) {
	p := s.processes[name]
	delete(s.processes, name)
	p.cut()
	p.cancel()
	<-p.done
}

// stop ends a process cleanly, within 10 s.
func (s *storm) stop(name string) {
	s.t.Helper()
	p := s.processes[name]
	delete(s.processes, name)
	began := time.Now()
	p.cancel()
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		stacks := make([]byte, 1<<20)
		for g := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(g, "(*Loader)") || testing.Verbose() && strings.Contains(g, "kgo.") {
				s.t.Logf("still at work: %s", g)
			}
		}
	}
	<-p.done
	if took := time.Since(began); took > 10*time.Second {
		s.t.Errorf("stopping %s took %v, want at most 10 s", name, took)
	}
}

func (s *storm) run() {
	names := []string{"a", "b", "c"}
	for range 250 {
		s.load()
		name := names[s.r.IntN(len(names))]
		running := s.processes[name] != nil
		switch x := s.r.IntN(10); {
		case !running && x < 3:
			s.start(name, "", 0)
		case !running && x < 8:
			step, most := steps[s.r.IntN(len(steps))], 10
			if step == "after dead letter" { // the rarest
				most = 2
			}
			s.start(name, step, 1+s.r.IntN(most))
		case running && x < 2:
			s.count("kill")
			s.kill(name)
		case running && x < 4:
			s.count("stop")
			s.stop(name)
		}
		time.Sleep(time.Duration(s.r.Int64N(int64(time.Minute))))
	}
	s.quiet()
}

func (s *storm) load() {
	s.t.Helper()
	for range s.r.IntN(4) {
		var records []*kgo.Record
		to := []string{topic, otherTopic}[s.r.IntN(2)]
		for range 1 + s.r.IntN(30) {
			s.n++
			kind := "v"
			switch s.r.IntN(60) {
			case 0:
				kind = "refused"
			case 1:
				kind = "garbage"
			}
			records = append(records, &kgo.Record{Topic: to, Key: []byte(fmt.Sprint(s.n)), Value: fmt.Appendf(nil, "%s%d", kind, s.n)})
		}
		if s.r.IntN(2) == 0 {
			if err := s.side.ProduceSync(s.t.Context(), records...).FirstErr(); err != nil {
				s.t.Fatal(err)
			}
			continue
		}
		end := kgo.TryCommit
		if s.r.IntN(3) == 0 {
			end = kgo.TryAbort
			s.count("transaction aborted")
		}
		if err := s.txn.BeginTransaction(); err != nil {
			s.t.Fatal(err)
		}
		err := s.txn.ProduceSync(s.t.Context(), records...).FirstErr()
		if err := errors.Join(err, s.txn.EndTransaction(s.t.Context(), end)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// quiet ends the faults, and compares what is stored with what was committed.
func (s *storm) quiet() {
	s.mu.Lock()
	s.calm = true
	s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.processes)) {
		s.stop(name)
	}
	time.Sleep(2 * time.Minute) // until dead members are forgotten and late inserts have come
	s.start("a", "", 0)
	s.start("d", "", 0)
	checker, err := kafka.NewCluster(s.options(s.net.DialContext), clock.System(), zerolog.Nop())
	if err != nil {
		s.t.Fatal(err)
	}
	defer checker.Close()
	judge, err := New(Options{
		Cluster: checker, Codec: stormCodec{s}, Writer: stormWriter{s}, Topics: []string{topic, otherTopic}, DeadLetters: s.letter,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(time.Second) {
		ok, err := judge.CaughtUp(s.t.Context())
		if ok {
			break
		}
		if time.Now().After(deadline) {
			s.t.Errorf("not caught up within 10 virtual minutes (%v)", err)
			break
		}
	}
	s.stop("a")
	s.stop("d")
	if records := s.check(checker); records < s.n/2 {
		s.t.Errorf("only %d records of %d were committed: the storm tests nothing", records, s.n)
	}
	s.t.Logf("%d records, %v, met %v", s.n, time.Since(s.began).Round(time.Minute), s.met)
}

func (s *storm) check(log kafka.Log) (records int) {
	s.t.Helper()
	s.mu.Lock()
	stored, letters := maps.Clone(s.stored), maps.Clone(s.letters)
	s.mu.Unlock()
	for _, t := range []string{topic, otherTopic} {
		for number := range int32(stormPartitions) {
			_, end, err := log.Bounds(s.t.Context(), t, number)
			if err != nil {
				s.t.Fatal(err)
			}
			err = log.Read(s.t.Context(), kafka.Range{Topic: t, Partition: number, To: end, Patience: time.Minute}, func(rs []*kgo.Record, _ int64) error {
				for _, r := range rs {
					records++
					at, want := place(t, number, r.Offset), 1
					refused := strings.HasPrefix(string(r.Value), "refused")
					if refused {
						want = 0
					}
					if got := stored[at]; got != want {
						s.t.Errorf("%s (%s) is stored %d times, want %d", at, r.Value, got, want)
					}
					if letters[at] != refused {
						s.t.Errorf("%s (%s): dead letter %t, want %t", at, r.Value, letters[at], refused)
					}
					delete(stored, at)
				}
				return nil
			})
			if err != nil {
				s.t.Fatal(err)
			}
		}
	}
	for _, at := range slices.Sorted(maps.Keys(stored)) {
		if stored[at] > 0 {
			s.t.Errorf("%s is stored, and was never committed", at)
		}
	}
	return records
}
