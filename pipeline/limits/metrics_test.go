package limits

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/outbound"
)

func TestMetricsSayWhatIsLeft(t *testing.T) {
	m := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: m.Addr(), MaxRetries: -1})
	defer client.Close()
	b := New(Options{Redis: client, Instance: "one", Now: time.Now})
	defer b.Close()
	u := b.Use("crm", "destination one", outbound.Limits{Windows: []outbound.Window{{Requests: 5, Per: time.Hour}}, Parallel: 2})
	turn, err := u.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(b)
	gather := func() map[string]float64 {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]float64{}
		for _, f := range families {
			v := f.GetMetric()[0]
			out[f.GetName()] = v.GetGauge().GetValue() + v.GetCounter().GetValue()
		}
		return out
	}
	got := gather()
	for name, want := range map[string]float64{
		"requests": 5, "used": 1, "left": 4, "parallel": 1, "parallel_max": 2, "hold_seconds": 0, "share": 1, "waiting": 0, "turns_total": 1, "unknown": 0,
	} {
		if v, ok := got["tillstream_limit_"+name]; !ok || v != want {
			t.Errorf("%s: got %v (%t), want %v", name, v, ok, want)
		}
	}
	turn.Done(outbound.Feedback{Status: 429, Hold: time.Minute})
	if got = gather(); got["tillstream_limit_hold_seconds"] < 50 || got["tillstream_limit_refused_total"] != 1 || got["tillstream_limit_parallel"] != 0 {
		t.Errorf("after a refusal: %v", got)
	}
	m.SetError("LOADING")
	if got = gather(); got["tillstream_limit_unknown"] != 1 || got["tillstream_limit_turns_total"] != 1 {
		t.Errorf("without redis: %v, want the process's own, and that the rest is unknown", got)
	}
}
