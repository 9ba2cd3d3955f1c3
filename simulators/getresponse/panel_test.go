package getresponse

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestPanel: what people do is seen by the API.
func TestPanel(t *testing.T) {
	for name, c := range map[string]struct {
		action string
		list   string // that shows jo afterwards; "": none
		status int
	}{
		"unsubscribe":   {`{"do":"unsubscribe","email":"Jo@example.com"}`, "", 200},
		"bounce":        {`{"do":"bounce","email":"jo@example.com"}`, "", 200},
		"delete":        {`{"do":"delete","email":"jo@example.com"}`, "", 200},
		"complain":      {`{"do":"complain","email":"jo@example.com"}`, "", 200},
		"blocklist":     {`{"do":"blocklist","email":"jo@example.com"}`, "", 200},
		"move":          {`{"do":"move","email":"jo@example.com","to":"V"}`, "V", 200},
		"delete list":   {`{"do":"delete_list","list":"C"}`, "", 200},
		"another one":   {`{"do":"unsubscribe","email":"al@example.com"}`, "C", 400},
		"no such list":  {`{"do":"move","email":"jo@example.com","to":"Q"}`, "C", 400},
		"no such deed":  {`{"do":"dance"}`, "C", 400},
		"no such word":  {`{"does":"move"}`, "C", 400},
		"rename":        {`{"do":"rename","email":"jo@example.com","to":"Joan"}`, "C", 200},
		"rename list":   {`{"do":"rename_list","list":"C","to":"Customers"}`, "C", 200},
		"set field":     {`{"do":"set_field","email":"jo@example.com","name":"order_id","to":"7"}`, "C", 200},
		"no such field": {`{"do":"set_field","email":"jo@example.com","name":"none","to":"7"}`, "C", 400},
		"untag":         {`{"do":"untag","email":"jo@example.com","name":"none"}`, "C", 200},
		"score":         {`{"do":"score","email":"jo@example.com","by":3}`, "C", 200},
		"add tag":       {`{"do":"add_tag","name":"vip"}`, "C", 200},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, Options{})
			f.create(t, "jo@example.com", "", 202)
			if res, text := f.call(t, "POST", "/_simulator/panel", c.action); res.StatusCode != c.status {
				t.Fatalf("got %d: %s", res.StatusCode, text)
			}
			_, text := f.call(t, "GET", query("jo@example.com"), "")
			if shown := strings.Contains(text, `"campaignId":"`+c.list+`"`); c.list != "" && !shown || c.list == "" && text != "[]" {
				t.Errorf("got %s, want it on list %q", text, c.list)
			}
		})
	}
}

// TestSuspension: nothing is answered until the account is restored.
func TestSuspension(t *testing.T) {
	f := start(t, Options{})
	f.call(t, "POST", "/_simulator/panel", `{"do":"suspend","code":1016}`)
	if res, text := f.call(t, "GET", "/v3/tags", ""); res.StatusCode != 403 || !strings.Contains(text, `"code":1016`) {
		t.Errorf("got %d: %s", res.StatusCode, text)
	}
	f.call(t, "POST", "/_simulator/panel", `{"do":"restore"}`)
	if res, _ := f.call(t, "GET", "/v3/tags", ""); res.StatusCode != 200 {
		t.Errorf("restored: got %d", res.StatusCode)
	}
}

// TestPlan: faults come and go by the clock.
func TestPlan(t *testing.T) {
	f := start(t, Options{})
	f.call(t, "POST", "/_simulator/plan", `[{"after_seconds":60,"for_seconds":30,"faults":{"server_error":1}},{"after_seconds":90,"for_seconds":1,"faults":{"unavailable":1}}]`)
	var got []int
	for range 5 {
		res, _ := f.call(t, "GET", "/v3/tags", "")
		got = append(got, res.StatusCode)
		f.now = f.now.Add(30 * time.Second)
	}
	if d := cmp.Diff(got, []int{200, 200, 500, 503, 200}); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
}

// TestPlanOfContacts: a full plan takes nobody new, and updates go on.
func TestPlanOfContacts(t *testing.T) {
	f := start(t, Options{Faults: Faults{ContactsMax: 1}})
	f.create(t, "jo@example.com", "", 202)
	if text := f.create(t, "al@example.com", "", 400); !strings.Contains(text, `"code":1027`) {
		t.Errorf("got %s", text)
	}
}

// TestDropRate: a part of the creations is accepted and lost.
func TestDropRate(t *testing.T) {
	f := start(t, Options{Unlimited: true, Faults: Faults{DropRate: 0.5}})
	for i := range 200 {
		f.create(t, fmt.Sprintf("p%d@example.com", i), "", 202)
	}
	if n := len(f.Contacts()); n < 60 || n > 140 {
		t.Errorf("got %d of 200 contacts, want about half", n)
	}
}

// TestBatch: new contacts come through the queue, those on the list stay as they are, and it has limits of its own.
func TestBatch(t *testing.T) {
	f := start(t, Options{CreateDelay: time.Minute})
	if err := f.Subscribe("jo@example.com", "Jo", "C"); err != nil {
		t.Fatal(err)
	}
	send := func(body string) int {
		res, _ := f.call(t, "POST", "/v3/contacts/batch", body)
		return res.StatusCode
	}
	field := f.field(t, "order_id")
	two := `{"campaignId":"C","contacts":[{"email":"jo@example.com","name":"New"},{"email":"al@example.com","name":"Al","customFieldValues":[{"customFieldId":"` + field + `","value":["7"]}]},{"email":"none"}]}`
	if got := send(two); got != 202 {
		t.Fatalf("got %d", got)
	}
	if got := send(two); got != 429 {
		t.Errorf("a second one in the same second: got %d, want 429", got)
	}
	f.now = f.now.Add(time.Minute)
	var names []string
	for _, c := range f.Contacts() {
		names = append(names, c.Name+" "+strings.Join(c.Fields["order_id"], ""))
	}
	if d := cmp.Diff(names, []string{"Jo ", "Al 7"}); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
	if got := send(`{"campaignId":"Q","contacts":[{"email":"x@example.com"}]}`); got != 400 {
		t.Errorf("no such list: got %d", got)
	}
	refused := 0
	for range batchesWindowMax {
		f.now = f.now.Add(2 * time.Second)
		if send(`{"campaignId":"C","contacts":[]}`) == 429 {
			refused++
		}
	}
	if got := f.Stats(); refused != 3 || got.MaxBatchesPerWindow != batchesWindowMax+3 || got.MaxBatchesPerSecond != 2 {
		t.Errorf("%d were refused, want 3 of the window: %+v", refused, got)
	}
}

// TestTransactional: sent at once, to anybody, listed by time; an account without it is told so.
func TestTransactional(t *testing.T) {
	f := start(t, Options{})
	id := f.AddTemplate("Receipt", "<p>x</p>", "")
	mail := func(parts string) (int, string) {
		res, text := f.call(t, "POST", "/v3/transactional-emails", `{"fromField":{"fromFieldId":"F1"},"recipients":{"to":{"email":"jo@example.com"}},`+parts+`}`)
		return res.StatusCode, text
	}
	for parts, want := range map[string]int{
		`"contentType":"direct","subject":"Hi there","content":{"plain":"x"}`: 201,
		`"contentType":"template","template":{"templateId":"` + id + `"}`:     201,
		`"contentType":"template","template":{"templateId":"zz"}`:             400,
		`"contentType":"direct","subject":"Hi there"`:                         400,
		`"contentType":"other"`: 400,
		`"contentType":"direct","subject":"Hi there","content":{"plain":"x"},"tag":{"tagId":"none"}`:   400,
		`"contentType":"direct","subject":"","content":{"plain":"x"}`:                                  400,
		`"contentType":"direct","subject":"Hi","content":{"plain":"x"},"replyTo":{"fromFieldId":"F1"}`: 201,
	} {
		if got, text := mail(parts); got != want {
			t.Errorf("%s: got %d, want %d: %s", parts, got, want, text)
		}
	}
	f.now = f.now.Add(time.Hour)
	mail(`"contentType":"direct","subject":"Later","content":{"plain":"x"}`)
	_, text := f.call(t, "GET", "/v3/transactional-emails?query%5BsentOn%5D%5Bfrom%5D=2026-11-02T10%3A30%3A00%2B0000", "")
	if d := cmp.Diff(rows(t, text, "subject"), []string{"Later"}); d != "" {
		t.Errorf("got - want:\n%s", d)
	}
	one := rows(t, text, "transactionalEmailId")
	if res, text := f.call(t, "GET", "/v3/transactional-emails/"+one[0], ""); res.StatusCode != 200 || !strings.Contains(text, `"sentOn"`) {
		t.Errorf("got %d: %s", res.StatusCode, text)
	}
	for _, path := range []string{"/v3/transactional-emails", "/v3/transactional-emails/templates"} {
		if res, text := start(t, Options{WithoutTransactional: true}).call(t, "GET", path, ""); res.StatusCode != 403 || !strings.Contains(text, "1023") {
			t.Errorf("%s: got %d: %s", path, res.StatusCode, text)
		}
	}
}

// TestConditionAfterAnEvent: yes where the status comes in its time, no where it does not, and neither once the workflow
// is off.
func TestConditionAfterAnEvent(t *testing.T) {
	f := start(t, Options{})
	f.AddWorkflow(Workflow{Name: "paid in time?", AfterEvent: "order_placed", Status: "PAID", WithinSeconds: 3600, Many: true})
	f.DefineEvent("order_placed")
	id := f.place(t, "jo@example.com")
	contact := f.Contacts()[0].ID
	enter := func() {
		if res, text := f.call(t, "POST", "/v3/custom-events/trigger", `{"name":"order_placed","contactId":"`+contact+`","attributes":[]}`); res.StatusCode != 201 {
			t.Fatalf("got %d: %s", res.StatusCode, text)
		}
	}
	runs := func() []string {
		out := []string{}
		for _, r := range f.WorkflowRuns() {
			out = append(out, fmt.Sprint(r.To, " ", r.NotMet))
		}
		return out
	}
	enter()
	f.now = f.now.Add(2 * time.Hour) // not in its time
	if err := f.SetStatus(id, "PAID", "PAID"); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(runs(), []string{" true"}); d != "" {
		t.Fatalf("too late, got - want:\n%s", d)
	}
	if err := f.SetStatus(id, "PENDING", "PENDING"); err != nil {
		t.Fatal(err)
	}
	enter()
	if err := f.SetStatus(id, "PAID", "PAID"); err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(2 * time.Hour)
	want := []string{" true", "PAID false"}
	if d := cmp.Diff(runs(), want); d != "" {
		t.Errorf("in time, got - want:\n%s", d)
	}
	_, text := f.call(t, "GET", "/v3/workflow", "")
	path := "/v3/workflow/" + rows(t, text, "workflowId")[0]
	if res, _ := f.call(t, "POST", path, `{"status":"inactive"}`); res.StatusCode != 200 {
		t.Errorf("switching off: got %d", res.StatusCode)
	}
	enter()
	if err := f.SetStatus(id, "REFUNDED", "REFUNDED"); err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(2 * time.Hour)
	if d := cmp.Diff(runs(), want); d != "" {
		t.Errorf("switched off, got - want:\n%s", d)
	}
	if res, _ := f.call(t, "POST", path, `{"status":"often"}`); res.StatusCode != 400 {
		t.Errorf("no such state: got %d", res.StatusCode)
	}
	if _, text := f.call(t, "GET", path, ""); !strings.Contains(text, `"completedCount":2`) {
		t.Errorf("got %s", text)
	}
}

// TestOnceForAContact: by default a condition is met, or not met, once for a contact; then the workflow begins no more.
func TestOnceForAContact(t *testing.T) {
	f := start(t, Options{})
	f.AddWorkflow(Workflow{Name: "paid in time?", AfterEvent: "order_placed", Status: "PAID", WithinSeconds: 60})
	f.DefineEvent("order_placed")
	f.place(t, "jo@example.com")
	contact := f.Contacts()[0].ID
	for range 3 {
		f.call(t, "POST", "/v3/custom-events/trigger", `{"name":"order_placed","contactId":"`+contact+`","attributes":[]}`)
		f.now = f.now.Add(time.Hour)
		if n := len(f.WorkflowRuns()); n != 1 {
			t.Fatalf("got %d runs, want one", n)
		}
	}
}

// BenchmarkContactWrites is a contact's change as the sink makes it: look, read, write.
func BenchmarkContactWrites(b *testing.B) {
	s, err := New(Options{APIKey: key, Unlimited: true, Seed: 1, Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	const people = 20_000
	ids := make([]string, people)
	for i := range people {
		if err := s.Subscribe(fmt.Sprintf("p%d@example.com", i), "P", "C"); err != nil {
			b.Fatal(err)
		}
	}
	for i, c := range s.Contacts() {
		ids[i] = c.ID
	}
	h := s.Handler()
	n := 0
	for b.Loop() {
		i := n % people
		for _, r := range []struct{ method, path, body string }{
			{"GET", fmt.Sprintf("/v3/contacts?query%%5Bemail%%5D=p%d%%40example.com&additionalFlags=exactMatch&page=1&perPage=1000", i), ""},
			{"GET", "/v3/contacts/" + ids[i], ""},
			{"POST", "/v3/contacts/" + ids[i] + "/custom-fields", fmt.Sprintf(`{"customFieldValues":[{"customFieldId":"%s","value":["%d"]}]}`, s.fields[110].id, n)},
		} {
			req := httptest.NewRequest(r.method, r.path, strings.NewReader(r.body))
			req.Header.Set("X-Auth-Token", "api-key "+key)
			rec := httptest.NewRecorder()
			if h.ServeHTTP(rec, req); rec.Code != 200 {
				b.Fatal(rec.Code, rec.Body)
			}
		}
		n++
	}
	b.ReportMetric(float64(3*n)/b.Elapsed().Seconds(), "requests/s")
}
