package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/schemas"
)

// ids is a Once in memory that can be away, or slow.
type ids struct {
	first map[string][32]byte
	away  bool
	calls int
}

func (m *ids) Claim(ctx context.Context, connection, id string, hash [32]byte) (bool, error) {
	m.calls++
	if m.away {
		return false, errors.New("connection refused")
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if first, known := m.first[connection+"/"+id]; known {
		return first == hash, nil
	}
	m.first[connection+"/"+id] = hash
	return true, nil
}

func onceOptions(s *shelf, m Once) Options {
	o := options(s)
	o.Endpoints[0].Webhook, o.Once = till{once: true}, m
	return o
}

func problems(t *testing.T, s *shelf) (out []string) {
	t.Helper()
	for _, v := range s.values {
		var e schemas.OrderEvent
		if err := json.Unmarshal(v, &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, string(e.Body)+": "+strings.TrimSpace(e.ProblemCause+" "+e.Problem))
	}
	return out
}

// TestOnceID: the same id with the same body is a retry, in whatever process and however late; with another body it is
// kept apart and never applied.
func TestOnceID(t *testing.T) {
	for name, shared := range map[string]Once{"own memory": nil, "shared memory": &ids{first: map[string][32]byte{}}} {
		t.Run(name, func(t *testing.T) {
			s := &shelf{}
			h := handler(t, onceOptions(s, shared))
			other := h
			if shared != nil {
				other = handler(t, onceOptions(s, shared)) // another process
			}
			for i, h := range []*Handler{h, other, h} {
				for _, body := range []string{"A", "A", "B"} {
					if got := post(h, path, "good", body).Code; got != 200 {
						t.Errorf("round %d: got %d for %s, want 200", i, got, body)
					}
				}
			}
			n := 0
			for _, p := range problems(t, s) {
				switch {
				case strings.HasPrefix(p, "A: ") && p != "A: ":
					t.Errorf("the first body was not taken: %s", p)
				case strings.HasPrefix(p, "B: "+schemas.CauseQuarantined):
					n++
				case p != "A: ":
					t.Errorf("got %q", p)
				}
			}
			if n != 3 || s.count() != 9 {
				t.Errorf("got %d quarantined of %d, want 3 of 9", n, s.count())
			}
		})
	}
}

// TestOnceIDKeptApart: the quarantined one has an id and a key of its own, so that it meets no order.
func TestOnceIDKeptApart(t *testing.T) {
	s := &shelf{}
	h := handler(t, onceOptions(s, nil))
	post(h, path, "good", "A")
	post(h, path, "good", "A2")
	if len(s.keys) != 2 || s.keys[0] != "live/shop/A" || !strings.HasPrefix(s.keys[1], "live/shop/quarantined-") {
		t.Errorf("got keys %q", s.keys)
	}
}

// TestOnceIDWithoutRedis: an outage refuses nothing, is counted, costs one wait a second, and what was seen in it still
// holds afterwards.
func TestOnceIDWithoutRedis(t *testing.T) {
	at := time.UnixMilli(1_000_000)
	m := &ids{first: map[string][32]byte{}, away: true}
	s := &shelf{}
	reg := prometheus.NewRegistry()
	o := onceOptions(s, m)
	o.Clock, o.Registerer = hands{clock.System(), &at, nil}, reg
	h := handler(t, o)
	for range 50 {
		if got := post(h, path, "good", "A").Code; got != 200 {
			t.Fatalf("got %d while redis is away, want 200", got)
		}
	}
	post(h, path, "good", "B")
	if m.calls != 1 {
		t.Errorf("got %d questions in one moment, want 1", m.calls)
	}
	m.away = false
	at = at.Add(claimPause)
	post(h, path, "good", "B") // the first that redis hears of this id
	delete(m.first, "shop/d1")
	post(h, path, "good", "A")
	got := problems(t, s)
	for i, p := range got {
		if quarantined := strings.Contains(p, schemas.CauseQuarantined); quarantined != strings.HasPrefix(p, "B") {
			t.Errorf("delivery %d: got %q", i, p)
		}
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "tillstream_ingest_delivery_ids_unshared_total" {
			if n := f.GetMetric()[0].GetCounter().GetValue(); n != 51 {
				t.Errorf("got %v counted, want 51", n)
			}
			return
		}
	}
	t.Error("the outage is not counted")
}

// TestOnceIDOfACardNumber: the id is remembered with the masked body's hash, from which the number cannot be guessed,
// and the repetition is the same.
func TestOnceIDOfACardNumber(t *testing.T) {
	m := &ids{first: map[string][32]byte{}}
	s := &shelf{}
	h := handler(t, onceOptions(s, m))
	post(h, path, "good", cardNote)
	post(h, path, "good", cardNote)
	if len(s.keys) != 2 || s.keys[0] != s.keys[1] || strings.Contains(strings.Join(problems(t, s), ""), "another body") {
		t.Errorf("got %q", problems(t, s))
	}
	post(h, path, "good", strings.Replace(cardNote, "4111 1111 1111 1111", "5555 5555 5555 4444", 1))
	if p := problems(t, s); strings.Contains(p[2], "5555") || !strings.Contains(p[2], "another body") {
		t.Errorf("got %q, want it quarantined and masked", p[2])
	}
}

// TestOwnMemoryIsBounded: the newest ids are known, and no more than the bound are held.
func TestOwnMemoryIsBounded(t *testing.T) {
	c := newClaims(nil, clock.System(), func() {})
	d := func(i int, body string) connectors.Delivery {
		return connectors.Delivery{Connection: "shop", ID: fmt.Sprint(i), Body: []byte(body)}
	}
	const n = localIDsMax * 2
	for i := range n {
		if !c.same(t.Context(), d(i, "A")) {
			t.Fatalf("id %d was new", i)
		}
	}
	if held := len(c.local.young) + len(c.local.old); held > localIDsMax {
		t.Errorf("got %d held, want at most %d", held, localIDsMax)
	}
	for i := n - localIDsMax/2; i < n; i++ {
		if c.same(t.Context(), d(i, "B")) {
			t.Fatalf("id %d of %d was forgotten", i, n)
		}
	}
}

// TestContentHash: body and headers count, and no two contents can be told as one.
func TestContentHash(t *testing.T) {
	seen := map[[32]byte]int{}
	for i, d := range []connectors.Delivery{
		{Body: []byte("A")},
		{Body: []byte("B")},
		{Body: []byte("A"), Headers: map[string]string{"Ce-Type": "paid"}},
		{Body: []byte("A"), Headers: map[string]string{"Ce-Type": "refunded"}},
		{Body: []byte("A"), Headers: map[string]string{"Ce-Type": "paid", "Ce-Id": "1"}},
		{Body: []byte("A"), Headers: map[string]string{"Ce-Type": "paid\n5 Ce-Id 1 1"}},
	} {
		h := contentHash(d)
		if first, same := seen[h]; same || h != contentHash(d) {
			t.Errorf("contents %d and %d have one hash", first, i)
		}
		seen[h] = i
	}
}
