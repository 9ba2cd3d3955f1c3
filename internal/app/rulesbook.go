package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/config/versions"
	"github.com/tillstream/tillstream/processors/automation"
	"github.com/tillstream/tillstream/processors/mapping"
	"github.com/tillstream/tillstream/processors/workflows"
)

// compiledMax is how many compiled versions are kept in memory: partitions follow one, and two while one is activated.
const compiledMax = 8

// rulesBook compiles the versions of the configuration that the partitions follow, each from its own files. It is safe for
// concurrent use.
type rulesBook struct {
	history *versions.History
	log     zerolog.Logger
	// catalogue are the connectors' fields, customID is automation.Rules.CustomIDIsCustomer: the process's own.
	catalogue []string
	customID  bool

	last atomic.Pointer[compiled] // asked for last

	mu       sync.Mutex
	compiled []*compiled // used last at the end
	programs map[programKey]*workflows.Program
	looked   map[programKey]int64 // programs that were not found, with the history's last offset then
	refused  map[string]error     // versions that do not compile
}

var _ automation.Book = (*rulesBook)(nil)

type compiled struct {
	version string
	rules   *automation.Rules
}

type programKey struct{ workflow, version string }

func newRulesBook(h *versions.History, c *config.Config, log zerolog.Logger) *rulesBook {
	return &rulesBook{
		history: h, log: log, catalogue: knownTo(c).FieldCatalogue, customID: c.Settings.Stages.CustomID == config.CustomIDCustomer,
		programs: map[programKey]*workflows.Program{}, looked: map[programKey]int64{}, refused: map[string]error{},
	}
}

var errNotThere = errors.New("it is not on the topic config")

// Config makes a version ready; it reads the topic where the version is not known yet. pipeline.ErrConfigRefused says that
// it does not compile.
func (b *rulesBook) Config(ctx context.Context, version string) error {
	if _, ok := b.history.Get(version); !ok {
		if err := b.history.CatchUp(ctx); err != nil {
			return err
		}
	}
	_, err := b.compile(version)
	return err
}

// Rules implements automation.Book.
func (b *rulesBook) Rules(version string) *automation.Rules {
	if c := b.last.Load(); c != nil && c.version == version {
		return c.rules
	}
	c, err := b.compile(version)
	if err != nil { // Config let no partition follow it
		c = b.newest()
	}
	b.last.Store(c)
	return c.rules
}

// newest is the last version that compiles; without any, no rules.
func (b *rulesBook) newest() *compiled {
	for _, e := range slices.Backward(b.history.List()) {
		if c, err := b.compile(e.Version); err == nil {
			return c
		}
	}
	return &compiled{rules: &automation.Rules{}}
}

// compile compiles a version, once as long as it is used.
func (b *rulesBook) compile(version string) (*compiled, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.IndexFunc(b.compiled, func(c *compiled) bool { return c.version == version }); i >= 0 {
		c := b.compiled[i]
		b.compiled = append(slices.Delete(b.compiled, i, i+1), c)
		return c, nil
	}
	if err := b.refused[version]; err != nil {
		return nil, err
	}
	e, ok := b.history.Get(version)
	if !ok {
		return nil, errNotThere
	}
	rules, err := compileVersion(e, b.catalogue)
	if err != nil {
		err = fmt.Errorf("%w: version %s: %s", pipeline.ErrConfigRefused, version, strings.ReplaceAll(err.Error(), "\n", "; "))
		b.refused[version] = err
		b.log.Error().Err(err).Msg("a version of the configuration does not compile here; what follows another one goes on with that")
		return nil, err
	}
	rules.CustomIDIsCustomer = b.customID
	c := &compiled{version, &rules}
	for _, p := range rules.Workflows() {
		b.programs[programKey{p.Name, p.Version}] = p
	}
	if len(b.compiled) == compiledMax {
		b.compiled = slices.Delete(b.compiled, 0, 1)
	}
	b.compiled = append(b.compiled, c)
	return c, nil
}

// compileVersion compiles a version from its own files. What it names outside of them is taken as given: it was checked
// when it was put in force, and accounts come and go. The error is config.Problems.
func compileVersion(e versions.Entry, catalogue []string) (automation.Rules, error) {
	docs, err := config.Documents(e.Files, Kinds())
	if err != nil {
		return automation.Rules{}, err
	}
	rules, err := compileDocuments(docs, automation.Known{FieldCatalogue: catalogue})
	rules.ConfigVersion = e.Version
	return rules, err
}

// Program implements automation.Book: an open run may go by a text that was in force long ago.
func (b *rulesBook) Program(workflow, version string) *workflows.Program {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := programKey{workflow, version}
	if p := b.programs[key]; p != nil {
		return p
	}
	entries := b.history.List()
	if len(entries) == 0 {
		return nil
	}
	newest := entries[len(entries)-1].Offset
	if at, ok := b.looked[key]; ok && at == newest {
		return nil
	}
	seen := map[string]bool{}
	for _, e := range slices.Backward(entries) {
		for _, ending := range []string{".yaml", ".yml"} {
			file := WorkflowsFolder + "/" + workflow + ending
			text, ok := e.Files[file]
			if !ok || seen[text] {
				continue
			}
			seen[text] = true
			if p := b.compileOne(file, text); p != nil {
				b.programs[programKey{p.Name, p.Version}] = p
			}
		}
		if p := b.programs[key]; p != nil {
			return p
		}
	}
	b.looked[key] = newest
	return nil
}

// compileOne compiles one workflow by itself; nil where it is not good any more.
func (b *rulesBook) compileOne(file, text string) *workflows.Program {
	docs, err := config.Documents(map[string]string{file: text}, Kinds())
	if err != nil || len(docs[WorkflowsFolder]) != 1 {
		return nil
	}
	d := docs[WorkflowsFolder][0]
	p, _ := workflows.Compile(d.Name, *d.Value.(*workflows.File), workflows.Known{Catalogue: mapping.CatalogueFor(b.catalogue)})
	return p
}

// problems tells of versions that this process cannot follow, if one of them is in force.
func (b *rulesBook) problems() error {
	e, ok := b.history.InForce()
	if !ok {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refused[e.Version]
}
