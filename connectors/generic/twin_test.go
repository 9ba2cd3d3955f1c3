package generic_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/generic"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/processors"
	"github.com/tillstream/tillstream/processors/orders"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
	"github.com/tillstream/tillstream/simulators"
	twin "github.com/tillstream/tillstream/simulators/generic"
)

const (
	newSecret = "whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3LW5ldw=="
	oldSecret = "whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xkLW9sZA=="
)

// shelf keeps what was appended, in the order of arrival; every fifth try fails, so that the shop has to send again.
type shelf struct {
	mu     sync.Mutex
	tries  int
	events []schemas.OrderEvent
}

func (s *shelf) Append(_ context.Context, _, _ string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tries++; s.tries%5 == 0 {
		return ingest.ErrUnknownResult
	}
	var e schemas.OrderEvent
	if err := json.Unmarshal(value, &e); err != nil {
		return err
	}
	s.events = append(s.events, e)
	return nil
}

// receiver is a connection as a process runs it.
func receiver(t *testing.T, cfg *generic.Config) (*shelf, *httptest.Server) {
	t.Helper()
	src, err := generic.Connector.Open(t.Context(), cfg, connectors.Env{
		Connection: "shop", Environment: schemas.Sandbox, Now: time.Now, Log: zerolog.Nop(), HTTP: http.DefaultClient,
	})
	if err != nil {
		t.Fatal(err)
	}
	store := &shelf{}
	h, err := ingest.New(ingest.Options{
		Endpoints: []ingest.Endpoint{{
			Connection: "shop", Environment: schemas.Sandbox, Connector: generic.Connector.For(cfg), Webhook: src.(connectors.Webhooker),
		}},
		Appender: store, Log: zerolog.Nop(), Encode: func(r schemas.Record) ([]byte, error) { return json.Marshal(r) },
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return store, server
}

// live plays some orders through all their steps.
func live(ctx context.Context, t *testing.T, shop simulators.Shop) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 12 {
		total := fmt.Sprintf("%d.50", 10+i)
		id, err := shop.Place(ctx, simulators.Order{
			Email: fmt.Sprintf("customer%d@example.com", i), GivenName: "Ada", Surname: "Exämple", Phone: "+49691234567", Total: total, Currency: "EUR", Product: `A "belt"`,
		})
		must(err)
		switch i % 6 {
		case 0:
		case 1:
			must(shop.Fail(ctx, id))
			must(shop.Pay(ctx, id))
		case 2:
			must(shop.Cancel(ctx, id))
		case 3:
			must(shop.Pay(ctx, id))
			must(shop.Refund(ctx, id, "2.25"))
		case 4:
			must(shop.Pay(ctx, id))
			must(shop.Refund(ctx, id, "2.25"))
			must(shop.Refund(ctx, id, fmt.Sprintf("%d.25", 8+i)))
		case 5:
			must(shop.Pay(ctx, id))
		}
	}
}

// told is what the orders stage makes of the events.
func told(t *testing.T, events []schemas.OrderEvent) map[string]simulators.OrderTruth {
	t.Helper()
	stage, states := orders.New(orders.Options{}), map[string]orders.State{}
	for i := range events {
		e := events[i]
		if e.Problem != "" {
			t.Fatalf("%s: %s", e.EventID, e.Problem)
		}
		next, _, err := stage.Apply(states[e.RootID], processors.Input{Topic: schemas.TopicStoreOrders, Key: e.Key(), Record: &e, At: e.ReceivedAt})
		if err != nil {
			t.Fatal(err)
		}
		states[e.RootID] = next
	}
	out := map[string]simulators.OrderTruth{}
	for id, s := range states {
		f, _ := s.Facts()
		out[id] = simulators.OrderTruth{ID: id, Status: f.Status, Refunded: f.Refunded, Currency: f.Currency, Email: f.Payer.Email}
	}
	return out
}

func truth(t *testing.T, shop simulators.Shop) map[string]simulators.OrderTruth {
	t.Helper()
	out := map[string]simulators.OrderTruth{}
	for _, o := range shop.Orders() {
		refunded, err := money.Parse(o.Refunded, o.Currency)
		if err != nil {
			t.Fatal(err)
		}
		out[o.ID] = simulators.OrderTruth{ID: o.ID, Status: o.Status, Refunded: refunded.Decimal.String(), Currency: o.Currency, Email: o.Email}
	}
	return out
}

// ownShop is the configuration for a shop with a JSON and words of its own.
func ownShop() *generic.Config {
	return &generic.Config{
		Secrets: []schemas.Secret{schemas.NewSecret(newSecret)},
		Fields: map[string]string{
			"type": "$.ereignis", "order_id": "bestellung.nr", "status": "bestellung.stand", "occurred_at": "bestellung.geaendert",
			"version": "bestellung.fassung", "amount": "bestellung.summe.brutto", "amount_refunded": "bestellung.summe.erstattet",
			"currency": "bestellung.summe.waehrung", "customer.email": "kunde.mail", "customer.first_name": "kunde.vorname",
			"customer.last_name": "kunde.nachname", "customer.phone": "kunde.telefon", "items": "bestellung.artikel", "items.name": "titel",
			"items.quantity": "menge", "shipping_method": "bestellung.lieferung",
		},
		Statuses: map[string]schemas.PaymentStatus{
			"offen": "PENDING", "bezahlt": "PAID", "fehlgeschlagen": "FAILED", "storniert": "CANCELLED", "teilweise erstattet": "PARTIALLY_REFUNDED", "erstattet": "REFUNDED",
		},
	}
}

// TestAgainstTheTwin: over HTTP, in every envelope, with doubled and disordered messages and a store that fails: every
// order ends as the shop says, whatever the order of arrival.
func TestAgainstTheTwin(t *testing.T) {
	key := ed25519.NewKeyFromSeed([]byte("0123456789abcdef0123456789abcdef"))
	two := []schemas.Secret{schemas.NewSecret(oldSecret), schemas.NewSecret(newSecret)}
	for _, c := range []struct {
		name    string
		options twin.Options
		config  *generic.Config
	}{
		{"plain", twin.Options{Envelope: twin.Plain}, &generic.Config{Secrets: two}},
		{"own words", twin.Options{Envelope: twin.Plain, OwnWords: true}, ownShop()},
		{"by version", twin.Options{Envelope: twin.Plain}, &generic.Config{Secrets: two, Ordering: generic.OrderingVersion}},
		{"structured", twin.Options{Envelope: twin.Structured, Handshake: true}, &generic.Config{Secrets: two, Ordering: generic.OrderingSequence}},
		{"batch", twin.Options{Envelope: twin.Batch}, &generic.Config{Secrets: two}},
		{"binary", twin.Options{Envelope: twin.Binary, Handshake: true}, &generic.Config{Secrets: two, Ordering: generic.OrderingSequence}},
		{"two signatures", twin.Options{Secrets: []string{"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", newSecret}}, &generic.Config{Secrets: two}},
		{"asymmetric", twin.Options{PrivateKey: key}, &generic.Config{PublicKeys: []string{"whpk_" + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			store, server := receiver(t, c.config)
			o := c.options
			if o.Secrets == nil && o.PrivateKey == nil {
				o.Secrets = []string{newSecret}
			}
			o.WebhookURL, o.Log, o.Seed, o.Scale = server.URL+"/webhooks/shop", zerolog.Nop(), 1, 1e6
			o.Faults = twin.Faults{DuplicateRate: .3, DisorderRate: .3}
			shop, err := twin.New(o)
			if err != nil {
				t.Fatal(err)
			}
			defer shop.Close()
			live(ctx, t, shop)
			if err := shop.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			if accepted, lost := shop.Sent(); lost > 0 || accepted == 0 {
				t.Fatalf("got %d messages accepted and %d lost, want none lost", accepted, lost)
			}
			want := truth(t, shop)
			if diff := cmp.Diff(told(t, store.events), want); diff != "" {
				t.Errorf("as they arrived: -got +want:\n%s", diff)
			}
			shuffled := append(append([]schemas.OrderEvent{}, store.events...), store.events...)
			for seed := range uint64(5) {
				rand.New(rand.NewPCG(seed, 1)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
				if diff := cmp.Diff(told(t, shuffled), want); diff != "" {
					t.Errorf("doubled and shuffled: -got +want:\n%s", diff)
				}
			}
			for _, e := range store.events {
				if e.Fields["order.item_names"] != `A "belt"` || e.Payer == nil || e.Payer.Surname != "Exämple" || e.Amount == nil {
					t.Errorf("%s: got %+v, %+v", e.EventID, e.Payer, e.Fields)
				}
			}
		})
	}
}

// TestAWrongSecretKeepsEverythingOut and the right one lets in what the shop still sends again.
func TestAWrongSecretKeepsEverythingOut(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	closed, wrong := receiver(t, &generic.Config{Secrets: []schemas.Secret{schemas.NewSecret(oldSecret)}})
	open, right := receiver(t, &generic.Config{Secrets: []schemas.Secret{schemas.NewSecret(newSecret)}})
	refused := make(chan struct{}, 100)
	asked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wrong.Config.Handler.ServeHTTP(w, r)
		refused <- struct{}{}
	}))
	defer asked.Close()
	shop, err := twin.New(twin.Options{Secrets: []string{newSecret}, WebhookURL: asked.URL + "/webhooks/shop", Scale: 1e4, Seed: 1, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer shop.Close()
	if _, err := shop.Place(ctx, simulators.Order{Email: "a@example.com", Total: "5", Currency: "EUR"}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-refused:
	case <-ctx.Done():
		t.Fatal("nothing was tried")
	}
	shop.SetWebhook(right.URL + "/webhooks/shop")
	if err := shop.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if accepted, lost := shop.Sent(); accepted != 1 || lost != 0 || len(closed.events) != 0 || len(open.events) != 1 {
		t.Errorf("got %d accepted, %d lost; %d and %d events kept, want 1, 0; 0 and 1", accepted, lost, len(closed.events), len(open.events))
	}
}
