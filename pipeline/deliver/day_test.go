//go:build synctests

package deliver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/embedded/linger"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

var daySeeds = flag.Uint64("days", 1, "how many days to run, each with its seed")

// A day of virtual time, at an account that is slow, refuses, times out and pauses, with deliverers that come, go and
// die. In the end every command has ended once, no contact's state went back, and no effect happened twice.
func TestDay(t *testing.T) {
	for seed := uint64(1); seed <= *daySeeds; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newDay(t, seed).run() })
		})
	}
}

const (
	dayLength   = 24 * time.Hour
	dayRetryFor = 5 * time.Hour
	dayContacts = 24
	daySession  = time.Minute
)

type day struct {
	t       *testing.T
	r       *rig
	dice    *rand.Rand
	account *account
	procs   [2]*running
	version int64
	all     []schemas.Command
	garbage int
}

// virtualRig is a rig within a bubble.
func virtualRig(t *testing.T) *rig {
	network := new(kfake.VirtualNetwork)
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(linger.Listen(network.Listen)),
		kfake.SeedTopics(2, schemas.TopicCommands, schemas.TopicDeliveries, schemas.TopicAutomationInbox, schemas.TopicProgress), kfake.SeedTopics(1, schemas.TopicDeadLetters))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return rigOn(t, c, network.DialContext)
}

func newDay(t *testing.T, seed uint64) *day {
	return &day{
		t: t, r: virtualRig(t), dice: rand.New(rand.NewPCG(seed, 1)),
		account: &account{t: t, dice: rand.New(rand.NewPCG(seed, 2)), began: time.Now(), applied: map[string]int64{}, happened: map[string]int{}},
	}
}

func (d *day) start(i int) {
	o := d.r.options(fmt.Sprintf("%c", 'a'+i), d.account)
	o.Settle, o.RetryBase, o.RetryMax, o.RetryFor = DefaultSettle, time.Second, 10*time.Minute, dayRetryFor
	o.session, o.inspect = daySession, time.Minute
	o.Kafka.Extra = append(o.Kafka.Extra, kgo.FetchMaxWait(30*time.Second), kgo.DisableClientMetrics()) // a day of polls is long
	d.procs[i] = d.r.start(o)
}

// die takes a process away without a farewell: what it had at its destination goes on or not.
func (d *day) die(i int) {
	d.procs[i].kill()
	cancel := d.procs[i].cancel
	d.procs[i].cancel = nil
	cancel()
	<-d.procs[i].done
	d.procs[i] = nil
}

func (d *day) run() {
	d.start(0)
	for began := time.Now(); time.Since(began) < dayLength; {
		d.load()
		i := d.dice.IntN(2)
		switch x := d.dice.IntN(40); {
		case x == 0 && d.procs[i] != nil:
			d.die(i)
		case x < 4 && d.procs[i] != nil:
			d.procs[i].stop()
			d.procs[i] = nil
		case x < 12 && d.procs[i] == nil:
			d.start(i)
		}
		time.Sleep(time.Duration(d.dice.IntN(300)) * time.Second)
	}
	d.account.calm()
	if d.procs[0] == nil {
		d.start(0)
	}
	time.Sleep(dayRetryFor + time.Hour)
	d.check()
	for _, p := range d.procs {
		if p != nil {
			p.stop()
		}
	}
}

// load appends some commands of some contacts, each contact in its partition.
func (d *day) load() {
	for range 1 + d.dice.IntN(4) {
		n := d.dice.IntN(dayContacts)
		who, p := fmt.Sprintf("c%d@x.example", n), int32(n%2)
		d.version++
		cmds := []schemas.Command{d.r.contact(who, d.version)}
		if d.dice.IntN(2) == 0 {
			cmds = append(cmds, d.r.effect(who))
		}
		d.r.produceTo(p, cmds...)
		d.all = append(d.all, cmds...)
	}
	if d.dice.IntN(50) == 0 {
		d.garbage++
		rec := &kgo.Record{Topic: schemas.TopicCommands, Partition: int32(d.dice.IntN(2)), Value: []byte("garbage")}
		if err := d.r.client.ProduceSync(context.Background(), rec).FirstErr(); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *day) check() {
	got := d.r.ended(d.all...)
	count := map[schemas.OutcomeWord]int{}
	newest := map[string]int64{}
	a := d.account
	a.mu.Lock()
	defer a.mu.Unlock()
	refused := 0
	for _, c := range d.all {
		word := got[c.CommandID]
		count[word]++
		if word == schemas.OutcomeRejected {
			refused++
		}
		switch {
		case c.Kind == schemas.CommandContact:
			if word == schemas.OutcomeDelivered {
				newest[c.ContactKey] = max(newest[c.ContactKey], c.Version)
			}
		case a.happened[c.CommandID] > 1:
			d.t.Errorf("effect %s happened %d times", c.CommandID, a.happened[c.CommandID])
		case word == schemas.OutcomeDelivered && a.happened[c.CommandID] != 1:
			d.t.Errorf("effect %s is DELIVERED and happened %d times", c.CommandID, a.happened[c.CommandID])
		case word == schemas.OutcomeRejected && a.happened[c.CommandID] != 0:
			d.t.Errorf("effect %s is REJECTED and happened", c.CommandID)
		}
	}
	for key, v := range newest {
		if a.applied[key] < v {
			d.t.Errorf("%s: version %d is DELIVERED, and the account has %d", key, v, a.applied[key])
		}
	}
	letters := map[string]int{}
	causes := map[string]int{}
	for _, l := range d.r.deadLetters(refused + d.garbage) {
		letters[l.ID]++
		causes[l.Cause]++
	}
	for id, n := range letters {
		if n != 1 {
			d.t.Errorf("dead letter %s was written %d times", id, n)
		}
	}
	if diff := cmp.Diff(len(letters), refused+d.garbage); diff != "" {
		d.t.Errorf("dead letters for refused commands and garbage, got - want:\n%s", diff)
	}
	for _, word := range []schemas.OutcomeWord{schemas.OutcomeDelivered, schemas.OutcomeSuperseded, schemas.OutcomeRejected, schemas.OutcomeUncertain} {
		if count[word] == 0 {
			d.t.Errorf("the day saw no command end as %s: %v", word, count)
		}
	}
	d.t.Logf("%d commands: %v; dead letters: %v; requests: %d, asked: %d", len(d.all), count, causes, a.requests, a.asked)
}

// account is the destination of a day. It has hours in which it refuses the key, or asks for a pause, or is down.
type account struct {
	t     *testing.T
	began time.Time

	mu       sync.Mutex
	dice     *rand.Rand
	quiet    bool
	applied  map[string]int64
	happened map[string]int
	requests int
	asked    int
}

func (a *account) calm() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.quiet = true
}

func (a *account) roll(n int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dice.IntN(n)
}

// apply does what the command says.
func (a *account) apply(c schemas.Command) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.Kind == schemas.CommandEffect {
		a.happened[c.CommandID]++
		return
	}
	if c.Version < a.applied[c.ContactKey] {
		a.t.Errorf("%s went back from version %d to %d", c.ContactKey, a.applied[c.ContactKey], c.Version)
	}
	a.applied[c.ContactKey] = c.Version
}

func (a *account) Write(ctx context.Context, batch []schemas.Command) (out []sinks.Outcome) {
	for _, c := range batch {
		out = append(out, a.one(ctx, c))
	}
	return out
}

func (a *account) one(ctx context.Context, c schemas.Command) sinks.Outcome {
	a.mu.Lock()
	a.requests++
	quiet := a.quiet
	a.mu.Unlock()
	cut := sinks.Outcome{Kind: sinks.Unknown, Err: errors.New("cut")}
	if !sleep(ctx, time.Duration(a.roll(4000))*time.Millisecond) {
		if a.roll(2) == 0 {
			a.apply(c)
		}
		return cut
	}
	// One contact in eight meets nothing but trouble, until its commands are given up.
	if n := 0; c.Kind == schemas.CommandContact {
		if _, err := fmt.Sscanf(c.ContactKey, "live/c%d@", &n); err == nil && n%8 == 7 {
			return sinks.Outcome{Kind: sinks.Retryable, Err: errors.New("500"), Remedy: "wait"}
		}
	}
	if quiet {
		a.apply(c)
		return sinks.Outcome{Kind: sinks.Delivered}
	}
	switch hour := int(time.Since(a.began)/time.Hour) % 12; {
	case hour == 3:
		return sinks.Outcome{Kind: sinks.Retryable, Account: true, Err: errors.New("401"), Remedy: "correct the key"}
	case hour == 6:
		return sinks.Outcome{Kind: sinks.Retryable, Err: errors.New("503"), Remedy: "wait"}
	}
	switch a.roll(24) {
	case 0, 1:
		return sinks.Outcome{Kind: sinks.Retryable, Err: errors.New("502"), Remedy: "wait"}
	case 2:
		a.apply(c)
		return cut
	case 3:
		return cut
	case 4:
		return sinks.Outcome{Kind: sinks.Retryable, Account: true, RetryAfter: time.Duration(1+a.roll(600)) * time.Second, Err: errors.New("429")}
	case 5:
		return sinks.Outcome{Kind: sinks.Rejected, Err: errors.New("422"), Remedy: "correct it"}
	}
	a.apply(c)
	return sinks.Outcome{Kind: sinks.Delivered}
}

func (a *account) Reconcile(ctx context.Context, c schemas.Command) sinks.Outcome {
	if !sleep(ctx, time.Second) {
		return sinks.Outcome{Kind: sinks.Retryable, Err: ctx.Err()}
	}
	dull := a.roll(4) == 0
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	switch {
	case dull && !a.quiet:
		return sinks.Outcome{Kind: sinks.Unknown}
	case a.happened[c.CommandID] > 0:
		return sinks.Outcome{Kind: sinks.Delivered}
	}
	return sinks.Outcome{Kind: sinks.NotHappened}
}

func (a *account) Check(context.Context) []sinks.Finding { return nil }
func (a *account) Close() error                          { return nil }

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
