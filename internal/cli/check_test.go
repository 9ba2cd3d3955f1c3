package cli_test

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"

	connectorsall "github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/internal/cli"
	acsim "github.com/tillstream/tillstream/simulators/activecampaign"
	grsim "github.com/tillstream/tillstream/simulators/getresponse"
	sinksall "github.com/tillstream/tillstream/sinks/all"
)

const crmKey = "k3y-of-the-crm-0123456789"

// desk is a configuration with two CRMs, whose twins run.
type desk struct {
	t   *testing.T
	dir string
	crm *httptest.Server
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	gr, err := grsim.New(grsim.Options{APIKey: crmKey})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, dir: filepath.Join(t.TempDir(), "config"), crm: httptest.NewServer(acsim.New(acsim.Options{Key: crmKey}).Handler())}
	// Its plan has no newsletters, so that its messages cannot be listed.
	gr.Break(grsim.Failure{Path: "/newsletters", Status: http.StatusForbidden, Code: 1023, Count: 1000})
	second := httptest.NewServer(gr.Handler())
	t.Cleanup(d.crm.Close)
	t.Cleanup(second.Close)
	d.write("tillstream.yaml", "kafka: {brokers: [\"127.0.0.1:1\"]}\nregistry: {url: \"http://127.0.0.1:1\"}\nredis: {address: \"127.0.0.1:1\"}\n")
	d.write("connections/paypal-eu.yaml", "connector: paypal\nenvironment: sandbox\nsettings: {client_id: x, client_secret: \"${env:SECRET}\"}\n")
	d.write("destinations/crm.yaml", "sink: activecampaign\nallow_private_address: true\nsettings: {url: \""+d.crm.URL+"\", key: \"${env:SECRET}\"}\n")
	d.write("destinations/second.yaml", "sink: getresponse\nallow_private_address: true\nsettings: {url: \""+second.URL+"/v3\", key: \"${env:SECRET}\", list: C}\n")
	d.write("mappings/orders.yaml", "resource: checkout-order-approved\ndestination: crm\nfields:\n  - {to: ORDER_ID, from: order.id}\n  - {to: ORDER_AMOUNT, from: order.amount, as: money}\n  - {to: ORDER_DATE, from: event.time}\n")
	return d
}

func (d *desk) write(name, text string) {
	d.t.Helper()
	path := filepath.Join(d.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) run(args ...string) (code int, stdout, stderr string) {
	d.t.Helper()
	var out, err bytes.Buffer
	code = cli.Main(d.t.Context(), cli.Process{
		Args: append(args, "--config", d.dir), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &err, Now: time.Now,
		Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks(),
		Getenv: func(name string) (string, bool) { return crmKey, name == "SECRET" },
	})
	if strings.Contains(out.String()+err.String(), crmKey) {
		d.t.Errorf("%v prints a key", args)
	}
	return code, out.String(), err.String()
}

func TestCheckFindsWhatTheCRMDoesNotHave(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		code       int
		want       []string // in stdout, in this order
	}{
		"all is there": {"", "", cli.ExitOK, []string{"is good: version "}},
		"a field that was deleted, or never made": {
			"mappings/a.yaml", "destination: crm\nfields:\n  - {to: ORDER_IDS, from: order.id}\n", cli.ExitFindings,
			[]string{`error: mappings/a.yaml:3: fields.0.to: ActiveCampaign at crm has no field "ORDER_IDS"; did you mean ORDER_ID`},
		},
		"a phone in a field for numbers": {
			"mappings/a.yaml", "destination: crm\nfields:\n  - {to: ORDER_AMOUNT, from: payer.phone, as: phone}\n", cli.ExitFindings,
			[]string{`error: mappings/a.yaml:3: fields.0.to: field ORDER_AMOUNT at crm takes number, and is filled with phone;`},
		},
		"a text in a field for dates": {
			"mappings/a.yaml", "destination: crm\nfields:\n  - {to: NEXT_BILLING, from: order.id}\n", cli.ExitFindings,
			[]string{`warning: mappings/a.yaml:3: fields.0.to: field NEXT_BILLING at crm takes date, and is filled with text: a text that is none is refused; give as, for example as: date`},
		},
		"a constant that a drop-down does not offer": {
			"mappings/a.yaml", "destination: crm\nfields:\n  - {to: Interests, default: Coffee machines}\n", cli.ExitFindings,
			[]string{`error: mappings/a.yaml:3: fields.0.to: field INTERESTS at crm does not offer "Coffee machines"; it offers `},
		},
		"what the provider does not type fits anywhere": {
			"mappings/a.yaml", "destination: crm\nfields:\n  - {to: NEXT_BILLING, from: subscription.next_billing_time}\n", cli.ExitOK, []string{"is good"},
		},
		"a list that is gone": {
			"workflows/a.yaml", "destination: second\nstart: [{on: order-placed}]\nsteps:\n  - on_list: Old customers\n    then: [{copy_to_list: Also gone}]\n", cli.ExitFindings,
			[]string{
				`error: workflows/a.yaml:4: steps.0.on_list: GetResponse at second has no list "Old customers"; correct the name, or make the list in GetResponse`,
				`error: workflows/a.yaml:5: steps.0.then.0.copy_to_list: GetResponse at second has no list "Also gone"`,
			},
		},
		"what can't be listed is said once": {
			"workflows/a.yaml", "destination: second\nstart: [{on: order-placed}]\nsteps:\n  - send_message: Hello\n  - send_message: Hello again\n", cli.ExitOK,
			[]string{"not checked: the messages that are named at destination second: GET /newsletters answered 403: "},
		},
		"in meaning": {
			"workflows/a.yaml", "destination: second\nstart: [{on: order-placed}]\nsteps:\n  - wait_for: {on: payment-status-changed, status: [PAID], not_met_after: never}\n    met: [{add_tags: [paid]}]\n  - move_to_workflow: a\n", cli.ExitFindings,
			[]string{"workflows/a.yaml:6: steps.1.move_to_workflow"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			if c.file != "" {
				d.write(c.file, c.text)
			}
			code, stdout, stderr := d.run("check")
			if code != c.code {
				t.Fatalf("exit code %d, want %d\n%s%s", code, c.code, stdout, stderr)
			}
			rest := stdout
			for _, want := range c.want {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Fatalf("printed:\n%s\nwant it to hold, in this order:\n%s", stdout, strings.Join(c.want, "\n"))
				}
				rest = after
			}
		})
	}
}

func TestCheckOfWhatCanNotBeAsked(t *testing.T) {
	d := newDesk(t)
	d.write("mappings/orders.yaml", "destination: crm\nfields:\n  - {to: NOWHERE, from: order.id}\n  - {to: NEITHER, from: order.status}\n")
	d.write("tillstream.yaml", "kafka: {brokers: [\"127.0.0.1:1\"]}\nregistry: {url: \"http://127.0.0.1:1\"}\nredis: {address: \"127.0.0.1:1\"}\nclickhouse: {address: \""+closedPort(t)+"\"}\n")
	d.write("workflows/a.yaml", "destination: second\nstart: [{on: order-placed}]\nsteps: [{add_tags: [new]}]\n")
	if code, stdout, stderr := d.run("check", "--offline"); code != cli.ExitOK || strings.Contains(stdout, "not checked") {
		t.Errorf("offline: exit code %d\n%s%s", code, stdout, stderr)
	}
	d.crm.Close()
	code, stdout, stderr := d.run("check")
	if code != cli.ExitOK || strings.Count(stdout, "not checked: what is named at destination crm: it does not answer: ") != 1 || strings.Count(stdout, "not checked: which statuses came so far: ") != 1 {
		t.Errorf("unreachable: exit code %d\n%s%s", code, stdout, stderr)
	}
}

// Where a CRM does not answer, what a process or command kept of it is compared with, and it is said how old that is. What
// is asked goes through the account's limit in Redis.
func TestCheckComparesWithWhatWasKept(t *testing.T) {
	d, r := newDesk(t), miniredis.RunT(t)
	d.write("tillstream.yaml", "kafka: {brokers: [\"127.0.0.1:1\"]}\nregistry: {url: \"http://127.0.0.1:1\"}\nredis: {address: \""+r.Addr()+"\"}\n")
	d.write("mappings/orders.yaml", "destination: crm\nfields:\n  - {to: ORDER_ID, from: order.id}\n")
	if code, stdout, stderr := d.run("check"); code != cli.ExitOK || len(r.Keys()) == 0 {
		t.Fatalf("exit code %d, keys in Redis: %v\n%s%s", code, r.Keys(), stdout, stderr)
	}
	if code, stdout, stderr := d.run("catalogue", "crm", "--kind", "field", "--refresh", "--search", "order_id"); code != cli.ExitOK || !strings.Contains(stdout, "ORDER_ID") {
		t.Fatalf("catalogue: exit code %d\n%s%s", code, stdout, stderr)
	}
	d.crm.Close()
	d.write("mappings/orders.yaml", "destination: crm\nfields:\n  - {to: ORDER_ID, from: order.id}\n  - {to: NOWHERE, from: order.status}\n")
	d.write("workflows/a.yaml", "destination: crm\nstart: [{on: order-placed}]\nsteps: [{start_automation: Welcome}]\n")
	code, stdout, stderr := d.run("check")
	for _, want := range []string{
		`mappings/orders.yaml:4: fields.1.to: ActiveCampaign at crm has no field "NOWHERE"`,
		"not checked: destination crm as it is now: ", " was used\n",
		"not checked: the automations that are named at destination crm: nothing is kept of them",
	} {
		if code != cli.ExitFindings || strings.Count(stdout, want) != 1 {
			t.Errorf("exit code %d, want %d, and once %q in\n%s%s", code, cli.ExitFindings, want, stdout, stderr)
		}
	}
	// Redis, too, is away.
	r.Close()
	if code, stdout, stderr := d.run("check"); code != cli.ExitOK || !strings.Contains(stdout, "not checked: what is named at destination crm: ") {
		t.Errorf("nothing is kept: exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, args := range [][]string{{"catalogue", "crm"}, {"verify", "crm"}} {
		if code, stdout, stderr := d.run(args...); code != cli.ExitFailed || !strings.Contains(stderr, "redis") {
			t.Errorf("%v without Redis: exit code %d\n%s%s", args, code, stdout, stderr)
		}
	}
}

func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestCheckAsJSON(t *testing.T) {
	d := newDesk(t)
	d.write("mappings/a.yaml", "destination: crm\nfields:\n  - {to: NOWHERE, from: order.id}\n")
	code, stdout, _ := d.run("check", "--json")
	var got map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != cli.ExitFindings {
		t.Fatalf("exit code %d, %v: %s", code, err, stdout)
	}
	want := []any{map[string]any{
		"file": "mappings/a.yaml", "line": 3.0, "field": "fields.0.to", "severity": "error", "rule": "missing-field",
		"message": `ActiveCampaign at crm has no field "NOWHERE"`, "hint": "correct the name, or make the field in ActiveCampaign",
	}}
	if diff := cmp.Diff(want, got["findings"]); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	d.write("mappings/a.yaml", "destination: nowhere\n")
	code, stdout, _ = d.run("check", "--json")
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != cli.ExitRefused || len(got["refused"].([]any)) != 1 {
		t.Errorf("refused: exit code %d, %v: %s", code, err, stdout)
	}
}

// A configuration that would not be run is refused with the places of all problems.
func TestCheckRefuses(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"a time zone that does not exist": {
			"workflows/a.yaml", "destination: second\nzone: Europe/Berlim\nstart: [{on: order-placed}]\nsteps: [{wait_until: {at: \"09:00\"}}]\n",
			"workflows/a.yaml:2: zone: ",
		},
		"a time zone of a date": {
			"mappings/a.yaml", "destination: crm\nfields:\n  - {to: ORDER_DATE, from: event.time, as: date Europe/Berlim}\n", "mappings/a.yaml:3: fields.0.as: ",
		},
		"a source that does not exist": {
			"mappings/a.yaml", "destination: crm\nfields:\n  - {to: ORDER_DATE, from: event.tim}\n", "mappings/a.yaml:3: fields.0.from: \"event.tim\" is no known source; did you mean event.time?",
		},
		"a key of no meaning": {"stages.yaml", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			if c.want == "" {
				d.write("tillstream.yaml", "stages: {custom_id: buyer}\nkafka: {brokers: [a]}\nregistry: {url: http://a}\nredis: {address: a}\n")
				c.want = `tillstream.yaml:1: stages.custom_id: "buyer" is not allowed`
			} else {
				d.write(c.file, c.text)
			}
			code, stdout, stderr := d.run("check")
			if code != cli.ExitRefused || stdout != "" || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d, want %d\n%s%s\nwant %q", code, cli.ExitRefused, stdout, stderr, c.want)
			}
		})
	}
}
