package connectorstest

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tillstream/tillstream/connectors"
)

func changedByte(t *testing.T, c connectors.Connector, o Options) {
	w := webhooker(t, opened(t, c, o, o.Outside, io.Discard))
	req, body := o.Signed()
	if _, v := w.Verify(t.Context(), req, body); v.Kind != connectors.Genuine {
		t.Fatalf("got %+v for the genuine request", v)
	}
	for i := range body {
		changed := bytes.Clone(body)
		changed[i] ^= 1
		if _, v := w.Verify(t.Context(), req.Clone(t.Context()), changed); v.Kind != connectors.Forged {
			t.Fatalf("byte %d of the body changed: got %+v, want forged", i, v)
		}
	}
	for _, other := range [][]byte{nil, append(bytes.Clone(body), ' '), body[:len(body)-1]} {
		if _, v := w.Verify(t.Context(), req.Clone(t.Context()), other); v.Kind != connectors.Forged {
			t.Errorf("body of %d bytes instead of %d: got %+v, want forged", len(other), len(body), v)
		}
	}
	bare := req.Clone(t.Context())
	bare.Header = http.Header{}
	if _, v := w.Verify(t.Context(), bare, body); v.Kind != connectors.Forged {
		t.Errorf("without headers: got %+v, want forged", v)
	}
}

func sameDelivery(t *testing.T, c connectors.Connector, o Options) {
	w := webhooker(t, opened(t, c, o, o.Outside, io.Discard))
	req, body := o.Signed()
	first, _ := w.Verify(t.Context(), req.Clone(t.Context()), body)
	second, _ := w.Verify(t.Context(), req.Clone(t.Context()), body)
	if first.ID == "" || first.ID != second.ID || !bytes.Equal(first.Body, body) || first.Connection != "shop" || first.Environment != o.Environment {
		t.Errorf("got deliveries %q and %q of %s/%s, want one id of the connection", first.ID, second.ID, first.Environment, first.Connection)
	}
}

// Bounds of what a delivery may store of its headers.
const (
	headersMax     = 16
	headerBytesMax = 4 << 10
)

// headers: without the headers that carry it no signature holds, whatever is left of them, and what a delivery keeps
// of the headers is little and no secret.
func headers(t *testing.T, c connectors.Connector, o Options) {
	w := webhooker(t, opened(t, c, o, o.Outside, io.Discard))
	genuine, body := o.Signed()
	needed := 0
	for name, values := range genuine.Header {
		for what, edit := range map[string]func(http.Header){
			"missing": func(h http.Header) { h.Del(name) },
			"empty":   func(h http.Header) { h[name] = []string{""} },
			"cut":     func(h http.Header) { h[name] = []string{values[0][:len(values[0])/2]} },
			"junk":    func(h http.Header) { h[name] = []string{strings.Repeat("\x00\xff,=;\"", 50)} },
			"huge":    func(h http.Header) { h[name] = []string{values[0] + strings.Repeat("A", 15<<10)} },
		} {
			r := genuine.Clone(t.Context())
			edit(r.Header)
			d, v := w.Verify(t.Context(), r, bytes.Clone(body))
			if v.Kind == connectors.Forged && what == "missing" {
				needed++
			}
			if v.Kind == connectors.Genuine && !bytes.Equal(d.Body, body) {
				t.Errorf("%s %s: genuine, with another body", name, what)
			}
			if v.Kind != connectors.Genuine && v.Reason == "" {
				t.Errorf("%s %s: got %+v without a reason", name, what, v)
			}
		}
	}
	if needed == 0 {
		t.Error("no header is needed: where is the signature?")
	}
	d, _ := w.Verify(t.Context(), genuine, body)
	kept := 0
	for name, value := range d.Headers {
		kept += len(name) + len(value)
		if name != http.CanonicalHeaderKey(name) {
			t.Errorf("kept header %q is not in its canonical form", name)
		}
		for _, s := range o.Secrets {
			if strings.Contains(value, s) {
				t.Errorf("kept header %s holds a secret", name)
			}
		}
		if lower := strings.ToLower(name); strings.Contains(lower, "signature") || strings.Contains(lower, "hmac") || strings.HasSuffix(lower, "-sig") || lower == "authorization" {
			t.Errorf("kept header %s is a signature", name)
		}
	}
	if len(d.Headers) > headersMax || kept > headerBytesMax {
		t.Errorf("got %d headers of %d bytes kept, want at most %d of %d", len(d.Headers), kept, headersMax, headerBytesMax)
	}
}

// understood: a genuine delivery gives records, a source serves several at once, and says where its signature does not
// bind the body.
func understood(t *testing.T, c connectors.Connector, o Options) {
	w := webhooker(t, opened(t, c, o, o.Outside, io.Discard))
	const several = 8
	var group sync.WaitGroup
	for range several {
		req, body := o.Signed()
		group.Go(func() {
			d, v := w.Verify(t.Context(), req, body)
			events, err := c.Normalize(d)
			if v.Kind != connectors.Genuine || err != nil || len(events) == 0 {
				t.Errorf("got %+v, %d records, %v", v, len(events), err)
			}
			if o.OncePerID && !d.OnceID || d.ReceivedAt.IsZero() || d.Origin == "" {
				t.Errorf("got a delivery of origin %q at %v with OnceID %t, want OnceID %t", d.Origin, d.ReceivedAt, d.OnceID, o.OncePerID)
			}
		})
	}
	group.Wait()
}

// secrets: each active secret is enough, another is not, and neither is one secret's signature of another body.
func secrets(t *testing.T, c connectors.Connector, o Options) {
	w := webhooker(t, opened(t, c, o, o.Outside, io.Discard))
	_, body := o.Signed()
	verdict := func(s Signing) connectors.VerdictKind {
		_, v := w.Verify(t.Context(), o.Sign(s), body)
		return v.Kind
	}
	for n := range max(1, o.ActiveSecrets) {
		if got := verdict(Signing{body, n, o.Now()}); got != connectors.Genuine {
			t.Errorf("under secret %d: got verdict %d, want genuine", n, got)
		}
		if got := verdict(Signing{append(bytes.Clone(body), '\n'), n, o.Now()}); got != connectors.Forged {
			t.Errorf("the signature of another body under secret %d: got verdict %d, want forged", n, got)
		}
	}
	if got := verdict(Signing{body, WrongSecret, o.Now()}); got != connectors.Forged {
		t.Errorf("under a secret that is not ours: got verdict %d, want forged", got)
	}
}

// signedTimes: a time is taken within its bounds and nowhere else, and one that is not signed cannot be moved.
func signedTimes(t *testing.T, c connectors.Connector, o Options) {
	if o.AgeMax == 0 && o.SkewMax == 0 {
		t.Skip("the provider signs no time")
	}
	w := webhooker(t, opened(t, c, o, o.Outside, io.Discard))
	_, body := o.Signed()
	for _, s := range []struct {
		off  time.Duration
		want connectors.VerdictKind
	}{
		{0, connectors.Genuine},
		{-o.AgeMax + 2*time.Second, connectors.Genuine},
		{-o.AgeMax - 2*time.Second, connectors.Forged},
		{o.SkewMax - 2*time.Second, connectors.Genuine},
		{o.SkewMax + 2*time.Second, connectors.Forged},
	} {
		if _, v := w.Verify(t.Context(), o.Sign(Signing{body, 0, o.Now().Add(s.off)}), body); v.Kind != s.want {
			t.Errorf("signed %s from now: got %+v, want verdict %d", s.off, v, s.want)
		}
	}
	old, fresh := o.Sign(Signing{body, 0, o.Now().Add(-o.AgeMax - time.Hour)}), o.Sign(Signing{body, 0, o.Now()})
	for name, value := range fresh.Header {
		if slices.Equal(value, old.Header[name]) {
			continue
		}
		moved := old.Clone(t.Context())
		moved.Header[name] = value
		if _, v := w.Verify(t.Context(), moved, body); v.Kind == connectors.Genuine && len(differing(old.Header, fresh.Header)) > 1 {
			t.Errorf("an old request with the fresh %s: got genuine", name)
		}
	}
}

// differing are the names under which two headers differ.
func differing(a, b http.Header) []string {
	var out []string
	for name := range a {
		if !slices.Equal(a[name], b[name]) {
			out = append(out, name)
		}
	}
	return out
}
