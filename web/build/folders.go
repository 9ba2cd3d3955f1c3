package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// languages are those of the page; each folder with texts has one file of each.
var languages = []string{"en", "it", "fr"}

// foldersPlugin resolves what is made of the folders that there are, so that a new screen or dictionary needs no list:
//
//	screens:all  an object of the folders of src/screens: name to a function that loads it
//	texts:LANG   every LANG.json below src as one dictionary
func foldersPlugin(src string) api.Plugin {
	return api.Plugin{Name: "folders", Setup: func(b api.PluginBuild) {
		b.OnResolve(api.OnResolveOptions{Filter: `^(screens|texts):`}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
			return api.OnResolveResult{Path: a.Path, Namespace: "folders"}, nil
		})
		b.OnLoad(api.OnLoadOptions{Filter: `.*`, Namespace: "folders"}, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
			kind, what, _ := strings.Cut(a.Path, ":")
			if kind == "screens" {
				text, err := screens(src)
				return api.OnLoadResult{Contents: &text, ResolveDir: src, Loader: api.LoaderJS}, err
			}
			texts, err := dictionary(src, what)
			if err != nil {
				return api.OnLoadResult{}, err
			}
			content, err := json.Marshal(texts)
			text := string(content)
			return api.OnLoadResult{Contents: &text, Loader: api.LoaderJSON}, err
		})
	}}
}

func screens(src string) (string, error) {
	entries, err := os.ReadDir(filepath.Join(src, "screens"))
	if err != nil {
		return "", fmt.Errorf("list the screens: %w", err)
	}
	var b strings.Builder
	b.WriteString("export default {")
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(src, "screens", e.Name(), "index.tsx")); err == nil {
			fmt.Fprintf(&b, "%q: () => import(%q),", e.Name(), "./screens/"+e.Name()+"/index.tsx")
		}
	}
	b.WriteString("}")
	return b.String(), nil
}

// dictionary is every text of a language by its key. A key that two folders have is refused.
func dictionary(src, language string) (map[string]string, error) {
	paths, err := find(src, string(filepath.Separator)+language+".json")
	if err != nil {
		return nil, err
	}
	all, from := map[string]string{}, map[string]string{}
	for _, p := range paths {
		content, err := read(p)
		if err != nil {
			return nil, err
		}
		var texts map[string]string
		if err := json.Unmarshal(content, &texts); err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		for key, text := range texts {
			if from[key] != "" {
				return nil, fmt.Errorf("%s: the text %q is in %s too: begin it with the folder's name", p, key, from[key])
			}
			all[key], from[key] = text, p
		}
	}
	return all, nil
}

// find lists the files below root whose path ends so, sorted.
func find(root, suffix string) ([]string, error) {
	var list []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(p, suffix) {
			list = append(list, p)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", root, err)
	}
	slices.Sort(list)
	return list, nil
}

func read(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read a source of the page: %w", err)
	}
	return content, nil
}
