package connectorstest

import (
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// Polling is a provider that lists records, and what it lists.
type Polling struct {
	// Config opens the connection; nil: Options.Config.
	Config any
	// Outside answers as the provider does, over several pages where it has pages.
	Outside http.RoundTripper
	// From and To are the window in which all of Want changed.
	From, To time.Time
	// Want are the EntityIDs of the records that each feed lists.
	Want map[string][]string
	// NotOnFailure names feeds that answer without a request, so that a failing provider does not show; optional.
	NotOnFailure []string
}

// Bounds of a walk over one feed.
const (
	pagesMax     = 10_000
	pollTimeLong = 60 * time.Second
)

func poller(t *testing.T, c connectors.Connector, o Options, outside http.RoundTripper) connectors.Poller {
	t.Helper()
	if o.Poll.Config != nil {
		o.Config = o.Poll.Config
	}
	src := opened(t, c, o, outside, io.Discard)
	p, ok := src.(connectors.Poller)
	if !ok {
		t.Fatalf("a %T lists nothing", src)
	}
	return p
}

// polling: over every page of every window each record is found, once or more, and as a record that Normalize takes.
func polling(t *testing.T, c connectors.Connector, o Options) {
	p := poller(t, c, o, o.Poll.Outside)
	feeds := p.Feeds()
	if diff := cmp.Diff(p.Feeds(), feeds); diff != "" || len(feeds) == 0 {
		t.Errorf("%d feeds; asked again:\n%s", len(feeds), diff)
	}
	byName := map[string]connectors.Feed{}
	for _, f := range feeds {
		if _, twice := byName[f.Name]; f.Name == "" || twice || f.Every < 0 || f.Late < 0 || f.WindowMax < 0 || f.Reach < 0 ||
			f.Match < connectors.MatchEvent || f.Match > connectors.MatchStatus || f.Every == 0 && !f.History {
			t.Errorf("feed %+v: incomplete, never asked, or its name is taken", f)
		}
		byName[f.Name] = f
	}
	for _, name := range slices.Sorted(maps.Keys(o.Poll.Want)) {
		f, ok := byName[name]
		if !ok {
			t.Errorf("feed %s is not among %v", name, slices.Sorted(maps.Keys(byName)))
			continue
		}
		half := o.Poll.From.Add(o.Poll.To.Sub(o.Poll.From) / 2).Truncate(time.Millisecond)
		for what, cuts := range map[string][]time.Time{
			"whole":         {o.Poll.From, o.Poll.To},
			"in two halves": {o.Poll.From, half, o.Poll.To},
		} {
			for _, full := range []bool{false, true} {
				found := map[string]bool{}
				for i := range len(cuts) - 1 {
					walk(t, c, o, p, f, cuts[i], cuts[i+1], full, found)
				}
				for _, id := range o.Poll.Want[name] {
					if !found[id] {
						t.Errorf("feed %s, %s, full %t: %s was not found among %d", name, what, full, id, len(found))
					}
				}
			}
		}
	}
	if _, err := p.Poll(t.Context(), connectors.Query{Feed: "no such feed", From: o.Poll.From, To: o.Poll.To}); err == nil {
		t.Error("a feed that is none: got no error")
	}
}

// walk reads one span of a feed, in windows that it can answer, and notes the entities that it found.
func walk(t *testing.T, c connectors.Connector, o Options, p connectors.Poller, f connectors.Feed, from, to time.Time, full bool, found map[string]bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pollTimeLong)
	defer cancel()
	for from.Before(to) {
		end := to
		if f.WindowMax > 0 && end.Sub(from) > f.WindowMax {
			end = from.Add(f.WindowMax)
		}
		q := connectors.Query{Feed: f.Name, From: from, To: end, Full: full}
		seen := map[string]bool{}
		for n := 0; ; n++ {
			page, err := p.Poll(ctx, q)
			if err != nil {
				t.Errorf("feed %s from %v: %v", f.Name, from, err)
				return
			}
			for _, one := range page.Found {
				noteFound(t, c, o, f, one, found)
			}
			if page.Next == "" {
				break
			}
			if seen[page.Next] || n == pagesMax {
				t.Errorf("feed %s: cursor %q leads in a circle, or on after %d pages", f.Name, page.Next, n)
				return
			}
			seen[page.Next], q.Cursor = true, page.Next
		}
		from = end
	}
}

func noteFound(t *testing.T, c connectors.Connector, o Options, f connectors.Feed, one connectors.Found, found map[string]bool) {
	t.Helper()
	if one.Connection != "shop" || one.Environment != o.Environment || one.ReceivedAt.IsZero() ||
		one.Origin != schemas.OriginPoll && one.Origin != schemas.OriginBackfill {
		t.Errorf("feed %s: delivery %q of %s/%s, %s at %v", f.Name, one.ID, one.Environment, one.Connection, one.Origin, one.ReceivedAt)
	}
	events, err := c.Normalize(one.Delivery)
	if err != nil || len(events) == 0 {
		t.Errorf("feed %s: %.200q gives %d records, %v", f.Name, one.Body, len(events), err)
	}
	for _, e := range events {
		found[e.EntityID] = true
	}
}

// failingPolls: the answer to a question that could not be asked is an error: an empty page would say that nothing changed.
func failingPolls(t *testing.T, c connectors.Connector, o Options) {
	for _, outside := range []http.RoundTripper{echo{0}, echo{400}, echo{401}, echo{403}, echo{404}} {
		p := poller(t, c, o, outside)
		ctx, cancel := context.WithTimeout(t.Context(), pollTimeLong)
		for _, f := range p.Feeds() {
			if slices.Contains(o.Poll.NotOnFailure, f.Name) {
				continue
			}
			end := o.Poll.To
			if f.WindowMax > 0 && end.Sub(o.Poll.From) > f.WindowMax {
				end = o.Poll.From.Add(f.WindowMax)
			}
			if page, err := p.Poll(ctx, connectors.Query{Feed: f.Name, From: o.Poll.From, To: end}); err == nil {
				t.Errorf("feed %s of a provider that answers %+v: got %d records and no error", f.Name, outside, len(page.Found))
			}
		}
		cancel()
	}
	p := poller(t, c, o, o.Poll.Outside)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name := range o.Poll.Want {
		if _, err := p.Poll(ended, connectors.Query{Feed: name, From: o.Poll.From, To: o.Poll.To}); err == nil && !slices.Contains(o.Poll.NotOnFailure, name) {
			t.Errorf("feed %s: got no error after the end of its context", name)
		}
	}
}
