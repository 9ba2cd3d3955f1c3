package connections

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/poll"
	"github.com/tillstream/tillstream/schemas"
)

// rig is a manager in a bubble of time.
type rig struct {
	*Manager
	p   *provider
	log lines

	mu       sync.Mutex
	served   map[string]Served
	progress []poll.Status
}

// lines is a log that several goroutines write.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{p: newProvider()}
	opener := Opener{PublicURL: "https://till.example/", Now: time.Now}
	m, err := New(t.Context(), Options{
		Open: opener.Open, Log: zerolog.New(&r.log),
		Adopt: func(list []Served) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.served = map[string]Served{}
			for _, s := range list {
				r.served[s.Name] = s
			}
		},
		Progress: func() []poll.Status {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.progress
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Manager = m
	return r
}

func (r *rig) entry(name, secret string, resources ...string) config.Connection {
	return config.Connection{
		Name: name, File: "connections/" + name + ".yaml", Connector: r.p.connector(), Environment: schemas.Sandbox, Resources: resources,
		Settings: &fakeConfig{Account: name, Secret: schemas.NewSecret(secret)},
	}
}

// apply takes over a list and lets everything settle that needs no time.
func (r *rig) apply(t *testing.T, list ...config.Connection) {
	t.Helper()
	if err := r.Apply(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// verdict is how a request to name is judged now; zero: there is no such endpoint.
func (r *rig) verdict(name string) connectors.VerdictKind {
	r.mu.Lock()
	s, ok := r.served[name]
	r.mu.Unlock()
	if !ok || s.Webhook == nil {
		return 0
	}
	req, _ := http.NewRequest(http.MethodPost, "https://till.example/webhooks/"+name, nil)
	_, v := s.Webhook.Verify(context.Background(), req, nil)
	return v.Kind
}

func (r *rig) status(t *testing.T, name string) Status {
	t.Helper()
	for _, s := range r.Status() {
		if s.Connection.Name == name {
			return s
		}
	}
	t.Fatalf("no connection %s", name)
	return Status{}
}

func (r *rig) alarms(t *testing.T, name string) (kinds []string) {
	t.Helper()
	for _, a := range r.status(t, name).Alarms {
		if a.What == "" || a.Remedy == "" || a.Since.IsZero() {
			t.Errorf("alarm of %s without what, since or remedy: %+v", name, a)
		}
		kinds = append(kinds, a.Kind)
	}
	return kinds
}

// pass lets time pass, and what it began come to rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func bubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer func() {
			r.Close()
			if r.p.see().opened != r.p.see().closed {
				t.Errorf("%d sources were opened and %d closed", r.p.see().opened, r.p.see().closed)
			}
		}()
		f(t, r)
	})
}

func TestAConnectionIsOpenedRegisteredAndChecked(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.apply(t, r.entry("eu", "right", "orders"))
		s := r.status(t, "eu")
		want := connectors.Registration{ID: "hook of https://till.example/webhooks/eu", Changed: "made", Used: 1, Limit: 3}
		if diff := cmp.Diff(want, s.Registration); diff != "" || !s.Running || s.Webhook != "" || len(s.Alarms) > 0 {
			t.Errorf("got %+v\nregistration (-want +got):\n%s", s, diff)
		}
		if got := r.verdict("eu"); got != connectors.Genuine {
			t.Errorf("verdict: got %v, want genuine", got)
		}
		if got := r.status(t, "eu").LastEventAt; got.IsZero() {
			t.Error("the last genuine delivery has no time")
		}
		pass(time.Hour)
		if r.p.see().register < 5 || r.p.see().register > 8 {
			t.Errorf("registered %d times in an hour, want about 6", r.p.see().register)
		}
		if n := strings.Count(r.log.String(), "webhook registered"); n != 1 {
			t.Errorf("told %d times that it is registered, want once", n)
		}
		// A list that says the same changes nothing.
		opened := r.p.see().opened
		r.apply(t, r.entry("eu", "right", "orders"))
		if r.p.see().opened != opened {
			t.Error("the same entry was opened anew")
		}
	})
}

func TestOneConnectionsFailureTouchesNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.p.broken = "broken"
		r.apply(t, r.entry("broken", "right", "orders"), r.entry("eu", "right", "orders"), r.entry("wrong", "oops", "orders"))
		if r.verdict("eu") != connectors.Genuine || r.verdict("broken") != connectors.Unverifiable {
			t.Errorf("verdicts: eu %v, broken %v", r.verdict("eu"), r.verdict("broken"))
		}
		if diff := cmp.Diff([]string{AlarmCredentials}, r.alarms(t, "broken")); diff != "" {
			t.Errorf("alarms of broken:\n%s", diff)
		}
		if diff := cmp.Diff([]string{AlarmCredentials}, r.alarms(t, "wrong")); diff != "" {
			t.Errorf("alarms of wrong:\n%s", diff)
		}
		if got := r.alarms(t, "eu"); len(got) > 0 {
			t.Errorf("alarms of eu: %v", got)
		}
		r.p.set(func(p *provider) { p.broken = "" })
		pass(retryMax)
		if r.verdict("broken") != connectors.Genuine || len(r.alarms(t, "broken")) > 0 {
			t.Errorf("once it can be opened: verdict %v, alarms %v", r.verdict("broken"), r.alarms(t, "broken"))
		}
	})
}

func TestAConnectorsPanicIsAFinding(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.p.panics = true
		r.apply(t, r.entry("eu", "right", "orders"))
		if diff := cmp.Diff([]string{AlarmCredentials}, r.alarms(t, "eu")); diff != "" {
			t.Error(diff)
		}
		if what := r.status(t, "eu").Alarms[0].What; strings.Contains(what, "secret") || !strings.Contains(what, "panic") {
			t.Errorf("it is told as %q", what)
		}
		if r.verdict("eu") != connectors.Genuine {
			t.Error("its webhooks are refused")
		}
	})
}

func TestRegistrationIsTriedUntilItWorksAndMendedLater(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.p.down = true
		r.apply(t, r.entry("eu", "right", "orders"))
		if got := r.verdict("eu"); got != connectors.Unverifiable {
			t.Errorf("before it is registered: got %v, want unverifiable", got)
		}
		if got := r.alarms(t, "eu"); !slices.Contains(got, AlarmWebhook) {
			t.Errorf("alarms: %v, want webhook among them", got)
		}
		since := r.status(t, "eu").Alarms[0].Since
		pass(3 * time.Minute)
		if got := r.status(t, "eu").Alarms[0].Since; !got.Equal(since) {
			t.Errorf("the alarm began at %s, and is told to have begun at %s", since, got)
		}
		r.p.set(func(p *provider) { p.down = false })
		pass(checkAgain + time.Minute)
		if got := r.alarms(t, "eu"); len(got) > 0 || r.verdict("eu") != connectors.Genuine {
			t.Errorf("once it answers: alarms %v, verdict %v", got, r.verdict("eu"))
		}

		r.p.set(func(p *provider) { p.hooks["https://till.example/webhooks/eu"] = nil })
		pass(registerEvery + time.Minute)
		s := r.status(t, "eu")
		if len(s.Alarms) != 1 || s.Alarms[0].Kind != AlarmWebhook || !strings.Contains(s.Alarms[0].What, "switched on again") {
			t.Errorf("after a disabled hook was mended: %+v", s.Alarms)
		}
		pass(mendedFor)
		if got := r.alarms(t, "eu"); len(got) > 0 {
			t.Errorf("an hour later: %v", got)
		}
		if n := strings.Count(r.log.String(), "webhook mended"); n != 1 {
			t.Errorf("told %d times that it was mended, want once", n)
		}
	})
}

func TestFullSlotsAreSaid(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.p.slots = 0
		r.p.hooks["https://other.example"] = nil
		r.p.slots = 1
		r.apply(t, r.entry("eu", "right", "orders"))
		a := r.status(t, "eu").Alarms
		if len(a) != 1 || a[0].Kind != AlarmWebhook || !strings.Contains(a[0].What, "1 of 1") {
			t.Errorf("alarms: %+v", a)
		}
	})
}

// Each request while a connection changes is judged by a source that can: none is refused.
func TestAChangedConnectionTakesOverWithoutARefusedRequest(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.apply(t, r.entry("eu", "right", "orders", "refunds"))
		stop, asked := make(chan struct{}), 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
				asked++
				if got := r.verdict("eu"); got != connectors.Genuine {
					t.Errorf("request %d: got %v, want genuine", asked, got)
				}
			}
		}()
		pass(time.Second)
		r.p.set(func(p *provider) { p.down = true }) // the change is not registered for a while
		r.apply(t, r.entry("eu", "right", "refunds"))
		pass(time.Minute)
		if s := r.status(t, "eu"); s.Running || !slices.Contains(r.alarms(t, "eu"), AlarmWebhook) {
			t.Errorf("while it cannot be registered: %+v", s)
		}
		r.p.set(func(p *provider) { p.down = false })
		pass(2 * time.Minute)
		close(stop)
		<-done
		if s := r.status(t, "eu"); !s.Running {
			t.Errorf("afterwards: %+v", s)
		}
		if diff := cmp.Diff(map[string][]string{"https://till.example/webhooks/eu": {"refunds"}}, r.p.see().hooks); diff != "" {
			t.Errorf("hooks (-want +got):\n%s", diff)
		}
		if asked < 1000 || r.p.see().opened != 2 || r.p.see().closed != 1 {
			t.Errorf("asked %d times, opened %d, closed %d", asked, r.p.see().opened, r.p.see().closed)
		}
	})
}

// Changes that come faster than they can be taken over end with the last one, and every source is closed.
func TestChangesInARowEndWithTheLast(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.apply(t, r.entry("eu", "right", "orders"))
		r.p.set(func(p *provider) { p.down = true })
		r.apply(t, r.entry("eu", "right", "refunds"))
		r.apply(t, r.entry("eu", "right", "orders", "refunds"))
		if r.verdict("eu") != connectors.Genuine {
			t.Error("the first one serves no more")
		}
		r.p.set(func(p *provider) { p.down = false })
		pass(2 * time.Minute)
		if diff := cmp.Diff([]string{"orders", "refunds"}, r.p.see().hooks["https://till.example/webhooks/eu"]); diff != "" || r.p.see().open != 1 {
			t.Errorf("%d sources are open; hook (-want +got):\n%s", r.p.see().open, diff)
		}
		r.p.set(func(p *provider) { p.down = true })
		r.apply(t, r.entry("eu", "right", "refunds"))
		r.apply(t, r.entry("eu", "right", "orders", "refunds")) // as it was
		r.apply(t)
		pass(time.Minute)
		if r.p.see().open != 0 {
			t.Errorf("%d sources are open after it was removed", r.p.see().open)
		}
	})
}

func TestARemovedConnectionIsClosedAndStaysRegistered(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.apply(t, r.entry("eu", "right", "orders"), r.entry("us", "right", "orders"))
		r.apply(t, r.entry("us", "right", "orders"))
		if r.verdict("eu") != 0 || r.verdict("us") != connectors.Genuine {
			t.Errorf("verdicts: eu %v, us %v", r.verdict("eu"), r.verdict("us"))
		}
		if r.p.see().closed != 0 {
			t.Error("its source was closed while requests may still be judged by it")
		}
		pass(retireAfter)
		if r.p.see().closed != 1 || len(r.p.see().hooks) != 2 {
			t.Errorf("closed %d sources, %d hooks left; want 1 and 2", r.p.see().closed, len(r.p.see().hooks))
		}
		register := r.p.see().register
		pass(registerEvery)
		if got := r.p.see().register - register; got > 2 {
			t.Errorf("%d registrations after it was removed", got)
		}
	})
}

// One name that becomes another environment's account takes over nothing of the former.
func TestSandboxAndLiveAreNotMixedUnderOneName(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.apply(t, r.entry("eu", "right", "orders"))
		r.p.set(func(p *provider) { p.down = true })
		live := r.entry("eu", "right", "orders")
		live.Environment = schemas.Live
		r.apply(t, live)
		if got := r.verdict("eu"); got != connectors.Unverifiable {
			t.Errorf("the sandbox's source still judges: got %v, want unverifiable", got)
		}
	})
}

func TestAChangedSecretIsTakenOver(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.apply(t, r.entry("eu", "old", "orders"))
		if diff := cmp.Diff([]string{AlarmCredentials}, r.alarms(t, "eu")); diff != "" {
			t.Error(diff)
		}
		r.apply(t, r.entry("eu", "right", "orders"))
		if got := r.alarms(t, "eu"); len(got) > 0 || r.p.see().opened != 2 {
			t.Errorf("alarms %v after %d opens", got, r.p.see().opened)
		}
	})
}

func TestAlarmsOfWhatIsWatched(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.apply(t, r.entry("eu", "right", "orders"))
		for _, c := range []struct {
			name string
			set  func()
			want []string
		}{
			{"nothing", func() {}, nil},
			{"a certificate that ends", func() {
				r.p.watch = []connectors.Finding{{Level: connectors.Warn, Field: "trust_file", Message: "the certificate ends on Sunday"}}
			}, []string{AlarmCertificate}},
			{"a token that expires", func() {
				r.p.watch = []connectors.Finding{{Level: connectors.Warn, Message: "the token expires on Sunday"}}
			}, []string{AlarmCertificate}},
			{"no token", func() {
				r.p.watch = []connectors.Finding{{Level: connectors.Warn, Field: "base_url", Message: "no token since noon"}}
			}, []string{AlarmCredentials}},
			{"a permission that is missing and not needed", func() {
				r.p.watch = []connectors.Finding{{Level: connectors.Warn, Field: "account", Message: "a list is not read"}}
			}, nil},
			{"too many requests", func() { r.p.watch, r.p.budget = nil, outbound.Budget{Requests: 10, Refused: 1} }, []string{AlarmBudget}},
			{"a provider that wants silence", func() {
				r.p.budget.HoldUntil = time.Now().Add(time.Hour)
			}, []string{AlarmBudget}},
			{"silence, and an old list", func() {
				r.p.budget = outbound.Budget{}
				r.progress = []poll.Status{{
					Connection: "eu", Owned: true, CompleteUpTo: time.Now().Add(-7 * time.Hour), Silent: &poll.Silence{Since: time.Now(), UsualPerHour: 12},
					Feeds: []poll.FeedStatus{{Name: "events", LastError: "status 503"}},
				}}
			}, []string{AlarmGap, AlarmSilence}},
			{"a list that forgot a span", func() {
				r.progress = []poll.Status{{Connection: "eu", Owned: true, CompleteUpTo: time.Now(), Feeds: []poll.FeedStatus{{Gap: &poll.Span{From: time.Now()}}}}}
			}, []string{AlarmGap}},
			{"the same, polled elsewhere", func() { r.progress[0].Owned = false }, nil},
		} {
			r.mu.Lock()
			r.p.mu.Lock()
			c.set()
			r.p.mu.Unlock()
			r.mu.Unlock()
			pass(watchEvery + refusedFor)
			if c.name == "too many requests" { // it is told for a while after the last refusal
				r.p.set(func(p *provider) { p.budget.Refused++ })
				pass(watchEvery)
			}
			if diff := cmp.Diff(c.want, r.alarms(t, "eu")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.name, diff)
			}
		}
	})
}

func TestTheMetricTellsEachAlarm(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.apply(t, r.entry("eu", "oops", "orders"))
		reg := prometheus.NewRegistry()
		reg.MustRegister(r.Manager)
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.Metric {
				labels := map[string]string{}
				for _, l := range m.Label {
					labels[l.GetName()] = l.GetValue()
				}
				got[f.GetName()+" "+labels["connection"]+" "+labels["alarm"]] = m.GetGauge().GetValue()
			}
		}
		want := map[string]float64{}
		for _, kind := range alarmKinds {
			want["tillstream_connection_alarm eu "+kind] = 0
		}
		want["tillstream_connection_alarm eu credentials"] = 1
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
		if log := r.log.String(); strings.Contains(log, "oops") || strings.Count(log, `"alarm":"credentials"`) != 1 {
			t.Errorf("the log: %s", log)
		}
	})
}

// Two processes with one folder register one webhook.
func TestTwoProcessesRegisterOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		other := newRig(t)
		other.p = r.p
		defer other.Close()
		r.apply(t, r.entry("eu", "right", "orders"))
		other.apply(t, other.entry("eu", "right", "orders"))
		if len(r.p.see().hooks) != 1 || r.verdict("eu") != connectors.Genuine || other.verdict("eu") != connectors.Genuine {
			t.Errorf("%d hooks, verdicts %v and %v", len(r.p.see().hooks), r.verdict("eu"), other.verdict("eu"))
		}
	})
}

func TestNewAndApplyRefuse(t *testing.T) {
	if _, err := New(t.Context(), Options{}); err == nil {
		t.Error("a manager without Open and Adopt")
	}
	bubble(t, func(t *testing.T, r *rig) {
		r.Close()
		if err := r.Apply(t.Context(), nil); err == nil {
			t.Error("a closed manager took a list")
		}
	})
}
