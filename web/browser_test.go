package web_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
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

	"github.com/tillstream/tillstream/web"
	"github.com/tillstream/tillstream/web/webtest"
)

// answerMax is how long a page may take for anything before its test has failed: much, because other tests run beside it.
const answerMax = 2 * time.Minute

var browser = struct {
	sync.Once
	ctx  context.Context
	stop func()
	err  error
}{stop: func() {}}

func TestMain(m *testing.M) {
	code := m.Run()
	browser.stop()
	os.Exit(code)
}

// chromium is the one browser of all tests. Where there is none, a test is skipped, unless TILLSTREAM_REQUIRE names it.
func chromium(t testing.TB) context.Context {
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

// view is how a page is looked at.
type view struct {
	language, theme string
	phone           bool
}

// tab is one tab of a profile of its own, with what it asked for and what went wrong in it.
type tab struct {
	t   *testing.T
	ctx context.Context
	srv *webtest.Server

	mu    sync.Mutex
	wrong []string // exceptions, console errors, refusals of the policy
	hosts map[string]bool
}

// open shows path of the server in a new tab.
func open(t *testing.T, srv *webtest.Server, path string, v view) *tab {
	t.Helper()
	ctx, stop := chromedp.NewContext(chromium(t), chromedp.WithNewBrowserContext())
	t.Cleanup(stop)
	b := &tab{t: t, ctx: ctx, srv: srv, hosts: map[string]bool{}}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	width, height := int64(1360), int64(900)
	var options []chromedp.EmulateViewportOption
	if v.phone {
		width, height = 390, 844
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	prefs := fmt.Sprintf("localStorage.setItem('tillstream.language', %q)", orElse(v.language, "en"))
	if v.theme != "" {
		prefs += fmt.Sprintf(";localStorage.setItem('tillstream.theme', %q)", v.theme)
	}
	b.run(chromedp.EmulateViewport(width, height, options...), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
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
	}), chromedp.Navigate(srv.URL+path))
	return b
}

func orElse(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func (b *tab) hear(e any) {
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
func (b *tab) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.ctx, answerMax)
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := b.within()
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := b.within()
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%.200s: %v", expression, err)
	}
	return got
}

func (b *tab) do(expression string) { b.t.Helper(); eval[bool](b, "(() => {"+expression+"})(), true") }

// until asks the page for an expression until it is true.
func (b *tab) until(expression string) {
	b.t.Helper()
	const loop = `(async () => { for (const end = performance.now() + %d; performance.now() < end; await new Promise(r => setTimeout(r, 15))) { try { if (%s) return true } catch {} } return false })()`
	if !eval[bool](b, fmt.Sprintf(loop, (answerMax/2).Milliseconds(), expression)) {
		b.t.Fatalf("never: %s; the page says:\n%.1500s", expression, eval[string](b, "document.body.innerText"))
	}
}

func (b *tab) sees(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf("!!document.querySelector(%q)", selector))
}

func (b *tab) says(text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

func (b *tab) at(path string) {
	b.t.Helper()
	b.until(fmt.Sprintf("(location.pathname + location.search) === %q", path))
}

func (b *tab) click(selector string) {
	b.t.Helper()
	b.sees(selector)
	b.do(fmt.Sprintf("document.querySelector(%q).click()", selector))
}

// keys types as a keyboard does: a key whose keydown the page takes for itself writes no letter.
func (b *tab) keys(text string) {
	b.t.Helper()
	b.run(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
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

func (b *tab) types(selector, text string) {
	b.t.Helper()
	b.sees(selector)
	b.run(chromedp.SendKeys(chromedp.CSS(selector), text))
}

// settled waits until nothing is being loaded.
func (b *tab) settled() {
	b.t.Helper()
	b.until("!!document.querySelector('main h1, main h2, main article') && !document.querySelector('.skeleton')")
}

// quiet reports what went wrong in the tab, and requests that left the host.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.wrong {
		b.t.Errorf("the page says: %s", w)
	}
	own, _ := url.Parse(b.srv.URL)
	for h := range b.hosts {
		if h != own.Host {
			b.t.Errorf("a request went to %s", h)
		}
	}
}

// axe is the accessibility checker of web/vendor, as it is run in the page.
var axe = sync.OnceValues(func() (string, error) {
	packed, err := os.ReadFile("vendor/axe-core-4.14.1.tgz")
	if err != nil {
		return "", err
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return "", err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			return "", err
		}
		if h.Name == "package/axe.min.js" {
			b, err := io.ReadAll(r)
			return string(b), err
		}
	}
})

// accessible runs axe by the rules of WCAG 2.2 A and AA.
func (b *tab) accessible() {
	b.t.Helper()
	source, err := axe()
	if err != nil {
		b.t.Fatal(err)
	}
	var found []struct {
		ID, Help string
		Nodes    []struct {
			HTML           string `json:"html"`
			FailureSummary string `json:"failureSummary"`
		}
	}
	// A dialog's surroundings are inert: axe looks at what is in reach.
	b.do(source)
	text := eval[string](b, `axe.run(document, {runOnly: ["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa","best-practice"]}).then(r => JSON.stringify(r.violations))`)
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		b.t.Fatal(err)
	}
	for _, v := range found {
		for _, n := range v.Nodes[:min(2, len(v.Nodes))] {
			b.t.Errorf("axe %s: %s\n  %.300s\n  %.400s", v.ID, v.Help, n.HTML, n.FailureSummary)
		}
	}
}

// shot writes a picture where TILLSTREAM_SCREENSHOTS names a folder: for people to look at.
func (b *tab) shot(name string) {
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

// serve starts a page with an API of the story.
func serve(t *testing.T) *webtest.Server {
	t.Helper()
	page, err := web.Handler()
	if err != nil {
		t.Fatal(err)
	}
	return webtest.New(t, func(api http.Handler) http.Handler { return web.Beside(page, api) })
}
