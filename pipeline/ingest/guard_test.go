package ingest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/pipeline/clock"
)

// hands is a clock that a test moves. Sleeping on it is only counted.
type hands struct {
	clock.Clock
	at    *time.Time
	slept *int
}

func (h hands) Now() time.Time { return *h.at }

func (h hands) Sleep(_ context.Context, d time.Duration) error {
	if h.slept != nil && d == lateBy {
		*h.slept++
	}
	return nil
}

func from(h http.Handler, address, sig string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("A"))
	r.RemoteAddr = address
	r.Header.Set("Sig", sig)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// guarded is a handler with small limits, whose clock stands at *at.
func guarded(t *testing.T, at *time.Time, edit func(*Options)) *Handler {
	t.Helper()
	*at = time.UnixMilli(1_000_000)
	o := options(&shelf{})
	o.Clock = hands{clock.System(), at, nil}
	o.Limits = Limits{AddressBurst: 10, AddressPerSecond: 1, ConnectionBurst: 30, ConnectionPerSecond: 5}
	if edit != nil {
		edit(&o)
	}
	return handler(t, o)
}

const (
	forger   = "203.0.113.7:999"
	provider = "198.51.100.1:443"
)

// TestForgersAreRefusedUnread: after its burst an address is refused before its body is read; others are not, and each
// second lets it try again.
func TestForgersAreRefusedUnread(t *testing.T) {
	var at time.Time
	h := guarded(t, &at, nil)
	for range 10 {
		if got := from(h, forger, "none").Code; got != http.StatusUnauthorized {
			t.Fatalf("got %d within the burst, want 401", got)
		}
	}
	unread := httptest.NewRequest(http.MethodPost, path, neverRead{t})
	unread.RemoteAddr = forger
	w := httptest.NewRecorder()
	h.ServeHTTP(w, unread)
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("got %d Retry-After %q after the burst, want 429 with one", w.Code, w.Header().Get("Retry-After"))
	}
	if got := from(h, forger, "good").Code; got != http.StatusTooManyRequests {
		t.Errorf("got %d: what it would say is not known before it is read, want 429", got)
	}
	if got := from(h, provider, "good").Code; got != http.StatusOK {
		t.Errorf("got %d for another address, want 200", got)
	}
	at = at.Add(time.Second)
	if got := from(h, forger, "none").Code; got != http.StatusUnauthorized {
		t.Errorf("got %d a second later, want 401", got)
	}
	if got := from(h, forger, "none").Code; got != http.StatusTooManyRequests {
		t.Errorf("got %d after that, want 429", got)
	}
}

type neverRead struct{ t *testing.T }

func (n neverRead) Read([]byte) (int, error) {
	n.t.Error("the body was read")
	return 0, fmt.Errorf("read")
}

// TestGenuineSendersShareAnAddress: what others do from the same address locks nobody out: neither who was genuine
// before, nor for ever who comes new.
func TestGenuineSendersShareAnAddress(t *testing.T) {
	var at time.Time
	h := guarded(t, &at, nil)
	if got := from(h, provider, "good").Code; got != 200 {
		t.Fatal(got)
	}
	for range 100 {
		if got := from(h, provider, "none").Code; got != http.StatusUnauthorized {
			t.Fatalf("got %d for a forger behind the same proxy, want 401", got)
		}
	}
	if got := from(h, provider, "good").Code; got != 200 {
		t.Errorf("got %d for the genuine sender, want 200", got)
	}
	at = at.Add(genuineFor)
	for range 11 {
		from(h, provider, "none")
	}
	if got := from(h, provider, "good").Code; got != http.StatusTooManyRequests {
		t.Errorf("got %d long after the last genuine delivery, want 429", got)
	}
	at = at.Add(time.Second)
	if a, b := from(h, provider, "good").Code, from(h, provider, "none").Code; a != 200 || b != http.StatusUnauthorized {
		t.Errorf("got %d and %d once it was let in, want 200, and 401 for the others", a, b)
	}
}

// TestFailuresAreAnsweredLate: only what fails, and only once there is too much of it; also from an address that is
// known to be genuine; and no more than so many at once.
func TestFailuresAreAnsweredLate(t *testing.T) {
	var at time.Time
	slept := 0
	h := guarded(t, &at, nil)
	h.o.Clock = hands{clock.System(), &at, &slept}
	from(h, provider, "good")
	for range 15 {
		from(h, provider, "none")
		from(h, provider, "good")
	}
	if slept != 15-10 {
		t.Errorf("got %d late answers for 15 failures and 16 genuine deliveries, want those 5 after the burst of 10", slept)
	}
	slept = 0
	for range 15 {
		from(h, forger, "none")
	}
	if slept != 15-10 {
		t.Errorf("got %d late answers for a forger's 15, want 5", slept)
	}
	for range lateMax {
		h.late <- struct{}{}
	}
	if got := from(h, forger, "none").Code; got != 429 || slept != 5 {
		t.Errorf("got %d with %d late answers while %d are held, want 429 at once", got, slept, lateMax)
	}
}

// TestManyAddresses: a flood from many addresses is bounded for its connection, and a known sender is not harmed.
func TestManyAddresses(t *testing.T) {
	var at time.Time
	h := guarded(t, &at, nil)
	from(h, provider, "good")
	codes := map[int]int{}
	for i := range 500 {
		codes[from(h, fmt.Sprintf("203.0.%d.%d:1", i/250, i%250), "none").Code]++
	}
	if codes[401] != 30 || codes[429] != 470 {
		t.Errorf("got %v, want the connection's burst of 30 and then 429", codes)
	}
	if got := from(h, provider, "good").Code; got != 200 {
		t.Errorf("got %d for a known sender, want 200", got)
	}
	for i := range 3 * addressesMax {
		h.guard.failed(sender{"shop", netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})}, 1, at)
	}
	if n := len(h.guard.addresses.young) + len(h.guard.addresses.old); n > addressesMax {
		t.Errorf("got %d addresses remembered, want at most %d", n, addressesMax)
	}
}

// TestCannotTellCostsLittle: an outage of the provider's certificates makes nobody a forger at once.
func TestCannotTellCostsLittle(t *testing.T) {
	var at time.Time
	h := guarded(t, &at, nil)
	n := 0
	for from(h, provider, "doubt").Code == http.StatusServiceUnavailable {
		n++
	}
	if n < 90 || n > 100 {
		t.Errorf("got %d requests read that could not be judged, want about ten times those of a forger", n)
	}
}

// TestClientAddress: X-Forwarded-For counts from its end, and only what trusted proxies wrote.
func TestClientAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		remote    string
		forwarded []string
		want      string
	}{
		{"203.0.113.7:1", nil, "203.0.113.7"},
		{"203.0.113.7:1", []string{"198.51.100.1"}, "203.0.113.7"},
		{"10.0.0.1:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1:1", []string{"1.1.1.1, 198.51.100.1 , 10.0.0.2"}, "198.51.100.1"},
		{"10.0.0.1:1", []string{"1.1.1.1", "198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1:1", []string{"junk"}, "10.0.0.1"},
		{"10.0.0.1:1", []string{"1.1.1.1, junk, 10.0.0.2"}, "10.0.0.2"},
		{"10.0.0.1:1", nil, "10.0.0.1"},
		{"[::ffff:10.0.0.1]:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"[2001:db8:1:2:3:4:5:6]:1", nil, "2001:db8:1:2::"},
		{"[fd00::1%eth0]:1", []string{"2001:db8:1:2:3:4:5:6"}, "2001:db8:1:2::"},
		{"10.0.0.1:1", []string{strings.Repeat("10.0.0.9,", 1000) + "10.0.0.8"}, "10.0.0.9"},
		{"@", []string{"198.51.100.1"}, "invalid IP"},
		{"", nil, "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.forwarded}}
		if got := clientAddress(r, trusted).String(); got != c.want {
			t.Errorf("%s via %.60q: got %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
}

// TestProxiesTellWhoSends: behind a trusted proxy each sender has his own allowance.
func TestProxiesTellWhoSends(t *testing.T) {
	var at time.Time
	h := guarded(t, &at, func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	for range 20 {
		from(h, "10.0.0.1:1", "none", "X-Forwarded-For", "203.0.113.7")
	}
	if got := from(h, "10.0.0.1:1", "none", "X-Forwarded-For", "203.0.113.7").Code; got != 429 {
		t.Errorf("got %d for the forger, want 429", got)
	}
	if got := from(h, "10.0.0.1:1", "good", "X-Forwarded-For", "203.0.113.7, 198.51.100.1").Code; got != 200 {
		t.Errorf("got %d for another sender, who was told the forger's address, want 200", got)
	}
}

func BenchmarkGuard(b *testing.B) {
	g := newGuard(Limits{})
	now := time.UnixMilli(5)
	s := sender{"shop", netip.MustParseAddr("203.0.113.7")}
	b.ReportAllocs()
	for b.Loop() {
		g.admits(s, now)
		g.failed(s, 1, now)
	}
}
