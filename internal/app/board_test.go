package app

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/load"
)

// fakeEngine has the partitions that a test gives it.
type fakeEngine struct {
	ready    error
	status   []pipeline.PartitionStatus
	retrying bool // a stalled partition is being tried at this moment
	resumed  []int32
	beat     time.Time
}

func (f *fakeEngine) Ready() error                       { return f.ready }
func (f *fakeEngine) Status() []pipeline.PartitionStatus { return f.status }
func (f *fakeEngine) Beat() time.Time                    { return f.beat }
func (f *fakeEngine) Resume(n int32) bool {
	if !f.retrying {
		f.resumed = append(f.resumed, n)
	}
	return !f.retrying
}

func TestResumptionSaysWhatHappened(t *testing.T) {
	known := api.Group{At: time.Unix(1, 0), Partitions: []api.GroupPartition{{}, {}, {Partition: 2}, {Partition: 3, Member: "10.0.0.7"}}}
	for _, c := range []struct {
		name     string
		n        int32
		retrying bool
		group    api.Group
		outcome  string
		words    string
	}{
		{"stalled", 1, false, known, api.Resumed, "was stalled (POISON: too many dead letters)"},
		{"stalled, and tried at this moment", 1, true, known, api.NotStalled, "tries again by itself"},
		{"running", 0, false, known, api.NotStalled, "is running at one"},
		{"at another process", 3, false, known, api.NotOwned, "a process at 10.0.0.7 has it"},
		{"at nobody", 2, false, known, api.NotOwned, "nobody had it at 00:00:01Z"},
		{"beyond the topic", 9, false, known, api.NotOwned, "the stage has 4 partitions, counted from 0"},
		{"before Kafka was asked", 3, false, api.Group{}, api.NotOwned, "not known here"},
	} {
		e := &fakeEngine{retrying: c.retrying, status: []pipeline.PartitionStatus{
			{Partition: 0, State: "running"}, {Partition: 1, State: "stalled", Reason: "POISON", Detail: "too many dead letters"},
		}}
		got := resumption(e, "orders", "one", c.n, c.group)
		if got.Outcome != c.outcome || !strings.Contains(got.Detail, c.words) {
			t.Errorf("%s: got %+v, want %s with %q", c.name, got, c.outcome, c.words)
		}
		if done := len(e.resumed) > 0; done != (c.outcome == api.Resumed) {
			t.Errorf("%s: resumed %v", c.name, e.resumed)
		}
	}
}

func TestAStageIsAliveWhileItsLoopsTurn(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	p := &process{Options: Options{Now: func() time.Time { return now }, Config: &config.Config{}}}
	e := &fakeEngine{}
	alive := p.partOf("orders", e, newGroups()).Alive
	for _, c := range []struct {
		name string
		beat time.Time
		want bool
	}{
		{"none runs yet", time.Time{}, true},
		{"turned now", now, true},
		{"a minute ago", now.Add(-api.HangMax), true},
		{"longer ago", now.Add(-api.HangMax - time.Second), false},
	} {
		e.beat = c.beat
		if err := alive(); (err == nil) != c.want {
			t.Errorf("%s: got %v, want alive %v", c.name, err, c.want)
		}
	}
}

func TestReasonsNameEachPartition(t *testing.T) {
	e := &fakeEngine{ready: errors.New("orders: lane 0 has no kafka session"), status: []pipeline.PartitionStatus{
		{Partition: 0, State: "running"},
		{Partition: 1, State: "stalled", Reason: "STORE_UNAVAILABLE", Detail: "connection refused", Remedy: "check Redis"},
		{Partition: 2, State: "recovering", RestorePosition: 5, RestoreTarget: 10},
	}}
	want := []string{
		"orders: lane 0 has no kafka session",
		"partition 1 is stalled: STORE_UNAVAILABLE: connection refused; check Redis",
		"partition 2 is recovering: changelog offset 5 of 10",
	}
	if diff := cmp.Diff(want, stageReasons(e)); diff != "" {
		t.Errorf("stage (-want +got):\n%s", diff)
	}
	got := loadReasons(errors.New("waiting"), load.Status{Partitions: []load.PartitionStatus{
		{Topic: "a", Partition: 0, Trouble: "table full"}, {Topic: "a", Partition: 1}, {Topic: "b", Partition: 0, Trouble: "no table"}, {Topic: "b", Partition: 1, Trouble: "table full"},
	}})
	if diff := cmp.Diff([]string{"table full at a/0"}, loadReasons(errors.New("table full at a/0"), load.Status{})); diff != "" {
		t.Errorf("loader without partitions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a/0: table full"}, loadReasons(errors.New("load: table full"), load.Status{Partitions: []load.PartitionStatus{{Topic: "a", Trouble: "table full"}}})); diff != "" {
		t.Errorf("loader in trouble for its partition's (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"waiting", "a/0, b/1: table full", "b/0: no table"}, got); diff != "" {
		t.Errorf("loader (-want +got):\n%s", diff)
	}
}

func TestAGroupIsShownAsKafkaHasIt(t *testing.T) {
	now := time.Unix(2, 0).UTC()
	was := api.Group{Name: "g", At: time.Unix(1, 0).UTC(), Partitions: []api.GroupPartition{{Partition: 0, Member: "a"}, {Partition: 1, Member: "b"}}}
	lag := kadm.GroupLag{"in": {0: {Lag: 3}, 1: {Lag: -1}}, "other": {0: {Lag: 4}}}
	for _, c := range []struct {
		name string
		lag  kadm.DescribedGroupLag
		want api.Group
	}{
		{"nobody is in it", kadm.DescribedGroupLag{State: "Empty", Lag: lag}, api.Group{Name: "g", At: now, Partitions: []api.GroupPartition{{Partition: 0, Behind: 7}, {Partition: 1}}}},
		{"it does not exist yet", kadm.DescribedGroupLag{State: "Dead", DescribeErr: kerr.GroupIDNotFound}, api.Group{Name: "g", At: now, Partitions: []api.GroupPartition{{}, {Partition: 1}}}},
		{"it agrees anew: what was known stands", kadm.DescribedGroupLag{State: "PreparingRebalance", Lag: lag}, api.Group{Name: "g", At: now, Partitions: []api.GroupPartition{{Partition: 0, Member: "a", Behind: 7}, {Partition: 1, Member: "b"}}}},
		{"Kafka does not say", kadm.DescribedGroupLag{DescribeErr: kerr.CoordinatorNotAvailable}, api.Group{Name: "g", At: was.At, Error: "COORDINATOR_NOT_AVAILABLE: The coordinator is not available.", Partitions: was.Partitions}},
	} {
		if diff := cmp.Diff(c.want, seen(was, c.lag, map[string]int{"in": 2, "other": 2}, now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestUnevenInputsAreTold(t *testing.T) {
	got := seen(api.Group{Name: "g"}, kadm.DescribedGroupLag{State: "Empty"}, map[string]int{"b": 2, "a": 3}, time.Unix(2, 0))
	if len(got.Partitions) != 3 || !strings.Contains(got.Error, "a has 3, b has 2") {
		t.Errorf("got %+v, want the partitions of the larger input and what is wrong", got)
	}
}
