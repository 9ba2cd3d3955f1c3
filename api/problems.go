package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
)

// Code names a kind of refusal: stable, for programs and for the page of the documentation that explains it.
type Code string

// The codes. Each has a row in Codes.
const (
	CodeInvalid        Code = Code(connections.Invalid)
	CodeNotFound       Code = Code(connections.NotFound)
	CodeConflict       Code = Code(connections.Conflict)
	CodeCheckBad       Code = Code(connections.CheckBad)
	CodeFailed         Code = Code(connections.Failed)
	CodeConfigRefused  Code = "config_refused"
	CodeEdited         Code = "edited_meanwhile"
	CodeNoMatch        Code = "if_match_missing"
	CodeNotHere        Code = "part_not_here"
	CodeNoRoute        Code = "no_such_route"
	CodeMethod         Code = "method_not_allowed"
	CodeHost           Code = "host_refused"
	CodeCrossOrigin    Code = "cross_origin"
	CodeNoAction       Code = "action_header_missing"
	CodeNotJSON        Code = "not_json"
	CodeTooLarge       Code = "body_too_large"
	CodeTimeout        Code = "provider_timeout"
	CodeInternal       Code = "internal"
	CodeNotOwned       Code = "not_owned"
	CodeNotStalled     Code = "not_stalled"
	CodeSignIn         Code = "sign_in_required"
	CodeSignInRefused  Code = "sign_in_refused"
	CodeTooManySignIns Code = "too_many_sign_ins"
	CodeTokenRefused   Code = "token_refused"
	CodeRole           Code = "role_too_low"
	CodeNoUsers        Code = "no_users"
	CodeAccessUnknown  Code = "access_unknown"
	CodeLastAdmin      Code = "last_admin"
	CodeAudit          Code = "audit_unavailable"
	CodeKeyReused      Code = "idempotency_key_reused"
	CodeKeyInFlight    Code = "idempotency_key_in_flight"
	CodeBusy           Code = "too_many_requests"
)

// CodeText is what is said of a code wherever it appears: the answer, the document of the API and the documentation.
type CodeText struct {
	Status int
	Title  string // what happened, in a few words
	Remedy string // what to do
}

// Codes says each code's status, title and remedy.
var Codes = map[Code]CodeText{
	CodeInvalid:        {400, "the request has no meaning", "change what the detail names, and send it again"},
	CodeNotFound:       {404, "there is no such thing", "look at the list of what there is, and at the spelling"},
	CodeConflict:       {409, "it does not fit what is there", "look at the thing as it is now, then decide again"},
	CodeCheckBad:       {422, "the check found something bad", "mend what the findings name, or force it where that is offered; nothing was changed"},
	CodeFailed:         {502, "the other side did not do what was asked", "try again; if it stays, look at the provider's status and at 'tillstream status'"},
	CodeConfigRefused:  {422, "the configuration would not be good", "mend each problem at its line; nothing was changed"},
	CodeEdited:         {412, "somebody else changed it meanwhile", "load it again, and bring your change into what is there now"},
	CodeNoMatch:        {428, "the edit does not say which state it was made on", "send If-Match with the ETag that GET gave"},
	CodeNotHere:        {404, "this process does not have that part", "ask a process that has it, or configure it as the detail says"},
	CodeNoRoute:        {404, "there is no such address", "see /api/v1/openapi.json for all that there are"},
	CodeMethod:         {405, "the address does not take that method", "use a method that the header Allow names"},
	CodeHost:           {421, "the host name is not one of this process", "ask by 127.0.0.1 or localhost, or add the name to management.hosts"},
	CodeCrossOrigin:    {403, "the request comes from a page of another origin", "use Tillstream's own page, the command line, or a program with a token"},
	CodeNoAction:       {403, "the header " + ActionHeader + " is missing", "send it with any value: it shows that no foreign web page made the request"},
	CodeNotJSON:        {415, "the body is not sent as application/json", "send Content-Type: application/json"},
	CodeTooLarge:       {413, "the body is too large", "send less at once"},
	CodeTimeout:        {504, "the provider did not answer in time", "try again; if it stays, look at the provider's status"},
	CodeInternal:       {500, "it failed here", "try again; if it stays, look in the log for the request id"},
	CodeNotOwned:       {404, "the partition is not at this process", "ask the process that 'tillstream status' names as its owner"},
	CodeNotStalled:     {409, "there is nothing to resume", "look at 'tillstream status'"},
	CodeSignIn:         {401, "nobody is signed in", "sign in on the page, or send a token: --token, TILLSTREAM_TOKEN, or the header Authorization: Bearer TOKEN"},
	CodeSignInRefused:  {401, "the name or the password is wrong", "try again; an admin can set a new password: tillstream users password NAME"},
	CodeTooManySignIns: {429, "too many attempts to sign in", "wait as long as Retry-After says"},
	CodeTokenRefused:   {401, "the token is not valid", "it was revoked or has expired: make a new one with 'tillstream tokens add'"},
	CodeRole:           {403, "the role does not allow it", "ask an admin for a higher role: tillstream users role NAME ROLE"},
	CodeNoUsers:        {401, "there is no user yet", "make the first one on a machine that reaches Kafka: tillstream users add NAME --role admin --config DIR"},
	CodeAccessUnknown:  {503, "who may do what was not read from Kafka yet", "wait until Kafka is reached; 'tillstream status' says what is missing"},
	CodeLastAdmin:      {409, "nobody would be left who may manage users", "give somebody else the role admin first"},
	CodeAudit:          {503, "the audit log cannot be written", "nothing is changed without a record of it: wait until Kafka is reached"},
	CodeKeyReused:      {422, "the Idempotency-Key was used for another request", "draw a new key for each new request"},
	CodeKeyInFlight:    {409, "the first request with this Idempotency-Key is not answered yet", "wait a moment, and send the same again"},
	CodeBusy:           {429, "too many requests at a time", "wait as long as Retry-After says"},
}

// Problem is the answer to what was not done (RFC 9457), as application/problem+json. It is an error, too: a handler
// returns one, made by Refuse, where it knows the code.
type Problem struct {
	Type      string                    `json:"type"` // the page of the documentation about the code
	Title     string                    `json:"title"`
	Status    int                       `json:"status"`
	Code      Code                      `json:"code"`
	Detail    string                    `json:"detail"`
	Remedy    string                    `json:"remedy"`
	RequestID string                    `json:"request_id"`
	Field     string                    `json:"field,omitempty"`    // of the body or the parameters, which is wrong
	Problems  []ConfigProblem           `json:"problems,omitempty"` // of the configuration as it would be
	Findings  []connections.FindingView `json:"findings,omitempty"` // of the check that refused it
	Conflict  *ConfigConflict           `json:"conflict,omitempty"` // what is there now, of an edit that came too late

	retryAfter int // seconds; 0: not said
}

// ConfigProblem is one thing that is wrong with a configuration.
type ConfigProblem struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"` // from 1; absent: the file as a whole
	Field  string `json:"field,omitempty"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

// String is "file:line: field: detail; hint".
func (p ConfigProblem) String() string {
	return config.Problem{File: p.File, Line: p.Line, Field: p.Field, Message: p.Detail, Hint: p.Hint}.String()
}

func (p *Problem) Error() string { return p.Detail }

// Refuse is the problem of a code, with a detail that says what happened to what.
func Refuse(code Code, format string, args ...any) *Problem {
	text := Codes[code]
	return &Problem{Type: "/docs/errors#" + string(code), Title: text.Title, Status: text.Status, Code: code, Detail: fmt.Sprintf(format, args...), Remedy: text.Remedy}
}

// badBody is a request that cannot be read.
type badBody string

func (b badBody) Error() string { return string(b) }

// problemOf is the answer to an error. One of ours tells nothing that is masked in a log.
func problemOf(err error) *Problem {
	var said *Problem
	var bad badBody
	var refused *connections.Refusal
	var problems config.Problems
	switch {
	case errors.As(err, &said):
		again := *said
		return &again
	case errors.As(err, &bad):
		return Refuse(CodeInvalid, "%s", string(bad))
	case errors.As(err, &refused):
		p := Refuse(codeOf(refused.Kind), "%s", refused.Detail)
		p.Findings = refused.Findings
		return p
	case errors.As(err, &problems):
		p := Refuse(CodeConfigRefused, "the configuration would not be good, and nothing is changed")
		p.Problems = ConfigProblems(problems)
		return p
	case errors.Is(err, context.DeadlineExceeded):
		return Refuse(CodeTimeout, "the provider did not answer in time; try again")
	}
	return Refuse(CodeInternal, "%s", outbound.Redact(err.Error()))
}

func codeOf(k connections.RefusalKind) Code {
	if _, ok := Codes[Code(k)]; ok {
		return Code(k)
	}
	return CodeFailed
}

// ConfigProblems shows what is wrong with a configuration.
func ConfigProblems(list config.Problems) []ConfigProblem {
	out := make([]ConfigProblem, 0, len(list))
	for _, p := range list {
		out = append(out, ConfigProblem{File: p.File, Line: p.Line, Field: p.Field, Detail: p.Message, Hint: p.Hint})
	}
	return out
}

// refuse answers r with p.
func refuse(w http.ResponseWriter, r *http.Request, p *Problem) {
	p.RequestID = requestID(r)
	h := w.Header()
	if p.retryAfter > 0 {
		h.Set("Retry-After", fmt.Sprint(p.retryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="tillstream"`)
	}
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(p)
}
