// Package recovery tells operators what went wrong, from ClickHouse, and asks for the jobs that mend it, over Kafka: for the
// management port and the command line alike.
package recovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/internal/explain"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/jobs"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// Store is where letters, deliveries and jobs are looked up.
type Store interface {
	Issues(ctx context.Context, f chsink.PastFilter) ([]chsink.Issue, error)
	Letters(ctx context.Context, f chsink.PastFilter, limit int) ([]chsink.Letter, error)
	CountLetters(ctx context.Context, f chsink.PastFilter) (chsink.LetterCount, error)
	Deliveries(ctx context.Context, f chsink.PastFilter, limit int) ([]chsink.Delivery, error)
	CountDeliveries(ctx context.Context, f chsink.PastFilter) (uint64, error)
	Tries(ctx context.Context, command string) ([]chsink.Try, error)
	CountReplay(ctx context.Context, f chsink.PastFilter) (chsink.Replayed, error)
	Jobs(ctx context.Context, id string, limit int) ([]chsink.Job, error)
	Items(ctx context.Context, job, result string, after int64, limit int) ([]chsink.Item, error)
}

// Desk answers, and asks.
type Desk struct {
	Store Store
	// Append puts a request on job.requests; nil: this desk only tells.
	Append func(ctx context.Context, r *schemas.JobRequest) error
	Now    func() time.Time
}

var _ api.Recovery = (*Desk)(nil)

// sampleMax bounds Preview.Sample.
const sampleMax = 5

func refuse(kind connections.RefusalKind, format string, args ...any) error {
	return connections.Refuse(kind, format, args...)
}

// refused turns findings about the question into refusals.
func refused(err error) error {
	if errors.Is(err, chsink.ErrFilter) || errors.Is(err, jobs.ErrFilter) {
		return refuse(connections.Invalid, "%s", outbound.Redact(err.Error()))
	}
	return err
}

func pastFilter(f jobs.Filter, state string) chsink.PastFilter {
	return chsink.PastFilter{
		Issue: f.Issue, Cause: f.Cause, Stage: f.Stage, Destination: f.Destination, Connection: f.Connection, Environment: f.Environment, Contact: f.Contact,
		Order: f.Order, Item: f.Item, Since: f.Since, Until: f.Until, Effect: f.Effect, Text: f.Text,
		State: strings.ToUpper(strings.ReplaceAll(state, "-", "_")),
	}
}

func filterOf(q api.PastQuery) (chsink.PastFilter, error) {
	f, err := jobs.ParseFilter(q.Filter)
	return pastFilter(f, q.State), refused(err)
}

func mask(personalData bool, texts ...*string) {
	if personalData {
		return
	}
	for _, text := range texts {
		*text = outbound.Redact(*text)
	}
}

// Issues implements api.Recovery.
func (d *Desk) Issues(ctx context.Context, q api.PastQuery) (api.IssueList, error) {
	f, err := filterOf(q)
	if err != nil {
		return api.IssueList{}, err
	}
	list, err := d.Store.Issues(ctx, f)
	for i := range list {
		mask(q.PersonalData, &list[i].Reason, &list[i].Pattern, &list[i].Remedy, &list[i].Sample)
	}
	if q.Limit > 0 {
		list = list[:min(q.Limit, len(list))]
	}
	return api.IssueList{Issues: list}, refused(err)
}

// Letters implements api.Recovery.
func (d *Desk) Letters(ctx context.Context, q api.PastQuery) (api.LetterList, error) {
	f, err := filterOf(q)
	if err != nil {
		return api.LetterList{}, err
	}
	list, err := d.Store.Letters(ctx, f, q.Limit)
	for i := range list {
		l := &list[i]
		mask(q.PersonalData, &l.Reason, &l.Remedy, &l.RootKey, &l.ContactKey, &l.Word, &l.WordBy)
	}
	return api.LetterList{Letters: list}, refused(err)
}

// Deliveries implements api.Recovery.
func (d *Desk) Deliveries(ctx context.Context, q api.PastQuery) (api.DeliveryList, error) {
	f, err := filterOf(q)
	if err != nil {
		return api.DeliveryList{}, err
	}
	list, err := d.Store.Deliveries(ctx, f, q.Limit)
	for i := range list {
		maskDelivery(&list[i], q.PersonalData)
	}
	return api.DeliveryList{Deliveries: list}, refused(err)
}

func maskDelivery(v *chsink.Delivery, personalData bool) {
	mask(personalData, &v.ContactKey, &v.RootKey, &v.EffectName, &v.Error, &v.Remedy)
}

// Delivery implements api.Recovery.
func (d *Desk) Delivery(ctx context.Context, command string, personalData bool) (api.DeliveryView, error) {
	list, err := d.Store.Deliveries(ctx, chsink.PastFilter{Item: command}, 1)
	if err != nil {
		return api.DeliveryView{}, refused(err)
	}
	if command == "" || len(list) == 0 {
		return api.DeliveryView{}, refuse(connections.NotFound, "there is no delivery of a command %.80q; 'tillstream deliveries' lists them", outbound.Redact(command))
	}
	v := api.DeliveryView{Delivery: list[0]}
	if v.Tries, err = d.Store.Tries(ctx, command); err != nil {
		return api.DeliveryView{}, err
	}
	maskDelivery(&v.Delivery, personalData)
	for i := range v.Tries {
		t := &v.Tries[i]
		mask(personalData, &t.Error, &t.Remedy)
		for j := range t.Requests {
			x := &t.Requests[j]
			mask(personalData, &x.URL, &x.Request, &x.Response, &x.Error)
		}
	}
	return v, nil
}

// Jobs implements api.Recovery.
func (d *Desk) Jobs(ctx context.Context, limit int, personalData bool) (api.JobList, error) {
	list, err := d.Store.Jobs(ctx, "", limit)
	for i := range list {
		maskJob(&list[i], personalData)
	}
	return api.JobList{Jobs: list}, refused(err)
}

func maskJob(j *chsink.Job, personalData bool) {
	mask(personalData, &j.Detail, &j.Why, &j.By)
	j.Filter = maps.Clone(j.Filter)
	maskFilter(personalData, j.Filter)
}

func maskFilter(personalData bool, filter map[string]string) {
	for name, value := range filter {
		mask(personalData, &value)
		filter[name] = value
	}
}

// Job implements api.Recovery.
func (d *Desk) Job(ctx context.Context, id string, q api.ItemsQuery) (api.JobView, error) {
	list, err := d.Store.Jobs(ctx, id, 1)
	if err != nil {
		return api.JobView{}, refused(err)
	}
	if id == "" || len(list) == 0 {
		return api.JobView{}, refuse(connections.NotFound, "there is no job %.80q; 'tillstream jobs list' lists them, and one that was just asked for is there after a moment", id)
	}
	v := api.JobView{Job: list[0]}
	if v.Items, err = d.Store.Items(ctx, id, strings.ToUpper(q.Result), q.After, q.Limit); err != nil {
		return api.JobView{}, err
	}
	if n := len(v.Items); n > 0 && n >= pageOf(q.Limit) {
		v.Next = v.Items[n-1].Number
	}
	maskJob(&v.Job, q.PersonalData)
	for i := range v.Items {
		mask(q.PersonalData, &v.Items[i].Item, &v.Items[i].Detail, &v.Items[i].ContactKey)
	}
	return v, nil
}

func pageOf(limit int) int {
	if limit <= 0 {
		return chsink.PastPageDefault
	}
	return min(limit, chsink.PastPageMax)
}

// State is how a job stands; ok is false where it is not known yet.
func (d *Desk) State(ctx context.Context, id string) (j chsink.Job, ok bool, err error) {
	list, err := d.Store.Jobs(ctx, id, 1)
	if err != nil || len(list) == 0 {
		return chsink.Job{}, false, err
	}
	return list[0], true, nil
}

// Preview says what a job would be about.
func (d *Desk) Preview(ctx context.Context, r api.AskRequest, personalData bool) (api.JobPreview, error) {
	p := api.JobPreview{Kind: r.Kind}
	f, err := jobs.ParseFilter(r.Filter)
	switch {
	case err != nil:
		return p, refused(err)
	case !slices.Contains([]schemas.JobKind{schemas.JobRetry, schemas.JobDismiss, schemas.JobSettle, schemas.JobReplay}, r.Kind):
		return p, refuse(connections.Invalid, "kind %q: use RETRY, DISMISS, SETTLE or REPLAY (VERIFY is asked for at /api/v1/destinations/NAME/verify)", r.Kind)
	case r.Kind == schemas.JobSettle && !f.Uncertain:
		return p, refuse(connections.Invalid, "only effects that are uncertain are settled: set uncertain")
	case r.Kind == schemas.JobDismiss && f.Uncertain:
		return p, refuse(connections.Invalid, "an uncertain effect is retried or settled, it cannot be dismissed")
	case r.Kind == schemas.JobReplay && (f.Issue != "" || f.Cause != "" || f.Stage != "" || f.Text != "" || f.Uncertain):
		return p, refuse(connections.Invalid, "a replay is about commands, which have no cause, issue, stage or reason: choose by contact, order, connection, destination, since and until")
	case f.Empty() && !r.All && !f.Uncertain:
		return p, refuse(connections.Invalid, "the filter leaves nothing out: say which are meant, by a flag such as --issue, --destination or --contact, or --all (over HTTP \"all\": true)")
	}
	p.Filter = f.Map()
	maskFilter(personalData, p.Filter)
	switch {
	case f.Uncertain:
		err = d.previewUncertain(ctx, &p, f)
	case r.Kind == schemas.JobReplay:
		err = d.previewReplay(ctx, &p, f)
	default:
		err = d.previewLetters(ctx, &p, f)
	}
	for i := range p.Sample {
		mask(personalData, &p.Sample[i])
	}
	return p, refused(err)
}

func (d *Desk) previewUncertain(ctx context.Context, p *api.JobPreview, f jobs.Filter) (err error) {
	past := pastFilter(f, string(schemas.OutcomeUncertain))
	if p.Count, err = d.Store.CountDeliveries(ctx, past); err != nil {
		return err
	}
	list, err := d.Store.Deliveries(ctx, past, sampleMax)
	for _, v := range list {
		p.Sample = append(p.Sample, strings.TrimSpace(fmt.Sprintf("%s %s %s %s at %s: %s", v.CommandID, v.Effect, v.EffectName, v.ContactKey, v.Destination, v.Error)))
	}
	return err
}

func (d *Desk) previewReplay(ctx context.Context, p *api.JobPreview, f jobs.Filter) error {
	r, err := d.Store.CountReplay(ctx, pastFilter(f, ""))
	if p.Contacts, p.Sample = r.Contacts, r.Sample; f.Effects {
		p.Effects = r.Effects
	}
	p.Count = p.Contacts + p.Effects
	return err
}

func (d *Desk) previewLetters(ctx context.Context, p *api.JobPreview, f jobs.Filter) error {
	n, err := d.Store.CountLetters(ctx, pastFilter(f, ""))
	if err != nil {
		return err
	}
	n.Open = maps.Clone(n.Open)
	if p.Kind == schemas.JobRetry && f.Cause == "" && f.Item == "" {
		delete(n.Open, schemas.CauseQuarantined) // only who names them lets them through
	}
	p.ByCause, p.Closed = n.Open, n.Closed
	for _, k := range n.Open {
		p.Count += k
	}
	list, err := d.Store.Letters(ctx, pastFilter(f, chsink.LetterOpen), sampleMax)
	for _, l := range list {
		p.Sample = append(p.Sample, fmt.Sprintf("%s %s %s: %s", l.Item, l.Cause, l.ContactKey, l.Reason))
	}
	return err
}

// Ask implements api.Recovery: the preview with the job's id. What the job finds in Kafka counts, not what was looked up.
func (d *Desk) Ask(ctx context.Context, r api.AskRequest) (api.JobPreview, error) {
	p, err := d.Preview(ctx, r, false)
	if err != nil || r.DryRun {
		return p, err
	}
	if err := d.Start(ctx, r); err != nil {
		return api.JobPreview{}, err
	}
	p.JobID = r.JobID
	return p, nil
}

// perMinuteMax bounds a rate that somebody gives.
const perMinuteMax = 1_000_000

// Start asks for a job.
func (d *Desk) Start(ctx context.Context, r api.AskRequest) error {
	who, err := explain.Who(r.By, "")
	if err != nil {
		return err
	}
	f, err := jobs.ParseFilter(r.Filter)
	switch {
	case err != nil:
		return refused(err)
	case r.PerMinute < 0 || r.PerMinute > perMinuteMax:
		return refuse(connections.Invalid, "per_minute: write 1 to %d, or 0 for no limit", perMinuteMax)
	case d.Append == nil:
		return errors.New("nothing can be asked for here: Kafka is not known")
	}
	return d.Append(ctx, &schemas.JobRequest{
		JobID: r.JobID, Action: schemas.JobStart, Kind: r.Kind, Filter: f.Map(), PerMinute: r.PerMinute, Why: r.Why, By: who, At: d.Now().UTC(),
	})
}

// Cancel implements api.Recovery.
func (d *Desk) Cancel(ctx context.Context, id string, r api.CancelRequest) (api.JobAsked, error) {
	who, err := explain.Who(r.By, "")
	if err != nil {
		return api.JobAsked{}, err
	}
	j, ok, err := d.State(ctx, id)
	switch {
	case err != nil:
		return api.JobAsked{}, err
	case !ok:
		return api.JobAsked{}, refuse(connections.NotFound, "there is no job %.80q; 'tillstream jobs list' lists them", id)
	case j.Ended():
		return api.JobAsked{}, refuse(connections.Conflict, "the job %s is over: %s", id, strings.ToLower(j.State))
	case d.Append == nil:
		return api.JobAsked{}, errors.New("nothing can be cancelled here: Kafka is not known")
	}
	return api.JobAsked{JobID: id}, d.Append(ctx, &schemas.JobRequest{JobID: id, Action: schemas.JobCancel, Kind: schemas.JobKind(j.Kind), By: who, At: d.Now().UTC()})
}
