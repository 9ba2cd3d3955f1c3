package activecampaign

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// Documented bounds of bulk imports, and how long one is watched.
const (
	importContactsMax = 250
	importContactsMin = 10      // below that the API asks for single writes
	importBytesMax    = 390_000 // of 400,000

	importFirstLook = 200 * time.Millisecond
	importLookMax   = 15 * time.Second
	importPatience  = 2 * time.Minute // then its contacts are written again later
	importRetry     = 15 * time.Second
	importAskEvery  = time.Second
	importGone      = 15 * time.Minute // after which an import that nothing is heard of holds nothing back
	importsPause    = time.Minute      // after one whose answer was lost
	importsOffFor   = time.Hour        // after the account refused one for what it is
	importsOpenMax  = 100
)

var _ sinks.BulkWriter = (*writer)(nil)

// BulkMax implements sinks.BulkWriter.
func (w *writer) BulkMax() int { return importContactsMax }

// Bulk implements sinks.BulkWriter. An import is made with automations off, since it would run them late and in any order,
// so only what must not run any goes into one: what is of the past. Nothing can be taken away by an import.
func (w *writer) Bulk(cmd schemas.Command) bool {
	c := &cmd.Contact
	if cmd.Kind != schemas.CommandContact || cmd.Origin != schemas.OriginBackfill || len(c.NoTags) > 0 || !strings.Contains(c.Email, "@") {
		return false
	}
	for _, v := range c.Fields {
		if v == "" {
			return false
		}
	}
	return true
}

type importField struct {
	ID    int64  `json:"id"`
	Value string `json:"value"`
}

type importContact struct {
	Email     string        `json:"email"`
	FirstName string        `json:"first_name,omitempty"`
	LastName  string        `json:"last_name,omitempty"`
	Phone     string        `json:"phone,omitempty"`
	Tags      []string      `json:"tags,omitempty"`
	Fields    []importField `json:"fields,omitempty"`
	// Exclude is shown here by the document's example, and described for the top of the payload: it stands in both.
	Exclude bool `json:"exclude_automations"`
}

type importBody struct {
	Contacts []importContact `json:"contacts"`
	Exclude  bool            `json:"exclude_automations"`
}

// together writes what can be written together, and leaves the outcome of the rest, and of what is better written singly,
// empty.
func (w *writer) together(ctx context.Context, batch []schemas.Command, out []sinks.Outcome) {
	if len(batch) < importContactsMin || ctx.Err() != nil || w.imports.off() {
		return
	}
	times := map[string]int{}
	for i := range batch {
		times[address(&batch[i])]++
	}
	var rows []int
	var body importBody
	size := 0
	flush := func() {
		if len(rows) >= importContactsMin {
			w.importRows(ctx, batch, rows, body, out)
		}
		rows, body.Contacts, size = nil, nil, 0
	}
	body.Exclude = true
	for i := range batch {
		if !w.Bulk(batch[i]) || times[address(&batch[i])] > 1 || w.imports.holds(address(&batch[i])) {
			continue
		}
		row, ok := w.importRow(ctx, &batch[i].Contact)
		if !ok {
			continue // written singly, it says what is wrong
		}
		encoded, err := json.Marshal(row)
		if err != nil {
			continue
		}
		if size+len(encoded)+1 > importBytesMax-100 || len(rows) == importContactsMax {
			flush()
		}
		rows, body.Contacts, size = append(rows, i), append(body.Contacts, row), size+len(encoded)+1
	}
	flush()
}

func address(cmd *schemas.Command) string {
	return strings.ToLower(strings.TrimSpace(cmd.Contact.Email))
}

func (w *writer) importRow(ctx context.Context, c *schemas.Contact) (importContact, bool) {
	row := importContact{
		Email: strings.TrimSpace(c.Email), FirstName: c.FirstName, LastName: c.LastName, Phone: c.Phone, Tags: c.Tags, Exclude: true,
	}
	values, fail := w.values(ctx, c.Fields)
	if fail != nil {
		return row, false
	}
	for _, v := range values {
		id, err := strconv.ParseInt(v.Field, 10, 64)
		if err != nil {
			return row, false
		}
		row.Fields = append(row.Fields, importField{id, v.Value})
	}
	return row, true
}

// importRows sends one import and waits until it is done. The outcome of what it did not take stays empty.
func (w *writer) importRows(ctx context.Context, batch []schemas.Command, rows []int, body importBody, out []sinks.Outcome) {
	ctx, rec := outbound.Record(ctx)
	failed, fail := w.importAll(ctx, body)
	exchanges := w.scrub(rec.Exchanges())
	for i := range exchanges {
		// The bodies are about other people too.
		exchanges[i].Request, exchanges[i].Response = "", ""
		if exchanges[i].Method == http.MethodPost {
			exchanges[i].Request = fmt.Sprintf("an import of %d contacts", len(rows))
		}
	}
	switch {
	case fail == nil:
	case fail.kind == failReject, fail.status == http.StatusForbidden:
		// Refused as a whole: one by one it shows what is refused, and whether it is the account.
		if fail.status != http.StatusBadRequest {
			w.imports.switchOff(importsOffFor)
		}
		return
	}
	for _, i := range rows {
		switch {
		case fail != nil:
			out[i] = fail.outcome(false)
			out[i].Exchanges = exchanges
		case !failed[address(&batch[i])]:
			out[i] = sinks.Outcome{Kind: sinks.Delivered, Exchanges: exchanges}
		}
	}
}

// importAll returns the addresses that the import did not take, or did not account for.
func (w *writer) importAll(ctx context.Context, body importBody) (map[string]bool, *failure) {
	addresses := map[string]bool{}
	for _, c := range body.Contacts {
		addresses[strings.ToLower(c.Email)] = true
	}
	var queued struct {
		BatchID string `json:"batchId"`
	}
	r := w.api.call(outbound.InBucket(ctx, BucketBulkImport), http.MethodPost, "/import/bulk_import", nil, body)
	if !r.ok(&queued) || queued.BatchID == "" {
		fail := classify(r)
		if fail.names("rate limit") {
			fail.kind, fail.retryAfter, fail.remedy = failRetry, time.Minute, "nothing: the account takes so many imports a minute, and is tried again"
			return nil, fail
		}
		if fail.kind == failUnknown || fail.kind == failRetry {
			// It may have been queued: until it is known what became of it, nothing newer is written, and then singly, so
			// that a way that loses such answers only does not hold them up for ever.
			w.imports.switchOff(importsPause)
			w.imports.add(&openImport{addresses: addresses, at: w.imports.now()})
			fail.retryAfter = max(fail.retryAfter, importRetry)
		}
		return nil, fail
	}
	o := &openImport{batchID: queued.BatchID, addresses: addresses, at: w.imports.now()}
	o.next = o.at.Add(importPatience) // it is watched here
	w.imports.add(o)
	return w.watch(ctx, o)
}

// watch asks for the import until it is done.
func (w *writer) watch(ctx context.Context, o *openImport) (map[string]bool, *failure) {
	defer w.imports.unwatched(o)
	pause, waited := importFirstLook, time.Duration(0)
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, &failure{kind: failRetry, retryAfter: importRetry, cause: "the import was not waited for: " + ctx.Err().Error(), remedy: "nothing: it is tried again"}
		case <-timer.C:
		}
		waited += pause
		info, fail := w.importInfo(ctx, o.batchID)
		switch {
		case fail != nil && fail.kind == failAccount && (fail.status != http.StatusTooManyRequests || fail.retryAfter > importLookMax):
			return nil, fail
		case fail == nil && info.done():
			w.imports.remove(o)
			for _, id := range info.Success {
				w.contacts.forget(string(id)) // it has other tags than before
			}
			return info.left(o.addresses), nil
		case fail == nil && info.failed():
			w.imports.remove(o)
			return nil, &failure{kind: failReject, cause: "activecampaign ended an import as " + shorten(info.Status), remedy: "nothing: its contacts are written singly"}
		case waited >= importPatience:
			return nil, &failure{
				kind: failRetry, retryAfter: importRetry, remedy: "nothing: it is tried again",
				cause: fmt.Sprintf("activecampaign has not finished an import within %s", importPatience),
			}
		}
		pause = min(2*pause, importLookMax)
		if fail != nil {
			pause = max(pause, fail.retryAfter)
		}
	}
}

// importStatus is what the account says of an import.
type importStatus struct {
	Status  string     `json:"status"`
	Success []flexible `json:"success"`
	Failure []string   `json:"failure"`
}

func (s importStatus) done() bool   { return strings.EqualFold(s.Status, "completed") }
func (s importStatus) failed() bool { return s.Status == "failed" || s.Status == "interrupted" }

// left are the addresses that the import refused, or all where the counts do not cover them: it names what it took by ids
// that are not known here.
func (s importStatus) left(addresses map[string]bool) map[string]bool {
	if len(s.Success)+len(s.Failure) < len(addresses) {
		return addresses
	}
	out := map[string]bool{}
	for _, a := range s.Failure {
		out[strings.ToLower(strings.TrimSpace(a))] = true
	}
	return out
}

func (w *writer) importInfo(ctx context.Context, batchID string) (info importStatus, fail *failure) {
	r := w.api.call(ctx, http.MethodGet, "/import/info", url.Values{"batchId": {batchID}}, nil)
	if !r.ok(&info) {
		return info, classify(r)
	}
	return info, nil
}

// lookAtImports asks what became of imports that were not seen to end. While one may still run, newer states of its
// contacts are held back: it would overwrite them.
func (w *writer) lookAtImports(ctx context.Context) {
	for _, o := range w.imports.due() {
		over, fail := w.over(ctx, o)
		if over || fail != nil && fail.kind == failReject || w.imports.now().Sub(o.at) >= importGone {
			w.imports.remove(o)
		}
		if fail != nil && fail.kind == failAccount {
			return
		}
	}
}

// over reports whether an import is done. Of one whose number did not arrive it is known when none is outstanding.
func (w *writer) over(ctx context.Context, o *openImport) (bool, *failure) {
	if o.batchID != "" {
		info, fail := w.importInfo(ctx, o.batchID)
		return info.done() || info.failed(), fail
	}
	var all struct {
		Outstanding []struct {
			Batches flexible `json:"batches"`
		} `json:"outstanding"`
	}
	r := w.api.call(ctx, http.MethodGet, "/import/bulk_import", nil, nil)
	if !r.ok(&all) {
		return false, classify(r)
	}
	for _, day := range all.Outstanding {
		if day.Batches != "0" && day.Batches != "" {
			return false, nil
		}
	}
	return true, nil
}

// imports are those that were not seen to end.
type imports struct {
	now func() time.Time

	mu       sync.Mutex
	open     []*openImport
	offUntil time.Time
}

type openImport struct {
	batchID   string // "": not known
	addresses map[string]bool
	at        time.Time
	next      time.Time // not asked for before; imports.mu guards it
}

// due are the imports to ask for, each once in importAskEvery.
func (m *imports) due() (out []*openImport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for _, o := range m.open {
		if !now.Before(o.next) {
			o.next = now.Add(importAskEvery)
			out = append(out, o)
		}
	}
	return out
}

func (m *imports) add(o *openImport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.open) >= importsOpenMax {
		m.open = m.open[1:]
	}
	m.open = append(m.open, o)
}

func (m *imports) remove(o *openImport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.open[:0:0]
	for _, other := range m.open {
		if other != o {
			kept = append(kept, other)
		}
	}
	m.open = kept
}

// holds reports whether one of the imports has this address.
func (m *imports) holds(address string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.open, func(o *openImport) bool { return o.addresses[address] })
}

func (m *imports) off() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now().Before(m.offUntil)
}

// switchOff lets no import begin for a while.
func (m *imports) switchOff(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.offUntil = m.now().Add(d)
}

// unwatched makes an import one that is asked for now and then.
func (m *imports) unwatched(o *openImport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o.next = time.Time{}
}
