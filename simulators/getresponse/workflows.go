package getresponse

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Workflow is one of the account's, which only its panel can make. The twin knows those with the condition "Payment
// status changed".
type Workflow struct {
	Name string `json:"name"`
	Shop string `json:"shop"` // name of the store; "": any
	// Status is the billing status that the condition waits for, letter by letter; "": any change.
	Status string `json:"status"`
	// Many: the condition is met each time. By default it is met once for each contact.
	Many bool `json:"many"`
	// AfterEvent is the custom event that the workflow begins with, the condition coming after it; "": it begins with the
	// condition.
	AfterEvent string `json:"after_event"`
	// WithinSeconds is when the condition, after its event, counts as not met: then the workflow goes the other way.
	// Zero: never.
	WithinSeconds float64 `json:"within_seconds"`
}

// WorkflowRun is one time that a workflow's condition was met, or was not in its time.
type WorkflowRun struct {
	Workflow string    `json:"workflow"`
	Email    string    `json:"email"`
	OrderID  string    `json:"order_id"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	At       time.Time `json:"at"`
	// NotMet: the time ran out, and the workflow went on by its "no".
	NotMet bool `json:"not_met,omitempty"`
}

// The states of a workflow.
const (
	workflowActive   = "active"
	workflowInactive = "inactive"
)

// AddWorkflow has a person make a workflow and switch it on.
func (s *Server) AddWorkflow(w Workflow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workflows = append(s.workflows, &workflow{Workflow: w, id: s.id(), begun: s.o.Now(), status: workflowActive, waiting: map[string]time.Time{}, done: map[string]bool{}})
}

// WorkflowRuns returns the times that a workflow's condition was met, or ran out, in order.
func (s *Server) WorkflowRuns() []WorkflowRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runOut()
	return slices.Clone(s.runs)
}

// workflow is one of the account's. Server.mu guards it.
type workflow struct {
	Workflow
	id, status string
	begun      time.Time
	waiting    map[string]time.Time // address to when the condition counts as not met; zero: never
	done       map[string]bool      // addresses for whom it was met, or ran out
	runs       int
}

// show gives what the API tells of a workflow: nothing of its steps.
func (s *Server) showWorkflow(w *workflow) object {
	return object{
		"workflowId": w.id, "href": "https://api.getresponse.com/v3/workflow/" + w.id, "name": w.Name, "status": w.status, "dateStart": stamp(w.begun),
		"subscriberStatistics": object{"completedCount": w.runs, "inProgressCount": len(w.waiting)},
	}
}

func (s *Server) listWorkflows(r *http.Request, _ []byte) (answerTo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runOut()
	return paged(r, s.workflows, s.showWorkflow)
}

// workflowOf is the one of the path. s.mu is held.
func (s *Server) workflowOf(r *http.Request) (*workflow, error) {
	for _, w := range s.workflows {
		if w.id == r.PathValue("id") {
			return w, nil
		}
	}
	return nil, notFound("workflowId", r.PathValue("id"))
}

func (s *Server) getWorkflow(r *http.Request, _ []byte) (answerTo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runOut()
	w, err := s.workflowOf(r)
	if err != nil {
		return answerTo{}, err
	}
	return answerTo{status: 200, body: s.showWorkflow(w)}, nil
}

// switchWorkflow is all that the API can do to a workflow.
func (s *Server) switchWorkflow(r *http.Request, body []byte) (answerTo, error) {
	var in struct {
		Status string `json:"status"`
	}
	if err := read(body, &in); err != nil {
		return answerTo{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runOut()
	w, err := s.workflowOf(r)
	if err != nil {
		return answerTo{}, err
	}
	if !slices.Contains([]string{workflowActive, workflowInactive, "incomplete"}, in.Status) {
		return answerTo{}, invalid("status", "active, inactive or incomplete")
	}
	w.status = in.Status
	return answerTo{status: 200, body: s.showWorkflow(w)}, nil
}

// enter begins the workflows that begin with a custom event. A contact in one does not begin it again. s.mu is held.
func (s *Server) enterWorkflows(event, email string) {
	s.runOut()
	for _, w := range s.workflows {
		if w.status != workflowActive || w.AfterEvent == "" || w.AfterEvent != event {
			continue
		}
		key := strings.ToLower(email)
		if _, in := w.waiting[key]; in || !w.Many && w.done[key] {
			continue
		}
		w.waiting[key] = time.Time{}
		if w.WithinSeconds > 0 {
			w.waiting[key] = s.o.Now().Add(time.Duration(w.WithinSeconds * float64(time.Second)))
		}
	}
}

// runOut lets the conditions whose time has passed count as not met. s.mu is held.
func (s *Server) runOut() {
	now := s.o.Now()
	var late []WorkflowRun
	for _, w := range s.workflows {
		for email, until := range w.waiting {
			if !until.IsZero() && !now.Before(until) {
				late = append(late, WorkflowRun{Workflow: w.Name, Email: email, At: until, NotMet: true})
				delete(w.waiting, email)
				w.done[email] = true
				w.runs++
			}
		}
	}
	slices.SortFunc(late, func(a, b WorkflowRun) int {
		if by := a.At.Compare(b.At); by != 0 {
			return by
		}
		return strings.Compare(a.Workflow+" "+a.Email, b.Workflow+" "+b.Email)
	})
	s.runs = append(s.runs, late...)
}

// fire runs the workflows that wait for a changed billing status. The contact has to be on a list at that moment. That
// the making of an order is no change, and that the flag against automation keeps this condition quiet too, is decided
// here: GetResponse does not say. s.mu is held.
func (s *Server) fire(x *shop, o *order, change Change) {
	c := s.contacts[text(o.body, "contactId")]
	if c == nil || !c.shown(s.o.Now()) {
		return
	}
	s.runOut()
	for _, w := range s.workflows {
		met := w.status == workflowActive && (w.Shop == "" || w.Shop == x.name) && (w.Status == "" || w.Status == change.To)
		key := strings.ToLower(c.email)
		_, waits := w.waiting[key]
		if !met || w.AfterEvent != "" && !waits || w.AfterEvent == "" && !w.Many && w.done[key] {
			continue
		}
		delete(w.waiting, key)
		w.done[key] = true
		w.runs++
		s.runs = append(s.runs, WorkflowRun{Workflow: w.Name, Email: c.email, OrderID: o.id(), From: change.From, To: change.To, At: change.At})
	}
}

func (s *Server) getBilling(*http.Request, []byte) (answerTo, error) {
	return answerTo{status: 200, body: object{
		"listSize": "10000", "paymentPlan": "Monthly", "subscriptionPrice": 79, "renewalDate": stamp(s.o.Now().AddDate(0, 1, 0)), "currencyCode": "EUR",
		"accountBalance": "0.00", "price": 79, "paymentMethod": "credit_card", "creditCard": object{}, "addons": []object{},
	}}, nil
}
