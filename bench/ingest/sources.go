package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/connectors/all"
)

// setup are a source's keys and addresses: made once, told to every program.
type setup map[string]string

// source drives one connector: it signs as its provider does, and checks as a bare program would.
type source struct {
	name      string // in figures: connector and kind of signature
	connector string
	// prepare makes the setup. What it starts ends with end.
	prepare func(dir string) (s setup, end func(), err error)
	config  func(setup) any
	// sign returns the headers of a genuine webhook of body. n makes its ids.
	sign func(s setup, body []byte, n int, at time.Time) (http.Header, error)
	// check returns what the bare program does: the signature's mathematics, and nothing else.
	check func(setup) (func(h http.Header, body []byte) bool, error)
	body  func(n int) []byte
}

// pollOnly are connectors whose providers send no webhooks.
var pollOnly = []string{"getresponse"}

var sources []source

func find(connector string) (source, bool) {
	for _, s := range sources {
		if s.connector == connector {
			return s, true
		}
	}
	return source{}, false
}

// connectorOf is the connector that s drives, as its configuration binds it.
func (s source) connectorOf(cfg any) (connectors.Connector, error) {
	c, ok := all.Connectors().Get(s.connector)
	if !ok {
		return c, fmt.Errorf("connector %s is not in the list", s.connector)
	}
	return c.For(cfg), nil
}

// bodyBytes is the size of the bodies that are measured, within a few bytes.
const bodyBytes = 3000

// sized fills a template: {N} is a number that differs with each webhook, {ID} the same as 17 letters and digits, {PAD} as
// much text as is missing to bodyBytes.
func sized(template string, n int) []byte {
	text := strings.NewReplacer("{N}", fmt.Sprint(100_000+n), "{ID}", fmt.Sprintf("9WB%014d", n)).Replace(template)
	words := strings.Repeat("Two books, one of them as a gift, wrapped. ", bodyBytes/40)
	return []byte(strings.Replace(text, "{PAD}", words[:max(0, bodyBytes-len(text)+len("{PAD}"))], 1))
}

func hmacSHA256(key string, parts ...string) []byte {
	h := hmac.New(sha256.New, []byte(key))
	for _, p := range parts {
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

// hmacOfBody is the bare check of a signature that covers head and body.
func hmacOfBody(key, head string, body, want []byte) bool {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(head))
	h.Write(body)
	return hmac.Equal(h.Sum(nil), want)
}
