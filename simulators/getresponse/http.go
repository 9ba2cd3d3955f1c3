package getresponse

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// object is a JSON object of the API.
type object = map[string]any

// apiError is GetResponse's error body with its status.
type apiError struct {
	status, code         int
	description, message string
	context              object
}

// Error implements error.
func (e *apiError) Error() string { return e.message }

func refuse(status, code int, description, message string, context object) error {
	if context == nil {
		context = object{}
	}
	return &apiError{status, code, description, message, context}
}

func notFound(name, id string) error {
	return refuse(404, 1013, "The requested resource was not found", "Resource not found", object{name: id})
}

func invalid(field, description string) error {
	return refuse(400, 1000, "General error of validation process, more details should be in context section",
		"Validation error, see context section for more information", object{"validationType": "resource", "fieldName": field, "errorDescription": description})
}

func throttled(limit int, wait time.Duration) error {
	return refuse(429, 1015, "Too many request to API, quota reached, please wait till next quota window",
		"You have reached your requests limit for this time window, please wait...",
		object{"currentLimit": limit, "timeToReset": fmt.Sprintf("%d seconds", int(wait/time.Second))})
}

// usage counts requests against the limits.
type usage struct {
	window, second     time.Time // begins
	inWindow, inSecond int
	parallel           int
}

// Failure is trouble on demand: the next Count requests whose path starts with Path (below /v3), and whose method is
// Method where one is named, get it in place of an answer. Code is GetResponse's own.
type Failure struct {
	Method string `json:"method,omitempty"`
	Path   string `json:"path"`
	Status int    `json:"status"`
	Code   int    `json:"code"`
	Count  int    `json:"count"` // zero: once
}

// Break asks for trouble; failures are used up in order.
func (s *Server) Break(f Failure) {
	f.Count = max(f.Count, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, &f)
}

// answerTo is what a handler gives: a body, and the counts of a list.
type answerTo struct {
	status                int
	body                  any
	total, pages, current int // of a list; pages 0: none
}

type handler func(r *http.Request, body []byte) (answerTo, error)

// Handler serves the API below /v3, and /_simulator for tests and other processes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]handler{
		"GET /v3/contacts":                            s.listContacts,
		"POST /v3/contacts":                           s.createContact,
		"GET /v3/contacts/{id}":                       s.getContact,
		"POST /v3/contacts/{id}":                      s.updateContact,
		"DELETE /v3/contacts/{id}":                    s.deleteContact,
		"POST /v3/contacts/{id}/custom-fields":        s.upsertFields,
		"POST /v3/contacts/{id}/tags":                 s.upsertTags,
		"POST /v3/search-contacts/contacts":           s.searchContacts,
		"GET /v3/campaigns":                           s.listCampaigns,
		"GET /v3/campaigns/{id}":                      s.getCampaign,
		"GET /v3/custom-fields":                       s.listFields,
		"GET /v3/tags":                                s.listTags,
		"POST /v3/tags":                               s.createTag,
		"GET /v3/custom-events":                       s.listEvents,
		"POST /v3/custom-events":                      s.createEvent,
		"POST /v3/custom-events/trigger":              s.triggerEvent,
		"GET /v3/newsletters":                         s.listNewsletters,
		"POST /v3/newsletters":                        s.createNewsletter,
		"GET /v3/newsletters/{id}":                    s.getNewsletter,
		"POST /v3/contacts/batch":                     s.createContacts,
		"GET /v3/campaigns/{id}/contacts":             s.listContacts,
		"GET /v3/from-fields":                         s.listSenders,
		"GET /v3/workflow":                            s.listWorkflows,
		"GET /v3/workflow/{id}":                       s.getWorkflow,
		"POST /v3/workflow/{id}":                      s.switchWorkflow,
		"GET /v3/accounts/billing":                    s.getBilling,
		"GET /v3/transactional-emails":                s.listMails,
		"POST /v3/transactional-emails":               s.createMail,
		"GET /v3/transactional-emails/{id}":           s.getMail,
		"GET /v3/transactional-emails/templates":      s.listTemplates,
		"GET /v3/transactional-emails/templates/{id}": s.getTemplate,
		"POST /v3/shops":                              s.createShop,
		"GET /v3/shops/{shop}/products":               s.listProducts,
		"POST /v3/shops/{shop}/products":              s.createProduct,
		"GET /v3/shops":                               s.listShops,
		"GET /v3/shops/{shop}":                        s.getShop,
		"GET /v3/shops/{shop}/orders":                 s.listOrders,
		"POST /v3/shops/{shop}/orders":                s.createOrder,
		"GET /v3/shops/{shop}/orders/{id}":            s.getOrder,
		"POST /v3/shops/{shop}/orders/{id}":           s.updateOrder,
		"DELETE /v3/shops/{shop}/orders/{id}":         s.deleteOrder,
		"GET /v3/accounts":                            s.getAccount,
		"/v3/":                                        func(r *http.Request, _ []byte) (answerTo, error) { return answerTo{}, notFound("path", r.URL.Path) },
	} {
		mux.HandleFunc(pattern, s.counted(pattern == batchPattern, s.faulty(s.limited(h))))
	}
	mux.HandleFunc("GET /_simulator/status", func(w http.ResponseWriter, _ *http.Request) { write(w, 200, s.Status()) })
	mux.HandleFunc("GET /_simulator/orders", func(w http.ResponseWriter, _ *http.Request) { write(w, 200, s.Orders()) })
	mux.HandleFunc("GET /_simulator/changes", func(w http.ResponseWriter, _ *http.Request) { write(w, 200, s.Changes()) })
	s.control(mux)
	return mux
}

// limited counts the request against the three limits, applies failures that were asked for and the key, and encodes
// what h gives.
func (s *Server) limited(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		done, err := s.enter(w.Header())
		defer done()
		if err == nil {
			err = s.trouble(r)
		}
		if err == nil {
			err = s.suspended()
		}
		if err == nil {
			err = s.authorized(r)
		}
		if err != nil {
			s.fail(w, err)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, requestBytesMax))
		if err != nil {
			s.fail(w, refuse(400, 1000, "", "The request cannot be read", nil))
			return
		}
		out, err := h(r, body)
		switch {
		case err != nil:
			s.fail(w, err)
		case out.status == http.StatusNoContent:
			w.WriteHeader(out.status)
		case out.body == nil:
			// Accepted for the queue, or done: GetResponse answers with nothing.
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(out.status)
		default:
			if out.pages > 0 {
				w.Header().Set("TotalCount", strconv.Itoa(out.total))
				w.Header().Set("TotalPages", strconv.Itoa(out.pages))
				w.Header().Set("CurrentPage", strconv.Itoa(out.current))
			}
			write(w, out.status, out.body)
		}
	}
}

// enter counts a request. The headers of the window are on every answer; over the limit of a second they are those of
// the second, with Retry-After.
func (s *Server) enter(h http.Header) (done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, now := &s.limits, s.o.Now()
	if now.Sub(u.window) >= Window {
		u.window, u.inWindow = now, 0
	}
	if now.Sub(u.second) >= time.Second {
		u.second, u.inSecond = now, 0
	}
	u.inWindow++
	u.inSecond++
	u.parallel++
	done = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		u.parallel--
	}
	wait := u.window.Add(Window).Sub(now).Truncate(time.Second)
	say := func(limit, left int, wait time.Duration) {
		h.Set("X-RateLimit-Limit", strconv.Itoa(limit))
		h.Set("X-RateLimit-Remaining", strconv.Itoa(max(left, 0)))
		h.Set("X-RateLimit-Reset", fmt.Sprintf("%d seconds", int(wait/time.Second)))
	}
	switch {
	case u.inSecond > s.o.SecondMax || u.parallel > s.o.ParallelMax:
		s.stats.TooMany++
		say(s.o.SecondMax, 0, time.Second)
		h.Set("Retry-After", "1")
		return done, throttled(s.o.WindowMax, wait)
	case u.inWindow > s.o.WindowMax:
		s.stats.TooMany++
		say(s.o.WindowMax, 0, wait)
		return done, throttled(s.o.WindowMax, wait)
	}
	say(s.o.WindowMax, s.o.WindowMax-u.inWindow, wait)
	return done, nil
}

func (s *Server) trouble(r *http.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.failures {
		if (f.Method == "" || f.Method == r.Method) && strings.HasPrefix(strings.TrimPrefix(r.URL.Path, "/v3"), f.Path) {
			if f.Count--; f.Count == 0 {
				s.failures = slices.Delete(s.failures, i, i+1)
			}
			return refuse(f.Status, f.Code, "asked for", "Trouble that was asked for", nil)
		}
	}
	return nil
}

func (s *Server) authorized(r *http.Request) error {
	key, ok := strings.CutPrefix(r.Header.Get("X-Auth-Token"), "api-key ")
	if !ok || subtle.ConstantTimeCompare([]byte(key), []byte(s.o.APIKey)) != 1 {
		return refuse(401, 1014, "Problem during authentication process, check headers!",
			"Unable to authenticate request. Check credentials or authentication method details", object{"authenticationType": "auth_token"})
	}
	switch domain := r.Header.Get("X-Domain"); {
	case s.o.Domain != "" && domain == "":
		return refuse(400, 1021, "Invalid headers", "X-Domain header is required", nil)
	case domain != s.o.Domain:
		return refuse(404, 1024, "Domain not found", "The domain is not known", nil)
	}
	return nil
}

func (s *Server) fail(w http.ResponseWriter, err error) {
	e := (*apiError)(nil)
	if !errors.As(err, &e) {
		e = &apiError{500, 1, "Internal error", "Internal error", object{}}
	}
	s.mu.Lock()
	uuid := fmt.Sprintf("%08x-7f65-46b7-a798-%012x", s.random.Uint32(), s.random.Uint64()>>16)
	s.mu.Unlock()
	write(w, e.status, object{
		"httpStatus": e.status, "code": e.code, "codeDescription": e.description, "message": e.message,
		"moreInfo": fmt.Sprintf("https://apidocs.getresponse.com/en/v3/errors/%d", e.code), "context": e.context, "uuid": uuid,
	})
}

func write(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		status, b = 500, []byte(`{"httpStatus":500,"code":1}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that is gone needs no answer.
	_, _ = w.Write(b)
}

// paged cuts a list by page and perPage. A page past the end is empty.
func paged[T any](r *http.Request, list []T, show func(T) object) (answerTo, error) {
	q := r.URL.Query()
	page, perPage := 1, perPageDefault
	for name, to := range map[string]*int{"page": &page, "perPage": &perPage} {
		if text := q.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || name == "perPage" && n > PerPageMax {
				return answerTo{}, invalid(name, "out of its bounds")
			}
			*to = n
		}
	}
	out := answerTo{status: 200, total: len(list), pages: max(1, (len(list)+perPage-1)/perPage), current: page}
	from := min((page-1)*perPage, len(list))
	shown := []object{}
	for _, x := range list[from:min(from+perPage, len(list))] {
		shown = append(shown, show(x))
	}
	out.body = shown
	return out, nil
}

// known refuses filters and sorts that a list does not have.
func known(r *http.Request, names ...string) error {
	for name := range r.URL.Query() {
		if (strings.HasPrefix(name, "query[") || strings.HasPrefix(name, "sort[")) && !slices.Contains(names, name) {
			return refuse(400, 1000, "General error of validation process, more details should be in context section",
				"Validation error, see context section for more information",
				object{"validationType": "searchFilter[query]", "fieldName": name, "errorDescription": "Not allowed search field"})
		}
	}
	return nil
}

func (s *Server) getAccount(*http.Request, []byte) (answerTo, error) {
	return answerTo{status: 200, body: object{
		"accountId": "acc1", "companyName": "Example", "email": "owner@shop.example", "firstName": "Olga", "lastName": "Owner", "timeFormat": "24h",
		"countryCode": object{"countryCode": "PL"}, "href": "https://api.getresponse.com/v3/accounts",
	}}, nil
}
