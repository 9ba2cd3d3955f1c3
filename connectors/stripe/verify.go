package stripe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

const (
	headerSignature = "Stripe-Signature"
	// signatureAgeMax is Stripe's own tolerance. Every try is signed anew, so that a repetition is fresh, too.
	signatureAgeMax = 300 * time.Second
	// signatureSkewMax: Stripe's libraries take any time ahead, so that a slow clock here loses nothing; a signature that
	// is good for longer than a day could be replayed for as long.
	signatureSkewMax = 24 * time.Hour
	// signatureBytesMax and macsMax bound a header; Stripe sends one v1 for each secret that is active.
	signatureBytesMax = 4096
	macsMax           = 16
)

// Verify implements connectors.Webhooker: v1 is the HMAC of "<t>.<body>" under the secret as it is written, prefix
// included. The body is not parsed.
func (s *source) Verify(_ context.Context, r *http.Request, body []byte) (connectors.Delivery, connectors.Verdict) {
	forged := func(reason string) (connectors.Delivery, connectors.Verdict) {
		return connectors.Delivery{}, connectors.Verdict{Kind: connectors.Forged, Reason: reason}
	}
	if len(body) == 0 {
		return forged("empty body")
	}
	values := r.Header.Values(headerSignature)
	switch {
	case len(values) == 0 || values[0] == "":
		return forged(headerSignature + " is missing")
	case len(values) > 1:
		return forged(headerSignature + " is repeated")
	case len(values[0]) > signatureBytesMax:
		return forged(headerSignature + " is too long")
	}
	signed, macs, reason := parseSignature(values[0])
	if reason != "" {
		return forged(reason)
	}
	genuine := false
	for _, mac := range macs {
		if connectors.SignedBy(s.cfg.SigningSecrets, mac, []byte(signed), []byte("."), body) {
			genuine = true
		}
	}
	if !genuine {
		return forged("no signature is one of the configured secrets")
	}
	now := s.env.Now()
	seconds, err := strconv.ParseInt(signed, 10, 64)
	switch age := now.Sub(time.Unix(seconds, 0)); {
	case err != nil || age > signatureAgeMax:
		return forged("signature is older than " + signatureAgeMax.String() + ": a replay, or this machine's clock is wrong")
	case age < -signatureSkewMax:
		return forged("signature is of a time ahead: this machine's clock is wrong")
	}
	sum := sha256.Sum256(body)
	return connectors.Delivery{
		Connection: s.env.Connection, Environment: s.env.Environment,
		// Stripe names no sending: what was sent names itself.
		ID: hex.EncodeToString(sum[:16]), Body: body, ReceivedAt: now, Origin: schemas.OriginWebhook,
	}, connectors.Verdict{Kind: connectors.Genuine}
}

// parseSignature reads t=<unix>,v1=<hex>[,v1=<hex>][,v0=...]. t is returned as it is written: the signature covers the
// text. A v1 that is no hex and items of other names are passed over; an item without = makes all of it invalid.
func parseSignature(header string) (t string, macs [][]byte, reason string) {
	for item := range strings.SplitSeq(header, ",") {
		name, value, ok := strings.Cut(item, "=")
		if !ok {
			return "", nil, headerSignature + " holds an item without ="
		}
		switch name {
		case "t":
			if _, err := strconv.ParseInt(value, 10, 64); err != nil {
				return "", nil, headerSignature + " holds a time that is no number"
			}
			t = value
		case "v1":
			mac, err := hex.DecodeString(value)
			if err != nil || len(mac) != sha256.Size {
				continue
			}
			if macs = append(macs, mac); len(macs) > macsMax {
				return "", nil, headerSignature + " holds too many signatures"
			}
		}
	}
	switch {
	case t == "":
		return "", nil, headerSignature + " holds no time"
	case len(macs) == 0:
		return "", nil, headerSignature + " holds no v1 signature"
	}
	return t, macs, ""
}
