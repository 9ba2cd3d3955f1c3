package kafka

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A broker answers a creation before all brokers, itself included, know the topic.
func TestEnsureTopicsWaitsUntilTheBrokersKnowTheTopics(t *testing.T) {
	c, o := cluster(t)
	var created atomic.Bool
	var unknown atomic.Int32
	c.ControlKey(int16(kmsg.CreateTopics), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		created.Store(true)
		return nil, nil, false
	})
	c.ControlKey(int16(kmsg.Metadata), func(raw kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := raw.(*kmsg.MetadataRequest)
		if len(req.Topics) == 0 || !created.Load() || unknown.Add(1) > 3 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		for _, rt := range req.Topics {
			st := kmsg.NewMetadataResponseTopic()
			st.Topic, st.TopicID, st.ErrorCode = rt.Topic, rt.TopicID, kerr.UnknownTopicOrPartition.Code
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	if err := EnsureTopics(t.Context(), o, Topics(o)[:2]); err != nil {
		t.Fatal(err)
	}
	if unknown.Load() < 3 {
		t.Error("the fault was not met")
	}
}

// After a change of leader the new one may answer with an older high watermark for a while: nothing is lost then.
func TestReaderOutwaitsAHighWatermarkThatLagsBehind(t *testing.T) {
	c, o := cluster(t)
	if err := EnsureTopics(t.Context(), o, []TopicSpec{{Name: "t", Partitions: 1, Compacted: true}}); err != nil {
		t.Fatal(err)
	}
	cl := open(t, o)
	for _, k := range []string{"a", "b"} {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Key: []byte(k), Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var lagging atomic.Int32
	c.ControlKey(int16(kmsg.Fetch), func(raw kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := raw.(*kmsg.FetchRequest)
		if lagging.Add(1) > 3 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		st := kmsg.NewFetchResponseTopic()
		st.Topic, st.TopicID = req.Topics[0].Topic, req.Topics[0].TopicID
		sp := kmsg.NewFetchResponseTopicPartition()
		sp.HighWatermark, sp.LastStableOffset = 1, 1
		st.Partitions = append(st.Partitions, sp)
		resp.Topics = append(resp.Topics, st)
		return resp, nil, true
	})
	var got []string
	err := NewReader(open(t, o), "t", 0, 0).ReadTo(t.Context(), 2, time.Minute, time.Now, func(rs []*kgo.Record, _ int64) error {
		for _, r := range rs {
			got = append(got, string(r.Key))
		}
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("ReadTo: got %v, %v; want both records", got, err)
	}
	if lagging.Load() < 3 {
		t.Error("the fault was not met")
	}
}
