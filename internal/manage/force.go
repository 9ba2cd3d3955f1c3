package manage

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/config/versions"
)

// pageVersions is how many versions one page has.
const pageVersions = 50

// tried are the texts that a request means.
func (o *Office) tried(ctx context.Context, t api.ConfigTry) (map[string]string, error) {
	if t.Version != "" {
		if t.Files != nil || t.Whole {
			return nil, api.Refuse(api.CodeInvalid, "say files or version, not both")
		}
		e, err := o.version(ctx, t.Version)
		return e.Files, err
	}
	texts := map[string]string{}
	if !t.Whole {
		var err error
		if texts, err = o.folderTexts(); err != nil {
			return nil, err
		}
	}
	for path, text := range t.Files {
		if _, _, err := o.Folder.KindOf(path); err != nil {
			return nil, api.Refuse(api.CodeInvalid, "%s", err.Error())
		}
		if delete(texts, path); text != nil {
			texts[path] = *text
		}
	}
	return texts, nil
}

// version finds a version by the begin of its name.
func (o *Office) version(ctx context.Context, begin string) (versions.Entry, error) {
	v, err := o.history(ctx)
	if err != nil {
		return versions.Entry{}, err
	}
	return FindVersion(v.History.List(), begin)
}

// FindVersion finds the version that a text is the begin of.
func FindVersion(list []versions.Entry, begin string) (versions.Entry, error) {
	var found []versions.Entry
	for _, e := range list {
		if strings.HasPrefix(e.Version, begin) && begin != "" {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return versions.Entry{}, api.Refuse(api.CodeNotFound, "there is no version %.40s; 'tillstream config versions' lists them", begin)
	case 1:
		return found[0], nil
	}
	return versions.Entry{}, api.Refuse(api.CodeInvalid, "%d versions begin with %.40s: write more of it", len(found), begin)
}

// CheckConfig implements api.Managing.
func (o *Office) CheckConfig(ctx context.Context, t api.ConfigTry) (api.ConfigCheck, error) {
	out := api.ConfigCheck{Refused: []api.ConfigProblem{}, Findings: []api.ConfigFinding{}, NotChecked: []string{}}
	texts, err := o.tried(ctx, t)
	if err != nil {
		return out, err
	}
	c, err := o.load(texts)
	if err != nil {
		out.Refused = problemsOf(err)
		return out, nil
	}
	r := Check(ctx, c, o.Limits, o.Now, t.Offline || o.Limits == nil)
	out.Version, out.NotChecked = r.Version, r.NotChecked
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, api.ConfigFinding{
			ConfigProblem: api.ConfigProblem{File: f.File, Line: f.Line, Field: f.Field, Detail: f.Message, Hint: f.Hint}, Severity: f.Severity, Rule: f.Rule,
		})
	}
	return out, nil
}

// PlanConfig implements api.Managing.
func (o *Office) PlanConfig(ctx context.Context, t api.ConfigTry) (api.ConfigPlan, error) {
	texts, err := o.tried(ctx, t)
	if err != nil {
		return api.ConfigPlan{}, err
	}
	v, err := o.history(ctx)
	if err != nil {
		return api.ConfigPlan{}, err
	}
	e, _ := v.History.InForce()
	return o.plan(e.Version, e.Files, texts), nil
}

func (o *Office) plan(from string, was, is map[string]string) api.ConfigPlan {
	out := api.ConfigPlan{From: from, Problems: []api.ConfigProblem{}}
	out.Changes, out.Files = Plan(was, is)
	if _, err := o.load(is); err != nil {
		out.Problems = problemsOf(err)
	} else {
		out.To = config.Version(is)
	}
	return out
}

// ApplyConfig implements api.Managing.
func (o *Office) ApplyConfig(ctx context.Context, t api.ConfigTry, by string) (api.ConfigApplied, error) {
	texts, err := o.tried(ctx, t)
	if err != nil {
		return api.ConfigApplied{}, err
	}
	return o.apply(ctx, texts, t, by)
}

// apply puts texts in force.
func (o *Office) apply(ctx context.Context, texts map[string]string, t api.ConfigTry, by string) (out api.ConfigApplied, err error) {
	v, err := o.history(ctx)
	if err != nil {
		return out, err
	}
	v = v.As(by)
	version := config.Version(texts)
	if t.Version != "" { // an earlier version may name what is gone, such as a connection: it is judged by itself
		e, ok := v.History.Get(version)
		if !ok {
			return out, api.Refuse(api.CodeNotFound, "there is no version %s", version)
		}
		err = v.Check(e)
	} else {
		_, err = o.load(texts)
	}
	if err != nil {
		return out, err
	}
	if t.Expect != "" && t.Expect != version {
		return out, api.Refuse(api.CodeEdited, "the plan was for version %s, and the folder is %s now: look at the plan again", t.Expect, version)
	}
	was, published, err := v.Publish(ctx, version, texts)
	if err != nil {
		return out, err
	}
	out = api.ConfigApplied{Version: version, Was: was.Version, Published: published, Notes: Notes(was, texts, t.Version != "", o.folderDiffers(texts)), Partitions: []api.ConfigFollower{}}
	if _, err := v.Activate(ctx, version, false); err != nil {
		return out, fmt.Errorf("%w; apply it again: the partitions that follow it already stay with it", err)
	}
	next, _ := v.History.Get(version)
	if t.Touch || published && v.WantsTouch(was, next) {
		out.Touching = true
		o.background(func(ctx context.Context) {
			if err := v.Touch(ctx, "version "+version, func(int, int) {}); err != nil && ctx.Err() == nil {
				o.Log.Error().Err(err).Msg("not every contact was looked at under the new configuration; 'tillstream apply --touch' does it again")
			}
		})
	}
	if out.Partitions, err = followers(ctx, v, version); err != nil {
		out.Notes = append(out.Notes, "how far the partitions are is not known: "+firstLine(err))
	}
	return out, nil
}

func (o *Office) folderDiffers(texts map[string]string) bool {
	now, err := o.folderTexts()
	return err == nil && !maps.Equal(now, texts)
}

func (o *Office) background(f func(ctx context.Context)) {
	if o.Background != nil {
		o.Background(f)
		return
	}
	go f(context.Background())
}

// Notes say what a version has that does not count at once. was is the version before it, back that it is an earlier one,
// folderDiffers that the folder says something else.
func Notes(was versions.Entry, files map[string]string, back, folderDiffers bool) []string {
	out := []string{}
	if was.Version != "" {
		restart := slices.DeleteFunc(config.Differ(was.Files, files), func(folder string) bool {
			return slices.Contains([]string{app.MappingsFolder, app.WorkflowsFolder, config.ConnectionsFolder}, folder)
		})
		if len(restart) > 0 {
			out = append(out, "what changed in "+strings.Join(restart, ", ")+" counts from the next start of each process on")
		}
	}
	if back && folderDiffers {
		out = append(out, "the folder says something else: put it back, too, for a process that starts puts its folder in force")
	}
	return out
}

func followers(ctx context.Context, v *app.Versions, version string) ([]api.ConfigFollower, error) {
	list, err := v.Following(ctx)
	out := []api.ConfigFollower{}
	for _, f := range list {
		owner, _, _ := strings.Cut(f.Owner, "/")
		out = append(out, api.ConfigFollower{Partition: f.Partition, Version: f.Config, Since: f.From, Owner: owner, Follows: f.Config == version})
	}
	return out, err
}

func versionOf(e versions.Entry, inForce bool, before map[string]string) api.ConfigVersion {
	out := api.ConfigVersion{Version: e.Version, By: e.By, At: e.At.UTC(), InForce: inForce, Files: len(e.Files), Changed: []string{}}
	if before != nil {
		out.Changed = differing(before, e.Files)
	}
	return out
}

// differing are the paths in which two configurations differ.
func differing(was, is map[string]string) []string {
	all := maps.Clone(was)
	maps.Copy(all, is)
	return slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(path string) bool {
		a, had := was[path]
		b, has := is[path]
		return had == has && a == b
	})
}

// ConfigVersions implements api.Managing.
func (o *Office) ConfigVersions(ctx context.Context, after string) (api.ConfigVersionList, error) {
	out := api.ConfigVersionList{Items: []api.ConfigVersion{}}
	v, err := o.history(ctx)
	if err != nil {
		return out, err
	}
	list := v.History.List()
	from := len(list)
	if after != "" {
		offset, err := strconv.ParseInt(after, 10, 64)
		if err != nil {
			return out, api.Refuse(api.CodeInvalid, "after is no cursor of this list")
		}
		from, _ = slices.BinarySearchFunc(list, offset, func(e versions.Entry, at int64) int { return int(e.Offset - at) })
	}
	for i := from - 1; i >= 0; i-- {
		if len(out.Items) == pageVersions {
			out.Next = strconv.FormatInt(list[i+1].Offset, 10)
			break
		}
		before := map[string]string{}
		if i > 0 {
			before = list[i-1].Files
		}
		out.Items = append(out.Items, versionOf(list[i], i == len(list)-1, before))
	}
	return out, nil
}

// ConfigVersionText implements api.Managing.
func (o *Office) ConfigVersionText(ctx context.Context, version, against string) (out api.ConfigVersionText, err error) {
	v, err := o.history(ctx)
	if err != nil {
		return out, err
	}
	list := v.History.List()
	e, err := FindVersion(list, version)
	if err != nil {
		return out, err
	}
	at := slices.IndexFunc(list, func(x versions.Entry) bool { return x.Version == e.Version })
	last := at == len(list)-1
	var was map[string]string
	from := ""
	switch {
	case against == "folder":
		was, err = o.folderTexts()
		from = config.Version(was)
	case against == "in_force":
		was, from = list[len(list)-1].Files, list[len(list)-1].Version
	case against != "":
		var x versions.Entry
		x, err = FindVersion(list, against)
		was, from = x.Files, x.Version
	case at > 0:
		was, from = list[at-1].Files, list[at-1].Version
	}
	if err != nil {
		return out, err
	}
	before := map[string]string{}
	if at > 0 {
		before = list[at-1].Files
	}
	out = api.ConfigVersionText{ConfigVersion: versionOf(e, last, before), Against: from, Texts: e.Files, Plan: o.plan(from, was, e.Files), Partitions: []api.ConfigFollower{}}
	if last {
		out.Partitions, err = followers(ctx, v, e.Version)
	}
	return out, err
}

// RestoreConfig implements api.Managing.
func (o *Office) RestoreConfig(ctx context.Context, version string, r api.ConfigRestore, match, by string) (out api.ConfigRestored, err error) {
	if r.FolderOnly && r.ForceOnly {
		return out, api.Refuse(api.CodeInvalid, "say one of folder_only and force_only")
	}
	e, err := o.version(ctx, version)
	if err != nil {
		return out, err
	}
	texts, err := o.folderTexts()
	if err != nil && !r.ForceOnly {
		return out, err
	}
	out = api.ConfigRestored{Plan: o.plan(config.Version(texts), texts, e.Files), Written: []string{}}
	if r.DryRun {
		return out, nil
	}
	if !r.ForceOnly {
		if match != "" && match != config.Tag(texts) {
			return out, api.Refuse(api.CodeEdited, "somebody changed the folder meanwhile")
		}
		if match == "" {
			return out, api.Refuse(api.CodeNoMatch, "the restore does not say which state of the folder it goes over")
		}
		if out.Written, err = o.rewrite(texts, e.Files); err != nil {
			return out, err
		}
	}
	if !r.FolderOnly {
		applied, err := o.apply(ctx, e.Files, api.ConfigTry{Version: e.Version}, by)
		if err != nil {
			return out, err
		}
		out.Applied = &applied
	}
	return out, nil
}

// rewrite brings the folder from one state to another.
func (o *Office) rewrite(was, is map[string]string) (written []string, err error) {
	if err := o.Folder.Writable(); err != nil {
		return nil, api.Refuse(api.CodeNotHere, "%s", err.Error())
	}
	written = differing(was, is)
	changes, tags := make([]config.Change, 0, len(written)), map[string]string{}
	for _, path := range written {
		c := config.Change{Path: path}
		if text, ok := is[path]; ok {
			c.Text = &text
		}
		if text, ok := was[path]; ok {
			tags[path] = config.ETag(&text)
		}
		changes = append(changes, c)
	}
	if err := o.write(changes, tags); err != nil {
		if errors.Is(err, config.ErrEdited) {
			return nil, api.Refuse(api.CodeEdited, "somebody changed a file meanwhile: %s", err.Error())
		}
		return nil, err
	}
	return written, nil
}

// ExportConfig implements api.Managing.
func (o *Office) ExportConfig(ctx context.Context, version string) (api.ConfigExport, error) {
	if version != "" {
		e, err := o.version(ctx, version)
		return api.ConfigExport{Version: e.Version, Files: e.Files}, err
	}
	texts, err := o.folderTexts()
	var refused *api.Problem
	if errors.As(err, &refused) { // no folder: what is in force
		v, err := o.history(ctx)
		if err != nil {
			return api.ConfigExport{}, err
		}
		e, _ := v.History.InForce()
		return api.ConfigExport{Version: e.Version, Files: e.Files}, nil
	}
	if err != nil {
		return api.ConfigExport{}, err
	}
	return api.ConfigExport{Version: config.Version(texts), Files: texts}, nil
}

// Archive is an export as a tar archive: the same files give the same bytes.
func Archive(files map[string]string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: 0o600, Size: int64(len(files[path])), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("archive %s: %w", path, err)
		}
		if _, err := w.Write([]byte(files[path])); err != nil {
			return nil, fmt.Errorf("archive %s: %w", path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	return out.Bytes(), nil
}

// ExportArchive implements api.Managing.
func (o *Office) ExportArchive(ctx context.Context, version string) ([]byte, error) {
	e, err := o.ExportConfig(ctx, version)
	if err != nil {
		return nil, err
	}
	return Archive(e.Files)
}

// ConfigSchema implements api.Managing.
func (o *Office) ConfigSchema(_ context.Context, kind string) ([]byte, error) {
	all, err := config.Schemas(o.Options)
	if err != nil {
		return nil, err
	}
	text, ok := all[kind]
	if !ok {
		return nil, api.Refuse(api.CodeNotFound, "there is no kind %.40q; kinds are %s", kind, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	}
	return text, nil
}
