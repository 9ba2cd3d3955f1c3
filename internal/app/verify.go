package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/pipeline/jobs"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/pipeline/verify"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/sinks"
)

// verifyWork is the kind of job that compares contacts with what they are meant to be.
func (p *process) verifyWork() jobs.Work {
	return verify.Work{Log: p.cluster, Decode: p.codec.Decode, Encode: p.codec.Encode, Open: p.verifier}
}

// verifier reads back through the writer that delivers, and so through the account's limit.
func (p *process) verifier(_ context.Context, destination string) (sinks.Verifier, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.served {
		if d.Name != destination {
			continue
		}
		if v, ok := d.Writer.(sinks.Verifier); ok {
			return v, nil
		}
		return nil, fmt.Errorf("%w: contacts cannot be read back from %s", jobs.ErrImpossible, d.Sink.Title)
	}
	if !slices.ContainsFunc(p.Config.Destinations, func(d config.Destination) bool { return d.Name == destination }) {
		return nil, fmt.Errorf("%w: there is no destination %q in the configuration of %s", jobs.ErrImpossible, destination, p.Config.Settings.Instance)
	}
	return nil, fmt.Errorf("destination %s is not open here yet", destination)
}

// Verify implements api.Destinations: it asks for a job.
func (d destinationsDesk) Verify(ctx context.Context, name string, v api.VerifyRequest) (api.JobAsked, error) {
	i := slices.IndexFunc(d.p.Config.Destinations, func(x config.Destination) bool { return x.Name == name })
	switch {
	case i < 0:
		return api.JobAsked{}, connections.Refuse(connections.NotFound, "there is no destination %q", name)
	case d.p.Config.Destinations[i].Sink.NoContacts:
		return api.JobAsked{}, connections.Refuse(connections.Invalid, "%s keeps no contacts", d.p.Config.Destinations[i].Sink.Title)
	}
	filter := jobs.Filter{Destination: name, Contact: v.Contact, Since: v.Since, Repair: v.Repair}.Map()
	if _, err := jobs.ParseFilter(filter); err != nil {
		return api.JobAsked{}, connections.Refuse(connections.Invalid, "%s", err.Error())
	}
	err := AskJob(ctx, d.p.cluster, d.p.codec.Encode, &schemas.JobRequest{
		JobID: v.JobID, Action: schemas.JobStart, Kind: schemas.JobVerify, Filter: filter, PerMinute: v.PerMinute, Why: v.Why, By: v.By, At: d.p.Now().UTC(),
	})
	return api.JobAsked{JobID: v.JobID}, err
}

// jobIDBytesMax bounds an id that somebody draws.
const jobIDBytesMax = 100

// AskJob appends a request for a job.
func AskJob(ctx context.Context, log *kafka.Cluster, encode func(schemas.Record) ([]byte, error), r *schemas.JobRequest) error {
	if strings.TrimSpace(r.JobID) == "" || len(r.JobID) > jobIDBytesMax {
		return connections.Refuse(connections.Invalid, "the id of a job has 1 to %d bytes", jobIDBytesMax)
	}
	value, err := encode(r)
	if err != nil {
		return fmt.Errorf("ask for the job: %w", err)
	}
	done := make(chan error, 1)
	log.Append(ctx, &kgo.Record{Topic: schemas.TopicJobRequests, Partition: 0, Key: []byte(r.JobID), Value: value}, func(_ *kgo.Record, err error) { done <- err })
	select {
	case err = <-done:
	case <-ctx.Done():
		err = errors.Join(ctx.Err(), errors.New("kafka did not answer in time"))
	}
	if err != nil {
		return fmt.Errorf("ask for the job: %w", err)
	}
	return nil
}

// Touches asks the automation stage to look at contacts again, for a command beside the processes that run.
type Touches struct {
	client *kgo.Client
	encode func(schemas.Record) ([]byte, error)
}

// OpenTouches makes a producer. It talks to nobody yet.
func OpenTouches(k kafka.Options, c *codec.Codec) (*Touches, error) {
	cl, err := k.Client(kgo.ProducerLinger(0), kgo.RecordDeliveryTimeout(decisionsTimeout))
	if err != nil {
		return nil, err
	}
	return &Touches{cl, c.Encode}, nil
}

// Append puts one on the inbox of the automation stage, keyed by contact.
func (t *Touches) Append(ctx context.Context, touch *schemas.ContactTouch) error {
	value, err := t.encode(touch)
	if err != nil {
		return err
	}
	return t.client.ProduceSync(ctx, &kgo.Record{Topic: schemas.TopicAutomationInbox, Key: []byte(touch.ContactKey), Value: value}).FirstErr()
}

// Close ends the producer.
func (t *Touches) Close() { t.client.Close() }
