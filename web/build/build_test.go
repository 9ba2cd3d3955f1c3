package main

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTheCommittedPageIsWhatTheSourcesGive builds twice: the bytes are those of the first time and of web/dist.
func TestTheCommittedPageIsWhatTheSourcesGive(t *testing.T) {
	got, err := bundle("..")
	if err != nil {
		t.Fatal(err)
	}
	again, err := bundle("..")
	if err != nil {
		t.Fatal(err)
	}
	if !maps.EqualFunc(got, again, bytes.Equal) {
		t.Error("two builds of the same sources differ")
	}
	committed := map[string][]byte{}
	err = fs.WalkDir(os.DirFS("../dist"), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		committed[name], err = os.ReadFile(filepath.Join("../dist", name))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if !bytes.Equal(got[name], committed[name]) {
			t.Errorf("web/dist/%s is not what the sources give: run 'make page' and commit it", name)
		}
		delete(committed, name)
	}
	for name := range committed {
		t.Errorf("web/dist/%s is a leftover: run 'make page' and commit it", name)
	}
	size, err := measure(got)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("largest screen %s %d bytes compressed, whole page %d", size.screen, size.largest, size.whole)
	if err := size.check(); err != nil {
		t.Error(err)
	}
}

func TestSizesHaveTheirBounds(t *testing.T) {
	for _, s := range []sizes{{whole: wholeBytesMax + 1}, {largest: compressedBytesMax + 1}} {
		if s.check() == nil {
			t.Errorf("%+v is let through", s)
		}
	}
	if err := (sizes{whole: wholeBytesMax, largest: compressedBytesMax}).check(); err != nil {
		t.Error(err)
	}
}

var (
	asked       = regexp.MustCompile(`\b(?:t|has)\(\s*["']([a-z]+\.[A-Za-z0-9_.]+)["']`)
	placeholder = regexp.MustCompile(`\{\w+\}`)
)

// TestTextsAreThereInEachLanguage: the same keys, the same placeholders, the same number of forms, none empty; and each key
// that the sources name is there.
func TestTextsAreThereInEachLanguage(t *testing.T) {
	texts := map[string]map[string]string{}
	for _, l := range languages {
		d, err := dictionary("../src", l)
		if err != nil {
			t.Fatal(err)
		}
		texts[l] = d
	}
	all := map[string]bool{}
	for _, d := range texts {
		for key := range d {
			all[key] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		en := texts["en"][key]
		for _, l := range languages {
			text, ok := texts[l][key]
			if !ok || text == "" {
				t.Errorf("%s has no text %s", l, key)
				continue
			}
			if got, want := names(text), names(en); !slices.Equal(got, want) {
				t.Errorf("%s: %s has the placeholders %v, English has %v", l, key, got, want)
			}
			if got, want := strings.Count(text, " | "), strings.Count(en, " | "); got != want {
				t.Errorf("%s: %s has %d forms, English has %d", l, key, got+1, want+1)
			}
		}
	}
	paths, err := find("../src", ".tsx")
	if err != nil {
		t.Fatal(err)
	}
	more, err := find("../src", ".ts")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(paths, more...) {
		content, err := read(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range asked.FindAllStringSubmatch(string(content), -1) {
			if !all[m[1]] {
				t.Errorf("%s asks for the text %s, which is in no dictionary", p, m[1])
			}
		}
	}
}

func names(text string) []string {
	list := placeholder.FindAllString(text, -1)
	slices.Sort(list)
	return slices.Compact(list)
}

// banned is what could make markup or code of a payload, or ask another host.
var banned = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write|\beval\(|new Function|createContextualFragment|https?://`)

func TestSourcesMakeNoMarkupOfText(t *testing.T) {
	for _, suffix := range []string{".ts", ".tsx"} {
		paths, err := find("../src", suffix)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			content, err := read(p)
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(string(content), "\n") {
				if got := banned.FindString(line); got != "" && !strings.Contains(line, `placeholder=`) {
					t.Errorf("%s:%d: %s", p, i+1, got)
				}
			}
		}
	}
}

func TestADamagedLibraryIsRefused(t *testing.T) {
	folder := t.TempDir()
	for _, l := range libraries {
		content, err := read(filepath.Join("../vendor", l.file))
		if err != nil {
			t.Fatal(err)
		}
		content[len(content)/2] ^= 1
		if err := os.WriteFile(filepath.Join(folder, l.file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := readLibraries(folder); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a damaged library gave %v", err)
	}
}
