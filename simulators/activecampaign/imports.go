package activecampaign

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Documented bounds of bulk imports.
const (
	importContactsMax      = 250
	importBytesMax         = 400_000
	importsPerMinute       = 100
	importsOfOnePerMinute  = 20
	importsRememberedMax   = 10_000
	importCallbackTimeout  = 10 * time.Second
	importCallbackParamMax = 20
)

// batch is one queued import.
type batch struct {
	id      string
	due     time.Time
	status  string // queued: "waiting"
	input   importInput
	success []string // ids
	failure []string // addresses
	reasons []object
}

type importInput struct {
	Contacts []struct {
		Email     string   `json:"email"`
		FirstName string   `json:"first_name"`
		LastName  string   `json:"last_name"`
		Phone     plain    `json:"phone"`
		Tags      []string `json:"tags"`
		Fields    []struct {
			ID    number `json:"id"`
			Value plain  `json:"value"`
		} `json:"fields"`
		Subscribe, Unsubscribe []struct {
			ListID number `json:"listid"`
		}
		Exclude bool `json:"exclude_automations"`
	} `json:"contacts"`
	Exclude  bool      `json:"exclude_automations"`
	Callback *callback `json:"callback"`
}

type callback struct {
	URL         string `json:"url"`
	RequestType string `json:"requestType"`
	Detailed    plain  `json:"detailed_results"`
	Params      []pair `json:"params"`
	Headers     []pair `json:"headers"`
}

type pair struct{ Key, Value string }

func importRefused(message string, reasons any) *refusal {
	return &refusal{http.StatusBadRequest, object{"success": 0, "message": message, "failureReasons": reasons}}
}

// queueImport takes contacts to be written later. One address that is malformed refuses the whole.
func queueImport(c *call) (int, any, *refusal) {
	b := &batch{status: "waiting"}
	if err := json.Unmarshal(c.body, &b.input); err != nil || len(b.input.Contacts) == 0 {
		return 0, nil, importRefused("JSON payload did not pass validation. The import was not queued for processing.", []string{"contacts is required"})
	}
	n := len(b.input.Contacts)
	if n > importContactsMax || len(c.body) >= importBytesMax {
		return 0, nil, importRefused("JSON payload did not pass validation. The import was not queued for processing.",
			[]string{fmt.Sprintf("up to %d contacts and %d bytes may be sent", importContactsMax, importBytesMax)})
	}
	if no := c.s.importTurn(c.now, n); no != nil {
		return 0, nil, no
	}
	var bad []object
	for i, in := range b.input.Contacts {
		if !strings.Contains(in.Email, "@") {
			bad = append(bad, object{"contact": i, "failureReason": "Field 'email' incorrect format"})
		}
	}
	if len(bad) > 0 {
		return 0, nil, importRefused("JSON payload did not pass validation. Please fix failure Reasons and retry. The import was not queued for processing.", bad)
	}
	serial := c.a.next("import")
	b.id, b.due = fmt.Sprintf("%08x-0000-4000-8000-%012x", serial, serial), c.now.Add(c.s.opts.ImportAfter)
	c.a.imports = append(c.a.imports, b)
	if len(c.a.imports) > importsRememberedMax {
		c.a.imports = slices.Clone(c.a.imports[1:])
	}
	if b.input.Callback != nil && c.s.opts.ImportAfter > 0 {
		time.AfterFunc(c.s.opts.ImportAfter, c.s.settle) // nobody may ask
	}
	return http.StatusOK, object{"Success": 1, "queued_contacts": n, "batchId": b.id, "message": "Contact import queued"}, nil
}

// importTurn holds imports to their own two limits.
func (s *Server) importTurn(now time.Time, contacts int) *refusal {
	kept, limit := &s.importsMany, importsPerMinute
	if contacts == 1 {
		kept, limit = &s.importsOne, importsOfOnePerMinute
	}
	*kept = slices.DeleteFunc(*kept, func(t time.Time) bool { return !t.After(now.Add(-time.Minute)) })
	if s.window.limit > 0 && len(*kept) >= limit {
		return importRefused("Rate limit exceeded.", []string{fmt.Sprintf(
			"Up to %d imports may be requested per minute.Please batch contacts into larger requests, or retry this request in a minute.", limit)})
	}
	*kept = append(*kept, now)
	return nil
}

func (s *Server) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account.settle(s.opts.Now())
}

// settle does the imports whose time has come.
func (a *account) settle(now time.Time) {
	for _, b := range a.imports[a.imported():] {
		if b.status != "waiting" || now.Before(b.due) {
			continue
		}
		if b.status = a.importsEnd; b.status == "completed" {
			a.runImport(b, now)
		}
		b.call()
		b.input = importInput{}
	}
}

// imported is up to where all imports are done: they are queued in the order of their time.
func (a *account) imported() int {
	i := slices.IndexFunc(a.imports, func(b *batch) bool { return b.status == "waiting" })
	if i < 0 {
		return len(a.imports)
	}
	return i
}

func (a *account) runImport(b *batch, now time.Time) {
	for _, in := range b.input.Contacts {
		quiet := in.Exclude || b.input.Exclude
		fail := func(why string) {
			b.failure = append(b.failure, in.Email)
			b.reasons = append(b.reasons, object{"contact": in.Email, "failureReason": why})
		}
		if addr, err := mail.ParseAddress(in.Email); err != nil || addr.Address != in.Email || a.refused(in.Email) {
			fail("invalid email")
			continue
		}
		if slices.ContainsFunc(in.Fields, func(f struct {
			ID    number `json:"id"`
			Value plain  `json:"value"`
		},
		) bool {
			return a.fieldByID(int(f.ID)) == nil
		}) {
			fail("unknown field")
			continue
		}
		to := a.byEmail[lower(in.Email)]
		if to == nil {
			to = a.addContact(in.Email, now)
		}
		triggers := a.triggers
		if quiet {
			a.triggers = nil
		}
		to.first, to.last, to.phone = firstOf(in.FirstName, to.first), firstOf(in.LastName, to.last), firstOf(string(in.Phone), to.phone)
		var wrote []wroteValue
		for _, f := range in.Fields {
			a.setValue(to, int(f.ID), string(f.Value), now)
			wrote = append(wrote, wroteValue{int(f.ID), string(f.Value)})
		}
		for _, name := range in.Tags {
			t := a.tagByName(name)
			if t == nil {
				t = a.addTag(name, "contact", "", now)
			}
			a.link(to, t, now)
		}
		for _, l := range in.Subscribe {
			a.member(to, int(l.ListID), statusActive, false, now)
		}
		for _, l := range in.Unsubscribe {
			a.member(to, int(l.ListID), statusUnsubscribed, false, now)
		}
		a.triggers = triggers
		a.remember(to, now, wrote)
		b.success = append(b.success, text(to.id))
	}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// call tells whoever asked to be told, without waiting.
func (b *batch) call() {
	cb := b.input.Callback
	if cb == nil || cb.URL == "" || len(cb.Params) > importCallbackParamMax || len(cb.Headers) > importCallbackParamMax {
		return
	}
	values := url.Values{}
	for _, p := range cb.Params {
		values.Set(p.Key, p.Value)
	}
	body := object{}
	for _, p := range cb.Params {
		body[p.Key] = p.Value
	}
	if cb.Detailed == "true" {
		body["success"], body["failure"], body["failureReasons"] = len(b.success), len(b.failure), b.reasons
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), importCallbackTimeout)
		defer cancel()
		target, content := cb.URL, []byte(nil)
		if strings.EqualFold(cb.RequestType, http.MethodGet) {
			target += "?" + values.Encode()
		} else {
			content, _ = json.Marshal(body)
		}
		req, err := http.NewRequestWithContext(ctx, strings.ToUpper(firstOf(cb.RequestType, http.MethodPost)), target, bytes.NewReader(content))
		if err != nil {
			return
		}
		req.Header.Set("Content-Type", "application/json")
		for _, h := range cb.Headers {
			req.Header.Set(h.Key, h.Value)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
}

func importInfo(c *call) (int, any, *refusal) {
	id := c.q.Get("batchId")
	if id == "" {
		return 0, nil, &refusal{http.StatusBadRequest, object{"success": 0, "message": "'batchId' is a required field."}}
	}
	for _, b := range c.a.imports {
		if b.id == id {
			return http.StatusOK, object{"status": b.status, "success": orNone(b.success), "failure": orNone(b.failure)}, nil
		}
	}
	return 0, nil, noResult(http.StatusNotFound, "Import", id)
}

func orNone(rows []string) []string {
	if rows == nil {
		return []string{}
	}
	return rows
}

// outstanding counts the imports by day.
func outstanding(c *call) (int, any, *refusal) {
	type row struct{ batches, contacts int }
	open, done := map[string]*row{}, map[string]*row{}
	for _, b := range c.a.imports {
		into, day := done, b.due.UTC().Format(time.DateOnly)
		n := len(b.success) + len(b.failure)
		if b.status == "waiting" {
			into, n = open, len(b.input.Contacts)
		}
		if into[day] == nil {
			into[day] = &row{}
		}
		into[day].batches++
		into[day].contacts += n
	}
	rows := func(m map[string]*row) []object {
		out := []object{}
		for day, r := range m {
			out = append(out, object{"forDate": day, "batches": text(r.batches), "contacts": text(r.contacts)})
		}
		slices.SortFunc(out, func(a, b object) int { return strings.Compare(a["forDate"].(string), b["forDate"].(string)) })
		return out
	}
	return http.StatusOK, object{"outstanding": rows(open), "recentlyCompleted": rows(done)}, nil
}
