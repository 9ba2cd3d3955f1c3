package trial_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/trial"
	"github.com/tillstream/tillstream/schemas"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }

const (
	topicIn    = "test.in"
	topicNext  = "test.next"
	topicPlain = "test.out"
)

// script is a stage whose inputs say what to do, and whose outputs tell what it did.
//
//	arm ID SECONDS   sets a timer, from now
//	stick ID SECONDS sets a timer that stays when it fires
//	again ID         sets a timer in the past that sets itself again when it fires
//	send KEY TEXT    sends TEXT on to the topic of the next lane, or to itself
//	forget, fail, poison, panic, inplace
type script struct {
	name string
	to   string
}

type scriptState struct {
	Timers []processors.Timer
	Notes  []string
	Gone   bool `json:"-"`
}

func (s scriptState) Forget() bool { return s.Gone }

func (s script) Name() string                             { return s.name }
func (script) Version() processors.StageVersion           { return 1 }
func (script) Timers(s scriptState) []processors.Timer    { return s.Timers }
func (script) Encode(s scriptState) ([]byte, error)       { return json.Marshal(s) }
func (script) Decode(b []byte) (s scriptState, err error) { return s, json.Unmarshal(b, &s) }

func (script) Key(in processors.Input) (string, bool) {
	_, ok := in.Record.(*schemas.OrderEvent)
	return in.Key, ok
}

func (st script) Apply(s scriptState, in processors.Input) (scriptState, []processors.Output, error) {
	say := func(text string) processors.Output {
		return processors.Output{Topic: topicPlain, Key: in.Key, Record: &schemas.Transition{Why: fmt.Sprintf("%s %s %d %s", st.name, in.Key, in.At.Sub(noon).Milliseconds(), text), At: in.At}}
	}
	if t := in.Timer; t != nil {
		if !strings.HasPrefix(t.ID, "stick") {
			s.Timers = slices.DeleteFunc(slices.Clone(s.Timers), func(o processors.Timer) bool { return o == *t })
		}
		if strings.HasPrefix(t.ID, "again") {
			s.Timers = append(slices.Clip(s.Timers), processors.Timer{At: t.At.Add(-time.Second), ID: t.ID})
		}
		return s, []processors.Output{say("timer " + t.ID)}, nil
	}
	text := in.Record.(*schemas.OrderEvent).EventType
	word, rest, _ := strings.Cut(text, " ")
	if word == "inplace" {
		s.Notes[0] = "changed"
	}
	out := []processors.Output{say(strings.TrimSpace(text + " " + in.Config))}
	s.Notes = append(slices.Clip(s.Notes), text)
	switch word {
	case "arm", "stick", "again":
		var id string
		var seconds int
		_, _ = fmt.Sscan(rest, &id, &seconds)
		s.Timers = append(slices.Clip(s.Timers), processors.Timer{At: in.At.Add(time.Duration(seconds) * time.Second), ID: word + id})
	case "send":
		key, more, _ := strings.Cut(rest, " ")
		out = append(out, processors.Output{Topic: st.to, Key: key, Record: &schemas.OrderEvent{EventType: more}})
	case "forget":
		s.Gone = true
	case "fail":
		return s, nil, errors.New("asked to fail")
	case "poison":
		return s, nil, &processors.Poison{Cause: schemas.CauseStageFailed, Reason: "asked to", Remedy: "none"}
	case "panic":
		panic("asked to")
	}
	return s, out, nil
}

// log collects what stages say.
type log struct{ lines []string }

func (l *log) Output(_ time.Time, o processors.Output) error {
	if t, ok := o.Record.(*schemas.Transition); ok {
		l.lines = append(l.lines, t.Why)
	}
	return nil
}

func (l *log) DeadLetter(d schemas.DeadLetter) error {
	l.lines = append(l.lines, "dead "+string(d.Key)+" "+d.Reason)
	return nil
}

func in(t time.Time, key, text string) processors.Input {
	return processors.Input{At: t, Topic: topicIn, Key: key, Record: &schemas.OrderEvent{EventType: text}}
}

func newLine(l *log, o trial.Options) *trial.Line {
	first := trial.NewLane[scriptState](script{"first", topicNext}, o, nil)
	second := trial.NewLane[scriptState](script{"second", topicIn}, o, nil)
	return trial.NewLine(l, noon, trial.Part{Lane: first, Topics: []string{topicIn}}, trial.Part{Lane: second, Topics: []string{topicNext}})
}

func TestWhenTimersFire(t *testing.T) {
	for name, c := range map[string]struct {
		inputs []processors.Input
		until  time.Time
		want   []string
	}{
		"a millisecond after the deadline": {
			[]processors.Input{in(at(0), "a", "arm x 10")},
			at(60),
			[]string{"first a 0 arm x 10", "first a 10001 timer armx"},
		},
		"not at the deadline": {
			[]processors.Input{in(at(0), "a", "arm x 10")},
			at(10),
			[]string{"first a 0 arm x 10"},
		},
		"an input at the deadline goes first": {
			[]processors.Input{in(at(0), "a", "arm x 10"), in(at(10), "a", "note")},
			at(60),
			[]string{"first a 0 arm x 10", "first a 10000 note", "first a 10001 timer armx"},
		},
		"an input just behind it goes after": {
			[]processors.Input{in(at(0), "a", "arm x 10"), in(at(10).Add(time.Millisecond), "a", "note")},
			at(60),
			[]string{"first a 0 arm x 10", "first a 10001 timer armx", "first a 10001 note"},
		},
		"in the order of deadline, key and id": {
			[]processors.Input{in(at(0), "b", "arm y 10"), in(at(0), "b", "arm x 10"), in(at(0), "a", "arm z 10"), in(at(0), "c", "arm w 5")},
			at(60),
			[]string{"first b 0 arm y 10", "first b 0 arm x 10", "first a 0 arm z 10", "first c 0 arm w 5", "first c 5001 timer armw", "first a 10001 timer armz", "first b 10001 timer armx", "first b 10001 timer army"},
		},
		"one that is set into the past fires at once, before the next input": {
			[]processors.Input{in(at(5), "a", "arm x -3"), in(at(5), "a", "note")},
			at(5),
			[]string{"first a 5000 arm x -3", "first a 5000 timer armx", "first a 5000 note"},
		},
		"none of a state that was forgotten": {
			[]processors.Input{in(at(0), "a", "arm x 10"), in(at(1), "a", "forget"), in(at(2), "a", "arm y 20")},
			at(60),
			[]string{"first a 0 arm x 10", "first a 1000 forget", "first a 2000 arm y 20", "first a 22001 timer army"},
		},
		"what a lane writes is the other's input at that time": {
			[]processors.Input{in(at(1), "a", "send b arm x 2")},
			at(9),
			[]string{"first a 1000 send b arm x 2", "second b 1000 arm x 2", "second b 3001 timer armx"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, o := range []trial.Options{{}, {Check: true}, {HotMax: 1}} {
				l := &log{}
				line := newLine(l, o)
				for _, i := range c.inputs {
					if err := line.Put(i); err != nil {
						t.Fatal(err)
					}
				}
				if err := line.Advance(c.until); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, l.lines); diff != "" {
					t.Errorf("%+v (-want +got):\n%s", o, diff)
				}
			}
		})
	}
}

func TestWhatAStageRefusesIsADeadLetter(t *testing.T) {
	l := &log{}
	line := newLine(l, trial.Options{})
	for _, text := range []string{"poison", "fail", "panic", "stick x 1"} {
		if err := line.Put(in(at(0), "a", text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := line.Advance(at(60)); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"dead a asked to", "dead a asked to fail", "dead a the stage panicked: asked to",
		"first a 0 stick x 1", "first a 1001 timer stickx", "dead a the timer is still in the state after it fired",
	}
	if diff := cmp.Diff(want, l.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestATimerThatNeverEndsIsStopped(t *testing.T) {
	l := &log{}
	line := newLine(l, trial.Options{})
	if err := line.Put(in(at(0), "a", "again x -1")); err != nil {
		t.Fatal(err)
	}
	if got := l.lines[len(l.lines)-1]; !strings.HasPrefix(got, "dead a more than ") {
		t.Errorf("the last word is %q, want a dead letter", got)
	}
}

func TestTheCheckingModeFindsBugs(t *testing.T) {
	for text, want := range map[string]string{
		"fail": "no Poison", "panic": "panicked", "stick x 1": "still in the state", "inplace": "in place", "again x -1": "more than",
	} {
		t.Run(text, func(t *testing.T) {
			l := &log{}
			line := newLine(l, trial.Options{Check: true})
			err := line.Put(in(at(0), "a", "note"))
			if err == nil {
				err = line.Put(in(at(0), "a", text))
			}
			if err == nil {
				err = line.Advance(at(9))
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("the error is %v, want one with %q", err, want)
			}
		})
	}
}

func TestConfigurationIsFollowedFromItsActivationOn(t *testing.T) {
	l := &log{}
	line := newLine(l, trial.Options{})
	put := func(i processors.Input) {
		t.Helper()
		if err := line.Put(i); err != nil {
			t.Fatal(err)
		}
	}
	put(in(at(0), "a", "one"))
	put(processors.Input{At: at(1), Topic: topicIn, Record: &schemas.ConfigActivation{Version: "v2"}})
	put(in(at(1), "a", "two"))
	want := []string{"first a 0 one", "first a 1000 two v2"}
	if diff := cmp.Diff(want, l.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTimersAreHeldWhileNobodyTakesEvents(t *testing.T) {
	l := &log{}
	line := newLine(l, trial.Options{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(line.Put(in(at(0), "a", "arm x 10")))
	line.Hold()
	must(line.Put(in(at(20), "a", "note")))
	must(line.Advance(at(30)))
	must(line.Release())
	want := []string{"first a 0 arm x 10", "first a 20000 note", "first a 30000 timer armx"}
	if diff := cmp.Diff(want, l.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAWatermarkHoldsTimersBehindIt(t *testing.T) {
	l := &log{}
	line := newLine(l, trial.Options{})
	tick := func(t, watermark time.Time) processors.Input {
		return processors.Input{At: t, Topic: topicIn, Record: &schemas.Tick{Watermark: watermark}}
	}
	for _, i := range []processors.Input{in(at(0), "a", "arm x 60"), tick(at(10), at(10)), tick(at(100), at(10)), tick(at(110), at(100))} {
		if err := line.Put(i); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"first a 0 arm x 60", "first a 110000 timer armx"}
	if diff := cmp.Diff(want, l.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A clone goes on as its original does, and what one of them does the other does not notice.
func TestACloneStandsWhereItsOriginalStands(t *testing.T) {
	for _, o := range []trial.Options{{}, {Check: true}, {HotMax: 1}} {
		l, m := &log{}, &log{}
		lane := trial.NewLane[scriptState](script{"first", topicNext}, o, l)
		step := func(lane *trial.Lane[scriptState], i processors.Input) {
			t.Helper()
			if err := lane.Step(i); err != nil {
				t.Fatal(err)
			}
		}
		for _, i := range []processors.Input{in(at(0), "a", "arm x 10"), in(at(0), "b", "arm y 20"), in(at(0), "c", "arm z 30"), in(at(1), "b", "forget"), in(at(2), "a", "arm w 5")} {
			step(lane, i)
		}
		clone := lane.Clone()
		trial.NewLine(m, noon, trial.Part{Lane: clone, Topics: []string{topicIn}})
		l.lines = nil
		step(clone, in(at(3), "c", "forget"))
		m.lines = nil
		for _, one := range []*trial.Lane[scriptState]{lane, clone} {
			if err := one.Advance(at(60)); err != nil {
				t.Fatal(err)
			}
		}
		want := []string{"first a 7001 timer armw", "first a 10001 timer armx", "first c 30001 timer armz"}
		if diff := cmp.Diff(want, l.lines); diff != "" {
			t.Errorf("original (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want[:2], m.lines); diff != "" {
			t.Errorf("clone (-want +got):\n%s", diff)
		}
	}
}

// Whatever is kept as bytes and however often, the outputs are the same; and a key's outputs do not depend on the other keys.
func TestTheWayOfKeepingStatesNeverShows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var inputs []processors.Input
		now := 0
		for range rapid.IntRange(1, 40).Draw(t, "inputs") {
			now += rapid.IntRange(0, 5).Draw(t, "pause")
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
			text := rapid.SampledFrom([]string{"note", "arm x 3", "arm y 7", "arm z 0", "arm p -2", "send b note", "send c arm q 4", "send b send c note", "forget", "poison"}).Draw(t, "text")
			inputs = append(inputs, in(at(now), key, text))
		}
		play := func(o trial.Options, keep func(key string) bool) []string {
			l := &log{}
			line := newLine(l, o)
			for _, i := range inputs {
				if !keep(i.Key) {
					continue
				}
				if err := line.Put(i); err != nil {
					t.Fatal(err)
				}
			}
			if err := line.Advance(at(now + 60)); err != nil {
				t.Fatal(err)
			}
			return l.lines
		}
		all := func(string) bool { return true }
		want := play(trial.Options{}, all)
		for _, o := range []trial.Options{{Check: true}, {HotMax: 1}, {HotMax: 2}} {
			if diff := cmp.Diff(want, play(o, all)); diff != "" {
				t.Fatalf("%+v (-fast +so):\n%s", o, diff)
			}
		}
		of := func(lines []string) (list []string) {
			for _, l := range lines {
				if strings.HasPrefix(l, "first a ") {
					list = append(list, l)
				}
			}
			return list
		}
		alone := play(trial.Options{}, func(key string) bool { return key == "a" })
		if diff := cmp.Diff(of(alone), of(want)); diff != "" {
			t.Fatalf("key a (-alone +among others):\n%s", diff)
		}
	})
}
