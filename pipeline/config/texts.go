package config

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// texts is a folder in memory, by slash path.
type texts map[string]string

var _ fs.ReadDirFS = texts{}

// Open implements fs.FS, for files.
func (t texts) Open(name string) (fs.File, error) {
	text, ok := t[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &openText{Reader: strings.NewReader(text), textInfo: textInfo{path.Base(name), int64(len(text))}}, nil
}

// ReadDir implements fs.ReadDirFS, for folders without folders.
func (t texts) ReadDir(folder string) (entries []fs.DirEntry, err error) {
	for name, text := range t {
		if path.Dir(name) == folder {
			entries = append(entries, fs.FileInfoToDirEntry(textInfo{path.Base(name), int64(len(text))}))
		}
	}
	if len(entries) == 0 {
		return nil, &fs.PathError{Op: "readdir", Path: folder, Err: fs.ErrNotExist}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

type openText struct {
	*strings.Reader
	textInfo
}

func (f *openText) Stat() (fs.FileInfo, error) { return f.textInfo, nil }
func (*openText) Close() error                 { return nil }
func (f *openText) Size() int64                { return f.textInfo.size }

// textInfo is what is known of a file in memory.
type textInfo struct {
	name string
	size int64
}

func (i textInfo) Name() string     { return i.name }
func (i textInfo) Size() int64      { return i.size }
func (textInfo) Mode() fs.FileMode  { return 0o444 }
func (textInfo) ModTime() time.Time { return time.Time{} }
func (textInfo) IsDir() bool        { return false }
func (textInfo) Sys() any           { return nil }
