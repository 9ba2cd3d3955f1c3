package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/web/browsertest"
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
			v := view{Theme: []string{"light", "dark"}[i%2]}
			b := open(t, srv, s.path, v)
			b.Sees(s.full)
			b.Settled()
			accessible(t, b)
			b.Shot(s.name + "-" + v.Theme)
			b.Quiet()
		})
	}
}

func TestScreensInOtherColoursAndSizes(t *testing.T) {
	for i, s := range screens {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t)
			srv.TellStory(30, "")
			v := view{Theme: []string{"dark", "light"}[i%2], Phone: true, Language: []string{"it", "fr"}[i%2]}
			b := open(t, srv, s.path, v)
			b.Sees(s.full)
			b.Settled()
			accessible(t, b)
			b.Shot(s.name + "-phone-" + v.Theme + "-" + v.Language)
			if !browsertest.Eval[bool](b, "document.documentElement.scrollWidth <= innerWidth") {
				t.Errorf("the page is wider than a phone: %s", browsertest.Eval[string](b, "String(document.documentElement.scrollWidth)"))
			}
			b.Quiet()
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
			b.Sees(s.empty)
			b.Settled()
			accessible(t, b)
			b.Shot(s.name + "-empty")
			b.Quiet()
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
			b.Sees("[data-testid=error]")
			for _, text := range []string{"it failed here", "ClickHouse does not answer", "try again", "REQ-1234"} {
				b.Says(text)
			}
			accessible(t, b)
			b.Shot(s.name + "-error")
			b.Quiet()
		})
	}
}

func TestWhatIsShownStaysWhenTheNextRequestFails(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	srv.TellStory(3, "")
	b := open(t, srv, "/", view{})
	b.Says("12,847")
	srv.Fail(http.StatusBadGateway, "ClickHouse does not answer")
	b.Says("ClickHouse does not answer")
	b.Says("12,847")
	b.Says("What is shown is of")
	b.Quiet()
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
			b.Sees(s.full)
			b.Settled()
			if s.name != "overview" && s.name != "export" {
				b.Until(`document.body.textContent.includes('<img src=x onerror="window.hacked=1">')`)
			}
			if got := browsertest.Eval[string](b, "String(window.hacked) + document.querySelectorAll('main img, main script').length"); got != "undefined0" {
				t.Errorf("a payload became markup: %s", got)
			}
			b.Quiet()
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
			b.Sees(s.rows + " tbody a")
			if got := browsertest.Eval[string](b, "document.querySelector('"+s.rows+" table').getAttribute('aria-rowcount')"); got != "10001" {
				t.Errorf("a screen reader is told %s rows, want 10001", got)
			}
			b.Until("document.querySelectorAll('" + s.rows + " tr').length < 200")
			b.Do("document.querySelector('" + s.rows + "').scrollTop = 1e9")
			b.Sees(s.rows + " [data-index='9999']")
			accessible(t, b)
			b.Quiet()
		})
	}
}

func TestKeyboardAlone(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	srv.TellStory(300, "")
	b := open(t, srv, "/", view{})
	b.Says("12,847")
	b.Keys("g")
	b.Keys("e")
	b.At("/events")
	b.Sees("[data-testid=events] tbody a")
	b.Keys("j")
	b.Keys("j")
	b.Until("document.activeElement.closest('[data-index]')?.dataset.index === '1'")
	b.Keys("k")
	b.Until("document.activeElement.closest('[data-index]')?.dataset.index === '0'")
	b.Keys("/")
	b.Until("document.activeElement.type === 'search'")
	b.Keys("jg") // letters in a field are letters
	b.At("/events?q=jg")
	b.Do("document.activeElement.blur()")
	b.Sees("[data-testid=events] tbody a")
	b.Keys("j") // on from the row where it was
	b.Keys(kb.Enter)
	b.At("/events/WH-00001")
	b.Sees("[data-testid=hops] li")
	b.Keys("?")
	b.Sees("dialog[open]")
	accessible(t, b)
	b.Shot("help")
	b.Keys(kb.Escape)
	b.Until("!document.querySelector('dialog[open]')")
	b.Quiet()
}

func TestLettersCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	srv.TellStory(3, "")
	b := open(t, srv, "/", view{})
	b.Says("12,847")
	b.Keys("?")
	b.Click("dialog input[type=checkbox]")
	b.Keys(kb.Escape)
	b.Until("!document.querySelector('dialog[open]')")
	b.Keys("g")
	b.Keys("e")
	b.Keys("?")
	if got := browsertest.Eval[string](b, "location.pathname + !!document.querySelector('dialog[open]')"); got != "/false" {
		t.Errorf("letters still act: %s", got)
	}
}

func TestTheTailHolds(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	srv.TellStory(0, "")
	b := open(t, srv, "/events?live=on&status=PAID", view{})
	b.Says("Waiting for the next record")
	deliver := func(from, to int) {
		for i := from; i < to; i++ {
			srv.Tell(api.LiveRecordEvent, api.LiveRecord{
				Kind: api.LiveEventKind, At: webtest.At, What: fmt.Sprintf("record %d", i), Good: true, Event: "WH-1", Store: "shop", Environment: "live",
				Place: api.RecordPlace{Topic: "paypal.events", Offset: int64(i)},
			})
		}
	}
	b.Until("document.querySelector('.tailbar .badge').textContent === 'Live'")
	deliver(0, 2)
	b.Says("record 1")
	b.Keys("p")
	b.Says("Held")
	deliver(2, 40)
	b.Says("38 new")
	if strings.Contains(browsertest.Eval[string](b, "document.body.innerText"), "record 39") {
		t.Error("a held tail moved")
	}
	accessible(t, b)
	b.Shot("tail")
	b.Click("[data-testid=new]")
	b.Says("record 39")
	deliver(39, 40) // the same record again, as after a reconnection
	srv.Tell(api.LiveLeftEvent, api.LiveLeftOut{LeftOut: 7, Total: 7})
	b.Says("7 more were left out")
	if got := browsertest.Eval[string](b, "String([...document.querySelectorAll('[data-testid=tail] tbody tr')].filter(r => r.textContent.includes('record 39')).length)"); got != "1" {
		t.Errorf("record 39 is shown %s times", got)
	}
	if got := srv.Asked("GET /api/v1/events/live"); len(got) == 0 || got[0].Query != "status=PAID" {
		t.Errorf("the filter of the stream is %+v", got)
	}
	b.Quiet()
}

// TestAnExpiredSessionLosesNothing: a session ends while a person types the reason of a job; after the sign-in over the
// page the text is there, and the request that was refused goes on by itself.
func TestAnExpiredSessionLosesNothing(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	srv.TellStory(8, "")
	srv.Set("GET /api/v1/session", webtest.Session(true, "ann", "admin"))
	b := open(t, srv, "/issues/i0", view{})
	b.Click("[data-testid=retry]")
	b.Sees("[data-testid=job-count]")
	b.Types("[data-testid=job-why]", "the list is back")
	expired := webtest.Refusal(http.StatusUnauthorized, "nobody is signed in")
	srv.Set("POST /api/v1/jobs", expired)
	b.Click("[data-testid=job-start]")
	b.Sees("[data-testid=signin][open]")
	accessible(t, b)
	b.Shot("signin-over")
	srv.Set("POST /api/v1/session", webtest.Refusal(http.StatusUnauthorized, "the name or the password is wrong"))
	b.Types("[data-testid=signin-password]", "wrong"+kb.Enter)
	b.Says("the name or the password is wrong")
	srv.Set("POST /api/v1/session", webtest.Session(true, "ann", "admin"))
	srv.Set("POST /api/v1/jobs", map[string]any{"job_id": "j1", "count": 3})
	b.Types("[data-testid=signin-password]", kb.Enter)
	b.Until("!document.querySelector('[data-testid=signin][open]')")
	b.Sees("[data-testid=job-watch]")
	asked := srv.Asked("POST /api/v1/jobs")
	last := asked[len(asked)-1]
	if last.Body["why"] != "the list is back" || last.Body["by"] != "ann" || last.Header.Get("Idempotency-Key") == "" || last.Header.Get(api.ActionHeader) == "" {
		t.Errorf("the request after the sign-in is %+v %+v", last.Body, last.Header)
	}
	b.Quiet()
}

// TestRetryCountsFirst: the dialog says how many before anything is asked for, and the filter of the list is the job's.
func TestRetryCountsFirst(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	srv.TellStory(40, "")
	b := open(t, srv, "/issues?cause=REJECTED&q=list", view{})
	b.Click("[data-testid=retry-all]")
	b.Says("It is about 3 things")
	for _, a := range srv.Asked("POST /api/v1/jobs") {
		if a.Body["dry_run"] != true {
			t.Error("a job was asked for before anybody said so")
		}
	}
	accessible(t, b)
	b.Shot("retry")
	b.Click("[data-testid=job-start]")
	b.Sees("[data-testid=job-watch]")
	asked := srv.Asked("POST /api/v1/jobs")
	last := asked[len(asked)-1].Body
	if got := fmt.Sprint(last["filter"]); last["dry_run"] == true || got != "map[cause:REJECTED text:list]" || last["kind"] != "RETRY" {
		t.Errorf("the job is %v", last)
	}
	b.Shot("retry-progress")
	b.Quiet()
}

func TestLanguagesChangeAtOnce(t *testing.T) {
	t.Parallel()
	srv := serve(t)
	srv.TellStory(3, "")
	b := open(t, srv, "/", view{})
	b.Says("Needs attention")
	for language, text := range map[string]string{"it": "Da controllare", "fr": "À regarder", "en": "Needs attention"} {
		b.Do(fmt.Sprintf(`{const s = document.querySelector("[data-testid=language]"); s.value = %q; s.dispatchEvent(new Event("change", {bubbles: true}))}`, language))
		b.Says(text)
		if got := browsertest.Eval[string](b, "document.documentElement.lang"); got != language {
			t.Errorf("the document says it is in %s, not %s", got, language)
		}
	}
	b.Quiet()
}
