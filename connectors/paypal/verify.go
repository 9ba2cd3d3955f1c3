package paypal

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

const (
	headerID        = "Paypal-Transmission-Id"
	headerTime      = "Paypal-Transmission-Time"
	headerSignature = "Paypal-Transmission-Sig"
	headerCert      = "Paypal-Cert-Url"
	headerAlgorithm = "Paypal-Auth-Algo"
)

// mockWebhookID is what PayPal's webhook simulator signs with, for everybody.
const mockWebhookID = "WEBHOOK_ID"

const (
	algorithm = "SHA256withRSA"
	// transmissionAgeMax: PayPal retries for 3 days with the first transmission's time, and resends by hand for 30.
	transmissionAgeMax  = 35 * 24 * time.Hour
	transmissionSkewMax = 5 * time.Minute
	headerBytesMax      = 1024
)

// envelope is what the headers say, verbatim: the signature covers the text, not its meaning.
type envelope struct{ id, time, certificate string }

// Verify implements connectors.Webhooker. The body is not parsed before its signature holds.
func (s *source) Verify(ctx context.Context, r *http.Request, body []byte) (connectors.Delivery, connectors.Verdict) {
	e, sig, reason := s.readHeaders(r.Header, body)
	if reason != "" {
		return connectors.Delivery{}, forged(reason)
	}
	var test bool
	var verdict connectors.Verdict
	if s.cfg.Verification == verifyByPayPal {
		verdict = s.askPayPal(ctx, r.Header, body)
	} else {
		cert, err := s.certificates.get(ctx, e.certificate)
		switch refused := (*refusal)(nil); {
		case errors.As(err, &refused):
			verdict = forged(err.Error())
		case err != nil && s.cfg.Verification == verifyEither:
			verdict = s.askPayPal(ctx, r.Header, body)
		case err != nil:
			verdict = unverifiable(err.Error())
		default:
			test, verdict = s.judge(cert, e, sig, body)
		}
	}
	if verdict.Kind != connectors.Genuine {
		return connectors.Delivery{}, verdict
	}
	d := connectors.Delivery{
		Connection: s.env.Connection, Environment: s.env.Environment, ID: e.id, Body: body, ReceivedAt: s.env.Now(),
		Origin: schemas.OriginWebhook, Test: test, OnceID: true,
	}
	if verdict = s.confirm(ctx, d); verdict.Kind != connectors.Genuine {
		return connectors.Delivery{}, verdict
	}
	return d, verdict
}

func forged(reason string) connectors.Verdict {
	return connectors.Verdict{Kind: connectors.Forged, Reason: reason}
}

func unverifiable(reason string) connectors.Verdict {
	return connectors.Verdict{Kind: connectors.Unverifiable, Reason: reason}
}

// readHeaders checks everything that costs nothing, before anything is fetched.
func (s *source) readHeaders(h http.Header, body []byte) (e envelope, sig []byte, reason string) {
	if len(body) == 0 {
		return e, nil, "empty body"
	}
	values := map[string]string{}
	for _, name := range []string{headerID, headerTime, headerSignature, headerCert, headerAlgorithm} {
		switch v := h.Values(name); {
		case len(v) == 0 || v[0] == "":
			return e, nil, name + " is missing"
		case len(v) > 1:
			return e, nil, name + " is repeated"
		case len(v[0]) > headerBytesMax:
			return e, nil, name + " is too long"
		default:
			values[name] = v[0]
		}
	}
	if values[headerAlgorithm] != algorithm {
		return e, nil, "algorithm is not " + algorithm
	}
	e = envelope{values[headerID], values[headerTime], values[headerCert]}
	if len(e.id) > idBytesMax || strings.ContainsFunc(e.id, func(r rune) bool { return r <= ' ' || r > '~' || r == '|' }) {
		return e, nil, "transmission id is malformed"
	}
	sent, err := time.Parse(time.RFC3339, e.time)
	if err != nil {
		return e, nil, "transmission time is malformed"
	}
	switch age := s.env.Now().Sub(sent); {
	case age > transmissionAgeMax:
		return e, nil, "transmission time is too old"
	case age < -transmissionSkewMax:
		return e, nil, "transmission time is in the future"
	}
	if !s.certificates.allowed(e.certificate) {
		return e, nil, "certificate URL is not PayPal's"
	}
	// The decoder skips line ends, which no genuine header has.
	if strings.ContainsAny(values[headerSignature], "\r\n") {
		return e, nil, "signature is malformed"
	}
	if sig, err = base64.StdEncoding.Strict().DecodeString(values[headerSignature]); err != nil {
		return e, nil, "signature is malformed"
	}
	return e, sig, ""
}

// judge tries this connection's webhook id, then the simulator's. Neither comes from the request.
func (s *source) judge(cert *certificate, e envelope, sig, body []byte) (test bool, v connectors.Verdict) {
	if now := s.env.Now(); now.Before(cert.from) || now.After(cert.until) {
		return false, forged("certificate is out of its time")
	}
	own := s.webhook()
	if own != "" && cert.environment == s.env.Environment && e.signed(cert, own, sig, body) {
		s.certificates.trusted(cert)
		return false, connectors.Verdict{Kind: connectors.Genuine}
	}
	// The simulator signs with the live certificate for sandbox apps too.
	if (cert.environment == s.env.Environment || cert.environment == schemas.Live) && e.signed(cert, mockWebhookID, sig, body) {
		if s.acceptTests {
			return true, connectors.Verdict{Kind: connectors.Genuine}
		}
		return false, forged("event of PayPal's webhook simulator; accept_test_events is off")
	}
	switch {
	case cert.environment != s.env.Environment:
		return false, forged("certificate is of PayPal's other environment, " + string(cert.environment))
	case own == "":
		// Between start and registration nothing can be told: a genuine delivery is sent again.
		return false, unverifiable(reasonNoWebhook)
	}
	return false, forged("signature does not match")
}

const reasonNoWebhook = "the webhook's id is not known yet: it is neither configured nor registered"

func (e envelope) signed(cert *certificate, webhookID string, sig, body []byte) bool {
	crc := strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10)
	sum := sha256.Sum256([]byte(e.id + "|" + e.time + "|" + webhookID + "|" + crc))
	return rsa.VerifyPKCS1v15(cert.key, crypto.SHA256, sum[:], sig) == nil
}
