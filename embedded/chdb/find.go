package chdb

import (
	"os"
	"path/filepath"
	"runtime"
)

const (
	// EnvLibrary names the library file and overrides every other place.
	EnvLibrary = "TILLSTREAM_CHDB"
	// Version is the release of the library that the bindings were written for
	// and that scripts/install.sh fetches.
	Version = "26.7.3-stable.1"

	fileName = "libchdb.so"
	// maxParents bounds the walk upwards from a working directory (tests run in
	// their package's folder, the cache is in the repository's root).
	maxParents = 8
)

// CachePath is where scripts/install.sh puts the library, relative to the
// project's root.
func CachePath() string { return filepath.Join(".cache", "chdb", Version, fileName) }

// Find looks for the library: the file that TILLSTREAM_CHDB names, the cache
// folder in the working directory, the executable's directory or a parent of
// either, the system's library directories. It returns *MissingError when there
// is none, also when TILLSTREAM_CHDB names a file that does not exist.
func Find() (string, error) {
	if named := os.Getenv(EnvLibrary); named != "" {
		if isFile(named) {
			return named, nil
		}
		return "", &MissingError{Tried: []string{EnvLibrary + "=" + named}}
	}
	var tried []string
	for _, place := range places() {
		if isFile(place) {
			return place, nil
		}
		tried = append(tried, place)
	}
	return "", &MissingError{Tried: shorten(tried)}
}

func places() []string {
	var list []string
	if dir, err := os.Getwd(); err == nil {
		list = append(list, upwards(dir)...)
	}
	if exe, err := os.Executable(); err == nil {
		dir := filepath.Dir(exe)
		list = append(list, filepath.Join(dir, fileName))
		list = append(list, upwards(dir)...)
	}
	for _, dir := range systemDirs() {
		list = append(list, filepath.Join(dir, fileName))
	}
	return list
}

func upwards(dir string) []string {
	var list []string
	for range maxParents {
		list = append(list, filepath.Join(dir, CachePath()))
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	return list
}

func systemDirs() []string {
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	dirs := []string{"/usr/local/lib", "/usr/lib"}
	if triplet != "" {
		dirs = append(dirs, filepath.Join("/usr/lib", triplet))
	}
	return dirs
}

// shorten keeps the message readable: the nearest cache folder and the
// system's directories say enough.
func shorten(tried []string) []string {
	seen := map[string]bool{}
	var kept []string
	for i, place := range tried {
		system := false
		for _, dir := range systemDirs() {
			system = system || filepath.Dir(place) == dir
		}
		if (i == 0 || system) && !seen[place] {
			seen[place] = true
			kept = append(kept, place)
		}
	}
	return kept
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
