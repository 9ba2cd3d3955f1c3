package pipeline

import (
	"context"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/store"
	"github.com/tillstream/tillstream/pipeline/store/memstore"
	"github.com/tillstream/tillstream/schemas/codec"
)

// handClock stands still until a test moves it.
type handClock struct {
	clock.Clock
	now time.Time
}

func (c *handClock) Now() time.Time { return c.now }

// tailLog has a changelog of one partition. read is called in place of each Read.
type tailLog struct {
	idleLog
	read func(r kafka.Range, apply func([]*kgo.Record, int64) error) error
}

func (l *tailLog) Read(_ context.Context, r kafka.Range, apply func([]*kgo.Record, int64) error) error {
	return l.read(r, apply)
}

// An owner reads the tail so slowly that tombstones in it may be gone, sees that at the end, and dies before the rebuild that
// follows is done. What it left must not look like a copy that is up to date: the next owner would serve states that
// were deleted.
func TestATailThatTookTooLongDoesNotPassForFresh(t *testing.T) {
	now := &handClock{clock.System(), time.UnixMilli(1_700_000_000_000)}
	log, st := &tailLog{}, memstore.New()
	e, err := NewEngine(EngineOptions{
		Cluster: log, Store: st, Codec: codec.NewLocal(), Instance: "a", Clock: now,
		Topology: Topology{Stage: Bind(tally{}), Inputs: []string{testIn}, Inbox: testIn, Changelog: testChangelog, Group: "g"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const end = 10
	recover := func() (*recovery, error) {
		p := e.lanes[0].adopt(0)
		r := &recovery{l: e.lanes[0], p: p, started: now.now, chg: kafka.TopicInfo{ID: [16]byte{1}, Count: 1}, end: end}
		if err := r.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		return r, r.restore(t.Context())
	}
	image := func(offset int64) *kgo.Record {
		env := envelope{state: []byte("{}")}
		return &kgo.Record{Topic: testChangelog, Key: []byte(stateKeyPrefix + "live"), Value: env.encode(), Offset: offset}
	}
	part := st.Partition(e.storeID(0))
	claim, err := part.Claim(t.Context(), "first")
	if err != nil {
		t.Fatal(err)
	}
	f, err := part.Rebuild(t.Context(), claim.Fence, hex.EncodeToString([]byte{1, 15: 0}), 0)
	if err == nil {
		f, err = part.Apply(t.Context(), f, store.Batch{To: 4, At: now.now, Meta: []byte("{}"), Images: []store.Image{{Key: "deleted since", Value: []byte("x")}}})
	}
	if err == nil {
		_, err = part.Switch(t.Context(), f)
	}
	if err != nil {
		t.Fatal(err)
	}

	dead := errors.New("the process is dead")
	log.read = func(r kafka.Range, apply func([]*kgo.Record, int64) error) error {
		if r.From == 0 {
			return dead // in the rebuild
		}
		if err := apply([]*kgo.Record{image(5)}, 6); err != nil {
			return err
		}
		now.now = now.now.Add(kafka.TombstoneRetention) // compaction removes the tombstone at 7
		meta := &kgo.Record{Topic: testChangelog, Key: []byte(metaKey), Value: []byte("{}"), Offset: end - 2}
		return apply([]*kgo.Record{image(7), meta}, end)
	}
	if _, err := recover(); !errors.Is(err, dead) {
		t.Fatalf("the first recovery: got %v, want the death in its rebuild", err)
	}
	log.read = func(_ kafka.Range, apply func([]*kgo.Record, int64) error) error {
		return apply([]*kgo.Record{image(5)}, end)
	}
	r, err := recover()
	if err != nil {
		t.Fatal(err)
	}
	if r.kind != "rebuild" {
		t.Errorf("the next owner restored the %s, want a rebuild", r.kind)
	}
	if got := st.Images(e.storeID(0)); got["deleted since"] != nil || got["live"] == nil {
		t.Errorf("images afterwards: %q, want the live key only", got)
	}
}
