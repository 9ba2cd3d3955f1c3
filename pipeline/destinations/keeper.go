package destinations

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/sinks"
)

// How often a destination is looked after, as connections are.
const (
	checkEvery   = time.Hour
	checkAgain   = 5 * time.Minute // after a check that found something bad
	lookEvery    = time.Minute     // at what another process may have read, and at what is named now
	checkTimeout = 2 * time.Minute
	jitterShare  = 0.1
	alarmTextMax = 10 // mentions that an alarm tells one by one
)

// The kinds of alarms of a destination. Credentials is that of connections.
const (
	AlarmCredentials = connections.AlarmCredentials
	AlarmCatalogue   = "catalogue" // something that the configuration names is gone from the account
)

var alarmKinds = []string{AlarmCatalogue, AlarmCredentials}

// PartName is the part of the board that tells of all destinations together; its status is a Standing.
const PartName = "destinations"

// Standing is how the destinations of a process stand.
type Standing struct {
	Alarms []NamedAlarm `json:"alarms"`
}

// NamedAlarm is an alarm with the destination that it is about.
type NamedAlarm struct {
	Destination string `json:"destination"`
	connections.Alarm
}

// Served is a destination and the writer that delivers to it.
type Served struct {
	config.Destination
	Writer sinks.Writer
}

// KeeperOptions of a Keeper.
type KeeperOptions struct {
	Served     []Served
	Catalogues *Catalogues
	// Mentions are what the configuration in force names at destinations; nil: nothing.
	Mentions func() []Mention
	Clock    clock.Clock // default clock.System
	Log      zerolog.Logger
	// Jitter is a number from 0 to 1, so that many processes do not ask at the same moment; nil: none.
	Jitter func() float64
}

// Keeper looks after the destinations of a process that delivers: their keys are tried each hour, and their catalogues
// read. It is safe for concurrent use.
type Keeper struct {
	o KeeperOptions

	mu    sync.Mutex
	known map[string]*knowledge
}

// knowledge is what is known of one destination.
type knowledge struct {
	account   *AccountView
	findings  []connections.FindingView
	checkedAt time.Time
	gone      []string
	since     map[string]time.Time // of the alarms that are on
}

// Status is how one destination stands.
type Status struct {
	Destination config.Destination
	Account     *AccountView
	Findings    []connections.FindingView
	CheckedAt   time.Time // zero: not yet
	Alarms      []connections.Alarm
}

// NewKeeper has looked at nothing yet.
func NewKeeper(o KeeperOptions) *Keeper {
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Jitter == nil {
		o.Jitter = func() float64 { return 0 }
	}
	if o.Mentions == nil {
		o.Mentions = func() []Mention { return nil }
	}
	k := &Keeper{o: o, known: map[string]*knowledge{}}
	for _, d := range o.Served {
		k.known[d.Name] = &knowledge{since: map[string]time.Time{}}
	}
	return k
}

// Run looks after all destinations until ctx ends. One that hangs keeps no other waiting.
func (k *Keeper) Run(ctx context.Context) {
	var work sync.WaitGroup
	for _, d := range k.o.Served {
		work.Go(func() { k.keepChecked(ctx, d) })
		if _, ok := d.Writer.(sinks.Cataloguer); ok && k.o.Catalogues != nil {
			work.Go(func() { k.keepRead(ctx, d) })
		}
	}
	work.Wait()
}

// pause waits for about d; false: ctx ended.
func (k *Keeper) pause(ctx context.Context, d time.Duration) bool {
	return k.o.Clock.Sleep(ctx, d+time.Duration(jitterShare*k.o.Jitter()*float64(d))) == nil
}

func (k *Keeper) keepChecked(ctx context.Context, d Served) {
	for {
		asked, cancel := k.o.Clock.WithTimeout(ctx, checkTimeout)
		t := try(asked, d.Writer, 0)
		cancel()
		if ctx.Err() != nil {
			return
		}
		k.mu.Lock()
		n := k.known[d.Name]
		n.findings, n.checkedAt = t.Findings, k.o.Clock.Now()
		if t.Account != nil {
			n.account = t.Account
		}
		k.mu.Unlock()
		k.tell(d)
		wait := checkEvery
		if t.bad() {
			wait = checkAgain
		}
		if !k.pause(ctx, wait) {
			return
		}
	}
}

// keepRead reads the catalogue where it is old and no other process does, and sees what vanished.
func (k *Keeper) keepRead(ctx context.Context, d Served) {
	said := ""
	for {
		if err := k.read(ctx, d); ctx.Err() != nil {
			return
		} else if err != nil && err.Error() != said {
			said = err.Error()
			k.o.Log.Warn().Err(err).Str("destination", d.Name).Msg("the catalogue is not as new as it should be")
		} else if err == nil {
			said = ""
		}
		k.tell(d)
		if !k.pause(ctx, lookEvery) {
			return
		}
	}
}

func (k *Keeper) read(ctx context.Context, d Served) error {
	c, now := k.o.Catalogues, k.o.Clock.Now()
	asked, cancel := k.o.Clock.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	var old []sinks.EntryKind
	var list []Snapshot
	for _, kind := range Kinds {
		s, ok, err := c.Get(asked, d.Destination, kind)
		switch {
		case err != nil:
			return err
		case ok:
			list = append(list, s)
		}
		if !ok || now.Sub(s.At) >= RefreshEvery {
			old = append(old, kind)
		}
	}
	// A kind that the destination has not is never kept: it must not make the others be read each minute.
	due := len(list) == 0 || slices.ContainsFunc(list, func(s Snapshot) bool { return now.Sub(s.At) >= RefreshEvery })
	var err error
	if due && c.claim(asked, d.Name) {
		var fresh []Snapshot
		fresh, err = c.Refresh(asked, d.Destination, d.Writer, old)
		for _, s := range fresh {
			list = slices.DeleteFunc(list, func(x Snapshot) bool { return x.Kind == s.Kind })
			list = append(list, s)
		}
		if err == nil {
			c.release(asked, d.Name)
		} // else the claim keeps all from asking a destination that is down each minute
	}
	mentions := k.o.Mentions()
	var gone []string
	for _, s := range list {
		gone = append(gone, vanished(s, mentions)...)
	}
	slices.Sort(gone)
	k.mu.Lock()
	k.known[d.Name].gone = gone
	k.mu.Unlock()
	return err
}

// alarms says what is wrong. k.mu is held.
func (n *knowledge) alarms(name string) (out []connections.Alarm) {
	if len(n.gone) > 0 {
		text := strings.Join(n.gone[:min(len(n.gone), alarmTextMax)], "; ")
		if more := len(n.gone) - alarmTextMax; more > 0 {
			text += fmt.Sprintf("; and %d more", more)
		}
		out = append(out, connections.Alarm{
			Kind: AlarmCatalogue, What: text,
			Remedy: "make it again in the CRM, or correct what names it: tillstream check says where; commands that need it are refused meanwhile",
		})
	}
	for _, f := range n.findings {
		if f.Level == connectors.Bad {
			remedy := f.Hint
			if remedy == "" {
				remedy = "run tillstream destinations check " + name
			}
			out = append(out, connections.Alarm{Kind: AlarmCredentials, What: f.Message, Remedy: remedy})
			break // one alarm a kind: the first is the cause
		}
	}
	for i := range out {
		out[i].Since = n.since[out[i].Kind]
	}
	return out
}

// tell logs each alarm when it begins and when it ends.
func (k *Keeper) tell(d Served) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n, on := k.known[d.Name], map[string]time.Time{}
	for _, a := range n.alarms(d.Name) {
		at, was := n.since[a.Kind]
		if !was {
			at = k.o.Clock.Now()
			k.o.Log.Warn().Str("destination", d.Name).Str("alarm", a.Kind).Str("remedy", a.Remedy).Msg(a.What)
		}
		on[a.Kind] = at
	}
	for _, kind := range slices.Sorted(maps.Keys(n.since)) {
		if _, still := on[kind]; !still {
			k.o.Log.Info().Str("destination", d.Name).Str("alarm", kind).Msg("the alarm is over")
		}
	}
	n.since = on
}

// Status tells of every destination, in the order of the configuration.
func (k *Keeper) Status() []Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]Status, len(k.o.Served))
	for i, d := range k.o.Served {
		n := k.known[d.Name]
		out[i] = Status{d.Destination, n.account, n.findings, n.checkedAt, n.alarms(d.Name)}
	}
	return out
}

// Standing is what the board shows.
func (k *Keeper) Standing() Standing {
	s := Standing{Alarms: []NamedAlarm{}}
	for _, d := range k.Status() {
		for _, a := range d.Alarms {
			s.Alarms = append(s.Alarms, NamedAlarm{d.Destination.Name, a})
		}
	}
	return s
}

var alarmDesc = prometheus.NewDesc("tillstream_destination_alarm", "1 while something is wrong with a destination, else 0; /api/v1/destinations says what, since when and what to do.", []string{"destination", "alarm"}, nil)

// Describe implements prometheus.Collector.
func (k *Keeper) Describe(ch chan<- *prometheus.Desc) { ch <- alarmDesc }

// Collect implements prometheus.Collector.
func (k *Keeper) Collect(ch chan<- prometheus.Metric) {
	for _, s := range k.Status() {
		for _, kind := range alarmKinds {
			value := 0.0
			if slices.ContainsFunc(s.Alarms, func(a connections.Alarm) bool { return a.Kind == kind }) {
				value = 1
			}
			ch <- prometheus.MustNewConstMetric(alarmDesc, prometheus.GaugeValue, value, s.Destination.Name, kind)
		}
	}
}
