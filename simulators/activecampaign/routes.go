package activecampaign

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// call is one request to a route, with the state locked.
type call struct {
	a    *account
	now  time.Time
	body []byte
	q    url.Values
	r    *http.Request
	s    *Server
}

func (c *call) path(name string) string { return c.r.PathValue(name) }

func (c *call) id(name string) int {
	n, err := strconv.Atoi(c.path(name))
	if err != nil {
		return -1
	}
	return n
}

// read decodes the body; what cannot be decoded is answered as the provider does, with 400 and an empty object.
func (c *call) read(into any) *refusal {
	if err := json.Unmarshal(c.body, into); err != nil {
		return emptyRefusal(http.StatusBadRequest)
	}
	return nil
}

// A route answers with a status and a body, or refuses.
type route func(c *call) (int, any, *refusal)

func (s *Server) routes() {
	s.mux = http.NewServeMux()
	api := http.NewServeMux()
	for pattern, r := range map[string]route{
		"POST /api/3/contact/sync":                       syncContact,
		"POST /api/3/contacts/sync":                      createContact, // the plural is a plain create: a documented trap
		"POST /api/3/contacts":                           createContact,
		"GET /api/3/contacts":                            listContacts,
		"GET /api/3/contacts/{id}":                       getContact,
		"PUT /api/3/contacts/{id}":                       updateContact,
		"DELETE /api/3/contacts/{id}":                    deleteContact,
		"GET /api/3/contacts/{id}/fieldValues":           contactFieldValues,
		"GET /api/3/contacts/{id}/contactTags":           contactTags,
		"GET /api/3/contacts/{id}/contactLists":          contactLists,
		"GET /api/3/contacts/{id}/contactAutomations":    contactAutomations,
		"GET /api/3/contacts/{id}/trackingLogs":          trackingLogs,
		"GET /api/3/fields":                              listFields,
		"GET /api/3/fields/{id}":                         getField,
		"POST /api/3/fields":                             createField,
		"GET /api/3/fields/{id}/options":                 fieldOptions,
		"POST /api/3/fieldOption/bulk":                   createFieldOptions,
		"POST /api/3/fieldValues":                        setFieldValue,
		"GET /api/3/fieldValues":                         listFieldValues,
		"GET /api/3/fieldValues/{id}":                    getFieldValue,
		"PUT /api/3/fieldValues/{id}":                    updateFieldValue,
		"GET /api/3/tags":                                listTags,
		"POST /api/3/tags":                               createTag,
		"POST /api/3/contactTags":                        addContactTag,
		"DELETE /api/3/contactTags/{id}":                 deleteContactTag,
		"GET /api/3/lists":                               listLists,
		"POST /api/3/lists":                              createList,
		"DELETE /api/3/lists/{id}":                       deleteList,
		"POST /api/3/contactLists":                       setMembership,
		"GET /api/3/automations":                         listAutomations,
		"POST /api/3/contactAutomations":                 enrol,
		"DELETE /api/3/contactAutomations/{id}":          endEnrolment,
		"GET /api/3/eventTracking":                       getEventTracking,
		"PUT /api/3/eventTracking":                       setEventTracking,
		"GET /api/3/eventTrackingEvents":                 listEvents,
		"POST /api/3/eventTrackingEvents":                createEvent,
		"DELETE /api/3/eventTrackingEvents/{name}":       deleteEvent,
		"GET /api/3/contacts/{id}/automationEntryCounts": entryCounts,
		"GET /api/3/connections":                         listConnections,
		"POST /api/3/connections":                        createConnection,
		"GET /api/3/ecomOrders":                          listOrders,
		"POST /api/3/ecom/graphql":                       shopMutation,
		"GET /api/3/users/me":                            me,
		"DELETE /api/3/fields/{id}":                      deleteField,
		"DELETE /api/3/tags/{id}":                        deleteTag,
		"POST /api/3/import/bulk_import":                 queueImport,
		"GET /api/3/import/bulk_import":                  outstanding,
		"GET /api/3/import/info":                         importInfo,
		"GET /api/3/messages":                            listMessages,
	} {
		api.Handle(pattern, s.permitted(pattern, s.serve(pattern, r)))
	}
	api.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusNotFound, object{}) })
	s.mux.Handle("/api/3/", s.limited(s.authorised(s.faulty(false, api))))
	s.mux.Handle("POST /event", s.faulty(true, http.HandlerFunc(s.track)))
	s.control()
}

// serve runs a route under the lock, so that an answer shows one state.
func (s *Server) serve(pattern string, rt route) http.Handler {
	writes := !strings.HasPrefix(pattern, http.MethodGet)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, bodyBytesMax+1))
		if err != nil || len(body) > bodyBytesMax {
			answer(w, http.StatusBadRequest, object{})
			return
		}
		s.mu.Lock()
		c := &call{a: &s.account, now: s.opts.Now(), body: body, r: r, s: s}
		if r.URL.RawQuery != "" {
			c.q = r.URL.Query()
		}
		s.account.settle(c.now)
		code, out, no := rt(c)
		if no != nil {
			code, out = no.code, no.body
		} else if writes {
			s.stats.Writes[pattern]++
		}
		// Encoded under the lock too: a body may refer to state.
		b, err := json.Marshal(out)
		s.mu.Unlock()
		if err != nil {
			answer(w, http.StatusInternalServerError, object{})
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = w.Write(b)
	})
}

// authorised answers 403, not 401, to a wrong key.
func (s *Server) authorised(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Api-Token") != s.opts.Key {
			answer(w, http.StatusForbidden, forbidden().body)
			return
		}
		s.mu.Lock()
		state, now := s.state, s.opts.Now()
		s.mu.Unlock()
		if state.Suspended {
			// How a suspended account answers is not documented.
			answer(w, http.StatusForbidden, object{"message": "This account is suspended."})
			return
		}
		if now.Before(state.MaintenanceUntil) {
			w.Header().Set("Retry-After", text(int((state.MaintenanceUntil.Sub(now)+time.Second-1)/time.Second)))
			answer(w, http.StatusServiceUnavailable, object{"message": "Service Unavailable"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// areas are what a user's group can be kept from, by the first part of a path.
var areas = map[string]string{
	"contact": "contacts", "contacts": "contacts", "fieldValues": "contacts", "tags": "tags", "contactTags": "tags", "fields": "fields",
	"fieldOption": "fields", "lists": "lists", "contactLists": "lists", "automations": "automations", "contactAutomations": "automations",
	"connections": "deep_data", "ecomOrders": "deep_data", "ecom": "deep_data", "import": "imports", "eventTracking": "tracking",
	"eventTrackingEvents": "tracking",
}

// permitted answers 403 for areas that the key's user may not use.
func (s *Server) permitted(pattern string, next http.Handler) http.Handler {
	_, path, _ := strings.Cut(pattern, "/api/3/")
	first, _, _ := strings.Cut(path, "/")
	area := areas[first]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		no := slices.Contains(s.state.Denied, area)
		s.mu.Unlock()
		if no {
			answer(w, http.StatusForbidden, denied(strings.ReplaceAll(area, "_", " ")).body)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// limited holds the account to its rate. The body of a 429 is not documented.
func (s *Server) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.stats.Requests++
		left, wait, ok := s.window.take(s.opts.Now())
		limit := s.window.limit
		if !ok {
			s.stats.TooMany++
		}
		s.mu.Unlock()
		if limit > 0 {
			// The provider spells them so, which Go's canonical form would not.
			w.Header()["RateLimit-Limit"] = []string{text(limit)}
			w.Header()["RateLimit-Remaining"] = []string{text(left)}
		}
		if !ok {
			seconds := int((wait + time.Second - 1) / time.Second)
			w.Header().Set("Retry-After", text(max(1, seconds)))
			answer(w, http.StatusTooManyRequests, object{"message": "Too Many Requests"})
			return
		}
		next.ServeHTTP(w, r)
	})
}
