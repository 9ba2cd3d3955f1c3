package schemas

import (
	"embed"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"
)

// Namespace is the Avro namespace of every record.
const Namespace = "tillstream"

// avscFiles holds today's schemas and those of every release, which stay readable for ever.
//
//go:embed *.avsc released
var avscFiles embed.FS

// AVSC returns the schema text of the record called name, for example "OrderEvent"; ok is false where there is none.
func AVSC(name string) (text string, ok bool) {
	b, err := avscFiles.ReadFile(name + ".avsc")
	return string(b), err == nil
}

// Release is the set of schemas of one released version.
type Release struct {
	Number  int               // 1 for the folder released/v1
	Schemas map[string]string // record name to schema text
}

// Releases lists the released versions, oldest first. Today's schemas must be able to read all of them.
func Releases() []Release {
	dirs, err := fs.ReadDir(avscFiles, "released")
	if err != nil {
		panic("schemas: the embedded folder released cannot be read: " + err.Error())
	}
	var out []Release
	for _, d := range dirs {
		number, err := strconv.Atoi(strings.TrimPrefix(d.Name(), "v"))
		if err != nil {
			continue
		}
		out = append(out, Release{number, readRelease(path.Join("released", d.Name()))})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Number < out[j].Number })
	return out
}

func readRelease(dir string) map[string]string {
	set := make(map[string]string)
	files, err := fs.Glob(avscFiles, dir+"/*.avsc")
	if err != nil {
		panic("schemas: bad pattern: " + err.Error())
	}
	for _, f := range files {
		b, err := avscFiles.ReadFile(f)
		if err != nil {
			panic("schemas: the embedded file " + f + " cannot be read: " + err.Error())
		}
		set[strings.TrimSuffix(path.Base(f), ".avsc")] = string(b)
	}
	return set
}
