package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/generic"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/pipeline/intake"
	"github.com/tillstream/tillstream/schemas"
)

// TestPublishingThatIsCutShort says of each record whether it is kept, may be, or was not sent.
func TestPublishingThatIsCutShort(t *testing.T) {
	var lines strings.Builder
	for _, id := range []string{"1", "2", "3"} {
		lines.WriteString(`{"order_id":"` + id + `","status":"paid","occurred_at":"2026-11-02T10:00:00Z"}` + "\n")
	}
	items, err := intake.ReadJSON(strings.NewReader(lines.String()), bodyHeaders)
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	b := &bringer{Process: Process{Stdout: &stdout, Stderr: &stderr}, o: intake.Options{
		Connector: generic.Connector, Connection: "shop", Environment: schemas.Live, Now: time.Now, Parallel: 1, Patience: time.Millisecond,
		Keep: func(_ context.Context, c connectors.Connector, d connectors.Delivery) ([]schemas.OrderEvent, error) {
			if strings.Contains(string(d.Body), `"order_id":"2"`) {
				return nil, ingest.ErrUnknownResult
			}
			return c.Normalize(d)
		},
	}}
	err = b.send(t.Context(), items, 3)
	if !errors.Is(err, ingest.ErrUnknownResult) || !strings.HasPrefix(err.Error(), "1 of 3 records are kept, 1 may be; publish the same again") {
		t.Errorf("got %v", err)
	}
	if stdout.String() != "line 1: order 1 PAID kept\n" || !strings.HasPrefix(stderr.String(), "line 2: no answer in time, it may be kept: ") {
		t.Errorf("got\n%s\n%s", &stdout, &stderr)
	}
}

// TestPublishingTellsPrograms: with --json each event is an object on a line of its own.
func TestPublishingTellsPrograms(t *testing.T) {
	var stdout bytes.Buffer
	b := &bringer{Process: Process{Stdout: &stdout}, json: true}
	event := schemas.OrderEvent{Kind: schemas.KindOrder, RootID: "1", EventID: "e1", Status: schemas.StatusUnknown, ProviderStatus: "odd"}
	if err := b.printed(intake.Result{Item: intake.Item{Line: 7}, Events: []schemas.OrderEvent{event, event}}, "kept"); err != nil {
		t.Fatal(err)
	}
	const want = `{"line":7,"kind":"ORDER","order":"1","event":"e1","status":"UNKNOWN","provider_status":"odd","outcome":"kept"}` + "\n"
	if stdout.String() != want+want {
		t.Errorf("got\n%s", &stdout)
	}
}

// TestBodiesThatAreCloudEvents are told by what they are, not by what they mention.
func TestBodiesThatAreCloudEvents(t *testing.T) {
	for body, want := range map[string]string{
		`{"specversion":"1.0","id":"1"}`:          "application/cloudevents+json",
		`{"data":{"specversion":"1.0"}}`:          "",
		`{"note":"\"specversion\""}`:              "",
		`{"specversion":null}`:                    "",
		`{"specversion":"1.0","specversion":"1"}`: "",
		`["specversion"]`:                         "",
	} {
		if got := bodyHeaders([]byte(body))["Content-Type"]; got != want {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
}
