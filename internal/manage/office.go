package manage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/config/versions"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// Office is where a configuration is looked at and changed. Its methods may be called from several goroutines.
type Office struct {
	// Folder is the folder of the configuration; its Dir is empty where this process has none.
	Folder *config.Folder
	// Options load it.
	Options config.Options
	Now     func() time.Time
	Log     zerolog.Logger
	// Limits hold what is asked of the CRMs to the accounts' limits; nil: nobody is asked.
	Limits *app.Beside
	// Versions reaches the history of what was in force; the error says why it is not reached. Nil: never.
	Versions func(ctx context.Context) (*app.Versions, error)
	// Runs counts the runs of workflows; nil: they are not counted here.
	Runs func(ctx context.Context, q api.RunsQuery) ([]chsink.WorkflowRuns, error)
	// Alone runs f while nobody else of this process changes the folder; nil: f is run.
	Alone func(f func() error) error
	// Background runs f until it ends or the process does; nil: f is run by a goroutine of its own.
	Background func(f func(ctx context.Context))
	// Append puts an event on its topic; nil: this process cannot.
	Append Appender

	tests backtests
}

var _ api.Managing = (*Office)(nil)

// folderTexts are the texts of the folder as it stands.
func (o *Office) folderTexts() (map[string]string, error) {
	if o.Folder.Dir == "" {
		return nil, api.Refuse(api.CodeNotHere, "this process has no folder of configuration; it takes what is put in force by others")
	}
	return o.Folder.Texts()
}

// load loads a configuration from its texts, in form and in meaning. The error is config.Problems.
func (o *Office) load(texts map[string]string) (*config.Config, error) {
	all := maps.Clone(texts)
	if all == nil {
		all = map[string]string{}
	}
	for _, name := range o.disconnected() {
		all[config.ConnectionsFolder+"/"+name] = ""
	}
	c, err := config.LoadTexts(o.Folder.Dir, all, o.Options)
	if err != nil {
		return nil, err
	}
	return c, app.Check(c)
}

// disconnected are the files of connections that are put aside: their names stay known to mappings.
func (o *Office) disconnected() (names []string) {
	if o.Folder.Dir == "" {
		return nil
	}
	files, _ := filepath.Glob(filepath.Join(o.Folder.Dir, config.ConnectionsFolder, "*"+config.DisconnectedSuffix)) // the pattern is good
	for _, f := range files {
		names = append(names, filepath.Base(f))
	}
	return names
}

// problemsOf are the problems of an error of load; any other error is one about the whole.
func problemsOf(err error) []api.ConfigProblem {
	var problems config.Problems
	switch {
	case err == nil:
		return []api.ConfigProblem{}
	case errors.As(err, &problems):
		return api.ConfigProblems(problems)
	}
	return []api.ConfigProblem{{Detail: outbound.Redact(err.Error())}}
}

// of are the problems of one file.
func of(list []api.ConfigProblem, file string) []api.ConfigProblem {
	return slices.DeleteFunc(slices.Clone(list), func(p api.ConfigProblem) bool { return p.File != file })
}

// history is the versions as they are now.
func (o *Office) history(ctx context.Context) (*app.Versions, error) {
	if o.Versions == nil {
		return nil, api.Refuse(api.CodeNotHere, "versions of the configuration are kept on Kafka, which this process does not reach")
	}
	v, err := o.Versions(ctx)
	if err != nil {
		return nil, err
	}
	return v, v.History.CatchUp(ctx)
}

// inForce is the version in force; why says why it is not known.
func (o *Office) inForce(ctx context.Context) (e versions.Entry, ok bool, why string) {
	v, err := o.history(ctx)
	if err != nil {
		return e, false, "what is in force: " + firstLine(err)
	}
	e, ok = v.History.InForce()
	return e, ok, ""
}

// ConfigFolder implements api.Managing.
func (o *Office) ConfigFolder(ctx context.Context) (api.ConfigFolder, error) {
	out := api.ConfigFolder{Files: []api.ConfigFile{}, Problems: []api.ConfigProblem{}, NotKnown: []string{}}
	e, known, why := o.inForce(ctx)
	if why != "" {
		out.NotKnown = append(out.NotKnown, why)
	}
	if known {
		v := versionOf(e, true, nil)
		out.InForce = &v
	}
	if err := o.Folder.Writable(); err != nil {
		out.Why = err.Error()
	} else {
		out.Writable = true
	}
	if o.Folder.Dir == "" {
		return out, nil
	}
	out.Folder = o.Folder.Dir
	if abs, err := filepath.Abs(o.Folder.Dir); err == nil {
		out.Folder = abs
	}
	list, unread, err := o.Folder.List()
	if err != nil {
		return out, err
	}
	texts := map[string]string{}
	for _, f := range list {
		texts[f.Path] = f.Text
		out.Files = append(out.Files, fileOf(f, e))
	}
	out.ETag = config.Tag(texts)
	c, err := o.load(texts)
	switch {
	case len(unread) > 0:
		out.Problems = api.ConfigProblems(unread)
	case err != nil:
		out.Problems = problemsOf(err)
	default:
		out.Version = c.Version
	}
	out.Differs = known && !maps.Equal(texts, e.Files)
	return out, nil
}

func fileOf(f config.FileInfo, inForce versions.Entry) api.ConfigFile {
	text, same := inForce.Files[f.Path]
	return api.ConfigFile{
		Path: f.Path, Kind: f.Kind, Name: f.Name, ETag: config.ETag(&f.Text), Bytes: len(f.Text), Modified: f.Modified, InForce: same && text == f.Text,
	}
}

// ConfigFile implements api.Managing.
func (o *Office) ConfigFile(ctx context.Context, path string) (api.ConfigText, error) {
	f, err := o.read(path)
	if err != nil {
		return api.ConfigText{}, err
	}
	if f == nil {
		return api.ConfigText{}, api.Refuse(api.CodeNotFound, "there is no file %s", path)
	}
	e, _, _ := o.inForce(ctx)
	out := api.ConfigText{ConfigFile: fileOf(*f, e), Text: f.Text, Problems: []api.ConfigProblem{}}
	texts, err := o.folderTexts()
	if err == nil {
		_, err = o.load(texts)
	}
	out.Problems = of(problemsOf(err), path)
	return out, nil
}

// read reads one file of the folder; nil: there is none.
func (o *Office) read(path string) (*config.FileInfo, error) {
	if o.Folder.Dir == "" {
		return nil, api.Refuse(api.CodeNotHere, "this process has no folder of configuration")
	}
	f, err := o.Folder.Read(path)
	if errors.Is(err, config.ErrPath) {
		return nil, api.Refuse(api.CodeInvalid, "%s", err.Error())
	}
	return f, err
}

// fileFor is the file of a kind's document; a new one ends in .yaml.
func (o *Office) fileFor(folder, name string) (string, error) {
	if !documentName(name) {
		return "", api.Refuse(api.CodeInvalid, "the name %.80q: use 1 to 63 letters, digits, dots, - and _, and begin with a letter or digit", name)
	}
	for _, ext := range []string{".yaml", ".yml"} {
		f, err := o.read(folder + "/" + name + ext)
		if err != nil {
			return "", err
		}
		if f != nil {
			return f.Path, nil
		}
	}
	return folder + "/" + name + ".yaml", nil
}

const documentNameBytesMax = 63

func documentName(name string) bool {
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-", r)) {
			return false
		}
	}
	return name != "" && len(name) <= documentNameBytesMax
}

// EditConfigFile implements api.Managing.
func (o *Office) EditConfigFile(ctx context.Context, path string, text *string, e api.Edit) (api.ConfigEdited, error) {
	was, err := o.read(path)
	if err != nil {
		return api.ConfigEdited{}, err
	}
	return o.edit(ctx, path, was, text, e)
}

// edit brings one file from was to text, nil: it goes.
func (o *Office) edit(ctx context.Context, path string, was *config.FileInfo, text *string, e api.Edit) (api.ConfigEdited, error) {
	var before *string
	if was != nil {
		before = &was.Text
	}
	out := api.ConfigEdited{Path: path, ETag: config.ETag(text), Diff: unified(path, before, text), Problems: []api.ConfigProblem{}}
	if text != nil {
		out.Text = *text
	}
	if before == nil && text == nil {
		return out, api.Refuse(api.CodeNotFound, "there is no file %s", path)
	}
	if !e.DryRun {
		if err := matches(path, before, text, e); err != nil {
			return out, err
		}
		if err := o.Folder.Writable(); err != nil {
			return out, api.Refuse(api.CodeNotHere, "%s", err.Error())
		}
	}
	version, problems, err := o.judge(path, text)
	if err != nil {
		return out, err
	}
	out.Version, out.Problems = version, problems
	if e.DryRun {
		return out, nil
	}
	if bad := o.fresh(path, problems); len(bad) > 0 {
		p := api.Refuse(api.CodeConfigRefused, "the configuration would not be good with this %s, and nothing is changed", path)
		p.Problems = bad
		return out, p
	}
	if out.Diff != "" {
		if err := o.write([]config.Change{{Path: path, Text: text}}, map[string]string{path: config.ETag(before)}); err != nil {
			if errors.Is(err, config.ErrEdited) {
				return out, o.conflict(path, text)
			}
			return out, err
		}
		out.Written = true
		o.Log.Info().Str("file", path).Str("by", e.By).Msg("a file of the configuration was edited")
	}
	if e.Apply {
		applied, err := o.ApplyConfig(ctx, api.ConfigTry{}, e.By)
		if err != nil {
			return out, fmt.Errorf("the file is written, and not in force: %w", err)
		}
		out.Applied = &applied
	}
	return out, nil
}

// matches refuses an edit that was made on another text than the one that is there.
func matches(path string, before, text *string, e api.Edit) error {
	switch {
	case e.New && before == nil, !e.New && e.Match != "" && e.Match == config.ETag(before), e.Force:
		return nil
	case e.Match == "" && !e.New:
		return api.Refuse(api.CodeNoMatch, "the edit of %s does not say on which state it was made", path)
	}
	return conflictOf(path, before, text)
}

func conflictOf(path string, now, text *string) error {
	detail := "somebody else changed " + path + " meanwhile"
	if now == nil {
		detail = path + " was deleted meanwhile"
	}
	p := api.Refuse(api.CodeEdited, "%s", detail)
	p.Conflict = &api.ConfigConflict{Path: path, ETag: config.ETag(now), Diff: unified(path, now, text)}
	if now != nil {
		p.Conflict.Text = *now
	}
	return p
}

func (o *Office) conflict(path string, text *string) error {
	now, err := o.read(path)
	if err != nil {
		return err
	}
	if now == nil {
		return conflictOf(path, nil, text)
	}
	return conflictOf(path, &now.Text, text)
}

// judge is the version of the folder as it would be with one file changed, and what is wrong with it then.
func (o *Office) judge(path string, text *string) (version string, problems []api.ConfigProblem, err error) {
	texts, err := o.folderTexts()
	if err != nil {
		return "", nil, err
	}
	if delete(texts, path); text != nil {
		texts[path] = *text
	}
	c, err := o.load(texts)
	if err != nil {
		return "", problemsOf(err), nil
	}
	return c.Version, []api.ConfigProblem{}, nil
}

// fresh are the problems that an edit brings: those of its own file, and those that were not there before.
func (o *Office) fresh(path string, problems []api.ConfigProblem) []api.ConfigProblem {
	if len(problems) == 0 {
		return nil
	}
	texts, err := o.folderTexts()
	if err == nil {
		_, err = o.load(texts)
	}
	before := problemsOf(err)
	return slices.DeleteFunc(slices.Clone(problems), func(p api.ConfigProblem) bool { return p.File != path && slices.Contains(before, p) })
}

// write writes files that are as their caller knew them.
func (o *Office) write(changes []config.Change, tags map[string]string) error {
	do := func() error {
		return o.Folder.Replace(changes, func(file string) string { return tags[file] }, nil)
	}
	var err error
	if o.Alone != nil {
		err = o.Alone(do)
	} else {
		err = do()
	}
	if errors.Is(err, os.ErrPermission) {
		return api.Refuse(api.CodeNotHere, "%s", err.Error())
	}
	return err
}
