package backtest

import (
	"cmp"
	"crypto/sha256"
	"slices"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/tillstream/tillstream/schemas"
)

// collector gathers the effects of one run within the span.
type collector struct {
	since, until int64
	effects      map[digest]effect
	times        map[digest]int // how often the same effect came, to tell its repetitions apart
	contacts     map[contactAt]*contact
	workflows    map[string]*RunCounts
	commands     int
}

type digest [16]byte

// effect is one thing done outside.
type effect struct {
	group       groupKey
	value       digest
	root, email string
	event       string
	at          int64
}

// groupKey is what findings are summed up by.
type groupKey struct{ rule, what, destination string }

type contactAt struct{ destination, key string }

// contact is the newest desired state, and whether it was sent within the span.
type contact struct {
	state schemas.Contact
	root  string
	event string
	at    int64
	sent  bool
}

func newCollector(o Options) *collector {
	return &collector{
		since: o.Since.UnixMilli(), until: o.Until.UnixMilli(), effects: map[digest]effect{}, times: map[digest]int{},
		contacts: map[contactAt]*contact{}, workflows: map[string]*RunCounts{},
	}
}

func digestOf(parts ...string) (d digest) {
	var b []byte
	for _, p := range parts {
		b = strconv.AppendInt(b, int64(len(p)), 10)
		b = append(append(b, ':'), p...)
	}
	sum := sha256.Sum256(b)
	copy(d[:], sum[:])
	return d
}

// command takes in one command that was written at.
func (c *collector) command(at int64, r *schemas.Command) {
	if at >= c.until {
		return
	}
	if r.Kind == schemas.CommandContact {
		key := contactAt{r.Destination, r.ContactKey}
		k := c.contacts[key]
		if k == nil {
			k = &contact{}
			c.contacts[contactAt{strings.Clone(r.Destination), strings.Clone(r.ContactKey)}] = k
		}
		k.state = r.Contact
		if at >= c.since {
			k.sent, k.at, k.root, k.event = true, at, strings.Clone(r.RootKey), strings.Clone(r.EventID)
			c.commands++
		}
		return
	}
	if at < c.since || r.Effect == nil {
		return
	}
	c.commands++
	rule := r.Rule
	if rule == "" {
		if mapping, _, ok := strings.Cut(r.Trigger, "/"); ok {
			rule = "mappings/" + mapping
		}
	}
	rule, _, _ = strings.Cut(rule, "#")
	base := digestOf(r.Destination, r.ContactKey, r.RootKey, r.EventID, r.Effect.Type, r.Effect.Name, rule)
	n := c.times[base]
	c.times[base]++
	key := digestOf(string(base[:]), strconv.Itoa(n))
	c.effects[key] = effect{
		group: groupKey{strings.Clone(rule), strings.Clone(r.Effect.Type + " " + r.Effect.Name), strings.Clone(r.Destination)}, value: valueOf(r.Effect),
		root: strings.Clone(r.RootKey), email: strings.Clone(r.ContactKey), event: strings.Clone(r.EventID), at: at,
	}
}

// valueOf is what an effect says, without the command's id at the begin of its data.
func valueOf(e *schemas.Effect) digest {
	data := e.Data
	if strings.HasPrefix(data, "id=") {
		_, data, _ = strings.Cut(data, " ")
	}
	parts := []string{data}
	names := make([]string, 0, len(e.Arguments))
	for n := range e.Arguments {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		parts = append(parts, n, e.Arguments[n])
	}
	return digestOf(parts...)
}

// RunCounts are what became of the runs of one workflow.
type RunCounts struct {
	Started    int `json:"started"`
	NotStarted int `json:"not_started"`
	Met        int `json:"met"`
	NotMet     int `json:"not_met"`
	Corrected  int `json:"corrected"`
	Held       int `json:"held"`
	Failed     int `json:"failed"`
	Ended      int `json:"ended"`
}

func (c *collector) step(at int64, s *schemas.RunStep) {
	if at < c.since || at >= c.until {
		return
	}
	n := c.workflows[s.Workflow]
	if n == nil {
		n = &RunCounts{}
		c.workflows[s.Workflow] = n
	}
	switch s.Kind {
	case schemas.StepStarted:
		n.Started++
	case schemas.StepNotStarted:
		n.NotStarted++
	case schemas.StepWaitMet:
		n.Met++
	case schemas.StepWaitNotMet:
		n.NotMet++
	case schemas.StepWaitCorrected:
		n.Corrected++
	case schemas.StepHeld:
		n.Held++
	case schemas.StepFailed:
		n.Failed++
	case schemas.StepEnded, schemas.StepStopped:
		n.Ended++
	}
}

// ledger knows what each order is worth. The orders stage's goroutine writes it; it is read at the end.
type ledger struct{ byRoot map[string]worth }

type worth struct {
	value    decimal.Decimal
	currency string
}

func newLedger() *ledger { return &ledger{byRoot: map[string]worth{}} }

func (l *ledger) note(t *schemas.Transition) {
	if t.Disposition != schemas.Changed && t.Disposition != schemas.Recorded {
		return
	}
	paid, err := decimal.NewFromString(t.Paid)
	switch {
	case err == nil && paid.IsPositive() && t.Currency != "":
		l.set(t.RootKey, worth{paid, t.Currency})
	case t.Event.Amount != nil:
		if _, known := l.byRoot[t.RootKey]; !known {
			if v, err := decimal.NewFromString(t.Event.Amount.Value); err == nil {
				l.set(t.RootKey, worth{v, t.Event.Amount.Currency})
			}
		}
	}
}

func (l *ledger) set(root string, w worth) {
	if old, ok := l.byRoot[root]; ok && old.currency == w.currency && old.value.Equal(w.value) {
		return
	}
	w.currency = strings.Clone(w.currency)
	l.byRoot[strings.Clone(root)] = w
}

// sum adds up what roots are worth, by currency.
func (l *ledger) sum(roots map[string]bool) map[string]string {
	sums := map[string]decimal.Decimal{}
	for root := range roots {
		if w, ok := l.byRoot[root]; ok && w.currency != "" {
			sums[w.currency] = sums[w.currency].Add(w.value)
		}
	}
	out := make(map[string]string, len(sums))
	for c, v := range sums {
		out[c] = v.String()
	}
	return out
}

// differences are the parts in which two desired states differ: name, value before, value after.
func differences(a, b *schemas.Contact) (list [][3]string) {
	add := func(what, x, y string) {
		if x != y {
			list = append(list, [3]string{what, x, y})
		}
	}
	add("e-mail", a.Email, b.Email)
	add("first name", a.FirstName, b.FirstName)
	add("last name", a.LastName, b.LastName)
	add("phone", a.Phone, b.Phone)
	names := map[string]bool{}
	for n := range a.Fields {
		names[n] = true
	}
	for n := range b.Fields {
		names[n] = true
	}
	for n := range names {
		add("field "+n, a.Fields[n], b.Fields[n])
	}
	for what, pair := range map[string][2][]string{"tag ": {a.Tags, b.Tags}, "no tag ": {a.NoTags, b.NoTags}} {
		for _, t := range pair[0] {
			if !slices.Contains(pair[1], t) {
				add(what+t, "yes", "")
			}
		}
		for _, t := range pair[1] {
			if !slices.Contains(pair[0], t) {
				add(what+t, "", "yes")
			}
		}
	}
	slices.SortFunc(list, func(x, y [3]string) int { return cmp.Compare(x[0], y[0]) })
	return list
}
