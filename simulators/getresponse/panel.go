package getresponse

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Action is what a person, or GetResponse itself, does in the account outside the API.
type Action struct {
	// Do is one of the words of Panel.
	Do    string `json:"do"`
	Email string `json:"email,omitempty"`
	List  string `json:"list,omitempty"` // id
	Name  string `json:"name,omitempty"` // of what is deleted or made, or was renamed
	To    string `json:"to,omitempty"`   // the new address, list or name
	By    int    `json:"by,omitempty"`   // of a score
	Code  int    `json:"code,omitempty"` // of suspend; default 1017
}

// panelActions are what Panel knows, with what each needs.
var panelActions = map[string]func(*Server, Action) error{
	"unsubscribe": func(s *Server, a Action) error { return s.leave(a.Email, "unsubscribe") },
	"bounce":      func(s *Server, a Action) error { return s.leave(a.Email, "bounce") },
	"complain":    func(s *Server, a Action) error { return s.leave(a.Email, "complaint") },
	"blocklist":   func(s *Server, a Action) error { return s.leave(a.Email, "blacklisted") },
	"delete":      func(s *Server, a Action) error { return s.leave(a.Email, "user") },
	"subscribe":   func(s *Server, a Action) error { return s.Subscribe(a.Email, a.Name, a.List) },
	"confirm":     func(s *Server, a Action) error { s.Confirm(a.Email); return nil },
	"email":       func(s *Server, a Action) error { s.ChangeEmail(a.Email, a.To); return nil },
	"score":       func(s *Server, a Action) error { s.Score(a.Email, a.By); return nil },
	"move":        func(s *Server, a Action) error { return s.moveContact(a.Email, a.To) },
	"rename":      func(s *Server, a Action) error { return s.renameContact(a.Email, a.To) },
	"rename_list": func(s *Server, a Action) error { return s.renameList(a.List, a.To) },
	"delete_list": func(s *Server, a Action) error { return s.deleteList(a.List) },
	"add_field":   func(s *Server, a Action) error { s.AddField(a.Name); return nil },
	"delete_field": func(s *Server, a Action) error {
		s.DeleteField(a.Name)
		return nil
	},
	"add_tag":    func(s *Server, a Action) error { s.AddTag(a.Name); return nil },
	"delete_tag": func(s *Server, a Action) error { s.DeleteTag(a.Name); return nil },
	"set_field":  func(s *Server, a Action) error { return s.SetField(a.Email, a.Name, a.To) },
	"untag":      func(s *Server, a Action) error { return s.untag(a.Email, a.Name) },
	"suspend": func(s *Server, a Action) error {
		s.Suspend(max(a.Code, 0))
		return nil
	},
	"restore": func(s *Server, _ Action) error { s.setBlocked(0); return nil },
}

// Panel does what the action says.
func (s *Server) Panel(a Action) error {
	do, ok := panelActions[a.Do]
	if !ok {
		return fmt.Errorf("getresponse simulator: there is no action %q", a.Do)
	}
	return do(s, a)
}

func (s *Server) leave(email, reason string) error {
	s.mu.Lock()
	there := slices.ContainsFunc(s.byEmail[strings.ToLower(email)], func(c *contact) bool { return c.gone == "" })
	s.mu.Unlock()
	if !there {
		return fmt.Errorf("getresponse simulator: nobody of that address is on a list")
	}
	s.TakeOff(email, reason)
	return nil
}

// eachOf does something to the contacts of an address that are on a list.
func (s *Server) eachOf(email string, do func(*contact)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.byEmail[strings.ToLower(email)] {
		if c.gone == "" {
			n++
			do(c)
			s.changed(c)
		}
	}
	if n == 0 {
		return fmt.Errorf("getresponse simulator: nobody of that address is on a list")
	}
	return nil
}

func (s *Server) moveContact(email, listID string) error {
	s.mu.Lock()
	l := s.listByID(listID)
	s.mu.Unlock()
	if l == nil {
		return fmt.Errorf("getresponse simulator: there is no list %q", listID)
	}
	return s.eachOf(email, func(c *contact) { c.list = l })
}

func (s *Server) renameContact(email, name string) error {
	return s.eachOf(email, func(c *contact) { c.name = name })
}

// SetField has a person change one value of a contact; an empty one empties the field.
func (s *Server) SetField(email, name, value string) error {
	s.mu.Lock()
	i := slices.IndexFunc(s.fields, func(f *field) bool { return f.name == name })
	s.mu.Unlock()
	if i < 0 {
		return fmt.Errorf("getresponse simulator: there is no field %q", name)
	}
	return s.eachOf(email, func(c *contact) {
		if value == "" {
			delete(c.values, s.fields[i].id)
		} else {
			c.values[s.fields[i].id] = []string{value}
		}
	})
}

func (s *Server) untag(email, name string) error {
	return s.eachOf(email, func(c *contact) {
		if t := s.tagsByKey["/"+strings.ToLower(name)]; t != nil {
			c.tags = slices.DeleteFunc(c.tags, func(id string) bool { return id == t.id })
		}
	})
}

func (s *Server) renameList(id, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.listByID(id)
	if l == nil {
		return fmt.Errorf("getresponse simulator: there is no list %q", id)
	}
	l.name = name
	return nil
}

// deleteList takes all of its contacts off.
func (s *Server) deleteList(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.listByID(id)
	if l == nil {
		return fmt.Errorf("getresponse simulator: there is no list %q", id)
	}
	s.lists = slices.DeleteFunc(s.lists, func(x *list) bool { return x == l })
	for _, c := range s.contacts {
		if c.list == l {
			s.remove(c, "user")
		}
	}
	return nil
}

// Suspend has GetResponse block the account: all requests get 403 with the code, 1016 (for a time), 1017 (for good) or
// 1018 (the machine's address); zero: 1017.
func (s *Server) Suspend(code int) {
	if code == 0 {
		code = 1017
	}
	s.setBlocked(code)
}

func (s *Server) setBlocked(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked = code
}

func (s *Server) suspended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blocked == 0 {
		return nil
	}
	return refuse(403, s.blocked, "Forbidden", "The account or the address is blocked", nil)
}

// Phase is a time with faults of its own.
type Phase struct {
	AfterSeconds float64 `json:"after_seconds"` // from when the plan is made
	ForSeconds   float64 `json:"for_seconds"`
	Faults       Faults  `json:"faults"`
}

type phase struct {
	from, until time.Time
	faults      Faults
}

// Plan makes faults come and go by the clock; outside of its phases, the faults of SetFaults are in force. It replaces
// the plan before.
func (s *Server) Plan(phases []Phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	s.plan = nil
	for _, p := range phases {
		from := now.Add(time.Duration(p.AfterSeconds * float64(time.Second)))
		s.plan = append(s.plan, phase{from, from.Add(time.Duration(p.ForSeconds * float64(time.Second))), p.Faults})
	}
}

// inForce are the faults of now. s.mu is held.
func (s *Server) inForce() Faults {
	if len(s.plan) == 0 {
		return s.faults
	}
	now := s.o.Now()
	for _, p := range s.plan {
		if !now.Before(p.from) && now.Before(p.until) {
			return p.faults
		}
	}
	return s.faults
}

// control serves what the provider does not have: a look inside, faults, and what people do in the panel.
func (s *Server) control(mux *http.ServeMux) {
	for path, look := range map[string]func() any{
		"contacts":      func() any { return s.Contacts() },
		"triggered":     func() any { return s.Triggered() },
		"messages":      func() any { return s.Messages() },
		"mails":         func() any { return s.Mails() },
		"placed-orders": func() any { return s.PlacedOrders() },
		"workflow-runs": func() any { return s.WorkflowRuns() },
		"stats":         func() any { return s.Stats() },
	} {
		mux.HandleFunc("GET /_simulator/"+path, func(w http.ResponseWriter, _ *http.Request) { write(w, 200, look()) })
	}
	take(mux, "faults", func(f Faults) error { s.SetFaults(f); return nil })
	take(mux, "plan", func(p []Phase) error { s.Plan(p); return nil })
	take(mux, "failures", func(f Failure) error { s.Break(f); return nil })
	take(mux, "panel", s.Panel)
	take(mux, "workflows", func(w Workflow) error { s.AddWorkflow(w); return nil })
	take(mux, "drafts", func(d Draft) error { s.AddDraft(d); return nil })
}

// take serves a POST that is told what to do.
func take[T any](mux *http.ServeMux, path string, do func(T) error) {
	mux.HandleFunc("POST /_simulator/"+path, func(w http.ResponseWriter, r *http.Request) {
		d := json.NewDecoder(io.LimitReader(r.Body, requestBytesMax))
		d.DisallowUnknownFields()
		var in T
		err := d.Decode(&in)
		if err == nil {
			err = do(in)
		}
		if err != nil {
			write(w, 400, object{"message": path + ": " + err.Error()})
			return
		}
		write(w, 200, in)
	})
}
