package getresponse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
)

// Bounds of one exchange.
const (
	fieldsPerPage = 100  // with their values, fields can be large
	rowsPerPage   = 1000 // the API's maximum
	pagesMax      = 500  // of one list
	bodyBytesMax  = 4 << 20
)

var errTooLarge = errors.New("answer is larger than allowed")

// client speaks the API of one account.
type client struct {
	base, domain string
	key          schemas.Secret
	http         *http.Client
	now          func() time.Time
}

// reply is what came back: an answer with its body, or an error.
type reply struct {
	method, path string
	resp         *http.Response
	body         []byte
	err          error // of the request, or of reading the body
	at           time.Time
}

func (r reply) status() int {
	if r.resp == nil {
		return 0
	}
	return r.resp.StatusCode
}

// ok reports a 2xx whose body is complete: JSON, or nothing where GetResponse says 201, 202 or 204 with nothing. into,
// if given, receives it and must be there.
func (r reply) ok(into any) bool {
	if outbound.Classify(r.resp, r.err) != outbound.OK {
		return false
	}
	if into != nil {
		return json.Unmarshal(r.body, into) == nil
	}
	if len(bytes.TrimSpace(r.body)) == 0 {
		return slices.Contains([]int{http.StatusCreated, http.StatusAccepted, http.StatusNoContent}, r.status())
	}
	return json.Valid(r.body)
}

// seconds reads "267 seconds", as GetResponse writes times.
func seconds(text string) (time.Duration, bool) {
	digits, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil {
		return 0, false
	}
	return min(time.Duration(n)*time.Second, outbound.HoldMax), true
}

// call sends one request of the API. body is encoded as JSON; nil sends none.
func (c *client) call(ctx context.Context, method, path string, query url.Values, body any) reply {
	r := reply{method: method, path: path, at: c.now()}
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode() // brackets percent-encoded: plain ones can be refused
	}
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			r.err = notSent{fmt.Errorf("encode request: %w", err)}
			return r
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		// The text of the error may hold the address with its query.
		r.err = notSent{errors.New("the address in the configuration is malformed")}
		return r
	}
	req.Header.Set("X-Auth-Token", "api-key "+c.key.Reveal())
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.domain != "" {
		req.Header.Set("X-Domain", c.domain)
	}
	return c.do(req, r)
}

func (c *client) do(req *http.Request, r reply) reply {
	resp, err := c.http.Do(req)
	r.resp, r.err, r.at = resp, err, c.now()
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			// Its text repeats the address, and with it an e-mail in the query.
			r.err = ue.Err
		}
		r.resp = nil
		return r
	}
	defer resp.Body.Close()
	r.body, r.err = io.ReadAll(io.LimitReader(resp.Body, bodyBytesMax+1))
	if r.err == nil && len(r.body) > bodyBytesMax {
		r.err = errTooLarge
	}
	return r
}

// notSent is an error of before the request left.
type notSent struct{ err error }

// Error implements error.
func (e notSent) Error() string { return e.err.Error() }

// Unwrap implements errors.Unwrap.
func (e notSent) Unwrap() error { return e.err }

// pages reads a whole list: take, called with each page, returns its number of rows.
func (c *client) pages(ctx context.Context, path string, query url.Values, perPage int, take func(body []byte) (int, error)) *failure {
	q := url.Values{}
	for k, v := range query {
		q[k] = v
	}
	q.Set("perPage", strconv.Itoa(perPage))
	for page := 1; page <= pagesMax; page++ {
		q.Set("page", strconv.Itoa(page))
		r := c.call(ctx, http.MethodGet, path, q, nil)
		var rows []json.RawMessage
		if !r.ok(&rows) {
			return classify(r)
		}
		n, err := take(r.body)
		if err != nil {
			r.err = fmt.Errorf("read list: %w", err)
			return classify(r)
		}
		total, err := strconv.Atoi(r.resp.Header.Get("TotalPages"))
		if n == 0 || err == nil && page >= total {
			return nil
		}
	}
	return &failure{
		kind: failRetry, cause: fmt.Sprintf("GET %s has more than %d pages", path, pagesMax),
		remedy: "delete unused entries in GetResponse",
	}
}
