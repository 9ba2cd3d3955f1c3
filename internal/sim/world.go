package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/internal/sim/broker"
	"github.com/tillstream/tillstream/internal/sim/sched"
	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/schemas"
)

// world is everything of one seed.
type world struct {
	o       Options
	mutant  *Mutant // nil: the product as it is
	cfg     config
	r       *rand.Rand // of the world itself
	s       *sched.Sched
	b       *broker.Broker
	store   *simStore
	nemesis *nemesis
	work    *work
	// receivers are those that beat; nil: there never was one.
	receivers *receivers
	// others answer and configure; nil: nobody does.
	others *others
	slots  []*slot
	role   role // nil: the processes run stages
	stages []*stageUse
	hits   map[Cell]int
	hash   hash.Hash64

	calm, over bool
	stopping   bool
	stopped    time.Time // when the processes were told to end
	frozen     int
	events     int
	commits    int
	violations []string
	canaries   [][]byte
	history    map[string]*changelogHistory // by changelog and partition
}

// slot is a process that may die and be started again under its name.
type slot struct {
	w    *world
	name string
	life int

	proc       *sched.Proc // nil: dead
	skew       time.Duration
	cancel     context.CancelFunc
	ended      bool
	recovering bool
	frozenAt   time.Time // with a mutant: what the clock says instead
	engines    []*pipeline.Engine
	ready      func() error // of a role
	serve      http.HandlerFunc
	ctx        context.Context
}

// stageUse is one stage of the world with its topics.
type stageUse struct {
	topology pipeline.Topology
	fold     func(w *world, u *stageUse, partition int32) *folded
	outputs  []string
}

func newWorld(o Options) *world {
	w := &world{
		o: o, mutant: mutantNamed(o.Mutant), r: rng(o.Seed, 1), hits: map[Cell]int{}, hash: fnv.New64a(), history: map[string]*changelogHistory{},
	}
	var loose broker.Loose
	if w.mutant != nil {
		o.Kind, loose = w.mutant.Kind, w.mutant.brokers
	}
	w.cfg = draw(w.r, o.Kind)
	w.s = sched.New(rng(o.Seed, 2), epoch)
	w.nemesis = &nemesis{w: w, r: rng(o.Seed, 3)}
	w.b = broker.New(broker.Options{
		Sched: w.s, Random: rng(o.Seed, 4), Nemesis: w.nemesis, FetchMax: w.cfg.FetchMax, TombstoneRetention: kafka.TombstoneRetention,
		Loose: loose, Watch: broker.Watch{Decided: w.decided, OffsetsSet: w.offsetsSet, Appended: w.appended},
	})
	w.store = newSimStore(w)
	w.work = newWork(w, rng(o.Seed, 5))
	w.receivers = newReceivers(w, rng(o.Seed, 6))
	if w.cfg.hasFlows() {
		w.others = newOthers(w, rng(o.Seed, 7))
	}
	w.topics()
	for i := range w.cfg.Processes {
		w.slots = append(w.slots, &slot{w: w, name: string(rune('a' + i))})
	}
	w.trace("seed %d: %s", o.Seed, w.cfg)
	return w
}

// topics makes the world's stages and their topics.
func (w *world) topics() {
	n := int32(w.cfg.Partitions)
	w.b.Create(schemas.TopicDeadLetters, 1, false)
	if w.role = newRole(w); w.role != nil {
		w.role.topics()
		return
	}
	if w.cfg.Kind == kindLedger || w.cfg.Kind == kindDamage {
		w.b.Create(topicIn, n, false)
		w.b.Create(topicChangelog, n, true)
		w.b.Create(topicOut, 1+int32(w.r.IntN(2)), false)
		w.stages = append(w.stages, &stageUse{
			topology: pipeline.Topology{Stage: pipeline.Bind(ledger{}), Inputs: []string{topicIn}, Inbox: topicIn, Changelog: topicChangelog, Group: groupLedger},
			fold:     foldWith(ledger{}), outputs: []string{topicOut},
		})
		return
	}
	flows := w.flowTopics(automation.NewFollowing(bookOfTheWorld))
	if w.cfg.Kind == kindFlows {
		w.stages = append(w.stages, flows)
		return
	}
	w.b.Create(schemas.TopicPayPalEvents, n, false)
	w.b.Create(schemas.TopicOrdersInbox, n, false)
	w.b.Create(schemas.TopicOrdersChangelog, n, true)
	w.b.Create(schemas.TopicTransitions, n, false)
	o := orders.New(orders.Options{OrphanAfter: time.Duration(2+w.r.IntN(20)) * time.Second, ParkedMax: 1 + w.r.IntN(6)})
	ordersUse := &stageUse{
		topology: pipeline.Topology{
			Stage: pipeline.Bind(oneInput{o}), Inputs: []string{schemas.TopicOrdersInbox}, Inbox: schemas.TopicOrdersInbox,
			Changelog: schemas.TopicOrdersChangelog, Group: "tillstream-orders",
		},
		fold: foldWith(oneInput{o}), outputs: []string{schemas.TopicTransitions, schemas.TopicOrdersInbox, schemas.TopicAutomationInbox},
	}
	if w.cfg.Kind == kindInputs {
		ordersUse.topology.Stage, ordersUse.fold = pipeline.Bind(o), foldWith(o)
		ordersUse.topology.Inputs = []string{schemas.TopicPayPalEvents, schemas.TopicOrdersInbox}
	}
	w.stages = append(w.stages, ordersUse, flows)
}

func (w *world) groups() (names []string) {
	if w.role != nil {
		return w.role.groups()
	}
	for _, u := range w.stages {
		names = append(names, u.topology.Group)
	}
	return names
}

func (w *world) storeIDs() (ids []store.ID) {
	for _, u := range w.stages {
		for n := range w.cfg.Partitions {
			ids = append(ids, store.ID{Stage: u.topology.Stage.Name(), Partition: int32(n)})
		}
	}
	return ids
}

func (w *world) stageOf(changelog string) *stageUse {
	for _, u := range w.stages {
		if u.topology.Changelog == changelog {
			return u
		}
	}
	return nil
}

func (w *world) slotOf(p *sched.Proc) *slot {
	for _, s := range w.slots {
		if s.proc == p {
			return s
		}
	}
	return nil
}

// partOfProcess is the column of the matrix that the processes of the world stand for.
func (w *world) partOfProcess() Part {
	if w.cfg.Kind == kindIngest {
		return PartIngest
	}
	return PartProcessor
}

// stopped reports whether the process was told to end.
func (s *slot) stopped() bool { return s.ctx.Err() != nil }

// start makes a process of the slot.
func (w *world) start(s *slot) {
	if s.proc != nil || w.over {
		return
	}
	s.life++
	s.skew = 0
	if w.cfg.Skew > 0 {
		s.skew = time.Duration(w.r.Int64N(int64(2*w.cfg.Skew))) - w.cfg.Skew
	}
	p := w.s.NewProc(s.name, s.skew)
	ctx, cancel := context.WithCancel(context.Background())
	s.proc, s.cancel, s.ended, s.recovering, s.engines = p, cancel, false, false, nil
	seed := [32]byte{byte(s.name[0]), byte(s.life)}
	for i := range 8 {
		seed[8+i] = byte(w.o.Seed >> (8 * i))
	}
	random := rand.NewChaCha8(seed)
	log := zerolog.New(&canary{w}).Level(zerolog.WarnLevel)
	if w.o.Trace != nil {
		log = zerolog.New(&canary{w}).Level(zerolog.InfoLevel)
	}
	w.trace("start %s, life %d, clock %v", s.name, s.life, s.skew)
	s.frozenAt, s.ready, s.serve, s.ctx = time.Time{}, nil, nil, ctx
	p.Go(func() { w.live(s, p, ctx, random, log) })
}

// live is the life of a process: its role, its stages, and the end of both.
func (w *world) live(s *slot, p *sched.Proc, ctx context.Context, random *rand.ChaCha8, log zerolog.Logger) {
	g := p.NewGroup()
	if w.role != nil {
		env := roleEnv{s: s, p: p, ctx: ctx, cluster: w.b.Client(p), clock: p, random: random, log: log}
		if err := w.role.run(env); err != nil {
			w.violate(16, "%s: %v", s.name, err)
		}
	}
	for _, u := range w.stages {
		time, cluster, topology := clock.Clock(p), kafka.Log(w.b.Client(p)), u.topology
		if m := w.mutant; m != nil {
			if m.clock != nil {
				time = m.clock(s, p)
			}
			if m.log != nil {
				cluster = m.log(s, cluster)
			}
			if m.stage != nil {
				topology.Stage = m.stage(topology.Stage)
			}
		}
		e, err := pipeline.NewEngine(pipeline.EngineOptions{
			Store: procStore{w.store, p, s}, Codec: &procCodec{w: w, p: p}, Topology: topology, Instance: s.name, Lanes: w.cfg.Lanes, RulesHash: "r1",
			CommitInterval: w.cfg.CommitInterval, BatchRecordsMax: w.cfg.BatchRecords, BatchTimersMax: w.cfg.BatchTimers, CacheImagesMax: w.cfg.CacheImages,
			Clock: time, Cluster: cluster, Random: random, Log: log, Watermark: w.receivers.watermark,
			ConfigVersion: versionFirst, Config: w.others.follow,
		})
		if err != nil {
			w.violate(16, "engine: %v", err)
			return
		}
		s.engines = append(s.engines, e)
		g.Go(func() {
			if err := e.Run(ctx); err != nil {
				w.violate(16, "engine of %s: %v", s.name, err)
			}
		})
	}
	g.Wait()
	w.trace("%s ended", s.name)
	s.ended = true
	if w.over || w.stopping {
		return
	}
	p.Kill()
	s.proc = nil
	w.startLater(s)
}

// kill ends a process without a farewell, and plans its next life.
func (w *world) kill(s *slot, where string) {
	if s.proc == nil {
		return
	}
	w.trace("kill %s %s", s.name, where)
	s.proc.Kill()
	s.proc = nil
	w.startLater(s)
}

func (w *world) startLater(s *slot) {
	d := time.Duration(w.r.IntN(3000)) * time.Millisecond
	if w.r.IntN(4) == 0 {
		d = time.Duration(w.r.IntN(25_000)) * time.Millisecond
	}
	w.s.After(d, func() { w.start(s) })
}

func (w *world) compact() {
	for _, u := range w.stages {
		for _, p := range w.b.Topic(u.topology.Changelog).Parts {
			if n := p.Compact(); n > 0 {
				w.trace("compaction of %s/%d removed %d tombstones", p.Topic.Name, p.N, n)
			}
		}
	}
}

// tombstones reports whether a changelog holds one.
func (w *world) tombstones() bool {
	for _, u := range w.stages {
		for _, p := range w.b.Topic(u.topology.Changelog).Parts {
			for _, r := range p.Log() {
				if r.Value == nil {
					return true
				}
			}
		}
	}
	return false
}

// rewind moves a group's offsets back or lets them expire, which the state must survive.
func (w *world) rewind(r *rand.Rand) {
	u := w.stages[r.IntN(len(w.stages))]
	if w.b.Undecided(u.topology.Group) {
		return
	}
	w.hit(Rollback, PartGroup)
	if r.IntN(2) == 0 {
		w.trace("the offsets of %s expire", u.topology.Group)
		w.hit(Wipe, PartGroup)
		w.b.Forget(u.topology.Group)
		return
	}
	for n := range int32(w.cfg.Partitions) {
		for _, topic := range u.topology.Inputs {
			if at := w.b.Offset(u.topology.Group, topic, n).At; at > 0 {
				w.b.Rewind(u.topology.Group, topic, n, r.Int64N(at+1))
			}
		}
	}
	w.trace("the offsets of %s go back", u.topology.Group)
}

// behind tells what is left to do; empty: nothing.
func (w *world) behind() string {
	for _, s := range w.slots {
		if s.proc == nil {
			return s.name + " is down"
		}
		for _, e := range s.engines {
			if err := e.Ready(); err != nil {
				return fmt.Sprintf("%s: %v", s.name, err)
			}
		}
		if s.ready != nil {
			if err := s.ready(); err != nil {
				return fmt.Sprintf("%s: %v", s.name, err)
			}
		}
	}
	if w.role != nil {
		return w.role.behind()
	}
	for i, u := range w.stages {
		for n := range int32(w.cfg.Partitions) {
			if !w.runs(i, n) {
				return fmt.Sprintf("partition %d of %s runs nowhere", n, u.topology.Stage.Name())
			}
			m := w.meta(u, n)
			for _, topic := range u.topology.Inputs {
				if last := w.lastRecord(topic, n); last >= 0 && m.Inputs[topic].Next <= last {
					return fmt.Sprintf("%s/%d is read to %d of %d", topic, n, m.Inputs[topic].Next, last)
				}
			}
		}
		if w.b.Undecided(u.topology.Group) {
			return "a transaction of " + u.topology.Group + " is undecided"
		}
	}
	return ""
}

// runs reports whether a process runs a partition of the stage of that number.
func (w *world) runs(stage int, n int32) bool {
	for _, s := range w.slots {
		if stage < len(s.engines) && slices.ContainsFunc(s.engines[stage].Status(), func(p pipeline.PartitionStatus) bool {
			return p.Partition == n && p.State == "running"
		}) {
			return true
		}
	}
	return false
}

// lastRecord is the offset of the last committed record of an input; -1: none.
func (w *world) lastRecord(topic string, n int32) int64 {
	all := w.b.Topic(topic).Parts[n].All
	for i := len(all) - 1; i >= 0; i-- {
		if e := all[i]; !e.Marker && (e.Txn == nil || e.Txn.State == broker.Committed) {
			return e.Record.Offset
		}
	}
	return -1
}

// metaRecord is what the checks read of the meta record.
type metaRecord struct {
	Inputs map[string]struct {
		TopicID string `json:"topic_id"`
		Next    int64  `json:"next"`
	} `json:"inputs"`
	StreamTime int64  `json:"stream_time"`
	Watermark  int64  `json:"watermark"`
	Owner      string `json:"owner"`
	Counts     struct {
		Inputs, Skipped, Ticks, Activations, Timers int64
		DeadLetters                                 int64 `json:"dead_letters"`
		Outputs                                     map[string]int64
	} `json:"counts"`
}

func parseMeta(b []byte) (m metaRecord, err error) { return m, json.Unmarshal(b, &m) }

// meta is the newest committed meta record of a partition.
func (w *world) meta(u *stageUse, n int32) metaRecord {
	if h := w.history[historyKey(u.topology.Changelog, n)]; h != nil && len(h.metas) > 0 {
		return h.metas[len(h.metas)-1]
	}
	return metaRecord{}
}

// canary is where the processes' logs go. Nothing of what must not be told may come by.
type canary struct{ w *world }

// secret is never to be told in a log line.
func (w *world) secret(text string) {
	if !slices.ContainsFunc(w.canaries, func(c []byte) bool { return string(c) == text }) {
		w.canaries = append(w.canaries, []byte(text))
	}
}

func (c *canary) Write(b []byte) (int, error) {
	for _, secret := range c.w.canaries {
		if bytes.Contains(b, secret) {
			c.w.violate(17, "a log line tells %q: %s", secret, b)
		}
	}
	c.w.trace("log %s", strings.TrimSpace(string(b)))
	return len(b), nil
}
