// Package browsertest looks at a page in a real Chromium, as a person does: for tests of the page on an imitation of the
// API and on the program itself.
package browsertest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// answerMax is how long a page may take for anything before its test has failed: much, because other tests run beside it.
const answerMax = 2 * time.Minute

var browser = struct {
	sync.Once
	ctx  context.Context
	stop func()
	err  error
}{stop: func() {}}

// Stop ends the browser where one was started: for a TestMain, after its tests.
func Stop() { browser.stop() }

// Chromium is the one browser of all tests. Where there is none, a test is skipped, unless TILLSTREAM_REQUIRE names it.
func Chromium(t testing.TB) context.Context {
	t.Helper()
	browser.Do(func() {
		path := ""
		for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
			if p, err := exec.LookPath(name); err == nil {
				path = p
				break
			}
		}
		if path == "" {
			browser.err = exec.ErrNotFound
			return
		}
		allocated, stopAll := chromedp.NewExecAllocator(context.Background(), chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
			chromedp.DisableGPU, chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-background-networking", true))
		ctx, stop := chromedp.NewContext(allocated)
		browser.ctx, browser.err = ctx, chromedp.Do(ctx)
		browser.stop = func() { stop(); stopAll() }
	})
	if browser.err != nil {
		if slices.Contains(strings.Fields(os.Getenv("TILLSTREAM_REQUIRE")), "chromium") {
			t.Fatalf("chromium: %v; run scripts/install.sh chromium", browser.err)
		}
		t.Skipf("chromium: %v; run scripts/install.sh chromium", browser.err)
	}
	return browser.ctx
}

// View is how a page is looked at.
type View struct {
	Language, Theme string
	Phone           bool
}

// Tab is one tab of a profile of its own, with what it asked for and what went wrong in it.
type Tab struct {
	t   *testing.T
	ctx context.Context
	url string // of the server

	mu    sync.Mutex
	wrong []string // exceptions, console errors, refusals of the policy
	hosts map[string]bool
}

// Open shows path of the server at url in a new tab.
func Open(t *testing.T, url, path string, v View) *Tab {
	t.Helper()
	ctx, stop := chromedp.NewContext(Chromium(t), chromedp.WithNewBrowserContext())
	t.Cleanup(stop)
	b := &Tab{t: t, ctx: ctx, url: url, hosts: map[string]bool{}}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	width, height := int64(1360), int64(900)
	var options []chromedp.EmulateViewportOption
	if v.Phone {
		width, height = 390, 844
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	prefs := fmt.Sprintf("localStorage.setItem('tillstream.language', %q)", orElse(v.Language, "en"))
	if v.Theme != "" {
		prefs += fmt.Sprintf(";localStorage.setItem('tillstream.theme', %q)", v.Theme)
	}
	b.Run(chromedp.EmulateViewport(width, height, options...), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		for _, enable := range []cdp.Command[cdp.Empty, cdp.Empty]{runtime.Enable, log.Enable} {
			if _, err := cdp.Call(ctx, t, enable, cdp.Empty{}); err != nil {
				return err
			}
		}
		if _, err := cdp.Call(ctx, t, network.Enable, network.EnableParams{}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, t, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: "try{" + prefs + "}catch{}"})
		return err
	}), chromedp.Navigate(url+path))
	return b
}

func orElse(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func (b *Tab) hear(e any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := e.(type) {
	case *runtime.EventExceptionThrown:
		said := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			said += " " + e.ExceptionDetails.Exception.Description
		}
		b.wrong = append(b.wrong, "exception: "+said)
	case *log.EventEntryAdded: // also each refusal of the policy; that a test's answer is an error is no fault of the page
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			b.wrong = append(b.wrong, "log: "+e.Entry.Text)
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil && u.Scheme != "data" && u.Scheme != "blob" {
			b.hosts[u.Host] = true
		}
	}
}

// within bounds actions; the tab outlives it.
func (b *Tab) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.ctx, answerMax)
}

// Run does actions of the browser in the tab.
func (b *Tab) Run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := b.within()
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// Eval is what an expression of the page comes to; a promise is awaited.
func Eval[T any](b *Tab, expression string) T {
	b.t.Helper()
	ctx, cancel := b.within()
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%.200s: %v", expression, err)
	}
	return got
}

// Do has the page run statements.
func (b *Tab) Do(expression string) { b.t.Helper(); Eval[bool](b, "(() => {"+expression+"})(), true") }

// Within asks the page for an expression until it is true, and returns false where it is not within limit.
func (b *Tab) Within(limit time.Duration, expression string) bool {
	b.t.Helper()
	const loop = `(async () => { for (const end = performance.now() + %d; performance.now() < end; await new Promise(r => setTimeout(r, 15))) { try { if (%s) return true } catch {} } return false })()`
	return Eval[bool](b, fmt.Sprintf(loop, limit.Milliseconds(), expression))
}

// Until asks the page for an expression until it is true.
func (b *Tab) Until(expression string) {
	b.t.Helper()
	if !b.Within(answerMax/2, expression) {
		b.Shot(strings.ReplaceAll(b.t.Name(), "/", "-") + "-never")
		b.t.Fatalf("never: %s; the page says:\n%.4000s", expression, Eval[string](b, "(document.querySelector('dialog[open]') ?? document.querySelector('main') ?? document.body).innerText"))
	}
}

// Sees waits until the page has an element of the selector.
func (b *Tab) Sees(selector string) {
	b.t.Helper()
	b.Until(fmt.Sprintf("!!document.querySelector(%q)", selector))
}

// Says waits until the page shows a text.
func (b *Tab) Says(text string) {
	b.t.Helper()
	b.Until(fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

// At waits until the page is at an address.
func (b *Tab) At(path string) {
	b.t.Helper()
	b.Until(fmt.Sprintf("(location.pathname + location.search) === %q", path))
}

// Click waits for an element and clicks it.
func (b *Tab) Click(selector string) {
	b.t.Helper()
	b.Sees(selector)
	b.Do(fmt.Sprintf("document.querySelector(%q).click()", selector))
}

// Keys types as a keyboard does: a key whose keydown the page takes for itself writes no letter.
func (b *Tab) Keys(text string) {
	b.t.Helper()
	b.Run(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		for _, r := range text {
			events := kb.Encode(r)
			if len(events) == 3 { // down, the letter, up: the browser makes the letter of the first
				events[0].Text, events[0].UnmodifiedText = events[1].Text, events[1].UnmodifiedText
				events = slices.Delete(events, 1, 2)
			}
			for _, e := range events {
				if _, err := cdp.Call(ctx, t, input.DispatchKeyEvent, *e); err != nil {
					return err
				}
			}
		}
		return nil
	}))
}

// Types waits for a field and types into it as a keyboard does.
func (b *Tab) Types(selector, text string) {
	b.t.Helper()
	b.Sees(selector)
	b.Run(chromedp.SendKeys(chromedp.CSS(selector), text))
}

// Settled waits until nothing is being loaded.
func (b *Tab) Settled() {
	b.t.Helper()
	b.Until("!!document.querySelector('main h1, main h2, main article') && !document.querySelector('.skeleton')")
}

// Quiet reports what went wrong in the tab, and requests that left the host.
func (b *Tab) Quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.wrong {
		b.t.Errorf("the page says: %s", w)
	}
	own, _ := url.Parse(b.url)
	for h := range b.hosts {
		if h != own.Host {
			b.t.Errorf("a request went to %s", h)
		}
	}
}

// Shot writes a picture where TILLSTREAM_SCREENSHOTS names a folder: for people to look at.
func (b *Tab) Shot(name string) {
	b.t.Helper()
	folder := os.Getenv("TILLSTREAM_SCREENSHOTS")
	if folder == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
