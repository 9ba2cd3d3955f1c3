package getresponse

import (
	"net/http"
	"slices"
	"time"
)

// Workflow is one of the account's, which only its panel can make. The twin knows those that begin with the condition
// "Payment status changed".
type Workflow struct {
	Name string `json:"name"`
	Shop string `json:"shop"` // name of the store; "": any
	// Status is the billing status that the condition waits for, letter by letter; "": any change.
	Status string `json:"status"`
	// Many: the condition is met each time. By default it is met once for each contact.
	Many bool `json:"many"`
}

// WorkflowRun is one time that a workflow's condition was met.
type WorkflowRun struct {
	Workflow string    `json:"workflow"`
	Email    string    `json:"email"`
	OrderID  string    `json:"order_id"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	At       time.Time `json:"at"`
}

// AddWorkflow has a person make a workflow and switch it on.
func (s *Server) AddWorkflow(w Workflow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workflows = append(s.workflows, &workflow{Workflow: w, id: s.id(), begun: s.o.Now()})
}

// WorkflowRuns returns the times that a workflow's condition was met, in order.
func (s *Server) WorkflowRuns() []WorkflowRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.runs)
}

// workflow is one of the account's. Server.mu guards it.
type workflow struct {
	Workflow
	id    string
	begun time.Time
}

// show gives what the API tells of a workflow: nothing of its steps.
func (s *Server) showWorkflow(w *workflow) object {
	n := 0
	for _, r := range s.runs {
		if r.Workflow == w.Name {
			n++
		}
	}
	return object{
		"workflowId": w.id, "href": "https://api.getresponse.com/v3/workflow/" + w.id, "name": w.Name, "status": "active", "dateStart": stamp(w.begun),
		"subscriberStatistics": object{"completedCount": n, "inProgressCount": 0},
	}
}

func (s *Server) listWorkflows(r *http.Request, _ []byte) (answerTo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return paged(r, s.workflows, s.showWorkflow)
}

// fire runs the workflows that wait for a changed billing status. The contact has to be on a list at that moment. That
// the making of an order is no change, and that the flag against automation keeps this condition quiet too, is decided
// here: GetResponse does not say. s.mu is held.
func (s *Server) fire(x *shop, o *order, change Change) {
	c := s.contacts[text(o.body, "contactId")]
	if c == nil || !c.shown(s.o.Now()) {
		return
	}
	for _, w := range s.workflows {
		met := (w.Shop == "" || w.Shop == x.name) && (w.Status == "" || w.Status == change.To)
		ran := slices.ContainsFunc(s.runs, func(r WorkflowRun) bool { return r.Workflow == w.Name && r.Email == c.email })
		if met && (w.Many || !ran) {
			s.runs = append(s.runs, WorkflowRun{w.Name, c.email, o.id(), change.From, change.To, change.At})
		}
	}
}
