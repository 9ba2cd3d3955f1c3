package api

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil))
	b, _ := io.ReadAll(w.Body)
	return w.Code, string(b)
}

func TestReadinessTellsTheTruth(t *testing.T) {
	b := NewBoard(map[string]string{"version": "v1"})
	h := b.Handler(prometheus.NewRegistry())
	if code, _ := get(t, h, "/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("without parts: got %d, want 503", code)
	}
	trouble := errors.New("redis at localhost:6379 refuses connections")
	b.Add(Part{Name: "orders", Ready: func() error { return trouble }, Status: func() any { return map[string]int{"lag": 3} }})
	b.Add(Part{Name: "ingest"})
	code, body := get(t, h, "/readyz")
	if code != http.StatusServiceUnavailable || !strings.Contains(body, "refuses connections") {
		t.Errorf("with a stalled part: got %d %s", code, body)
	}
	if code, _ := get(t, h, "/healthz"); code != http.StatusOK {
		t.Errorf("health while a part is stalled: got %d, want 200", code)
	}
	trouble = nil
	if code, body := get(t, h, "/readyz"); code != http.StatusOK {
		t.Errorf("after the trouble: got %d %s", code, body)
	}
	if _, body := get(t, h, "/status"); !strings.Contains(body, `"lag": 3`) || !strings.Contains(body, `"version": "v1"`) {
		t.Errorf("status: got %s", body)
	}
}

func TestManagementStaysOnLoopback(t *testing.T) {
	for address, ok := range map[string]bool{"127.0.0.1:0": true, "localhost:0": true, "[::1]:0": true, ":0": false, "0.0.0.0:0": false, "nonsense": false} {
		l, err := Listen(address, false)
		if l != nil {
			l.Close()
		}
		if got := err == nil; got != ok && !(address == "[::1]:0" && !got) { // a machine may have no IPv6
			t.Errorf("%s: got error %v, want allowed %v", address, err, ok)
		}
	}
	l, err := Listen("0.0.0.0:0", true)
	if err != nil {
		t.Fatalf("allowed on purpose: %v", err)
	}
	l.Close()
}

func TestAPortInUseIsNamed(t *testing.T) {
	l, err := Listen("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Listen(l.Addr().String(), false)
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v, want an error that names %s", err, l.Addr())
	}
}
