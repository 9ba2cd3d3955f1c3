package manage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/config/versions"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/workflows"
	"github.com/tillstream/tillstream/schemas"
)

// folderKind is the kind of a folder of documents.
func folderKind(folder string) config.Kind {
	list := app.Kinds()
	return list[slices.IndexFunc(list, func(k config.Kind) bool { return k.Folder == folder })]
}

// listed is a document of the folder with what is known of it.
type listed struct {
	config.FileInfo
	inForce  bool
	value    any // nil: it cannot be read
	problems []api.ConfigProblem
}

// documents are those of one kind, or the one of that name.
func (o *Office) documents(ctx context.Context, folder, name string) ([]listed, error) {
	texts, err := o.folderTexts()
	if err != nil {
		return nil, err
	}
	list, _, err := o.Folder.List()
	if err != nil {
		return nil, err
	}
	e, _, _ := o.inForce(ctx)
	_, err = o.load(texts)
	problems := problemsOf(err)
	out := []listed{}
	for _, f := range list {
		if f.Kind != folder || name != "" && f.Name != name {
			continue
		}
		d := listed{FileInfo: f, problems: of(problems, f.Path), inForce: e.Files[f.Path] == f.Text}
		docs, err := config.Documents(map[string]string{f.Path: f.Text}, []config.Kind{folderKind(folder)})
		if err == nil && len(docs[folder]) == 1 {
			d.value = docs[folder][0].Value
		}
		out = append(out, d)
	}
	if name != "" && len(out) == 0 {
		return nil, api.Refuse(api.CodeNotFound, "there is no file %s/%s.yaml", folder, outbound.Redact(shorten(name, documentNameBytesMax)))
	}
	return out, nil
}

// Mappings implements api.Managing.
func (o *Office) Mappings(ctx context.Context) (api.MappingList, error) {
	out := api.MappingList{Items: []api.MappingView{}}
	docs, err := o.documents(ctx, app.MappingsFolder, "")
	for _, d := range docs {
		v := mappingView(d)
		v.Text, v.Mapping = "", nil
		out.Items = append(out.Items, v)
	}
	return out, err
}

// Mapping implements api.Managing.
func (o *Office) Mapping(ctx context.Context, name string) (api.MappingView, error) {
	docs, err := o.documents(ctx, app.MappingsFolder, name)
	if err != nil {
		return api.MappingView{}, err
	}
	return mappingView(docs[0]), nil
}

func mappingView(d listed) api.MappingView {
	v := api.MappingView{Name: d.Name, File: d.Path, ETag: config.ETag(&d.Text), Connections: []string{}, InForce: d.inForce, Text: d.Text, Problems: d.problems}
	f, ok := d.value.(*automation.MappingFile)
	if !ok {
		return v
	}
	v.Connections, v.Resource, v.Destination, v.Rules = append(v.Connections, f.Connections...), f.Resource, f.Destination, len(f.Fields)
	v.Mapping = &api.Mapping{}
	if translate(f, v.Mapping) != nil {
		v.Mapping = nil
	}
	return v
}

// translate brings one form of a document to the other, which has the same keys.
func translate(from, to any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return dec.Decode(to)
}

// changed is the text of a document after an edit: text as it is, or what it says changed to next.
func (o *Office) changed(folder, path string, was *config.FileInfo, text *string, next any) (*string, error) {
	if text != nil {
		return text, nil
	}
	before := ""
	if was != nil {
		before = was.Text
	}
	after, err := config.Edit(folderKind(folder), path, before, next)
	if errors.Is(err, config.ErrEditText) {
		return nil, api.Refuse(api.CodeConflict, "%s: %s", path, err.Error())
	}
	return &after, err
}

// EditMapping implements api.Managing.
func (o *Office) EditMapping(ctx context.Context, name string, m *api.MappingEdit, e api.Edit) (api.ConfigEdited, error) {
	path, was, err := o.target(app.MappingsFolder, name)
	if err != nil || m == nil {
		return o.unless(ctx, err, path, was, e)
	}
	if (m.Text == nil) == (m.Mapping == nil) {
		return api.ConfigEdited{}, api.Refuse(api.CodeInvalid, "say one of text and mapping")
	}
	next := &automation.MappingFile{}
	if m.Mapping != nil {
		if err := translate(m.Mapping, next); err != nil {
			return api.ConfigEdited{}, err
		}
	}
	return o.editDocument(ctx, app.MappingsFolder, path, was, m.Text, next, e)
}

// EditWorkflow implements api.Managing.
func (o *Office) EditWorkflow(ctx context.Context, name string, w *api.WorkflowEdit, e api.Edit) (api.ConfigEdited, error) {
	path, was, err := o.target(app.WorkflowsFolder, name)
	if err != nil || w == nil {
		return o.unless(ctx, err, path, was, e)
	}
	if (w.Text == nil) == (w.Form == nil) {
		return api.ConfigEdited{}, api.Refuse(api.CodeInvalid, "say one of text and form")
	}
	next, err := formOf(w.Form)
	if err != nil {
		return api.ConfigEdited{}, err
	}
	return o.editDocument(ctx, app.WorkflowsFolder, path, was, w.Text, next, e)
}

// formOf reads a workflow from its form.
func formOf(form json.RawMessage) (*workflows.File, error) {
	f := &workflows.File{}
	if form == nil {
		return f, nil
	}
	dec := json.NewDecoder(bytes.NewReader(form))
	dec.DisallowUnknownFields()
	if err := dec.Decode(f); err != nil {
		return nil, api.Refuse(api.CodeInvalid, "the form: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return f, nil
}

func (o *Office) target(folder, name string) (path string, was *config.FileInfo, err error) {
	if path, err = o.fileFor(folder, name); err == nil {
		was, err = o.read(path)
	}
	return path, was, err
}

// unless deletes the file where there was no error.
func (o *Office) unless(ctx context.Context, err error, path string, was *config.FileInfo, e api.Edit) (api.ConfigEdited, error) {
	if err != nil {
		return api.ConfigEdited{}, err
	}
	return o.edit(ctx, path, was, nil, e)
}

// editDocument looks first whether the edit was made on what is there: what the difference to something else would come to
// helps nobody.
func (o *Office) editDocument(ctx context.Context, folder, path string, was *config.FileInfo, text *string, next any, e api.Edit) (api.ConfigEdited, error) {
	after, err := o.changed(folder, path, was, text, next)
	if err != nil {
		return api.ConfigEdited{}, err
	}
	return o.edit(ctx, path, was, after, e)
}

// Workflows implements api.Managing.
func (o *Office) Workflows(ctx context.Context) (api.WorkflowList, error) {
	out := api.WorkflowList{Items: []api.WorkflowView{}}
	docs, err := o.documents(ctx, app.WorkflowsFolder, "")
	for _, d := range docs {
		v := workflowView(d)
		v.Text, v.Form = "", nil
		out.Items = append(out.Items, v)
	}
	return out, err
}

// Workflow implements api.Managing.
func (o *Office) Workflow(ctx context.Context, name string) (api.WorkflowView, error) {
	docs, err := o.documents(ctx, app.WorkflowsFolder, name)
	if err != nil {
		return api.WorkflowView{}, err
	}
	return workflowView(docs[0]), nil
}

func workflowView(d listed) api.WorkflowView {
	v := api.WorkflowView{Name: d.Name, File: d.Path, ETag: config.ETag(&d.Text), Starts: []string{}, InForce: d.inForce, Text: d.Text, Problems: d.problems}
	f, ok := d.value.(*workflows.File)
	if !ok {
		return v
	}
	v.Description, v.Destination, v.Mode, v.Steps = f.Description, f.Destination, string(f.Mode), stepsOf(f.Steps)
	if v.Mode == "" {
		v.Mode = string(workflows.Live)
	}
	for _, s := range f.Start {
		v.Starts = append(v.Starts, s.On)
	}
	if form, err := json.Marshal(f); err == nil {
		v.Form = form
	}
	return v
}

// stepsOf counts the steps of all branches together.
func stepsOf(list []workflows.FileStep) (n int) {
	for _, s := range list {
		n += 1 + stepsOf(s.Then) + stepsOf(s.Else) + stepsOf(s.Met) + stepsOf(s.NotMet) + stepsOf(s.Corrected)
	}
	return n
}

// MappingVersions implements api.Managing.
func (o *Office) MappingVersions(ctx context.Context, name string) (api.MappingVersions, error) {
	return o.fileVersions(ctx, app.MappingsFolder, name)
}

// WorkflowVersions implements api.Managing.
func (o *Office) WorkflowVersions(ctx context.Context, name string) (api.MappingVersions, error) {
	return o.fileVersions(ctx, app.WorkflowsFolder, name)
}

// fileVersions are the versions of the configuration in which a document changed.
func (o *Office) fileVersions(ctx context.Context, folder, name string) (api.MappingVersions, error) {
	out := api.MappingVersions{Items: []api.FileVersion{}}
	if !documentName(name) {
		return out, api.Refuse(api.CodeInvalid, "the name %.80q is none of a file", name)
	}
	v, err := o.history(ctx)
	if err != nil {
		return out, err
	}
	list := v.History.List()
	before := versions.Entry{Files: map[string]string{}}
	for i, e := range list {
		for _, ext := range []string{".yaml", ".yml"} {
			path := folder + "/" + name + ext
			was, had := before.Files[path]
			is, has := e.Files[path]
			if had == has && was == is {
				continue
			}
			f := api.FileVersion{ConfigVersion: versionOf(e, i == len(list)-1, before.Files), Action: Changed, Text: is}
			a, b := &was, &is
			switch {
			case !had:
				f.Action, a = Added, nil
			case !has:
				f.Action, b = Removed, nil
			}
			f.Diff = unified(path, a, b)
			out.Items = append(out.Items, f)
		}
		before = e
	}
	slices.Reverse(out.Items)
	if len(out.Items) > fileVersionsMax {
		out.Items = out.Items[:fileVersionsMax]
	}
	if len(out.Items) == 0 {
		return out, api.Refuse(api.CodeNotFound, "no version that was in force had a file %s/%s.yaml", folder, name)
	}
	return out, nil
}

// fileVersionsMax bounds the versions of one file that are told.
const fileVersionsMax = 200

// PreviewMapping implements api.Managing.
func (o *Office) PreviewMapping(ctx context.Context, name string, r api.PreviewRequest) (out api.Preview, err error) {
	if r.Mapping != nil && r.Text != nil {
		return out, api.Refuse(api.CodeInvalid, "say one of text and mapping")
	}
	path, was, err := o.target(app.MappingsFolder, name)
	if err != nil {
		return out, err
	}
	texts, err := o.folderTexts()
	if err != nil {
		return out, err
	}
	if r.Mapping != nil {
		next := &automation.MappingFile{}
		if err := translate(r.Mapping, next); err != nil {
			return out, err
		}
		if r.Text, err = o.changed(app.MappingsFolder, path, was, nil, next); err != nil {
			return out, err
		}
	}
	if r.Text != nil {
		texts[path] = *r.Text
	}
	c, err := o.load(texts)
	if err != nil {
		return out, err
	}
	if c, err = only(c, path); err != nil {
		return out, err
	}
	got, err := Preview(ctx, PreviewOptions{Config: c, Mapping: name, Event: r.Event, Offline: r.Offline || o.Limits == nil, Limits: o.Limits, Now: o.Now})
	switch {
	case errors.Is(err, ErrNoMapping):
		return out, api.Refuse(api.CodeNotFound, "%s", err.Error())
	case err != nil:
		return out, api.Refuse(api.CodeConflict, "%s", outbound.Redact(err.Error()))
	}
	if !r.PersonalData {
		got.Mask()
	}
	out = api.Preview{
		Mapping: got.Mapping, Destination: got.Destination, ConfigVersion: got.ConfigVersion, Event: api.PreviewEvent(got.Event), Fits: got.Fits, Why: got.Why,
		Fields: []api.PreviewField{}, Before: contactOf(got.Before), After: contactOf(got.After), Effects: []api.PreviewEffect{}, Requests: got.Requests,
		NotChecked: got.NotChecked, Masked: got.Masked,
	}
	for _, f := range got.Fields {
		out.Fields = append(out.Fields, api.PreviewField{To: f.To, From: f.From, As: f.As, Value: f.Value, Type: f.Type, Issue: f.Issue})
	}
	for _, e := range got.Effects {
		out.Effects = append(out.Effects, api.PreviewEffect(e))
	}
	return out, nil
}

func contactOf(c *schemas.Contact) *api.PreviewContact {
	if c == nil {
		return nil
	}
	out := &api.PreviewContact{Email: c.Email, FirstName: c.FirstName, LastName: c.LastName, Phone: c.Phone, Fields: c.Fields, Tags: c.Tags, NoTags: c.NoTags}
	if out.Fields == nil {
		out.Fields = map[string]string{}
	}
	out.Tags, out.NoTags = append([]string{}, c.Tags...), append([]string{}, c.NoTags...)
	return out
}

// only says whether a mapping of that file is there.
func only(c *config.Config, path string) (*config.Config, error) {
	if _, ok := c.Files[path]; !ok {
		return nil, api.Refuse(api.CodeNotFound, "there is no file %s", path)
	}
	return c, nil
}
