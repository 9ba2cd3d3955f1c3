package getresponse

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/sinks"
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
	status     int
	code       int    // GetResponse's own; 0: none
	field      string // what a validation error names
}

// Error implements error.
func (f *failure) Error() string { return f.cause }

func reject(remedy, format string, args ...any) *failure {
	return &failure{kind: failReject, cause: fmt.Sprintf(format, args...), remedy: remedy}
}

// outcome of a command whose last request failed like this; nil: all went well.
func (f *failure) outcome(effect bool) sinks.Outcome {
	if f == nil {
		return sinks.Outcome{Kind: sinks.Delivered}
	}
	o := sinks.Outcome{Kind: sinks.Retryable, Err: f, Remedy: f.remedy, RetryAfter: f.retryAfter}
	switch f.kind {
	case failReject:
		o.Kind, o.RetryAfter = sinks.Rejected, 0
	case failUnknown:
		// Everything that sets a state can be repeated; an effect can not.
		if effect {
			o.Kind = sinks.Unknown
		}
	case failAccount:
		o.Account = true
	}
	return o
}

// GetResponse's error codes that this sink acts on.
const (
	codeRelated         = 1001
	codeState           = 1002
	codeExternal        = 1010
	codeTaken           = 1008
	codeNotFound        = 1013
	codeAuthentication  = 1014
	codeThrottled       = 1015
	codeBlockedForTime  = 1016
	codeBlockedForGood  = 1017
	codeBlockedIP       = 1018
	codeMaintenance     = 1019
	codeHeaders         = 1021
	codePermission      = 1023
	codeDomain          = 1024
	codeContactsMax     = 1027
	tooManyPause        = time.Second // after a 429 that names no time
	causeCharsMax       = 300
	contextPartsMax     = 8
	remedyAgain         = "nothing: it is tried again"
	remedyAddressOfAPI  = "correct url: the API is not at this address"
	remedyLeft          = "nothing to repeat: the person left, bounced, complained or is on a blocklist, and is not subscribed again for them; they can sign up through a form of GetResponse"
	remedyReadTheAnswer = "read the answer in the timeline, correct the mapping and replay"
)

// accountRemedies are the codes that concern the account, whatever their status.
var accountRemedies = map[int]string{
	codeAuthentication: "check the API key in GetResponse (Tools, Integrations and API): it may be deleted, or expired after 90 days without use",
	codeThrottled:      "nothing: it is tried again when the account's limit allows",
	codeBlockedForTime: "GetResponse has blocked the account for a time: ask its support",
	codeBlockedForGood: "GetResponse has blocked the account: ask its support",
	codeBlockedIP:      "GetResponse has blocked this machine's address: ask its support",
	codeMaintenance:    "nothing: GetResponse is in maintenance and is tried again afterwards",
	codeHeaders:        "check key, and domain: MAX accounts need it, others have none",
	codePermission:     "use the API key of a user who may read and edit contacts, custom fields, tags and custom events",
	codeDomain:         "correct domain: GetResponse MAX does not know it",
	codeContactsMax:    "the plan's number of contacts is reached: delete contacts or enlarge the plan",
}

// classify judges an answer that is no success. All error shapes of the API end here.
func classify(r reply) *failure {
	f := &failure{status: r.status()}
	what := r.method + " " + pathShape(r.path)
	if r.status() < 300 {
		return withoutAnswer(f, r, what)
	}
	detail, reset := f.read(r.body)
	f.cause = fmt.Sprintf("%s answered %d", what, f.status)
	if detail != "" {
		f.cause += ": " + detail
	}
	wait, named := outbound.RetryAfter(r.resp.Header, r.at)
	if !named {
		if wait, named = seconds(r.resp.Header.Get("X-RateLimit-Reset")); !named {
			wait, named = reset, reset > 0
		}
	}
	remedy, account := accountRemedies[f.code]
	switch {
	case f.status == http.StatusTooManyRequests || f.code == codeThrottled:
		f.kind, f.retryAfter, f.remedy = failAccount, max(wait, tooManyPause), accountRemedies[codeThrottled]
	case f.code == codeMaintenance || f.status == http.StatusServiceUnavailable && named && wait > 0:
		f.kind, f.retryAfter, f.remedy = failAccount, max(wait, tooManyPause), accountRemedies[codeMaintenance]
	case f.code == codePermission && paidPart(r.path):
		// A part that the plan, or the key's user, may not have: contacts go on without it.
		f.kind, f.remedy = failReject, "use the API key of a user, and a plan, with e-commerce for orders, newsletters for messages and the add-on for transactional e-mail, and replay"
	case account:
		f.kind, f.remedy = failAccount, remedy
	case f.status == http.StatusUnauthorized, f.status == http.StatusForbidden, f.status == http.StatusPaymentRequired:
		f.kind, f.remedy = failAccount, accountRemedies[codeAuthentication]
	case f.status < 400:
		f.kind, f.remedy = failAccount, "correct url: the address answers with a redirect, which is not followed"
	case f.status == http.StatusNotFound && f.code == 0:
		f.kind, f.remedy = failAccount, remedyAddressOfAPI
	case f.code == codeExternal:
		f.kind, f.remedy = failRetry, remedyAgain
	case outbound.Classify(r.resp, nil) == outbound.Unknown:
		f.kind, f.remedy = failUnknown, remedyAgain
	case f.status >= 500 || outbound.Classify(r.resp, nil) == outbound.Retryable:
		f.kind, f.remedy = failRetry, remedyAgain
	default:
		f.kind, f.remedy = failReject, remedyFor(f)
	}
	return f
}

// paidPart reports whether a plan, or a key's user, may lack what the path belongs to.
func paidPart(path string) bool {
	for _, part := range []string{"/shops", "/newsletters", mailsPath, "/from-fields"} {
		if strings.HasPrefix(path, part) {
			return true
		}
	}
	return false
}

// withoutAnswer judges what came back without a usable answer: no connection, a cut, a page for people, too much.
func withoutAnswer(f *failure, r reply, what string) *failure {
	var unsent notSent
	switch {
	case errors.As(r.err, &unsent):
		f.kind, f.cause, f.remedy = failRetry, what+" was not sent: "+shorten(outbound.Redact(r.err.Error())), remedyAgain
		return f
	case r.resp == nil:
		f.cause = what + ": " + shorten(outbound.Redact(fmt.Sprint(r.err)))
	case r.err != nil:
		f.cause = fmt.Sprintf("%s answered %d with a body that could not be read: %s", what, f.status, shorten(outbound.Redact(r.err.Error())))
	default:
		f.cause = fmt.Sprintf("%s answered %d with something other than the documented JSON (%d bytes of %s)", what, f.status,
			len(r.body), shorten(r.resp.Header.Get("Content-Type")))
	}
	if r.err == nil && r.method == http.MethodGet {
		// A whole answer that is not the API's: a page of something in between, or another address than the API's.
		f.kind, f.remedy = failRetry, remedyAgain+"; if it goes on, "+remedyAddressOfAPI
		return f
	}
	switch outbound.Classify(r.resp, r.err) {
	case outbound.Retryable:
		f.kind, f.remedy = failRetry, remedyAgain+"; if it goes on, check the network and the address"
	case outbound.Permanent:
		f.kind, f.remedy = failAccount, "correct url: the address is not allowed"
	default:
		f.kind, f.remedy = failUnknown, remedyAgain
	}
	return f
}

// read takes what the error body says. context is an object, and may be a list of them or of texts. reset is its
// timeToReset.
func (f *failure) read(body []byte) (detail string, reset time.Duration) {
	var shape struct {
		Code    json.RawMessage `json:"code"`
		Message string          `json:"message"`
		Context json.RawMessage `json:"context"`
		UUID    string          `json:"uuid"`
	}
	// A member of another type than documented hides no other one.
	if err := json.Unmarshal(body, &shape); err != nil && !errors.As(err, new(*json.UnmarshalTypeError)) {
		return "", 0
	}
	if n, err := strconv.ParseUint(strings.Trim(string(shape.Code), `"`), 10, 16); err == nil {
		f.code = int(n)
	}
	var parts []string
	if shape.Message != "" {
		parts = append(parts, shape.Message)
	}
	var list []json.RawMessage
	if json.Unmarshal(shape.Context, &list) != nil {
		list = []json.RawMessage{shape.Context}
	}
	for _, raw := range list[:min(len(list), contextPartsMax)] {
		said, wait := f.readContext(raw)
		reset = max(reset, wait)
		if said != "" {
			parts = append(parts, said)
		}
	}
	detail = strings.Join(parts, "; ")
	if f.code != 0 {
		detail += fmt.Sprintf(" (code %d", f.code)
		if shape.UUID != "" {
			detail += ", uuid " + shape.UUID
		}
		detail += ")"
	}
	return shorten(outbound.Redact(strings.TrimSpace(detail))), reset
}

// readContext leaves out members that repeat what was sent: they can be personal.
func (f *failure) readContext(raw json.RawMessage) (said string, reset time.Duration) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text, 0
	}
	var members map[string]any
	if json.Unmarshal(raw, &members) != nil {
		return "", 0
	}
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	sort.Strings(names)
	var parts []string
	for _, name := range names {
		value, ok := members[name].(string)
		switch {
		case !ok || name == "originalName" || name == "value" || name == "email":
		case name == "timeToReset":
			reset, _ = seconds(value)
		case name == "fieldName":
			f.field = value
			parts = append([]string{value}, parts...)
		default:
			parts = append(parts, value)
		}
	}
	return strings.Join(parts, ": "), reset
}

func remedyFor(f *failure) string {
	switch {
	case f.code == codeState:
		return remedyLeft
	case f.field == "email":
		return "correct the e-mail address and replay"
	case f.field != "":
		return "correct " + shorten(f.field) + " in the mapping and replay"
	}
	return remedyReadTheAnswer
}

// pathShape hides contact ids, so that equal failures have equal texts.
func pathShape(path string) string {
	rest, ok := strings.CutPrefix(path, "/contacts/")
	if !ok {
		return path
	}
	_, tail, more := strings.Cut(rest, "/")
	if more {
		tail = "/" + tail
	}
	return "/contacts/{id}" + tail
}

func shorten(text string) string {
	if r := []rune(text); len(r) > causeCharsMax {
		return string(r[:causeCharsMax]) + "..."
	}
	return text
}
