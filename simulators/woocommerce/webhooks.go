package woocommerce

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// webhook is one registration. Server.mu guards it.
type webhook struct {
	id                      int64
	name, topic, url        string
	secret                  string
	status                  string // active, paused, disabled
	failures                int    // in a row
	createdAt, lastModified time.Time
}

var hookStatuses = []string{"active", "paused", "disabled"}

var (
	topicForm  = regexp.MustCompile(`^(order|coupon|product|customer)\.(created|updated|deleted|restored)$`)
	actionForm = regexp.MustCompile(`^action\.(woocommerce|wc)_[a-z0-9_]+$`)
)

func (s *Server) showHook(h *webhook) object {
	resource, event, _ := strings.Cut(h.topic, ".")
	return object{
		"id": h.id, "name": h.name, "status": h.status, "topic": h.topic, "resource": resource, "event": event, "hooks": []any{},
		"delivery_url": h.url, "date_created": s.wall(h.createdAt), "date_created_gmt": gmt(h.createdAt),
		"date_modified": s.wall(h.lastModified), "date_modified_gmt": gmt(h.lastModified),
		"_links": object{"self": []any{object{"href": fmt.Sprintf("%s%s/webhooks/%d", s.publicURL, api, h.id)}}},
	}
}

// findHook returns the webhook of that id, nil where there is none. s.mu is held.
func (s *Server) findHook(id string) *webhook {
	for _, h := range s.hooks {
		if strconv.FormatInt(h.id, 10) == id {
			return h
		}
	}
	return nil
}

func unknownHook() *apiError {
	return refuse(400, "woocommerce_rest_shop_webhook_invalid_id", "Invalid ID.")
}

func (s *Server) listHooks(c call) (int, any, *apiError) {
	f := filter{query: c.r.URL.Query()}
	perPage, page := f.number("per_page", perPageDefault, 1, perPageMax), f.number("page", 1, 1, 1<<30)
	if f.refused != nil {
		return 0, nil, f.refused
	}
	status := f.query.Get("status")
	out := []object{}
	for _, h := range s.hooks {
		if status == "" || status == "all" || status == h.status {
			out = append(out, s.showHook(h))
		}
	}
	c.w.Header().Set("X-WP-Total", strconv.Itoa(len(out)))
	out = out[min((page-1)*perPage, len(out)):]
	return 200, out[:min(perPage, len(out))], nil
}

func (s *Server) createHook(c call) (int, any, *apiError) {
	h := &webhook{status: "active", createdAt: s.now()}
	if text(c.body, "topic") == "" {
		return 0, nil, refuse(400, "woocommerce_rest_shop_webhook_invalid_topic", "Webhook topic is required and must be valid.")
	}
	if text(c.body, "delivery_url") == "" {
		return 0, nil, refuse(400, "woocommerce_rest_shop_webhook_invalid_delivery_url", "Webhook delivery URL must be a valid URL starting with http:// or https://.")
	}
	if refused := s.setHook(h, c.body); refused != nil {
		return 0, nil, refused
	}
	h.id = s.nextID()
	if h.name == "" {
		h.name = fmt.Sprintf("Webhook created on %s", h.createdAt.Format(time.RFC1123))
	}
	if h.secret == "" {
		h.secret = fmt.Sprintf("%025x%025x", s.random.Uint64(), s.random.Uint64()) // nobody is told
	}
	s.hooks = append(s.hooks, h)
	s.ping(h)
	return http.StatusCreated, s.showHook(h), nil
}

// setHook takes over what a request says.
func (s *Server) setHook(h *webhook, in object) *apiError {
	if topic := text(in, "topic"); topic != "" {
		if !topicForm.MatchString(topic) && !actionForm.MatchString(topic) {
			return refuse(400, "woocommerce_rest_shop_webhook_invalid_topic", "Webhook topic must be valid.")
		}
		h.topic = topic
	}
	if target := text(in, "delivery_url"); target != "" {
		u, err := url.Parse(target)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return refuse(400, "woocommerce_rest_shop_webhook_invalid_delivery_url", "Webhook delivery URL must be a valid URL starting with http:// or https://.")
		}
		h.url = target
	}
	if status := text(in, "status"); status != "" {
		if !slices.Contains(hookStatuses, status) {
			return invalidParam("status")
		}
		if status == "active" && h.status != status {
			h.failures = 0
		}
		h.status = status
	}
	if name := text(in, "name"); name != "" {
		h.name = name
	}
	if secret := text(in, "secret"); secret != "" {
		h.secret = secret
	}
	h.lastModified = s.now()
	return nil
}

func (s *Server) getHook(c call) (int, any, *apiError) {
	h := s.findHook(c.r.PathValue("id"))
	if h == nil {
		return 0, nil, unknownHook()
	}
	return 200, s.showHook(h), nil
}

func (s *Server) updateHook(c call) (int, any, *apiError) {
	h := s.findHook(c.r.PathValue("id"))
	if h == nil {
		return 0, nil, unknownHook()
	}
	if refused := s.setHook(h, c.body); refused != nil {
		return 0, nil, refused
	}
	return 200, s.showHook(h), nil
}

func (s *Server) deleteHook(c call) (int, any, *apiError) {
	h := s.findHook(c.r.PathValue("id"))
	if h == nil {
		return 0, nil, refuse(404, "woocommerce_rest_shop_webhook_invalid_id", "Invalid ID.")
	}
	if c.r.URL.Query().Get("force") != "true" {
		return 0, nil, refuse(501, "woocommerce_rest_trash_not_supported", "Webhooks do not support trashing.")
	}
	s.hooks = slices.DeleteFunc(s.hooks, func(x *webhook) bool { return x == h })
	return 200, s.showHook(h), nil
}

// Hook is a webhook as the admin pages show it.
type Hook struct {
	ID                       int64
	Name, Topic, URL, Status string
}

// Hooks lists the webhooks in the order of their making.
func (s *Server) Hooks() []Hook {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Hook, len(s.hooks))
	for i, h := range s.hooks {
		out[i] = Hook{h.id, h.name, h.topic, h.url, h.status}
	}
	return out
}

// SetHook is an administrator's hand: it sets the status of a webhook, or deletes it where status is empty.
func (s *Server) SetHook(id int64, status string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.findHook(strconv.FormatInt(id, 10))
	switch {
	case h == nil:
		return fmt.Errorf("woocommerce simulator: there is no webhook %d", id)
	case status == "":
		s.hooks = slices.DeleteFunc(s.hooks, func(x *webhook) bool { return x == h })
	case !slices.Contains(hookStatuses, status):
		return fmt.Errorf("woocommerce simulator: %.20q is no status of a webhook", status)
	default:
		h.status, h.failures = status, 0
	}
	return nil
}

// AddHook makes a webhook by hand, with a secret as WordPress keeps it. The store pings its address.
func (s *Server) AddHook(topic, target, secret string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &webhook{status: "active", name: "By hand", createdAt: s.now()}
	if refused := s.setHook(h, object{"topic": topic, "delivery_url": target, "secret": secret}); refused != nil {
		return 0, refused
	}
	h.id = s.nextID()
	s.hooks = append(s.hooks, h)
	s.ping(h)
	return h.id, nil
}
