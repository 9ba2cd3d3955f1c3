package web_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/tillstream/tillstream/web"
	"github.com/tillstream/tillstream/web/browsertest"
	"github.com/tillstream/tillstream/web/webtest"
)

// A phone on 4G, as WebPageTest has it: 9 Mbit/s and 170 ms there and back.
const (
	slowBytesPerSecond = 9e6 / 8
	slowMilliseconds   = 170
)

// BenchmarkFirstPaint is the time from the address to a page that can be used, and to its figures, of the overview in a
// profile with an empty cache: as it is on this machine, and over 4G.
func BenchmarkFirstPaint(b *testing.B) {
	pages, err := web.Handler()
	if err != nil {
		b.Fatal(err)
	}
	for _, over := range []struct {
		name       string
		conditions network.Conditions
	}{
		{"local", network.Conditions{DownloadThroughput: -1, UploadThroughput: -1}},
		{"4G", network.Conditions{Latency: slowMilliseconds, DownloadThroughput: slowBytesPerSecond, UploadThroughput: slowBytesPerSecond}},
	} {
		b.Run(over.name, func(b *testing.B) {
			srv := webtest.New(b, func(api http.Handler) http.Handler { return web.Beside(pages, api) })
			srv.TellStory(300, "")
			var usable, figures float64
			for b.Loop() {
				u, f := paint(b, srv, over.conditions)
				usable, figures = usable+u, figures+f
			}
			b.ReportMetric(usable/float64(b.N), "ms/usable")
			b.ReportMetric(figures/float64(b.N), "ms/figures")
		})
	}
}

// watch notes when the page can be used (its heading and its navigation are there) and when its figures are.
const watch = `(() => {
	const look = () => {
		if (!window.usable && document.querySelector("main h1") && document.querySelector("nav a")) window.usable = performance.now();
		if (!window.figures && document.body?.innerText.includes("12,847")) window.figures = performance.now();
		if (!window.figures) requestAnimationFrame(look);
	};
	requestAnimationFrame(look);
})()`

// paint opens the overview in a new profile and returns both times, in milliseconds since the navigation began.
func paint(b *testing.B, srv *webtest.Server, conditions network.Conditions) (usable, figures float64) {
	ctx, stop := chromedp.NewContext(browsertest.Chromium(b), chromedp.WithNewBrowserContext())
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		if _, err := cdp.Call(ctx, t, network.Enable, network.EnableParams{}); err != nil {
			return err
		}
		if _, err := cdp.Call(ctx, t, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{MatchedNetworkConditions: []*network.Conditions{&conditions}}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, t, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: watch})
		return err
	}), chromedp.Navigate(srv.URL))
	if err != nil {
		b.Fatal(err)
	}
	const times = `(async () => { while (!window.figures) await new Promise(r => setTimeout(r, 10)); return [window.usable, window.figures] })()`
	got, err := chromedp.Run(ctx, chromedp.Evaluate[[]float64](times, chromedp.EvalAwaitPromise))
	if err != nil {
		b.Fatal(err)
	}
	return got[0], got[1]
}
