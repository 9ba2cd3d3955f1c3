package web_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"

	"github.com/tillstream/tillstream/web"
	"github.com/tillstream/tillstream/web/browsertest"
	"github.com/tillstream/tillstream/web/webtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	browsertest.Stop()
	os.Exit(code)
}

type view = browsertest.View

// open shows path of the server in a new tab.
func open(t *testing.T, srv *webtest.Server, path string, v view) *browsertest.Tab {
	t.Helper()
	return browsertest.Open(t, srv.URL, path, v)
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
func accessible(t *testing.T, b *browsertest.Tab) {
	t.Helper()
	source, err := axe()
	if err != nil {
		t.Fatal(err)
	}
	var found []struct {
		ID, Help string
		Nodes    []struct {
			HTML           string `json:"html"`
			FailureSummary string `json:"failureSummary"`
		}
	}
	// A dialog's surroundings are inert: axe looks at what is in reach.
	b.Do(source)
	text := browsertest.Eval[string](b, `axe.run(document, {runOnly: ["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa","best-practice"]}).then(r => JSON.stringify(r.violations))`)
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		for _, n := range v.Nodes[:min(2, len(v.Nodes))] {
			t.Errorf("axe %s: %s\n  %.300s\n  %.400s", v.ID, v.Help, n.HTML, n.FailureSummary)
		}
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
