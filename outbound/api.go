package outbound

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// Bounds of an API's calls.
const (
	// CallTriesMax is how often one call is tried, the first time included.
	CallTriesMax = 4
	// CallPatienceMax is the longest pause that a call takes when the provider asks for one; a longer one is the caller's
	// to decide.
	CallPatienceMax = 60 * time.Second

	callPause     = time.Second // before the second try; it doubles
	errorTextMax  = 400
	secretMasking = "***"
)

// APIOptions describe one account of a provider's JSON API.
type APIOptions struct {
	Provider string // for errors: "woocommerce"
	Base     string // address without a final slash
	HTTP     *http.Client
	Now      func() time.Time
	// Authorize adds what authenticates to a request.
	Authorize func(*http.Request)
	// Secrets are masked, should an answer repeat them.
	Secrets []schemas.Secret
	// Limits reads the provider's own numbers off an answer; nil: it names none.
	Limits func(http.Header) (limit, left int64, ok bool)
	// Sleep waits between tries; nil: by the machine's clock.
	Sleep func(context.Context, time.Duration) error
}

// API calls one account: 429 and 5xx are tried again as the provider says when, what was used is counted, and an error
// says what happened to what, without secrets. It may be used by several goroutines.
type API struct {
	o APIOptions

	mu     sync.Mutex
	budget Budget
}

// Budget is what was used of a provider's API.
type Budget struct {
	Requests int64 // since the start
	Refused  int64 // of these, answered 429
	// Limit and Left are the provider's own numbers of the newest answer; Limit 0: it names none.
	Limit, Left int64
	HoldUntil   time.Time // until then nothing is asked, as the provider wants; zero: now
}

// NewAPI returns an API of o.
func NewAPI(o APIOptions) *API {
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	return &API{o: o}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Budget is what was used so far.
func (a *API) Budget() Budget {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.budget
}

// A StatusError is a provider's refusal.
type StatusError struct {
	Provider, Method, Path string
	Status                 int
	Body                   string        // its beginning, masked
	RetryAfter             time.Duration // 0: none said
}

// Error implements error.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s %s %s: status %d", e.Provider, e.Method, e.Path, e.Status)
	if e.Body != "" {
		text += ": " + e.Body
	}
	return text
}

// Call sends in as JSON (url.Values: as a form; nil: no body) and decodes the answer into out (nil: it is not looked at). path begins with a
// slash and may hold a query. Only calls that may be repeated belong here. The error of a refusal is a *StatusError.
func (a *API) Call(ctx context.Context, method, path string, in, out any) (http.Header, error) {
	body, media, err := encoded(in)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", a.o.Provider, path, err)
	}
	pause := callPause
	for try := 1; ; try++ {
		header, err := a.once(ctx, method, path, media, body, out)
		e := (*StatusError)(nil)
		if err == nil || !errors.As(err, &e) || try == CallTriesMax || e.Status != http.StatusTooManyRequests && e.Status < 500 {
			return header, err
		}
		wait := max(pause, e.RetryAfter)
		if wait > CallPatienceMax {
			return header, fmt.Errorf("%w (asked to wait %s)", err, wait)
		}
		if waited := a.o.Sleep(ctx, wait); waited != nil {
			return header, fmt.Errorf("%w (gave up: %w)", err, waited)
		}
		pause *= 2
	}
}

// encoded is in as a request carries it, and its media type.
func encoded(in any) (body []byte, media string, err error) {
	switch v := in.(type) {
	case nil:
		return nil, "", nil
	case url.Values:
		return []byte(v.Encode()), "application/x-www-form-urlencoded", nil
	}
	body, err = json.Marshal(in)
	return body, "application/json", err
}

func (a *API) once(ctx context.Context, method, path, media string, body []byte, out any) (http.Header, error) {
	fail := func(err error) error {
		return fmt.Errorf("%s %s %s: %w", a.o.Provider, method, a.masked(withoutQuery(path)), err)
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.o.Base+path, reader)
	if err != nil {
		return nil, fail(err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", media)
	}
	a.o.Authorize(req)
	res, err := a.o.HTTP.Do(req)
	if err != nil {
		a.count(nil, 0)
		return nil, fail(errors.New(a.masked(err.Error())))
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body) // bounded by the client
	wait, _ := RetryAfter(res.Header, a.o.Now())
	a.count(res, wait)
	if err != nil {
		return res.Header, fail(fmt.Errorf("read answer: %w", err))
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return res.Header, &StatusError{a.o.Provider, method, a.masked(withoutQuery(path)), res.StatusCode, errorText(a.masked(string(data))), wait}
	}
	if out == nil {
		return res.Header, nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return res.Header, fail(fmt.Errorf("status %d with a body that is not understood: %w", res.StatusCode, err))
	}
	return res.Header, nil
}

func (a *API) count(res *http.Response, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.budget.Requests++
	if res == nil {
		return
	}
	if res.StatusCode == http.StatusTooManyRequests {
		a.budget.Refused++
		a.budget.HoldUntil = a.o.Now().Add(wait)
	}
	if a.o.Limits != nil {
		if limit, left, ok := a.o.Limits(res.Header); ok {
			a.budget.Limit, a.budget.Left = limit, left
		}
	}
}

func (a *API) masked(text string) string {
	for _, s := range a.o.Secrets {
		if !s.Empty() {
			text = strings.ReplaceAll(text, s.Reveal(), secretMasking)
		}
	}
	return text
}

func withoutQuery(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return path
}

// errorText is the beginning of an answer on one line, with what looks personal masked.
func errorText(text string) string {
	text = excerpt(strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " "), false)
	if len(text) > errorTextMax {
		text = strings.ToValidUTF8(text[:errorTextMax], "")
	}
	return text
}
