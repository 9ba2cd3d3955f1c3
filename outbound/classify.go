package outbound

import (
	"context"
	"errors"
	"mime"
	"net"
	"net/http"
)

// Kind says what can be concluded from an answer or its absence.
type Kind int

// The kinds. Unknown means that the request may have been applied: ask the provider before repeating an effect; what
// only sets a state can be repeated.
const (
	OK Kind = iota + 1
	Retryable
	Permanent
	Unknown
)

// String returns the kind's name.
func (k Kind) String() string {
	switch k {
	case OK:
		return "ok"
	case Retryable:
		return "retryable"
	case Permanent:
		return "permanent"
	case Unknown:
		return "unknown"
	}
	return "none"
}

// Classify judges what a client of this package returned. err is Do's error or, beside resp, the error of reading the
// body. The caller reads the body for itself: a provider can refuse inside a 200.
func Classify(resp *http.Response, err error) Kind {
	switch {
	case resp == nil && err == nil:
		return Unknown
	case resp == nil:
		return classifyError(err)
	}
	kind := classifyStatus(resp)
	if kind == OK && (err != nil || isHTML(resp)) {
		// A success whose body is cut, too large, or a page for people (a login or maintenance page of something in
		// between): applied or not, it does not say.
		return unlessRepeatable(method(resp))
	}
	return kind
}

func classifyStatus(resp *http.Response) Kind {
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return OK
	case code < 400:
		// Redirects are not followed: the address in the configuration is wrong, and stays so.
		return Permanent
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code == http.StatusTooEarly,
		code == http.StatusLocked:
		// Refused before any work.
		return Retryable
	case code < 500:
		// The provider understood and refused: the same request meets the same answer. 401 and 403 concern the account
		// rather than this request; the caller knows what to do about that.
		return Permanent
	case code == http.StatusNotImplemented, code == http.StatusHTTPVersionNotSupported:
		return Permanent
	case code == http.StatusBadGateway, code == http.StatusGatewayTimeout, code == 520, code == 524:
		// A gateway lost the server behind it (520 and 524 are Cloudflare's): the server may have finished.
		return unlessRepeatable(method(resp))
	default:
		// 500, 503 and the rest: the server itself says that it failed, and providers ask for a repetition.
		return Retryable
	}
}

func classifyError(err error) Kind {
	if errors.Is(err, ErrAddress) || errors.Is(err, ErrPlain) {
		// Our own guard refused the address; repeating changes nothing until the configuration does.
		return Permanent
	}
	var sent *sendError
	if errors.As(err, &sent) {
		if sent.left {
			// Cut, timed out or cancelled after it was written: nobody here knows what the provider did.
			return unlessRepeatable(sent.method)
		}
		// No connection, no handshake, no turn: nothing left this machine.
		return Retryable
	}
	var op *net.OpError
	var dns *net.DNSError
	if errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial" {
		return Retryable
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Unknown
	}
	// An error of another client: without knowledge, the careful answer.
	return Unknown
}

// unlessRepeatable is Unknown, except for methods that HTTP defines to be repeatable (RFC 9110, 9.2.2).
func unlessRepeatable(method string) Kind {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete, "":
		return Retryable
	}
	return Unknown
}

func method(resp *http.Response) string {
	if resp.Request == nil {
		return http.MethodPost // not known: the careful assumption
	}
	return resp.Request.Method
}

func isHTML(resp *http.Response) bool {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return media == "text/html" || media == "application/xhtml+xml"
}
