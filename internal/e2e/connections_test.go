package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tillstream/tillstream/connectors/paypal"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/simulators/story"
)

// inFolder runs a command about the world's configuration, with the variables that it names.
func (w *world) inFolder(t *testing.T, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), binary, append(args, "--config", w.config)...)
	c.Env, c.Dir = append(os.Environ(), w.variables()...), w.dir
	out, err := c.Output()
	var exited *exec.ExitError
	if errors.As(err, &exited) {
		t.Fatalf("tillstream %s: %v: %s%s", strings.Join(args, " "), err, out, exited.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func (w *world) connection(t *testing.T, name string) (v connections.View) {
	t.Helper()
	if err := json.Unmarshal([]byte(w.inFolder(t, "connections", "show", name, "--json")), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (w *world) accepted(t *testing.T, name string) int {
	t.Helper()
	return int(w.metric(t, "tillstream_ingest_answered_total", `connection="`+name+`"`, `outcome="accepted"`))
}

// delivers has PayPal send events of an account and wants those of the resources that are named to be accepted, and no
// other. A story has events of no resource, too.
func (w *world) delivers(t *testing.T, name string, events []story.Event, resources ...string) {
	t.Helper()
	want := w.accepted(t, name)
	var types []string
	for _, e := range events {
		types = append(types, e.Type)
		if slices.Contains(resources, resourceOf(e.Type)) {
			want++
		}
	}
	if err := w.emit(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	w.awaitAccepted(t)
	if got := w.accepted(t, name); got != want {
		t.Errorf("%s: %d events were accepted in all, want %d; sent were %v", name, got, want, types)
	}
}

const (
	checkouts = "checkout-order-approved"
	billing   = "billing-subscription"
)

// resourceOf is the resource that an event type belongs to, as PayPal's connector tells users.
func resourceOf(typ string) string {
	for _, r := range paypal.Connector.Resources {
		for _, pattern := range r.EventTypes {
			if prefix, open := strings.CutSuffix(pattern, "*"); typ == pattern || open && strings.HasPrefix(typ, prefix) {
				return r.ID
			}
		}
	}
	return ""
}

// TestAnAccountIsConnectedChangedAndDisconnectedWhileRunning leads one PayPal account through its life with the commands
// that a user has, beside another account that must not notice.
func TestAnAccountIsConnectedChangedAndDisconnectedWhileRunning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	others, err := filepath.Glob(filepath.Join(w.config, "connections/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range others {
		switch filepath.Base(file) {
		case "paypal-eu.yaml":
		case "paypal-us.yaml":
			err = os.Remove(file)
		default: // shops, which mappings may name
			err = os.Rename(file, file+config.DisconnectedSuffix)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	of := map[string][]story.Event{}
	for _, e := range tell(11, 60) {
		of[e.Account] = append(of[e.Account], e)
	}
	slice := func(account string, part int) []story.Event {
		all := of[account]
		return all[len(all)*part/5 : len(all)*(part+1)/5]
	}
	for _, r := range []string{checkouts, billing} {
		if !slices.ContainsFunc(slice("paypal-us", 1), func(e story.Event) bool { return resourceOf(e.Type) == r }) {
			t.Fatalf("the story has no event of %s where one is needed", r)
		}
	}
	w.dev(t)
	w.awaitReady(t)

	said := w.inFolder(t, "connect", "paypal", "--name", "paypal-us", "--environment", "sandbox", "--set", "client_id=paypal-us-client",
		"--secret", "client_secret=env:E2E_PAYPAL_SECRET", "--set", "base_url="+w.paypalURL, "--set", "trust_file="+filepath.Join(w.dir, "simulator-ca.pem"),
		"--set", "certificate_hosts=["+strings.TrimPrefix(w.paypalURL, "https://")+"]", "--allow-private-address", "--tls-roots", filepath.Join(w.dir, "simulator-ca.pem"))
	if !strings.Contains(said, "the running process has taken it over") || !strings.Contains(said, "room for 10, 1 in use") {
		t.Errorf("connect says %q", said)
	}
	w.delivers(t, "paypal-us", slice("paypal-us", 0), checkouts, billing)
	w.delivers(t, "paypal-eu", slice("paypal-eu", 0), checkouts, billing)

	w.inFolder(t, "connections", "remove-resource", "paypal-us", "billing-subscription")
	w.delivers(t, "paypal-us", slice("paypal-us", 1), checkouts)
	hook := w.connection(t, "paypal-us").Webhook

	// A restart finds the same webhook and registers no other.
	w.stop(t, "it is to find its webhooks again")
	w.dev(t)
	w.awaitReady(t)
	if again := w.connection(t, "paypal-us").Webhook; again.ID != hook.ID || again.Used != 1 {
		t.Errorf("after a restart: webhook %+v, before %+v", again, hook)
	}

	contacts, err := w.contacts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	said = w.inFolder(t, "disconnect", "paypal-us")
	if !strings.Contains(said, "the running process has dropped it") || !strings.Contains(said, "webhook is removed at the provider") {
		t.Errorf("disconnect says %q", said)
	}
	resp, err := http.Post(hook.Address, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("a webhook after the account was disconnected: %s, want 404", resp.Status)
	}
	w.delivers(t, "paypal-us", slice("paypal-us", 2))
	w.delivers(t, "paypal-eu", slice("paypal-eu", 1), checkouts, billing)

	said = w.inFolder(t, "connect", "--reconnect", "paypal-us")
	if !strings.Contains(said, "the running process has taken it over") {
		t.Errorf("reconnect says %q", said)
	}
	w.delivers(t, "paypal-us", slice("paypal-us", 3), checkouts)
	w.inFolder(t, "connections", "add-resource", "paypal-us", "billing-subscription")
	w.delivers(t, "paypal-us", slice("paypal-us", 4), checkouts, billing)
	if n, err := w.contacts(t.Context()); err != nil || n < contacts {
		t.Errorf("%d contacts in the CRM, there were %d before the account was disconnected: %v", n, contacts, err)
	}
	for _, name := range []string{"paypal-eu", "paypal-us"} {
		if v := w.connection(t, name); v.State != connections.StateRunning || len(v.Alarms) > 0 || v.LastEventAt.IsZero() || v.Webhook.Used != 1 {
			t.Errorf("in the end: %s", fmt.Sprintf("%+v", v))
		}
	}
}
