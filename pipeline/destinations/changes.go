package destinations

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
)

// Reconnect gives a destination a new key or other settings, or connects one again that was disconnected, as its file
// says. Every other byte of the file, comments above all, stays. It is checked first.
func (d *Desk) Reconnect(ctx context.Context, name string, change Change) (r *Result, err error) {
	err = d.Folder.Alone(func() error {
		file, aside, err := d.fileOf(name)
		if err != nil {
			return err
		}
		from := file
		if file == "" {
			if aside == "" {
				return unknown(name)
			}
			file, from = aside, aside+config.DisconnectedSuffix
		}
		b, err := os.ReadFile(d.Folder.Path(from))
		if err != nil {
			return fmt.Errorf("reconnect %s: %w", name, err)
		}
		text, secrets, err := change.apply(name, string(b))
		if err != nil {
			return err
		}
		c, err := d.Folder.LoadWith(map[string]*string{file: &text}, secrets)
		if err != nil {
			return err
		}
		x, ok := find(c, name)
		if !ok {
			return unknown(name)
		}
		if err := fits(c, x, change.Force); err != nil {
			return err
		}
		t, err := d.approve(ctx, x, change.Force)
		if err != nil {
			return err
		}
		if err := d.write(file, text, secrets); err != nil {
			return err
		}
		r = &Result{Destination: viewOf(x), Trial: t, Next: []string{name + " is connected with what was given"}}
		if from != file {
			if err := os.Remove(d.Folder.Path(from)); err != nil {
				return connections.Refuse(connections.Failed, "%s is connected again, but what was put aside could not be removed: %s", name, outbound.Redact(err.Error()))
			}
			r.Next[0] = name + " is connected again; what was sent before is as it was"
		}
		return nil
	})
	if err == nil {
		d.settle(ctx, r, name)
	}
	return r, err
}

// apply writes a change into a destination's text.
func (c Change) apply(name, text string) (string, map[string]string, error) {
	if err := validKeys(c.Settings, c.Secrets, c.References); err != nil {
		return "", nil, err
	}
	secrets := map[string]string{}
	set := func(key, value string) (err error) {
		if text, err = withSetting(text, key, value); err != nil {
			return connections.Refuse(connections.Conflict, "%s: %s", key, err.Error())
		}
		return nil
	}
	for key, value := range c.Settings {
		if strings.Contains(value, "${") || strings.ContainsAny(value, "\r\n") {
			return "", nil, connections.Refuse(connections.Invalid, "%s: a reference is given as a secret, and a setting is one line", key)
		}
		if err := set(key, quoted(value)); err != nil {
			return "", nil, err
		}
	}
	for key, ref := range c.References {
		if kind, rest, ok := strings.Cut(ref, ":"); !ok || kind != "env" && kind != "file" || rest == "" || strings.ContainsAny(rest, "{}\n") {
			return "", nil, connections.Refuse(connections.Invalid, "%s: write env:NAME or file:PATH, where the secret is kept", key)
		}
		if err := set(key, "${"+ref+"}"); err != nil {
			return "", nil, err
		}
	}
	for key, value := range c.Secrets {
		if value == "" || strings.ContainsAny(value, "\r\n\x00") {
			return "", nil, connections.Refuse(connections.Invalid, "%s: a secret is one line of text", key)
		}
		file := config.SecretsFolder + "/" + stem(name) + "." + strings.ReplaceAll(key, ".", "-") + ".key"
		// The file that holds it already is written anew, if it is this destination's own and holds nothing else.
		if had, ok := ownSecret(name, text, key); ok {
			file = had
		}
		secrets[file] = value
		if err := set(key, "${file:"+file+"}"); err != nil {
			return "", nil, err
		}
	}
	return text, secrets, nil
}

// quoted is a text as YAML has it on one line.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// errByHand is returned for a setting that is not written in a way for which an edit is known.
var errByHand = errors.New("it is not in the file, or written in an unusual way: edit the file by hand")

// ownSecret is the file below secrets that was written for this setting of the destination.
func ownSecret(name, text, key string) (string, bool) {
	node, err := settingNode(text, key)
	if err != nil {
		return "", false
	}
	reference := node.GetToken().Value
	file, ok := strings.CutPrefix(strings.TrimSuffix(reference, "}"), "${file:")
	return file, ok && strings.HasPrefix(file, config.SecretsFolder+"/"+stem(name)+".") && strings.Count(text, reference) == 1
}

// settingNode finds the scalar that a setting of a destination's file has.
func settingNode(text, key string) (ast.Node, error) {
	file, err := parser.ParseBytes([]byte(text), 0)
	if err != nil || len(file.Docs) != 1 {
		return nil, errByHand
	}
	node := file.Docs[0].Body
	for _, word := range append([]string{"settings"}, strings.Split(key, ".")...) {
		if node = child(node, word); node == nil {
			return nil, errByHand
		}
	}
	if _, scalar := node.(ast.ScalarNode); !scalar || node.GetToken() == nil || node.Type() == ast.LiteralType {
		return nil, errByHand
	}
	return node, nil
}

// withSetting is a destination's file with another value for one setting that it has, by its dotted path below settings.
func withSetting(text, key, value string) (string, error) {
	node, err := settingNode(text, key)
	if err != nil {
		return "", err
	}
	token := node.GetToken()
	lines := strings.SplitAfter(text, "\n")
	at, column := token.Position.Line-1, token.Position.Column-1
	if at < 0 || at >= len(lines) {
		return "", errByHand
	}
	// Columns count characters.
	line := []rune(lines[at])
	written := []rune(strings.TrimSpace(token.Origin))
	if column < 0 || len(written) == 0 || column+len(written) > len(line) || string(line[column:column+len(written)]) != string(written) {
		return "", errByHand
	}
	lines[at] = string(line[:column]) + value + string(line[column+len(written):])
	return strings.Join(lines, ""), nil
}

func child(node ast.Node, word string) ast.Node {
	var values []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	}
	for _, kv := range values {
		if kv.Key.GetToken().Value == word {
			return kv.Value
		}
	}
	return nil
}

// Disconnect stops sending to a destination: its file is put aside (forget: deleted, with its secrets). Nothing that was
// written to the CRM is removed. It is refused while something names it.
func (d *Desk) Disconnect(ctx context.Context, name string, forget bool) (r *Result, err error) {
	err = d.Folder.Alone(func() error {
		file, aside, err := d.fileOf(name)
		if err != nil {
			return err
		}
		switch {
		case file == "" && aside == "":
			return unknown(name)
		case file != "":
			if err := d.unnamed(name, file); err != nil {
				return err
			}
			aside = file
			if err := os.Rename(d.Folder.Path(file), d.Folder.Path(file+config.DisconnectedSuffix)); err != nil {
				return connections.Refuse(connections.Failed, "put the file of %s aside: %s", name, err.Error())
			}
		}
		kept := aside + config.DisconnectedSuffix
		r = &Result{Destination: View{Name: name, State: connections.StateDisconnected, File: kept, Alarms: []connections.Alarm{}}}
		r.Findings = []connections.FindingView{}
		r.Next = append(r.Next,
			name+" is disconnected: nothing is written there any more",
			"what was written stays in the CRM: contacts, fields, tags, lists, orders; what was sent stays in the log and in reports",
			"commands that still wait for it are given up after 72 h as dead letters, unless it is connected again before")
		if !forget {
			r.Next = append(r.Next, fmt.Sprintf("its file is kept as %s; tillstream connect --reconnect %s connects it again", kept, name))
			return nil
		}
		if err := d.forget(name, kept); err != nil {
			return err
		}
		r.Destination.File = ""
		r.Next = append(r.Next, "its file and the secrets that Tillstream had written for it are deleted; delete the key in the CRM, too, if it is not to be used again")
		return nil
	})
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(ctx, settleMax)
	defer cancel()
	if d.Adopted != nil && d.Adopted(ctx, name, true) {
		r.Next = append(r.Next, "the running process has dropped it")
	} else {
		r.Next = append(r.Next, "processes that deliver drop it at their next start; until then 'tillstream pause destination "+name+"' stops them")
	}
	return r, nil
}

// unnamed refuses where the rest of the configuration is not good without the destination.
func (d *Desk) unnamed(name, file string) error {
	without := map[string]*string{file: nil}
	if c, err := d.Folder.Load(); err == nil && len(c.Destinations) == 1 {
		// A folder without any destination may name what it likes, so the last one is looked for beside another.
		text, err := os.ReadFile(d.Folder.Path(file))
		if err != nil {
			return connections.Refuse(connections.Failed, "read the file of %s: %s", name, err.Error())
		}
		standIn := string(text)
		without[strings.TrimSuffix(file, filepath.Ext(file))+"-2.yaml"] = &standIn
	}
	_, err := d.Folder.LoadWith(without, nil)
	var problems config.Problems
	if !errors.As(err, &problems) {
		return err
	}
	if _, asItIs := d.Folder.Load(); asItIs != nil {
		return asItIs // it was not good before
	}
	where := []string{}
	for _, p := range problems {
		where = append(where, p.String())
	}
	return connections.Refuse(connections.Conflict,
		"nothing is changed: the configuration names %s (%s); take it out there first, or only stop sending with 'tillstream pause destination %s'", name, strings.Join(where, "; "), name)
}

// forget deletes a disconnected destination's file, and the secrets that were written for it.
func (d *Desk) forget(name, kept string) error {
	files, err := filepath.Glob(d.Folder.Path(config.SecretsFolder + "/" + stem(name) + ".*"))
	for _, file := range append(files, d.Folder.Path(kept)) {
		if gone := os.Remove(file); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	if err != nil {
		return connections.Refuse(connections.Failed, "%s is disconnected, but not all of its files could be deleted: %s", name, err.Error())
	}
	return nil
}
