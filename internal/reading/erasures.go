package reading

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/connections"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// erasures are those that this process began, the oldest first, at most erasuresKept.
type erasures struct {
	mu   sync.Mutex
	list []api.Erasure
}

// Bounds of erasures.
const (
	erasuresKept       = 200
	erasuresRunningMax = 4
	erasureByBytesMax  = 100
)

// Erase implements api.Reading.
func (d *Desk) Erase(ctx context.Context, q api.ErasureRequest) (api.Erasure, error) {
	q.By = strings.TrimSpace(q.By)
	switch {
	case q.DryRun && q.Lift:
		return api.Erasure{}, refuse(connections.Invalid, "dry_run counts what an erasure would take; it does not go with lift")
	case !q.DryRun && !q.Sure:
		return api.Erasure{}, refuse(connections.Invalid, "what is erased does not come back: look first with dry_run, then say confirm")
	case !q.DryRun && q.By == "":
		return api.Erasure{}, refuse(connections.Invalid, "the receipt says who asked for it: add by")
	case len(q.By) > erasureByBytesMax || strings.ContainsFunc(q.By, unicode.IsControl):
		return api.Erasure{}, refuse(connections.Invalid, "by: write one line of at most %d bytes", erasureByBytesMax)
	case q.Lift:
		r, err := d.Store.Lift(ctx, q.Email, q.By)
		return erasureOf(r, api.ErasureDone), refused(err)
	}
	// The count is made first, so that what is no address, or too much for a person, is said at once.
	counted, err := d.Store.Erase(ctx, chsink.Erasure{Email: q.Email, By: q.By, DryRun: true})
	if err != nil || q.DryRun {
		return erasureOf(counted, api.ErasureDone), refused(err)
	}
	e := erasureOf(counted, api.ErasureRunning)
	e.ID, e.DryRun = rand.Text(), false
	if !d.erasures.begin(e) {
		return api.Erasure{}, refuse(connections.Conflict, "%d erasures are at work; ask again when one is done", erasuresRunningMax)
	}
	background := d.Background
	if background == nil {
		background = context.WithoutCancel(ctx)
	}
	go d.erase(background, e, q)
	return e, nil
}

func (d *Desk) erase(ctx context.Context, e api.Erasure, q api.ErasureRequest) {
	settle := d.Settle
	if settle == 0 {
		settle = chsink.SettleDefault
	}
	r, err := d.Store.Erase(ctx, chsink.Erasure{Email: q.Email, By: q.By, Settle: settle})
	done := erasureOf(r, api.ErasureDone)
	if err != nil {
		done = e
		done.State, done.Problem = api.ErasureFailed, outbound.Redact(err.Error())
	}
	done.ID = e.ID
	d.erasures.end(done)
}

func (l *erasures) begin(e api.Erasure) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	running := 0
	for _, one := range l.list {
		if one.State == api.ErasureRunning {
			running++
		}
	}
	if running >= erasuresRunningMax {
		return false
	}
	if len(l.list) >= erasuresKept {
		if i := slices.IndexFunc(l.list, func(one api.Erasure) bool { return one.State != api.ErasureRunning }); i >= 0 {
			l.list = slices.Delete(l.list, i, i+1)
		}
	}
	l.list = append(l.list, e)
	return true
}

func (l *erasures) end(e api.Erasure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.list {
		if l.list[i].ID == e.ID {
			l.list[i] = e
		}
	}
}

func (l *erasures) all() []api.Erasure {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := slices.Clone(l.list)
	slices.Reverse(list)
	return list
}

func erasureOf(r chsink.Receipt, state string) api.Erasure {
	return api.Erasure{
		ID: r.ErasureID, State: state, DryRun: r.DryRun, Lifted: r.Lifted, Subject: r.Subject, Pseudonym: r.Pseudonym, By: r.By, At: r.At, DoneAt: r.DoneAt,
		Orders: r.Orders, Contacts: r.Contacts, Tables: r.Tables, Destinations: r.Destinations, Remaining: r.Remaining,
	}
}

// Erasure implements api.Reading.
func (d *Desk) Erasure(ctx context.Context, id string) (api.Erasure, error) {
	list, err := d.Erasures(ctx)
	if err != nil {
		return api.Erasure{}, err
	}
	for _, e := range list.Items {
		if e.ID == id {
			return e, nil
		}
	}
	return api.Erasure{}, refuse(connections.NotFound, "there is no erasure %.40q; one that another process works on is there when it is done", id)
}

// Erasures implements api.Reading: those that this process began, and the receipts that ClickHouse keeps.
func (d *Desk) Erasures(ctx context.Context) (api.ErasureList, error) {
	kept, err := d.Store.Receipts(ctx, erasuresKept)
	if err != nil {
		return api.ErasureList{}, err
	}
	list := d.erasures.all()
	for _, r := range kept {
		// One that was begun here stands there already, by the name that it was given before its receipt had one.
		if !slices.ContainsFunc(list, func(e api.Erasure) bool {
			return e.Subject == r.Subject && e.At.Truncate(1e6).Equal(r.At.Truncate(1e6)) && e.Lifted == r.Lifted
		}) {
			list = append(list, erasureOf(r, api.ErasureDone))
		}
	}
	slices.SortStableFunc(list, func(a, b api.Erasure) int { return b.At.Compare(a.At) })
	return api.ErasureList{Items: list}, nil
}
