package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func cluster(t *testing.T) (*kfake.Cluster, Options) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, Options{Brokers: c.ListenAddrs(), Partitions: 3}
}

func open(t *testing.T, o Options, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := o.Client(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func TestEnsureTopicsCreatesAndIsContentWithItsOwnWork(t *testing.T) {
	_, o := cluster(t)
	for range 2 {
		if err := EnsureTopics(t.Context(), o, Topics(o)); err != nil {
			t.Fatal(err)
		}
	}
	info, err := DescribeTopic(t.Context(), open(t, o), "orders.changelog")
	if err != nil || info.Count != 3 {
		t.Errorf("orders.changelog: got %d partitions, %v; want 3", info.Count, err)
	}
}

func TestEnsureTopicsSaysEverythingThatIsWrong(t *testing.T) {
	_, o := cluster(t)
	admin := kadm.NewClient(open(t, o))
	short, small := "1000", "1048588"
	for topic, n := range map[string]int32{"paypal.events": 3, "store.orders": 4} {
		if _, err := admin.CreateTopic(t.Context(), n, 1, map[string]*string{"retention.ms": &short, "max.message.bytes": &small}, topic); err != nil {
			t.Fatal(err)
		}
	}
	o.Strict = true
	err := EnsureTopics(t.Context(), o, Topics(o)[:2])
	if err == nil {
		t.Fatal("got nil, want an error")
	}
	for _, want := range []string{
		"paypal.events and store.orders have 3 and 4 partitions", "paypal.events has message.timestamp.type=CreateTime: set it to LogAppendTime",
		"store.orders has retention.ms=1000", "store.orders has max.message.bytes=1048588: set it to 8388608 or more", "has 1 replicas, the strict profile needs 3", "min.insync.replicas",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}

func TestPartitionIsThatOfTheDefaultPartitioner(t *testing.T) {
	_, o := cluster(t)
	if err := EnsureTopics(t.Context(), o, []TopicSpec{{Name: "t", Partitions: 7, Retention: InputRetention}}); err != nil {
		t.Fatal(err)
	}
	cl := open(t, o)
	for i := range 50 {
		r := &kgo.Record{Topic: "t", Key: fmt.Appendf(nil, "live/acc/%d", i)}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if got := Partition(r.Key, 7); got != r.Partition {
			t.Errorf("Partition(%s): got %d, want %d", r.Key, got, r.Partition)
		}
	}
}

func TestReaderStopsAtTheBoundAndSkipsWhatWasAborted(t *testing.T) {
	_, o := cluster(t)
	if err := EnsureTopics(t.Context(), o, []TopicSpec{{Name: "t", Partitions: 1, Compacted: true}}); err != nil {
		t.Fatal(err)
	}
	cl := open(t, o, kgo.TransactionalID("x"))
	for i := range 6 {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Key: fmt.Append(nil, i), Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(t.Context(), i%2 == 0); err != nil {
			t.Fatal(err)
		}
	}
	side := open(t, o)
	start, end, err := Bounds(t.Context(), side, "t", 0)
	if err != nil || start != 0 || end != 12 {
		t.Fatalf("Bounds: got %d, %d, %v; want 0, 12", start, end, err)
	}
	var got []string
	var next int64
	r := NewReader(side, "t", 0, 0)
	collect := func(rs []*kgo.Record, n int64) error {
		for _, rec := range rs {
			got = append(got, string(rec.Key))
		}
		next = n
		return nil
	}
	if err := r.ReadTo(t.Context(), end, time.Minute, time.Now, collect); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"0", "2", "4"}, got); diff != "" || next != 12 {
		t.Errorf("read to %d, want 12 (-want +got):\n%s", next, diff)
	}
	if err := r.ReadTo(t.Context(), end+1, 100*time.Millisecond, time.Now, collect); !errors.Is(err, ErrTruncated) {
		t.Errorf("ReadTo beyond the log: got %v, want ErrTruncated", err)
	}
	if err := NewReader(side, "t", 0, 99).ReadTo(t.Context(), 100, time.Minute, time.Now, collect); !errors.Is(err, ErrTrimmed) {
		t.Errorf("ReadTo from beyond the log: got %v, want ErrTrimmed", err)
	}
	hang := open(t, o, kgo.TransactionalID("y"))
	if err := hang.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := hang.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Key: []byte("open")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := r.ReadTo(t.Context(), 13, 700*time.Millisecond, time.Now, collect); !errors.Is(err, ErrHanging) {
		t.Errorf("ReadTo into an open transaction: got %v, want ErrHanging", err)
	}
}

func TestClassify(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want Kind
	}{
		{kerr.ProducerFenced, Fenced},
		{fmt.Errorf("x: %w", kerr.IllegalGeneration), Fenced},
		{kerr.NotLeaderForPartition, Retryable},
		{kerr.UnknownServerError, Unknown},
		{context.DeadlineExceeded, Unknown},
		{kerr.TopicAuthorizationFailed, Fatal},
		{errors.New("anything"), Unknown},
		{kerr.RequestTimedOut, Unknown},
	} {
		if got := Classify(tc.err); got != tc.want {
			t.Errorf("Classify(%v): got %v, want %v", tc.err, got, tc.want)
		}
	}
}

// plan balances members with what they own: member -> owned partitions, of topics a and b alike.
func plan(t *testing.T, owned map[string][]int32, generation map[string]int32, partitions int32) map[string]map[string][]int32 {
	t.Helper()
	b := CoPartition(nil).(*coPartition)
	var members []kmsg.JoinGroupResponseMember
	for _, id := range []string{"m1", "m2", "m3"} {
		o, ok := owned[id]
		if !ok {
			continue
		}
		m := kmsg.NewJoinGroupResponseMember()
		m.MemberID = id
		m.ProtocolMetadata = b.JoinGroupMetadata([]string{"a", "b"}, map[string][]int32{"a": o, "b": o}, generation[id])
		members = append(members, m)
	}
	cb, err := kgo.NewConsumerBalancer(b, members)
	if err != nil {
		t.Fatal(err)
	}
	return b.Balance(cb, map[string]int32{"a": partitions, "b": partitions}).(*kgo.BalancePlan).AsMemberIDMap()
}

func TestBalancerKeepsPartnersTogether(t *testing.T) {
	for name, tc := range map[string]struct {
		owned map[string][]int32
		gen   map[string]int32
		want  map[string][]int32
	}{
		"first":            {owned: map[string][]int32{"m1": nil, "m2": nil}, want: map[string][]int32{"m1": {0, 2}, "m2": {1, 3}}},
		"sticky":           {owned: map[string][]int32{"m1": {2, 3}, "m2": {0, 1}}, want: map[string][]int32{"m1": {2, 3}, "m2": {0, 1}}},
		"newcomer waits":   {owned: map[string][]int32{"m1": {0, 1, 2, 3}, "m2": nil}, want: map[string][]int32{"m1": {0, 1}, "m2": nil}},
		"then gets":        {owned: map[string][]int32{"m1": {0, 1}, "m2": nil}, want: map[string][]int32{"m1": {0, 1}, "m2": {2, 3}}},
		"a leaver's share": {owned: map[string][]int32{"m1": {0, 1}}, want: map[string][]int32{"m1": {0, 1, 2, 3}}},
		"stale claim": {
			owned: map[string][]int32{"m1": {0, 1}, "m2": {0, 1, 2, 3}}, gen: map[string]int32{"m1": 9, "m2": 3},
			want: map[string][]int32{"m1": {0, 1}, "m2": {2, 3}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for m, topics := range plan(t, tc.owned, tc.gen, 4) {
				for _, topic := range []string{"a", "b"} {
					if got := topics[topic]; fmt.Sprint(got) != fmt.Sprint(tc.want[m]) {
						t.Errorf("%s of %s: got %v, want %v", topic, m, got, tc.want[m])
					}
				}
			}
		})
	}
}
