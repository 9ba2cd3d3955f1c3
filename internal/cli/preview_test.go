package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/internal/cli"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/schemas/registry"
	"github.com/tillstream/tillstream/sinks"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// previewed is what preview says as JSON.
type previewed struct {
	Fits   bool
	Why    string
	Event  struct{ ID, Type, Connection, Status string }
	Fields []struct{ To, From, Value, Type, Issue string }
	Before *schemas.Contact
	After  *schemas.Contact
	Masked bool

	Effects    []struct{ Type, Name string }
	NotChecked []string `json:"not_checked"`
}

func (d *desk) preview(args ...string) previewed {
	d.t.Helper()
	code, stdout, stderr := d.run(append([]string{"preview", "--json"}, args...)...)
	var got previewed
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != cli.ExitOK {
		d.t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	return got
}

func TestPreviewOfASample(t *testing.T) {
	d := newDesk(t)
	d.write("mappings/orders.yaml", `resource: checkout-order-approved
destination: crm
fields:
  - {to: ORDER_AMOUNT, from: order.amount, as: money}
  - {to: CUSTOMER_MAIL, from: payer.email}
  - {to: NEXT_BILLING, from: payer.phone, as: phone}
  - {to: ORDER_ID, from: order.status, as: lookup, table: {none: such}}
triggers:
  - {on: paypal-event-received, track_event: paypal_event}
`)
	got := d.preview("orders", "--sample", "--show-personal-data")
	if !got.Fits || got.Masked || got.After == nil || !strings.Contains(got.After.Email, "@") || got.After.Fields["ORDER_AMOUNT"] == "" || len(got.After.Tags) != 2 {
		t.Fatalf("got %+v, contact after %+v", got, got.After)
	}
	if len(got.Effects) != 1 || got.Effects[0].Name != "paypal_event" {
		t.Errorf("effects %+v", got.Effects)
	}
	for i, want := range []struct{ value, typ, issue string }{
		{"something", "number", ""},
		{"something", "", "has no field \"CUSTOMER_MAIL\""},
		{"something", "date", "takes date, and is filled with phone"},
		{"", "text", "the rule makes nothing of this event: the field is left alone"},
	} {
		f := got.Fields[i]
		if (want.value == "") != (f.Value == "") || f.Type != want.typ || !strings.Contains(f.Issue, want.issue) || (want.issue == "") != (f.Issue == "") {
			t.Errorf("field %+v, want type %q and issue %q", f, want.typ, want.issue)
		}
	}
	hidden := d.preview("orders", "--sample")
	if all := fmt.Sprintf("%+v %+v", hidden, hidden.After); !hidden.Masked || strings.Contains(all, got.After.Email) || strings.Contains(all, got.After.Phone) {
		t.Errorf("personal data is shown: %s", all)
	}
	code, stdout, stderr := d.run("preview", "orders.yaml", "--sample")
	for _, want := range []string{"on a sample: ", "Nothing is sent.", "ORDER_AMOUNT", "+ tag paypal-integration", "effect TRACK_EVENT paypal_event", "nothing is known of it before"} {
		if code != cli.ExitOK || !strings.Contains(stdout, want) {
			t.Fatalf("exit code %d, printed without %q:\n%s%s", code, want, stdout, stderr)
		}
	}
}

func TestPreviewOfAContactWithoutEMail(t *testing.T) {
	d := newDesk(t)
	d.write("mappings/nobody.yaml", "resource: checkout-order-approved\ndestination: crm\ncontact: {email: invoice_id}\n")
	got := d.preview("nobody", "--sample", "--offline")
	if !got.Fits || got.After != nil || !strings.Contains(got.Why, "has no e-mail address to write to; check contact.email of mapping nobody") {
		t.Errorf("got %+v", got)
	}
}

func TestPreviewIsAskedWrongly(t *testing.T) {
	d := newDesk(t)
	for want, args := range map[string][]string{
		"say either --event ID or --sample":                    {"orders"},
		`there is no such mapping as "order"`:                  {"order", "--sample"},
		"names no clickhouse.address, by which a stored event": {"orders", "--event", "WH-1"},
	} {
		if code, stdout, stderr := d.run(append([]string{"preview"}, args...)...); code == cli.ExitOK || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d\n%s%s\nwant %q", args, code, stdout, stderr, want)
		}
	}
}

// previewOfAStoredEvent is part of TestOnClickHouse.
func previewOfAStoredEvent(t *testing.T, address string, store *chsink.Store) {
	s, d := newShelf(t), newDesk(t)
	d.write("tillstream.yaml", fmt.Sprintf("kafka: {brokers: [%q]}\nregistry: {url: %q, cache_file: %q}\nredis: {address: \"127.0.0.1:1\"}\nclickhouse: {address: %q}\n",
		s.services.Brokers[0], s.services.RegistryURL, d.dir+"-cache.json", address))
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	e := schemas.OrderEvent{
		EventID: "WH-preview", Kind: schemas.KindOrder, Provider: "paypal", Environment: schemas.Sandbox, Connection: "paypal-eu", Resource: "checkout-order-approved",
		RootID: "O-preview", EntityID: "O-preview", EventType: "CHECKOUT.ORDER.COMPLETED", Status: schemas.StatusPaid, ProviderTime: at, ReceivedAt: at,
		Origin: schemas.OriginWebhook, Amount: &schemas.Amount{Value: "12.50", Currency: "EUR"},
	}
	payer := &schemas.Payer{Email: "ana@example.com", FullName: "Ana Cruz"}
	tr := &schemas.Transition{
		RootKey: e.Key(), RootKind: schemas.KindOrder, Number: 2, Disposition: schemas.Changed, From: schemas.StatusApproved, To: schemas.StatusPaid, Legal: true, Event: e,
		Paid: "12.5", Refunded: "0", Currency: "EUR", Payer: payer, ContactKey: "sandbox/ana@example.com", At: at,
	}
	was := &schemas.Command{
		CommandID: "c1", Kind: schemas.CommandContact, Destination: "crm", ContactKey: tr.ContactKey, Version: 3, At: at,
		Contact: schemas.Contact{Email: "ana@example.com", Fields: map[string]string{"ORDER_ID": "O-old", "KEPT": "it's"}, Tags: []string{"vip"}},
	}
	offset := produce(t, s, schemas.TopicTransitions, tr)
	for topic, row := range map[string]sinks.Row{schemas.TopicTransitions: {Offset: offset, At: at, Record: tr}, schemas.TopicCommands: {At: at, Record: was}} {
		if err := store.Insert(t.Context(), sinks.Range{Topic: topic, TopicID: "preview", From: row.Offset, To: row.Offset}, []sinks.Row{row}); err != nil {
			t.Fatal(err)
		}
	}
	got := d.preview("orders", "--event", "WH-preview", "--show-personal-data")
	want := schemas.Contact{
		Email: "ana@example.com", FirstName: "Ana", LastName: "Cruz",
		Fields: map[string]string{"ORDER_ID": "O-preview", "ORDER_AMOUNT": "12.50", "ORDER_DATE": "2026-01-02T03:04:05Z", "KEPT": "it's"},
		Tags:   []string{"paypal-integration", "paypal-integration-CHECKOUT.ORDER.COMPLETED", "vip"},
	}
	if diff := cmp.Diff(&want, got.After); diff != "" || !got.Fits {
		t.Errorf("fits %v, contact after (-want +got):\n%s", got.Fits, diff)
	}
	if diff := cmp.Diff(&was.Contact, got.Before); diff != "" {
		t.Errorf("contact before (-want +got):\n%s", diff)
	}
	if code, stdout, stderr := d.run("preview", "orders", "--event", "WH-other"); code != cli.ExitFailed || !strings.Contains(stderr, `no event "WH-other" was applied to an order`) {
		t.Errorf("unknown event: exit code %d\n%s%s", code, stdout, stderr)
	}
	d.write("mappings/subscriptions.yaml", "resource: billing-subscription\ndestination: crm\n")
	if got := d.preview("subscriptions", "--event", "WH-preview"); got.Fits || got.Why != "the mapping is for the resource billing-subscription, the event is of checkout-order-approved" {
		t.Errorf("another resource: %+v", got)
	}
}

// produce appends a record, and returns its offset.
func produce(t *testing.T, s *shelf, topic string, rec schemas.Record) int64 {
	t.Helper()
	reg := registry.New(registry.Options{URL: s.services.RegistryURL, HTTP: http.DefaultClient})
	if err := reg.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := codec.New(reg)
	if err != nil {
		t.Fatal(err)
	}
	value, err := c.Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.services.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	r, err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: value}).First()
	if err != nil {
		t.Fatal(err)
	}
	return r.Offset
}
