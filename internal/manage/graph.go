package manage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/workflows"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// endNode is where a run ends that comes behind the last step of a branch.
const endNode = "end"

// pathOf is a step's path in a file as the configuration has it: steps.2.met.0.
func pathOf(field string) string { return dottedField(field) }

// WorkflowGraph implements api.Managing.
func (o *Office) WorkflowGraph(ctx context.Context, name string, q api.RunsQuery) (api.WorkflowGraph, error) {
	docs, err := o.documents(ctx, app.WorkflowsFolder, name)
	if err != nil {
		return api.WorkflowGraph{}, err
	}
	d := docs[0]
	f, ok := d.value.(*workflows.File)
	if !ok {
		p := api.Refuse(api.CodeConfigRefused, "%s cannot be read", d.Path)
		p.Problems = d.problems
		return api.WorkflowGraph{}, p
	}
	p, problems := workflows.Compile(name, *f, workflows.Known{Catalogue: mapping.CatalogueFor([]string{"*"})})
	if p == nil {
		said := api.Refuse(api.CodeConfigRefused, "%s is not good", d.Path)
		for _, x := range problems {
			said.Problems = append(said.Problems, api.ConfigProblem{File: d.Path, Field: pathOf(x.Field), Detail: x.Message, Hint: x.Hint})
		}
		return api.WorkflowGraph{}, said
	}
	kept, err := config.Documents(map[string]string{d.Path: d.Text}, []config.Kind{folderKind(app.WorkflowsFolder)})
	if err != nil {
		return api.WorkflowGraph{}, err
	}
	g := Graph(p, f, kept[app.WorkflowsFolder][0].Line)
	o.count(ctx, &g, q)
	return g, nil
}

// Graph draws a compiled workflow.
func Graph(p *workflows.Program, f *workflows.File, line func(string) int) api.WorkflowGraph {
	g := api.WorkflowGraph{Workflow: p.Name, Version: p.Version, Nodes: []api.GraphNode{}, Edges: []api.GraphEdge{}}
	ends := false
	node := func(i int) string {
		if i < 0 || i >= len(p.Steps) {
			ends = true
			return endNode
		}
		return "step:" + p.Steps[i].ID
	}
	edge := func(from, to, branch, label string) {
		g.Edges = append(g.Edges, api.GraphEdge{From: from, To: to, Branch: branch, Label: label})
	}
	first := node(0)
	for i, s := range f.Start {
		field := fmt.Sprintf("start.%d", i)
		id := field
		g.Nodes = append(g.Nodes, api.GraphNode{ID: id, Kind: "start", Label: startLabel(s), Field: field, Line: line(field)})
		edge(id, first, "", "")
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		n := api.GraphNode{ID: node(i), Kind: string(s.Kind), Step: s.ID, Field: pathOf(s.Field), Line: line(pathOf(s.Field))}
		n.Label = stepLabel(s)
		switch s.Kind {
		case workflows.StepIf, workflows.StepOnList, workflows.StepHours:
			edge(n.ID, node(s.Then), "then", "yes")
			edge(n.ID, node(s.Else), "else", "no")
		case workflows.StepWaitFor:
			edge(n.ID, node(s.WaitFor.Met), "met", "it came in time")
			edge(n.ID, node(s.WaitFor.NotMet), "not_met", notMetLabel(s.WaitFor))
			if s.WaitFor.Corrected >= 0 {
				edge(n.ID, node(s.WaitFor.Corrected), "corrected", "it came late")
			}
		case workflows.StepMoveTo, workflows.StepStop:
		case workflows.StepAct:
			n.Kind, n.Action = "action", string(s.Action.Kind)
			edge(n.ID, node(s.Next), "", "")
		default:
			edge(n.ID, node(s.Next), "", "")
		}
		g.Nodes = append(g.Nodes, n)
	}
	if ends {
		g.Nodes = append(g.Nodes, api.GraphNode{ID: endNode, Kind: "end", Label: "end"})
	}
	return g
}

func startLabel(s workflows.FileStart) string {
	label := s.On
	if len(s.Status) > 0 {
		label += ": " + strings.Join(s.Status, ", ")
	}
	for _, part := range []string{s.Tag, s.At, s.If} {
		if part != "" {
			label += " " + part
		}
	}
	if len(s.Connections) > 0 {
		label += " of " + strings.Join(s.Connections, ", ")
	}
	return shorten(label, 200)
}

func notMetLabel(w *workflows.WaitFor) string {
	if w.NotMetAfter == 0 {
		return "never"
	}
	return "not within " + w.NotMetAfter.String()
}

func stepLabel(s *workflows.Step) string {
	label := ""
	switch s.Kind {
	case workflows.StepIf:
		label = s.If.String()
	case workflows.StepOnList:
		label = "on list " + s.List
	case workflows.StepHours:
		label = "within business hours"
	case workflows.StepWait:
		label = "wait"
		if s.Until.After > 0 {
			label = "wait " + s.Until.After.String()
		}
	case workflows.StepWaitFor:
		label = "wait for " + s.WaitFor.Event.On
		if len(s.WaitFor.Event.Status) > 0 {
			label += ": " + strings.Join(s.WaitFor.Event.Status, ", ")
		}
	case workflows.StepAct:
		label = actionLabel(s.Action)
	case workflows.StepMoveTo:
		label = "move to " + s.Workflow
	case workflows.StepStop:
		label = "stop"
	}
	return shorten(label, 200)
}

func actionLabel(a *workflows.Action) string {
	label := strings.ReplaceAll(string(a.Kind), "_", " ")
	var parts []string
	if a.Name != "" {
		parts = append(parts, a.Name)
	}
	if a.From != "" {
		parts = append(parts, "from "+a.From)
	}
	for _, t := range a.Add {
		parts = append(parts, "+"+t)
	}
	for _, t := range a.Remove {
		parts = append(parts, "-"+t)
	}
	for _, f := range a.Fields {
		parts = append(parts, f.Name)
	}
	if len(parts) > 0 {
		label += ": " + strings.Join(parts, ", ")
	}
	return label
}

// count fills in how many runs took each branch.
func (o *Office) count(ctx context.Context, g *api.WorkflowGraph, q api.RunsQuery) {
	if o.Runs == nil {
		g.Why = "this process knows no ClickHouse, where runs are counted"
		return
	}
	list, err := o.Runs(ctx, q)
	if err != nil {
		g.Why = firstLine(err)
		return
	}
	g.Counts = &api.GraphCounts{}
	for _, w := range list {
		if w.Workflow != g.Workflow {
			continue
		}
		c := g.Counts
		c.Runs, c.Open, c.Ended, c.Stopped = c.Runs+w.Runs, c.Open+w.Open, c.Ended+w.Ended, c.Stopped+w.Stopped
		c.NotStarted, c.Contacts = c.NotStarted+w.NotStarted, c.Contacts+w.Contacts
		for _, b := range w.Branches {
			countBranch(g, b)
		}
	}
}

func countBranch(g *api.WorkflowGraph, b chsink.BranchCount) {
	i := slices.IndexFunc(g.Edges, func(e api.GraphEdge) bool { return e.From == "step:"+b.Step && e.Branch == b.Branch })
	if i < 0 {
		return
	}
	add := func(to **uint64, n uint64) {
		if *to != nil {
			n += **to
		}
		*to = &n
	}
	add(&g.Edges[i].Times, b.Times)
	add(&g.Edges[i].Runs, b.Runs)
	add(&g.Edges[i].Contacts, b.Contacts)
}
