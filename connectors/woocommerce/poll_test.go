package woocommerce

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/woocommerce"
)

// versions are the orders of some events, each with its newest version.
func versions(events []schemas.OrderEvent) map[string]time.Time {
	out := map[string]time.Time{}
	for _, e := range events {
		if e.ProviderTime.After(out[e.RootID]) {
			out[e.RootID] = e.ProviderTime
		}
	}
	return out
}

// TestPollWhileOrdersChange: orders that change while a window is read move to the end of the list and shift their
// neighbours. None is missed: what stays in the window is found in it, what leaves it is found in the next.
func TestPollWhileOrdersChange(t *testing.T) {
	for _, c := range []struct {
		name      string
		orders    int
		perSecond int // orders placed within one second
		touches   int // orders changed after each page
	}{
		{"spread over time", 350, 7, 30},
		{"many in each second", 400, 180, 25},
		{"all in one second, more than a question can exclude", 800, 800, 20},
		{"a crowd before others", 850, 650, 10},
		{"nothing changes", 700, 600, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShop(t, twin.Options{Seed: int64(c.orders)}, nil)
			random := rand.New(rand.NewPCG(1, uint64(c.orders)))
			from := s.clock.now()
			var all []string
			last := map[string]time.Time{}
			for i := range c.orders {
				if i > 0 && i%c.perSecond == 0 {
					s.clock.pass(time.Second)
				}
				id := s.place(t, "10.00")
				all, last[id] = append(all, id), s.clock.now()
			}
			s.clock.pass(2 * time.Minute)
			to := s.clock.now()
			var found []schemas.OrderEvent
			q, pages := connectors.Query{Feed: feedOrders, From: from, To: to}, 0
			for ; ; pages++ {
				p, err := s.Poll(t.Context(), q)
				must(t, err)
				if pages > 200 {
					t.Fatal("200 pages and no end")
				}
				for _, f := range p.Found {
					found = append(found, read(t, f.Delivery))
				}
				if p.Next == "" {
					break
				}
				q.Cursor = p.Next
				s.clock.pass(time.Second)
				for range c.touches {
					id := all[random.IntN(len(all))]
					must(t, s.twin.Touch(t.Context(), id))
					last[id] = s.clock.now()
				}
			}
			if least := c.orders / 100 / 2; c.touches > 0 && pages < least {
				t.Errorf("read %d pages, at least %d were to be read for anything to change in between", pages, least)
			}
			got := versions(found)
			for id, at := range last {
				if at.Before(to) && !got[id].Equal(at) {
					t.Errorf("order %s of %s: found %v in its window", id, at, got[id])
				}
			}
			s.clock.pass(time.Minute)
			maps.Copy(got, versions(s.list(t, feedOrders, to, s.clock.now())))
			if diff := cmp.Diff(got, last); diff != "" {
				t.Errorf("after the next window: -got +want:\n%s", diff)
			}
		})
	}
}

// TestPollZones: the window means the same instants wherever the shop's clock hangs, also where it was set back.
func TestPollZones(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for name, zone := range map[string]*time.Location{
		"UTC": time.UTC, "west": time.FixedZone("", -11*3600), "east": time.FixedZone("", 5*3600+1800), "the hour that comes twice": berlin,
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, twin.Options{Zone: zone}, nil)
			s.clock.at = time.Date(2026, 10, 24, 23, 30, 0, 0, time.UTC) // Berlin: twice 02:30 in the hours around 01:00 UTC
			placed := map[string]string{}
			for range 6 {
				placed[s.clock.now().Format(gmtForm)] = s.place(t, "10.00")
				s.clock.pass(30 * time.Minute)
			}
			at := func(text string) time.Time { v, _ := time.Parse(gmtForm, text); return v }
			got := s.list(t, feedOrders, at("2026-10-25T00:30:00"), at("2026-10-25T01:30:00"))
			var found []string
			for _, e := range got {
				found = append(found, e.RootID)
			}
			if want := []string{placed["2026-10-25T00:30:00"], placed["2026-10-25T01:00:00"]}; !slices.Equal(found, want) {
				t.Errorf("got %v, want %v of %v: the first second belongs to the window, the last does not", found, want, placed)
			}
			later := at("2026-10-25T01:30:00").Add(300 * time.Millisecond)
			if got := s.list(t, feedOrders, at("2026-10-25T01:30:00"), later); len(got) != 1 {
				t.Errorf("a window of less than a second: got %d", len(got))
			}
		})
	}
}

// TestPollTrash: what is in the trash is in no other list, and what was restored is not in it.
func TestPollTrash(t *testing.T) {
	s := newShop(t, twin.Options{}, nil)
	from := s.clock.now()
	kept, gone, back := s.place(t, "1.00"), s.place(t, "2.00"), s.place(t, "3.00")
	s.clock.pass(time.Second)
	must(t, s.twin.Trash(t.Context(), gone), s.twin.Trash(t.Context(), back), s.twin.Restore(t.Context(), back))
	s.clock.pass(time.Minute)
	roots := func(events []schemas.OrderEvent) (out []string) {
		for _, e := range events {
			out = append(out, fmt.Sprint(e.RootID, e.Deleted, e.EventType))
		}
		slices.Sort(out)
		return out
	}
	want := []string{kept + "false" + topicUpdated, back + "false" + topicUpdated}
	slices.Sort(want)
	if got := roots(s.list(t, feedOrders, from, s.clock.now())); !slices.Equal(got, want) {
		t.Errorf("orders: got %v, want %v", got, want)
	}
	if got, want := roots(s.list(t, feedTrash, from, s.clock.now())), []string{gone + "true" + topicDeleted}; !slices.Equal(got, want) {
		t.Errorf("trash: got %v, want %v", got, want)
	}
}

// shelf is a store that answers questions for orders as a test wants; asked are the queries.
func shelf(t *testing.T, answer func(w http.ResponseWriter, q url.Values)) (s *source, asked *[]url.Values) {
	t.Helper()
	asked = new([]url.Values)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.Query())
		answer(w, r.URL.Query())
	}))
	t.Cleanup(server.Close)
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: true, BodyBytesMax: 20_000})
	must(t, err)
	s = receiver(t, webhookSecret)
	s.cfg.StoreURL, s.env.HTTP = server.URL, client
	s.api = newAPI(s.cfg, s.env, false)
	return s, asked
}

var window = connectors.Query{Feed: feedOrders, From: testTime, To: testTime.Add(time.Hour)}

// TestPollQuestion: the question avoids the traps: UTC without a zone in the text, no page but the first, both ends.
func TestPollQuestion(t *testing.T) {
	s, asked := shelf(t, func(w http.ResponseWriter, _ url.Values) { fmt.Fprint(w, "[]") })
	q := window
	q.Cursor = `{"s":` + strconv.FormatInt(testTime.Unix()+5, 10) + `,"x":[7,9007199254740993]}`
	for _, q := range []connectors.Query{window, q, {Feed: feedTrash, From: testTime, To: testTime.Add(time.Millisecond)}} {
		_, err := s.Poll(t.Context(), q)
		must(t, err)
	}
	base := url.Values{
		"orderby": {"modified"}, "order": {"asc"}, "page": {"1"}, "per_page": {"100"}, "dates_are_gmt": {"true"},
		"modified_after": {"2026-03-01T08:59:59"}, "modified_before": {"2026-03-01T10:00:00"},
	}
	on := maps.Clone(base)
	on["modified_after"], on["exclude"] = []string{"2026-03-01T09:00:04"}, []string{"7,9007199254740993"}
	trash := maps.Clone(base)
	trash["status"], trash["modified_before"] = []string{"trash"}, []string{"2026-03-01T09:00:01"}
	if diff := cmp.Diff(*asked, []url.Values{base, on, trash}); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
}

// TestPollAnswers: rows that are not understood are passed on, pages too large are asked for in smaller ones, and
// answers that lead nowhere are an error and not the end.
func TestPollAnswers(t *testing.T) {
	list := func(n int, one func(i int) string) string {
		rows := make([]string, n)
		for i := range rows {
			rows[i] = one(i)
		}
		return "[" + strings.Join(rows, ",") + "]"
	}
	const at = `"2026-03-01T09:00:05"`
	row := func(i int) string { return order("id", strconv.Itoa(i+1), "date_modified_gmt", at) }
	perPage := func(q url.Values) int { n, _ := strconv.Atoi(q.Get("per_page")); return n }
	for _, c := range []struct {
		name   string
		answer func(w http.ResponseWriter, q url.Values)
		found  int
		more   bool
		err    string
	}{
		{"nothing", func(w http.ResponseWriter, _ url.Values) { fmt.Fprint(w, "[]") }, 0, false, ""},
		{"rows that are no orders", func(w http.ResponseWriter, _ url.Values) { fmt.Fprint(w, `[{"id":7},null,"x",`+row(1)+`]`) }, 4, false, ""},
		{"too large", func(w http.ResponseWriter, q url.Values) {
			fmt.Fprint(w, list(perPage(q), func(i int) string {
				return order("id", strconv.Itoa(i+1), "date_modified_gmt", at, "customer_note", `"`+strings.Repeat("x", 1000)+`"`)
			}))
		}, 4, true, ""},
		{"too large whatever is asked", func(w http.ResponseWriter, _ url.Values) { fmt.Fprint(w, strings.Repeat(" ", 30_000)+"[]") }, 0, false, "larger than allowed"},
		{"some hidden, more to come", func(w http.ResponseWriter, _ url.Values) {
			w.Header().Set("X-WP-Total", "150")
			fmt.Fprint(w, list(40, row))
		}, 40, true, ""},
		{"a full page that leads nowhere", func(w http.ResponseWriter, _ url.Values) { fmt.Fprint(w, list(100, func(int) string { return `{}` })) }, 0, false, "leads on"},
		{"an object", func(w http.ResponseWriter, _ url.Values) { fmt.Fprint(w, `{"1":{}}`) }, 0, false, "not understood"},
		{"text before the list", func(w http.ResponseWriter, _ url.Values) { fmt.Fprint(w, `<b>Warning</b>[]`) }, 0, false, "not understood"},
		{"an old store", func(w http.ResponseWriter, _ url.Values) {
			w.WriteHeader(400)
			fmt.Fprint(w, `{"code":"rest_invalid_param","message":"Invalid parameter(s): orderby"}`)
		}, 0, false, "5.8 or newer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := shelf(t, c.answer)
			p, err := s.Poll(t.Context(), window)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %d rows, %v, want an error with %q", len(p.Found), err, c.err)
				}
				return
			}
			if err != nil || len(p.Found) != c.found || (p.Next != "") != c.more {
				t.Errorf("got %d rows, next %q, %v; want %d, more %v", len(p.Found), p.Next, err, c.found, c.more)
			}
			if watch := s.Watch(); strings.Contains(c.name, "hidden") != (len(watch) == 1 && strings.Contains(watch[0].Message, "hides 60 orders")) {
				t.Errorf("got %v to watch", watch)
			}
		})
	}
	s, asked := shelf(t, func(w http.ResponseWriter, q url.Values) {
		fmt.Fprint(w, list(perPage(q), func(i int) string {
			return order("id", strconv.Itoa(len(q.Get("exclude"))+i+1), "date_modified_gmt", at, "customer_note", `"`+strings.Repeat("x", 1000)+`"`)
		}))
	})
	q := connectors.Query{Feed: feedOrders, To: testTime.Add(time.Hour)}
	for range 2 {
		p, err := s.Poll(t.Context(), q)
		must(t, err)
		q.Cursor = p.Next
	}
	var sizes []string
	for _, a := range *asked {
		sizes = append(sizes, a.Get("per_page")+" after "+a.Get("modified_after"))
	}
	if want := []string{"100 after 1970-01-01T00:00:00", "20 after 1970-01-01T00:00:00", "4 after 1970-01-01T00:00:00", "4 after 2026-03-01T09:00:04"}; !slices.Equal(sizes, want) {
		t.Errorf("from the beginning: asked for %q, want what was too large not to be asked again: %q", sizes, want)
	}
	for _, q := range []connectors.Query{{Feed: "products"}, {Feed: feedOrders, Cursor: "x"}, {Feed: feedOrders, Cursor: `{"o":-1}`}, {Feed: feedOrders, Cursor: `{"n":3}`}} {
		if _, err := receiver(t).Poll(t.Context(), q); err == nil {
			t.Errorf("%+v: got no error", q)
		}
	}
}

// TestPollKeepsBytes: a row's body is its own part of the answer, to the byte.
func TestPollKeepsBytes(t *testing.T) {
	const row = `{ "id":727, "status":"pending",  "date_modified_gmt":"2026-03-01T09:00:00","note":"\u00e9\/" }`
	s, _ := shelf(t, func(w http.ResponseWriter, _ url.Values) { fmt.Fprint(w, " [ "+row+" ] ") })
	p, err := s.Poll(t.Context(), window)
	must(t, err)
	if len(p.Found) != 1 || p.Next != "" || string(p.Found[0].Body) != row || p.Found[0].Origin != schemas.OriginPoll || !json.Valid(p.Found[0].Body) {
		t.Errorf("got %s, want %s", p.Found[0].Body, row)
	}
}

// TestPollWatermark: only the orders of the last second have to be left out of the next question.
func TestPollWatermark(t *testing.T) {
	s, _ := shelf(t, func(w http.ResponseWriter, _ url.Values) {
		w.Header().Set("X-WP-Total", "9")
		var rows []string
		for i, at := range []string{"00", "00", "03", "05", "05"} {
			rows = append(rows, order("id", strconv.Itoa(i+1), "date_modified_gmt", `"2026-03-01T09:00:`+at+`"`))
		}
		fmt.Fprint(w, "["+strings.Join(rows, ",")+"]")
	})
	p, err := s.Poll(t.Context(), window)
	must(t, err)
	if want := fmt.Sprintf(`{"s":%d,"x":[4,5]}`, testTime.Unix()+5); p.Next != want {
		t.Errorf("got cursor %s, want %s", p.Next, want)
	}
}
