package app

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"

	shop "github.com/tillstream/tillstream/connectors/getresponse"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/schemas"
)

// A command takes its turns from the limit that all share where Redis answers, and keeps the rate by itself where not.
func TestACommandKeepsToTheAccountsLimit(t *testing.T) {
	c := config.Connection{Name: "orders", Connector: shop.Connector, Settings: &shop.Config{APIKey: schemas.NewSecret("one")}}
	cfg := &config.Config{Connections: []config.Connection{c}}
	redis := miniredis.RunT(t)
	cfg.Settings.Redis.Address = redis.Addr()
	turn := func(b *Beside) {
		t.Helper()
		got, err := b.Connection(c).Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got.Done(outbound.Feedback{Status: 200})
		b.Close()
	}
	b := NewBeside(func() (*config.Config, error) { return cfg, nil }, time.Now)
	turn(b)
	a := openAccounts(cfg, time.Now)
	defer a.close()
	list, err := a.book.Look(t.Context())
	if err != nil || len(list) != 1 || len(list[0].Windows) < 2 || list[0].Windows[1].Used != 1 {
		t.Errorf("got %+v, %v, want one turn of the account used", list, err)
	}
	if l := b.Connection(config.Connection{Name: "other", Settings: &struct{}{}}); l != nil {
		t.Errorf("a provider whose limits are not known: got %v, want none", l)
	}
	if err := a.reached(t.Context()); err != nil {
		t.Errorf("Redis answers, and %v", err)
	}
	redis.Close()
	if err := a.reached(t.Context()); err == nil {
		t.Error("nobody says that Redis is away")
	}
	for name, load := range map[string]func() (*config.Config, error){
		"Redis is away":            func() (*config.Config, error) { return cfg, nil },
		"no configuration is read": func() (*config.Config, error) { return nil, errors.New("bad") },
	} {
		b := NewBeside(load, time.Now)
		if _, own := b.Connection(c).(*pace); !own || b.Connection(c) != b.Connection(c) {
			t.Errorf("%s: got %T, want one pace of the account", name, b.Connection(c))
		}
		turn(b)
	}
}

func TestThePaceOfACommandAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBeside(nil, time.Now)
		if l := b.alone("a", outbound.Limits{}); l != nil {
			t.Errorf("an account without limits: got %v, want none", l)
		}
		l := b.alone("a", outbound.Limits{Windows: []outbound.Window{{Requests: 5, Per: time.Second}, {Requests: 6000, Per: time.Hour}}})
		begin := time.Now()
		for range 3 { // every 600 ms, for an hour's 6000
			turn, err := l.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := turn.Renew(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			turn.Done(outbound.Feedback{Status: 200})
		}
		if took := time.Since(begin); took != 1200*time.Millisecond {
			t.Errorf("three requests took %v, want 1.2s", took)
		}
		turn, err := l.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		turn.Done(outbound.Feedback{Status: 429, Hold: time.Minute})
		begin = time.Now()
		if err := turn.Renew(t.Context(), true); err != nil || time.Since(begin) != time.Minute {
			t.Errorf("after a silence of a minute was asked for, a repetition left after %v, %v", time.Since(begin), err)
		}
	})
}
