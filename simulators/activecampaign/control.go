package activecampaign

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// State is what the account as a whole answers with.
type State struct {
	Suspended bool `json:"suspended"`
	// MaintenanceUntil is when a maintenance ends, which is answered with 503 and Retry-After; zero: there is none.
	MaintenanceUntil time.Time `json:"maintenance_until"`
	Denied           []string  `json:"denied"` // as Options.Denied
}

// SetState replaces the account's state from now on.
func (s *Server) SetState(st State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = st
}

// Act is what a person, or a mail server, does to a contact beside the API.
type Act struct {
	Do    string `json:"do"` // delete, merge, rename, unsubscribe, bounce, tag, untag, set
	Email string `json:"email"`
	Into  string `json:"into"`  // merge: the contact that stays; rename: the new address
	Name  string `json:"name"`  // unsubscribe: the list ("": all of them); tag, untag: the tag; set: the field's personalisation tag
	Value string `json:"value"` // set
}

// Do lets something happen to a contact.
func (s *Server) Do(act Act) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, now := &s.account, s.opts.Now()
	a.settle(now)
	to := a.byEmail[lower(act.Email)]
	if to == nil {
		return fmt.Errorf("simulated activecampaign: no contact has the address %q", act.Email)
	}
	switch act.Do {
	case "delete":
		a.removeContact(to)
	case "merge":
		into := a.byEmail[lower(act.Into)]
		if into == nil || into == to {
			return fmt.Errorf("simulated activecampaign: no other contact has the address %q", act.Into)
		}
		a.merge(to, into, now)
	case "rename":
		if act.Into == "" || a.byEmail[lower(act.Into)] != nil {
			return fmt.Errorf("simulated activecampaign: the address %q is none, or taken", act.Into)
		}
		delete(a.byEmail, lower(to.email))
		to.email = act.Into
		a.byEmail[lower(to.email)] = to
	case "unsubscribe", "bounce":
		a.leave(to, act)
	case "tag":
		t := a.tagByName(act.Name)
		if t == nil {
			t = a.addTag(act.Name, "contact", "", now)
		}
		a.link(to, t, now)
	case "untag":
		if t := a.tagByName(act.Name); t != nil && to.tags[t.id] != nil {
			delete(a.links, to.tags[t.id].id)
			delete(to.tags, t.id)
		}
	case "set":
		i := slices.IndexFunc(a.fields, func(f *field) bool { return strings.EqualFold(f.perstag, act.Name) })
		if i < 0 {
			return fmt.Errorf("simulated activecampaign: no field has the tag %q", act.Name)
		}
		v := a.setValue(to, a.fields[i].id, act.Value, now)
		a.remember(to, now, []wroteValue{{v.field, v.value}})
	default:
		return fmt.Errorf("simulated activecampaign: nothing that can be done is called %q", act.Do)
	}
	return nil
}

// AddShop makes a connection of a shop, as the shop's own plugin does it.
func (s *Server) AddShop(name, externalID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.account
	a.connections = append(a.connections, &connection{
		id: a.next("connection"), service: "shop", externalid: externalID, name: name, created: s.opts.Now(),
	})
}

// leave takes the contact off a list, or off all of them; with a bounce he is gone from all.
func (a *account) leave(to *contact, act Act) {
	status := statusUnsubscribed
	if act.Do == "bounce" {
		status, to.bounced = statusBounced, true
	}
	for _, l := range a.lists {
		if m := to.lists[l.id]; m != nil && (act.Name == "" || strings.EqualFold(l.name, act.Name)) {
			m.status = status
		}
	}
}

// merge moves what one contact has to another, whose own values stay, and removes the one.
func (a *account) merge(from, into *contact, now time.Time) {
	var wrote []wroteValue
	for id, v := range from.values {
		if into.values[id] == nil || into.values[id].value == "" {
			a.setValue(into, id, v.value, now)
			wrote = append(wrote, wroteValue{id, v.value})
		}
	}
	for id := range from.tags {
		a.link(into, a.tagByID(id), now)
	}
	for id, m := range from.lists {
		if into.lists[id] == nil {
			a.member(into, id, m.status, true, now)
		}
	}
	a.removeContact(from)
	a.remember(into, now, wrote)
}

// control serves what the provider does not have: a look inside, faults, and what people do.
func (s *Server) control() {
	show := func(path string, what func() any) {
		s.mux.HandleFunc("GET /_simulator/"+path, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, what()) })
	}
	s.mux.HandleFunc("GET /_simulator/contacts", func(w http.ResponseWriter, r *http.Request) {
		email := r.URL.Query().Get("email")
		if email == "" {
			answer(w, http.StatusOK, s.Contacts())
			return
		}
		if c, ok := s.Contact(email); ok {
			answer(w, http.StatusOK, []Contact{c})
			return
		}
		answer(w, http.StatusOK, []Contact{})
	})
	show("tracked", func() any { return s.Tracked() })
	show("enrolments", func() any { return s.Enrolments() })
	show("messages", func() any { return s.Messages() })
	show("orders", func() any { return s.Orders() })
	show("recurring", func() any { return s.RecurringPayments() })
	show("stats", func() any { return s.Stats() })
	take(s, "faults", func(f Faults) error { s.SetFaults(f); return nil })
	take(s, "state", func(st State) error { s.SetState(st); return nil })
	take(s, "people", s.Do)
}

// take serves a control route that is sent a T.
func take[T any](s *Server, path string, do func(T) error) {
	s.mux.HandleFunc("POST /_simulator/"+path, func(w http.ResponseWriter, r *http.Request) {
		d := json.NewDecoder(io.LimitReader(r.Body, bodyBytesMax))
		d.DisallowUnknownFields()
		var in T
		if err := d.Decode(&in); err != nil {
			answer(w, http.StatusBadRequest, object{"message": path + ": " + err.Error()})
			return
		}
		if err := do(in); err != nil {
			answer(w, http.StatusUnprocessableEntity, object{"message": err.Error()})
			return
		}
		answer(w, http.StatusOK, in)
	})
}
