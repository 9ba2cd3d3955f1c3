package generic

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/connectorstest"
	"github.com/tillstream/tillstream/schemas"
)

// The published vector of the Standard Webhooks libraries.
const (
	vectorSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTime      = "1614265330"
	vectorBody      = `{"test": 2432232314}`
	vectorSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

const (
	secondSecret = "whsec_c2Vjb25kLXNlY29uZC1zZWNvbmQtc2Vjb25k"
	wrongSecret  = "whsec_d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmc="
)

var seed = ed25519.NewKeyFromSeed([]byte("0123456789abcdef0123456789abcdef"))

func whpk(k ed25519.PrivateKey) string {
	return publicKeyPrefix + base64.StdEncoding.EncodeToString(k.Public().(ed25519.PublicKey))
}

func secrets(texts ...string) []schemas.Secret {
	var out []schemas.Secret
	for _, t := range texts {
		out = append(out, schemas.NewSecret(t))
	}
	return out
}

func opened(t testing.TB, c *Config, now time.Time) *source {
	t.Helper()
	s, err := open(c, connectors.Env{
		Connection: "shop", Environment: schemas.Live, Now: func() time.Time { return now }, Log: zerolog.Nop(), PublicURL: "https://hooks.example.com/webhooks/shop",
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sign(secret, id, timestamp, body string) string {
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimPrefix(secret, secretPrefix), "="))
	if err != nil {
		panic(err)
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte(id + "." + timestamp + "." + body))
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func request(id, timestamp, signature string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/webhooks/shop", nil)
	r.Header.Set("webhook-id", id)
	r.Header.Set("webhook-timestamp", timestamp)
	r.Header.Set("webhook-signature", signature)
	r.Header.Set("Content-Type", "application/json")
	return r
}

func TestVerify(t *testing.T) {
	at := time.Unix(1614265330, 0)
	asymmetric := "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(seed, []byte(vectorID+"."+vectorTime+"."+vectorBody)))
	sure := &Config{Secrets: secrets(vectorSecret)}
	for _, c := range []struct {
		name               string
		config             *Config
		id, time, sig      string
		body               string
		now                time.Time
		kind               connectors.VerdictKind
		reason             string
		without, twice     string
		header, headerText string
	}{
		{name: "the published vector", kind: connectors.Genuine},
		{name: "a secret without its prefix", config: &Config{Secrets: secrets("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}, kind: connectors.Genuine},
		{name: "a signature without padding", sig: strings.TrimRight(vectorSignature, "="), kind: connectors.Genuine},
		{name: "a padded secret", config: &Config{Secrets: secrets(wrongSecret)}, sig: sign(wrongSecret, vectorID, vectorTime, vectorBody), kind: connectors.Genuine},
		{name: "a padded secret without its padding", config: &Config{Secrets: secrets(strings.TrimRight(wrongSecret, "="))}, sig: sign(wrongSecret, vectorID, vectorTime, vectorBody), kind: connectors.Genuine},
		{name: "the second of two secrets", config: &Config{Secrets: secrets(secondSecret, vectorSecret)}, kind: connectors.Genuine},
		{name: "the second of two signatures", sig: sign(wrongSecret, vectorID, vectorTime, vectorBody) + " " + vectorSignature, kind: connectors.Genuine},
		{name: "an unknown version beside ours", sig: "v2,AAAA v1b,BBBB " + vectorSignature, kind: connectors.Genuine},
		{name: "only unknown versions", sig: "v2," + vectorSignature[3:], kind: connectors.Forged, reason: "holds no v1 or v1a"},
		{name: "nothing but white space", sig: "  ", kind: connectors.Forged, reason: "holds no v1"},
		{name: "a signature without version", sig: vectorSignature[3:], kind: connectors.Forged, reason: "holds no v1"},
		{name: "no base64", sig: "v1,???", kind: connectors.Forged, reason: "does not match"},
		{name: "an empty signature", sig: "v1,", kind: connectors.Forged, reason: "does not match"},
		{name: "another secret", config: &Config{Secrets: secrets(wrongSecret)}, kind: connectors.Forged, reason: "does not match"},
		{name: "another body", body: `{"test": 2432232315}`, kind: connectors.Forged, reason: "does not match"},
		{name: "the same body written anew", body: `{"test":2432232314}`, kind: connectors.Forged, reason: "does not match"},
		{name: "another id", id: "msg_other", kind: connectors.Forged, reason: "does not match"},
		{name: "asymmetric", config: &Config{PublicKeys: []string{whpk(seed)}}, sig: asymmetric, kind: connectors.Genuine},
		{name: "asymmetric beside a secret", config: &Config{PublicKeys: []string{whpk(seed)}, Secrets: secrets(wrongSecret)}, sig: asymmetric, kind: connectors.Genuine},
		{name: "asymmetric without a public key", sig: asymmetric, kind: connectors.Forged, reason: "does not match"},
		{name: "asymmetric of another body", config: &Config{PublicKeys: []string{whpk(seed)}}, sig: asymmetric, body: "{}", kind: connectors.Forged, reason: "does not match"},
		{name: "a symmetric signature as asymmetric", config: &Config{PublicKeys: []string{whpk(seed)}}, sig: "v1a" + vectorSignature[2:], kind: connectors.Forged, reason: "does not match"},
		{
			name: "the public key as a secret", config: &Config{PublicKeys: []string{whpk(seed)}},
			sig: sign(whpk(seed)[len(publicKeyPrefix):], vectorID, vectorTime, vectorBody), kind: connectors.Forged, reason: "does not match",
		},
		{name: "as old as it may be", now: at.Add(5 * time.Minute), kind: connectors.Genuine},
		{name: "too old", now: at.Add(5*time.Minute + time.Second), kind: connectors.Forged, reason: "too old"},
		{name: "as early as it may be", now: at.Add(-5 * time.Minute), kind: connectors.Genuine},
		{name: "of the future", now: at.Add(-5*time.Minute - time.Second), kind: connectors.Forged, reason: "in the future"},
		{name: "a wider tolerance", config: &Config{Secrets: sure.Secrets, Tolerance: time.Hour}, now: at.Add(50 * time.Minute), kind: connectors.Genuine},
		{name: "a time with a sign", time: "+1614265330", kind: connectors.Forged, reason: "no whole number"},
		{name: "a time with a dot", time: "1614265330.0", kind: connectors.Forged, reason: "no whole number"},
		{name: "a time without end", time: strings.Repeat("9", 40), kind: connectors.Forged, reason: "no whole number"},
		{name: "an id with a dot", id: "msg.1", sig: sign(vectorSecret, "msg.1", vectorTime, vectorBody), kind: connectors.Forged, reason: "malformed"},
		{name: "an id with a space", id: "msg 1", sig: sign(vectorSecret, "msg 1", vectorTime, vectorBody), kind: connectors.Forged, reason: "malformed"},
		{name: "a long id", id: strings.Repeat("m", 129), sig: sign(vectorSecret, strings.Repeat("m", 129), vectorTime, vectorBody), kind: connectors.Forged, reason: "malformed"},
		{name: "too many signatures", sig: strings.Repeat("v2,AAAA ", 8) + vectorSignature, kind: connectors.Forged, reason: "more than 8"},
		{name: "a long list", sig: strings.Repeat("v", 3000), kind: connectors.Forged, reason: "too long"},
		{name: "no id", without: headerID, kind: connectors.Forged, reason: "Webhook-Id is missing"},
		{name: "no time", without: headerTimestamp, kind: connectors.Forged, reason: "Webhook-Timestamp is missing"},
		{name: "no signature", without: headerSignature, kind: connectors.Forged, reason: "Webhook-Signature is missing"},
		{name: "two ids", twice: headerID, kind: connectors.Forged, reason: "repeated"},
		{name: "two signatures", twice: headerSignature, kind: connectors.Forged, reason: "repeated"},
		{name: "an empty batch", body: "[ \n]", sig: sign(vectorSecret, vectorID, vectorTime, "[ \n]"), header: "Content-Type", headerText: "application/cloudevents-batch+json", kind: connectors.Ping},
		{name: "a forged empty batch", body: "[]", header: "Content-Type", headerText: "application/cloudevents-batch+json", kind: connectors.Forged, reason: "does not match"},
	} {
		t.Run(c.name, func(t *testing.T) {
			or := func(v *string, def string) {
				if *v == "" {
					*v = def
				}
			}
			or(&c.id, vectorID)
			or(&c.time, vectorTime)
			or(&c.sig, vectorSignature)
			or(&c.body, vectorBody)
			if c.config == nil {
				c.config = sure
			}
			if c.now.IsZero() {
				c.now = at
			}
			r := request(c.id, c.time, c.sig)
			if c.without != "" {
				r.Header.Del(c.without)
			}
			if c.twice != "" {
				r.Header.Add(c.twice, r.Header.Get(c.twice))
			}
			if c.header != "" {
				r.Header.Set(c.header, c.headerText)
			}
			d, v := opened(t, c.config, c.now).Verify(t.Context(), r, []byte(c.body))
			if v.Kind != c.kind || !strings.Contains(v.Reason, c.reason) {
				t.Fatalf("got %+v, want %d with %q", v, c.kind, c.reason)
			}
			if v.Kind == connectors.Genuine && (d.ID != c.id || string(d.Body) != c.body || !d.ReceivedAt.Equal(c.now) || d.Origin != schemas.OriginWebhook) {
				t.Errorf("got delivery %+v", d)
			}
		})
	}
}

// TestHeadersThatAreKept: what Normalize needs, bounded, valid, and no signature.
func TestHeadersThatAreKept(t *testing.T) {
	for _, c := range []struct {
		name        string
		given, want map[string]string
	}{
		{"plain", nil, map[string]string{"Content-Type": "application/json", "Webhook-Id": "msg_1"}},
		{"structured", map[string]string{"Content-Type": "application/cloudevents+json"}, map[string]string{"Content-Type": "application/cloudevents+json"}},
		{
			"binary",
			map[string]string{"Ce-Id": "e", "Ce-Specversion": "1.0", "Ce-Region": "eu\xff", "Ce-Traceparent": "x", "X-Other": "y"},
			map[string]string{"Content-Type": "application/json", "Ce-Id": "e", "Ce-Specversion": "1.0", "Ce-Region": "eu%FF"},
		},
		{
			"much",
			map[string]string{"Ce-Id": "e", "Ce-A": strings.Repeat("a", 5000), "Ce-B": strings.Repeat("b", 1000), "Ce-C": strings.Repeat("c", 1000), "Ce-D": strings.Repeat("d", 1000)},
			map[string]string{"Content-Type": "application/json", "Ce-Id": "e", "Ce-A": strings.Repeat("a", 1024), "Ce-B": strings.Repeat("b", 1000), "Ce-C": strings.Repeat("c", 1000)},
		},
	} {
		r := request("msg_1", "1", "v1,secret")
		for name, value := range c.given {
			r.Header[name] = []string{value}
		}
		if got := kept(r.Header); !maps.Equal(got, c.want) {
			t.Errorf("%s: got %.300v, want %.300v", c.name, got, c.want)
		}
	}
}

func TestHandshake(t *testing.T) {
	for _, c := range []struct {
		name, method, origin string
		allowed              []string
		ok                   bool
	}{
		{"asked", http.MethodOptions, "shop.example.com", nil, true},
		{"asked by one that is on the list", http.MethodOptions, "Shop.example.com", []string{"shop.example.com"}, true},
		{"asked by another", http.MethodOptions, "other.example.com", []string{"shop.example.com"}, false},
		{"no question", http.MethodOptions, "", nil, false},
		{"an event", http.MethodPost, "shop.example.com", nil, false},
		{"junk", http.MethodOptions, "a\x7fb", nil, false},
		{"very long", http.MethodOptions, strings.Repeat("a", 300), nil, false},
	} {
		s := opened(t, &Config{Secrets: secrets(vectorSecret), AllowedOrigins: c.allowed}, start)
		r := httptest.NewRequest(c.method, "/webhooks/shop", nil)
		r.Header.Set("WebHook-Request-Origin", c.origin)
		r.Header.Set("WebHook-Request-Rate", "120")
		got, ok := s.Handshake(r)
		if ok != c.ok {
			t.Errorf("%s: got %t, want %t", c.name, ok, c.ok)
		}
		if ok && (got.Get("WebHook-Allowed-Origin") != c.origin || got.Get("WebHook-Allowed-Rate") != "*" || got.Get("Allow") != "POST") {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		config Config
		field  string // empty: nothing is wrong
	}{
		{"a secret", Config{Secrets: secrets(vectorSecret)}, ""},
		{"a public key", Config{PublicKeys: []string{whpk(seed)}}, ""},
		{"everything", Config{
			Secrets: secrets(vectorSecret, secondSecret), Tolerance: time.Minute, Ordering: "sequence", Amounts: "minor", Fields: map[string]string{"order_id": "$.no", "items.name": "t"},
			Statuses: map[string]schemas.PaymentStatus{"bezahlt": "paid", "egal": "UNKNOWN"},
		}, ""},
		{"nothing", Config{}, "secrets"},
		{"an empty secret", Config{Secrets: secrets("")}, "secrets.0"},
		{"only a prefix", Config{Secrets: secrets("whsec_")}, "secrets.0"},
		{"a short secret", Config{Secrets: secrets(vectorSecret, "whsec_"+base64.StdEncoding.EncodeToString([]byte("23 bytes are not enough")))}, "secrets.1"},
		{"a password", Config{Secrets: secrets("correct horse battery staple")}, "secrets.0"},
		{"a private key", Config{Secrets: secrets("whsk_" + base64.StdEncoding.EncodeToString(seed))}, "secrets.0"},
		{"a secret as public key", Config{PublicKeys: []string{vectorSecret}}, "public_keys.0"},
		{"a short public key", Config{PublicKeys: []string{"whpk_AAAA"}}, "public_keys.0"},
		{"many secrets", Config{Secrets: secrets(strings.Split(strings.Repeat(vectorSecret+" ", 8)+vectorSecret, " ")...)}, "secrets"},
		{"a long tolerance", Config{Secrets: secrets(vectorSecret), Tolerance: 24 * time.Hour}, "tolerance"},
		{"an ordering", Config{Secrets: secrets(vectorSecret), Ordering: "random"}, "ordering"},
		{"amounts", Config{Secrets: secrets(vectorSecret), Amounts: "float"}, "amounts"},
		{"a field", Config{Secrets: secrets(vectorSecret), Fields: map[string]string{"oder_id": "x"}}, "fields.oder_id"},
		{"a path", Config{Secrets: secrets(vectorSecret), Fields: map[string]string{"order_id": "a..b"}}, "fields.order_id"},
		{"a long path", Config{Secrets: secrets(vectorSecret), Fields: map[string]string{"order_id": strings.Repeat("a.", 20) + "a"}}, "fields.order_id"},
		{"no path", Config{Secrets: secrets(vectorSecret), Fields: map[string]string{"order_id": ""}}, "fields.order_id"},
		{"a status", Config{Secrets: secrets(vectorSecret), Statuses: map[string]schemas.PaymentStatus{"bezahlt": "PAYED"}}, "statuses.bezahlt"},
		{"a word given twice", Config{Secrets: secrets(vectorSecret), Statuses: map[string]schemas.PaymentStatus{"Neu": "PENDING", "neu": "PAID"}}, "statuses.neu"},
	} {
		var fields []string
		for _, f := range c.config.Validate() {
			if f.Level != connectors.Bad || f.Hint == "" || f.Message == "" {
				t.Errorf("%s: got %+v, want what is wrong and what to do", c.name, f)
			}
			fields = append(fields, f.Field)
		}
		if got := strings.Join(fields, " "); got != c.field {
			t.Errorf("%s: got problems of %q, want %q", c.name, got, c.field)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	env := connectors.Env{Connection: "shop", Now: time.Now}
	for _, c := range []Config{{}, {Secrets: secrets("x")}, {PublicKeys: []string{"x"}}} {
		if _, err := open(&c, env); err == nil || !strings.HasPrefix(err.Error(), "generic connection shop: ") {
			t.Errorf("%+v: got %v", c, err)
		}
	}
	if _, err := open(&Config{Secrets: secrets(vectorSecret)}, connectors.Env{}); err == nil {
		t.Error("opened without a clock")
	}
}

func TestCheckSaysWhatToTellTheShop(t *testing.T) {
	s := opened(t, &Config{Secrets: secrets(vectorSecret, secondSecret)}, start)
	got := s.Check(t.Context())
	if len(got) != 2 || got[0].Message != "2 signing secrets and 0 public keys are active" || !strings.Contains(got[1].Message, "https://hooks.example.com/webhooks/shop") {
		t.Errorf("got %+v", got)
	}
	s.env.PublicURL = ""
	if got := s.Check(t.Context()); got[1].Level != connectors.Warn {
		t.Errorf("got %+v, want a warning that no address is known", got[1])
	}
}

func TestConformance(t *testing.T) {
	var list []connectors.Delivery
	for _, file := range connectorstest.GoldenFiles(t, samplesMin) {
		if s := readSample(t, file); len(s.config.Fields) == 0 && s.config.Ordering == "" && !strings.Contains(file, "bad-") {
			list = append(list, s.delivery)
		}
	}
	body := readSample(t, "testdata/plain.txtar").delivery.Body
	signed := func(s connectorstest.Signing) *http.Request {
		secret, at := wrongSecret, strconv.FormatInt(s.At.Unix(), 10)
		if s.Secret >= 0 {
			secret = []string{vectorSecret, secondSecret}[s.Secret]
		}
		return request("msg_1", at, sign(secret, "msg_1", at, string(s.Body)))
	}
	connectorstest.Run(t, Connector, connectorstest.Options{
		Config:      &Config{Secrets: secrets(vectorSecret, secondSecret)},
		Secrets:     []string{vectorSecret, secondSecret, strings.TrimPrefix(secondSecret, secretPrefix), "second-second-second-second"},
		Environment: schemas.Live, Now: func() time.Time { return start }, Outside: http.NewFileTransport(http.Dir(t.TempDir())),
		Samples: list, Batches: true, Sign: signed, ActiveSecrets: 2, AgeMax: ToleranceDefault, SkewMax: ToleranceDefault,
		Signed: func() (*http.Request, []byte) {
			return signed(connectorstest.Signing{Body: body, At: start}), append([]byte(nil), body...)
		},
		Tombstones: []connectors.Delivery{readSample(t, "testdata/plain--deleted.txtar").delivery},
	})
}

// FuzzNormalize: no body and no header panics; what is understood is complete, and bounded.
func FuzzNormalize(f *testing.F) {
	for _, file := range connectorstest.GoldenFiles(f, samplesMin) {
		s := readSample(f, file)
		f.Add(s.delivery.Body, s.delivery.Headers["Content-Type"], s.delivery.Headers["Ce-Id"], s.delivery.Headers["Ce-Time"])
	}
	c := &Config{Fields: map[string]string{"order_number": "a.1.b"}, Statuses: map[string]schemas.PaymentStatus{"x": "PAID"}}
	f.Fuzz(func(t *testing.T, body []byte, contentType, id, at string) {
		headers := map[string]string{"Content-Type": contentType}
		if id != "" {
			headers["Ce-Id"], headers["Ce-Time"], headers["Ce-Specversion"], headers["Ce-Source"], headers["Ce-Type"] = id, at, "1.0", "s", "t"
		}
		events, err := Connector.For(c).Normalize(delivery(string(body), headers))
		if err != nil {
			return
		}
		for _, e := range events {
			if e.EventID == "" || e.RootID == "" || e.ProviderTime.IsZero() || e.Fingerprint == "" || len(e.Fields) > connectors.FieldsMax {
				t.Errorf("incomplete: %+v", e)
			}
			for _, a := range []*schemas.Amount{e.Amount, e.RefundedTotal} {
				if a != nil {
					if _, err := a.Money(); err != nil {
						t.Error(err)
					}
				}
			}
		}
	})
}

// FuzzVerify: only what was signed with the secret is genuine.
func FuzzVerify(f *testing.F) {
	f.Add(vectorID, vectorTime, vectorSignature, []byte(vectorBody), "application/json")
	f.Add("a.b", "1e9", "v1,", []byte("[]"), "application/cloudevents-batch+json")
	f.Add("a", "-1", "v1a,AAAA v1,"+strings.Repeat("A", 43), []byte{}, "")
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte, contentType string) {
		r := request("", "", "")
		r.Header["Webhook-Id"], r.Header["Webhook-Timestamp"], r.Header["Webhook-Signature"] = []string{id}, []string{timestamp}, []string{signature}
		r.Header["Content-Type"] = []string{contentType}
		s := opened(t, &Config{Secrets: secrets(vectorSecret), PublicKeys: []string{whpk(seed)}}, time.Unix(1614265330, 0))
		_, v := s.Verify(t.Context(), r, body)
		if v.Kind == connectors.Forged {
			return
		}
		want := strings.TrimRight(sign(vectorSecret, id, timestamp, string(body)), "=")
		if !strings.Contains(signature, want) {
			t.Errorf("got %+v for id %q, time %q and signature %q", v, id, timestamp, signature)
		}
	})
}
