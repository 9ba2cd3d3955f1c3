package soak

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// Shares of contacts, in percent, that get something besides their states.
const (
	eventShare      = 10
	automationShare = 3
	listShare       = 3
	removalShare    = 20 // whose states name a tag that is not to be there
)

// What the simulated account has from the start.
const (
	automationName = "Welcome"
	listName       = "Customers"
)

// versionField is the field that says which state the account has.
const versionField = "LAST_PAYMENT"

// plan is what the commands ask for, and what is to be there in the end.
type plan struct {
	commands []*schemas.Command
	newest   map[string]*schemas.Command // by e-mail address
	effects  []*schemas.Command
	least    int64 // requests that bring everything about, if nothing fails
}

// newPlan makes up the commands of n contacts, in the order of the log. A contact's states are in their order; effects
// stand between them.
func newPlan(seed uint64, contacts, versions int) *plan {
	r := rand.New(rand.NewPCG(seed, 0x91a4))
	p := &plan{newest: map[string]*schemas.Command{}}
	at := time.Now().UTC().Truncate(time.Millisecond)
	var order []int // contacts by place
	left := make([]int, contacts)
	for c := range contacts {
		left[c] = 1 + r.IntN(max(1, 2*versions-1))
		for range left[c] {
			order = append(order, c)
		}
	}
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	version := make([]int, contacts)
	for _, c := range order {
		version[c]++
		p.state(c, version[c], at)
		if version[c] == 1 {
			p.effectsOf(r, c, at)
		}
	}
	for _, cmd := range p.newest {
		p.least += int64(1 + len(cmd.Contact.Tags))
		if len(cmd.Contact.NoTags) > 0 {
			p.least++ // whether it has them is asked once
		}
	}
	return p
}

func email(contact int) string { return fmt.Sprintf("soak%d@example.com", contact) }

func (p *plan) add(c *schemas.Command) *schemas.Command {
	c.CommandID = fmt.Sprintf("%012xsoak", len(p.commands)+1)
	c.Destination, c.Origin = destination, schemas.OriginWebhook
	c.ContactKey = "live/" + c.Contact.Email
	p.commands = append(p.commands, c)
	return c
}

func (p *plan) state(contact, version int, at time.Time) {
	cmd := p.add(&schemas.Command{
		Kind: schemas.CommandContact, Version: int64(version), At: at,
		Contact: schemas.Contact{
			Email: email(contact), FirstName: "Soak", LastName: fmt.Sprint(contact),
			Fields: map[string]string{versionField: versionText(version)}, Tags: []string{"customer", fmt.Sprintf("tier %d", contact%7)},
		},
	})
	if contact%100 < removalShare {
		cmd.Contact.NoTags = []string{"trial"}
	}
	p.newest[cmd.Contact.Email] = cmd
}

func versionText(version int) string { return fmt.Sprintf("v%06d", version) }

// effectsOf gives some contacts effects. What they need besides: an event goes elsewhere and counts for nothing here; a
// start needs one request; a list needs its membership read, for nobody is put back, and one request.
func (p *plan) effectsOf(r *rand.Rand, contact int, at time.Time) {
	x := r.IntN(100)
	cmd := &schemas.Command{Kind: schemas.CommandEffect, Version: 1, At: at, Contact: schemas.Contact{Email: email(contact)}}
	switch {
	case x < eventShare:
		cmd.Effect = &schemas.Effect{Type: schemas.EffectTrackEvent, Name: "paid"}
	case x < eventShare+automationShare:
		cmd.Effect = &schemas.Effect{Type: schemas.EffectStartAutomation, Name: automationName}
		p.least++
	case x < eventShare+automationShare+listShare:
		cmd.Effect = &schemas.Effect{Type: schemas.EffectAddToList, Name: listName}
		p.least += 2
	default:
		return
	}
	p.effects = append(p.effects, p.add(cmd))
	if cmd.Effect.Type == schemas.EffectTrackEvent {
		cmd.Effect.Data = "id=" + mark(cmd)
	}
}

// mark is what the account shows of an event's command.
func mark(c *schemas.Command) string { return c.CommandID[:12] }

// sortedTags are what a contact should have.
func sortedTags(c *schemas.Command) []string { return slices.Sorted(slices.Values(c.Contact.Tags)) }

func TestAPlanMeansEachContactsLastState(t *testing.T) {
	p := newPlan(7, 500, 3)
	last := map[string]int64{}
	for _, c := range p.commands {
		if c.Kind != schemas.CommandContact {
			continue
		}
		if c.Version != last[c.Contact.Email]+1 {
			t.Fatalf("%s: version %d after %d", c.Contact.Email, c.Version, last[c.Contact.Email])
		}
		last[c.Contact.Email] = c.Version
	}
	if len(last) != 500 || len(p.effects) == 0 || len(p.commands) < 1_000 {
		t.Errorf("%d contacts, %d effects, %d commands", len(last), len(p.effects), len(p.commands))
	}
	for who, c := range p.newest {
		if c.Version != last[who] {
			t.Errorf("%s: the newest is version %d, want %d", who, c.Version, last[who])
		}
	}
}
