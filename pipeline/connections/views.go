package connections

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/poll"
	"github.com/tillstream/tillstream/schemas"
)

// View is a connection as people and programs see it. It holds no secret.
type View struct {
	Name        string              `json:"name"`
	Type        string              `json:"type"`
	Title       string              `json:"title"`
	Environment schemas.Environment `json:"environment"`
	State       string              `json:"state"`
	File        string              `json:"file"`
	Resources   []ResourceView      `json:"resources"`
	Webhook     *WebhookView        `json:"webhook,omitempty"` // of one that has an address
	// CompleteUpTo: what changed at the provider before is on the log. Zero: not known here.
	CompleteUpTo time.Time `json:"complete_up_to,omitzero"`
	// LastEventAt is when something genuine came last. Zero: not known here.
	LastEventAt time.Time     `json:"last_event_at,omitzero"`
	CheckedAt   time.Time     `json:"checked_at,omitzero"`
	Findings    []FindingView `json:"findings,omitempty"` // of the last check
	Alarms      []Alarm       `json:"alarms"`
	Budget      *BudgetView   `json:"budget,omitempty"`
	Polling     *poll.Status  `json:"polling,omitempty"`
}

// States of a connection.
const (
	StateRunning      = "running"      // served as it is configured
	StateOpening      = "opening"      // not opened yet; a former form of it may still serve
	StateStopped      = "configured"   // nothing is known of a process that runs it
	StateDisconnected = "disconnected" // its file is kept for a reconnect
)

// ResourceView is a resource, and the events that it stands for.
type ResourceView struct {
	ID         string   `json:"id"`
	Title      string   `json:"title"`
	EventTypes []string `json:"event_types"`
}

// WebhookView is how a connection's webhook stands.
type WebhookView struct {
	Address      string    `json:"address,omitempty"` // empty: no public address is set
	ID           string    `json:"id,omitempty"`
	Used         int       `json:"used,omitempty"`  // slots at the provider
	Limit        int       `json:"limit,omitempty"` // 0: the provider names none
	RegisteredAt time.Time `json:"registered_at,omitzero"`
	Error        string    `json:"error,omitempty"`
}

// FindingView is one result of a check.
type FindingView struct {
	Level   connectors.Level `json:"level"`
	Field   string           `json:"field,omitempty"`
	Message string           `json:"message"`
	Hint    string           `json:"hint,omitempty"`
}

// BudgetView is what was used of a provider's API.
type BudgetView struct {
	Requests  int64     `json:"requests"`
	Refused   int64     `json:"refused"`
	Limit     int64     `json:"limit,omitempty"`
	Left      int64     `json:"left,omitempty"`
	HoldUntil time.Time `json:"hold_until,omitzero"`
}

// ConnectorView is a kind of provider that can be connected.
type ConnectorView struct {
	Type         string          `json:"type"`
	Title        string          `json:"title"`
	Topic        string          `json:"topic"`
	Resources    []ResourceView  `json:"resources"`
	Fields       []FieldView     `json:"fields"`
	Settings     []Setting       `json:"settings"`
	ConfigSchema json.RawMessage `json:"config_schema"` // of a connection's file
}

// FieldView is one name that a mapping may use.
type FieldView struct {
	Name   string `json:"name"`
	Label  string `json:"label"`
	Type   string `json:"type"`
	Sample string `json:"sample"`
}

func findingViews(list []connectors.Finding) []FindingView {
	out := make([]FindingView, len(list))
	for i, f := range list {
		out[i] = FindingView{f.Level, f.Field, outbound.Redact(f.Message), f.Hint}
	}
	return out
}

func resourceViews(c connectors.Connector, ids []string) []ResourceView {
	out := []ResourceView{}
	for _, r := range c.Resources {
		if ids == nil || slices.Contains(ids, r.ID) {
			out = append(out, ResourceView{r.ID, r.Title, r.EventTypes})
		}
	}
	return out
}

// viewOf shows what the file says.
func viewOf(c config.Connection, url string) View {
	v := View{
		Name: c.Name, Type: c.Connector.Type, Title: c.Connector.Title, Environment: c.Environment, State: StateStopped, File: c.File,
		Resources: resourceViews(c.Connector, c.Resources), Alarms: []Alarm{},
	}
	if url != "" {
		v.Webhook = &WebhookView{Address: url}
	}
	return v
}

// show adds what the process knows.
func (s Status) show(url string) View {
	v := viewOf(s.Connection, url)
	v.State = StateOpening
	if s.Running {
		v.State = StateRunning
	}
	switch {
	case s.Deaf:
		v.Webhook = nil
	case v.Webhook != nil || s.Webhook != "" || s.Registration.ID != "":
		r := s.Registration
		v.Webhook = &WebhookView{Address: url, ID: r.ID, Used: r.Used, Limit: r.Limit, RegisteredAt: s.RegisteredAt, Error: s.Webhook}
	}
	v.LastEventAt, v.CheckedAt, v.Findings = s.LastEventAt, s.CheckedAt, findingViews(s.Findings)
	v.Alarms = append(v.Alarms, s.Alarms...)
	if b := s.Budget; b != nil {
		v.Budget = &BudgetView{b.Requests, b.Refused, b.Limit, b.Left, b.HoldUntil}
	}
	if s.Progress != nil {
		v.Polling, v.CompleteUpTo = s.Progress, s.Progress.CompleteUpTo
	}
	return v
}

// connectorViews shows every connector, with the schema of its connections' files.
func connectorViews(all []connectors.Connector, o config.Options) ([]ConnectorView, error) {
	texts, err := config.Schemas(o)
	if err != nil {
		return nil, err
	}
	var schema struct {
		OneOf []json.RawMessage `json:"oneOf"`
	}
	if err := json.Unmarshal(texts[config.ConnectionsFolder], &schema); err != nil || len(schema.OneOf) != len(all) {
		return nil, fmt.Errorf("the schema of connections has %d forms for %d connectors: %w", len(schema.OneOf), len(all), err)
	}
	out := make([]ConnectorView, len(all))
	for i, c := range all {
		v := ConnectorView{
			Type: c.Type, Title: c.Title, Topic: c.Topic, Resources: resourceViews(c, nil), Fields: []FieldView{},
			Settings: Settings(c), ConfigSchema: schema.OneOf[i],
		}
		for _, f := range c.Fields {
			v.Fields = append(v.Fields, FieldView{f.Name, f.Label, f.Type, f.Sample})
		}
		out[i] = v
	}
	return out, nil
}

// Refusal is the error of a request that was understood and not done.
type Refusal struct {
	Kind     RefusalKind
	Detail   string        // what is wrong and what to do
	Findings []FindingView // of the check, where that is the reason
}

// Error implements error.
func (r *Refusal) Error() string {
	var b strings.Builder
	b.WriteString(r.Detail)
	for _, f := range r.Findings {
		if f.Level == connectors.Bad {
			b.WriteString("\n  " + f.Message)
			if f.Hint != "" {
				b.WriteString("; " + f.Hint)
			}
		}
	}
	return b.String()
}

// RefusalKind says what kind of reason a refusal has.
type RefusalKind string

// The kinds of refusals.
const (
	Invalid  RefusalKind = "invalid"   // the request has no meaning
	NotFound RefusalKind = "not_found" // there is no such connection or connector
	Conflict RefusalKind = "conflict"  // it does not fit what is there
	CheckBad RefusalKind = "check_bad" // the provider or the configuration says no
	Failed   RefusalKind = "failed"    // the provider or the disk did not do what was asked
)

func refuse(kind RefusalKind, format string, args ...any) *Refusal {
	return &Refusal{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// PartName is the part of the board that tells of all connections together; its status is a Standing.
const PartName = "connections"

// Standing is how the connections of a process stand.
type Standing struct {
	ConfigVersion string       `json:"config_version"` // that was adopted last
	Alarms        []NamedAlarm `json:"alarms"`
	// Problems are why the folder as it is was not adopted.
	Problems      []string `json:"problems,omitempty"`
	RestartNeeded bool     `json:"restart_needed"` // files that count from the next start on have changed
	// Unapplied: mappings or workflows on disk differ from those in force.
	Unapplied bool `json:"unapplied,omitempty"`
}

// NamedAlarm is an alarm with the connection that it is about.
type NamedAlarm struct {
	Connection string `json:"connection"`
	Alarm
}
