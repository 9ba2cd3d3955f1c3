package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

const (
	// schemasMax bounds the schemas that are remembered; further ones are asked for each time.
	schemasMax = 1000
	// cacheBytesMax bounds the cache file that is read.
	cacheBytesMax = 64 << 20
)

// cache is the content of the cache file.
type cache struct {
	IDs     map[string]int `json:"ids"`     // record name to id of its schema in Schemas
	Schemas map[int]string `json:"schemas"` // id to schema text, which never changes
}

// readCache returns an empty cache beside the error, so that its content can always be used.
func readCache(file string) (cache, error) {
	empty := cache{make(map[string]int), make(map[int]string)}
	if file == "" {
		return empty, errors.New("none is configured")
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, fmt.Errorf("cache file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, cacheBytesMax))
	if err != nil {
		return empty, fmt.Errorf("cache file: %w", err)
	}
	var read cache
	if err := json.Unmarshal(b, &read); err != nil {
		return empty, fmt.Errorf("cache file %s: %w", file, err)
	}
	if read.IDs == nil || read.Schemas == nil {
		return empty, fmt.Errorf("cache file %s: ids or schemas are missing", file)
	}
	return read, nil
}

// writeCache replaces the file as one step: after a crash it holds either the old content or the new one.
func writeCache(file string, c cache) (err error) {
	b, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return fmt.Errorf("cache file: %w", err)
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cache file: %w", err)
	}
	tmp, err := os.CreateTemp(dir, filepath.Base(file)+".*.tmp")
	if err != nil {
		return fmt.Errorf("cache file: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
			err = fmt.Errorf("cache file: %w", err)
		}
	}()
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Sync()
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the rename itself durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Entry is one remembered schema.
type Entry struct {
	Subject string // tillstream.<Record>, from the schema's own name
	ID      int
	Schema  string
}

// Remembered lists what a cache file holds, by rising id; none where there is no file yet. A registry that keeps nothing
// itself, such as an embedded one, gets its schemas back from it, under their old ids.
func Remembered(file string) ([]Entry, error) {
	c, err := readCache(file)
	if err != nil {
		return nil, err
	}
	list := make([]Entry, 0, len(c.Schemas))
	for id, text := range c.Schemas {
		list = append(list, Entry{subjectOf(text), id, text})
	}
	slices.SortFunc(list, func(a, b Entry) int { return a.ID - b.ID })
	return list, nil
}

// subjectOf returns the full name of the schema, which is its subject; "" where it has none.
func subjectOf(text string) string {
	var record struct{ Namespace, Name string }
	if err := json.Unmarshal([]byte(text), &record); err != nil || record.Name == "" {
		return ""
	}
	return record.Namespace + "." + record.Name
}
