package stripe

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// The vector of Stripe's own form: the secret is the key as it is written.
const (
	vectorSecret = "whsec_test_secret"
	vectorBody   = `{"id":"evt_test_webhook","object":"event"}`
	vectorMAC    = "88a022085c6bdb887b02cb26ff76dd681234d9675c0f22844059f55552a8883a"
	vectorHeader = "t=1492774577,v1=" + vectorMAC
)

func sourceAt(t testing.TB, now time.Time, secrets ...string) *source {
	t.Helper()
	c := &Config{}
	for _, s := range secrets {
		c.SigningSecrets = append(c.SigningSecrets, schemas.NewSecret(s))
	}
	s, err := open(c, connectors.Env{
		Connection: "shop", Environment: schemas.Sandbox, Now: func() time.Time { return now }, Log: zerolog.Nop(), HTTP: &http.Client{},
		PublicURL: "https://hooks.example.com/webhooks/shop",
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func macOf(secret, t, body string) string {
	h := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(h, "%s.%s", t, body)
	return hex.EncodeToString(h.Sum(nil))
}

// TestVerify: what is genuine, and why something is not.
func TestVerify(t *testing.T) {
	at := time.Unix(1492774577, 0)
	zero := strings.Repeat("0", 64)
	for _, c := range []struct {
		name    string
		header  []string
		body    string
		now     time.Time
		secrets []string
		reason  string // empty: genuine
	}{
		{"the vector", []string{vectorHeader}, vectorBody, at, nil, ""},
		{"with the v0 of test mode", []string{vectorHeader + ",v0=" + zero}, vectorBody, at, nil, ""},
		{"signed by two secrets, ours the second", []string{"t=1492774577,v1=" + zero + ",v1=" + vectorMAC}, vectorBody, at, nil, ""},
		{"signed by two secrets, ours the first", []string{vectorHeader + ",v1=" + zero}, vectorBody, at, nil, ""},
		{"the older of our secrets", []string{vectorHeader}, vectorBody, at, []string{"whsec_new", vectorSecret}, ""},
		{"a v1 that is no hex is passed over", []string{"t=1492774577,v1=xyz,v1=" + vectorMAC}, vectorBody, at, nil, ""},
		{"a scheme of tomorrow is passed over", []string{"v9=1," + vectorHeader}, vectorBody, at, nil, ""},
		{"in any order", []string{"v1=" + vectorMAC + ",t=1492774577"}, vectorBody, at, nil, ""},
		{"at the end of the tolerance", []string{vectorHeader}, vectorBody, at.Add(300 * time.Second), nil, ""},
		{"from a clock ahead of ours", []string{vectorHeader}, vectorBody, at.Add(-time.Hour), nil, ""},

		{"from a clock a week ahead", []string{vectorHeader}, vectorBody, at.Add(-7 * 24 * time.Hour), nil, "time ahead"},
		{"too old", []string{vectorHeader}, vectorBody, at.Add(301 * time.Second), nil, "older than"},
		{"another body", []string{vectorHeader}, vectorBody + " ", at, nil, "no signature"},
		{"another time", []string{"t=1492774578,v1=" + vectorMAC}, vectorBody, at, nil, "no signature"},
		{"another way to write the time", []string{"t=+1492774577,v1=" + vectorMAC}, vectorBody, at, nil, "no signature"},
		{"another secret", []string{vectorHeader}, vectorBody, at, []string{"whsec_other"}, "no signature"},
		{"the secret without its prefix", []string{"t=1492774577,v1=" + macOf("test_secret", "1492774577", vectorBody)}, vectorBody, at, nil, "no signature"},
		{"only v0", []string{"t=1492774577,v0=" + vectorMAC}, vectorBody, at, nil, "no v1"},
		{"half a signature", []string{"t=1492774577,v1=" + vectorMAC[:32]}, vectorBody, at, nil, "no v1"},
		{"an item without =", []string{vectorHeader + ",x"}, vectorBody, at, nil, "without ="},
		{"no time", []string{"v1=" + vectorMAC}, vectorBody, at, nil, "no time"},
		{"a time that is a word", []string{"t=now,v1=" + vectorMAC}, vectorBody, at, nil, "no number"},
		{"no header", nil, vectorBody, at, nil, "missing"},
		{"an empty header", []string{""}, vectorBody, at, nil, "missing"},
		{"two headers", []string{vectorHeader, vectorHeader}, vectorBody, at, nil, "repeated"},
		{"a long header", []string{vectorHeader + strings.Repeat(",v1="+zero, 80)}, vectorBody, at, nil, "too long"},
		{"many signatures", []string{vectorHeader + strings.Repeat(",v1="+zero, 20)}, vectorBody, at, nil, "too many"},
		{"no body", []string{vectorHeader}, "", at, nil, "empty body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			secrets := c.secrets
			if secrets == nil {
				secrets = []string{vectorSecret}
			}
			header := http.Header{}
			for _, h := range c.header {
				header.Add(headerSignature, h)
			}
			d, v := sourceAt(t, c.now, secrets...).Verify(t.Context(), &http.Request{Header: header}, []byte(c.body))
			switch {
			case c.reason == "" && (v.Kind != connectors.Genuine || string(d.Body) != c.body || d.ID == "" || d.Connection != "shop" || !d.ReceivedAt.Equal(c.now)):
				t.Errorf("got %+v with %+v, want it genuine", v, d)
			case c.reason != "" && (v.Kind != connectors.Forged || !strings.Contains(v.Reason, c.reason)):
				t.Errorf("got %+v, want it forged: %s", v, c.reason)
			}
		})
	}
}

// TestEmptySecretSignsNothing: a configuration that was not validated opens no door.
func TestEmptySecretSignsNothing(t *testing.T) {
	s := sourceAt(t, time.Unix(1492774577, 0), "")
	header := http.Header{headerSignature: {"t=1492774577,v1=" + macOf("", "1492774577", vectorBody)}}
	if _, v := s.Verify(t.Context(), &http.Request{Header: header}, []byte(vectorBody)); v.Kind != connectors.Forged {
		t.Errorf("got %+v, want it forged", v)
	}
}
