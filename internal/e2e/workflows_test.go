package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/internal/audit"
	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/simulators/story"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// order makes up the events of one order, whose times lie in the recent past: approved, refused, paid.
func order(n int, customer string) (approved, refused, paid story.Event) {
	return orderAt(n, customer, time.Now().Add(-time.Minute))
}

// orderAt makes up an order that began at a time and was paid two seconds later.
func orderAt(n int, customer string, at time.Time) (approved, refused, paid story.Event) {
	id := fmt.Sprintf("5O19012%010d", n)
	make := func(k int, typ, kind, resource string) story.Event {
		e := story.Event{Account: "paypal-eu", ID: fmt.Sprintf("WH-W%d-%d", n, k), Type: typ, Time: at.UTC().Truncate(time.Second).Add(time.Duration(k) * time.Second), Root: id}
		stamp := e.Time.Format("2006-01-02T15:04:05Z")
		e.Body = fmt.Appendf(nil, `{"id":%q,"event_version":"1.0","create_time":%q,"resource_type":%q,"resource_version":"2.0","event_type":%q,"summary":"made up","resource":%s}`,
			e.ID, stamp, kind, typ, strings.ReplaceAll(resource, "STAMP", stamp))
		return e
	}
	capture := func(k int, typ, status string) story.Event {
		return make(k, typ, "capture", fmt.Sprintf(`{"id":"3C%d%010d","status":%q,"amount":{"currency_code":"EUR","value":"120.00"},"final_capture":true,"create_time":"STAMP","update_time":"STAMP",
			"supplementary_data":{"related_ids":{"order_id":%q}}}`, k, n, status, id))
	}
	approved = make(1, "CHECKOUT.ORDER.APPROVED", "checkout-order", fmt.Sprintf(`{"id":%q,"intent":"CAPTURE","status":"APPROVED","create_time":"STAMP","update_time":"STAMP",
		"payer":{"name":{"given_name":"Max","surname":"Muster"},"email_address":%q,"payer_id":"PAYER%08d"},
		"purchase_units":[{"reference_id":"default","amount":{"currency_code":"EUR","value":"120.00"}}]}`, id, customer, n))
	return approved, capture(2, "PAYMENT.CAPTURE.DENIED", "DECLINED"), capture(3, "PAYMENT.CAPTURE.COMPLETED", "COMPLETED")
}

// mendWithin changes how long a failed payment may be mended, by the template's workflow.
func (w *world) mendWithin(t *testing.T, from, to string) {
	t.Helper()
	w.edit(t, "workflows/payment-failed.yaml", "not_met_after: "+from, "not_met_after: "+to)
}

// edit replaces a text in a file of the configuration.
func (w *world) edit(t *testing.T, file, from, to string) {
	t.Helper()
	path := filepath.Join(w.config, file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		t.Fatalf("%s holds no %q", file, from)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), from, to)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// says asks the program with ClickHouse's address, by its exit code and what it says.
func (w *world) says(t *testing.T, args ...string) (int, string) {
	t.Helper()
	code, out, errs := command(t, append(args, "--clickhouse", w.clickhouse)...)
	return code, out + errs
}

// waits lists those of one order.
func (w *world) waits(t *testing.T, order string) ([]chsink.Wait, error) {
	code, out, errs := command(t, "waits", "--order", order, "--state", "all", "--json", "--clickhouse", w.clickhouse)
	if code != 0 {
		return nil, fmt.Errorf("code %d: %s", code, errs)
	}
	var page chsink.WaitPage
	err := json.Unmarshal([]byte(out), &page)
	return page.Waits, err
}

// awaitWait waits until the order has one wait in this state.
func (w *world) awaitWait(t *testing.T, order string, state chsink.WaitState) (found chsink.Wait) {
	t.Helper()
	w.await(t, fmt.Sprintf("order %s has a wait that is %s", order, state), func() error {
		list, err := w.waits(t, order)
		if err != nil {
			return err
		}
		if len(list) != 1 || list[0].State != state {
			return fmt.Errorf("waits: %+v", list)
		}
		found = list[0]
		return nil
	})
	return found
}

// messages counts what the CRM sent to the customer, by name.
func (w *world) messages(t *testing.T, email string) map[string]int {
	t.Helper()
	var rows []struct{ Email, Automation string }
	if err := audit.GetJSON(t.Context(), http.DefaultClient, w.crmURL+"/_simulator/messages", &rows); err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, r := range rows {
		if strings.EqualFold(r.Email, email) {
			out[r.Automation]++
		}
	}
	return out
}

// awaitMessages waits until the customer got just these.
func (w *world) awaitMessages(t *testing.T, email string, want map[string]int) {
	t.Helper()
	w.await(t, fmt.Sprintf("%s got %v", email, want), func() error {
		if got := w.messages(t, email); fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("messages: %v", got)
		}
		return nil
	})
}

// awaitContact waits until the CRM holds the contact as it should be.
func (w *world) awaitContact(t *testing.T, email, what string, good func(audit.CRMContact) bool) {
	t.Helper()
	w.await(t, email+" "+what, func() error {
		out, err := audit.ReadOutside(t.Context(), w.client, w.paypalURL, w.crmURL)
		if err != nil {
			return err
		}
		for _, c := range out.Contacts {
			if c.Email == email {
				if good(c) {
					return nil
				}
				return fmt.Errorf("the CRM has %+v", c)
			}
		}
		return errors.New("the CRM does not have him")
	})
}

func (w *world) send(t *testing.T, events ...story.Event) {
	t.Helper()
	if err := w.emit(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	w.awaitAccepted(t)
}

func TestWaitsOutliveAKillOnEmbeddedParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	outlive(t, w, w.dev)
}

func TestWaitsOutliveAKillOnRealKafkaAndRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, r := parts.StartKafka(t), parts.StartRedis(t)
	w.kafka, w.redis = k.Address, r.Address
	w.serve(t, "registry")
	w.serve(t, "clickhouse")
	outlive(t, w, w.run)
}

// outlive opens waits, kills the program, and wants each to end once: one met by a payment after the restart, one not met
// by its time, one by a person's word. A changed workflow leaves them as they began.
func outlive(t *testing.T, w *world, start func(*testing.T)) {
	t.Helper()
	const mended, closed, late = "mended@example.com", "closed@example.com", "late@example.com"
	w.mendWithin(t, "4s", "10m")
	start(t)
	w.awaitReady(t)
	a1, r1, p1 := order(1, mended)
	a2, r2, _ := order(2, closed)
	w.send(t, a1, a2)
	w.send(t, r1, r2) // what is sent at once may come in any order
	w.awaitWait(t, a1.Root, chsink.WaitOpen)
	w.awaitWait(t, a2.Root, chsink.WaitOpen)
	before := w.inForce(t)
	w.mendWithin(t, "10m", "2s")
	if version, _ := w.apply(t); version == before {
		t.Fatalf("apply changed nothing: %s", version)
	}
	a3, r3, _ := order(3, late)
	w.send(t, a3)
	w.send(t, r3)
	w.till.Kill()
	start(t)
	w.awaitReady(t)
	w.awaitWait(t, a3.Root, chsink.WaitNotMet)
	if got := w.awaitWait(t, a1.Root, chsink.WaitOpen); got.Deadline.Sub(got.OpenedAt) != 10*time.Minute {
		t.Errorf("a wait that began before the change ends after %v, want the 10m of its own text", got.Deadline.Sub(got.OpenedAt))
	}
	w.send(t, p1)
	open := w.awaitWait(t, a2.Root, chsink.WaitOpen)
	w.inFolder(t, "waits", "close", open.ID, "--not-met", "--yes", "--by", "test", "--reason", "he called")
	if got := w.awaitWait(t, a1.Root, chsink.WaitMet); got.DecidedBy != "event" {
		t.Errorf("the mended wait was decided by %q", got.DecidedBy)
	}
	if got := w.awaitWait(t, a2.Root, chsink.WaitNotMet); got.DecidedBy != "person" || !strings.Contains(got.DecidedDetail, "he called") {
		t.Errorf("the closed wait was decided by %q: %s", got.DecidedBy, got.DecidedDetail)
	}
	w.awaitMessages(t, mended, map[string]int{"Payment problem": 1, "Thank you": 1})
	for _, email := range []string{closed, late} {
		w.awaitMessages(t, email, map[string]int{"Payment problem": 1, "Payment still open": 1})
	}
	w.awaitEffects(t)
	w.explained(t, a3.Root, late)
}

// explained wants the key sentences of an order that was not mended.
func (w *world) explained(t *testing.T, order, email string) {
	t.Helper()
	for _, c := range []struct {
		id   string
		want []string
	}{
		{order, []string{"changed it from APPROVED to FAILED", "The workflow payment-failed", "Step mended: it began to wait until", "send_message Payment still open", "Customers -> Payment open"}},
		{email, []string{"The workflow first-order", "it asked crm: is the contact on the list Customers", "The tag payment-problem is there because of workflows/payment-failed#1"}},
	} {
		code, got := w.says(t, "explain", c.id)
		for _, want := range c.want {
			if code != 0 || !strings.Contains(got, want) {
				t.Errorf("explain %s: code %d, want %q in:\n%s", c.id, code, want, got)
			}
		}
		if strings.Contains(got, email) && c.id != email {
			t.Errorf("explain %s shows the address:\n%s", c.id, got)
		}
	}
}

// TestAQuestionAboutAListIsAskedAtTheCRM: somebody who is on the list, and somebody who is not.
func TestAQuestionAboutAListIsAskedAtTheCRM(t *testing.T) {
	t.Parallel()
	const known, stranger = "known@example.com", "stranger@example.com"
	w := newWorld(t)
	w.subscribe(t, known, "Customers")
	w.dev(t)
	w.awaitReady(t)
	a1, _, _ := order(11, known)
	a2, _, _ := order(12, stranger)
	w.send(t, a1, a2)
	w.awaitContact(t, known, "is a returning customer", func(c audit.CRMContact) bool {
		tags := strings.Join(c.Tags, " ")
		return strings.Contains(tags, "returning-customer") && !strings.Contains(tags, "new-customer")
	})
	w.awaitContact(t, stranger, "is new, and put on the list", func(c audit.CRMContact) bool {
		tags := strings.Join(c.Tags, " ")
		return strings.Contains(tags, "new-customer") && strings.Join(c.Lists, " ") == "Customers"
	})
	w.awaitEffects(t, audit.Happened{Email: known, Name: "Customers"})
	w.badWorkflows(t)
	w.backtested(t)
}

// badWorkflows wants each to be refused with its place, and the running configuration to stay.
func (w *world) badWorkflows(t *testing.T) {
	t.Helper()
	before, path := w.inForce(t), filepath.Join(w.config, "workflows/bad.yaml")
	const begin = "destination: crm\nstart:\n  - {on: order-placed}\n"
	for _, c := range []struct{ name, text, place string }{
		{"a time zone that there is not", "zone: Mars/Phobos\n" + begin + "steps:\n  - wait: 1h\n", "workflows/bad.yaml:1: zone:"},
		{"an expression bomb", begin + "steps:\n  - if: '" + strings.Repeat("(", 20_000) + "1" + strings.Repeat(")", 20_000) + " > 0'\n    then: [{stop: true}]\n", "workflows/bad.yaml:5: steps"},
		{"a file of 10 MB", begin + "steps:\n  - send_message: Thank you\n# " + strings.Repeat("x", 10<<20) + "\n", "workflows/bad.yaml"},
		{"a step that there is not", begin + "steps:\n  - send_massage: Thank you\n", "workflows/bad.yaml:5: steps"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Log(c.name)
		w.refused(t, c.place)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := w.inForce(t); got != before {
		t.Errorf("after folders that were refused %s is in force, want %s", got, before)
	}
	if ready, list, err := w.readiness(); err != nil || !ready {
		t.Errorf("after folders that were refused: ready %v, %+v, %v", ready, list, err)
	}
}

// backtested wants a backtest to tell what a changed workflow and mapping would have done otherwise, and to do nothing.
func (w *world) backtested(t *testing.T) {
	t.Helper()
	before := w.inForce(t)
	w.edit(t, "workflows/first-order.yaml", "[new-customer]", "[fresh-customer]")
	w.edit(t, "mappings/orders.yaml", "track_event: paypal_event_received", "track_event: order_approved")
	said := w.inFolder(t, "backtest", "--since", "1d")
	for _, want := range []string{"tag fresh-customer", "tag new-customer", "TRACK_EVENT order_approved", "TRACK_EVENT paypal_event_received", "added", "removed"} {
		if !strings.Contains(said, want) {
			t.Errorf("the backtest does not tell of %q:\n%s", want, said)
		}
	}
	if got := w.inForce(t); got != before {
		t.Errorf("a backtest put %s in force in the place of %s", got, before)
	}
}

// TestCheckFindsEveryFaultOfAFolder seeds one fault of each kind into the folder that dev writes.
func TestCheckFindsEveryFaultOfAFolder(t *testing.T) {
	t.Parallel()
	w := &world{config: filepath.Join(t.TempDir(), "config")}
	if err := os.CopyFS(w.config, os.DirFS("../local/template")); err != nil {
		t.Fatal(err)
	}
	const paid, placed = "start:\n  - {on: payment-status-changed, status: [PAID]}\n", "start:\n  - {on: order-placed}\n"
	faults := map[string]string{
		"behind-a-stop": paid + "steps:\n  - stop: true\n  - send_message: Thank you\n",
		"endless":       placed + "steps:\n  - wait_for: {status: [PAID], connections: [paypal-eu], if: 'false', not_met_after: never}\n",
		"to-and-fro":    "start:\n  - {on: moved-here}\nsteps:\n  - move_to_workflow: fro-and-to\n",
		"fro-and-to":    "start:\n  - {on: moved-here}\nsteps:\n  - move_to_workflow: to-and-fro\n",
		"nowhere":       paid + "steps:\n  - move_to_workflow: payment-successful\n",
		"never-seen":    "start:\n  - {on: payment-status-changed, status: [PAYED]}\nsteps:\n  - send_message: Thank you\n",
		"takes-away":    paid + "steps:\n  - remove_tags: [customer]\n",
		"asks-nothing":  paid + "steps:\n  - if: 1 > 0\n    then: [{send_message: Thank you}]\n",
		"idle":          paid + "steps:\n  - wait: 1h\n",
	}
	for name, text := range faults {
		if err := os.WriteFile(filepath.Join(w.config, "workflows", name+".yaml"), []byte("destination: crm\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errs := command(t, "check", "--config", w.config)
	if code != 1 {
		t.Errorf("check of a folder with faults: code %d, want 1: %s", code, errs)
	}
	for name := range faults {
		found := false
		for line := range strings.Lines(out) {
			found = found || strings.Contains(line, name) // a circle is told once, at one of its files, with its path
		}
		if !found {
			t.Errorf("nothing is said of %s", name)
		}
	}
	t.Log(out)
}

// subscribe has a person put somebody on a list at the CRM.
func (w *world) subscribe(t *testing.T, email, list string) {
	t.Helper()
	call := func(path, body string, into any) {
		method := http.MethodPost
		if body == "" {
			method = http.MethodGet
		}
		req, err := http.NewRequestWithContext(t.Context(), method, w.crmURL+"/api/3"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Api-Token", "simulator-key")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode > http.StatusCreated {
			t.Fatalf("%s %s: %s, %v", method, path, resp.Status, err)
		}
	}
	var lists struct{ Lists []struct{ ID, Name string } }
	call("/lists", "", &lists)
	var made struct{ Contact struct{ ID string } }
	call("/contact/sync", fmt.Sprintf(`{"contact":{"email":%q}}`, email), &made)
	for _, l := range lists.Lists {
		if l.Name == list {
			call("/contactLists", fmt.Sprintf(`{"contactList":{"list":%q,"contact":%q,"status":"1"}}`, l.ID, made.Contact.ID), &struct{}{})
			return
		}
	}
	t.Fatalf("the CRM has no list %q: %+v", list, lists)
}

// awaitEffects waits until all that was asked for happened once, and the audit has nothing to say.
func (w *world) awaitEffects(t *testing.T, subscribed ...audit.Happened) {
	t.Helper()
	db, err := clickhouse.Open(app.ClickHouseOptions(config.ClickHouse{Address: w.clickhouse, Database: "tillstream"}))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w.await(t, "the audit agrees", func() error {
		out, err := audit.ReadOutside(t.Context(), w.client, w.paypalURL, w.crmURL)
		if err != nil {
			return err
		}
		out.Promises, out.Subscribed = w.promises, subscribed
		records, err := audit.Records(t.Context(), kafka.Options{Brokers: []string{w.kafka}})
		if err != nil {
			return err
		}
		in, err := audit.Read(t.Context(), db, records)
		if err != nil {
			return err
		}
		r := audit.Compare(out, in)
		if r.Lost > 0 || r.Runs == 0 { // what is not in ClickHouse yet may look doubled at the CRM
			return fmt.Errorf("%+v: %v", r.Counts, r.Findings)
		}
		if r.Doubled > 0 {
			t.Fatalf("doubled: %v", r.Findings)
		}
		return nil
	})
}
