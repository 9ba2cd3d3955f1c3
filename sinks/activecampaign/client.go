package activecampaign

import (
	"bytes"
	"context"
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
)

// Bounds of one exchange.
const (
	pageSize     = 100     // what is asked for; the API's maximum
	pageLeast    = 20      // what the API gives of a longer list, whatever is asked for
	pagesMax     = 500     // of one list
	bodyBytesMax = 4 << 20 // of an answer, should the client have no bound of its own
)

var errTooLarge = errors.New("answer is larger than allowed")

// client speaks the API of one account.
type client struct {
	base string
	key  schemas.Secret
	http *http.Client
	now  func() time.Time
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

// ok reports a 2xx whose body is JSON and complete; into, if given, receives it.
func (r reply) ok(into any) bool {
	if outbound.Classify(r.resp, r.err) != outbound.OK {
		return false
	}
	if into == nil {
		return json.Valid(r.body)
	}
	return json.Unmarshal(r.body, into) == nil
}

// call sends one request of the API. body is encoded as JSON; nil sends none.
func (c *client) call(ctx context.Context, method, path string, query url.Values, body any) reply {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return reply{method: method, path: path, err: fmt.Errorf("encode request: %w", err), at: c.now()}
		}
	}
	header := http.Header{"Api-Token": {c.key.Reveal()}, "Accept": {"application/json"}}
	if body != nil {
		header.Set("Content-Type", "application/json")
	}
	r := c.send(ctx, method, target, header, content)
	r.path = path
	return r
}

// post sends a form to an address outside the API, without the API's key.
func (c *client) post(ctx context.Context, target string, form url.Values) reply {
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	r := c.send(ctx, http.MethodPost, target, header, []byte(form.Encode()))
	r.path = "event"
	return r
}

func (c *client) send(ctx context.Context, method, target string, header http.Header, content []byte) reply {
	r := reply{method: method}
	var body io.Reader
	if content != nil {
		body = bytes.NewReader(content)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		// The text of the error may hold the address with its query.
		r.err, r.at = errors.New("the address in the configuration is malformed"), c.now()
		return r
	}
	req.Header = header
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

// pages reads a whole list, whatever page size the account gives: n, called with each page, returns its number of rows.
func (c *client) pages(ctx context.Context, path string, query url.Values, n func(body []byte) (int, error)) *failure {
	q := url.Values{}
	for k, v := range query {
		q[k] = v
	}
	q.Set("limit", strconv.Itoa(pageSize))
	offset := 0
	for range pagesMax {
		q.Set("offset", strconv.Itoa(offset))
		r := c.call(ctx, http.MethodGet, path, q, nil)
		var envelope struct {
			Meta struct {
				Total flexible `json:"total"`
			} `json:"meta"`
		}
		if !r.ok(&envelope) {
			return classify(r)
		}
		rows, err := n(r.body)
		if err != nil {
			r.err = fmt.Errorf("read list: %w", err)
			return classify(r)
		}
		offset += rows
		total, err := strconv.Atoi(string(envelope.Meta.Total))
		// Some lists come without a total, and may come whole whatever the offset.
		if rows == 0 || err == nil && offset >= total || err != nil && rows < pageLeast {
			return nil
		}
	}
	return &failure{
		kind: failRetry, cause: fmt.Sprintf("GET %s has more than %d pages", path, pagesMax),
		remedy: "delete unused entries in ActiveCampaign",
	}
}

// flexible is an id or count that the API writes as a string or as a number.
type flexible string

// UnmarshalJSON implements json.Unmarshaler.
func (f *flexible) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*f = flexible(s)
		return nil
	}
	if text := strings.TrimSpace(string(b)); text != "null" && text != "" && text[0] != '{' && text[0] != '[' {
		*f = flexible(text)
	}
	return nil
}
