package shopify

import (
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/schemas"
)

var received = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)

func delivery(topic, body string) connectors.Delivery {
	return connectors.Delivery{
		Connection: "shop", Environment: schemas.Sandbox, ID: topic + ":b54557e4-bdd9-4b37-8a5f-bf7d70bcd043", Body: []byte(body),
		Headers: map[string]string{headerTopic: topic, headerVersion: "2026-07"}, ReceivedAt: received, Origin: schemas.OriginWebhook,
	}
}

// golden is one file: its comment names the headers, its first part is the body.
func golden(t testing.TB, file string) connectors.Delivery {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var d connectors.Delivery
	for line := range strings.Lines(string(archive.Comment)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch name {
		case "topic":
			d = delivery(value, string(archive.Files[0].Data))
		case "triggered-at":
			d.Headers[headerTriggered] = value
		default:
			t.Fatalf("%s: unknown header %q", file, name)
		}
	}
	return d
}

// TestGolden: each sample gives the records beside it, or the error.
func TestGolden(t *testing.T) {
	connectorstest.Golden(t, 16, func(t *testing.T, file string) (any, error) {
		d := golden(t, file)
		events, err := Connector.Normalize(d)
		return connectorstest.WithoutBodies(t, events), err
	})
}
