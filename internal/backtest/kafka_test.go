package backtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// memoryLog is Kafka with two partitions a topic, in memory.
type memoryLog struct{ records map[string][2][]*kgo.Record }

func (l *memoryLog) Describe(context.Context, string) (kafka.TopicInfo, error) {
	return kafka.TopicInfo{Count: 2}, nil
}

func (l *memoryLog) Bounds(_ context.Context, topic string, p int32) (int64, int64, error) {
	return 0, int64(len(l.records[topic][p])), nil
}

func (l *memoryLog) Read(_ context.Context, r kafka.Range, apply func([]*kgo.Record, int64) error) error {
	for list := range slices.Chunk(l.records[r.Topic][r.Partition], 1000) {
		if err := apply(list, list[len(list)-1].Offset+1); err != nil {
			return err
		}
	}
	return nil
}

// registered gives the schemas of codec.NewLocal.
type registered struct{}

func (registered) Schema(id int) (string, error) {
	records := schemas.Records()
	if id < 1 || id > len(records) {
		return "", codec.ErrUnknownSchema
	}
	text, _ := schemas.AVSC(records[id-1].RecordName())
	return text, nil
}

func (l *memoryLog) add(t testing.TB, c *codec.Codec, topic string, p int, at time.Time, key string, rec schemas.Record) {
	t.Helper()
	value, err := c.Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	list := l.records[topic]
	list[p] = append(list[p], &kgo.Record{Topic: topic, Partition: int32(p), Offset: int64(len(list[p])), Timestamp: at, Key: []byte(key), Value: value})
	l.records[topic] = list
}

func TestTheLogIsReadInTheOrderOfItsTime(t *testing.T) {
	l := &memoryLog{map[string][2][]*kgo.Record{}}
	c := codec.NewLocal()
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	for i, s := range []int{1, 4, 4, 9} {
		e := &schemas.OrderEvent{EventID: fmt.Sprintf("p0-%d", i)}
		l.add(t, c, schemas.TopicPayPalEvents, 0, at(s), "k", e)
	}
	for i, s := range []int{2, 8, 3} { // a broker's clock went back
		l.add(t, c, schemas.TopicPayPalEvents, 1, at(s), "k", &schemas.OrderEvent{EventID: fmt.Sprintf("p1-%d", i)})
	}
	l.add(t, c, schemas.TopicStoreOrders, 0, at(4), "k", &schemas.OrderEvent{EventID: "s0-0"})
	l.add(t, c, schemas.TopicCommands, 1, at(5), "k", &schemas.Command{CommandID: "c1"})
	l.add(t, c, schemas.TopicAutomationInbox, 0, at(3), "ann", &schemas.ListAnswer{CommandID: "q1", ContactKey: "ann"})
	l.add(t, c, schemas.TopicAutomationInbox, 0, at(3), "ann", &schemas.Transition{RootKey: "made from the events again"})
	l.add(t, c, schemas.TopicAutomationInbox, 1, at(2), "bo", &schemas.WaitDecision{WaitID: "w1", ContactKey: "bo"})
	l.add(t, c, schemas.TopicConfig, 0, at(0), "v1", &schemas.ConfigVersion{Version: "v1"})
	l.add(t, c, schemas.TopicConfig, 0, at(0), "v2", &schemas.ConfigVersion{Version: "v2"})
	list := l.records[schemas.TopicPayPalEvents]
	list[0] = append(list[0], &kgo.Record{Offset: 4, Timestamp: at(9), Value: []byte("no avro")})
	l.records[schemas.TopicPayPalEvents] = list

	r, err := OpenLog(l, registered{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	v, err := r.InForce(t.Context())
	if err != nil || v.Version != "v2" {
		t.Errorf("in force is %v (%v), want v2", v, err)
	}
	answers, err := r.Facts(t.Context())
	if err != nil || !answers["q1"] || len(answers) != 1 {
		t.Errorf("answers %v (%v), want q1", answers, err)
	}
	var got []string
	for {
		it, ok, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		name := ""
		switch rec := it.Rec.(type) {
		case *schemas.OrderEvent:
			name = rec.EventID
		case *schemas.Command:
			name = rec.CommandID
		case *schemas.ListAnswer:
			name = rec.CommandID
		case *schemas.WaitDecision:
			name = rec.WaitID
		}
		got = append(got, fmt.Sprintf("%s@%d", name, time.UnixMilli(it.At).Sub(noon)/time.Second))
	}
	want := []string{"p0-0@1", "w1@2", "p1-0@2", "q1@3", "p0-1@4", "p0-2@4", "s0-0@4", "c1@5", "p1-1@8", "p1-2@8", "p0-3@9"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// exampleRules are the mappings of examples/config.
func exampleRules(t testing.TB, version string, edit func(text string) string) Rules {
	t.Helper()
	files := automation.Files{Mappings: map[string]automation.MappingFile{}}
	paths, err := filepath.Glob("../../examples/config/mappings/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("examples: %v %v", paths, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var f automation.MappingFile
		if err := yaml.UnmarshalWithOptions([]byte(edit(string(text))), &f, yaml.Strict()); err != nil {
			t.Fatal(err)
		}
		files.Mappings[strings.TrimSuffix(filepath.Base(path), ".yaml")] = f
	}
	rules, problems := automation.CompileAll(files, automation.Known{FieldCatalogue: []string{"subscription.plan_id", "subscription.next_billing_time"}})
	if len(problems) > 0 {
		t.Fatalf("%+v", problems)
	}
	rules.ConfigVersion = version
	return Rules{Version: version, Rules: rules}
}

// demoLike fills a log with n events: orders that are approved and paid, some refunded, and subscriptions with sales.
func demoLike(t testing.TB, l *memoryLog, n int) {
	c := codec.NewLocal()
	body := bytes.Repeat([]byte("{\"a\":1}"), 200)
	for i := 0; i < n; i++ {
		story, step := i/4, i%4
		order, email := fmt.Sprintf("O%d", story), fmt.Sprintf("customer%d@example.com", story%(n/10+1))
		at := noon.Add(time.Duration(i) * 200 * time.Millisecond)
		e := &schemas.OrderEvent{
			EventID: fmt.Sprintf("WH-%d", i), Provider: "paypal", Environment: schemas.Sandbox, Connection: "eu", Resource: "checkout-order-approved",
			RootID: order, EntityID: order, Kind: schemas.KindOrder, Status: schemas.StatusApproved, ProviderStatus: "APPROVED", EventType: "CHECKOUT.ORDER.APPROVED",
			ProviderTime: at, ReceivedAt: at, DeliveryIDs: []string{fmt.Sprintf("T-%d", i)}, Origin: schemas.OriginWebhook,
			Amount: &schemas.Amount{Value: "49.90", Currency: "EUR"}, Payer: &schemas.Payer{Email: email, GivenName: "Ann", Surname: "Lee", PayerID: "P" + order, Address: schemas.Address{Country: "DE"}},
			Fields: map[string]string{"summary": "something happened", "order.intent": "CAPTURE"}, Body: body, BodyHash: "h", Fingerprint: fmt.Sprintf("F-%d", i),
		}
		switch step {
		case 1, 2:
			e.Kind, e.Status, e.ProviderStatus, e.EventType = schemas.KindPayment, schemas.StatusPaid, "COMPLETED", "PAYMENT.CAPTURE.COMPLETED"
			e.EntityID, e.Links, e.Payer = order+"-C", []schemas.Link{{Relation: schemas.LinkOrder, ID: order}}, nil
			if step == 2 && story%3 == 0 {
				e.Kind, e.Status, e.EventType, e.EntityID, e.RootID = schemas.KindRefund, schemas.StatusRefunded, "PAYMENT.CAPTURE.REFUNDED", order+"-R", order+"-C"
				e.Links = []schemas.Link{{Relation: schemas.LinkCapture, ID: order + "-C"}}
			}
		case 3:
			e.Kind, e.Status, e.EventType, e.Resource = schemas.KindSubscription, schemas.StatusActive, "BILLING.SUBSCRIPTION.ACTIVATED", "billing-subscription"
			e.RootID, e.EntityID = "I-"+order, "I-"+order
		}
		l.add(t, c, schemas.TopicPayPalEvents, story%2, at, e.Key(), e)
	}
}

// BenchmarkBacktest runs two configurations over encoded events, as the command does: over a span that is the whole log,
// and over its last tenth.
func BenchmarkBacktest(b *testing.B) {
	const events = 40_000
	l := &memoryLog{map[string][2][]*kgo.Record{}}
	demoLike(b, l, events)
	end := noon.Add(events * 200 * time.Millisecond)
	for name, since := range map[string]time.Time{"whole log": noon, "last tenth": end.Add(-events / 10 * 200 * time.Millisecond)} {
		b.Run(name, func(b *testing.B) {
			o := Options{
				Current: exampleRules(b, "v1", func(s string) string { return s }),
				New:     exampleRules(b, "v2", func(s string) string { return strings.ReplaceAll(s, "payment_refunded", "money_back") }),
				Since:   since, Until: end,
			}
			for b.Loop() {
				src, err := OpenLog(l, registered{})
				if err != nil {
					b.Fatal(err)
				}
				r, err := Run(b.Context(), o, src)
				if err != nil {
					b.Fatal(err)
				}
				if r.Events != events || len(r.Groups) == 0 {
					b.Fatalf("%d events, %d groups", r.Events, len(r.Groups))
				}
			}
			b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
