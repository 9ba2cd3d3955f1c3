package api

import "encoding/json"

// MappingList is the answer of GET /api/v1/mappings.
type MappingList struct {
	Items []MappingView `json:"items"` // by name
	Next  string        `json:"next,omitempty"`
}

// MappingView is one mapping. Text and Mapping are left out of the list.
type MappingView struct {
	Name string `json:"name"`
	File string `json:"file"`
	ETag string `json:"etag"` // of the file
	// Of the mapping, in short.
	Connections []string `json:"connections"` // none: all
	Resource    string   `json:"resource"`    // empty: every resource, and none
	Destination string   `json:"destination"`
	Rules       int      `json:"rules"`    // fields
	InForce     bool     `json:"in_force"` // the version in force has the same text
	// Text is the file; Mapping what it says, null where it cannot be read.
	Text     string          `json:"text,omitempty"`
	Mapping  *Mapping        `json:"mapping,omitempty"`
	Problems []ConfigProblem `json:"problems"` // of this file
}

// Mapping is what a mapping's file says: which event fields go to which CRM fields, which tags, which triggers. GET
// /api/v1/config/schemas/mappings describes each key.
type Mapping struct {
	Connections []string         `json:"connections,omitempty"`
	Resource    string           `json:"resource,omitempty"`
	Events      []string         `json:"events,omitempty"`
	Destination string           `json:"destination"`
	Contact     MappingContact   `json:"contact,omitzero"`
	Fields      []MappingRule    `json:"fields,omitempty"`
	Tags        MappingTags      `json:"tags,omitzero"`
	Triggers    []MappingTrigger `json:"triggers,omitempty"`
}

// MappingContact says where the contact's own parts come from; empty: the defaults.
type MappingContact struct {
	Email     string `json:"email,omitempty"`
	FirstName string `json:"first_name,omitempty"`
	LastName  string `json:"last_name,omitempty"`
	Phone     string `json:"phone,omitempty"`
}

// MappingRule fills one field of the CRM.
type MappingRule struct {
	To        string              `json:"to"`             // the CRM's field
	From      string              `json:"from,omitempty"` // source, for example payer.email
	Expr      string              `json:"expr,omitempty"` // in the place of from
	As        string              `json:"as,omitempty"`   // functions: trim | lower
	Concat    []string            `json:"concat,omitempty"`
	Separator *string             `json:"separator,omitempty"`
	Table     map[string]string   `json:"table,omitempty"`
	Default   *string             `json:"default,omitempty"`
	When      map[string][]string `json:"when,omitempty"`
	If        string              `json:"if,omitempty"`
}

// MappingTags change the tags.
type MappingTags struct {
	Prefix   string           `json:"prefix,omitempty"`
	Suffix   string           `json:"suffix,omitempty"`
	Add      []string         `json:"add,omitempty"`
	Remove   []string         `json:"remove,omitempty"`
	Rules    []MappingTagRule `json:"rules,omitempty"`
	Disabled bool             `json:"disabled,omitempty"`
}

// MappingTagRule adds and removes tags where a condition holds.
type MappingTagRule struct {
	If     string   `json:"if,omitempty"`
	Add    []string `json:"add,omitempty"`
	Remove []string `json:"remove,omitempty"`
}

// MappingTrigger tracks an event at the CRM.
type MappingTrigger struct {
	On         string   `json:"on"`
	Events     []string `json:"events,omitempty"`
	From       []string `json:"from,omitempty"`
	To         []string `json:"to,omitempty"`
	TrackEvent string   `json:"track_event"`
	Data       string   `json:"data,omitempty"`
}

// MappingEdit is the body of PUT /api/v1/mappings/{name}: one of the two. With mapping, only what differs is changed in the
// file: comments, order and spelling of the rest stay. dry_run=true writes nothing; apply=true puts the folder in force
// after it. If-Match takes the ETag of the mapping; a new one takes If-None-Match: *. The answer is a ConfigEdited.
type MappingEdit struct {
	Mapping *Mapping `json:"mapping,omitempty"`
	Text    *string  `json:"text,omitempty"`
}

// PreviewRequest is the body of POST /api/v1/mappings/{name}/preview. Nothing is sent to anybody.
type PreviewRequest struct {
	// Event is the id of a stored event; Sample makes one of the connector's samples. One of the two.
	Event  string `json:"event,omitempty"`
	Sample bool   `json:"sample,omitempty"`
	// Mapping or Text is the mapping as it stands in the editor; without them, as it stands in its file.
	Mapping *Mapping `json:"mapping,omitempty"`
	Text    *string  `json:"text,omitempty"`
	Offline bool     `json:"offline,omitempty"` // do not ask the CRM for its fields
	// PersonalData shows it unmasked.
	PersonalData bool `json:"personal_data,omitempty"`
}

// Preview is the answer to it: what the mapping would make of the event.
type Preview struct {
	Mapping       string         `json:"mapping"`
	Destination   string         `json:"destination"`
	ConfigVersion string         `json:"config_version"`
	Event         PreviewEvent   `json:"event"`
	Fits          bool           `json:"fits"`          // the mapping is about such events
	Why           string         `json:"why,omitempty"` // it is not, or makes nothing of it
	Fields        []PreviewField `json:"fields"`        // in the order of the mapping
	// Before is the contact as it was last asked of the destination (null: nothing is known); After as it would be (null:
	// nothing would be asked).
	Before     *PreviewContact      `json:"before"`
	After      *PreviewContact      `json:"after"`
	Effects    []PreviewEffect      `json:"effects"`  // that would be sent besides
	Requests   []PreviewRequestBody `json:"requests"` // that would be made of it
	NotChecked []string             `json:"not_checked"`
	Masked     bool                 `json:"masked"` // personal data is
}

// PreviewEvent says which event a preview is of.
type PreviewEvent struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Source string `json:"connection"`
	Status string `json:"status"`
	Sample bool   `json:"sample"` // made of the samples of the connector's catalogue
}

// PreviewField is what one rule made of the event.
type PreviewField struct {
	To    string `json:"to"`
	From  string `json:"from"`
	As    string `json:"as,omitempty"`
	Value string `json:"value"`
	Type  string `json:"type,omitempty"`  // of the field at the destination
	Issue string `json:"issue,omitempty"` // why there is no value, or why the destination would refuse it
}

// PreviewContact is a contact as the destination has it, or would have it.
type PreviewContact struct {
	Email     string            `json:"email"`
	FirstName string            `json:"first_name"`
	LastName  string            `json:"last_name"`
	Phone     string            `json:"phone"`
	Fields    map[string]string `json:"fields"`
	Tags      []string          `json:"tags"`
	NoTags    []string          `json:"no_tags"` // taken away
}

// PreviewEffect is an effect besides the contact.
type PreviewEffect struct {
	Type string `json:"type"`
	Name string `json:"name"`
	Data string `json:"data,omitempty"`
}

// PreviewRequestBody is one request as the destination would get it.
type PreviewRequestBody struct {
	Method string          `json:"method"`
	Path   string          `json:"path"`           // without the host
	Body   json.RawMessage `json:"body,omitempty"` // JSON; secrets are not part of it
}

// MappingVersions is the answer of GET /api/v1/mappings/{name}/versions and of workflows: the versions of the configuration
// in which its file changed, newest first.
type MappingVersions struct {
	Items []FileVersion `json:"items"`
	Next  string        `json:"next,omitempty"`
}

// FileVersion is one text that a file had.
type FileVersion struct {
	ConfigVersion
	Action string `json:"action"` // added, changed or removed
	Text   string `json:"text"`   // empty: removed
	Diff   string `json:"diff"`   // from the text before it
}
