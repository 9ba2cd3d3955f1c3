package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// compressedBytesMax bounds the whole page, with every screen and language, as a browser fetches it.
const compressedBytesMax = 80_000

// bundle returns the files of web/dist by name.
func bundle(web string) (map[string][]byte, error) {
	web, err := filepath.Abs(web)
	if err != nil {
		return nil, fmt.Errorf("folder %s: %w", web, err)
	}
	vendored, err := readLibraries(filepath.Join(web, "vendor"))
	if err != nil {
		return nil, err
	}
	src := filepath.Join(web, "src")
	got := api.Build(api.BuildOptions{
		AbsWorkingDir: web,
		EntryPoints:   []string{"src/main.tsx"},
		Outdir:        filepath.Join(web, "dist", "assets"),
		EntryNames:    "[name]-[hash]",
		ChunkNames:    "[name]-[hash]",
		Bundle:        true, Splitting: true, Metafile: true,
		MinifyIdentifiers: true, MinifySyntax: true, MinifyWhitespace: true,
		Format: api.FormatESModule, Target: api.ES2022, Platform: api.PlatformBrowser,
		JSX: api.JSXAutomatic, JSXImportSource: "preact",
		Charset: api.CharsetUTF8, LegalComments: api.LegalCommentsNone, TreeShaking: api.TreeShakingTrue,
		Define:      map[string]string{"process.env.NODE_ENV": `"production"`},
		TsconfigRaw: `{"compilerOptions":{"useDefineForClassFields":true,"verbatimModuleSyntax":true}}`,
		Plugins:     []api.Plugin{libraryPlugin(vendored), foldersPlugin(src)},
	})
	if len(got.Errors) > 0 {
		var list []error
		for _, text := range api.FormatMessages(got.Errors, api.FormatMessagesOptions{Kind: api.ErrorMessage}) {
			list = append(list, errors.New(strings.TrimSpace(text)))
		}
		return nil, errors.Join(list...)
	}
	styles, err := stylesheet(src, vendored)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, f := range got.OutputFiles {
		files["assets/"+filepath.Base(f.Path)] = f.Contents
	}
	css := "assets/" + hashed("style", "css", styles)
	files[css] = styles
	files["assets/"+hashed("icon", "svg", []byte(icon))] = []byte(icon)
	entry, preload, err := entries(got.Metafile)
	if err != nil {
		return nil, err
	}
	files["index.html"] = index(entry, css, "assets/"+hashed("icon", "svg", []byte(icon)), preload)
	manifest, err := json.MarshalIndent(slices.Sorted(maps.Keys(files)), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the manifest: %w", err)
	}
	files["manifest.json"] = append(manifest, '\n')
	return files, nil
}

// entries finds the bundle that starts the page and those that it cannot start without.
func entries(metafile string) (entry string, preload []string, err error) {
	var meta struct {
		Outputs map[string]struct {
			EntryPoint string `json:"entryPoint"`
			Imports    []struct{ Path, Kind string }
		}
	}
	if err := json.Unmarshal([]byte(metafile), &meta); err != nil {
		return "", nil, fmt.Errorf("read what the bundler says: %w", err)
	}
	for name, out := range meta.Outputs {
		if out.EntryPoint != "src/main.tsx" {
			continue
		}
		entry = "assets/" + path.Base(name)
		for _, i := range out.Imports {
			if i.Kind == "import-statement" {
				preload = append(preload, "assets/"+path.Base(i.Path))
			}
		}
	}
	if entry == "" {
		return "", nil, errors.New("the bundler made no entry of src/main.tsx")
	}
	slices.Sort(preload)
	return entry, slices.Compact(preload), nil
}

// stylesheet is every CSS file of the sources in one: the theme first, then by path. Charts bring theirs.
func stylesheet(src string, vendored map[string]library) ([]byte, error) {
	var all bytes.Buffer
	chart, err := vendored["uplot"].file("dist/uPlot.min.css")
	if err != nil {
		return nil, err
	}
	all.Write(chart)
	paths, err := find(src, ".css")
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(paths, func(a, b string) int { return order(a) - order(b) })
	for _, p := range paths {
		content, err := read(p)
		if err != nil {
			return nil, err
		}
		all.Write(content)
	}
	got := api.Transform(all.String(), api.TransformOptions{Loader: api.LoaderCSS, MinifyWhitespace: true, MinifySyntax: true, Target: api.ES2022})
	if len(got.Errors) > 0 {
		return nil, fmt.Errorf("style sheet: %s", got.Errors[0].Text)
	}
	return got.Code, nil
}

func order(p string) int {
	if strings.Contains(filepath.ToSlash(p), "/src/theme/") {
		return 0
	}
	return 1
}

func hashed(name, ext string, content []byte) string {
	sum := sha256.Sum256(content)
	return name + "-" + base32.StdEncoding.EncodeToString(sum[:])[:8] + "." + ext
}

// icon is drawn by hand: a till's receipt over a stream.
const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1d5fd1"/><path d="M8 8h16M16 8v9" stroke="#fff" stroke-width="4" stroke-linecap="round"/><path d="M6 23c3-4 6-4 10 0s7 4 10 0" stroke="#9cc3ff" stroke-width="3" fill="none" stroke-linecap="round"/></svg>`

// index is the one document of the page. It holds no script and no style of its own, so that the policy can refuse both.
func index(entry, css, icon string, preload []string) []byte {
	var b bytes.Buffer
	b.WriteString("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n")
	b.WriteString("<meta name=\"color-scheme\" content=\"light dark\">\n<title>Tillstream</title>\n")
	fmt.Fprintf(&b, "<link rel=\"icon\" href=\"/%s\" type=\"image/svg+xml\">\n<link rel=\"stylesheet\" href=\"/%s\">\n", icon, css)
	for _, p := range preload {
		fmt.Fprintf(&b, "<link rel=\"modulepreload\" href=\"/%s\">\n", p)
	}
	fmt.Fprintf(&b, "<script type=\"module\" src=\"/%s\"></script>\n</head>\n", entry)
	b.WriteString("<body><div id=\"page\"><div class=\"first\"><b>Tillstream</b></div></div><noscript>This page needs JavaScript. Everything it does is also in the command line: tillstream --help.</noscript></body>\n</html>\n")
	return b.Bytes()
}

// gzipped is the size of all files as sent, each compressed by itself.
func gzipped(files map[string][]byte) (int, error) {
	total := 0
	for name, content := range files {
		if name == "manifest.json" { // read by nobody's browser
			continue
		}
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return 0, fmt.Errorf("compress %s: %w", name, err)
		}
		if _, err := z.Write(content); err != nil {
			return 0, fmt.Errorf("compress %s: %w", name, err)
		}
		if err := z.Close(); err != nil {
			return 0, fmt.Errorf("compress %s: %w", name, err)
		}
		total += b.Len()
	}
	return total, nil
}
