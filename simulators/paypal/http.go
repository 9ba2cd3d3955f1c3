package paypal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// object is a JSON object of the API.
type object = map[string]any

// account is one app with its webhooks, events and business objects. Server.mu guards it.
type account struct {
	Account
	webhooks []*webhook
	events   []*event          // in order of emission
	byID     map[string]*event // the first of each id

	orders, captures, refunds, subscriptions, sales, plans map[string]object

	payments map[string][]string // subscription id to the ids of its sales
	captured map[string][]string // order id to the ids of its captures
	ledger   []entry             // for reporting, in order of time known
	booked   map[string]int      // id to its place in the ledger
	replies  map[string]reply    // by path and PayPal-Request-Id
}

// reply is the first answer to a request id; PayPal gives it again.
type reply struct {
	at   time.Time
	body rawJSON
}

// repliesMax bounds what is kept of request ids for an account; PayPal keeps them for hours.
const repliesMax = 10_000

func newAccount(a Account) *account {
	return &account{
		Account: a, byID: map[string]*event{}, orders: map[string]object{}, captures: map[string]object{}, refunds: map[string]object{},
		subscriptions: map[string]object{}, sales: map[string]object{}, plans: map[string]object{}, payments: map[string][]string{}, captured: map[string][]string{}, booked: map[string]int{},
		replies: map[string]reply{},
	}
}

// handler answers a call of one account. It returns a status and a body to encode, or an apiError.
type handler func(a *account, r *http.Request, body []byte) (int, any, error)

// apiError is PayPal's error body (name, message, details) with its status.
type apiError struct {
	status        int
	name, message string
	details       []object
}

// Error implements error.
func (e *apiError) Error() string { return e.name + ": " + e.message }

func refuse(status int, name, message string, details ...object) error {
	return &apiError{status, name, message, details}
}

func notFound(issue string) error {
	return refuse(404, "RESOURCE_NOT_FOUND", "The specified resource does not exist.",
		object{"issue": issue, "description": "Specified resource ID does not exist. Please check the resource ID and try again."})
}

func unprocessable(issue, description string) error {
	return refuse(422, "UNPROCESSABLE_ENTITY",
		"The requested action could not be performed, semantically incorrect, or failed business validation.",
		object{"issue": issue, "description": description})
}

func invalidRequest(field, issue, description string) error {
	return refuse(400, "INVALID_REQUEST", "Request is not well-formed, syntactically incorrect, or violates schema.",
		object{"field": field, "issue": issue, "description": description})
}

// Handler serves the APIs, the certificates, and /_simulator for tests and other processes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/oauth2/token", s.serveToken)
	mux.HandleFunc("GET "+certPath+"{name}", s.serveCert)
	const n = "/v1/notifications"
	for pattern, h := range map[string]handler{
		"POST " + n + "/webhooks":                 s.createWebhook,
		"GET " + n + "/webhooks":                  s.listWebhooks,
		"GET " + n + "/webhooks/{id}":             s.getWebhook,
		"PATCH " + n + "/webhooks/{id}":           s.patchWebhook,
		"DELETE " + n + "/webhooks/{id}":          s.deleteWebhook,
		"GET " + n + "/webhooks/{id}/event-types": s.webhookTypes,
		"GET " + n + "/webhooks-event-types":      s.allTypes,

		"GET " + n + "/webhooks-events":              s.listEvents,
		"GET " + n + "/webhooks-events/{$}":          s.listEvents,
		"GET " + n + "/webhooks-events/{id}":         s.getEvent,
		"POST " + n + "/webhooks-events/{id}/resend": s.resendEvent,
		"POST " + n + "/simulate-event":              s.simulateEvent,
		"POST " + n + "/verify-webhook-signature":    s.verifySignature,

		"POST /v2/checkout/orders":               s.createOrder,
		"GET /v2/checkout/orders/{id}":           s.getOrder,
		"POST /v2/checkout/orders/{id}/capture":  s.captureOrder,
		"GET /v2/payments/captures/{id}":         s.getCapture,
		"POST /v2/payments/captures/{id}/refund": s.refundCapture,
		"GET /v2/payments/refunds/{id}":          s.getRefund,
		"GET /v1/payments/sale/{id}":             s.getSale,

		"POST /v1/billing/plans":                          s.createPlan,
		"GET /v1/billing/plans":                           s.listPlans,
		"GET /v1/billing/plans/{id}":                      s.getPlan,
		"POST /v1/billing/subscriptions":                  s.createSubscription,
		"GET /v1/billing/subscriptions":                   s.listSubscriptions,
		"GET /v1/billing/subscriptions/{id}":              s.getSubscription,
		"POST /v1/billing/subscriptions/{id}/{action}":    s.actOnSubscription,
		"GET /v1/billing/subscriptions/{id}/transactions": s.subscriptionTransactions,
		"GET /v1/reporting/transactions":                  s.reportTransactions,
	} {
		mux.HandleFunc(pattern, s.authorized(h))
	}
	s.control(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		s.fail(w, 404, "RESOURCE_NOT_FOUND", "The specified resource does not exist.")
	})
	return s.always(mux)
}

// always gives each answer its debug id and applies the failures that were asked for.
func (s *Server) always(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		debugID := s.hex(13)
		f := s.takeFailure(r)
		s.mu.Unlock()
		w.Header().Set("Paypal-Debug-Id", debugID)
		if f != nil && s.act(w, r, f) {
			return
		}
		if !strings.HasPrefix(r.URL.Path, "/_simulator/") {
			r.Body = http.MaxBytesReader(w, r.Body, RequestBytesMax)
		}
		next.ServeHTTP(w, r)
	})
}

// authorized finds the account of the token, reads the body, and encodes what h returns.
func (s *Server) authorized(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a, status, body := s.tokenAccount(r.Header.Get("Authorization"))
		if a == nil {
			if status == 0 {
				s.fail(w, 401, "AUTHENTICATION_FAILURE",
					"Authentication failed due to missing authorization header, or invalid authentication credentials.")
				return
			}
			s.answer(w, status, body)
			return
		}
		if !a.allowed(r.URL.Path) {
			s.fail(w, 403, "NOT_AUTHORIZED", "Authorization failed due to insufficient permissions.",
				object{"issue": "PERMISSION_DENIED", "description": "You do not have permission to access or perform operations on this resource."})
			return
		}
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			var large *http.MaxBytesError
			if errors.As(err, &large) {
				s.fail(w, 413, "REQUEST_ENTITY_TOO_LARGE", "The request is too large.")
			}
			return
		}
		if len(raw) > 0 && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			s.fail(w, 415, "UNSUPPORTED_MEDIA_TYPE", "The server does not support the request payload's media type.")
			return
		}
		code, out, err := h(a, r, raw)
		var refused *apiError
		switch {
		case errors.As(err, &refused):
			s.fail(w, refused.status, refused.name, refused.message, refused.details...)
		case err != nil:
			s.log.Error().Err(err).Str("path", r.URL.Path).Msg("request failed")
			s.fail(w, 500, "INTERNAL_SERVER_ERROR", "An internal server error occurred.")
		case code == http.StatusNoContent:
			w.WriteHeader(code)
		default:
			s.answer(w, code, out)
		}
	}
}

// rawJSON is a body that is sent as it is.
type rawJSON []byte

func (s *Server) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	raw, ok := body.(rawJSON)
	if !ok {
		raw = encode(body)
	}
	w.WriteHeader(status)
	w.Write(raw)
}

// encode writes JSON without escaping <, > and &, as PayPal does.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		// Only objects that came from JSON are encoded.
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// decode reads an object and keeps numbers as they are written.
func decode(raw []byte) (object, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return object{}, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var o object
	if err := d.Decode(&o); err != nil {
		return nil, invalidRequest("/", "MALFORMED_REQUEST_JSON", "The request JSON is not well formed.")
	}
	return o, nil
}

// fail writes PayPal's error body.
func (s *Server) fail(w http.ResponseWriter, status int, name, message string, details ...object) {
	if details == nil {
		details = []object{}
	}
	body := object{"name": name, "message": message, "debug_id": w.Header().Get("Paypal-Debug-Id"), "details": details, "links": []object{}}
	if status >= 500 || status == 429 {
		delete(body, "details")
	}
	s.answer(w, status, body)
}

// once gives the answer that this request id had before; otherwise it makes one. Without the header a POST acts twice,
// as at PayPal. s.mu is held.
func (a *account) once(now time.Time, r *http.Request, first func() (any, error)) (int, any, error) {
	id := r.Header.Get("PayPal-Request-Id")
	key := r.URL.Path + " " + id
	if id != "" {
		if old, ok := a.replies[key]; ok {
			return http.StatusOK, old.body, nil
		}
	}
	body, err := first()
	if err != nil {
		return 0, nil, err
	}
	if id != "" {
		if len(a.replies) >= repliesMax {
			for k, v := range a.replies {
				if now.Sub(v.at) > 6*time.Hour || len(a.replies) >= repliesMax {
					delete(a.replies, k)
				}
			}
		}
		kept, ok := body.(rawJSON)
		if !ok {
			kept = encode(body)
		}
		a.replies[key] = reply{now, kept}
	}
	return http.StatusCreated, body, nil
}

// shaped is the answer to a POST: everything with Prefer: return=representation, else id, status and links.
func shaped(r *http.Request, o object) any {
	if strings.Contains(r.Header.Get("Prefer"), "return=representation") {
		return rawJSON(encode(o))
	}
	return rawJSON(encode(object{"id": o["id"], "status": o["status"], "links": o["links"]}))
}

func (s *Server) stamp() string { return s.o.Now().UTC().Format(time.RFC3339) }

func link(href, rel, method string) object { return object{"href": href, "rel": rel, "method": method} }

func text(o object, path ...string) string {
	for _, p := range path[:len(path)-1] {
		o, _ = o[p].(object)
	}
	v, _ := o[path[len(path)-1]].(string)
	return v
}

// linked returns the last element of the path of the link with that rel.
func linked(o object, rel string) (kind, id string) {
	list, _ := o["links"].([]any)
	for _, l := range list {
		if l, ok := l.(object); ok && l["rel"] == rel {
			parts := strings.Split(text(l, "href"), "/")
			if len(parts) >= 2 {
				return parts[len(parts)-2], parts[len(parts)-1]
			}
		}
	}
	return "", ""
}
