package cli_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/internal/cli"
	"github.com/tillstream/tillstream/schemas"
)

// TestGeneratePutsDeliveriesOnKafka as a receiver does: of each order in the order of their receipt, some of them twice, and
// none among those of a live account.
func TestGeneratePutsDeliveriesOnKafka(t *testing.T) {
	s := newShelf(t)
	const account = "connector: paypal\nenvironment: %\nresources: [checkout-order-approved, billing-subscription]\nsettings: {client_id: id, client_secret: \"${env:SECRET}\"}\n"
	s.write("config/connections/real.yaml", strings.Replace(account, "%", "live", 1))
	args := []string{"generate", "--kafka", "--events", "300", "--days", "30", "--seed", "7", "--until", "2026-11-01"}
	if code, _, stderr := s.run("", args...); code != cli.ExitUsage || !strings.Contains(stderr, "no PayPal connection of the environment sandbox") {
		t.Fatalf("with a live account alone: got %d %s", code, stderr)
	}
	s.write("config/connections/play.yaml", strings.Replace(account, "%", "sandbox", 1))
	code, stdout, stderr := s.run("", args...)
	if code != cli.ExitOK || !strings.Contains(stdout, "deliveries are on Kafka, from 2026-10-02 to 2026-11-01") {
		t.Fatalf("got %d %s%s", code, stdout, stderr)
	}
	events := s.eventsOn(schemas.TopicPayPalEvents)
	last, sent := map[string]time.Time{}, map[string]int{}
	twice, bad := 0, 0
	for _, e := range events {
		if e.Environment != schemas.Sandbox || e.Connection != "play" || len(e.Body) == 0 {
			t.Fatalf("got %s of %s/%s, %d bytes; want events of sandbox/play with their bodies", e.EventID, e.Environment, e.Connection, len(e.Body))
		}
		if e.Problem != "" { // now and then a body that a provider should not have sent
			bad++
		}
		if e.ReceivedAt.Before(last[e.Key()]) {
			t.Errorf("%s of %s came before the one ahead of it", e.EventID, e.Key())
		}
		last[e.Key()] = e.ReceivedAt
		if sent[e.EventID]++; sent[e.EventID] == 2 {
			twice++
		}
	}
	if !strings.HasPrefix(stdout, strconv.Itoa(len(events))+" deliveries") || len(sent) < 200 || twice == 0 || bad*20 > len(events) {
		t.Errorf("got %d records of %d events, %d of them sent twice, %d that are not understood, and %q; want about 300 events, as many records as it says, and nearly all of them understood", len(events), len(sent), twice, bad, stdout)
	}
}

func TestGenerateNamesWhatItIsAskedWrongly(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "say where to"},
		{[]string{"--kafka", "--clickhouse-tables"}, "say where to"},
		{[]string{"--clickhouse-tables", "--events", "0"}, "--events 0"},
		{[]string{"--clickhouse-tables", "--days", "4000"}, "--days 4000"},
		{[]string{"--clickhouse-tables", "--until", "soon"}, `--until "soon"`},
		{[]string{"--kafka"}, "--kafka needs --config"},
	} {
		code, _, stderr := tillstream(t, append([]string{"generate"}, c.args...)...)
		if code != cli.ExitUsage || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: got %d %q, want %q", c.args, code, stderr, c.want)
		}
	}
}
