package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/internal/e2e/parts"
)

const demoLimit = 150 * time.Second

// demoKeys are promised to whoever reads the last line of 'demo --json'.
var demoKeys = []string{
	"received", "published", "duplicates", "late", "transitions", "commands", "deliveries", "contacts",
	"rows", "dead_letters", "lost", "doubled", "seconds", "peak_rss_mb",
}

func TestDemoAgreesOnEmbeddedParts(t *testing.T) { demo(t) }

func TestDemoAgreesOnRealKafkaAndRedis(t *testing.T) {
	needClickHouse(t)
	k, r := parts.StartKafka(t), parts.StartRedis(t)
	demo(t, "--kafka", k.Address, "--redis", r.Address)
}

func demo(t *testing.T, args ...string) {
	t.Helper()
	library := needClickHouse(t)
	p := parts.Start(t, parts.Command{
		Name: "tillstream demo", Path: binary, Env: []string{library},
		Args: append([]string{"demo", "--orders", "150", "--exit", "--json"}, args...),
	})
	code, err := p.Wait(demoLimit)
	if err != nil {
		t.Fatal(err)
	}
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	lines := strings.Split(strings.TrimSpace(p.Stdout()), "\n")
	last := lines[len(lines)-1]
	t.Log(last)
	var got map[string]float64
	if err := json.Unmarshal([]byte(last), &got); err != nil {
		t.Fatalf("the last line is no JSON object of numbers: %v: %q", err, last)
	}
	for _, key := range demoKeys {
		if _, ok := got[key]; !ok {
			t.Errorf("%q is missing in %s", key, last)
		}
	}
	for _, key := range []string{"received", "duplicates", "transitions", "commands", "deliveries", "contacts", "rows", "dead_letters", "seconds", "peak_rss_mb"} {
		if got[key] <= 0 {
			t.Errorf("%s is %v: the story has some", key, got[key])
		}
	}
	if got["lost"] != 0 || got["doubled"] != 0 {
		t.Errorf("%v lost, %v doubled", got["lost"], got["doubled"])
	}
	// What is published beyond what was received came by polls: the shops that send no webhooks.
	if ends := got["applied"] + got["duplicates"] + got["ignored"] + got["dead_letters"]; got["published"] != ends || got["received"] > ends {
		t.Errorf("received %v, published %v, ends %v", got["received"], got["published"], ends)
	}
	if got["contacts"] != got["contacts_expected"] {
		t.Errorf("%v contacts, %v expected", got["contacts"], got["contacts_expected"])
	}
	if got["commands"] != got["deliveries"] {
		t.Errorf("%v commands, %v deliveries", got["commands"], got["deliveries"])
	}
}
