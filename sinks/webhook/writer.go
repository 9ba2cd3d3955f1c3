package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// Bounds of an exchange.
const (
	answerBytesMax = 16 << 10 // of an answer that is read, for the timeline
	idCharsMax     = 256
	tooManyPause   = time.Second // after a 429 that names no time
)

const (
	remedyAgain   = "nothing: it is sent again, with the same webhook-id"
	remedySecret  = "look whether the receiver has one of the destination's secrets and verifies as documented; everything waits meanwhile"
	remedyURL     = "correct url: redirects are not followed"
	remedyPrivate = "set allow_private_address on the destination if the address inside your network is meant, or correct url"
)

// writer posts to one address. It may be used by several goroutines.
type writer struct {
	url  string
	keys [][]byte
	http *http.Client
	now  func() time.Time
}

// Close implements sinks.Writer; idle connections belong to the client's maker.
func (w *writer) Close() error { return nil }

// Write implements sinks.Writer.
func (w *writer) Write(ctx context.Context, batch []schemas.Command) []sinks.Outcome {
	out := make([]sinks.Outcome, len(batch))
	for i := range batch {
		if err := ctx.Err(); err != nil {
			out[i] = sinks.Outcome{Kind: sinks.Retryable, Err: fmt.Errorf("not tried: %w", err)}
			continue
		}
		out[i] = w.one(ctx, &batch[i])
		if out[i].Account {
			// What the address refuses to this notice, it refuses to the rest.
			for j := i + 1; j < len(batch); j++ {
				out[j] = out[i]
				out[j].Exchanges = nil
			}
			break
		}
	}
	return out
}

func (w *writer) one(ctx context.Context, cmd *schemas.Command) sinks.Outcome {
	switch {
	case cmd.Kind == schemas.CommandContact:
		return sinks.Outcome{Kind: sinks.Delivered} // there is nothing that it could be written to
	case cmd.Kind != schemas.CommandEffect || cmd.Effect == nil || cmd.Effect.Type != schemas.EffectNotify:
		return rejected("use the action notify with this destination, and others with a CRM", "a webhook has no effect but %s", schemas.EffectNotify)
	case !sendable(cmd.CommandID):
		return rejected("report this as a bug", "the notice has no id, or one that no header takes")
	}
	body, err := content(cmd)
	if err != nil {
		return rejected("correct the action's data, and replay", "notice: %v", err)
	}
	ctx, rec := outbound.Record(ctx)
	o := w.post(ctx, cmd.CommandID, body)
	o.Exchanges = w.shown(rec.Exchanges())
	return o
}

func rejected(remedy, format string, args ...any) sinks.Outcome {
	return sinks.Outcome{Kind: sinks.Rejected, Err: fmt.Errorf(format, args...), Remedy: remedy}
}

// sendable reports whether an id can be a header's value, and the part of a signature that ends before a dot.
func sendable(id string) bool {
	return id != "" && len(id) <= idCharsMax && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' || r == '.' })
}

// content is the body: the effect's data as it is. Without data it says what happened and when.
func content(cmd *schemas.Command) ([]byte, error) {
	if strings.TrimSpace(cmd.Effect.Data) == "" {
		return json.Marshal(map[string]any{"type": cmd.Effect.Name, "timestamp": cmd.At.UTC().Format(time.RFC3339Nano), "data": map[string]any{}})
	}
	body := []byte(cmd.Effect.Data)
	switch {
	case len(body) > BodyBytesMax:
		return nil, fmt.Errorf("%d bytes are more than %d", len(body), BodyBytesMax)
	case !json.Valid(body):
		return nil, errors.New("its data is no JSON")
	}
	return body, nil
}

// sign sets the three headers of Standard Webhooks for an attempt of now.
func (w *writer) sign(h http.Header, id string, body []byte) {
	seconds := strconv.FormatInt(w.now().Unix(), 10)
	var signatures []string
	for _, key := range w.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + seconds + "."))
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", seconds)
	h.Set("webhook-signature", strings.Join(signatures, " "))
}

// request is one attempt at a notice.
func (w *writer) request(ctx context.Context, id string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	w.sign(req.Header, id, body)
	return req, nil
}

func (w *writer) post(ctx context.Context, id string, body []byte) sinks.Outcome {
	req, err := w.request(ctx, id, body)
	if err != nil {
		// The text of the error may hold the address.
		return rejected("correct url", "the address in the configuration is malformed")
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return unanswered(err)
	}
	defer resp.Body.Close()
	// The status has decided; the body is for the timeline, and so that the connection can be used again.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, answerBytesMax))
	return judge(resp, w.now())
}

// unanswered is the outcome of a request without an answer. Whether it came through or not, its id lets it be sent again.
func unanswered(err error) sinks.Outcome {
	o := sinks.Outcome{Kind: sinks.Retryable, Remedy: remedyAgain + "; if it goes on, check the network and the address"}
	if errors.Is(err, outbound.ErrAddress) || errors.Is(err, outbound.ErrPlain) {
		o.Account, o.Remedy = true, remedyPrivate
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // its text repeats the address, and with it what may be secret there
	}
	o.Err = fmt.Errorf("the receiver gave no answer: %s", outbound.Redact(err.Error()))
	return o
}

// judge reads an answer's status.
func judge(resp *http.Response, now time.Time) sinks.Outcome {
	status := resp.StatusCode
	if status >= 200 && status < 300 {
		return sinks.Outcome{Kind: sinks.Delivered}
	}
	wait, named := outbound.RetryAfter(resp.Header, now)
	o := sinks.Outcome{Kind: sinks.Retryable, Err: fmt.Errorf("the receiver answered %d", status), Remedy: remedyAgain, RetryAfter: wait}
	switch {
	case status < 400:
		o.Account, o.Remedy = true, remedyURL
	case status == http.StatusTooManyRequests:
		o.Account, o.RetryAfter = true, max(wait, tooManyPause)
	case status == http.StatusServiceUnavailable && named && wait > 0:
		o.Account = true
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired:
		o.Account, o.Remedy = true, remedySecret
	case status == http.StatusGone:
		return rejected("remove the destination from the workflows, or correct url, and replay", "the receiver answered 410: it is gone and wants no more notices")
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusLocked, status == http.StatusTooEarly:
	default:
		return rejected("read the answer in the timeline, correct the receiver or the action's data, and replay", "the receiver refused the notice with %d", status)
	}
	return o
}

// Reconcile implements sinks.Writer: a receiver cannot be asked, and a notice may be sent again because of its id.
func (w *writer) Reconcile(context.Context, schemas.Command) sinks.Outcome {
	return sinks.Outcome{Kind: sinks.NotHappened}
}

// shown takes what may be secret in the address out of recorded exchanges, and the keys, should an answer repeat them.
func (w *writer) shown(list []schemas.Exchange) []schemas.Exchange {
	for i := range list {
		list[i].URL = origin(w.url)
		for _, text := range []*string{&list[i].Request, &list[i].Response, &list[i].Error} {
			*text = strings.ReplaceAll(*text, w.url, origin(w.url))
			for _, key := range w.keys {
				*text = strings.ReplaceAll(*text, strings.TrimRight(base64.StdEncoding.EncodeToString(key), "="), "***")
			}
		}
	}
	return list
}

// origin is an address without what may be secret in it.
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "***"
	}
	out := u.Scheme + "://" + u.Host
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		out += "/***"
	}
	return out
}

// Check implements sinks.Writer: whether the address can be reached. It asks for the head of what is there, and posts
// nothing; what a receiver says to that tells nothing about notices.
func (w *writer) Check(ctx context.Context) []sinks.Finding {
	out := []sinks.Finding{{Field: "secrets", Message: fmt.Sprintf("%d secrets sign each notice", len(w.keys))}}
	if len(w.keys) == 1 {
		out[0].Message = "one secret signs each notice"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, w.url, bytes.NewReader(nil))
	if err != nil {
		return append(out, sinks.Finding{Bad: true, Field: "url", Message: "is malformed", Hint: "correct it"})
	}
	resp, err := w.http.Do(req)
	if err != nil {
		o := unanswered(err)
		return append(out, sinks.Finding{Bad: true, Field: "url", Message: o.Err.Error(), Hint: hintOf(o)})
	}
	resp.Body.Close()
	switch status := resp.StatusCode; {
	case status >= 300 && status < 400:
		return append(out, sinks.Finding{Bad: true, Field: "url", Message: fmt.Sprintf("the address answers with a redirect (%d)", status), Hint: remedyURL})
	case status == http.StatusGone:
		return append(out, sinks.Finding{Bad: true, Field: "url", Message: "the address answers 410: it is gone", Hint: "correct url"})
	}
	return append(out, sinks.Finding{Field: "url", Message: "the address answers"})
}

func hintOf(o sinks.Outcome) string {
	if o.Account {
		return o.Remedy
	}
	return "check the network and the address"
}
