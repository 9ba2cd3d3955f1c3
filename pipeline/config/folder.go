package config

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Folder is a folder of configuration whose files are read and edited by name. Nothing outside of it can be reached: not by
// a path, and not through a link. Its methods may be called from several goroutines.
type Folder struct {
	Dir string
	// Kinds are the folders of documents besides connections and destinations.
	Kinds []Kind

	mu sync.Mutex // one edit at a time
}

// FileInfo is one file of the folder.
type FileInfo struct {
	Path     string // with slashes
	Kind     string // settings, or the name of its folder
	Name     string // of what it configures
	Text     string
	Modified time.Time
}

// ErrPath is returned for a path that cannot be that of a file of a configuration.
var ErrPath = errors.New("is no file of a configuration")

// ErrEdited is returned by Replace where the file is not as its caller knew it.
var ErrEdited = errors.New("the file was changed meanwhile")

// Bounds of a folder.
const (
	filesMax     = 20_000
	nameBytesMax = 200
)

// SettingsKind is the kind of SettingsFile.
const SettingsKind = "settings"

var fileForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*\.ya?ml$`)

// ETag names a text: another text has another one. Empty: there is no file.
func ETag(text *string) string {
	if text == nil {
		return ""
	}
	sum := sha256.Sum256([]byte(*text))
	return hex.EncodeToString(sum[:16])
}

// KindOf tells what a path is the file of. The error is ErrPath, with the reason.
func (f *Folder) KindOf(file string) (kind, name string, err error) {
	refuse := func(why string) (string, string, error) {
		return "", "", fmt.Errorf("%.80q %w: %s", file, ErrPath, why)
	}
	if file == SettingsFile {
		return SettingsKind, strings.TrimSuffix(SettingsFile, path.Ext(SettingsFile)), nil
	}
	folder, base, ok := strings.Cut(file, "/")
	switch {
	case len(file) > nameBytesMax:
		return refuse(fmt.Sprintf("it is longer than %d bytes", nameBytesMax))
	case !ok || !slices.Contains(f.folders(), folder):
		return refuse("files are " + SettingsFile + " and NAME.yaml in " + strings.Join(f.folders(), ", "))
	case !fileForm.MatchString(base):
		return refuse("a file's name has letters, digits, dots, - and _, and ends in .yaml")
	}
	return folder, strings.TrimSuffix(base, path.Ext(base)), nil
}

func (f *Folder) folders() []string {
	list := []string{ConnectionsFolder, "destinations"}
	for _, k := range f.Kinds {
		list = append(list, k.Folder)
	}
	return list
}

// Read reads one file; nil: there is none. The error is ErrPath, or that it can't be read.
func (f *Folder) Read(file string) (*FileInfo, error) {
	kind, name, err := f.KindOf(file)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return nil, fmt.Errorf("config folder %s: %w", f.Dir, err)
	}
	defer root.Close()
	return read(root, file, kind, name)
}

func read(root *os.Root, file, kind, name string) (*FileInfo, error) {
	in, err := root.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %w: it is a folder or a device", file, ErrPath)
	}
	b, err := io.ReadAll(io.LimitReader(in, fileBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if len(b) > fileBytesMax {
		return nil, fmt.Errorf("%s is longer than %d bytes: split it", file, fileBytesMax)
	}
	return &FileInfo{Path: file, Kind: kind, Name: name, Text: string(b), Modified: info.ModTime().UTC()}, nil
}

// List reads every file, by path. A file that cannot be read is told and left out.
func (f *Folder) List() (list []FileInfo, problems Problems, err error) {
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("config folder %s: %w", f.Dir, err)
	}
	defer root.Close()
	for _, folder := range append([]string{"."}, f.folders()...) {
		entries, err := fs.ReadDir(root.FS(), folder)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			problems = append(problems, Problem{File: folder, Message: err.Error()})
			continue
		}
		for _, e := range entries {
			file := path.Join(folder, e.Name())
			kind, name, err := f.KindOf(file)
			if err != nil || e.IsDir() {
				continue
			}
			got, err := read(root, file, kind, name)
			switch {
			case err != nil:
				problems = append(problems, Problem{File: file, Message: err.Error()})
			case got != nil:
				if list = append(list, *got); len(list) > filesMax {
					return nil, nil, fmt.Errorf("config folder %s has more than %d files", f.Dir, filesMax)
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b FileInfo) int { return strings.Compare(a.Path, b.Path) })
	return list, problems, nil
}

// Texts are the texts of List, by path.
func (f *Folder) Texts() (map[string]string, error) {
	list, problems, err := f.List()
	if err != nil {
		return nil, err
	}
	if len(problems) > 0 {
		return nil, problems
	}
	texts := make(map[string]string, len(list))
	for _, i := range list {
		texts[i.Path] = i.Text
	}
	return texts, nil
}

// Tag names the state of all files together.
func Tag(texts map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		fmt.Fprintf(h, "%s\x00%d\x00%s", name, len(texts[name]), texts[name])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Writable says why files cannot be written; nil: they can.
func (f *Folder) Writable() error {
	if f.Dir == "" {
		return errors.New("this process has no folder of configuration; it takes what is put in force by others")
	}
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return fmt.Errorf("the folder %s cannot be opened: %w", f.Dir, err)
	}
	defer root.Close()
	temp := newName(".")
	out, err := root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("the folder %s cannot be written by this process: %w; give it the right to, or edit the files where they come from and apply them", f.Dir, err)
	}
	return errors.Join(out.Close(), root.Remove(temp))
}

func newName(dir string) string { return path.Join(dir, ".new-"+rand.Text()) }

// Change is what one file becomes; nil: it goes.
type Change struct {
	Path string
	Text *string
}

// Replace writes changes if every file that they name is as its caller knew it: was gives its ETag, empty where there was no
// file. Each file is written whole or not at all; nothing is written if one is refused. prepare, which may be nil, has the
// last word before. The error is ErrPath, ErrEdited, that of prepare, or that a file can't be written.
func (f *Folder) Replace(changes []Change, was func(file string) string, prepare func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range changes {
		if c.Text != nil && len(*c.Text) > fileBytesMax {
			return fmt.Errorf("%s would be longer than %d bytes: split it", c.Path, fileBytesMax)
		}
	}
	same := func() error {
		for _, c := range changes {
			now, err := f.Read(c.Path)
			if err != nil {
				return err
			}
			var text *string
			if now != nil {
				text = &now.Text
			}
			if ETag(text) != was(c.Path) {
				return fmt.Errorf("%s: %w", c.Path, ErrEdited)
			}
		}
		return nil
	}
	if err := same(); err != nil {
		return err
	}
	if prepare != nil {
		if err := prepare(); err != nil {
			return err
		}
	}
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return fmt.Errorf("config folder %s: %w", f.Dir, err)
	}
	defer root.Close()
	return f.write(root, changes, same)
}

// write writes all texts beside their files first, looks again at the files, then puts each in its place.
func (f *Folder) write(root *os.Root, changes []Change, same func() error) (err error) {
	temps := map[string]string{}
	defer func() {
		for _, temp := range temps {
			_ = root.Remove(temp) // gone already where it was put in its place
		}
	}()
	for _, c := range changes {
		if info, err := root.Lstat(c.Path); err == nil && !info.Mode().IsRegular() {
			return fmt.Errorf("%s is a link: change what it points to", c.Path)
		}
		if c.Text == nil {
			continue
		}
		dir := path.Dir(c.Path)
		if err := root.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("write %s: %w", c.Path, err)
		}
		temp := newName(dir)
		temps[c.Path] = temp
		out, err := root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("write %s: %w", c.Path, err)
		}
		_, err = io.WriteString(out, *c.Text)
		if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
			return fmt.Errorf("write %s: %w", c.Path, err)
		}
	}
	if err := same(); err != nil { // somebody's editor may have saved it while this was prepared
		return err
	}
	for _, c := range changes {
		if c.Text == nil {
			err = root.Remove(c.Path)
		} else {
			err = root.Rename(temps[c.Path], c.Path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("write %s: %w", c.Path, err)
		}
	}
	return nil
}

// LoadTexts loads a configuration from texts by path, as Load does from a folder. Secrets in files are looked for in dir.
func LoadTexts(dir string, files map[string]string, o Options) (*Config, error) {
	if o.ReadSecret == nil {
		o.ReadSecret = SecretReader(dir)
	}
	return Load(texts(files), o)
}
