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

const (
	// compressedBytesMax bounds what a browser that has nothing yet fetches for any one address: the document, the styles, one
	// language, the shell and the screen with all that it needs.
	compressedBytesMax = 80_000
	// wholeBytesMax bounds all screens and all languages together, which no browser fetches at once.
	wholeBytesMax = 200_000
)

const manifestFile = "manifest.json"

// manifest says which files there are and who needs which.
type manifest struct {
	First     []string            `json:"first"`     // that every address needs
	Screens   map[string][]string `json:"screens"`   // that a screen needs beside them
	Languages []string            `json:"languages"` // of which one is needed
	Files     []string            `json:"files"`
}

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
	outs, err := readOutputs(got.Metafile)
	if err != nil {
		return nil, err
	}
	entry, err := outs.entry()
	if err != nil {
		return nil, err
	}
	first := assets(outs.needs(entry))
	files["index.html"] = index("assets/"+path.Base(entry), css, "assets/"+hashed("icon", "svg", []byte(icon)), first)
	m := manifest{First: append(first, css, "index.html"), Screens: map[string][]string{}, Files: slices.Sorted(maps.Keys(files))}
	for folder, names := range outs.screens(entry) {
		m.Screens[folder] = assets(names)
	}
	for _, f := range m.Files {
		if strings.HasPrefix(f, "assets/texts_") {
			m.Languages = append(m.Languages, f)
		}
	}
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the manifest: %w", err)
	}
	files[manifestFile] = append(content, '\n')
	return files, nil
}

// outputs is what the bundler says of its files, by name.
type outputs map[string]struct {
	EntryPoint string `json:"entryPoint"`
	Imports    []struct{ Path, Kind string }
}

func readOutputs(metafile string) (outputs, error) {
	var meta struct{ Outputs outputs }
	if err := json.Unmarshal([]byte(metafile), &meta); err != nil {
		return nil, fmt.Errorf("read what the bundler says: %w", err)
	}
	return meta.Outputs, nil
}

// needs are the files that name cannot start without, itself included.
func (o outputs) needs(name string) []string {
	list := []string{name}
	for i := 0; i < len(list); i++ {
		for _, imported := range o[list[i]].Imports {
			if imported.Kind == "import-statement" && !slices.Contains(list, imported.Path) {
				list = append(list, imported.Path)
			}
		}
	}
	return list
}

// entry is the file that starts the page.
func (o outputs) entry() (string, error) {
	for name, out := range o {
		if out.EntryPoint == "src/main.tsx" {
			return name, nil
		}
	}
	return "", errors.New("the bundler made no entry of src/main.tsx")
}

// screens are the files of the screens, by folder, with all that each needs beside the entry.
func (o outputs) screens(entry string) map[string][]string {
	first := o.needs(entry)
	got := map[string][]string{}
	for name, out := range o {
		folder, ok := strings.CutPrefix(path.Dir(out.EntryPoint), "src/screens/")
		if !ok {
			continue
		}
		got[folder] = slices.DeleteFunc(o.needs(name), func(n string) bool { return slices.Contains(first, n) })
	}
	return got
}

func assets(names []string) []string {
	var list []string
	for _, n := range names {
		list = append(list, "assets/"+path.Base(n))
	}
	slices.Sort(list)
	return list
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
		if p == entry {
			continue
		}
		fmt.Fprintf(&b, "<link rel=\"modulepreload\" href=\"/%s\">\n", p)
	}
	fmt.Fprintf(&b, "<script type=\"module\" src=\"/%s\"></script>\n</head>\n", entry)
	b.WriteString("<body><div id=\"page\"><div class=\"first\"><b>Tillstream</b></div></div><noscript>This page needs JavaScript. Everything it does is also in the command line: tillstream --help.</noscript></body>\n</html>\n")
	return b.Bytes()
}

// sizes are compressed bytes.
type sizes struct {
	whole, largest int
	screen         string // whose address is the largest
}

// measure compresses each file by itself, as it is sent.
func measure(files map[string][]byte) (sizes, error) {
	var m manifest
	if err := json.Unmarshal(files[manifestFile], &m); err != nil {
		return sizes{}, fmt.Errorf("read the manifest: %w", err)
	}
	each := map[string]int{}
	var s sizes
	for _, name := range m.Files {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return sizes{}, fmt.Errorf("compress %s: %w", name, err)
		}
		_, _ = z.Write(files[name]) // into memory
		if err := z.Close(); err != nil {
			return sizes{}, fmt.Errorf("compress %s: %w", name, err)
		}
		each[name] = b.Len()
		s.whole += b.Len()
	}
	sum := func(list []string) (n int) {
		for _, name := range list {
			n += each[name]
		}
		return n
	}
	language := 0
	for _, name := range m.Languages {
		language = max(language, each[name])
	}
	for folder, list := range m.Screens {
		if n := sum(m.First) + language + sum(list); n > s.largest {
			s.largest, s.screen = n, folder
		}
	}
	return s, nil
}

func (s sizes) check() error {
	if s.largest > compressedBytesMax {
		return fmt.Errorf("the screen %s needs %d bytes compressed, at most %d are allowed: what was added that is not needed?", s.screen, s.largest, compressedBytesMax)
	}
	if s.whole > wholeBytesMax {
		return fmt.Errorf("the page has %d bytes compressed, at most %d are allowed: what was added that is not needed?", s.whole, wholeBytesMax)
	}
	return nil
}
