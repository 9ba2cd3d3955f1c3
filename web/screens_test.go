package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/web/webtest"
)

// screens are the addresses of the page that are tested here, with what is seen when there is something to see.
var screens = []struct{ name, path, full, empty string }{
	{"overview", "/", "[data-testid=strip] strong", "[data-testid=empty]"},
	{"events", "/events", "[data-testid=events] tbody a", "[data-testid=empty]"},
	{"event", "/events/WH-00001?personal_data=true", "[data-testid=hops] li", ""},
	{"order", "/orders/live/shop/O-1", "[data-testid=hops] li", "[data-testid=empty]"},
	{"contact", "/contacts/live/a@example.com", "[data-testid=hops] li", "[data-testid=empty]"},
	{"issues", "/issues", "[data-testid=issues] tbody a", "[data-testid=empty]"},
	{"issue", "/issues/i0", "[data-testid=letters] tbody tr", "[data-testid=empty]"},
	{"jobs", "/issues?tab=jobs", "main tbody a", "[data-testid=empty]"},
	{"job", "/issues/jobs/j1", "[data-testid=job-watch] tbody tr", ""},
	{"reports", "/reports", "[data-testid=reports] tbody a", "[data-testid=empty]"},
	{"report", "/reports/revenue-days", "[data-testid=chart] canvas", "[data-testid=empty]"},
	{"users", "/settings/users", "[data-testid=users] tbody tr", "[data-testid=empty]"},
	{"tokens", "/settings/tokens", "[data-testid=tokens] tbody tr", "[data-testid=empty]"},
	{"audit", "/settings/audit", "[data-testid=audit] tbody button", "[data-testid=empty]"},
	{"export", "/settings/export", "main tbody tr", "[data-testid=empty]"},
	{"erase", "/settings/erase", "[data-testid=erasures] tbody tr", "[data-testid=empty]"},
	{"docs", "/docs/reports", "[data-testid=doc] h1", ""},
	{"notfound", "/nowhere", "[data-testid=empty]", ""},
}

func TestScreensLoad(t *testing.T) {
	for i, s := range screens {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t)
			srv.TellStory(30, "")
			v := view{theme: []string{"light", "dark"}[i%2]}
			b := open(t, srv, s.path, v)
			b.sees(s.full)
			b.settled()
			b.accessible()
			b.shot(s.name + "-" + v.theme)
			b.quiet()
		})
	}
}

func TestScreensInOtherColoursAndSizes(t *testing.T) {
	for i, s := range screens {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t)
			srv.TellStory(30, "")
			v := view{theme: []string{"dark", "light"}[i%2], phone: true, language: []string{"it", "fr"}[i%2]}
			b := open(t, srv, s.path, v)
			b.sees(s.full)
			b.settled()
			b.accessible()
			b.shot(s.name + "-phone-" + v.theme + "-" + v.language)
			if !eval[bool](b, "document.documentElement.scrollWidth <= innerWidth") {
				t.Errorf("the page is wider than a phone: %s", eval[string](b, "String(document.documentElement.scrollWidth)"))
			}
			b.quiet()
		})
	}
}

func TestEmptyScreensSayTheNextStep(t *testing.T) {
	for _, s := range screens {
		if s.empty == "" {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t)
			srv.TellStory(0, "")
			srv.Empty()
			b := open(t, srv, s.path, view{})
			b.sees(s.empty)
			b.settled()
			b.accessible()
			b.shot(s.name + "-empty")
			b.quiet()
		})
	}
}

func TestErrorsSayCauseRemedyAndRequest(t *testing.T) {
	for _, s := range screens {
		if s.name == "docs" || s.name == "notfound" {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t)
			srv.TellStory(3, "")
			srv.Fail(http.StatusBadGateway, "ClickHouse does not answer")
			b := open(t, srv, s.path, view{})
			b.sees("[data-testid=error]")
			for _, text := range []string{"it failed here", "ClickHouse does not answer", "try again", "REQ-1234"} {
				b.says(text)
			}
			b.accessible()
			b.shot(s.name + "-error")
			b.quiet()
		})
	}
}

func TestWhatIsShownStaysWhenTheNextRequestFails(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	srv.TellStory(3, "")
	b := open(t, srv, "/", view{})
	b.says("12,847")
	srv.Fail(http.StatusBadGateway, "ClickHouse does not answer")
	b.says("ClickHouse does not answer")
	b.says("12,847")
	b.says("What is shown is of")
	b.quiet()
}

// TestHostileTextIsText: nothing that a payload says runs, on any screen.
func TestHostileTextIsText(t *testing.T) {
	for _, s := range screens {
		if s.name == "docs" || s.name == "notfound" {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t)
			srv.TellStory(30, webtest.Hostile)
			b := open(t, srv, s.path, view{})
			b.sees(s.full)
			b.settled()
			if s.name != "overview" && s.name != "export" {
				b.until(`document.body.textContent.includes('<img src=x onerror="window.hacked=1">')`)
			}
			if got := eval[string](b, "String(window.hacked) + document.querySelectorAll('main img, main script').length"); got != "undefined0" {
				t.Errorf("a payload became markup: %s", got)
			}
			b.quiet()
		})
	}
}

func TestTenThousandRows(t *testing.T) {
	for _, s := range []struct{ path, rows string }{{"/events", "[data-testid=events]"}, {"/reports/revenue-days", "[data-testid=rows]"}} {
		t.Run(s.path, func(t *testing.T) {
			t.Parallel()
			srv := serve(t)
			srv.TellStory(10_000, "")
			b := open(t, srv, s.path, view{})
			b.sees(s.rows + " tbody a")
			if got := eval[string](b, "document.querySelector('"+s.rows+" table').getAttribute('aria-rowcount')"); got != "10001" {
				t.Errorf("a screen reader is told %s rows, want 10001", got)
			}
			b.until("document.querySelectorAll('" + s.rows + " tr').length < 200")
			b.do("document.querySelector('" + s.rows + "').scrollTop = 1e9")
			b.sees(s.rows + " [data-index='9999']")
			b.accessible()
			b.quiet()
		})
	}
}

func TestKeyboardAlone(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	srv.TellStory(300, "")
	b := open(t, srv, "/", view{})
	b.says("12,847")
	b.keys("g")
	b.keys("e")
	b.at("/events")
	b.sees("[data-testid=events] tbody a")
	b.keys("j")
	b.keys("j")
	b.until("document.activeElement.closest('[data-index]')?.dataset.index === '1'")
	b.keys("k")
	b.until("document.activeElement.closest('[data-index]')?.dataset.index === '0'")
	b.keys("/")
	b.until("document.activeElement.type === 'search'")
	b.keys("jg") // letters in a field are letters
	b.at("/events?q=jg")
	b.do("document.activeElement.blur()")
	b.sees("[data-testid=events] tbody a")
	b.keys("j") // on from the row where it was
	b.keys(kb.Enter)
	b.at("/events/WH-00001")
	b.sees("[data-testid=hops] li")
	b.keys("?")
	b.sees("dialog[open]")
	b.accessible()
	b.shot("help")
	b.keys(kb.Escape)
	b.until("!document.querySelector('dialog[open]')")
	b.quiet()
}

func TestLettersCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	srv.TellStory(3, "")
	b := open(t, srv, "/", view{})
	b.says("12,847")
	b.keys("?")
	b.click("dialog input[type=checkbox]")
	b.keys(kb.Escape)
	b.until("!document.querySelector('dialog[open]')")
	b.keys("g")
	b.keys("e")
	b.keys("?")
	if got := eval[string](b, "location.pathname + !!document.querySelector('dialog[open]')"); got != "/false" {
		t.Errorf("letters still act: %s", got)
	}
}

func TestTheTailHolds(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	srv.TellStory(0, "")
	b := open(t, srv, "/events?live=on&status=PAID", view{})
	b.says("Waiting for the next record")
	deliver := func(from, to int) {
		for i := from; i < to; i++ {
			srv.Tell(api.LiveRecordEvent, api.LiveRecord{
				Kind: api.LiveEventKind, At: webtest.At, What: fmt.Sprintf("record %d", i), Good: true, Event: "WH-1", Store: "shop", Environment: "live",
				Place: api.RecordPlace{Topic: "paypal.events", Offset: int64(i)},
			})
		}
	}
	b.until("document.querySelector('.tailbar .badge').textContent === 'Live'")
	deliver(0, 2)
	b.says("record 1")
	b.keys("p")
	b.says("Held")
	deliver(2, 40)
	b.says("38 new")
	if strings.Contains(eval[string](b, "document.body.innerText"), "record 39") {
		t.Error("a held tail moved")
	}
	b.accessible()
	b.shot("tail")
	b.click("[data-testid=new]")
	b.says("record 39")
	deliver(39, 40) // the same record again, as after a reconnection
	srv.Tell(api.LiveLeftEvent, api.LiveLeftOut{LeftOut: 7, Total: 7})
	b.says("7 more were left out")
	if got := eval[string](b, "String([...document.querySelectorAll('[data-testid=tail] tbody tr')].filter(r => r.textContent.includes('record 39')).length)"); got != "1" {
		t.Errorf("record 39 is shown %s times", got)
	}
	if got := srv.Asked("GET /api/v1/events/live"); len(got) == 0 || got[0].Query != "status=PAID" {
		t.Errorf("the filter of the stream is %+v", got)
	}
	b.quiet()
}

// TestAnExpiredSessionLosesNothing: a session ends while a person types the reason of a job; after the sign-in over the
// page the text is there, and the request that was refused goes on by itself.
func TestAnExpiredSessionLosesNothing(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	srv.TellStory(8, "")
	srv.Set("GET /api/v1/session", webtest.Session(true, "ann", "admin"))
	b := open(t, srv, "/issues/i0", view{})
	b.click("[data-testid=retry]")
	b.sees("[data-testid=job-count]")
	b.types("[data-testid=job-why]", "the list is back")
	expired := webtest.Refusal(http.StatusUnauthorized, "nobody is signed in")
	srv.Set("POST /api/v1/jobs", expired)
	b.click("[data-testid=job-start]")
	b.sees("[data-testid=signin][open]")
	b.accessible()
	b.shot("signin-over")
	srv.Set("POST /api/v1/session", webtest.Refusal(http.StatusUnauthorized, "the name or the password is wrong"))
	b.types("[data-testid=signin-password]", "wrong"+kb.Enter)
	b.says("the name or the password is wrong")
	srv.Set("POST /api/v1/session", webtest.Session(true, "ann", "admin"))
	srv.Set("POST /api/v1/jobs", map[string]any{"job_id": "j1", "count": 3})
	b.types("[data-testid=signin-password]", kb.Enter)
	b.until("!document.querySelector('[data-testid=signin][open]')")
	b.sees("[data-testid=job-watch]")
	asked := srv.Asked("POST /api/v1/jobs")
	last := asked[len(asked)-1]
	if last.Body["why"] != "the list is back" || last.Body["by"] != "ann" || last.Header.Get("Idempotency-Key") == "" || last.Header.Get(api.ActionHeader) == "" {
		t.Errorf("the request after the sign-in is %+v %+v", last.Body, last.Header)
	}
	b.quiet()
}

// TestRetryCountsFirst: the dialog says how many before anything is asked for, and the filter of the list is the job's.
func TestRetryCountsFirst(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	srv.TellStory(40, "")
	b := open(t, srv, "/issues?cause=REJECTED&q=list", view{})
	b.click("[data-testid=retry-all]")
	b.says("It is about 3 things")
	for _, a := range srv.Asked("POST /api/v1/jobs") {
		if a.Body["dry_run"] != true {
			t.Error("a job was asked for before anybody said so")
		}
	}
	b.accessible()
	b.shot("retry")
	b.click("[data-testid=job-start]")
	b.sees("[data-testid=job-watch]")
	asked := srv.Asked("POST /api/v1/jobs")
	last := asked[len(asked)-1].Body
	if got := fmt.Sprint(last["filter"]); last["dry_run"] == true || got != "map[cause:REJECTED text:list]" || last["kind"] != "RETRY" {
		t.Errorf("the job is %v", last)
	}
	b.shot("retry-progress")
	b.quiet()
}

func TestLanguagesChangeAtOnce(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	srv.TellStory(3, "")
	b := open(t, srv, "/", view{})
	b.says("Needs attention")
	for language, text := range map[string]string{"it": "Da controllare", "fr": "À regarder", "en": "Needs attention"} {
		b.do(fmt.Sprintf(`{const s = document.querySelector("[data-testid=language]"); s.value = %q; s.dispatchEvent(new Event("change", {bubbles: true}))}`, language))
		b.says(text)
		if got := eval[string](b, "document.documentElement.lang"); got != language {
			t.Errorf("the document says it is in %s, not %s", got, language)
		}
	}
	b.quiet()
}
