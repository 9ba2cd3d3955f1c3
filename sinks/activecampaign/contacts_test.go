package activecampaign_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/activecampaign"
)

const adasAddress = "ada@shop.example"

func doTo(t *testing.T, s *twin.Server, act twin.Act) {
	t.Helper()
	if err := s.Do(act); err != nil {
		t.Fatal(err)
	}
}

func person(t *testing.T, s *twin.Server, email string) twin.Contact {
	t.Helper()
	c, ok := s.Contact(email)
	if !ok {
		t.Fatalf("nobody has the address %s", email)
	}
	return c
}

// The least that a contact costs, once fields and tags of the account are known.
func TestRequestsOfAContact(t *testing.T) {
	_, w := open(t, twin.Options{})
	warm := ada()
	warm.Contact.Email = "warm@shop.example"
	write(t, w, warm)
	plain := func(c *schemas.Command, tags ...string) { c.Contact.Tags, c.Contact.NoTags = tags, nil }
	for _, step := range []struct {
		name   string
		change func(*schemas.Command)
		want   int
	}{
		{"new, with two tags", func(c *schemas.Command) { plain(c, "paid", "paypal-integration") }, 3},
		{"a field changes", func(c *schemas.Command) {
			plain(c, "paid", "paypal-integration")
			c.Contact.Fields = map[string]string{"ORDER_ID": "5O2"}
		}, 1},
		{"nothing changes", func(c *schemas.Command) { plain(c, "PAID", "paypal-integration ") }, 1},
		{"a tag that it never had is not to be there: its tags are read", func(c *schemas.Command) { plain(c, "paid"); c.Contact.NoTags = []string{"unpaid"} }, 1},
		{"a tag goes, by its link", func(c *schemas.Command) { plain(c); c.Contact.NoTags = []string{"paid"} }, 2},
		{"it stays away", func(c *schemas.Command) { plain(c); c.Contact.NoTags = []string{"paid"} }, 1},
		{"it comes back", func(c *schemas.Command) { plain(c, "paid") }, 2},
		{"sent again on purpose: nothing is believed", func(c *schemas.Command) {
			plain(c, "paid", "paypal-integration")
			c.Origin = schemas.OriginReplay
		}, 3},
	} {
		cmd := ada()
		step.change(&cmd)
		if got := write(t, w, cmd); len(got.Exchanges) != step.want {
			t.Errorf("%s: got %d requests, want %d", step.name, len(got.Exchanges), step.want)
		}
	}
}

// Where another process may have written in between, which a gap in the versions shows, nothing is believed.
func TestVersionsThatOthersWrote(t *testing.T) {
	s, w := open(t, twin.Options{})
	_, other := reopen(t, s)
	at := func(version int64, tags, noTags []string) schemas.Command {
		cmd := ada()
		cmd.Version, cmd.Contact.Tags, cmd.Contact.NoTags = version, tags, noTags
		return cmd
	}
	write(t, w, at(1, []string{"paid"}, nil))
	write(t, other, at(2, nil, []string{"paid"}))
	write(t, w, at(3, []string{"paid"}, nil))
	if got := person(t, s, adasAddress).Tags; len(got) != 1 {
		t.Errorf("got tags %v, want it put on again", got)
	}
	if got := write(t, w, at(4, []string{"paid"}, nil)); len(got.Exchanges) != 1 {
		t.Errorf("the next version took %d requests, want 1", len(got.Exchanges))
	}
	// What an import wrote is not believed to be absent.
	write(t, w, at(5, nil, []string{"paid"}))
	list := many(10)
	list[0] = at(6, []string{"paid"}, nil)
	list[0].Origin = schemas.OriginBackfill
	if k := kinds(w.Write(t.Context(), list)); k[sinks.Delivered] != 10 {
		t.Fatalf("got %v", k)
	}
	write(t, w, at(7, nil, []string{"paid"}))
	if got := person(t, s, adasAddress).Tags; len(got) != 0 {
		t.Errorf("got tags %v, want none", got)
	}
}

// An existing contact with many tags is read once, in place of a request for each.
func TestTagsOfAnExistingContactAreRead(t *testing.T) {
	now := time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)
	s, w := openAt(t, twin.Options{}, func() time.Time { return now })
	cmd := ada()
	cmd.Contact.Tags, cmd.Contact.NoTags = []string{"a", "b", "c", "d", "e"}, nil
	write(t, w, cmd)
	now = now.Add(2 * time.Hour) // what was known of the contact is too old
	doTo(t, s, twin.Act{Do: "untag", Email: adasAddress, Name: "c"})
	write(t, w, cmd) // reads fields and tags of the account anew
	if got := person(t, s, adasAddress).Tags; len(got) != 5 {
		t.Errorf("got tags %v, want the one that was taken away again", got)
	}
	now = now.Add(40 * time.Minute)
	if got := write(t, w, cmd); len(got.Exchanges) != 2 {
		t.Errorf("got %d requests, want one write and one reading", len(got.Exchanges))
	}
}

// What people do to a contact in the CRM between two of our writes.
func TestWhatPeopleDoToAContact(t *testing.T) {
	for name, c := range map[string]struct {
		acts []twin.Act
		want func(t *testing.T, s *twin.Server)
	}{
		"deleted: made again, with all that is meant": {
			[]twin.Act{{Do: "delete", Email: adasAddress}},
			func(t *testing.T, s *twin.Server) {
				got := person(t, s, adasAddress)
				if len(got.Tags) != 2 || got.Fields["ORDER_ID"] != "5O1" || len(got.Lists) > 0 {
					t.Errorf("got %+v", got)
				}
			},
		},
		"merged into another: that one is left alone": {
			[]twin.Act{{Do: "merge", Email: adasAddress, Into: "bob@shop.example"}},
			func(t *testing.T, s *twin.Server) {
				if got := person(t, s, adasAddress); len(got.Tags) != 2 {
					t.Errorf("got %+v", got)
				}
				if got := person(t, s, "bob@shop.example"); len(got.Versions) != 2 { // made, and merged
					t.Errorf("the other was written: %+v", got)
				}
			},
		},
		"another address: the contact of the old one is made again": {
			[]twin.Act{{Do: "rename", Email: adasAddress, Into: "countess@shop.example"}},
			func(t *testing.T, s *twin.Server) {
				if got := person(t, s, "countess@shop.example"); len(got.Versions) != 1 {
					t.Errorf("the renamed contact was written: %+v", got)
				}
				person(t, s, adasAddress)
			},
		},
		"unsubscribed: written, and not brought back": {
			[]twin.Act{{Do: "unsubscribe", Email: adasAddress}},
			func(t *testing.T, s *twin.Server) {
				got := person(t, s, adasAddress)
				if d := cmp.Diff(got.Lists, map[string]int{"Newsletter": 2}); d != "" || got.Fields["ORDER_ID"] != "5O1" {
					t.Errorf("got %+v: %s", got, d)
				}
			},
		},
		"bounced: the same": {
			[]twin.Act{{Do: "bounce", Email: adasAddress}},
			func(t *testing.T, s *twin.Server) {
				if d := cmp.Diff(person(t, s, adasAddress).Lists, map[string]int{"Newsletter": 3}); d != "" {
					t.Error(d)
				}
			},
		},
		"a value of another field stays": {
			[]twin.Act{{Do: "set", Email: adasAddress, Name: "CITY", Value: "London"}},
			func(t *testing.T, s *twin.Server) {
				if got := person(t, s, adasAddress).Fields["CITY"]; got != "London" {
					t.Errorf("got %q", got)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := open(t, twin.Options{})
			s.Subscribe("bob@shop.example", "Newsletter", 1)
			write(t, w, ada())
			if !strings.HasPrefix(name, "deleted") && !strings.HasPrefix(name, "merged") {
				s.Subscribe(adasAddress, "Newsletter", 1)
			}
			for _, a := range c.acts {
				doTo(t, s, a)
			}
			write(t, w, ada())
			c.want(t, s)
		})
	}
}

// A tag that a person took away and put there again has another link than the one that is remembered.
func TestTagWithAnotherLink(t *testing.T) {
	s, w := open(t, twin.Options{})
	write(t, w, ada())
	doTo(t, s, twin.Act{Do: "untag", Email: adasAddress, Name: "paid"})
	doTo(t, s, twin.Act{Do: "tag", Email: adasAddress, Name: "paid"})
	cmd := ada()
	cmd.Contact.Tags, cmd.Contact.NoTags = nil, []string{"Paid"}
	write(t, w, cmd)
	if got := person(t, s, adasAddress).Tags; len(got) != 1 {
		t.Errorf("got tags %v, want paid gone", got)
	}
	doTo(t, s, twin.Act{Do: "tag", Email: adasAddress, Name: "paid"})
	cmd.Origin = schemas.OriginReplay
	write(t, w, cmd)
	if got := person(t, s, adasAddress).Tags; len(got) != 1 {
		t.Errorf("sent again on purpose: got tags %v, want paid gone", got)
	}
}

// A tag that was deleted in the account is made again, and found in any case of letters behind the first page.
func TestTagsOfTheAccount(t *testing.T) {
	s, w := open(t, twin.Options{})
	s.Subscribe("bob@shop.example", "Newsletter", 1)
	for n := range 130 {
		doTo(t, s, twin.Act{Do: "tag", Email: "bob@shop.example", Name: fmt.Sprintf("Tag %d", n)})
	}
	cmd := ada()
	cmd.Contact.Tags = []string{"tag 129"}
	write(t, w, cmd)
	if d := cmp.Diff(person(t, s, adasAddress).Tags, []string{"Tag 129"}); d != "" {
		t.Error(d)
	}
	control(t, s, http.MethodDelete, "/api/3/tags/130")
	cmd.Contact.Email = "carl@shop.example"
	if o := w.Write(t.Context(), []schemas.Command{cmd})[0]; o.Kind != sinks.Retryable || o.Account {
		t.Errorf("the first try: got %d: %v", o.Kind, o.Err)
	}
	write(t, w, cmd)
	if d := cmp.Diff(person(t, s, "carl@shop.example").Tags, []string{"tag 129"}); d != "" {
		t.Error(d)
	}
}

// What the account refuses is refused by name, with what to do, and concerns this contact only.
func TestRefusedByName(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, c := range map[string]struct {
		change func(*schemas.Command)
		cause  string
	}{
		"value too long":     {func(c *schemas.Command) { c.Contact.Fields = map[string]string{"ORDER_ID": "1", "CITY": long} }, "field CITY: "},
		"tag too long":       {func(c *schemas.Command) { c.Contact.Tags = []string{long} }, `tag "xxx`},
		"no such option":     {func(c *schemas.Command) { c.Contact.Fields = map[string]string{"INTERESTS": "Cars"} }, "it has Books, Music, Tea"},
		"malformed address":  {func(c *schemas.Command) { c.Contact.Email = "ada@" }, "422"},
		"field not there":    {func(c *schemas.Command) { c.Contact.Fields = map[string]string{"GONE": "1"} }, "no such field in activecampaign: GONE"},
		"amount with a sign": {func(c *schemas.Command) { c.Contact.Fields = map[string]string{"ORDER_AMOUNT": "10.00 €"} }, "ORDER_AMOUNT takes a number"},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := open(t, twin.Options{ValueCharsMax: 255, TagCharsMax: 100})
			cmd := ada()
			c.change(&cmd)
			refusedWith(t, w, cmd, c.cause)
			if n := len(s.Enrolments()); n > 0 {
				t.Errorf("got %d starts", n)
			}
		})
	}
}

// A field that is deleted in the account: the first write looks again, the next names it.
func TestDeletedFieldIsNamed(t *testing.T) {
	now := time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)
	s, w := openAt(t, twin.Options{}, func() time.Time { return now })
	cmd := ada()
	cmd.Contact.Fields = map[string]string{"ORDER_ID": "5O1"}
	write(t, w, cmd)
	control(t, s, http.MethodDelete, "/api/3/fields/65")
	now = now.Add(2 * time.Minute)
	if o := w.Write(t.Context(), []schemas.Command{cmd})[0]; o.Kind != sinks.Retryable || o.Account {
		t.Errorf("the first try: got %d: %v", o.Kind, o.Err)
	}
	refusedWith(t, w, cmd, "no such field in activecampaign: ORDER_ID")
}

// An option that is added to a field in the account is known within the hour.
func TestFieldsAreReadAgain(t *testing.T) {
	now := time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)
	s, w := openAt(t, twin.Options{}, func() time.Time { return now })
	cmd := ada()
	cmd.Contact.Fields = map[string]string{"INTERESTS": "Cars"}
	refusedWith(t, w, cmd, "no option like")
	req := httptest.NewRequest(http.MethodPost, "/api/3/fieldOption/bulk", strings.NewReader(`{"fieldOptions":[{"field":78,"value":"Cars"}]}`))
	req.Header.Set("Api-Token", apiKey)
	rec := httptest.NewRecorder()
	if s.Handler().ServeHTTP(rec, req); rec.Code != http.StatusCreated {
		t.Fatalf("got %d: %s", rec.Code, rec.Body)
	}
	now = now.Add(time.Hour)
	write(t, w, cmd)
	// While the account cannot be read, what is known serves on.
	now = now.Add(time.Hour)
	s.SetFaults(twin.Faults{Reject: []string{"x"}, Schedule: []twin.Span{{FromMillis: 0, ToMillis: 1, Faults: twin.Faults{ServerError: 1}}}})
	if o := w.Write(t.Context(), []schemas.Command{cmd})[0]; o.Kind != sinks.Retryable {
		t.Errorf("got %d: %v", o.Kind, o.Err)
	}
	now = now.Add(time.Second)
	write(t, w, cmd)
}

// Each type of field has its form.
func TestFormsOfFields(t *testing.T) {
	s, w := open(t, twin.Options{})
	for _, kind := range []string{"dropdown", "radio", "listbox"} {
		body := fmt.Sprintf(`{"field":{"title":"A %s","type":"%s","perstag":"%s"}}`, kind, kind, strings.ToUpper(kind))
		req := httptest.NewRequest(http.MethodPost, "/api/3/fields", strings.NewReader(body))
		req.Header.Set("Api-Token", apiKey)
		s.Handler().ServeHTTP(httptest.NewRecorder(), req)
	}
	for id := 138; id <= 140; id++ {
		body := fmt.Sprintf(`{"fieldOptions":[{"field":%d,"value":"Red"},{"field":%d,"value":"Dark blue"},{"field":%d,"value":"Red, white"}]}`, id, id, id)
		req := httptest.NewRequest(http.MethodPost, "/api/3/fieldOption/bulk", strings.NewReader(body))
		req.Header.Set("Api-Token", apiKey)
		s.Handler().ServeHTTP(httptest.NewRecorder(), req)
	}
	for _, c := range []struct{ field, value, want string }{
		{"DROPDOWN", "dark BLUE", "Dark blue"},
		{"DROPDOWN", "||Red||", "Red"},
		{"RADIO", "red", "Red"},
		{"LISTBOX", "red", "||Red||"},
		{"LISTBOX", "Red, white", "||Red, white||"}, // one option with a comma in it
		{"LISTBOX", "red,dark blue", "||Red||Dark blue||"},
		{"LISTBOX", "||Red||Dark blue||", "||Red||Dark blue||"},
		{"ORDER_AMOUNT", "-1234.50", "-1234.50"},
		{"NEXT_BILLING", "2026-02-28T23:30:00-05:00", "2026-02-28"},
		{"ORDER_DATE", "2026-01-31T10:00:00+02:00", "2026-01-31T10:00:00+02:00"},
		{"ORDER_DATE", "2026-01-31", "2026-01-31T00:00:00+00:00"},
		{"CUSTOM_ID", "line 1\nline 2 \"ü\"", "line 1\nline 2 \"ü\""},
		{"PAYPAL_PAYER_ID", "QYR5Z8XDVJNXQ", "QYR5Z8XDVJNXQ"},
	} {
		cmd := ada()
		cmd.Contact.Fields = map[string]string{c.field: c.value}
		write(t, w, cmd)
		if got := person(t, s, adasAddress).Fields[c.field]; got != c.want {
			t.Errorf("%s of %q: got %q, want %q", c.field, c.value, got, c.want)
		}
		got, o := w.(sinks.Verifier).Verify(t.Context(), schemas.Contact{Email: adasAddress, Fields: map[string]string{c.field: c.value}})
		if o.Kind != sinks.Delivered || len(got.Differences) > 0 {
			t.Errorf("%s of %q: what was written is other than meant: %+v, %v", c.field, c.value, got, o.Err)
		}
	}
}

// The account as a whole: nothing is lost, and what is wrong is said.
func TestAccountThatIsClosed(t *testing.T) {
	now := time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)
	s, w := openAt(t, twin.Options{}, func() time.Time { return now })
	for name, c := range map[string]struct {
		state twin.State
		cause string
		wait  time.Duration
	}{
		"suspended":      {twin.State{Suspended: true}, "suspended", 0},
		"in maintenance": {twin.State{MaintenanceUntil: now.Add(30 * time.Second)}, "503", 30 * time.Second},
		"no permission":  {twin.State{Denied: []string{"contacts"}}, "permission to view contacts", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s.SetState(c.state)
			defer s.SetState(twin.State{})
			o := w.Write(t.Context(), []schemas.Command{ada()})[0]
			if o.Kind != sinks.Retryable || !o.Account || o.RetryAfter != c.wait || !strings.Contains(fmt.Sprint(o.Err), c.cause) {
				t.Errorf("got %d, account %v, after %s: %v", o.Kind, o.Account, o.RetryAfter, o.Err)
			}
		})
	}
	write(t, w, ada())
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	page := func(code int, media, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", media)
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		})
	}
	account := func(st twin.State) http.Handler {
		s := twin.New(twin.Options{Key: apiKey, EventKey: eventKey})
		s.SetState(st)
		return s.Handler()
	}
	for name, c := range map[string]struct {
		at          http.Handler
		field, says string
		bad         bool
	}{
		"a website":          {page(200, "text/html", "<html>Welcome</html>"), "url", "something other than ActiveCampaign's API", true},
		"not found":          {page(404, "text/html", "<html>"), "url", "404", true},
		"a redirect":         {page(301, "text/html", ""), "url", "301", true},
		"another service":    {page(200, "application/json", `{"ok":true}`), "url", "another service", true},
		"wrong key":          {twin.New(twin.Options{Key: "other"}).Handler(), "key", "403: Forbidden", true},
		"suspended":          {account(twin.State{Suspended: true}), "key", "suspended", true},
		"in maintenance":     {account(twin.State{MaintenanceUntil: time.Now().Add(time.Hour)}), "url", "503", true},
		"no contacts":        {account(twin.State{Denied: []string{"contacts"}}), "key", "may not use contacts", true},
		"no fields":          {account(twin.State{Denied: []string{"fields"}}), "key", "may not use custom fields", true},
		"no tags":            {account(twin.State{Denied: []string{"tags"}}), "key", "may not use tags", true},
		"no lists":           {account(twin.State{Denied: []string{"lists"}}), "key", "may not use lists", false},
		"no automations":     {account(twin.State{Denied: []string{"automations"}}), "key", "may not use automations", false},
		"no deep data":       {account(twin.State{Denied: []string{"deep_data"}}), "key", "may not use deep data", false},
		"no tracking":        {account(twin.State{Denied: []string{"tracking"}}), "event_tracking", "permission to view tracking", true},
		"everything allowed": {account(twin.State{}), "event_tracking", "event tracking is switched on", false},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(c.at)
			defer srv.Close()
			w := opened(t, srv.URL)
			for _, f := range w.Check(t.Context()) {
				if strings.Contains(f.Message, apiKey) {
					t.Errorf("the key shows: %s", f.Message)
				}
				if f.Field == c.field && strings.Contains(f.Message, c.says) {
					if f.Bad != c.bad || f.Bad && f.Hint == "" {
						t.Errorf("got %+v, want it bad: %v", f, c.bad)
					}
					return
				}
			}
			t.Errorf("got %+v, want %q about %s", w.Check(t.Context()), c.says, c.field)
		})
	}
}

// opened is a writer for an account at this address.
func opened(t *testing.T, base string) sinks.Writer {
	t.Helper()
	return openedAt(t, base, time.Now)
}

func openedAt(t *testing.T, base string, now func() time.Time) sinks.Writer {
	t.Helper()
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: true, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	w, err := activecampaign.Sink.Open(t.Context(), config(base), sinks.Env{Destination: "crm", Now: now, HTTP: client})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWhoseAccount(t *testing.T) {
	s, w := open(t, twin.Options{})
	got, o := w.(sinks.Accounter).Account(t.Context())
	if o.Kind != sinks.Delivered || got.ID == "" || got.Name == "" || got.User != "admin@1000.example" || len(got.Detail) == 0 {
		t.Errorf("got %+v, %d: %v", got, o.Kind, o.Err)
	}
	s.SetState(twin.State{Suspended: true})
	if got, o := w.(sinks.Accounter).Account(t.Context()); o.Kind != sinks.Retryable || !o.Account || got.ID != "" {
		t.Errorf("got %+v, %d: %v", got, o.Kind, o.Err)
	}
}

// An answer of which a byte comes now and then is given up at the time-out, and the contact is written again.
func TestAnswerThatDrips(t *testing.T) {
	s := twin.New(twin.Options{Key: apiKey, EventKey: eventKey})
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: true, Timeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	w, err := activecampaign.Sink.Open(t.Context(), config(srv.URL), sinks.Env{Destination: "crm", Now: time.Now, HTTP: client})
	if err != nil {
		t.Fatal(err)
	}
	cmd := ada()
	cmd.Contact.Tags, cmd.Contact.NoTags, cmd.Contact.Fields = nil, nil, nil
	s.SetFaults(twin.Faults{Drip: 1})
	began := time.Now()
	if o := w.Write(context.WithoutCancel(t.Context()), []schemas.Command{cmd})[0]; o.Kind != sinks.Retryable || time.Since(began) > 5*time.Second {
		t.Errorf("got %d after %s: %v", o.Kind, time.Since(began), o.Err)
	}
	s.SetFaults(twin.Faults{})
	write(t, w, cmd)
}
