package generic

import (
	"encoding/json"
	"net/http"

	"github.com/tillstream/tillstream/simulators"
)

// Status counts messages.
type Status struct {
	Outstanding int    `json:"outstanding"`
	Attempts    int    `json:"attempts"`
	Accepted    int    `json:"accepted"`
	Lost        int    `json:"lost"`
	Orders      int    `json:"orders"`
	Webhook     string `json:"webhook"`
	Disabled    bool   `json:"disabled"` // the receiver answered 410
}

// Status tells how deliveries stand.
func (s *Server) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{s.open, s.attempts, s.accepted, s.lost, len(s.orders), s.url, s.disabled}
}

// Handler serves the shop's till for whoever plays with it:
//
//	GET  /_simulator/status
//	GET  /_simulator/orders                 the shop's own truth
//	POST /_simulator/orders                 {"email", "given_name", "surname", "phone", "total", "currency", "product"}
//	POST /_simulator/orders/{id}/{step}     pay, fail, cancel, refund ({"amount"})
//	PUT  /_simulator/webhook                {"url"}
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_simulator/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.Status()) })
	mux.HandleFunc("GET /_simulator/orders", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.Orders()) })
	mux.HandleFunc("POST /_simulator/orders", s.placeHTTP)
	mux.HandleFunc("POST /_simulator/orders/{id}/{step}", s.stepHTTP)
	mux.HandleFunc("PUT /_simulator/webhook", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			URL string `json:"url"`
		}
		if read(w, r, &in) {
			s.SetWebhook(in.URL)
			answer(w, http.StatusOK, s.Status())
		}
	})
	return mux
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whoever went away does not need it
}

func read(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, requestBytesMax)).Decode(v); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return false
	}
	return true
}

func (s *Server) placeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Email     string `json:"email"`
		GivenName string `json:"given_name"`
		Surname   string `json:"surname"`
		Phone     string `json:"phone"`
		Total     string `json:"total"`
		Currency  string `json:"currency"`
		Product   string `json:"product"`
	}
	if !read(w, r, &in) {
		return
	}
	id, err := s.Place(r.Context(), simulators.Order(in))
	if err != nil {
		answer(w, http.StatusUnprocessableEntity, map[string]string{"error": err.Error()})
		return
	}
	answer(w, http.StatusCreated, map[string]string{"id": id})
}

func (s *Server) stepHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := r.PathValue("id"), error(nil)
	switch r.PathValue("step") {
	case "pay":
		err = s.Pay(r.Context(), id)
	case "fail":
		err = s.Fail(r.Context(), id)
	case "cancel":
		err = s.Cancel(r.Context(), id)
	case "refund":
		var in struct {
			Amount string `json:"amount"`
		}
		if !read(w, r, &in) {
			return
		}
		err = s.Refund(r.Context(), id, in.Amount)
	default:
		answer(w, http.StatusNotFound, map[string]string{"error": "steps are pay, fail, cancel and refund"})
		return
	}
	if err != nil {
		answer(w, http.StatusUnprocessableEntity, map[string]string{"error": err.Error()})
		return
	}
	answer(w, http.StatusOK, map[string]string{"id": id})
}
