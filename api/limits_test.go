package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tillstream/tillstream/pipeline/limits"
)

// ledger answers what it was given.
type ledger struct {
	list []limits.View
	err  error
}

func (l *ledger) Look(context.Context) ([]limits.View, error) { return l.list, l.err }

func TestLimitsAreTold(t *testing.T) {
	b := NewBoard(nil)
	srv := httptest.NewServer(b.Handler(prometheus.NewRegistry()))
	defer srv.Close()
	get := func(path string) (int, string) {
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	if code, _ := get("/api/v1/limits"); code != http.StatusNotFound {
		t.Errorf("a process without accounts: got %d, want 404", code)
	}
	l := &ledger{list: []limits.View{{
		Account: "crm:one", Share: 0.8, Rate: 4, HoldUntil: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), HoldWhy: "status 429",
		Windows: []limits.WindowView{{Name: "5 per 1s", Requests: 5, PerSeconds: 1, Used: 4, Left: 1}},
		Uses:    []limits.UseView{{Use: "destination one", Waiting: 7}},
	}}}
	b.SetLimits(l)
	code, text := get("/api/v1/limits")
	var got LimitList
	if err := json.Unmarshal([]byte(text), &got); err != nil || code != http.StatusOK {
		t.Fatalf("got %d, %v, %s", code, err, text)
	}
	if diff := cmp.Diff(LimitList{l.list}, got); diff != "" {
		t.Error(diff)
	}
	if code, text = get("/api/v1/limits?account=x"); code != http.StatusBadRequest {
		t.Errorf("a parameter that is none: got %d, %s", code, text)
	}
	l.err = errors.New("dial tcp 10.0.0.1:6379: connection refused")
	if code, text = get("/api/v1/limits"); code != http.StatusInternalServerError || !strings.Contains(text, "redis does not say") {
		t.Errorf("without redis: got %d, %s", code, text)
	}
}
