package woocommerce

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// apiError is WooCommerce's error body with its status.
type apiError struct {
	status        int
	code, message string
}

// Error implements error.
func (e *apiError) Error() string { return e.code + ": " + e.message }

func refuse(status int, code, message string) *apiError { return &apiError{status, code, message} }

func invalidParam(name string) *apiError {
	return refuse(400, "rest_invalid_param", "Invalid parameter(s): "+name)
}

// call is one request to the API, after its key was found good.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	body object
}

// handler answers with a status and a body to encode. Server.mu is held.
type handler func(c call) (int, any, *apiError)

const api = "/wp-json/wc/v3"

// Handler serves the site's index, the API, and /_simulator for tests and other processes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]handler{
		"GET " + api + "/orders":              s.listOrders,
		"GET " + api + "/orders/{id}":         s.getOrder,
		"GET " + api + "/orders/{id}/refunds": s.getRefunds,
		"GET " + api + "/webhooks":            s.listHooks,
		"POST " + api + "/webhooks":           s.createHook,
		"GET " + api + "/webhooks/{id}":       s.getHook,
		"PUT " + api + "/webhooks/{id}":       s.updateHook,
		"DELETE " + api + "/webhooks/{id}":    s.deleteHook,
	} {
		mux.HandleFunc(pattern, s.authorized(h))
	}
	mux.HandleFunc("GET /wp-json/{$}", s.index)
	mux.HandleFunc("GET /_simulator/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, s.Status()) })
	mux.HandleFunc("POST /_simulator/fail", s.controlFail)
	mux.HandleFunc("/wp-json/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, refuse(404, "rest_no_route", "No route was found matching the URL and request method."))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { page(w, 404) })
	return s.troubled(mux)
}

// index is what every WordPress tells about itself.
func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	_, offset := s.now().In(s.o.Zone).Zone()
	answer(w, 200, object{
		"name": "Example Shop", "url": s.URL(), "gmt_offset": float64(offset) / 3600, "timezone_string": s.o.Zone.String(),
		"namespaces": []string{"wp/v2", "wc/v1", "wc/v2", "wc/v3"},
	})
}

// authorized finds the key and what it may do, and reads the body.
func (s *Server) authorized(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if refused := s.permit(r); refused != nil {
			fail(w, refused)
			return
		}
		raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, RequestBytesMax))
		if err != nil {
			page(w, 413)
			return
		}
		c := call{w: w, r: r, body: object{}}
		if len(raw) > 0 && json.Unmarshal(raw, &c.body) != nil {
			fail(w, refuse(400, "rest_invalid_json", "Invalid JSON body passed."))
			return
		}
		s.mu.Lock()
		status, out, refused := h(c)
		s.mu.Unlock()
		if refused != nil {
			fail(w, refused)
			return
		}
		answer(w, status, out)
	}
}

// permit looks for a key in the Authorization header, then in the query.
func (s *Server) permit(r *http.Request) *apiError {
	q := r.URL.Query()
	key, secret, ok := r.BasicAuth()
	if s.o.Faults.DropAuthorization {
		ok = false
	}
	if !ok {
		key, secret = q.Get("consumer_key"), q.Get("consumer_secret")
	}
	if key == "" || s.o.Faults.TLSOnly && r.TLS == nil {
		return refuse(401, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources.")
	}
	i := slices.IndexFunc(s.o.Keys, func(k Key) bool { return k.ConsumerKey == key })
	if i < 0 {
		return refuse(401, "woocommerce_rest_authentication_error", "Consumer key is invalid.")
	}
	if s.o.Keys[i].ConsumerSecret != secret {
		return refuse(401, "woocommerce_rest_authentication_error", "Consumer secret is invalid.")
	}
	need := "write"
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		need = "read"
	}
	if may := s.o.Keys[i].Permissions; may != "" && !strings.Contains(may, need) {
		return refuse(401, "woocommerce_rest_authentication_error", "The API key provided does not have "+need+" permissions.")
	}
	return nil
}

// raw is a body that is written already.
type raw []byte

func answer(w http.ResponseWriter, status int, body any) {
	b, ok := body.(raw)
	if !ok {
		b = encode(body)
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	w.Write(b)
}

func fail(w http.ResponseWriter, e *apiError) {
	answer(w, e.status, object{"code": e.code, "message": e.message, "data": object{"status": e.status}})
}

// page is what WordPress and the servers before it say where no API answers.
func page(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(status)
	io.WriteString(w, "<!DOCTYPE html><html><body>"+strconv.Itoa(status)+"</body></html>")
}

func text(o object, name string) string {
	v, _ := o[name].(string)
	return v
}
