package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/access"
	"github.com/tillstream/tillstream/schemas"
)

// Bounds of what an entry of the audit log holds.
const (
	auditStateBytesMax = 8 << 10
	auditDepthMax      = 16
	auditCheckTimeout  = 3 * time.Second
)

// record is what a handler adds to the record of its request: by default the subject is the path and after the body.
type record struct {
	subject, who  string
	before, after any
	afterSet      bool
	silent        bool // leaves none
	body          bytes.Buffer
}

type recordKey struct{}

// note is the record of a request. A handler that knows what was there before says so.
func note(r *http.Request) *record {
	if n, ok := r.Context().Value(recordKey{}).(*record); ok {
		return n
	}
	return &record{}
}

// noteChange has the audit log tell the state before and after. Neither may hold a secret in anything but a field whose
// name says so, which is masked.
func noteChange(r *http.Request, before, after any) {
	n := note(r)
	n.before, n.after, n.afterSet = before, after, true
}

// recorded reports whether a request leaves a record: it may change something, exports, or unmasks people.
func recorded(r *http.Request, route Route) bool {
	return route.changes() || route.Audit || r.URL.Query().Get("personal_data") == "true"
}

// begin makes the record of a request. It refuses a change while no record of it could be kept.
func (g *gate) begin(r *http.Request) (*http.Request, *Problem) {
	a, ok := g.board.accessOf()
	if !ok || a.Trail == nil {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), auditCheckTimeout)
	defer cancel()
	if err := a.Trail.Reachable(ctx); err != nil {
		return r, Refuse(CodeAudit, "%s; nothing is changed", outbound.Redact(err.Error()))
	}
	n := &record{}
	if r.Body != nil {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, &capped{&n.body}), r.Body}
	}
	return r.WithContext(context.WithValue(r.Context(), recordKey{}, n)), nil
}

// capped keeps the first bytes of a body.
type capped struct{ to *bytes.Buffer }

// Write implements io.Writer; what is too much is dropped.
func (c *capped) Write(b []byte) (int, error) {
	if room := int(draftBytesMax) - c.to.Len(); room > 0 {
		c.to.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}

// end writes the record of a request that was begun, or of one that was refused before.
func (g *gate) end(r *http.Request, route Route, refused *Problem) {
	a, ok := g.board.accessOf()
	n := note(r)
	if !ok || a.Trail == nil || n.silent {
		return
	}
	who := asker(r)
	e := schemas.AuditEntry{
		ID: requestID(r), At: g.board.now().UTC().Truncate(time.Millisecond), Who: who.Name, Via: string(who.Via), Role: string(who.Role),
		Address: addressOf(r), Action: route.Method + " " + route.Path, Subject: n.subject, Outcome: access.Done,
	}
	if n.who != "" {
		e.Who, e.Via = n.who, string(access.ViaPage)
	}
	e.Who = outbound.Redact(e.Who)
	if e.Subject == "" {
		e.Subject = strings.TrimPrefix(r.URL.Path, "/api/v1/")
	}
	if e.Subject = outbound.Redact(e.Subject); !route.changes() && r.URL.RawQuery != "" {
		e.After = masked(r.URL.Query())
	}
	if n.before != nil {
		e.Before = masked(n.before)
	}
	switch {
	case n.afterSet && n.after != nil:
		e.After = masked(n.after)
	case n.afterSet:
	case n.body.Len() > 0:
		var body any
		if json.Unmarshal(n.body.Bytes(), &body) == nil {
			e.After = masked(body)
		} else {
			e.After = `{"bytes":"` + strconv.Itoa(n.body.Len()) + ` or more, which are not kept here"}`
		}
	}
	if refused != nil {
		e.Outcome, e.Detail = access.Refused, string(refused.Code)
		if refused.Status >= http.StatusInternalServerError {
			e.Outcome = access.Failed
		}
	}
	a.Trail.Write(r.Context(), e)
}

var secretName = regexp.MustCompile(`(?i)pass(word|phrase)|secret|token|credential|private|authorization|(^|_)key$|^references$`)

// masked is v as JSON without secrets and with personal data masked.
func masked(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return ""
	}
	if b, err = json.Marshal(mask(tree, auditDepthMax)); err != nil {
		return ""
	}
	if len(b) > auditStateBytesMax {
		return `{"bytes":` + strconv.Itoa(len(b)) + `,"begins":` + string(quoted(string(b[:auditStateBytesMax/2]))) + `}`
	}
	return string(b)
}

func quoted(s string) []byte {
	b, _ := json.Marshal(strings.ToValidUTF8(s, ""))
	return b
}

func mask(v any, depth int) any {
	if depth == 0 {
		return "..."
	}
	switch v := v.(type) {
	case map[string]any:
		for key, one := range v {
			if _, flag := one.(bool); secretName.MatchString(key) && !flag && one != nil {
				v[key] = "***"
			} else {
				v[key] = mask(one, depth-1)
			}
		}
	case []any:
		for i, one := range v {
			v[i] = mask(one, depth-1)
		}
	case string:
		return outbound.Redact(v)
	}
	return v
}

// AuditView is an entry of the audit log as it is shown.
type AuditView struct {
	ID      string          `json:"id"` // request id of the answer
	At      time.Time       `json:"at"`
	Who     string          `json:"who"`
	Via     string          `json:"via"`
	Role    string          `json:"role"`
	Address string          `json:"address"`
	Action  string          `json:"action"`
	Subject string          `json:"subject"`
	Before  json.RawMessage `json:"before,omitempty"`
	After   json.RawMessage `json:"after,omitempty"`
	Outcome string          `json:"outcome"` // done, refused or failed
	Detail  string          `json:"detail,omitempty"`
}

// AuditList is the answer of GET /api/v1/audit.
type AuditList struct {
	Items []AuditView `json:"items"`
	Next  string      `json:"next,omitempty"`
}

// NewAuditList shows entries of the audit log.
func NewAuditList(list []schemas.AuditEntry, next int64) AuditList {
	out := AuditList{Items: []AuditView{}}
	for _, e := range list {
		out.Items = append(out.Items, AuditView{
			e.ID, e.At, e.Who, e.Via, e.Role, e.Address, e.Action, e.Subject, rawJSON(e.Before), rawJSON(e.After), e.Outcome, e.Detail,
		})
	}
	if next > 0 {
		out.Next = strconv.FormatInt(next, 10)
	}
	return out
}

func rawJSON(text string) json.RawMessage {
	if !json.Valid([]byte(text)) {
		return nil
	}
	return json.RawMessage(text)
}

// auditRoutes show the audit log.
func (b *Board) auditRoutes(t *table) {
	part := served[*Access]{of: b.storeOf, missing: missingAccess}
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/audit", Role: Admin, CLI: "tillstream audit-log", Answer: AuditList{}, Summary: "Who changed, exported or unmasked what, the newest first",
		Params: []Param{
			{"who", "name of a user or token"},
			{"action", "part of the action"},
			{"q", "part of the subject or of what was changed"},
			{"outcome", "done, refused or failed"},
			{"since", "RFC 3339"},
			{"until", "RFC 3339"},
			limitParam,
			{"after", "next of the page before"},
		},
	}, func(a *Access, r *http.Request, q *query) (any, error) {
		f := access.TrailQuery{
			Who: q.text("who"), Action: q.text("action"), Text: q.text("q"), Outcome: q.text("outcome"),
			Since: q.time("since"), Until: q.time("until"), Limit: q.number("limit"), After: int64(q.number("after")),
		}
		if o := f.Outcome; o != "" && o != access.Done && o != access.Refused && o != access.Failed {
			q.fail("outcome is done, refused or failed")
		}
		if q.err != nil {
			return nil, q.err
		}
		found, next, err := a.Trail.Find(r.Context(), f)
		if err != nil {
			return nil, err
		}
		return NewAuditList(found, next), nil
	})
}
