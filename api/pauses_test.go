package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/schemas"
)

// pausing keeps what is said to it.
type pausing struct{ said []schemas.Pause }

func (p *pausing) Pauses(context.Context) ([]PauseView, error) { return []PauseView{}, nil }

func (p *pausing) Set(_ context.Context, one schemas.Pause) (PauseView, error) {
	if one.Name == "nobody" {
		return PauseView{}, connections.Refuse(connections.NotFound, "there is no such destination")
	}
	p.said = append(p.said, one)
	return PauseView{Subject: one.Subject, Name: one.Name, Paused: one.Paused, By: one.By}, nil
}

func TestPausesOverThePort(t *testing.T) {
	for name, tt := range map[string]struct {
		method, path, body string
		without            bool // the header that no web page can send
		code               int
		want               schemas.Pause
	}{
		"list":                 {"GET", "/api/v1/pauses", "", true, 200, schemas.Pause{}},
		"pause a destination":  {"POST", "/api/v1/destinations/crm/pause", `{"why":"moving","by":"ann"}`, false, 200, schemas.Pause{Subject: schemas.PauseDestination, Name: "crm", Paused: true, Why: "moving", By: "ann"}},
		"resume a destination": {"POST", "/api/v1/destinations/crm/resume", `{"by":"ann"}`, false, 200, schemas.Pause{Subject: schemas.PauseDestination, Name: "crm", By: "ann"}},
		"pause a connection":   {"POST", "/api/v1/connections/eu/pause", `{"why":"moving","by":"ann"}`, false, 200, schemas.Pause{Subject: schemas.PauseConnection, Name: "eu", Paused: true, Why: "moving", By: "ann"}},
		"resume a connection":  {"POST", "/api/v1/connections/eu/resume", `{"by":"ann"}`, false, 200, schemas.Pause{Subject: schemas.PauseConnection, Name: "eu", By: "ann"}},
		"from a web page":      {"POST", "/api/v1/destinations/crm/pause", `{"why":"moving","by":"ann"}`, true, 403, schemas.Pause{}},
		"nobody of the name":   {"POST", "/api/v1/destinations/nobody/pause", `{"why":"moving","by":"ann"}`, false, 404, schemas.Pause{}},
		"an unknown key":       {"POST", "/api/v1/destinations/crm/pause", `{"because":"moving"}`, false, 400, schemas.Pause{}},
		"an unknown parameter": {"GET", "/api/v1/pauses?of=crm", "", true, 400, schemas.Pause{}},
		"a key twice":          {"POST", "/api/v1/destinations/crm/pause", `{"by":"a","by":"b","why":"w"}`, false, 400, schemas.Pause{}},
	} {
		p := &pausing{}
		b := NewBoard(nil)
		b.SetPauses(p)
		r := httptest.NewRequest(tt.method, "http://localhost"+tt.path, strings.NewReader(tt.body))
		r.Header.Set("Content-Type", "application/json")
		if !tt.without {
			r.Header.Set(ActionHeader, "pause")
		}
		w := httptest.NewRecorder()
		b.Handler(prometheus.NewRegistry()).ServeHTTP(w, r)
		if w.Code != tt.code {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, tt.code)
		}
		switch {
		case tt.want == schemas.Pause{} && len(p.said) > 0:
			t.Errorf("%s: %+v was said, want nothing", name, p.said)
		case tt.want != schemas.Pause{} && (len(p.said) != 1 || p.said[0] != tt.want):
			t.Errorf("%s: %+v was said, want %+v", name, p.said, tt.want)
		}
	}
	w := httptest.NewRecorder()
	NewBoard(nil).Handler(prometheus.NewRegistry()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/api/v1/pauses", nil))
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "Kafka") {
		t.Errorf("before Kafka was reached: %d %s", w.Code, w.Body)
	}
}
