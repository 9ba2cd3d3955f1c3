package generic

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// The headers of Standard Webhooks 1.0.0.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
	headerType      = "Content-Type"
)

const (
	webhookIDBytesMax = 128
	// signaturesMax bounds the work for a request that nobody has vouched for yet; genuine ones carry one for each active key.
	signaturesMax     = 8
	signatureBytesMax = 2048
	// What is stored of the headers: those of CloudEvents first, then the shop's own attributes.
	headerValueBytesMax  = 1024
	headersBytesMax      = 3500
	headersMax           = 14
	hmacBytes            = 32
	timestampDigitsMax   = 15
	attributePrefix      = "Ce-"
	mediaStructured      = "application/cloudevents+json"
	mediaBatch           = "application/cloudevents-batch+json"
	mediaCloudEventsFore = "application/cloudevents"
)

// Verify implements connectors.Webhooker. The body is not parsed.
func (s *source) Verify(_ context.Context, r *http.Request, body []byte) (connectors.Delivery, connectors.Verdict) {
	forged := func(reason string) (connectors.Delivery, connectors.Verdict) {
		return connectors.Delivery{}, connectors.Verdict{Kind: connectors.Forged, Reason: reason}
	}
	now := s.env.Now()
	id, timestamp, signatures, reason := s.readHeaders(r.Header, now)
	if reason != "" {
		return forged(reason)
	}
	if len(body) == 0 {
		return forged("empty body")
	}
	if reason := s.signed(id, timestamp, signatures, body); reason != "" {
		return forged(reason)
	}
	d := connectors.Delivery{
		Connection: s.env.Connection, Environment: s.env.Environment, ID: id, Body: body, Headers: kept(r.Header), ReceivedAt: now,
		Origin: schemas.OriginWebhook,
	}
	// The signature covers id, time and body, and not the attributes of a binary event. Whoever sent one again with others
	// would repeat the delivery's id with another content, which is set aside.
	if modeOf(d.Headers) == batch && emptyList(body) {
		return connectors.Delivery{}, connectors.Verdict{Kind: connectors.Ping, Reason: "a batch without events"}
	}
	return d, connectors.Verdict{Kind: connectors.Genuine}
}

func emptyList(body []byte) bool {
	inner, open := bytes.CutPrefix(bytes.Trim(body, " \t\r\n"), []byte("["))
	inner, closed := bytes.CutSuffix(inner, []byte("]"))
	return open && closed && len(bytes.Trim(inner, " \t\r\n")) == 0
}

// readHeaders checks everything that costs nothing.
func (s *source) readHeaders(h http.Header, now time.Time) (id, timestamp string, signatures []string, reason string) {
	values := map[string]string{}
	for _, name := range []string{headerID, headerTimestamp, headerSignature} {
		switch v := h.Values(name); {
		case len(v) == 0 || v[0] == "":
			return "", "", nil, name + " is missing"
		case len(v) > 1:
			return "", "", nil, name + " is repeated"
		default:
			values[name] = v[0]
		}
	}
	id, timestamp = values[headerID], values[headerTimestamp]
	// A dot in the id would let two different requests have the same signed text.
	if len(id) > webhookIDBytesMax || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' || r == '.' }) {
		return "", "", nil, headerID + " is malformed"
	}
	if len(timestamp) > timestampDigitsMax || strings.ContainsFunc(timestamp, func(r rune) bool { return r < '0' || r > '9' }) {
		return "", "", nil, headerTimestamp + " is no whole number of seconds"
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return "", "", nil, headerTimestamp + " is no whole number of seconds"
	}
	switch age := now.Unix() - seconds; {
	case age > int64(s.tolerance.Seconds()):
		return "", "", nil, headerTimestamp + " is too old"
	case -age > int64(s.tolerance.Seconds()):
		return "", "", nil, headerTimestamp + " is in the future"
	}
	if len(values[headerSignature]) > signatureBytesMax {
		return "", "", nil, headerSignature + " is too long"
	}
	signatures = strings.Fields(values[headerSignature])
	if len(signatures) > signaturesMax {
		return "", "", nil, fmt.Sprintf("%s lists more than %d", headerSignature, signaturesMax)
	}
	return id, timestamp, signatures, ""
}

// signed returns "" where one of the signatures is good under one of the keys, else the reason. Versions that are not
// known are passed over: a shop may send one that comes after ours beside it.
func (s *source) signed(id, timestamp string, signatures []string, body []byte) (reason string) {
	known := false
	head := []byte(id + "." + timestamp + ".")
	for _, listed := range signatures {
		version, text, _ := strings.Cut(listed, ",")
		if version != "v1" && version != "v1a" {
			continue
		}
		known = true
		mac, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
		if err != nil {
			continue
		}
		switch {
		case version == "v1" && len(mac) == hmacBytes && connectors.SignedBy(s.keys, mac, head, body):
			return ""
		case version == "v1a" && len(mac) == ed25519.SignatureSize && len(s.publicKeys) > 0:
			content := slices.Concat(head, body)
			if slices.ContainsFunc(s.publicKeys, func(k ed25519.PublicKey) bool { return ed25519.Verify(k, content, mac) }) {
				return ""
			}
		}
	}
	if !known {
		return headerSignature + " holds no v1 or v1a signature"
	}
	return "signature does not match"
}

// kept are the headers that Normalize needs, in the form in which they are stored.
func kept(h http.Header) map[string]string {
	out := map[string]string{headerID: h.Get(headerID)}
	if t := h.Get(headerType); t != "" {
		out[headerType] = storable(t)
	}
	if modeOf(out) == batch || modeOf(out) == structured {
		delete(out, headerID) // each event has an id of its own
		return out
	}
	bytes := 0
	for _, name := range attributeNames(h) {
		value := storable(h.Get(name))
		if bytes += len(name) + len(value); len(out) < headersMax && bytes <= headersBytesMax {
			out[name] = value
		}
	}
	if out[attributePrefix+"Id"] != "" {
		delete(out, headerID)
	}
	return out
}

// attributeNames are the headers of a binary event, those that every event has first.
func attributeNames(h http.Header) []string {
	names := []string{"Ce-Specversion", "Ce-Id", "Ce-Source", "Ce-Type", "Ce-Time", "Ce-Subject", "Ce-Sequence", "Ce-Sequencetype", "Ce-Datacontenttype"}
	names = slices.DeleteFunc(names, func(name string) bool { return len(h[name]) == 0 })
	var own []string
	for name := range h {
		// A trace is of the sending, not of the event.
		if strings.HasPrefix(name, attributePrefix) && !slices.Contains(names, name) && name != "Ce-Traceparent" && name != "Ce-Tracestate" {
			own = append(own, name)
		}
	}
	slices.Sort(own)
	return append(names, own...)
}

// storable makes a header's value valid UTF-8 without losing that it was not: a stray byte becomes the escape that it
// should have been, which Normalize then refuses.
func storable(v string) string {
	if len(v) > headerValueBytesMax {
		v = v[:headerValueBytesMax]
	}
	if utf8.ValidString(v) {
		return v
	}
	var b strings.Builder
	for len(v) > 0 {
		r, size := utf8.DecodeRuneInString(v)
		if r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, "%%%02X", v[0])
		} else {
			b.WriteString(v[:size])
		}
		v = v[size:]
	}
	return b.String()
}
