package connections

import (
	"fmt"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/schemas"
)

// Draft is a connection that somebody wants.
type Draft struct {
	Type        string              `json:"type"`
	Name        string              `json:"name"`
	Environment schemas.Environment `json:"environment"`
	// Resources are ids; none: all of the connector's.
	Resources []string `json:"resources"`
	// Settings are the connector's own, by dotted path, each as it would be written in YAML.
	Settings map[string]string `json:"settings"`
	// Secrets are values by dotted path. They are kept in files of their own and shown to nobody.
	Secrets map[string]string `json:"secrets"`
	// AllowPrivate and TLSRoots are for a provider's twin inside the network.
	AllowPrivate bool   `json:"allow_private_address"`
	TLSRoots     string `json:"tls_roots"`
	// Force connects although the check found something bad.
	Force bool `json:"force"`
	// References are secrets that are kept elsewhere, by dotted path: env:NAME or file:PATH.
	References map[string]string `json:"-"`
}

// Setting is one key of a connector's settings.
type Setting struct {
	Key    string `json:"key"` // dotted path
	Type   string `json:"type"`
	Secret bool   `json:"secret"`
	List   bool   `json:"list"` // elements have the paths KEY.0, KEY.1 and so on
}

var (
	secretType   = reflect.TypeFor[schemas.Secret]()
	durationType = reflect.TypeFor[time.Duration]()
)

// Settings lists what a connector can be told, in the order of its configuration.
func Settings(c connectors.Connector) []Setting { return SettingsOf(c.Config()) }

// SettingsOf lists the settings of a configuration, a pointer to a struct with yaml tags, in its order.
func SettingsOf(cfg any) []Setting { return settingsOf(reflect.TypeOf(cfg), "") }

func settingsOf(t reflect.Type, at string) (out []Setting) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		key, ft := at+name, t.Field(i).Type
		for ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		s := Setting{Key: key}
		if ft.Kind() == reflect.Slice {
			s.List, ft = true, ft.Elem()
		}
		switch {
		case ft == secretType:
			s.Type, s.Secret = "text", true
		case ft == durationType:
			s.Type = "duration"
		case ft.Kind() == reflect.Struct && !s.List:
			out = append(out, settingsOf(ft, key+".")...)
			continue
		default:
			s.Type = typeWord(ft.Kind())
		}
		out = append(out, s)
	}
	return out
}

func typeWord(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "yes or no"
	case reflect.Struct, reflect.Map:
		return "keys and values"
	}
	return "number"
}

// Missing says what d still lacks to be a configuration, in the words of its connector. Secrets that are references
// count as given.
func (d Draft) Missing(c connectors.Connector) []connectors.Finding {
	cfg := c.Config()
	v, ok := cfg.(connectors.Validator)
	if !ok {
		return nil
	}
	given := map[string]string{}
	for _, m := range []map[string]string{d.Settings, d.Secrets, d.References} {
		for k, text := range m {
			given[strings.TrimSuffix(k, ".0")] = text
		}
	}
	var out []connectors.Finding
	for _, f := range v.Validate() {
		if _, has := given[f.Field]; f.Level == connectors.Bad && f.Field != "" && !has {
			out = append(out, f)
		}
	}
	return out
}

// file is a draft as its files: the connection's text and the secrets' by their path in the folder.
func (d Draft) file(c connectors.Connector, token string) (text string, secrets map[string]string, err error) {
	tree, secrets, err := d.Body(Settings(c), d.Name)
	if err != nil {
		return "", nil, err
	}
	head := yaml.MapSlice{{Key: "connector", Value: d.Type}, {Key: "environment", Value: string(d.Environment)}}
	tail := yaml.MapSlice{{Key: "token", Value: token}}
	if d.AllowPrivate {
		tail = append(tail, yaml.MapItem{Key: "allow_private_address", Value: true})
	}
	if d.TLSRoots != "" {
		tail = append(tail, yaml.MapItem{Key: "tls_roots", Value: d.TLSRoots})
	}
	if tree != nil {
		tail = append(tail, yaml.MapItem{Key: "settings", Value: tree})
	}
	resources := ""
	if len(d.Resources) > 0 {
		resources = "resources: " + flow(d.Resources) + "\n"
	}
	before, err := yaml.Marshal(head)
	if err != nil {
		return "", nil, fmt.Errorf("write the connection: %w", err)
	}
	after, err := yaml.MarshalWithOptions(tail, yaml.IndentSequence(true))
	if err != nil {
		return "", nil, fmt.Errorf("write the connection: %w", err)
	}
	return "# " + c.Title + ", " + d.Name + ". The file's name is the connection's name; change it while Tillstream runs.\n" +
		string(before) + resources + string(after), secrets, nil
}

// Body is what a file says below settings, nil for nothing, and the secrets that are to be kept by the path of their file in
// the folder: stem, which is a path below secrets, begins its name.
func (d Draft) Body(list []Setting, stem string) (tree any, secrets map[string]string, err error) {
	known, order := map[string]Setting{}, map[string]int{}
	for i, s := range list {
		known[s.Key], order[s.Key] = s, i
	}
	values, err := d.values(known)
	if err != nil {
		return nil, nil, err
	}
	if secrets, err = d.secrets(known, values, stem); err != nil {
		return nil, nil, err
	}
	tree, err = treeOf(values, order)
	return tree, secrets, err
}

// values are the settings by their paths, each of the type that it has.
func (d Draft) values(known map[string]Setting) (map[string]any, error) {
	values := map[string]any{}
	for key, value := range d.Settings {
		if strings.Contains(value, "${") {
			return nil, refuse(Invalid, "%s: a reference is given as a secret, and no other text may hold ${", key)
		}
		s, ok := known[key]
		switch {
		case ok && s.Secret:
			return nil, refuse(Invalid, "%s is a secret: give it as one (--secret %s=env:NAME or file:PATH), not among the settings", key, key)
		case ok && !s.List && (s.Type == "text" || s.Type == "duration"):
			values[key] = value
		default:
			var v any
			if err := yaml.Unmarshal([]byte(value), &v); err != nil {
				return nil, refuse(Invalid, "%s: the value cannot be read as YAML", key)
			}
			values[key] = v
		}
	}
	return values, nil
}

// secrets puts references to the secrets among the values, and returns those that are to be kept by the path of their file.
func (d Draft) secrets(known map[string]Setting, values map[string]any, stem string) (map[string]string, error) {
	for key, ref := range d.References {
		if kind, rest, ok := strings.Cut(ref, ":"); !ok || kind != "env" && kind != "file" || rest == "" || strings.ContainsAny(rest, "{}") {
			return nil, refuse(Invalid, "%s: write env:NAME or file:PATH, where the secret is kept", key)
		}
		values[listKey(known, key)] = "${" + ref + "}"
	}
	kept := map[string]string{}
	for key, value := range d.Secrets {
		if value == "" || strings.ContainsAny(value, "\r\n\x00") {
			return nil, refuse(Invalid, "%s: a secret is one line of text", key)
		}
		name := stem + ".key"
		if len(d.Secrets) > 1 {
			name = stem + "." + strings.ReplaceAll(key, ".", "-") + ".key"
		}
		file := path.Join(config.SecretsFolder, name)
		kept[file] = value
		values[listKey(known, key)] = "${file:" + file + "}"
	}
	return kept, nil
}

// listKey is the path of a list's first element where only the list was named.
func listKey(known map[string]Setting, key string) string {
	if s, ok := known[key]; ok && s.List {
		return key + ".0"
	}
	return key
}

// treeOf nests values by their dotted paths, in the order of the connector's settings.
func treeOf(values map[string]any, order map[string]int) (any, error) {
	keys := make([]string, 0, len(values))
	for k := range values {
		keys = append(keys, k)
	}
	rank := func(key string) int {
		for at := key; ; {
			if n, ok := order[at]; ok {
				return n
			}
			cut := strings.LastIndexByte(at, '.')
			if cut < 0 {
				return len(order)
			}
			at = at[:cut]
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return nest(keys, values, "")
}

// listItemsMax bounds a list that is given element by element.
const listItemsMax = 64

// nest builds what stands below the path at; keys are all paths, in order.
func nest(keys []string, values map[string]any, at string) (any, error) {
	var names []string
	for _, k := range keys {
		rest, below := strings.CutPrefix(k, at)
		if !below {
			continue
		}
		name, _, _ := strings.Cut(rest, ".")
		if name == "" {
			return nil, refuse(Invalid, "setting %q: a path has names between its dots", k)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	items := make([]any, len(names))
	list := 0
	for i, name := range names {
		v, leaf := values[at+name]
		deeper, err := nest(keys, values, at+name+".")
		switch {
		case err != nil:
			return nil, err
		case leaf && deeper != nil:
			return nil, refuse(Invalid, "setting %q has a value of its own and others below it", at+name)
		case !leaf:
			v = deeper
		}
		items[i] = v
		if n, err := strconv.Atoi(name); err == nil && n == list && n < listItemsMax {
			list++
		}
	}
	if at != "" && list == len(names) {
		return items, nil
	}
	out := make(yaml.MapSlice, len(names))
	for i, name := range names {
		out[i] = yaml.MapItem{Key: name, Value: items[i]}
	}
	return out, nil
}
