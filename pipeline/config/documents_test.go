package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

type song struct {
	Title string   `yaml:"title"`
	Lines []string `yaml:"lines"`
}

var songs = []Kind{{Folder: "songs", New: func() any { return &song{} }}}

func TestDocumentsReadNothingElse(t *testing.T) {
	docs, err := Documents(map[string]string{
		"tillstream.yaml":       "kafka: [\"this is not looked at\"",
		"connections/shop.yaml": "settings: {key: '${env:NOT_SET}'}\n",
		"songs/b.yaml":          "title: B\nlines:\n  - one\n",
		"songs/a.yml":           "title: A\n",
		"songs/notes.txt":       "not a document",
		"songs/deep/c.yaml":     "title: C\n",
		"songs/.hidden.yaml":    "title: H\n",
	}, songs)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range docs["songs"] {
		got = append(got, d.Name+" "+d.File+" "+d.Value.(*song).Title)
	}
	if diff := cmp.Diff([]string{"a songs/a.yml A", "b songs/b.yaml B"}, got); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
	if got := docs["songs"][1].Line("lines.0"); got != 3 {
		t.Errorf("line of lines.0: %d, want 3", got)
	}
}

func TestDocumentsTellEveryProblemWithItsPlace(t *testing.T) {
	_, err := Documents(map[string]string{
		"songs/a.yaml": "title: A\nlinse: [x]\n",
		"songs/b.yaml": "title: B\nlines:\n  - one\n  - two ${env:HOME}\n",
		"songs/c.yaml": "title: [",
	}, songs)
	want := "songs/a.yaml:2: linse: unknown key; did you mean \"lines\"?\n" +
		"songs/b.yaml:4: lines.1: names a variable or a file, which each process may read differently; write the text itself; references are for secrets and addresses in the other files\n" +
		"songs/c.yaml:1: sequence end token ']' not found"
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestFoldersInWhichFilesDiffer(t *testing.T) {
	a := map[string]string{"tillstream.yaml": "1", "mappings/a.yaml": "1", "connections/a.yaml": "1", "workflows/w.yaml": "1"}
	b := map[string]string{"tillstream.yaml": "2", "mappings/a.yaml": "1", "connections/b.yaml": "1", "workflows/w.yaml": "1", "workflows/v.yaml": "1"}
	if diff := cmp.Diff([]string{"connections", "tillstream.yaml", "workflows"}, Differ(a, b)); diff != "" {
		t.Error(diff)
	}
	if got := Differ(a, WithConnectionFiles(a, a)); len(got) > 0 {
		t.Errorf("its own connections make a difference in %v", got)
	}
	want := map[string]string{"tillstream.yaml": "1", "mappings/a.yaml": "1", "connections/b.yaml": "1", "workflows/w.yaml": "1"}
	if diff := cmp.Diff(want, WithConnectionFiles(a, b)); diff != "" {
		t.Error(diff)
	}
}
