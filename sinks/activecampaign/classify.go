package activecampaign

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tillstream/tillstream/outbound"
)

// failKind grades a failed request.
type failKind int

const (
	failReject  failKind = iota + 1 // this command is refused for good
	failRetry                       // may be repeated
	failUnknown                     // may have been applied
	failAccount                     // concerns the account, whatever the command
)

// failure is a failed request in words.
type failure struct {
	kind       failKind
	cause      string // what happened, without secrets or unmasked personal data
	remedy     string
	retryAfter time.Duration
	said       string // what the answer said, redacted
	// pointer is the attribute that a validation error names, and code its code.
	pointer, code string
	status        int
}

// Error implements error.
func (f *failure) Error() string { return f.cause }

// tooManyPause is kept after a 429 that names no time.
const tooManyPause = time.Second

// causeCharsMax bounds what is quoted of an answer.
const causeCharsMax = 300

// classify judges an answer that is no success. All error shapes of the API end here.
func classify(r reply) *failure {
	f := &failure{status: r.status()}
	what := r.method + " " + pathShape(r.path)
	if r.status() < 300 {
		return withoutAnswer(f, r, what)
	}
	detail := f.read(r.body)
	f.said = detail
	f.cause = fmt.Sprintf("%s answered %d", what, f.status)
	if detail != "" {
		f.cause += ": " + detail
	}
	wait, named := outbound.RetryAfter(r.resp.Header, r.at)
	switch {
	case f.status == http.StatusTooManyRequests:
		f.kind, f.retryAfter, f.remedy = failAccount, max(wait, tooManyPause), "nothing: it is tried again when the account's limit allows"
	case f.status == http.StatusServiceUnavailable && named && wait > 0:
		f.kind, f.retryAfter, f.remedy = failAccount, wait, "nothing: the account is in maintenance and is tried again afterwards"
	case f.status == http.StatusForbidden && aboutRow(detail):
		// The API answers so for a row that does not exist.
		f.kind, f.remedy = failReject, "check that the row still exists in ActiveCampaign"
	case f.status == http.StatusUnauthorized, f.status == http.StatusForbidden, f.status == http.StatusPaymentRequired:
		f.kind, f.remedy = failAccount, "check the API key, that its user may edit contacts and tags, and that the account is active"
	case f.status < 400:
		f.kind, f.remedy = failAccount, "correct url: the address answers with a redirect, which is not followed"
	case f.status == http.StatusNotFound && !strings.HasPrefix(detail, "No Result found") && f.code == "" && !f.names("not found"):
		f.kind, f.remedy = failAccount, "correct url: the API is not at this address"
	case outbound.Classify(r.resp, nil) == outbound.Unknown:
		f.kind, f.remedy = failUnknown, "nothing: it is tried again"
	case f.status >= 500 || outbound.Classify(r.resp, nil) == outbound.Retryable:
		f.kind, f.remedy = failRetry, "nothing: it is tried again"
	default:
		f.kind, f.remedy = failReject, remedyFor(f)
	}
	return f
}

// withoutAnswer judges what came back without a usable answer: no connection, a cut, a page for people, too much.
func withoutAnswer(f *failure, r reply, what string) *failure {
	switch {
	case r.resp == nil:
		f.cause = what + ": " + shorten(outbound.Redact(fmt.Sprint(r.err)))
	case r.err != nil:
		f.cause = fmt.Sprintf("%s answered %d with a body that could not be read: %s", what, f.status, shorten(outbound.Redact(r.err.Error())))
	default:
		f.cause = fmt.Sprintf("%s answered %d with something other than the documented JSON (%d bytes of %s)", what, f.status,
			len(r.body), shorten(r.resp.Header.Get("Content-Type")))
	}
	switch outbound.Classify(r.resp, r.err) {
	case outbound.Retryable:
		f.kind, f.remedy = failRetry, "nothing: it is tried again; if it goes on, check the network and the address"
	case outbound.Permanent:
		f.kind, f.remedy = failAccount, "correct url: the address is not allowed"
	default:
		f.kind, f.remedy = failUnknown, "nothing: it is tried again"
	}
	return f
}

// read takes what the known shapes say: a list of objects, a list of texts, a text, a message, or nothing.
func (f *failure) read(body []byte) string {
	var shape struct {
		Errors  json.RawMessage `json:"errors"`
		Message string          `json:"message"`
		Reasons json.RawMessage `json:"failureReasons"`
	}
	if json.Unmarshal(body, &shape) != nil {
		return ""
	}
	var parts []string
	var rows []struct {
		Title, Detail string
		Code          flexible
		Source        struct{ Pointer, Value string }
	}
	var texts []string
	var text string
	switch {
	case json.Unmarshal(shape.Errors, &rows) == nil:
		for i, row := range rows {
			if i == 0 {
				f.code = string(row.Code)
				f.pointer = strings.TrimPrefix(row.Source.Pointer+row.Source.Value, "/data/attributes/")
			}
			parts = append(parts, row.Title, row.Detail)
		}
	case json.Unmarshal(shape.Errors, &texts) == nil:
		parts = texts
	case json.Unmarshal(shape.Errors, &text) == nil:
		parts = []string{text}
	}
	parts = append(append(parts, shape.Message), reasons(shape.Reasons)...)
	said := parts[:0]
	for _, p := range parts {
		if p = strings.TrimSpace(p); p != "" {
			said = append(said, p)
		}
	}
	return shorten(outbound.Redact(strings.Join(said, "; ")))
}

// reasons are those of an import: texts, or one for each contact that is wrong.
func reasons(raw json.RawMessage) (out []string) {
	var rows []struct {
		Reason string `json:"failureReason"`
	}
	switch {
	case json.Unmarshal(raw, &out) == nil:
	case json.Unmarshal(raw, &rows) == nil:
		for _, r := range rows[:min(len(rows), 3)] {
			out = append(out, r.Reason)
		}
	}
	return out
}

func (f *failure) names(part string) bool { return strings.Contains(strings.ToLower(f.cause), part) }

// aboutRow tells a 403 about one row from a 403 about the key.
func aboutRow(detail string) bool {
	return strings.HasPrefix(detail, "No Result found") || strings.HasPrefix(detail, "Could not create")
}

func remedyFor(f *failure) string {
	switch {
	case f.pointer == "email":
		return "correct the e-mail address and replay"
	case f.pointer != "":
		return "correct " + f.pointer + " in the mapping and replay"
	}
	return "read the answer in the timeline, correct the mapping and replay"
}

// pathShape hides ids and queries, so that equal failures have equal texts.
func pathShape(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if p != "" && strings.Trim(p, "0123456789") == "" {
			parts[i] = "{id}"
		}
	}
	return strings.Join(parts, "/")
}

func shorten(text string) string {
	if r := []rune(text); len(r) > causeCharsMax {
		return string(r[:causeCharsMax]) + "..."
	}
	return text
}
