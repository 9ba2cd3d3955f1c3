// Package destinations keeps the CRM accounts that contacts are written to: it connects and disconnects them, tries their
// keys, reads what they have for mappings and workflows to name, and says what is wrong with each.
//
// A Desk changes the folder of the configuration, for the command line and the API alike. A Keeper does the looking after
// in a process that delivers. What was read of an account is kept in Redis, so that every process and command has it.
package destinations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/sinks"
)

// Kinds are what the catalogue of a destination is read of, in the order to be shown.
var Kinds = []sinks.EntryKind{sinks.EntryField, sinks.EntryTag, sinks.EntryList, sinks.EntryAutomation, sinks.EntryMessage, sinks.EntryShop}

// Folder is where destinations are configured.
const Folder = "destinations"

// Opener opens a destination's writer. Its HTTP client holds the account's rate limit where one is known.
type Opener func(ctx context.Context, d config.Destination) (sinks.Writer, error)

// Count is how many entries of a kind an account has.
type Count struct {
	Kind  sinks.EntryKind `json:"kind"`
	Count int             `json:"count"`
}

// Trial is what one look at an account told.
type Trial struct {
	Findings []connections.FindingView `json:"findings"`
	Account  *AccountView              `json:"account,omitempty"` // where the destination can tell
	Counts   []Count                   `json:"counts,omitempty"`  // of what was counted in time
}

// AccountView is an account as people see it. The user is masked.
type AccountView struct {
	ID     string       `json:"id,omitempty"`
	Name   string       `json:"name"`
	User   string       `json:"user,omitempty"`
	Detail []sinks.Fact `json:"detail,omitempty"`
}

// bad reports whether something of it keeps the account from being used.
func (t Trial) bad() bool {
	return slices.ContainsFunc(t.Findings, func(f connections.FindingView) bool { return f.Level == connectors.Bad })
}

func findingViews(list []sinks.Finding) []connections.FindingView {
	out := make([]connections.FindingView, len(list))
	for i, f := range list {
		out[i] = connections.FindingView{Level: connectors.OK, Field: f.Field, Message: outbound.Redact(f.Message), Hint: f.Hint}
		if f.Bad {
			out[i].Level = connectors.Bad
		}
	}
	return out
}

// try asks a writer for all that a person who connects the account wants to see. Where the key is refused nothing more
// is asked.
func try(ctx context.Context, w sinks.Writer, countFor time.Duration) (t Trial) {
	err := safely(func() error { t.Findings = findingViews(w.Check(ctx)); return nil })
	if err != nil {
		t.Findings = []connections.FindingView{{Level: connectors.Bad, Message: err.Error()}}
	}
	if t.bad() {
		return t
	}
	t.Account = account(ctx, w)
	if c, ok := w.(sinks.Cataloguer); ok && countFor > 0 {
		counting, cancel := context.WithTimeout(ctx, countFor)
		defer cancel()
		for _, kind := range Kinds {
			entries, o := list(counting, c, kind)
			if o.Kind == sinks.Delivered {
				t.Counts = append(t.Counts, Count{kind, len(entries)})
			}
		}
	}
	return t
}

// account is whose account it is; nil: it is not told.
func account(ctx context.Context, w sinks.Writer) (view *AccountView) {
	who, ok := w.(sinks.Accounter)
	if !ok {
		return nil
	}
	_ = safely(func() error {
		if a, o := who.Account(ctx); o.Kind == sinks.Delivered {
			view = &AccountView{ID: a.ID, Name: a.Name, User: outbound.Redact(a.User), Detail: a.Detail}
		}
		return nil
	})
	return view
}

func list(ctx context.Context, c sinks.Cataloguer, kind sinks.EntryKind) (entries []sinks.Entry, o sinks.Outcome) {
	if err := safely(func() error { entries, o = c.Catalogue(ctx, kind); return nil }); err != nil {
		return nil, sinks.Outcome{Kind: sinks.Retryable, Err: err, Remedy: "report this as a bug"}
	}
	return entries, o
}

// safely turns a panic of a sink into an error, without its value, which could hold anything.
func safely(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the sink failed with a panic of type %T: please report it", p)
		}
	}()
	return f()
}

// AccountOf is whose account it is: two destinations on one account share its limit. It tells no key.
func AccountOf(d config.Destination) string {
	if a, ok := d.Settings.(interface{ Account() string }); ok {
		return d.Sink.Type + ":" + a.Account()
	}
	return d.Sink.Type + ":" + d.Name
}

// why is the reason of an outcome that told nothing.
func why(o sinks.Outcome) error {
	err := o.Err
	if err == nil {
		err = errors.New("it gave no answer")
	}
	if o.Remedy != "" {
		return fmt.Errorf("%s; %s", outbound.Redact(err.Error()), o.Remedy)
	}
	return errors.New(outbound.Redact(err.Error()))
}
