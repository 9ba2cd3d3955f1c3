package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/tillstream/tillstream/schemas/codec"
)

var (
	// errDown marks a registry that is not there just now; it wraps codec.ErrUnavailable.
	errDown = fmt.Errorf("%w: it is down", codec.ErrUnavailable)
	// errTooBig is what reading an endless answer ends with.
	errTooBig = errors.New("answer too big")
)

// describe turns an error of the registry's client into one of ours, that says what to do and quotes no more than a
// line of what the registry said.
func describe(err error) error {
	var answer *sr.ResponseError
	var syntax *json.SyntaxError
	var shape *json.UnmarshalTypeError
	switch {
	case errors.As(err, &answer):
		return describeAnswer(answer)
	case errors.Is(err, errTooBig):
		return fmt.Errorf("%w: it answers with more than %d bytes; is the URL that of a schema registry?", codec.ErrUnavailable, answerBytesMax)
	case errors.As(err, &syntax), errors.As(err, &shape):
		return fmt.Errorf("%w: it answers with something else than the registry's JSON; is the URL that of a schema registry? %w", codec.ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", errDown, err)
}

func describeAnswer(a *sr.ResponseError) error {
	said := fmt.Sprintf("HTTP %d, code %d, %.200q", a.StatusCode, a.ErrorCode, a.Error())
	switch {
	case a.StatusCode == http.StatusUnauthorized, a.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: it refuses the user; check user name, password and rights: %s", codec.ErrUnavailable, said)
	case a.StatusCode == http.StatusConflict:
		return fmt.Errorf("%w: it has a later or another version of this schema: %s", ErrIncompatible, said)
	case a.StatusCode == http.StatusTooManyRequests, a.StatusCode >= http.StatusInternalServerError:
		return fmt.Errorf("%w: %s", errDown, said)
	case a.ErrorCode == sr.ErrSchemaNotFound.Code:
		return fmt.Errorf("%w: %s", codec.ErrUnknownSchema, said)
	}
	return fmt.Errorf("%w: unexpected answer; is the URL that of a schema registry? %s", codec.ErrUnavailable, said)
}

// limited cuts answers at answerBytesMax: the client below reads whatever is sent.
type limited struct{ base http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	base := l.base
	if base == nil {
		base = http.DefaultTransport
	}
	resp, err := base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &limitedBody{resp.Body, answerBytesMax}
	return resp, nil
}

type limitedBody struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errTooBig
	}
	return n, err
}
