package history

import (
	"math/rand/v2"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// How a made-up CRM takes commands. Shares of all commands.
const (
	shareLimited   = 0.03   // answered 429 first
	shareFailing   = 0.008  // answered 503 first
	shareRefused   = 0.002  // answered 422: a dead letter
	shareUncertain = 0.0008 // an effect with no answer that nobody could find out about
)

// The CRM is down for some hours now and then.
const (
	outageEvery = 45 * 24 * time.Hour
	outageMin   = 20 * time.Minute
	outageMax   = 4 * time.Hour
)

// retryPauses are the pauses before each further try; the last one goes on for as long as the CRM is down.
var retryPauses = []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}

type outage struct{ from, to time.Time }

// crm answers commands.
type crm struct {
	random  *rand.Rand
	outages []outage
}

func newCRM(seed int64, start, end time.Time) *crm {
	c := &crm{random: rand.New(rand.NewPCG(uint64(seed), 0xc0ffee))}
	for at := start; ; {
		at = at.Add(time.Duration(float64(outageEvery) * (0.3 + 1.4*c.random.Float64())))
		if !at.Before(end) {
			return c
		}
		c.outages = append(c.outages, outage{at, at.Add(outageMin + time.Duration(c.random.Int64N(int64(outageMax-outageMin))))})
	}
}

// down is the end of the outage that holds at a moment.
func (c *crm) down(at time.Time) (until time.Time, ok bool) {
	for _, o := range c.outages {
		if !at.Before(o.from) && at.Before(o.to) {
			return o.to, true
		}
	}
	return time.Time{}, false
}

// take tells the tries of a command until its end, oldest first.
func (c *crm) take(at time.Time, cmd *schemas.Command) (list []*schemas.Delivery) {
	at = at.Add(time.Duration((0.2 + c.random.ExpFloat64()) * float64(time.Second)))
	tries := int64(0)
	try := func(outcome schemas.OutcomeWord, status int64, body string) {
		tries++
		took := 40 + int64(c.random.ExpFloat64()*90)
		d := &schemas.Delivery{
			CommandID: cmd.CommandID, Kind: cmd.Kind, Destination: cmd.Destination, ContactKey: cmd.ContactKey, Version: cmd.Version, Outcome: outcome, Attempt: tries,
			ConfigVersion: cmd.ConfigVersion, RootKey: cmd.RootKey, EventID: cmd.EventID, Origin: cmd.Origin, Test: cmd.Test, StartedAt: at,
			Requests: []schemas.Exchange{{Method: "POST", URL: address(cmd), Status: status, Response: body, At: at, Millis: took}},
		}
		if status != 200 {
			d.Error = body
		}
		if status == 0 {
			d.Requests[0].Error, d.Requests[0].Response = body, ""
		}
		at = at.Add(time.Duration(took) * time.Millisecond).Truncate(time.Millisecond)
		d.At = at
		list = append(list, d)
		at = at.Add(retryPauses[min(int(tries), len(retryPauses))-1])
	}
	for {
		until, down := c.down(at)
		if !down {
			break
		}
		try(schemas.OutcomeRetryable, 503, "the account is in maintenance")
		if int(tries) >= len(retryPauses) && at.Before(until) {
			at = until // its breaker is open: nothing more is sent until a trial succeeds
		}
	}
	switch p := c.random.Float64(); {
	case p < shareLimited:
		try(schemas.OutcomeRetryable, 429, "rate limit reached")
		try(schemas.OutcomeDelivered, 200, "")
	case p < shareLimited+shareFailing:
		try(schemas.OutcomeRetryable, 503, "upstream unavailable")
		try(schemas.OutcomeDelivered, 200, "")
	case p < shareLimited+shareFailing+shareRefused:
		try(schemas.OutcomeRejected, 422, "the field does not take this value")
	case p < shareLimited+shareFailing+shareRefused+shareUncertain && cmd.Kind == schemas.CommandEffect:
		try(schemas.OutcomeUncertain, 0, "no answer in time")
	default:
		try(schemas.OutcomeDelivered, 200, "")
	}
	return list
}

func address(c *schemas.Command) string {
	switch c.Kind {
	case schemas.CommandContact:
		return "https://made-up.api-us1.com/api/3/contact/sync"
	case schemas.CommandQuestion:
		return "https://made-up.api-us1.com/api/3/contacts"
	}
	return "https://made-up.api-us1.com/api/3/contactTags"
}

// rejected is the dead letter of a refused command.
func rejected(c *schemas.Command, d *schemas.Delivery) *schemas.DeadLetter {
	return &schemas.DeadLetter{
		Stage: "deliver", Cause: schemas.CauseRejected, Reason: "the CRM refused the command: " + d.Error,
		Remedy: "correct the mapping of the field, then retry the dead letter", Topic: schemas.TopicCommands, EventID: c.EventID, RootKey: c.RootKey,
		Destination: c.Destination, ContactKey: c.ContactKey, ConfigVersion: c.ConfigVersion, At: d.At,
	}
}
