package api

import (
	"net/http"

	"github.com/tillstream/tillstream/schemas"
)

func (b *Board) mappingRoutes(t *table) {
	part := b.manager()
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/mappings", Role: Viewer, Answer: MappingList{}, CLI: "tillstream mappings",
		Summary: "Every mapping of the folder, with what is wrong with it",
	}, func(m Managing, r *http.Request, _ *query) (any, error) { return m.Mappings(r.Context()) })
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/mappings/{name}", Role: Viewer, Answer: MappingView{}, CLI: "tillstream mappings show",
		Summary: "One mapping: its text, and what it says",
	}, func(m Managing, r *http.Request, _ *query) (any, error) {
		v, err := m.Mapping(r.Context(), nameIn(r))
		if err != nil {
			return nil, err
		}
		return withETag(v, v.ETag), nil
	})
	part.route(t, Route{
		Method: "PUT", Path: "/api/v1/mappings/{name}", Role: Operator, Params: []Param{dryRunParam, applyParam}, Body: MappingEdit{}, Answer: ConfigEdited{},
		CLI: "tillstream mappings set", BodyBytesMax: editBytesMax,
		Summary: "Changes a mapping, and keeps the comments of its file: If-Match with its ETag, or If-None-Match: * for a new one",
	}, func(m Managing, r *http.Request, q *query) (any, error) {
		var body MappingEdit
		e := editOf(r, q)
		if err := decodeBody(r, &body); err != nil || q.err != nil {
			return nil, firstOf(q.err, err)
		}
		return edited(m.EditMapping(r.Context(), nameIn(r), &body, e))
	})
	part.route(t, Route{
		Method: "DELETE", Path: "/api/v1/mappings/{name}", Role: Operator, Params: []Param{dryRunParam, applyParam}, Answer: ConfigEdited{},
		CLI: "tillstream mappings delete", Summary: "Deletes a mapping: If-Match with its ETag",
	}, func(m Managing, r *http.Request, q *query) (any, error) {
		e := editOf(r, q)
		if q.err != nil {
			return nil, q.err
		}
		return m.EditMapping(r.Context(), nameIn(r), nil, e)
	})
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/mappings/{name}/preview", Role: Viewer, Body: PreviewRequest{}, Answer: Preview{}, CLI: "tillstream preview", BodyBytesMax: editBytesMax,
		Summary: "Shows what a mapping makes of a stored event or a sample: each field, the contact before and after, the requests. Sends nothing",
	}, func(m Managing, r *http.Request, _ *query) (any, error) {
		var body PreviewRequest
		if err := decodeBody(r, &body); err != nil {
			return nil, err
		}
		if (body.Event == "") != body.Sample {
			return nil, badBody("say either event or sample")
		}
		if body.PersonalData {
			if err := maySeePersons(r); err != nil {
				return nil, err
			}
		}
		return m.PreviewMapping(r.Context(), nameIn(r), body)
	})
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/mappings/{name}/versions", Role: Viewer, Answer: MappingVersions{}, CLI: "tillstream mappings versions",
		Summary: "The texts that a mapping had, newest first, each with what differs",
	}, func(m Managing, r *http.Request, _ *query) (any, error) {
		return m.MappingVersions(r.Context(), nameIn(r))
	})
}

func (b *Board) workflowRoutes(t *table) {
	part := b.manager()
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/workflows", Role: Viewer, Answer: WorkflowList{}, CLI: "tillstream workflows",
		Summary: "Every workflow of the folder, with what is wrong with it",
	}, func(m Managing, r *http.Request, _ *query) (any, error) { return m.Workflows(r.Context()) })
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/workflows/{name}", Role: Viewer, Answer: WorkflowView{}, CLI: "tillstream workflows show",
		Summary: "One workflow: its text, and what it says as a form",
	}, func(m Managing, r *http.Request, _ *query) (any, error) {
		v, err := m.Workflow(r.Context(), nameIn(r))
		if err != nil {
			return nil, err
		}
		return withETag(v, v.ETag), nil
	})
	part.route(t, Route{
		Method: "PUT", Path: "/api/v1/workflows/{name}", Role: Operator, Params: []Param{dryRunParam, applyParam}, Body: WorkflowEdit{}, Answer: ConfigEdited{},
		CLI: "tillstream workflows set", BodyBytesMax: editBytesMax,
		Summary: "Changes a workflow, and keeps the comments of its file: If-Match with its ETag, or If-None-Match: * for a new one",
	}, func(m Managing, r *http.Request, q *query) (any, error) {
		var body WorkflowEdit
		e := editOf(r, q)
		if err := decodeBody(r, &body); err != nil || q.err != nil {
			return nil, firstOf(q.err, err)
		}
		return edited(m.EditWorkflow(r.Context(), nameIn(r), &body, e))
	})
	part.route(t, Route{
		Method: "DELETE", Path: "/api/v1/workflows/{name}", Role: Operator, Params: []Param{dryRunParam, applyParam}, Answer: ConfigEdited{},
		CLI: "tillstream workflows delete", Summary: "Deletes a workflow: If-Match with its ETag. Its open runs go on with the text that they started under",
	}, func(m Managing, r *http.Request, q *query) (any, error) {
		e := editOf(r, q)
		if q.err != nil {
			return nil, q.err
		}
		return m.EditWorkflow(r.Context(), nameIn(r), nil, e)
	})
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/workflows/{name}/versions", Role: Viewer, Answer: MappingVersions{}, CLI: "tillstream workflows versions",
		Summary: "The texts that a workflow had, newest first, each with what differs",
	}, func(m Managing, r *http.Request, _ *query) (any, error) {
		return m.WorkflowVersions(r.Context(), nameIn(r))
	})
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/workflows/{name}/graph", Role: Viewer, Answer: WorkflowGraph{}, CLI: "tillstream workflows graph",
		Params:  []Param{storeParam, environmentParam, sinceParam, untilParam},
		Summary: "A workflow as nodes and edges, with how many runs took each branch",
	}, func(m Managing, r *http.Request, q *query) (any, error) {
		run := RunsQuery{Workflow: nameIn(r), Store: q.text("store"), Environment: schemas.Environment(q.text("environment")), Since: q.time("since"), Until: q.time("until")}
		if e := run.Environment; e != "" && e != schemas.Live && e != schemas.Sandbox {
			q.fail("environment %q: use live or sandbox", e)
		}
		if q.err != nil {
			return nil, q.err
		}
		return m.WorkflowGraph(r.Context(), run.Workflow, run)
	})
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/workflows/{name}/test", Role: Viewer, Body: WorkflowTest{}, Answer: WorkflowTested{}, CLI: "tillstream workflows test", BodyBytesMax: editBytesMax,
		Summary: "Runs a workflow on events at times, in memory and under virtual time. Sends nothing",
	}, func(m Managing, r *http.Request, _ *query) (any, error) {
		var body WorkflowTest
		if err := decodeBody(r, &body); err != nil {
			return nil, err
		}
		return m.TestWorkflow(r.Context(), nameIn(r), body)
	})
}

func (b *Board) backtestRoutes(t *table) {
	part := b.manager()
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/backtests", Once: true, Role: Operator, Body: BacktestRequest{}, Answer: Backtest{}, Code: http.StatusAccepted, CLI: "tillstream backtest", BodyBytesMax: tryBytesMax,
		Summary: "Begins to run the recorded events of a span with another configuration. Sends nothing",
	}, func(m Managing, r *http.Request, _ *query) (any, error) {
		var body BacktestRequest
		if r.ContentLength != 0 {
			if err := decodeBody(r, &body); err != nil {
				return nil, err
			}
		}
		return m.StartBacktest(r.Context(), body)
	})
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/backtests", Role: Viewer, Answer: BacktestList{}, NoCLI: "the command line runs a backtest in itself, to its end, and keeps none",
		Summary: "The backtests of this process, newest first",
	}, func(m Managing, r *http.Request, _ *query) (any, error) { return m.Backtests(r.Context()) })
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/backtests/{id}", Role: Viewer, Answer: Backtest{}, CLI: "tillstream backtest",
		Summary: "How far a backtest is, and its report when it is done",
	}, func(m Managing, r *http.Request, _ *query) (any, error) {
		return m.Backtest(r.Context(), r.PathValue("id"))
	})
	part.route(t, Route{
		Method: "DELETE", Path: "/api/v1/backtests/{id}", Role: Operator, Answer: Backtest{}, NoCLI: "an interrupt ends the backtest that the command line runs",
		Summary: "Cancels a backtest, as an interrupt does at the command line",
	}, func(m Managing, r *http.Request, _ *query) (any, error) {
		return m.CancelBacktest(r.Context(), r.PathValue("id"))
	})
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/test-events", Once: true, Role: Operator, Body: TestEventRequest{}, Answer: TestEventTaken{}, Code: http.StatusAccepted, CLI: "tillstream test-event",
		Summary: "Makes an event that is marked as a test; with send it goes the whole way to the CRM, else it is only shown",
	}, func(m Managing, r *http.Request, _ *query) (any, error) {
		var body TestEventRequest
		if err := decodeBody(r, &body); err != nil {
			return nil, err
		}
		return m.SendTestEvent(r.Context(), body, editor(r))
	})
}
