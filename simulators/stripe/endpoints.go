package stripe

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// show is an endpoint as the API prints it, without its secret: that is shown at creation only. s.mu is held.
func (s *Server) show(e *endpoint) object {
	status := "disabled"
	if e.on {
		status = "enabled"
	}
	return object{
		"id": e.id, "object": "webhook_endpoint", "api_version": nil, "application": nil, "created": e.created, "description": nil,
		"enabled_events": e.enabled, "livemode": s.o.Live, "metadata": object{}, "status": status, "url": e.url,
	}
}

func (s *Server) listEndpoints(r *http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.endpoints)
	slices.Reverse(list)
	list, more, err := page(list, func(e *endpoint) string { return e.id }, r.URL.Query())
	if err != nil {
		return nil, err
	}
	data := make([]object, len(list))
	for i, e := range list {
		data[i] = s.show(e)
	}
	return listOf("/v1/webhook_endpoints", data, more), nil
}

// enabledOf reads enabled_events[], with or without indexes.
func enabledOf(form url.Values) []string {
	var names []string
	for k := range form {
		if strings.HasPrefix(k, "enabled_events[") {
			names = append(names, form[k]...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (s *Server) createEndpoint(r *http.Request) (any, error) {
	if err := r.ParseForm(); err != nil {
		return nil, invalid(400, "", "Invalid request body")
	}
	u, err := url.Parse(r.PostForm.Get("url"))
	names := enabledOf(r.PostForm)
	switch {
	case err != nil || u.Host == "":
		return nil, invalid(400, "url_invalid", "Invalid URL: An explicit scheme (such as https) must be provided.")
	case s.o.Live && u.Scheme != "https":
		return nil, invalid(400, "url_invalid", "Invalid URL: URL must use https in live mode.")
	case len(names) == 0:
		return nil, invalid(400, "parameter_missing", "Missing required param: enabled_events.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.endpoints) >= EndpointsMax {
		return nil, invalid(400, "", "You have reached the maximum of %d test webhook endpoints.", EndpointsMax)
	}
	e := &endpoint{id: s.id("we_", 24), url: u.String(), secrets: []string{s.id("whsec_", 32)}, enabled: names, on: true, created: s.o.Now().Unix()}
	s.endpoints = append(s.endpoints, e)
	out := s.show(e)
	out["secret"] = e.secrets[0]
	return out, nil
}

// find returns the endpoint of the path. s.mu is held.
func (s *Server) find(r *http.Request) (*endpoint, error) {
	for _, e := range s.endpoints {
		if e.id == r.PathValue("id") {
			return e, nil
		}
	}
	return nil, invalid(404, "resource_missing", "No such webhook endpoint: '%s'", r.PathValue("id"))
}

func (s *Server) getEndpoint(r *http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(r)
	if err != nil {
		return nil, err
	}
	return s.show(e), nil
}

func (s *Server) updateEndpoint(r *http.Request) (any, error) {
	if err := r.ParseForm(); err != nil {
		return nil, invalid(400, "", "Invalid request body")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(r)
	if err != nil {
		return nil, err
	}
	if names := enabledOf(r.PostForm); len(names) > 0 {
		e.enabled = names
	}
	if to := r.PostForm.Get("url"); to != "" {
		e.url = to
	}
	switch r.PostForm.Get("disabled") {
	case "true":
		e.on = false
	case "false":
		e.on, e.inRow = true, 0
	}
	return s.show(e), nil
}

func (s *Server) deleteEndpoint(r *http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(r)
	if err != nil {
		return nil, err
	}
	e.on = false // what is on its way is given up
	s.endpoints = slices.DeleteFunc(s.endpoints, func(x *endpoint) bool { return x == e })
	return object{"id": e.id, "object": "webhook_endpoint", "deleted": true}, nil
}

// AddEndpoint is an endpoint for all events that somebody made by hand in the dashboard, with its secret.
func (s *Server) AddEndpoint(url, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoints = append(s.endpoints, &endpoint{id: s.id("we_", 24), url: url, secrets: []string{secret}, enabled: []string{"*"}, on: true, created: s.o.Now().Unix()})
}

// Disable switches an endpoint off, as Stripe does with one that failed for days.
func (s *Server) Disable(url string) { s.withEndpoint(url, func(e *endpoint) { e.on = false }) }

// Trim leaves an endpoint only those events, as a person does in the dashboard.
func (s *Server) Trim(url string, events ...string) {
	s.withEndpoint(url, func(e *endpoint) { e.enabled = events })
}

// Roll gives an endpoint a new secret. With keep, the old one signs beside it, as for the day that Stripe offers.
func (s *Server) Roll(url string, keep bool) (secret string) {
	s.withEndpoint(url, func(e *endpoint) {
		secret = s.id("whsec_", 32)
		if keep {
			e.secrets = append([]string{secret}, e.secrets...)
		} else {
			e.secrets = []string{secret}
		}
	})
	return secret
}

// Remove deletes an endpoint.
func (s *Server) Remove(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoints = slices.DeleteFunc(s.endpoints, func(e *endpoint) bool {
		if e.url == url {
			e.on = false
		}
		return e.url == url
	})
}

func (s *Server) withEndpoint(url string, f func(*endpoint)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.endpoints {
		if e.url == url {
			f(e)
		}
	}
}
