package paypal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/time/rate"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// Bounds of what one delivery may make us ask PayPal: a flood of them may not use the budget up, nor hold requests.
const (
	questionTimeout    = 5 * time.Second
	questionsAtOnceMax = 8
	questionsPerSecond = 5
	questionBurst      = 20
)

// questions bounds the calls that deliveries cause.
type questions struct {
	slots   chan struct{}
	limiter *rate.Limiter
}

func newQuestions() *questions {
	return &questions{make(chan struct{}, questionsAtOnceMax), rate.NewLimiter(questionsPerSecond, questionBurst)}
}

var errTooManyQuestions = errors.New("too many deliveries to ask PayPal about at a time")

// ask calls PayPal about a delivery, unless too many are being asked about or PayPal wants silence: the delivery comes again.
func (s *source) ask(ctx context.Context, method, path string, in, out any) error {
	now := s.env.Now()
	if until := s.api.spent().HoldUntil; until.After(now) {
		return fmt.Errorf("%w until %s", errHeld, until.UTC().Format(time.RFC3339))
	}
	if !s.questions.limiter.AllowN(now, 1) {
		return errTooManyQuestions
	}
	select {
	case s.questions.slots <- struct{}{}:
		defer func() { <-s.questions.slots }()
	default:
		return errTooManyQuestions
	}
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	return s.api.call(ctx, method, path, in, out)
}

// confirm compares a delivery whose amount is above the configured one with the event that PayPal shows under its id.
func (s *source) confirm(ctx context.Context, d connectors.Delivery) connectors.Verdict {
	genuine := connectors.Verdict{Kind: connectors.Genuine}
	if len(s.cfg.ConfirmAbove) == 0 || d.Test {
		return genuine
	}
	events, err := normalize(d)
	if err != nil || len(events) == 0 || !s.above(events[0].Amount) {
		return genuine // what is not understood has no effect
	}
	e := &events[0]
	var shown json.RawMessage
	err = s.ask(ctx, http.MethodGet, eventsPath+"/"+url.PathEscape(e.EventID), nil, &shown)
	switch {
	case statusOf(err) == http.StatusNotFound:
		// An event can be sent slightly before it can be read; an invented one stays unknown.
		return unverifiable("PayPal does not show the event yet, whose amount has to be confirmed")
	case err != nil:
		return unverifiable("the event could not be confirmed: " + err.Error())
	}
	v, err := strictjson.Parse(shown)
	if err != nil {
		return unverifiable("the event could not be confirmed: " + err.Error())
	}
	m, _ := v.(map[string]any)
	if fingerprint(m) != e.Fingerprint {
		return forged("PayPal shows another event under this id")
	}
	return genuine
}

// above reports whether an amount, of money in or out, is more than the configured one of its currency.
func (s *source) above(a *schemas.Amount) bool {
	if a == nil {
		return false
	}
	text, ok := s.cfg.ConfirmAbove[a.Currency]
	if !ok {
		return false
	}
	limit, err1 := schemas.Amount{Value: text, Currency: a.Currency}.Money()
	sum, err2 := a.Money()
	if err1 != nil || err2 != nil {
		return true
	}
	if sum.Negative() {
		sum = sum.Neg()
	}
	more, err := sum.Cmp(limit)
	return err != nil || more > 0
}

const verifyPath = "/v1/notifications/verify-webhook-signature"

// askPayPal has PayPal verify a delivery. A simulator event is never confirmed by it.
func (s *source) askPayPal(ctx context.Context, h http.Header, body []byte) connectors.Verdict {
	own := s.webhook()
	if own == "" {
		return unverifiable(reasonNoWebhook)
	}
	in, err := postback(h, own, body)
	if err != nil {
		return forged(err.Error())
	}
	var answer struct {
		Status string `json:"verification_status"`
	}
	switch err := s.ask(ctx, http.MethodPost, verifyPath, in, &answer); {
	case statusOf(err) == http.StatusForbidden:
		s.api.deny(scopeVerify)
		return unverifiable("PayPal does not let the app verify signatures: " + err.Error())
	case err != nil:
		return unverifiable("PayPal could not be asked: " + err.Error())
	}
	switch answer.Status {
	case "SUCCESS":
		return connectors.Verdict{Kind: connectors.Genuine}
	case "FAILURE":
		return forged("PayPal says that the signature does not match")
	}
	return unverifiable("PayPal's answer says neither yes nor no")
}

// postback is the question with the body in it, byte for byte: PayPal checks what it reads there. The body has to be one
// whole JSON value, else it could close its own place and add members of the question, such as another webhook id.
func postback(h http.Header, webhookID string, body []byte) (rawBody, error) {
	if !json.Valid(body) {
		return nil, errors.New("body is no JSON")
	}
	head, err := json.Marshal(map[string]string{
		"auth_algo": h.Get(headerAlgorithm), "cert_url": h.Get(headerCert), "transmission_id": h.Get(headerID),
		"transmission_sig": h.Get(headerSignature), "transmission_time": h.Get(headerTime), "webhook_id": webhookID,
	})
	if err != nil {
		return nil, fmt.Errorf("question to PayPal: %w", err)
	}
	var b bytes.Buffer
	b.Write(head[:len(head)-1])
	b.WriteString(`,"webhook_event":`)
	b.Write(body)
	b.WriteByte('}')
	return b.Bytes(), nil
}
