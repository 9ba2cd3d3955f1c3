package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// unpackedBytesMax bounds what one tarball may unpack to.
const unpackedBytesMax = 32 << 20

// libraries are the tarballs that the page is made of: file, sha512 as npm writes it, and the modules that they give.
var libraries = []struct {
	name, file, integrity string
	modules               map[string]string
}{
	{"preact", "preact-11.2.0.tgz", "/HfHI/7N84e6GrWBJ3J280z3mLaRJiDcSvj/A+y/4AbLnND/1UlGHe1sR6oYuTGwId0nP7dqDU9OnLxMPZ7xBg==", map[string]string{
		"preact": "dist/preact.mjs", "preact/hooks": "hooks/dist/hooks.mjs", "preact/jsx-runtime": "jsx-runtime/dist/jsxRuntime.mjs",
	}},
	{"@preact/signals", "preact-signals-2.11.4.tgz", "Rb+5RPo9gWSaHtzJeauhHxiC8KP/IF2DEPkHPEOGOnuy2wnJzRqyeLRankUCYd6ADqtxS6GnWGv6Ie343d8aYw==", map[string]string{
		"@preact/signals": "dist/signals.mjs",
	}},
	{"@preact/signals-core", "preact-signals-core-1.14.5.tgz", "vcRv7Ityz5JVmeiVqIluLFzT/PDS/AlhHUpw3/aUWqcVUs6bDGIPXE/6RSC4evBNWYvnniozg5Syfj33al3gkg==", map[string]string{
		"@preact/signals-core": "dist/signals-core.mjs",
	}},
	{"uplot", "uplot-1.6.32.tgz", "KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==", map[string]string{
		"uplot": "dist/uPlot.esm.js",
	}},
}

// library is an unpacked tarball: its files by path inside the package, and the modules that it gives.
type library struct {
	files   map[string][]byte
	modules map[string]string
}

func (l library) file(name string) ([]byte, error) {
	if content, ok := l.files[name]; ok {
		return content, nil
	}
	return nil, fmt.Errorf("the library has no file %s", name)
}

func readLibraries(folder string) (map[string]library, error) {
	got := map[string]library{}
	for _, l := range libraries {
		packed, err := read(filepath.Join(folder, l.file))
		if err != nil {
			return nil, err
		}
		sum := sha512.Sum512(packed)
		if text := base64.StdEncoding.EncodeToString(sum[:]); text != l.integrity {
			return nil, fmt.Errorf("%s has the checksum sha512-%s, expected sha512-%s: it is not the library that was looked at", l.file, text, l.integrity)
		}
		files, err := unpack(packed)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.file, err)
		}
		got[l.name] = library{files: files, modules: l.modules}
	}
	return got, nil
}

// unpack returns the files of an npm tarball without its first folder.
func unpack(packed []byte) (map[string][]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	files := map[string][]byte{}
	for t, left := tar.NewReader(z), int64(unpackedBytesMax); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		if left -= h.Size; left < 0 {
			return nil, fmt.Errorf("unpack: more than %d bytes", unpackedBytesMax)
		}
		content, err := io.ReadAll(t)
		if err != nil {
			return nil, fmt.Errorf("unpack %s: %w", h.Name, err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		files[name] = content
	}
}

// libraryPlugin gives the bundler the modules of the tarballs. Nothing else is found outside the sources.
func libraryPlugin(vendored map[string]library) api.Plugin {
	const space = "library"
	return api.Plugin{Name: space, Setup: func(b api.PluginBuild) {
		b.OnResolve(api.OnResolveOptions{Filter: `^[^./]`}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
			if a.Kind == api.ResolveEntryPoint || strings.Contains(a.Path, ":") {
				return api.OnResolveResult{}, nil
			}
			for name, l := range vendored {
				if file := l.modules[a.Path]; file != "" {
					return api.OnResolveResult{Path: name + "!" + file, Namespace: space, SideEffects: api.SideEffectsTrue}, nil
				}
			}
			return api.OnResolveResult{}, fmt.Errorf("%q is no library of the page (web/vendor)", a.Path)
		})
		b.OnResolve(api.OnResolveOptions{Filter: `^\.`, Namespace: space}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
			name, file, _ := strings.Cut(a.Importer, "!")
			return api.OnResolveResult{Path: name + "!" + path.Join(path.Dir(file), a.Path), Namespace: space}, nil
		})
		b.OnLoad(api.OnLoadOptions{Filter: `.*`, Namespace: space}, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
			name, file, _ := strings.Cut(a.Path, "!")
			content, err := vendored[name].file(file)
			text := string(content)
			return api.OnLoadResult{Contents: &text, Loader: api.LoaderJS}, err
		})
	}}
}
