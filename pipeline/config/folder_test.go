package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/pipeline/config"
)

func newFolder(t *testing.T, files map[string]string) *config.Folder {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &config.Folder{Dir: dir, Kinds: []config.Kind{recipes}}
}

func known(tag string) func(string) string { return func(string) string { return tag } }

func TestNothingButFilesOfTheConfigurationIsReached(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside.yaml")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFolder(t, map[string]string{"tillstream.yaml": "a: 1\n", "secrets/key.yaml": "hidden", "recipes/a.yaml": "title: a\n"})
	if err := os.Symlink(outside, filepath.Join(f.Dir, "recipes/link.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(f.Dir, "destinations")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(f.Dir, "recipes/dir.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "x"
	for _, path := range []string{
		"", ".", "..", "/etc/passwd", "../outside.yaml", "recipes/../tillstream.yaml", "recipes/../../x.yaml", "recipes//a.yaml", "recipes/./a.yaml",
		"secrets/key.yaml", "recipes/a.yaml\x00", "recipes/\x00.yaml", "recipes/.hidden.yaml", "recipes/a.txt", "recipes/a.yaml.disconnected", "recipes/a/b.yaml",
		"other/a.yaml", "other.yaml", `recipes\a.yaml`, "recipes/a\n.yaml", "recipes/é.yaml", "recipes/" + strings.Repeat("a", 300) + ".yaml",
		"recipes/link.yaml", "destinations/outside.yaml", "recipes/dir.yaml", "C:/x.yaml", "recipes/%2e%2e.yaml",
	} {
		if got, err := f.Read(path); err == nil && got != nil {
			t.Errorf("%q is read: %+v", path, got)
		}
		if err := f.Replace([]config.Change{{Path: path, Text: &text}}, known(""), nil); err == nil {
			t.Errorf("%q is written", path)
		}
	}
	if b, err := os.ReadFile(outside); err != nil || string(b) != "secret" {
		t.Errorf("outside is %q, %v", b, err)
	}
	list, problems, err := f.List()
	if err != nil || len(list) != 2 || len(problems) != 2 {
		t.Errorf("listed %+v, %v, %v: want the two files, and both links told", list, problems, err)
	}
}

func TestAFileIsReplacedOnlyAsItIsKnown(t *testing.T) {
	f := newFolder(t, map[string]string{"recipes/a.yaml": "title: a\n"})
	before, after, other := "title: a\n", "title: b\n", "title: by hand\n"
	edit := func(was string, to *string) error {
		return f.Replace([]config.Change{{Path: "recipes/a.yaml", Text: to}}, known(was), nil)
	}
	if err := edit("", &after); !errors.Is(err, config.ErrEdited) {
		t.Errorf("a new file over one that is there: %v", err)
	}
	if err := edit(config.ETag(&before), &after); err != nil {
		t.Errorf("an edit: %v", err)
	}
	if err := edit(config.ETag(&before), &other); !errors.Is(err, config.ErrEdited) {
		t.Errorf("the second of two editors: %v", err)
	}
	// By hand, between the look and the writing.
	err := f.Replace([]config.Change{{Path: "recipes/a.yaml", Text: &before}}, known(config.ETag(&after)), func() error {
		return os.WriteFile(filepath.Join(f.Dir, "recipes/a.yaml"), []byte(other), 0o600)
	})
	if !errors.Is(err, config.ErrEdited) {
		t.Errorf("an edit over one by hand: %v", err)
	}
	if got, err := f.Read("recipes/a.yaml"); err != nil || got.Text != other {
		t.Errorf("the edit by hand is lost: %+v, %v", got, err)
	}
	if err := edit(config.ETag(&other), nil); err != nil {
		t.Errorf("a removal: %v", err)
	}
	if got, err := f.Read("recipes/a.yaml"); err != nil || got != nil {
		t.Errorf("after the removal: %+v, %v", got, err)
	}
	entries, err := os.ReadDir(filepath.Join(f.Dir, "recipes"))
	if err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestOfManyEditorsAtOnceOneWins(t *testing.T) {
	f := newFolder(t, map[string]string{"recipes/a.yaml": "title: a\n"})
	before := "title: a\n"
	const editors = 20
	won := make([]error, editors)
	var all sync.WaitGroup
	for i := range editors {
		all.Go(func() {
			text := "title: " + strings.Repeat("x", i+1) + "\n"
			won[i] = f.Replace([]config.Change{{Path: "recipes/a.yaml", Text: &text}}, known(config.ETag(&before)), nil)
		})
	}
	all.Wait()
	winner := -1
	for i, err := range won {
		switch {
		case err == nil && winner >= 0:
			t.Errorf("editors %d and %d both won", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, config.ErrEdited):
			t.Errorf("editor %d: %v", i, err)
		}
	}
	got, err := f.Read("recipes/a.yaml")
	if err != nil || winner < 0 || got.Text != "title: "+strings.Repeat("x", winner+1)+"\n" {
		t.Errorf("the file is %+v, %v, and %d won", got, err, winner)
	}
}

func TestAllChangesAreWrittenOrNone(t *testing.T) {
	f := newFolder(t, map[string]string{"recipes/a.yaml": "title: a\n", "recipes/b.yaml": "title: b\n"})
	before, _ := f.Texts()
	text, tag := "title: c\n", before["recipes/a.yaml"]
	err := f.Replace([]config.Change{{Path: "recipes/a.yaml", Text: &text}, {Path: "recipes/b.yaml", Text: &text}}, known(config.ETag(&tag)), nil)
	if !errors.Is(err, config.ErrEdited) {
		t.Errorf("got %v, want that b is another", err)
	}
	after, err := f.Texts()
	if diff := cmp.Diff(before, after); err != nil || diff != "" {
		t.Errorf("changed all the same: %v %s", err, diff)
	}
}

func TestAFolderThatCannotBeWrittenSaysSo(t *testing.T) {
	f := newFolder(t, map[string]string{"recipes/a.yaml": "title: a\n"})
	if err := f.Writable(); err != nil {
		t.Errorf("a folder of one's own: %v", err)
	}
	if err := (&config.Folder{}).Writable(); err == nil {
		t.Error("no folder is writable")
	}
	if err := (&config.Folder{Dir: filepath.Join(f.Dir, "not-there")}).Writable(); err == nil {
		t.Error("a folder that is not there is writable")
	}
}
