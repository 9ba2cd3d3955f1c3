package paypal

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// web answers for the outside; it counts what leaves.
type web struct {
	calls atomic.Int64
	serve func(*http.Request) (*http.Response, error)
}

func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	w.calls.Add(1)
	return w.serve(r)
}

func page(status int, body []byte) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body))}
}

// clock is a time that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func opened(t testing.TB, c *Config, env schemas.Environment, at *clock, w *web) *source {
	t.Helper()
	if c.ClientID == "" {
		c.ClientID, c.ClientSecret = "id", schemas.NewSecret("secret")
	}
	s, err := open(c, connectors.Env{
		Connection: "shop", Environment: env, Now: at.now, Log: zerolog.Nop(), HTTP: &http.Client{Transport: w}, PublicURL: "https://hooks.example.com/webhooks/shop",
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func request(h map[string]string) *http.Request {
	r := &http.Request{Method: http.MethodPost, Header: http.Header{}}
	for k, v := range h {
		r.Header.Set(k, v)
	}
	return r
}

// genuine is a delivery that PayPal really made and signed.
type genuine struct {
	headers map[string]string
	body    []byte
	src     *source
	web     *web
	at      *clock
}

func recorded(t testing.TB, folder string) genuine {
	t.Helper()
	dir := filepath.Join("testdata/signed", folder)
	var g genuine
	var expected struct {
		WebhookID string `json:"webhook_id"`
	}
	decode := func(name string, into any) {
		if err := json.Unmarshal(file(t, filepath.Join(dir, name)), into); err != nil {
			t.Fatal(err)
		}
	}
	decode("headers.json", &g.headers)
	decode("expected.json", &expected)
	g.body = file(t, filepath.Join(dir, "body.json"))
	// The address is not covered by the signature; in one recording it is a placeholder.
	g.headers["PAYPAL-CERT-URL"] = "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77"
	sent, err := time.Parse(time.RFC3339, g.headers["PAYPAL-TRANSMISSION-TIME"])
	if err != nil {
		t.Fatal(err)
	}
	cert := file(t, filepath.Join(dir, "cert.pem"))
	known := g.headers["PAYPAL-CERT-URL"]
	g.web = &web{serve: func(r *http.Request) (*http.Response, error) {
		if r.URL.String() != known {
			return page(404, nil), nil
		}
		return page(200, cert), nil
	}}
	g.at = &clock{t: sent}
	anchor := filepath.Join(t.TempDir(), "trust.pem")
	writePEM(t, anchor, file(t, "trust/DigiCertSHA2ExtendedValidationServerCA.der"))
	g.src = opened(t, &Config{WebhookID: expected.WebhookID, TrustFile: anchor}, schemas.Sandbox, g.at, g.web)
	return g
}

func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writePEM(t testing.TB, name string, certs ...[]byte) {
	t.Helper()
	var b []byte
	for _, c := range certs {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestGenuineSignatures: what PayPal signed verifies, at its time and for weeks after; any changed byte does not.
func TestGenuineSignatures(t *testing.T) {
	for _, folder := range []string{"2015-sale-completed", "2017-billing-plan-created"} {
		t.Run(folder, func(t *testing.T) {
			g := recorded(t, folder)
			d, v := g.src.Verify(t.Context(), request(g.headers), g.body)
			if v.Kind != connectors.Genuine {
				t.Fatalf("got %v, want genuine", v)
			}
			if d.ID != g.headers["PAYPAL-TRANSMISSION-ID"] || !bytes.Equal(d.Body, g.body) || d.Test || d.Connection != "shop" ||
				d.Environment != schemas.Sandbox || !d.ReceivedAt.Equal(g.at.now()) || d.Origin != schemas.OriginWebhook {
				t.Errorf("got delivery %+v", d)
			}
			for i := range g.body {
				for _, flip := range []byte{1, 0x20, 0x80} {
					changed := bytes.Clone(g.body)
					changed[i] ^= flip
					if _, v := g.src.Verify(t.Context(), request(g.headers), changed); v.Kind != connectors.Forged {
						t.Fatalf("body byte %d changed: got %v, want forged", i, v)
					}
				}
			}
			for name, value := range g.headers {
				for i := range value {
					for _, flip := range []byte{1, 2, 0x20} {
						changed := []byte(value)
						changed[i] ^= flip
						h := map[string]string{}
						for k, v := range g.headers {
							h[k] = v
						}
						h[name] = string(changed)
						// One second on, so that another certificate address may be tried rather than counted as a flood.
						g.at.add(time.Second / 100)
						if _, v := g.src.Verify(t.Context(), request(h), g.body); v.Kind == connectors.Genuine {
							t.Fatalf("%s byte %d changed from %q to %q: got genuine", name, i, value, changed)
						}
					}
				}
			}
			if _, v := g.src.Verify(t.Context(), request(g.headers), g.body); v.Kind != connectors.Genuine {
				t.Errorf("unchanged, after all that: got %v, want genuine", v)
			}
		})
	}
}

// TestHeaders: what is wrong before any certificate is looked at costs no request.
func TestHeaders(t *testing.T) {
	for name, edit := range map[string]func(h http.Header, g *genuine){
		"no id":              func(h http.Header, _ *genuine) { h.Del(headerID) },
		"no time":            func(h http.Header, _ *genuine) { h.Del(headerTime) },
		"no signature":       func(h http.Header, _ *genuine) { h.Del(headerSignature) },
		"no address":         func(h http.Header, _ *genuine) { h.Del(headerCert) },
		"no algorithm":       func(h http.Header, _ *genuine) { h.Del(headerAlgorithm) },
		"two signatures":     func(h http.Header, _ *genuine) { h.Add(headerSignature, h.Get(headerSignature)) },
		"SHA-1":              func(h http.Header, _ *genuine) { h.Set(headerAlgorithm, "SHA1withRSA") },
		"other case":         func(h http.Header, _ *genuine) { h.Set(headerAlgorithm, "sha256withrsa") },
		"algorithm junk":     func(h http.Header, _ *genuine) { h.Set(headerAlgorithm, "SHA256withRSA; none") },
		"no date":            func(h http.Header, _ *genuine) { h.Set(headerTime, "yesterday") },
		"a bar in the id":    func(h http.Header, _ *genuine) { h.Set(headerID, h.Get(headerID)+"|") },
		"line end in base64": func(h http.Header, _ *genuine) { h.Set(headerSignature, h.Get(headerSignature)+"\n") },
		"spare base64 bits": func(h http.Header, _ *genuine) {
			h.Set(headerSignature, strings.Replace(h.Get(headerSignature), "g==", "h==", 1))
		},
		"too old":              func(_ http.Header, g *genuine) { g.at.add(transmissionAgeMax + time.Second) },
		"from the future":      func(_ http.Header, g *genuine) { g.at.add(-transmissionSkewMax - time.Second) },
		"header without bound": func(h http.Header, _ *genuine) { h.Set(headerSignature, strings.Repeat("A", 5000)) },
		"no body":              func(_ http.Header, g *genuine) { g.body = nil },
	} {
		t.Run(name, func(t *testing.T) {
			g := recorded(t, "2015-sale-completed")
			r := request(g.headers)
			edit(r.Header, &g)
			if _, v := g.src.Verify(t.Context(), r, g.body); v.Kind != connectors.Forged {
				t.Errorf("got %v, want forged", v)
			}
			if n := g.web.calls.Load(); n != 0 {
				t.Errorf("got %d outbound requests, want 0", n)
			}
		})
	}
	t.Run("a retry after three days, a resend after thirty", func(t *testing.T) {
		g := recorded(t, "2015-sale-completed")
		for _, days := range []int{3, 27} {
			g.at.add(time.Duration(days) * 24 * time.Hour)
			if _, v := g.src.Verify(t.Context(), request(g.headers), g.body); v.Kind != connectors.Genuine {
				t.Errorf("got %v, want genuine", v)
			}
		}
	})
}

// TestCertificateAddress: no spelling of an address reaches anything but PayPal's certificates.
func TestCertificateAddress(t *testing.T) {
	const path = "/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77"
	tricks := []string{
		"http://api.sandbox.paypal.com" + path, "HTTPS://api.sandbox.paypal.com" + path, "//api.sandbox.paypal.com" + path, "ftp://api.sandbox.paypal.com" + path,
		"https://evil.example" + path, "https://api.sandbox.paypal.com.evil.example" + path, "https://evilapi.sandbox.paypal.com" + path,
		"https://evil.sandbox.paypal.com" + path, "https://paypal.com" + path, "https://www.paypal.com" + path,
		"https://api.sandbox.paypal.com@evil.example" + path, "https://evil.example@api.sandbox.paypal.com" + path, "https://user:pw@api.sandbox.paypal.com" + path,
		"https://api.sandbox.paypal.com:443" + path, "https://api.sandbox.paypal.com:8443" + path, "https://api.sandbox.paypal.com:443@evil.example" + path,
		"https://api.sandbox.paypal.com." + path, "https://API.sandbox.paypal.com" + path, "https://api.sandbox.paypal.com%2eevil.example" + path,
		"https://api.sandbox.paypal.com#@evil.example" + path, "https://evil.example#api.sandbox.paypal.com" + path, "https://evil.example?api.sandbox.paypal.com" + path,
		"https://api.sandbox.paypal.com\\@evil.example" + path, "https://evil.example\\.api.sandbox.paypal.com" + path, "https:\\\\api.sandbox.paypal.com" + path,
		"https://127.0.0.1" + path, "https://[::1]" + path, "https://[::ffff:127.0.0.1]" + path, "https://0x7f000001" + path, "https://2130706433" + path,
		"https://169.254.169.254" + path, "https://xn--pypal-4ve.com" + path, "https://api.sandbox.p\u0430ypal.com" + path,
		"https://api.sandbox.paypal.com/v1/notifications/certs/../../../redirect", "https://api.sandbox.paypal.com/v1/notifications/certs/%2e%2e/x",
		"https://api.sandbox.paypal.com/v1/notifications/certs/", "https://api.sandbox.paypal.com/v1/notifications/certs/a/b",
		"https://api.sandbox.paypal.com" + path + "?u=https://evil.example", "https://api.sandbox.paypal.com" + path + "#x", "https://api.sandbox.paypal.com/other" + path,
		" https://api.sandbox.paypal.com" + path, "https://api.sandbox.paypal.com" + path + " ", "https://api.sandbox.paypal.com" + path + "\x00", "https://api.sandbox.paypal.com" + path + "\r\nHost: evil",
		"https://api.sandbox.paypal.com\t" + path, "file:///etc/passwd", "data:application/x-pem-file,x", "CERT-360caa42", "",
	}
	if len(tricks) < 40 {
		t.Fatalf("got %d tricks, want at least 40", len(tricks))
	}
	g := recorded(t, "2015-sale-completed")
	for _, trick := range tricks {
		h := request(g.headers)
		h.Header[headerCert] = []string{trick}
		if _, v := g.src.Verify(t.Context(), h, g.body); v.Kind != connectors.Forged {
			t.Errorf("%q: got %v, want forged", trick, v)
		}
	}
	if n := g.web.calls.Load(); n != 0 {
		t.Errorf("got %d outbound requests, want 0", n)
	}
	t.Run("a live connection knows no sandbox host", func(t *testing.T) {
		g.src = opened(t, &Config{WebhookID: "4JH86294D6297924G"}, schemas.Live, g.at, g.web)
		if _, v := g.src.Verify(t.Context(), request(g.headers), g.body); v.Kind != connectors.Forged || g.web.calls.Load() != 0 {
			t.Errorf("got %v after %d requests, want forged after none", v, g.web.calls.Load())
		}
	})
	t.Run("a redirect is not followed", func(t *testing.T) {
		g := recorded(t, "2015-sale-completed")
		g.web.serve = func(*http.Request) (*http.Response, error) {
			p := page(302, nil)
			p.Header.Set("Location", "https://evil.example/")
			return p, nil
		}
		if _, v := g.src.Verify(t.Context(), request(g.headers), g.body); v.Kind != connectors.Unverifiable || g.web.calls.Load() != 1 {
			t.Errorf("got %v after %d requests, want unverifiable after 1", v, g.web.calls.Load())
		}
	})
}

// authority is a certificate authority of our own, to make what PayPal never would.
type authority struct {
	t    testing.TB
	key  *rsa.PrivateKey
	cert *x509.Certificate
	der  []byte
}

var start = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t, key: rsaKey(t, 2048)}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: start.AddDate(-1, 0, 0), NotAfter: start.AddDate(10, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	a.der = a.sign(tmpl, tmpl, &a.key.PublicKey)
	a.cert, _ = x509.ParseCertificate(a.der)
	return a
}

func (a *authority) sign(tmpl, parent *x509.Certificate, key crypto.PublicKey) []byte {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

// leaf makes a signing certificate; edit spoils it.
func (a *authority) leaf(key crypto.PublicKey, name string, edit func(*x509.Certificate)) []byte {
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: start.AddDate(0, -1, 0), NotAfter: start.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if edit != nil {
		edit(tmpl)
	}
	return a.sign(tmpl, a.cert, key)
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const twinURL = "https://127.0.0.1:8443/v1/notifications/certs/CERT-1"

func signedBy(t testing.TB, key *rsa.PrivateKey, webhookID string, body []byte) map[string]string {
	t.Helper()
	id, at := "69cd13f0-d67a-11e5-baa3-778b53f4ae55", start.Format(time.RFC3339)
	sum := sha256.Sum256([]byte(id + "|" + at + "|" + webhookID + "|" + strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10)))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		headerID: id, headerTime: at, headerSignature: base64.StdEncoding.EncodeToString(sig), headerCert: twinURL, headerAlgorithm: algorithm,
	}
}

func asPEM(ders ...[]byte) []byte {
	var b []byte
	for _, d := range ders {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d})...)
	}
	return b
}

// TestCertificates: only a valid certificate in PayPal's name, of this environment, below a trusted root verifies.
// What is no certificate at all says nothing: the delivery has to come again.
func TestCertificates(t *testing.T) {
	root, other := newAuthority(t), newAuthority(t)
	key, small := rsaKey(t, 2048), rsaKey(t, 1024)
	middle := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "middle"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: start.AddDate(-1, 0, 0), NotAfter: start.AddDate(5, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	below := &authority{t: t, key: rsaKey(t, 2048)}
	below.der = root.sign(middle, root.cert, &below.key.PublicKey)
	below.cert, _ = x509.ParseCertificate(below.der)
	self := &authority{t: t, key: key, cert: &x509.Certificate{Subject: pkix.Name{CommonName: sandboxName}}}
	body := []byte(`{"id":"WH-1"}`)
	yes := true
	good := root.leaf(&key.PublicKey, sandboxName, nil)
	live := root.leaf(&key.PublicKey, liveName, nil)
	for _, c := range []struct {
		name      string
		served    []byte
		webhookID string
		key       *rsa.PrivateKey
		env       schemas.Environment
		accept    *bool
		want      connectors.VerdictKind
		test      bool
	}{
		{"valid", asPEM(good), "HOOK", key, schemas.Sandbox, nil, connectors.Genuine, false},
		{"CRLF, no final newline", bytes.TrimSpace(bytes.ReplaceAll(asPEM(good), []byte("\n"), []byte("\r\n"))), "HOOK", key, schemas.Sandbox, nil, connectors.Genuine, false},
		{"chain with intermediate", asPEM(below.leaf(&key.PublicKey, sandboxName, nil), below.der), "HOOK", key, schemas.Sandbox, nil, connectors.Genuine, false},
		{"CN only", asPEM(root.leaf(&key.PublicKey, sandboxName, func(c *x509.Certificate) { c.DNSNames = nil })), "HOOK", key, schemas.Sandbox, nil, connectors.Genuine, false},
		{"live", asPEM(live), "HOOK", key, schemas.Live, nil, connectors.Genuine, false},
		{"intermediate missing", asPEM(below.leaf(&key.PublicKey, sandboxName, nil)), "HOOK", key, schemas.Sandbox, nil, connectors.Forged, false},
		{"other webhook", asPEM(good), "OTHER", key, schemas.Sandbox, nil, connectors.Forged, false},
		{"other root", asPEM(other.leaf(&key.PublicKey, sandboxName, nil)), "HOOK", key, schemas.Sandbox, nil, connectors.Forged, false},
		{"self-signed", asPEM(self.leaf(&key.PublicKey, sandboxName, nil)), "HOOK", key, schemas.Sandbox, nil, connectors.Forged, false},
		{"wrong name", asPEM(root.leaf(&key.PublicKey, "evil.example", nil)), "HOOK", key, schemas.Sandbox, nil, connectors.Forged, false},
		{"name below PayPal's", asPEM(root.leaf(&key.PublicKey, "x."+sandboxName, nil)), "HOOK", key, schemas.Sandbox, nil, connectors.Forged, false},
		{"CN right, SAN wrong", asPEM(root.leaf(&key.PublicKey, sandboxName, func(c *x509.Certificate) { c.DNSNames = []string{"evil.example"} })), "HOOK", key, schemas.Sandbox, nil, connectors.Forged, false},
		{"expired", asPEM(root.leaf(&key.PublicKey, sandboxName, func(c *x509.Certificate) { c.NotAfter = start.Add(-time.Hour) })), "HOOK", key, schemas.Sandbox, nil, connectors.Forged, false},
		{"not yet valid", asPEM(root.leaf(&key.PublicKey, sandboxName, func(c *x509.Certificate) { c.NotBefore = start.Add(time.Hour) })), "HOOK", key, schemas.Sandbox, nil, connectors.Forged, false},
		{"an authority", asPEM(root.leaf(&key.PublicKey, sandboxName, func(c *x509.Certificate) { c.IsCA = true })), "HOOK", key, schemas.Sandbox, nil, connectors.Forged, false},
		{"1024 bits", asPEM(root.leaf(&small.PublicKey, sandboxName, nil)), "HOOK", small, schemas.Sandbox, nil, connectors.Forged, false},
		{"other key", asPEM(root.leaf(&root.key.PublicKey, sandboxName, nil)), "HOOK", key, schemas.Sandbox, nil, connectors.Forged, false},
		{"sandbox certificate, live connection", asPEM(good), "HOOK", key, schemas.Live, nil, connectors.Forged, false},
		{"sandbox mock, live connection", asPEM(good), mockWebhookID, key, schemas.Live, &yes, connectors.Forged, false},
		{"live certificate, sandbox connection", asPEM(live), "HOOK", key, schemas.Sandbox, nil, connectors.Forged, false},
		{"mock in the sandbox", asPEM(live), mockWebhookID, key, schemas.Sandbox, nil, connectors.Genuine, true},
		{"mock in live", asPEM(live), mockWebhookID, key, schemas.Live, nil, connectors.Forged, false},
		{"mock in live, let in", asPEM(live), mockWebhookID, key, schemas.Live, &yes, connectors.Genuine, true},
		{"a page of HTML", []byte("<html>"), "HOOK", key, schemas.Sandbox, nil, connectors.Unverifiable, false},
		{"a broken certificate", asPEM([]byte("junk")), "HOOK", key, schemas.Sandbox, nil, connectors.Unverifiable, false},
		{"too large", bytes.Repeat([]byte("x"), certificateBytesMax+1), "HOOK", key, schemas.Sandbox, nil, connectors.Unverifiable, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			anchor := filepath.Join(t.TempDir(), "root.pem")
			writePEM(t, anchor, root.der)
			w := &web{serve: func(*http.Request) (*http.Response, error) { return page(200, c.served), nil }}
			s := opened(t, &Config{WebhookID: "HOOK", TrustFile: anchor, CertificateHosts: []string{"127.0.0.1:8443"}, AcceptTestEvents: c.accept}, c.env, &clock{t: start}, w)
			d, v := s.Verify(t.Context(), request(signedBy(t, c.key, c.webhookID, body)), body)
			if v.Kind != c.want || d.Test != c.test {
				t.Errorf("got %v, test %t, want kind %d, test %t", v, d.Test, c.want, c.test)
			}
		})
	}
}

// twin is a connection to a PayPal of our own.
func twin(t testing.TB, hook string) (*source, *web, *clock, *rsa.PrivateKey) {
	t.Helper()
	root, key := newAuthority(t), rsaKey(t, 2048)
	anchor := filepath.Join(t.TempDir(), "root.pem")
	writePEM(t, anchor, root.der)
	served := asPEM(root.leaf(&key.PublicKey, sandboxName, nil))
	w := &web{serve: func(*http.Request) (*http.Response, error) { return page(200, served), nil }}
	at := &clock{t: start}
	return opened(t, &Config{WebhookID: hook, TrustFile: anchor, CertificateHosts: []string{"127.0.0.1:8443"}}, schemas.Sandbox, at, w), w, at, key
}

// TestCertificateFlood: ten thousand invented addresses in a second cause a handful of fetches, push out no good
// certificate and leave genuine deliveries alone.
func TestCertificateFlood(t *testing.T) {
	s, w, at, key := twin(t, "HOOK")
	body := []byte(`{}`)
	good := signedBy(t, key, "HOOK", body)
	if _, v := s.Verify(t.Context(), request(good), body); v.Kind != connectors.Genuine {
		t.Fatalf("got %v, want genuine", v)
	}
	serve := w.serve
	w.serve = func(*http.Request) (*http.Response, error) { return page(404, nil), nil }
	const seconds, each = 10, 1000
	for i := range seconds * each {
		h := signedBy1(good, headerCert, twinURL+"-"+strconv.Itoa(i))
		if _, v := s.Verify(t.Context(), request(h), body); v.Kind != connectors.Unverifiable {
			t.Fatalf("got %v, want unverifiable", v)
		}
		at.add(time.Second / each)
	}
	if n := w.calls.Load(); n > 1+3+seconds {
		t.Errorf("got %d fetches in %d s, want at most 1 a second after the burst", n, seconds)
	}
	if len(s.certificates.bad) > certificatesMax || len(s.certificates.good) > certificatesMax {
		t.Errorf("got %d failures and %d certificates kept, want at most %d", len(s.certificates.bad), len(s.certificates.good), certificatesMax)
	}
	before := w.calls.Load()
	if _, v := s.Verify(t.Context(), request(good), body); v.Kind != connectors.Genuine || w.calls.Load() != before {
		t.Errorf("after the flood: got %v and %d more fetches, want genuine and none", v, w.calls.Load()-before)
	}
	t.Run("a day later, with the host down, the known certificate still serves", func(t *testing.T) {
		at.add(certificateTTL)
		w.serve = func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }
		if _, v := s.Verify(t.Context(), request(good), body); v.Kind != connectors.Genuine {
			t.Errorf("got %v, want genuine", v)
		}
		w.serve = serve
	})
}

func signedBy1(from map[string]string, name, value string) map[string]string {
	h := map[string]string{}
	for k, v := range from {
		h[k] = v
	}
	h[name] = value
	return h
}

// TestCertificateOnce: many deliveries at once fetch one certificate once, and a failure is remembered briefly.
func TestCertificateOnce(t *testing.T) {
	s, w, at, key := twin(t, "HOOK")
	body := []byte(`{}`)
	good := signedBy(t, key, "HOOK", body)
	serve, gate := w.serve, make(chan struct{})
	w.serve = func(r *http.Request) (*http.Response, error) { <-gate; return serve(r) }
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if _, v := s.Verify(context.Background(), request(good), body); v.Kind != connectors.Genuine {
				t.Errorf("got %v, want genuine", v)
			}
		})
	}
	close(gate)
	group.Wait()
	if n := w.calls.Load(); n != 1 {
		t.Errorf("got %d fetches, want 1", n)
	}
	down := signedBy1(good, headerCert, twinURL+"-down")
	w.serve = func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }
	for range 3 {
		if _, v := s.Verify(t.Context(), request(down), body); v.Kind != connectors.Unverifiable {
			t.Errorf("got %v, want unverifiable", v)
		}
	}
	if n := w.calls.Load(); n != 2 {
		t.Errorf("got %d fetches, want the failure to be remembered", n)
	}
	at.add(certificateFailTTL)
	w.serve = serve
	if _, v := s.Verify(t.Context(), request(down), body); v.Kind != connectors.Genuine {
		t.Errorf("got %v once the host is back, want genuine", v)
	}
}

// TestNoWebhookYet: before the registration nothing can be told, so that a genuine delivery is asked to come again.
func TestNoWebhookYet(t *testing.T) {
	s, _, _, key := twin(t, "")
	body := []byte(`{}`)
	good := signedBy(t, key, "HOOK", body)
	if _, v := s.Verify(t.Context(), request(good), body); v.Kind != connectors.Unverifiable {
		t.Errorf("got %v, want unverifiable", v)
	}
	s.setWebhook("HOOK")
	if _, v := s.Verify(t.Context(), request(good), body); v.Kind != connectors.Genuine {
		t.Errorf("got %v after the registration, want genuine", v)
	}
}

// TestReasonsHoldNoHeader: the reason of a verdict goes to the log, and headers are not for the log.
func TestReasonsHoldNoHeader(t *testing.T) {
	s, w, _, key := twin(t, "HOOK")
	body := []byte(`{}`)
	good := signedBy(t, key, "HOOK", body)
	w.serve = func(r *http.Request) (*http.Response, error) { return nil, fmt.Errorf("dial: no route") }
	for _, name := range []string{headerID, headerTime, headerSignature, headerCert, headerAlgorithm} {
		_, v := s.Verify(t.Context(), request(signedBy1(good, name, good[name]+"-canary")), body)
		for _, value := range append([]string{"canary"}, good[headerID], good[headerSignature], good[headerCert]) {
			if strings.Contains(v.Reason, value) {
				t.Errorf("%s: reason %q holds %q", name, v.Reason, value)
			}
		}
	}
}
