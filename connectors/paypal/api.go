package paypal

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
)

const (
	answerBytesMax = 4 << 20
	triesMax       = 3
	// tokenEarly: a token is renewed this long before its end, so that none expires on the way.
	tokenEarly = 60 * time.Second
	// PayPal's own example waits 30 s where a 429 names no time.
	retryAfterDefault = 30 * time.Second
	retryAfterMax     = 60 * time.Second
)

// api calls PayPal's REST API with a cached token.
type api struct {
	base   string
	id     string
	secret schemas.Secret
	client *http.Client
	now    func() time.Time
	wait   func(context.Context, time.Duration) error

	flight singleflight.Group
	mu     sync.Mutex
	cached token
	budget outbound.Budget
	// refused is what PayPal last answered instead of a token, and since when; nil: it gives tokens.
	refused      error
	refusedSince time.Time
	// denied are the permissions that a call was refused for although the token names them; a new token clears it.
	denied map[string]bool
}

type token struct {
	value schemas.Secret
	scope string
	until time.Time
}

func newAPI(base string, c *Config, env connectors.Env) *api {
	return &api{base: base, id: c.ClientID, secret: c.ClientSecret, client: env.HTTP, now: env.Now, wait: wait}
}

// wait sleeps unless ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// apiError is a refusal by PayPal. DebugID is what its support asks for.
type apiError struct {
	path    string
	status  int
	name    string
	message string
	issues  []string
	debugID string
	retry   time.Duration // of Retry-After; 0: none said
}

func (e *apiError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "paypal %s: status %d", e.path, e.status)
	if e.name != "" {
		fmt.Fprintf(&b, " %s", e.name)
	}
	if e.message != "" {
		fmt.Fprintf(&b, ": %s", e.message)
	}
	if len(e.issues) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(e.issues, "; "))
	}
	if e.debugID != "" {
		fmt.Fprintf(&b, " [Paypal-Debug-Id %s]", e.debugID)
	}
	return b.String()
}

// is reports the error's name, or one of its issues.
func (e *apiError) is(name string) bool {
	if e.name == name {
		return true
	}
	for _, i := range e.issues {
		if strings.Contains(i, name) {
			return true
		}
	}
	return false
}

// rawBody is sent as it is: encoding it again would change what somebody signed.
type rawBody []byte

// call sends in as JSON and decodes the answer into out; both may be nil. A 401 drops the token and tries once more;
// 429 and 5xx are tried again as PayPal says when. The calls made here may be repeated: they read, replace or delete,
// and creating a webhook twice is refused by its URL.
func (a *api) call(ctx context.Context, method, path string, in, out any) error {
	body, given := in.(rawBody)
	if in != nil && !given {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("paypal %s: %w", path, err)
		}
	}
	if err := a.hold(ctx); err != nil {
		return fmt.Errorf("paypal %s: %w", path, err)
	}
	renewed := false
	for try := 1; ; try++ {
		tok, err := a.token(ctx)
		if err != nil {
			return err
		}
		err = a.once(ctx, method, path, tok, body, out)
		e := (*apiError)(nil)
		if err == nil || !errors.As(err, &e) {
			return err
		}
		switch {
		case e.status == http.StatusUnauthorized && !renewed:
			renewed = true
			a.drop(tok)
			continue
		case try >= triesMax || e.status != http.StatusTooManyRequests && e.status < 500:
			return err
		}
		if waited := a.pause(ctx, e, try); waited != nil {
			return fmt.Errorf("%w (gave up: %w)", err, waited)
		}
	}
}

// errHeld says that PayPal wants silence for longer than a caller can wait.
var errHeld = errors.New("not asked: PayPal wants no request")

// hold waits until PayPal takes requests again.
func (a *api) hold(ctx context.Context) error {
	until := a.spent().HoldUntil
	d := until.Sub(a.now())
	switch {
	case until.IsZero() || d <= 0:
		return nil
	case d > retryAfterMax:
		return fmt.Errorf("%w until %s", errHeld, until.UTC().Format(time.RFC3339))
	}
	return a.wait(ctx, d)
}

// spent is what was used of PayPal's API so far.
func (a *api) spent() outbound.Budget {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.budget
}

// count adds one request to the budget. PayPal names no limit, only how long to be silent.
func (a *api) count(res *http.Response) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.budget.Requests++
	if res == nil || res.StatusCode != http.StatusTooManyRequests {
		return
	}
	a.budget.Refused++
	d, ok := outbound.RetryAfter(res.Header, a.now())
	if !ok {
		d = retryAfterDefault
	}
	a.budget.HoldUntil = a.now().Add(d)
}

// granted reports whether the token has a permission; known is false before there is one that says what it has.
func (a *api) granted(scope string) (has, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.denied[scope] {
		return false, true
	}
	return a.cached.has(scope), a.cached.scope != ""
}

func (t token) has(scope string) bool { return slices.Contains(strings.Fields(t.scope), scope) }

// deny notes that PayPal refused a call for want of a permission.
func (a *api) deny(scope string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.denied == nil {
		a.denied = map[string]bool{}
	}
	a.denied[scope] = true
}

// trouble is why PayPal gives no token, and since when.
func (a *api) trouble() (since time.Time, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refusedSince, a.refused
}

// keepToken notes how the request for a token ended.
func (a *api) keepToken(t token, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.cached, a.refused, a.denied = t, nil, nil
		return
	}
	if a.refused == nil {
		a.refusedSince = a.now()
	}
	a.refused = err
}

// pause waits as long as PayPal asks for; longer than retryAfterMax is the caller's to decide.
func (a *api) pause(ctx context.Context, e *apiError, try int) error {
	d := time.Duration(try) * time.Second
	if e.status == http.StatusTooManyRequests {
		d = retryAfterDefault
	}
	if e.retry > 0 {
		d = e.retry
	}
	if d > retryAfterMax {
		return fmt.Errorf("asked to wait %s", d)
	}
	return a.wait(ctx, d)
}

func (a *api) once(ctx context.Context, method, path string, tok token, body []byte, out any) error {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, reader)
	if err != nil {
		return fmt.Errorf("paypal %s: %w", path, err)
	}
	req.Header.Set("Authorization", "Bearer "+tok.value.Reveal())
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return a.do(req, path, out)
}

func (a *api) do(req *http.Request, path string, out any) error {
	req.Header.Set("Accept", "application/json")
	res, err := a.client.Do(req)
	a.count(res)
	if err != nil {
		return fmt.Errorf("paypal %s: %w", path, err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, answerBytesMax+1))
	if err != nil {
		return fmt.Errorf("paypal %s: read answer: %w", path, err)
	}
	if len(data) > answerBytesMax {
		return fmt.Errorf("paypal %s: answer has more than %d bytes", path, answerBytesMax)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return a.readError(res, path, data)
	}
	if out == nil || len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("paypal %s: status %d with a body that is not understood: %w", path, res.StatusCode, err)
	}
	return nil
}

// errorTextMax bounds what is taken over from an answer into an error.
const errorTextMax = 300

// readError reads both shapes: REST {name, message, details} and OAuth {error, error_description}.
func (a *api) readError(res *http.Response, path string, data []byte) *apiError {
	var body struct {
		Name        string `json:"name"`
		Message     string `json:"message"`
		DebugID     string `json:"debug_id"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Details     []struct {
			Field, Issue, Description string
		} `json:"details"`
	}
	_ = json.Unmarshal(data, &body) // a page of HTML is an error without a name
	e := &apiError{
		path: path, status: res.StatusCode, name: connectors.Cut(cmp.Or(body.Name, body.Error), 100),
		message: connectors.Cut(a.masked(cmp.Or(body.Message, body.Description)), errorTextMax),
		debugID: connectors.Cut(cmp.Or(res.Header.Get("Paypal-Debug-Id"), body.DebugID), 100),
	}
	e.retry, _ = outbound.RetryAfter(res.Header, a.now())
	for _, d := range body.Details {
		if len(e.issues) == 5 {
			break
		}
		e.issues = append(e.issues, connectors.Cut(a.masked(strings.TrimSpace(d.Field+" "+cmp.Or(d.Issue, d.Description))), errorTextMax))
	}
	return e
}

// masked takes what authenticates us out of a text of the answer, should the other side repeat it.
func (a *api) masked(text string) string {
	a.mu.Lock()
	bearer := a.cached.value
	a.mu.Unlock()
	basic := schemas.NewSecret(base64.StdEncoding.EncodeToString([]byte(a.id + ":" + a.secret.Reveal())))
	for _, s := range []schemas.Secret{basic, a.secret, bearer} {
		if !s.Empty() {
			text = strings.ReplaceAll(text, s.Reveal(), s.String())
		}
	}
	return text
}

// token returns a token that is valid for some time; many callers cause one request.
func (a *api) token(ctx context.Context) (token, error) {
	if t, ok := a.current(); ok {
		return t, nil
	}
	done := a.flight.DoChan("token", func() (any, error) {
		if t, ok := a.current(); ok {
			return t, nil
		}
		t, err := a.fetchToken(context.WithoutCancel(ctx))
		a.keepToken(t, err)
		return t, err
	})
	select {
	case r := <-done:
		return r.Val.(token), r.Err
	case <-ctx.Done():
		return token{}, fmt.Errorf("paypal token: %w", ctx.Err())
	}
}

func (a *api) current() (token, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cached, !a.cached.value.Empty() && a.now().Add(tokenEarly).Before(a.cached.until)
}

// drop forgets a token that PayPal refused, unless a newer one came meanwhile.
func (a *api) drop(t token) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cached == t {
		a.cached.value = schemas.Secret{} // what it may do stays known
	}
}

const tokenPath = "/v1/oauth2/token"

func (a *api) fetchToken(ctx context.Context) (token, error) {
	form := url.Values{"grant_type": {"client_credentials"}}.Encode()
	for try := 1; ; try++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+tokenPath, strings.NewReader(form))
		if err != nil {
			return token{}, fmt.Errorf("paypal %s: %w", tokenPath, err)
		}
		req.SetBasicAuth(a.id, a.secret.Reveal())
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		var answer struct {
			Scope   string `json:"scope"`
			Token   string `json:"access_token"`
			Expires int64  `json:"expires_in"`
		}
		asked := a.now()
		err = a.do(req, tokenPath, &answer)
		if err == nil {
			if answer.Token == "" || answer.Expires <= 0 {
				return token{}, fmt.Errorf("paypal %s: answer without a token", tokenPath)
			}
			return token{schemas.NewSecret(answer.Token), answer.Scope, asked.Add(time.Duration(min(answer.Expires, 1<<31)) * time.Second)}, nil
		}
		e := (*apiError)(nil)
		if !errors.As(err, &e) || try >= triesMax || e.status != http.StatusTooManyRequests && e.status < 500 {
			return token{}, err
		}
		if waited := a.pause(ctx, e, try); waited != nil {
			return token{}, fmt.Errorf("%w (gave up: %w)", err, waited)
		}
	}
}
