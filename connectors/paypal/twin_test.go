package paypal_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/connectors/paypal"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/ingest"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/paypal"
)

// shelf keeps what was appended; the first tries fail, so that the twin has to send again.
type shelf struct {
	mu     sync.Mutex
	fail   int
	events map[string]schemas.OrderEvent
}

func (s *shelf) Append(_ context.Context, topic, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail--; s.fail >= 0 {
		return ingest.ErrUnknownResult
	}
	var e schemas.OrderEvent
	if err := json.Unmarshal(value, &e); err != nil {
		return err
	}
	s.events[e.EventID] = e
	return nil
}

// rig is a connection whose PayPal is the twin, over real HTTPS with a certificate from the twin's own authority, and
// the receiver that the twin sends to.
type rig struct {
	sim   *twin.Server
	src   connectors.Source
	store *shelf
}

func newRig(ctx context.Context, t *testing.T, o twin.Options, c paypal.Config) *rig {
	t.Helper()
	o.Seed, o.LocalWebhooks, o.Log = 1, true, zerolog.Nop()
	if o.Accounts == nil {
		o.Accounts = []twin.Account{{Name: "eu", ClientID: "id", ClientSecret: "secret", MerchantID: "M"}}
	}
	sim, err := twin.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	config, err := sim.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewUnstartedServer(sim.Handler())
	api.TLS = config
	api.StartTLS()
	t.Cleanup(api.Close)
	sim.SetPublicURL(api.URL)

	trust := filepath.Join(t.TempDir(), "trust.pem")
	if err := os.WriteFile(trust, sim.TrustPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: true, RootCAs: trust})
	if err != nil {
		t.Fatal(err)
	}
	var h http.Handler
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(receiver.Close)
	endpoint := ingest.Endpoint{Connection: "shop", Token: "t0ken", Connector: paypal.Connector, Environment: schemas.Sandbox}
	c.ClientID, c.ClientSecret, c.BaseURL = "id", schemas.NewSecret("secret"), api.URL
	c.TrustFile, c.CertificateHosts = trust, []string{api.Listener.Addr().String()}
	src, err := paypal.Connector.Open(ctx, &c, connectors.Env{
		Connection: "shop", Environment: schemas.Sandbox, Now: time.Now, Log: zerolog.Nop(), HTTP: client, PublicURL: receiver.URL + endpoint.Path(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	endpoint.Webhook = src.(connectors.Webhooker)
	store := &shelf{events: map[string]schemas.OrderEvent{}}
	h, err = ingest.New(ingest.Options{
		Endpoints: []ingest.Endpoint{endpoint}, Appender: store, Log: zerolog.Nop(),
		Encode: func(r schemas.Record) ([]byte, error) { return json.Marshal(r) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return &rig{sim, src, store}
}

func (r *rig) register(ctx context.Context, t *testing.T) {
	t.Helper()
	if _, err := r.src.(connectors.Registrar).Register(ctx); err != nil {
		t.Fatal(err)
	}
}

// soon are short waits between the twin's repetitions.
func soon(n int, wait time.Duration) []time.Duration { return slices.Repeat([]time.Duration{wait}, n) }

// TestAgainstTheTwin: check, register, and every event that the twin sent is appended as it was sent, duplicates and
// failed appends notwithstanding.
func TestAgainstTheTwin(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	r := newRig(ctx, t, twin.Options{RetrySchedule: soon(5, time.Millisecond), Faults: twin.Faults{DuplicateRate: .3}}, paypal.Config{})
	r.store.fail = 3
	for _, f := range r.src.Check(ctx) {
		if f.Level == connectors.Bad {
			t.Errorf("check: %+v", f)
		}
	}
	r.register(ctx, t)
	for _, name := range []string{"CHECKOUT.ORDER.APPROVED--sandbox-2024", "PAYMENT.CAPTURE.COMPLETED", "PAYMENT.SALE.COMPLETED", "BILLING.SUBSCRIPTION.ACTIVATED"} {
		emit(ctx, t, r.sim, name)
	}
	if err := r.sim.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	sent := r.sim.Sent()
	if len(sent) != 4 || len(r.store.events) != 4 {
		t.Fatalf("got %d events appended of %d sent, want 4", len(r.store.events), len(sent))
	}
	for _, s := range sent {
		got := r.store.events[s.EventID]
		if s.FirstAccepted.IsZero() || string(got.Body) != string(s.Body) || got.Kind == schemas.KindOther || got.Problem != "" {
			t.Errorf("%s: got kind %q, problem %q, accepted %v, want it as it was sent", s.EventType, got.Kind, got.Problem, s.AcceptedTimes)
		}
	}
	if err := r.src.(connectors.Registrar).Unregister(ctx); err != nil {
		t.Error(err)
	}
}

func emit(ctx context.Context, t *testing.T, sim *twin.Server, name string) {
	t.Helper()
	var compact map[string]any
	if err := json.Unmarshal(connectorstest.GoldenBody(t, "testdata/"+name+".txtar"), &compact); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(compact)
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Emit(ctx, "eu", twin.Event{Body: body}); err != nil {
		t.Fatal(err)
	}
}
