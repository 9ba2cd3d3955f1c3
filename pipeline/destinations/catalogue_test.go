package destinations

import (
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/sinks"
)

func TestACatalogueIsKeptForEveryProcess(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	defer client.Close()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := &Catalogues{Redis: client, Now: func() time.Time { return now }}
	twin := &crm{lists: []sinks.Entry{{ID: "1", Names: []string{"News"}}, {ID: "2", Names: []string{"Buyers"}}}}
	x := config.Destination{Name: "main", Sink: twin.sink(), Settings: &crmConfig{URL: "https://a.example"}}
	w := &crmWriter{crm: twin}
	if _, ok, err := c.Get(t.Context(), x, sinks.EntryList); ok || err != nil {
		t.Fatalf("before it was read: %v, %v", ok, err)
	}
	if list, err := c.Refresh(t.Context(), x, w, Kinds); err != nil || len(list) != 1 {
		t.Fatalf("refresh: %+v, %v, want the lists, the only kind that there is", list, err)
	}
	twin.lists = twin.lists[:1]
	now = now.Add(time.Hour)
	if _, err := c.Refresh(t.Context(), x, w, Kinds); err != nil {
		t.Fatal(err)
	}
	s, ok, err := (&Catalogues{Redis: client}).Get(t.Context(), x, sinks.EntryList)
	if err != nil || !ok || !s.At.Equal(now) || len(s.Entries) != 1 || len(s.Gone) != 1 || s.Gone[0].Names[0] != "Buyers" {
		t.Errorf("another process sees %+v (%v, %v), want the second look, and Buyers gone", s, ok, err)
	}
	moved := x
	moved.Settings = &crmConfig{URL: "https://other.example"}
	if _, ok, _ := c.Get(t.Context(), moved, sinks.EntryList); ok {
		t.Error("what another account had is told of this one")
	}
	if !c.claim(t.Context(), "main") || c.claim(t.Context(), "main") {
		t.Error("two processes refresh at a time")
	}
	server.Close()
	if _, _, err := c.Get(t.Context(), x, sinks.EntryList); err == nil || !strings.Contains(err.Error(), "redis") {
		t.Errorf("without Redis: %v, want an error that names it", err)
	}
}
