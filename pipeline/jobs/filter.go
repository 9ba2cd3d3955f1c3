package jobs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// ErrFilter is wrapped by every error about a filter: it names the part that is wrong.
var ErrFilter = errors.New("filter")

// Filter says what a job is about. Empty parts mean any; all that are given must hold.
type Filter struct {
	Issue       string // key of an issue, see IssueKey
	Cause       string // one of schemas.Cause...
	Stage       string // who made the letter
	Destination string
	Connection  string
	Environment schemas.Environment
	Contact     string // an e-mail address, or a contact key
	Order       string // an order's id, or a root key
	Item        string // id of a dead letter or of a command
	Since       time.Time
	Until       time.Time // exclusive
	Effect      string    // type of the effect
	Text        string    // part of the letter's reason, in any case of letters
	// Uncertain: the effects of which nobody knows whether they happened, instead of dead letters.
	Uncertain bool
	// Effects: REPLAY sends the effects that match again, too.
	Effects bool
	// Repair: VERIFY has what differs sent again.
	Repair bool
}

// The names of the parts, as flags, parameters and JobRequest.Filter have them.
const (
	FilterIssue       = "issue"
	FilterCause       = "cause"
	FilterStage       = "stage"
	FilterDestination = "destination"
	FilterConnection  = "connection"
	FilterEnvironment = "environment"
	FilterContact     = "contact"
	FilterOrder       = "order"
	FilterItem        = "item"
	FilterSince       = "since"
	FilterUntil       = "until"
	FilterEffect      = "effect"
	FilterText        = "text"
	FilterUncertain   = "uncertain"
	FilterEffects     = "effects"
	FilterRepair      = "repair"
)

// filterTextBytesMax bounds one value of a filter.
const filterTextBytesMax = 512

// Causes are the codes that Filter.Cause may be.
var Causes = []string{
	schemas.CauseUndecodable, schemas.CauseUnparseable, schemas.CauseQuarantined, schemas.CauseStageFailed, schemas.CauseRejected,
	schemas.CauseGaveUp, schemas.CauseNoContact, schemas.CauseUnwritable, schemas.CauseParkOverflow,
}

// Effects are the types of effect that Filter.Effect may be.
var Effects = []string{
	schemas.EffectTrackEvent, schemas.EffectSendMessage, schemas.EffectAddToList, schemas.EffectMoveToList, schemas.EffectStartAutomation,
	schemas.EffectWriteOrder, schemas.EffectWriteRecurring, schemas.EffectNotify,
}

// word is a code as people may write it: gave-up, "gave up" or GAVE_UP.
func word(text string) string {
	return strings.ToUpper(strings.NewReplacer("-", "_", " ", "_").Replace(strings.TrimSpace(text)))
}

// ParseFilter reads the map form. Every error names the part that is wrong.
func ParseFilter(m map[string]string) (Filter, error) {
	var f Filter
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if err := f.set(name, m[name]); err != nil {
			return Filter{}, fmt.Errorf("%w: %s: %w", ErrFilter, name, err)
		}
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return Filter{}, fmt.Errorf("%w: until: %s is not after since, %s", ErrFilter, f.Until.Format(time.RFC3339), f.Since.Format(time.RFC3339))
	}
	if f.Uncertain && (f.Cause != "" || f.Issue != "" || f.Stage != "") {
		return Filter{}, fmt.Errorf("%w: uncertain: an uncertain effect is no dead letter and has no cause, issue or stage", ErrFilter)
	}
	return f, nil
}

func (f *Filter) set(name, value string) (err error) {
	if len(value) > filterTextBytesMax {
		return fmt.Errorf("longer than %d bytes", filterTextBytesMax)
	}
	switch texts := f.texts(); name {
	case FilterCause:
		if f.Cause = word(value); !slices.Contains(Causes, f.Cause) && value != "" {
			return fmt.Errorf("%q: use %s", value, strings.ToLower(strings.Join(Causes, ", ")))
		}
	case FilterEffect:
		if f.Effect = word(value); !slices.Contains(Effects, f.Effect) && value != "" {
			return fmt.Errorf("%q: use %s", value, strings.ToLower(strings.Join(Effects, ", ")))
		}
	case FilterEnvironment:
		if f.Environment = schemas.Environment(value); value != "" && f.Environment != schemas.Live && f.Environment != schemas.Sandbox {
			return fmt.Errorf("%q: use live or sandbox", value)
		}
	case FilterSince:
		f.Since, err = instant(value)
	case FilterUntil:
		f.Until, err = instant(value)
	case FilterUncertain:
		f.Uncertain, err = flag(value)
	case FilterEffects:
		f.Effects, err = flag(value)
	case FilterRepair:
		f.Repair, err = flag(value)
	default:
		text, ok := texts[name]
		if !ok {
			return errors.New("there is no such part")
		}
		*text = strings.TrimSpace(value)
	}
	return err
}

func (f *Filter) texts() map[string]*string {
	return map[string]*string{
		FilterIssue: &f.Issue, FilterStage: &f.Stage, FilterDestination: &f.Destination, FilterConnection: &f.Connection,
		FilterContact: &f.Contact, FilterOrder: &f.Order, FilterItem: &f.Item, FilterText: &f.Text,
	}
}

func instant(value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, value)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q: write it like 2026-11-01T12:00:00Z", value)
	}
	return at.UTC(), nil
}

func flag(value string) (bool, error) {
	switch value {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, fmt.Errorf("%q: use true or false", value)
}

// Map is the form that ParseFilter reads: only the parts that are given.
func (f Filter) Map() map[string]string {
	m := map[string]string{FilterCause: f.Cause, FilterEffect: f.Effect, FilterEnvironment: string(f.Environment)}
	for name, text := range f.texts() {
		m[name] = *text
	}
	for name, at := range map[string]time.Time{FilterSince: f.Since, FilterUntil: f.Until} {
		if !at.IsZero() {
			m[name] = at.UTC().Format(time.RFC3339Nano)
		}
	}
	for name, set := range map[string]bool{FilterUncertain: f.Uncertain, FilterEffects: f.Effects, FilterRepair: f.Repair} {
		if set {
			m[name] = "true"
		}
	}
	maps.DeleteFunc(m, func(_, value string) bool { return value == "" })
	return m
}

// Empty reports that nothing is left out.
func (f Filter) Empty() bool {
	f.Uncertain, f.Effects, f.Repair = false, false, false
	return f == Filter{}
}

// subject is what a filter looks at, of a letter, a command or a delivery.
type subject struct {
	destination, contactKey, rootKey string
	at                               time.Time
}

// about reports whether the parts hold that everything has.
func (f *Filter) about(s subject) bool {
	if f.Destination != "" && s.destination != f.Destination || !f.Since.IsZero() && s.at.Before(f.Since) || !f.Until.IsZero() && !s.at.Before(f.Until) {
		return false
	}
	env, connection, root, ok := schemas.SplitRootKey(s.rootKey)
	if f.Connection != "" && (!ok || connection != f.Connection) || f.Order != "" && s.rootKey != f.Order && (!ok || root != f.Order) {
		return false
	}
	if f.Contact != "" && !sameContact(f.Contact, s.contactKey) {
		return false
	}
	if f.Environment != "" {
		if !ok {
			first, _, _ := strings.Cut(s.contactKey, "/")
			env = schemas.Environment(first)
		}
		return env == f.Environment
	}
	return true
}

// sameContact compares a contact key with one, or with an e-mail address in either environment.
func sameContact(asked, key string) bool {
	if asked == key {
		return true
	}
	_, name, _ := strings.Cut(key, "/")
	return name != "" && name == schemas.NormalizeEmail(asked)
}

// Letter reports whether a dead letter is meant. effect is the type of its effect; "": it is about none.
func (f *Filter) Letter(d *schemas.DeadLetter, effect string) bool {
	if f.Uncertain || !f.about(subject{d.Destination, d.ContactKey, d.RootKey, d.At}) {
		return false
	}
	switch {
	case f.Cause != "" && d.Cause != f.Cause, f.Stage != "" && d.Stage != f.Stage, f.Effect != "" && effect != f.Effect:
		return false
	case f.Item != "" && f.Item != d.ID && f.Item != ItemOf(d):
		return false
	case f.Text != "" && !strings.Contains(strings.ToLower(d.Reason), strings.ToLower(f.Text)):
		return false
	}
	return f.Issue == "" || IssueKey(d) == f.Issue
}

// Command reports whether a command is meant.
func (f *Filter) Command(c *schemas.Command) bool {
	if f.Effect != "" && (c.Effect == nil || c.Effect.Type != f.Effect) || f.Item != "" && c.CommandID != f.Item {
		return false
	}
	return f.about(subject{c.Destination, c.ContactKey, c.RootKey, c.At})
}

// uncertain reports whether the delivery of an uncertain effect is meant. The effect itself is judged by its command.
func (f *Filter) uncertain(d *schemas.Delivery) bool {
	return (f.Item == "" || f.Item == d.CommandID) && f.about(subject{d.Destination, d.ContactKey, d.RootKey, d.At}) &&
		(f.Text == "" || strings.Contains(strings.ToLower(d.Error), strings.ToLower(f.Text)))
}
