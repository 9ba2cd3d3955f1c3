package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// result is what was found about one source on one broker.
type result struct {
	Source, Broker string
	Ours, Bare     program
	// Ratio of the best rounds, and of the medians; with rounds in turns both see the same machine. RatioCPU compares what
	// the machine does for one webhook in all its processes: it moves less where others use the machine, too.
	Ratio, RatioMedian, RatioCPU float64
	Flood                        *flood
}

type program struct {
	Rounds        []float64 // webhooks accepted a second
	Best, Median  float64
	CPU           time.Duration // of the program, for one webhook, over all rounds
	AllCPU        time.Duration // the same with broker, Redis and load generator
	HalfRate      float64
	P50, P99      time.Duration // at half of Tillstream's best rate
	FullP99       time.Duration // with every connection busy, in the last round
	RSSMB         float64
	acceptedTotal int64
}

// flood is what became of good requests beside bad ones.
type flood struct {
	Offered, Answered float64 // bad ones a second
	Status            map[int]int64
	Before, Beside    float64 // good ones a second, as many as the connections can
	P50, P99          time.Duration
	Slowdown          float64
	SameAddress       *flood // the bad ones come from the good ones' address
}

// rig is the programs of one source.
type rig struct {
	o          options
	b          *broker
	s          source
	given      setup
	ours, bare *process
	good, bad  []message
}

func measureSource(ctx context.Context, o options, b *broker, s source) (result, error) {
	given, end, err := s.prepare(o.dir)
	if err != nil {
		return result{}, err
	}
	defer end()
	r := &rig{o: o, b: b, s: s, given: given}
	defer r.end()
	if err := r.start(ctx); err != nil {
		return result{}, err
	}
	res := result{Source: s.name}
	if err := r.rounds(ctx, &res); err != nil {
		return res, err
	}
	if err := r.halfLoad(ctx, &res); err != nil {
		return res, err
	}
	if o.flood {
		if err := r.floods(ctx, &res); err != nil {
			return res, err
		}
	}
	res.Ours.RSSMB, res.Bare.RSSMB = r.ours.rssMB(), r.bare.rssMB()
	return res, r.nothingLostNothingForged(ctx, &res)
}

func (r *rig) topic(role string) string { return "bench." + r.s.connector + "." + role }

func (r *rig) start(ctx context.Context) (err error) {
	given, err := json.Marshal(r.given)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	start := func(role string) (*process, error) {
		if err := r.b.topic(ctx, r.topic(role)); err != nil {
			return nil, err
		}
		args := []string{"-role", role, "-source", r.s.connector, "-setup", string(given), "-broker", r.b.Kafka, "-topic", r.topic(role), "-gogc", strconv.Itoa(r.o.gcPercent)}
		if role == roleOurs {
			args = append(args, "-linger", r.o.linger.String())
		}
		if r.o.redis {
			args = append(args, "-redis-address", r.b.Redis)
		}
		if r.o.profile != "" {
			file, err := filepath.Abs(r.o.profile)
			if err != nil {
				return nil, err
			}
			args = append(args, "-cpuprofile", file)
		}
		return launch(r.o.dir, role+"-"+r.s.connector, self, true, args...)
	}
	if r.ours, err = start(roleOurs); err != nil {
		return err
	}
	r.bare, err = start(roleBare)
	return err
}

func (r *rig) end() {
	for _, p := range []*process{r.ours, r.bare} {
		if p != nil {
			p.end()
		}
	}
}

// sign makes the requests anew: signatures age.
func (r *rig) sign() (err error) {
	if r.good, err = messages(r.s, r.given, r.o.messages, time.Now(), false); err != nil {
		return err
	}
	r.bad, err = messages(r.s, r.given, r.o.messages/10+1, time.Now(), true)
	return err
}

// send runs a load of good requests on one program.
func (r *rig) send(ctx context.Context, p *process, into *program, rate float64) (counted, error) {
	c, err := load{
		address: p.first, messages: r.good, clients: r.o.connections, rate: rate, warm: r.o.warm, length: r.o.seconds, want: 200,
	}.run(ctx)
	into.acceptedTotal += c.all
	if err != nil {
		return c, fmt.Errorf("%w; it says: %s", err, p.tail())
	}
	return c, nil
}

func (r *rig) rounds(ctx context.Context, res *result) error {
	for round := range r.o.rounds {
		if err := r.sign(); err != nil {
			return err
		}
		turns := []struct {
			p    *process
			into *program
		}{{r.ours, &res.Ours}, {r.bare, &res.Bare}}
		if round%2 == 1 {
			slices.Reverse(turns)
		}
		for _, t := range turns {
			program, all := t.p.cpu(), r.allCPU(t.p)
			c, err := r.send(ctx, t.p, t.into, 0)
			if err != nil {
				return err
			}
			t.into.Rounds = append(t.into.Rounds, c.perSec)
			t.into.CPU += t.p.cpu() - program
			t.into.AllCPU += r.allCPU(t.p) - all
			t.into.FullP99 = c.percentile(.99)
		}
		say("  round %d: ours %.0f/s, bare %.0f/s", round+1, res.Ours.Rounds[round], res.Bare.Rounds[round])
	}
	for _, p := range []*program{&res.Ours, &res.Bare} {
		sorted := slices.Sorted(slices.Values(p.Rounds))
		p.Best, p.Median = sorted[len(sorted)-1], (sorted[(len(sorted)-1)/2]+sorted[len(sorted)/2])/2
		p.CPU /= time.Duration(p.acceptedTotal)
		p.AllCPU /= time.Duration(p.acceptedTotal)
	}
	res.RatioCPU = float64(res.Bare.AllCPU) / float64(res.Ours.AllCPU)
	res.Ratio, res.RatioMedian = res.Ours.Best/res.Bare.Best, res.Ours.Median/res.Bare.Median
	return nil
}

// allCPU is the processor time of everything that works for p.
func (r *rig) allCPU(p *process) time.Duration {
	sum := p.cpu() + ownCPU()
	for _, b := range r.b.processes {
		sum += b.cpu()
	}
	return sum
}

func (r *rig) halfLoad(ctx context.Context, res *result) error {
	if err := r.sign(); err != nil {
		return err
	}
	for _, t := range []struct {
		p    *process
		into *program
	}{{r.ours, &res.Ours}, {r.bare, &res.Bare}} {
		t.into.HalfRate = res.Ours.Median / 2
		c, err := r.send(ctx, t.p, t.into, t.into.HalfRate)
		if err != nil {
			return err
		}
		t.into.P50, t.into.P99 = c.percentile(.5), c.percentile(.99)
	}
	say("  at %.0f/s: ours p50 %v p99 %v, bare p50 %v p99 %v", res.Ours.HalfRate, res.Ours.P50, res.Ours.P99, res.Bare.P50, res.Bare.P99)
	return nil
}

// Addresses of the flood, on the loopback network: another sender, and the same as the good ones.
const (
	strangerAddress = "127.0.0.2"
	goodAddress     = "127.0.0.1"
)

func (r *rig) floods(ctx context.Context, res *result) error {
	f, err := r.flood(ctx, res, strangerAddress)
	if err != nil {
		return err
	}
	if f.SameAddress, err = r.flood(ctx, res, goodAddress); err != nil {
		return err
	}
	res.Flood = f
	return nil
}

// flood measures good requests without and beside bad ones, in turns.
func (r *rig) flood(ctx context.Context, res *result, from string) (*flood, error) {
	if err := r.sign(); err != nil {
		return nil, err
	}
	before, err := r.send(ctx, r.ours, &res.Ours, 0)
	if err != nil {
		return nil, err
	}
	type answer struct {
		c   counted
		err error
	}
	bad := make(chan answer, 1)
	go func() {
		c, err := load{
			address: r.ours.first, from: from, messages: r.bad, clients: r.o.floodConns, rate: float64(r.o.floodRate), warm: r.o.warm, length: r.o.seconds,
		}.run(ctx)
		bad <- answer{c, err}
	}()
	beside, err := r.send(ctx, r.ours, &res.Ours, 0)
	b := <-bad
	if err != nil || b.err != nil {
		return nil, fmt.Errorf("good: %v, bad: %v", err, b.err)
	}
	f := &flood{
		Offered: float64(r.o.floodRate), Answered: b.c.perSec, Status: b.c.status, Before: before.perSec, Beside: beside.perSec,
		P50: beside.percentile(.5), P99: beside.percentile(.99), Slowdown: before.perSec / beside.perSec,
	}
	say("  flood from %s: %.0f/s answered %v, good ones %.0f/s before, %.0f/s beside", from, f.Answered, f.Status, f.Before, f.Beside)
	if f.Status[200] > 0 {
		return nil, fmt.Errorf("%d forged requests were accepted", f.Status[200])
	}
	return f, nil
}

// nothingLostNothingForged: Kafka holds what was accepted, neither more nor less.
func (r *rig) nothingLostNothingForged(ctx context.Context, res *result) error {
	for role, p := range map[string]*program{roleOurs: &res.Ours, roleBare: &res.Bare} {
		n, err := r.b.records(ctx, r.topic(role))
		if err != nil {
			return err
		}
		if n != p.acceptedTotal {
			return fmt.Errorf("%s: %d records are on the topic, and %d webhooks were accepted", role, n, p.acceptedTotal)
		}
	}
	return nil
}

// figure is one line of the output.
type figure struct {
	Bench  string  `json:"bench"`
	Source string  `json:"source"`
	Broker string  `json:"broker"`
	Figure string  `json:"figure"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
}

func (r result) figures() []figure {
	var out []figure
	add := func(name string, value float64, unit string) {
		out = append(out, figure{"ingest", r.Source, r.Broker, name, value, unit})
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	for name, p := range map[string]program{"": r.Ours, "bare_": r.Bare} {
		add(name+"accepted_best", p.Best, "webhooks/s")
		add(name+"accepted_median", p.Median, "webhooks/s")
		add(name+"cpu", float64(p.CPU.Microseconds()), "us/webhook")
		add(name+"half_load_p50", ms(p.P50), "ms")
		add(name+"half_load_p99", ms(p.P99), "ms")
		add(name+"cpu_all_processes", float64(p.AllCPU.Microseconds()), "us/webhook")
		add(name+"full_load_p99", ms(p.FullP99), "ms")
		add(name+"peak_rss", p.RSSMB, "MB")
	}
	add("ratio_best", r.Ratio, "of bare")
	add("ratio_median", r.RatioMedian, "of bare")
	add("ratio_cpu", r.RatioCPU, "of bare")
	if f := r.Flood; f != nil {
		for name, f := range map[string]*flood{"flood_": f, "flood_same_address_": f.SameAddress} {
			add(name+"answered", f.Answered, "requests/s")
			add(name+"good", f.Beside, "webhooks/s")
			add(name+"slowdown", f.Slowdown, "times")
			add(name+"good_p99", ms(f.P99), "ms")
		}
	}
	slices.SortFunc(out, func(a, b figure) int {
		if a.Figure < b.Figure {
			return -1
		}
		return 1
	})
	return out
}

// table is the summary for people, in the form of docs/performance.md.
func table(to io.Writer, all []result) {
	w := tabwriter.NewWriter(to, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| source\t| broker\t| ours/s, best / median\t| bare/s, best / median\t| ratio, best / median / CPU of all\t| CPU us, ours / bare\t| half load p50 / p99 ms\t| RSS MB, ours / bare\t| beside a flood\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, r := range all {
		beside := "-"
		if f := r.Flood; f != nil {
			beside = fmt.Sprintf("%.2f times slower (same address: %.2f)", f.Slowdown, f.SameAddress.Slowdown)
		}
		fmt.Fprintf(w, "| %s\t| %s\t| %.0f / %.0f\t| %.0f / %.0f\t| %.2f / %.2f / %.2f\t| %d / %d\t| %.1f / %.1f\t| %.0f / %.0f\t| %s\t|\n",
			r.Source, r.Broker, r.Ours.Best, r.Ours.Median, r.Bare.Best, r.Bare.Median, r.Ratio, r.RatioMedian, r.RatioCPU,
			r.Ours.CPU.Microseconds(), r.Bare.CPU.Microseconds(),
			float64(r.Ours.P50.Microseconds())/1000, float64(r.Ours.P99.Microseconds())/1000, r.Ours.RSSMB, r.Bare.RSSMB, beside)
	}
	_ = w.Flush()
}
