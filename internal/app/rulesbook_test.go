package app

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// versionsOf is a Kafka of its own with the means to put versions in force.
func versionsOf(t *testing.T) (*Versions, *rulesBook) {
	t.Helper()
	k, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	c := &config.Config{Settings: config.Settings{Kafka: kafka.Options{Brokers: k.ListenAddrs(), Partitions: 2}}}
	if err := kafka.EnsureTopics(t.Context(), c.Settings.Kafka, kafka.Topics(c.Settings.Kafka)); err != nil {
		t.Fatal(err)
	}
	cluster, err := kafka.NewCluster(c.Settings.Kafka, clock.System(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	now := func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
	v, err := newVersions(c, codec.NewLocal(), now, "ana", zerolog.Nop(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v, newRulesBook(v.History, c, zerolog.Nop())
}

func (v *Versions) put(t *testing.T, version string, files map[string]string) {
	t.Helper()
	if _, published, err := v.Publish(t.Context(), version, files); err != nil || !published {
		t.Fatalf("publish %s: %v, %v", version, published, err)
	}
}

const (
	mappingA = "destination: crm\ntags: {add: [first]}\n"
	mappingB = "destination: crm\ntags: {add: [second]}\n"
	flowA    = "destination: crm\nstart: [{on: tag-added, tag: first}]\nsteps: [{stop: true}]\n"
	flowB    = "destination: crm\nstart: [{on: tag-added, tag: second}]\nsteps: [{stop: true}]\n"
	flowTick = "destination: crm\nstart: [{on: schedule, at: '09:00'}]\nsteps: [{stop: true}]\n"
	flowMove = "destination: crm\nopen_runs: move\nstart: [{on: tag-added, tag: third}]\nsteps: [{stop: true}]\n"
)

func TestEachVersionIsCompiledFromItsOwnFiles(t *testing.T) {
	v, b := versionsOf(t)
	secret := "settings: {key: '${env:NOT_SET_HERE}'}\n"
	v.put(t, "v1", map[string]string{"connections/shop.yaml": secret, "mappings/m.yaml": mappingA, "workflows/w.yaml": flowA})
	v.put(t, "v2", map[string]string{"connections/shop.yaml": secret, "mappings/m.yaml": mappingB, "workflows/w.yaml": flowB})
	for _, version := range []string{"v1", "v2", "v1"} {
		if err := b.Config(t.Context(), version); err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		if got := b.Rules(version).ConfigVersion; got != version {
			t.Errorf("rules of %s name %s", version, got)
		}
	}
	one, two := b.Rules("v1").Workflow("w"), b.Rules("v2").Workflow("w")
	if one == nil || two == nil || one.Version == two.Version {
		t.Fatalf("workflows %+v and %+v", one, two)
	}

	// Another process knows a run's text although its partitions never followed it.
	other := newRulesBook(v.History, &config.Config{}, zerolog.Nop())
	if p := other.Program("w", one.Version); p == nil || p.Version != one.Version {
		t.Errorf("the program of an earlier text: %+v", p)
	}
	if p := other.Program("w", "0123456789ab"); p != nil {
		t.Errorf("a text that never was has a program: %+v", p)
	}
	if p := other.Program("none", one.Version); p != nil {
		t.Errorf("a workflow that never was has a program: %+v", p)
	}
}

func TestAVersionThatDoesNotCompileIsRefusedWithItsPlace(t *testing.T) {
	v, b := versionsOf(t)
	if err := b.Config(t.Context(), "v1"); !errors.Is(err, errNotThere) {
		t.Errorf("a version that is not there: %v, want %v", err, errNotThere)
	}
	v.put(t, "v1", map[string]string{"mappings/m.yaml": mappingA})
	v.put(t, "bad", map[string]string{"mappings/m.yaml": "destination: crm\ntagz: {}\n"})
	err := b.Config(t.Context(), "bad")
	if !errors.Is(err, pipeline.ErrConfigRefused) || !strings.Contains(err.Error(), "mappings/m.yaml:2: tagz: unknown key") {
		t.Errorf("a bad version: %v, want %v with its place", err, pipeline.ErrConfigRefused)
	}
	if err := b.problems(); !errors.Is(err, pipeline.ErrConfigRefused) {
		t.Errorf("the board is told %v", err)
	}
	if got := b.Rules("bad").ConfigVersion; got != "v1" {
		t.Errorf("in its place the rules of %q count, want v1", got)
	}
	v.put(t, "v1", map[string]string{"mappings/m.yaml": mappingA})
	if err := b.problems(); err != nil {
		t.Errorf("after going back the board is told %v", err)
	}
}

func TestAnActivationGoesToThePartitionsThatDoNotFollowYet(t *testing.T) {
	v, _ := versionsOf(t)
	v.put(t, "v1", map[string]string{"mappings/m.yaml": mappingA})
	if _, published, err := v.Publish(t.Context(), "v1", nil); err != nil || published {
		t.Errorf("what is in force was published again: %v, %v", published, err)
	}
	got, err := v.Activate(t.Context(), "v1", true)
	if err != nil || len(got) != 0 {
		t.Errorf("partitions that follow none, in a system that had no version: %v, %v; want no activation", got, err)
	}
	if got, err = v.Activate(t.Context(), "v1", false); err != nil || len(got) != 2 {
		t.Errorf("in one that had: %v, %v; want both partitions", got, err)
	}
}

// While nothing runs, what was activated and taken back is still to be read: the last word has to be the one in force.
func TestAPartitionThatHasStillToReadIsToldAgainWhatItFollows(t *testing.T) {
	read := map[string]int64{schemas.TopicAutomationInbox: 10}
	for name, tt := range map[string]struct {
		f     pipeline.Followed
		end   int64
		fresh bool
		want  bool
	}{
		"follows it, and has read all":                  {pipeline.Followed{Config: "v1", Next: read}, 10, false, false},
		"follows it, and another may be on its way":     {pipeline.Followed{Config: "v1", Next: read}, 11, false, true},
		"follows another":                               {pipeline.Followed{Config: "v0", Next: read}, 10, false, true},
		"follows none":                                  {pipeline.Followed{}, 0, false, true},
		"follows none, and the system had none before":  {pipeline.Followed{}, 11, true, false},
		"follows another, in a system that had no last": {pipeline.Followed{Config: "v0", Next: read}, 10, true, true},
	} {
		if got := (Following{0, tt.f}).needs("v1", tt.end, tt.fresh); got != tt.want {
			t.Errorf("%s: told %v, want %v", name, got, tt.want)
		}
	}
}

func TestContactsAreTouchedForNewSchedulesAndMovesOnly(t *testing.T) {
	v, _ := versionsOf(t)
	for _, tt := range []struct {
		name      string
		was, next map[string]string
		want      bool
	}{
		{"another mapping", map[string]string{"mappings/m.yaml": mappingA}, map[string]string{"mappings/m.yaml": mappingB}, false},
		{"a workflow that starts on a tag", nil, map[string]string{"workflows/w.yaml": flowA}, false},
		{"one that starts by the clock", nil, map[string]string{"workflows/w.yaml": flowTick}, true},
		{"which was there", map[string]string{"workflows/w.yaml": flowTick}, map[string]string{"workflows/w.yaml": flowTick}, false},
		{"one that moves runs which cannot be", nil, map[string]string{"workflows/w.yaml": flowMove}, false},
		{"one that moves runs", map[string]string{"workflows/w.yaml": flowA}, map[string]string{"workflows/w.yaml": flowMove}, true},
	} {
		v.put(t, "was "+tt.name, tt.was)
		v.put(t, "next "+tt.name, tt.next)
		was, _ := v.History.Get("was " + tt.name)
		next, _ := v.History.Get("next " + tt.name)
		if got := v.WantsTouch(was, next); got != tt.want {
			t.Errorf("%s: %v, want %v (%v)", tt.name, got, tt.want, v.Check(next))
		}
	}
}
