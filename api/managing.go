package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// Managing looks at the configuration and changes it. An error that is a *Problem is the asker's.
type Managing interface {
	ConfigFolder(ctx context.Context) (ConfigFolder, error)
	ConfigFile(ctx context.Context, path string) (ConfigText, error)
	// EditConfigFile brings a file to text; nil: it is deleted.
	EditConfigFile(ctx context.Context, path string, text *string, e Edit) (ConfigEdited, error)
	CheckConfig(ctx context.Context, t ConfigTry) (ConfigCheck, error)
	PlanConfig(ctx context.Context, t ConfigTry) (ConfigPlan, error)
	ApplyConfig(ctx context.Context, t ConfigTry, by string) (ConfigApplied, error)
	ConfigVersions(ctx context.Context, after string) (ConfigVersionList, error)
	ConfigVersionText(ctx context.Context, version, against string) (ConfigVersionText, error)
	RestoreConfig(ctx context.Context, version string, r ConfigRestore, match, by string) (ConfigRestored, error)
	// ExportConfig is the folder, or a version.
	ExportConfig(ctx context.Context, version string) (ConfigExport, error)
	ExportArchive(ctx context.Context, version string) ([]byte, error)
	ConfigSchema(ctx context.Context, kind string) ([]byte, error)

	Mappings(ctx context.Context) (MappingList, error)
	Mapping(ctx context.Context, name string) (MappingView, error)
	// EditMapping brings a mapping to m; nil: it is deleted.
	EditMapping(ctx context.Context, name string, m *MappingEdit, e Edit) (ConfigEdited, error)
	PreviewMapping(ctx context.Context, name string, r PreviewRequest) (Preview, error)
	MappingVersions(ctx context.Context, name string) (MappingVersions, error)

	Workflows(ctx context.Context) (WorkflowList, error)
	Workflow(ctx context.Context, name string) (WorkflowView, error)
	// EditWorkflow brings a workflow to w; nil: it is deleted.
	EditWorkflow(ctx context.Context, name string, w *WorkflowEdit, e Edit) (ConfigEdited, error)
	WorkflowVersions(ctx context.Context, name string) (MappingVersions, error)
	WorkflowGraph(ctx context.Context, name string, q RunsQuery) (WorkflowGraph, error)
	TestWorkflow(ctx context.Context, name string, t WorkflowTest) (WorkflowTested, error)

	StartBacktest(ctx context.Context, r BacktestRequest) (Backtest, error)
	Backtest(ctx context.Context, id string) (Backtest, error)
	Backtests(ctx context.Context) (BacktestList, error)
	CancelBacktest(ctx context.Context, id string) (Backtest, error)
	SendTestEvent(ctx context.Context, r TestEventRequest, by string) (TestEventTaken, error)
}

// Edit says on which state an edit was made, and how it is meant.
type Edit struct {
	Match  string // ETag that the editor knew
	New    bool   // it must not be there yet
	DryRun bool   // tell what it would come to, and write nothing
	Apply  bool   // put the folder in force after it
	Force  bool   // whatever is there now
	By     string
}

// Bounds of what is sent about configurations.
const (
	editBytesMax = 2 << 20  // one file
	tryBytesMax  = 16 << 20 // a whole folder
)

// SetManaging has the handler answer about the configuration through m.
func (b *Board) SetManaging(m Managing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.managing = m
}

func (b *Board) manager() served[Managing] {
	return served[Managing]{
		of: func() (Managing, bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.managing, b.managing != nil
		},
		missing: "this process manages no configuration, or has not begun to",
	}
}

// editOf reads how an edit is meant.
func editOf(r *http.Request, q *query) Edit {
	e := Edit{Match: ifMatch(r), New: r.Header.Get("If-None-Match") == "*", DryRun: q.flag("dry_run"), Apply: q.flag("apply"), By: editor(r)}
	if e.New && e.Match != "" {
		q.fail("say If-Match of a file that is there, or If-None-Match: * of a new one")
	}
	return e
}

// editor names who changes something.
func editor(r *http.Request) string {
	if name := signedIn(r); name != "" {
		return name
	}
	return "the management port"
}

var (
	dryRunParam = Param{"dry_run", "true: say what it would come to, and write nothing"}
	applyParam  = Param{"apply", "true: put the folder in force after it"}
)

// edited answers with the ETag that the file has now.
func edited(e ConfigEdited, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return withETag(e, e.ETag), nil
}

func (b *Board) configRoutes(t *table) {
	part := b.manager()
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/config", Role: Viewer, Answer: ConfigFolder{}, CLI: "tillstream config show",
		Summary: "The folder of the configuration with its files, what is wrong with it, and which version is in force",
	}, func(m Managing, r *http.Request, _ *query) (any, error) {
		f, err := m.ConfigFolder(r.Context())
		if err != nil {
			return nil, err
		}
		return withETag(f, f.ETag), nil
	})
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/config/files/{path...}", Role: Operator, Answer: ConfigText{}, CLI: "tillstream config show",
		Summary: "One file of the configuration; secrets are references or encrypted in it",
	}, func(m Managing, r *http.Request, _ *query) (any, error) {
		f, err := m.ConfigFile(r.Context(), r.PathValue("path"))
		if err != nil {
			return nil, err
		}
		return withETag(f, f.ETag), nil
	})
	part.route(t, Route{
		Method: "PUT", Path: "/api/v1/config/files/{path...}", Role: Admin, Params: []Param{dryRunParam, applyParam}, Body: ConfigFileEdit{}, Answer: ConfigEdited{},
		CLI: "tillstream config edit", BodyBytesMax: editBytesMax, Summary: "Writes a file: If-Match with its ETag, or If-None-Match: * for a new one",
	}, func(m Managing, r *http.Request, q *query) (any, error) {
		var body ConfigFileEdit
		e := editOf(r, q)
		if err := decodeBody(r, &body); err != nil || q.err != nil {
			return nil, firstOf(q.err, err)
		}
		return edited(m.EditConfigFile(r.Context(), r.PathValue("path"), &body.Text, e))
	})
	part.route(t, Route{
		Method: "DELETE", Path: "/api/v1/config/files/{path...}", Role: Admin, Params: []Param{dryRunParam, applyParam}, Answer: ConfigEdited{},
		CLI: "tillstream config delete", Summary: "Deletes a file of the configuration: If-Match with its ETag",
	}, func(m Managing, r *http.Request, q *query) (any, error) {
		e := editOf(r, q)
		if q.err != nil {
			return nil, q.err
		}
		return m.EditConfigFile(r.Context(), r.PathValue("path"), nil, e)
	})
	tryRoutes(t, part)
	versionRoutes(t, part)
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// tryOf reads a ConfigTry; no body means the folder as it stands.
func tryOf(r *http.Request) (t ConfigTry, err error) {
	if r.ContentLength != 0 {
		err = decodeBody(r, &t)
	}
	return t, err
}

func tryRoutes(t *table, part served[Managing]) {
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/config/check", Role: Operator, Body: ConfigTry{}, Answer: ConfigCheck{}, CLI: "tillstream check", BodyBytesMax: tryBytesMax,
		Summary: "Says what is wrong with a configuration, in form and in meaning; changes nothing",
	}, func(m Managing, r *http.Request, _ *query) (any, error) {
		try, err := tryOf(r)
		if err != nil {
			return nil, err
		}
		return m.CheckConfig(r.Context(), try)
	})
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/config/plan", Role: Operator, Body: ConfigTry{}, Answer: ConfigPlan{}, CLI: "tillstream plan", BodyBytesMax: tryBytesMax,
		Summary: "Says what would change if a configuration were put in force; changes nothing",
	}, func(m Managing, r *http.Request, _ *query) (any, error) {
		try, err := tryOf(r)
		if err != nil {
			return nil, err
		}
		return m.PlanConfig(r.Context(), try)
	})
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/config/apply", Once: true, Role: Operator, Body: ConfigTry{}, Answer: ConfigApplied{}, CLI: "tillstream apply", BodyBytesMax: tryBytesMax,
		Summary: "Puts a configuration in force while everything runs; it counts for the events from then on",
	}, func(m Managing, r *http.Request, _ *query) (any, error) {
		try, err := tryOf(r)
		if err != nil {
			return nil, err
		}
		return m.ApplyConfig(r.Context(), try, editor(r))
	})
}

func versionRoutes(t *table, part served[Managing]) {
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/config/versions", Role: Viewer, Params: []Param{afterParam}, Answer: ConfigVersionList{}, CLI: "tillstream config versions",
		Summary: "The versions that were ever in force, newest first",
	}, func(m Managing, r *http.Request, q *query) (any, error) {
		return m.ConfigVersions(r.Context(), q.text("after"))
	})
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/config/versions/{version}", Role: Operator, Answer: ConfigVersionText{}, CLI: "tillstream config version",
		Params:  []Param{{"against", "folder, in_force or a version to compare with; left out: the one before it"}},
		Summary: "One version with its texts and what differs from another",
	}, func(m Managing, r *http.Request, q *query) (any, error) {
		return m.ConfigVersionText(r.Context(), r.PathValue("version"), q.text("against"))
	})
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/config/versions/{version}/restore", Once: true, Role: Admin, Body: ConfigRestore{}, Answer: ConfigRestored{}, CLI: "tillstream config restore",
		Summary: "Writes an earlier version to the folder and puts it in force: If-Match with the ETag of GET /api/v1/config",
	}, func(m Managing, r *http.Request, _ *query) (any, error) {
		var body ConfigRestore
		if r.ContentLength != 0 {
			if err := decodeBody(r, &body); err != nil {
				return nil, err
			}
		}
		return m.RestoreConfig(r.Context(), r.PathValue("version"), body, ifMatch(r), editor(r))
	})
	part.stream(t, Route{
		Method: "GET", Path: "/api/v1/config/export", Role: Operator, Stream: true, Audit: true, CLI: "tillstream export",
		Params:  []Param{{"format", "tar (the default) or json"}, {"version", "a version in the place of the folder"}},
		Summary: "Every file of the configuration; the same configuration gives the same bytes",
	}, exportConfig)
	part.stream(t, Route{
		Method: "GET", Path: "/api/v1/config/schemas/{kind}", Role: Viewer, Stream: true, CLI: "tillstream config schema",
		Summary: "The JSON Schema of a kind of file: tillstream, connections, destinations, mappings or workflows",
	}, func(m Managing, w http.ResponseWriter, r *http.Request, _ *query) (any, error) {
		text, err := m.ConfigSchema(r.Context(), r.PathValue("kind"))
		if err != nil {
			return nil, err
		}
		w.Header().Set("Content-Type", "application/schema+json")
		_, _ = w.Write(text)
		return nil, nil
	})
}

func exportConfig(m Managing, w http.ResponseWriter, r *http.Request, q *query) (any, error) {
	switch format := q.text("format"); format {
	case "json":
		e, err := m.ExportConfig(r.Context(), q.text("version"))
		if err != nil {
			return nil, err
		}
		text, err := json.MarshalIndent(e, "", "  ")
		if err != nil {
			return nil, err
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write(append(text, '\n'))
	case "", "tar":
		archive, err := m.ExportArchive(r.Context(), q.text("version"))
		if err != nil {
			return nil, err
		}
		w.Header().Set("Content-Type", "application/x-tar")
		w.Header().Set("Content-Disposition", `attachment; filename="tillstream-config.tar"`)
		_, _ = w.Write(archive)
	default:
		return nil, Refuse(CodeInvalid, "format %.20q: use tar or json", format)
	}
	return nil, nil
}

// nameIn is a name in the address, which may be escaped.
func nameIn(r *http.Request) string {
	name := r.PathValue("name")
	if plain, err := url.PathUnescape(name); err == nil && strings.Contains(name, "%") {
		return plain
	}
	return name
}
