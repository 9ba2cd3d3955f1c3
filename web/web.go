// Package web is the page: the bundle that web/build made of web/src, embedded, and the handler that serves it with a
// policy that lets nothing run or load but the bundle itself. What the page does, it does through the API.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed all:dist
var dist embed.FS

// Policy is the Content-Security-Policy of every answer: no inline script or style, nothing from elsewhere, no frame.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// year is the Cache-Control of what has its hash in its name.
const year = "public, max-age=31536000, immutable"

// file is one answer, ready to be sent.
type file struct {
	kind, cache, etag string
	plain, packed     []byte
}

// Handler serves the page: index.html at every address that has no file, the hashed files under /assets/, the documents
// as data under /assets/docs/. It answers GET and HEAD.
func Handler() (http.Handler, error) {
	files := map[string]file{}
	err := fs.WalkDir(dist, "dist", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := dist.ReadFile(name)
		if err != nil {
			return err
		}
		at, cache := "/"+strings.TrimPrefix(name, "dist/"), "no-cache"
		if strings.HasPrefix(at, "/assets/") {
			cache = year
		}
		files[at] = newFile(at, cache, content)
		return nil
	})
	if err != nil {
		return nil, err
	}
	pages, err := documents()
	if err != nil {
		return nil, err
	}
	for name, content := range pages {
		at := "/assets/docs/" + name + ".json"
		files[at] = newFile(at, "no-cache", content)
	}
	return page{files}, nil
}

func newFile(name, cache string, content []byte) file {
	sum := sha256.Sum256(content)
	f := file{kind: mime.TypeByExtension(path.Ext(name)), cache: cache, etag: `"` + hex.EncodeToString(sum[:8]) + `"`, plain: content}
	switch path.Ext(name) { // what a system's own table of types says differs
	case ".js":
		f.kind = "text/javascript; charset=utf-8"
	case ".css":
		f.kind = "text/css; charset=utf-8"
	case ".html":
		f.kind = "text/html; charset=utf-8"
	case ".json":
		f.kind = "application/json"
	case ".svg":
		f.kind = "image/svg+xml"
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(content) // into memory
	_ = z.Close()
	if b.Len() < len(content) {
		f.packed = b.Bytes()
	}
	return f
}

type page struct{ files map[string]file }

// ServeHTTP implements http.Handler.
func (p page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", Policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "the page is only read; what changes something is under /api/v1", http.StatusMethodNotAllowed)
		return
	}
	f, ok := p.files[r.URL.Path]
	if !ok {
		if strings.HasPrefix(r.URL.Path, "/assets/") { // of another version: index.html here would be taken for a script
			http.Error(w, "there is no such file in this version; load the page again", http.StatusNotFound)
			return
		}
		f = p.files["/index.html"]
	}
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", f.cache)
	h.Set("ETag", f.etag)
	h.Set("Vary", "Accept-Encoding")
	if r.Header.Get("If-None-Match") == f.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := f.plain
	if f.packed != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = f.packed
	}
	if r.Method == http.MethodGet {
		_, _ = w.Write(body)
	}
}

// Beside serves the page at the addresses of people and api at those of programs: /api/ and what a machine asks for by a
// fixed name are the API's, files and whatever a browser goes to are the page's.
func Beside(page, api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if forPeople(r) {
			page.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

// machines are the addresses without /api/ that answer programs, whoever asks.
var machines = map[string]bool{"/metrics": true, "/healthz": true, "/readyz": true, "/status": true}

func forPeople(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || strings.HasPrefix(r.URL.Path, "/api/") || machines[r.URL.Path] {
		return false
	}
	return r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, "/assets/") || strings.Contains(r.Header.Get("Accept"), "text/html")
}
