package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/simulators/story"
)

// oversizeBytes is above the limit of a webhook's body.
const oversizeBytes = 4 << 20

// oddBodies are signed by PayPal itself and yet no event that can be understood, by what is wrong with them.
func oddBodies() map[string]string {
	const event = `{"id":"%s","create_time":"2024-03-01T10:00:00Z","event_type":"PAYMENT.CAPTURE.COMPLETED","resource":%s}`
	capture := func(id, more string) string { return fmt.Sprintf(event, id, `{"id":"CAPTURE1",`+more+`}`) }
	return map[string]string{
		"WH-NOJSON":  "PAYMENT.CAPTURE.COMPLETED",
		"WH-DEEP":    capture("WH-DEEP", `"custom":`+strings.Repeat("[", 500)+strings.Repeat("]", 500)),
		"WH-TWICE":   capture("WH-TWICE", `"status":"COMPLETED","status":"DENIED"`),
		"WH-NOUTF8":  capture("WH-NOUTF8", "\"note\":\"\xff\xfe\""),
		"WH-NOMONEY": capture("WH-NOMONEY", `"amount":{"currency_code":"USD","value":"ten"}`),
		"WH-NODATE":  capture("WH-NODATE", `"update_time":"2024-02-30T00:00:00Z"`),
	}
}

// A genuine delivery is accepted whatever it holds: what is not understood becomes a dead letter and a row with its
// bytes, and the events after it go their way. What is not genuine is refused and leaves no trace.
func TestOddBodiesAreKeptAndForgedOnesRefused(t *testing.T) {
	w := newWorld(t)
	w.dev(t)
	w.awaitReady(t)
	for what, want := range map[string]int{"unsigned": http.StatusUnauthorized, "signed by a stranger": http.StatusUnauthorized, "oversized": http.StatusRequestEntityTooLarge} {
		if got := w.forge(t, what); got != want {
			t.Errorf("%s: got %d, want %d", what, got, want)
		}
	}
	var events []story.Event
	for id, body := range oddBodies() {
		events = append(events, story.Event{Account: "paypal-eu", ID: id, Type: "PAYMENT.CAPTURE.COMPLETED", Body: []byte(body), Time: time.Now().Add(-time.Hour)})
	}
	good := map[string]bool{}
	for _, e := range tell(23, 4) {
		if e.Bad == "" {
			good[e.ID] = true
			events = append(events, e)
		}
	}
	if err := w.emit(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	w.awaitAccepted(t)

	db := w.database(t)
	want := map[string]uint64{"dead letters": uint64(len(oddBodies())), "of another cause": 0, "without reason or remedy": 0, "good events applied": uint64(len(good)), "events": uint64(len(events))}
	for id := range oddBodies() {
		want["bytes of "+id] = 1
	}
	w.await(t, "every body has come to its end", func() error {
		got := map[string]uint64{
			"dead letters":             count(t, db, "SELECT count() FROM dead_letters FINAL"),
			"of another cause":         count(t, db, "SELECT count() FROM dead_letters FINAL WHERE cause != 'UNPARSEABLE'"),
			"without reason or remedy": count(t, db, "SELECT count() FROM dead_letters FINAL WHERE reason = '' OR remedy = ''"),
			"good events applied":      count(t, db, "SELECT uniqExact(event_id) FROM transitions FINAL"),
			"events":                   count(t, db, "SELECT count() FROM events FINAL"),
		}
		for id, body := range oddBodies() {
			got["bytes of "+id] = count(t, db, fmt.Sprintf("SELECT count() FROM events FINAL WHERE problem != '' AND hex(body) = '%X'", body))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
}

// forge sends what PayPal did not and returns the answer's code.
func (w *world) forge(t *testing.T, what string) int {
	t.Helper()
	body := []byte(`{"id":"WH-FORGED","event_type":"PAYMENT.CAPTURE.COMPLETED","create_time":"2024-03-01T10:00:00Z","resource":{"id":"C"}}`)
	if what == "oversized" {
		body = make([]byte, oversizeBytes)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.ingest+"/webhooks/paypal-eu", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if what == "signed by a stranger" {
		for name, value := range map[string]string{
			"Transmission-Id": "0e1c9cd0-d7b4-11ee-8000-000000000000", "Transmission-Time": time.Now().UTC().Format(time.RFC3339),
			"Transmission-Sig": "bm90IGEgc2lnbmF0dXJl", "Cert-Url": "https://stranger.example/v1/notifications/certs/CERT-1", "Auth-Algo": "SHA256withRSA",
		} {
			req.Header.Set("Paypal-"+name, value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}
