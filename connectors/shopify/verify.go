package shopify

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

const headerBytesMax = 512

// A family is one way in which Shopify names its headers.
type family struct {
	prefix   string
	required []string
}

// families: where both are there, the newer counts, as in Shopify's own libraries.
var families = []family{
	{"Shopify-", []string{"Hmac-Sha256", "Topic", "Shop-Domain", "Api-Version", "Webhook-Id", "Event-Id"}},
	{"X-Shopify-", []string{"Hmac-Sha256", "Topic", "Shop-Domain", "Api-Version", "Webhook-Id"}},
}

// Verify implements connectors.Webhooker. The signature covers the body alone, without a time: a repetition is known by
// what it says, and the headers only tell how to read it.
func (s *source) Verify(_ context.Context, r *http.Request, body []byte) (connectors.Delivery, connectors.Verdict) {
	forged := func(reason string) (connectors.Delivery, connectors.Verdict) {
		return connectors.Delivery{}, connectors.Verdict{Kind: connectors.Forged, Reason: reason}
	}
	if len(body) == 0 {
		return forged("empty body")
	}
	f := families[1]
	if r.Header.Get(families[0].prefix+"Hmac-Sha256") != "" {
		f = families[0]
	}
	values := map[string]string{}
	for _, name := range f.required {
		switch v := r.Header.Values(f.prefix + name); {
		case len(v) == 0 || strings.TrimSpace(v[0]) == "":
			return forged(f.prefix + name + " is missing")
		case len(v) > 1:
			return forged(f.prefix + name + " is repeated")
		case len(v[0]) > headerBytesMax:
			return forged(f.prefix + name + " is too long")
		default:
			values[name] = strings.TrimSpace(v[0])
		}
	}
	mac, err := base64.StdEncoding.Strict().DecodeString(values["Hmac-Sha256"])
	if err != nil || strings.ContainsAny(values["Hmac-Sha256"], "\r\n") {
		return forged("signature is malformed")
	}
	if !connectors.SignedBy(s.keys, mac, body) {
		return forged("signature does not match")
	}
	if !strings.EqualFold(values["Shop-Domain"], s.cfg.Shop) {
		return forged("delivery is of another shop than this connection's")
	}
	topic := strings.ToLower(values["Topic"])
	if !topicForm.MatchString(topic) {
		return forged("topic is malformed")
	}
	if !deliveryIDForm(values["Webhook-Id"]) {
		return forged("webhook id is malformed")
	}
	headers := map[string]string{headerTopic: topic, headerVersion: values["Api-Version"]}
	if at := r.Header.Get(f.prefix + "Triggered-At"); at != "" && len(at) <= headerBytesMax {
		if _, err := parseTime(at); err == nil {
			headers[headerTriggered] = at
		}
	}
	s.note(topic, headers[headerTriggered], body)
	return connectors.Delivery{
		Connection: s.env.Connection, Environment: s.env.Environment, Body: body, Headers: headers, ReceivedAt: s.env.Now(),
		// One event reaches several topics, and one id stands for one topic's sending with its retries.
		ID:     topic + ":" + values["Webhook-Id"],
		Origin: schemas.OriginWebhook, Test: strings.EqualFold(r.Header.Get(f.prefix+"Test"), "true"),
	}, connectors.Verdict{Kind: connectors.Genuine}
}

func deliveryIDForm(id string) bool {
	return len(id) <= 128 && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' })
}

// note remembers that the app was removed from the shop: nothing will come any more. The topic is not signed, so that
// the body has to be a shop as well; and a removal from before the last answer of the API is a late repetition.
func (s *source) note(topic, triggered string, body []byte) {
	if topic != topicUninstalled {
		return
	}
	v, err := strictjson.Parse(body)
	if err != nil {
		return
	}
	shop, _ := v.(map[string]any)
	if domain := object(shop).Text("myshopify_domain"); !strings.EqualFold(domain, s.cfg.Shop) {
		return
	}
	at, err := parseTime(triggered)
	if err != nil {
		at = s.env.Now()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.After(s.seen.answered) {
		s.seen.uninstalled = at
	}
}

// seen is what the connection has noticed of itself, for Watch.
type seen struct {
	answered    time.Time // when the API last accepted the token
	refused     time.Time // when it last did not, since
	uninstalled time.Time // when the app was removed, since
	version     string    // what the API answered with, where that is not what was asked for
	vanished    time.Time // when subscriptions were last found deleted at Shopify
}
