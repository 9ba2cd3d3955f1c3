// Command build bundles the page: it reads web/src and the tarballs of web/vendor and writes web/dist, which is committed
// and embedded. The same sources give the same bytes. It needs neither Node nor a network.
//
//	go run ./web/build            writes web/dist
//	go run ./web/build -root DIR  the same for a checkout elsewhere
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", ".", "folder of the repository")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	web := filepath.Join(root, "web")
	files, err := bundle(web)
	if err != nil {
		return err
	}
	dist := filepath.Join(web, "dist")
	if err := os.RemoveAll(dist); err != nil {
		return fmt.Errorf("clear web/dist: %w", err)
	}
	for name, content := range files {
		path := filepath.Join(dist, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write web/dist: %w", err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("write web/dist: %w", err)
		}
	}
	size, err := measure(files)
	if err != nil {
		return err
	}
	fmt.Printf("web/dist: %d files; the largest screen (%s) is %.1f kB compressed with all that it needs (at most %d), all screens and languages %.1f kB (at most %d)\n",
		len(files), size.screen, float64(size.largest)/1000, compressedBytesMax/1000, float64(size.whole)/1000, wholeBytesMax/1000)
	return size.check()
}
