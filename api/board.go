package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tillstream/tillstream/pipeline/connections"
)

const (
	// HangMax is how long a loop may be silent before its process is not alive.
	HangMax = time.Minute
	// answerMax bounds how long a part is waited for, so that one that hangs keeps nobody from seeing the others.
	answerMax = 2 * time.Second
)

// Part is one role or service that says how it is. Its functions may be called from several goroutines; they should
// not block, and one that does is told as such.
type Part struct {
	Name string
	// Ready is nil when the part does its work now, else why not.
	Ready func() error
	// Reasons lists every reason why the part is not ready, each with what to do; nil: the one of Ready.
	Reasons func() []string
	// Alive is nil while the part's loops turn, else which one does not; nil: nothing of it can hang.
	Alive func() error
	// Status is anything that JSON can show; may be nil.
	Status func() any
	// Stage is given by a part that runs a stage.
	Stage *Stage
}

// Stage is what a part that runs a stage tells and takes beyond a Part.
type Stage struct {
	Name string
	// Group is what Kafka tells of the partitions, those of other processes included; nil: not known.
	Group func() Group
	// Resume lets a stalled partition try again.
	Resume func(partition int32) Resumption
}

// Group is a stage's consumer group as Kafka shows it.
type Group struct {
	Name string `json:"name"`
	// At is when Kafka was asked with success; zero: it was not yet.
	At         time.Time        `json:"at,omitzero"`
	Error      string           `json:"error,omitempty"` // what is wrong with the group or its topics, or why Kafka does not say
	Partitions []GroupPartition `json:"partitions"`      // all that the stage's inputs have, by number
}

// GroupPartition is one partition of a stage, whoever owns it.
type GroupPartition struct {
	Partition int32 `json:"partition"`
	// Member is the host of the group's member that has it; empty: nobody has it.
	Member string `json:"member"`
	// Behind is how many offsets lie between the group's and the end of the inputs, transaction markers included.
	Behind int64 `json:"behind"`
}

// Outcomes of a Resume.
const (
	Resumed    = "resumed"
	NotStalled = "not_stalled"
	NotOwned   = "not_owned"
)

// Resumption is what came of a Resume.
type Resumption struct {
	Outcome string `json:"outcome"`
	// Detail says it to an operator.
	Detail string `json:"detail"`
}

// Board collects the parts of a process. Its methods may be called from several goroutines.
type Board struct {
	mu         sync.Mutex
	probes     []*probe
	info       map[string]string
	desk       *connections.Desk // nil: this process has none
	automation Automation
	recovery   Recovery
	pauses     Pauses
	limits     Limits
	managing   Managing

	access          *Access
	hosts           []string     // under which the port is asked, besides loopback
	page            http.Handler // nil: none
	destinations    Destinations
	destinationsDir string

	reads reads

	now       func() time.Time
	answerMax time.Duration
}

// NewBoard returns a board that shows info (version, instance) beside the parts.
func NewBoard(info map[string]string) *Board {
	return &Board{info: info, now: time.Now, answerMax: answerMax}
}

// Add puts a part on the board; a part of the same name is replaced.
func (b *Board) Add(p Part) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probes = slices.DeleteFunc(b.probes, func(q *probe) bool { return q.part.Name == p.Name })
	b.probes = append(b.probes, &probe{part: p})
	slices.SortFunc(b.probes, func(a, b *probe) int { return strings.Compare(a.part.Name, b.part.Name) })
}

// state is one part as shown.
type state struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
	// Reasons are all, where there are several.
	Reasons []string   `json:"reasons,omitempty"`
	Status  any        `json:"status,omitempty"`
	Stage   *stageView `json:"stage,omitempty"`

	hangs error // why it is not alive
}

type stageView struct {
	Name  string `json:"name"`
	Group *Group `json:"group,omitempty"`
}

// probe asks one part. A question that is not answered stays open, and is not asked again: a part that hangs costs two
// goroutines, however often it is looked at.
type probe struct {
	part Part

	mu   sync.Mutex
	open [2]*look // without and with the status
}

// look is one question to a part; state is there once done is closed.
type look struct {
	since time.Time
	done  chan struct{}
	state state
}

func (p *probe) ask(now time.Time, withStatus bool) *look {
	kind := 0
	if withStatus {
		kind = 1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[kind] != nil {
		return p.open[kind]
	}
	l := &look{since: now, done: make(chan struct{})}
	p.open[kind] = l
	go func() {
		l.state = p.part.look(withStatus)
		p.mu.Lock()
		p.open[kind] = nil
		p.mu.Unlock()
		close(l.done)
	}()
	return l
}

func (p Part) look(withStatus bool) state {
	s := state{Name: p.Name, Ready: true}
	if p.Ready != nil {
		if err := p.Ready(); err != nil {
			s.Ready, s.Reason, s.Reasons = false, err.Error(), []string{err.Error()}
			if p.Reasons != nil {
				if all := p.Reasons(); len(all) > 0 { // it may have become ready between the two questions
					s.Reasons = all
				}
			}
		}
	}
	if p.Alive != nil {
		s.hangs = p.Alive()
	}
	if !withStatus {
		return s
	}
	if p.Status != nil {
		s.Status = p.Status()
	}
	if p.Stage != nil {
		s.Stage = &stageView{Name: p.Stage.Name}
		if p.Stage.Group != nil {
			g := p.Stage.Group()
			s.Stage.Group = &g
		}
	}
	return s
}

// look asks the parts of these names, without names all, side by side; a process without parts is not ready.
func (b *Board) look(withStatus bool, names ...string) (ready bool, states []state) {
	b.mu.Lock()
	probes := slices.Clone(b.probes)
	b.mu.Unlock()
	now := b.now()
	var looks []*look
	for _, p := range probes {
		if len(names) == 0 || slices.Contains(names, p.part.Name) {
			looks = append(looks, p.ask(now, withStatus))
			states = append(states, state{Name: p.part.Name})
		}
	}
	timer := time.NewTimer(b.answerMax)
	defer timer.Stop()
	ready, late := len(looks) > 0, false
	for i, l := range looks {
		if !late {
			select {
			case <-l.done:
			case <-timer.C:
				late = true
			}
		}
		select {
		case <-l.done:
			states[i] = l.state
		default:
			silent := max(b.now().Sub(l.since), b.answerMax)
			err := fmt.Errorf("it has not answered for %v: one of its loops hangs", silent.Round(time.Second))
			states[i].Reason, states[i].Reasons = err.Error(), []string{err.Error()}
			if silent >= HangMax {
				states[i].hangs = err
			}
		}
		ready = ready && states[i].Ready
	}
	return ready, states
}

// stage finds the part that runs a stage.
func (b *Board) stage(name string) *Stage {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.probes {
		if p.part.Stage != nil && p.part.Stage.Name == name {
			return p.part.Stage
		}
	}
	return nil
}
