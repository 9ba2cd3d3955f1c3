package woocommerce

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"mime"
	"net/http"
	"regexp"
	"strings"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

const (
	headerSignature = "X-Wc-Webhook-Signature"
	headerBytesMax  = 200
	deliveryIDBytes = 16
)

// pingForm is the whole body of the ping that a store sends when a webhook is made.
var pingForm = regexp.MustCompile(`^webhook_id=[0-9]{1,20}$`)

// Verify implements connectors.Webhooker. The body is not parsed.
func (s *source) Verify(_ context.Context, r *http.Request, body []byte) (connectors.Delivery, connectors.Verdict) {
	if isPing(r, body) {
		return connectors.Delivery{}, connectors.Verdict{Kind: connectors.Ping, Reason: "the store tries the address"}
	}
	signature, reason := one(r.Header, headerSignature)
	if reason != "" {
		return forged(reason)
	}
	topic, reason := one(r.Header, headerTopic)
	if reason != "" {
		return forged(reason)
	}
	if !topicForm.MatchString(topic) {
		return forged(headerTopic + " is malformed")
	}
	if len(body) == 0 {
		return forged("empty body")
	}
	// The decoder skips line ends, which no genuine header has.
	mac, err := base64.StdEncoding.Strict().DecodeString(signature)
	if err != nil || len(mac) != sha256.Size || strings.ContainsAny(signature, "\r\n") {
		return forged("signature is malformed")
	}
	if !connectors.SignedBy(s.cfg.WebhookSecrets, mac, body) {
		return forged("signature does not match")
	}
	headers := map[string]string{headerTopic: topic}
	if id, missing := one(r.Header, headerDelivery); missing == "" && topic == topicDeleted {
		headers[headerDelivery] = id
	}
	return connectors.Delivery{
		Connection: s.env.Connection, Environment: s.env.Environment, ID: deliveryID(topic, headers[headerDelivery], body), Body: body, Headers: headers,
		ReceivedAt: s.env.Now(), Origin: schemas.OriginWebhook,
	}, connectors.Verdict{Kind: connectors.Genuine}
}

func forged(reason string) (connectors.Delivery, connectors.Verdict) {
	return connectors.Delivery{}, connectors.Verdict{Kind: connectors.Forged, Reason: reason}
}

// one is the only value of a header, or what is wrong with it.
func one(h http.Header, name string) (value, reason string) {
	switch v := h.Values(name); {
	case len(v) == 0 || v[0] == "":
		return "", name + " is missing"
	case len(v) > 1:
		return "", name + " is repeated"
	case len(v[0]) > headerBytesMax:
		return "", name + " is too long"
	default:
		return v[0], ""
	}
}

// isPing tells the ping, which is not signed and bears none of the webhook's headers.
func isPing(r *http.Request, body []byte) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/x-www-form-urlencoded" && len(r.Header.Values(headerSignature)) == 0 &&
		len(r.Header.Values(headerTopic)) == 0 && pingForm.Match(body)
}

// deliveryID names the content: the id that WooCommerce gives is shared by the orders of one second.
func deliveryID(topic, removal string, body []byte) string {
	sum := sha256.Sum256([]byte(topic + "\n" + removal + "\n" + string(body)))
	return hex.EncodeToString(sum[:deliveryIDBytes])
}
