package activecampaign

import (
	"context"
	"maps"
	"slices"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// action is how one type of effect is performed, and how it is found out whether it was.
type action struct {
	perform  func(w *writer, ctx context.Context, cmd *schemas.Command) *failure
	happened func(w *writer, ctx context.Context, cmd *schemas.Command) sinks.Outcome
	// repeatable actions set a state: they may be repeated without asking.
	repeatable bool
}

// actions by type of effect.
var actions = map[string]action{
	schemas.EffectTrackEvent:      {(*writer).track, (*writer).tracked, false},
	schemas.EffectAddToList:       {(*writer).addToList, (*writer).added, true},
	schemas.EffectMoveToList:      {(*writer).moveToList, (*writer).wasMoved, true},
	schemas.EffectStartAutomation: {(*writer).startAutomation, (*writer).started, false},
	schemas.EffectSendMessage:     {(*writer).sendMessage, (*writer).started, false},
	schemas.EffectWriteOrder:      {(*writer).writeOrder, again, true},
	schemas.EffectWriteRecurring:  {(*writer).writeRecurring, again, true},
}

func effects() []string { return append(slices.Sorted(maps.Keys(actions)), schemas.QuestionOnList) }

// again says of what is kept by the shop's own id that it may be sent once more, whether it happened or not: the copy
// that could be looked at follows late.
func again(*writer, context.Context, *schemas.Command) sinks.Outcome {
	return sinks.Outcome{Kind: sinks.NotHappened}
}

// added asks whether the contact is on the list.
func (w *writer) added(ctx context.Context, cmd *schemas.Command) sinks.Outcome {
	listID, fail := w.lists.id(ctx, cmd.Effect.Name)
	if fail != nil {
		return asked(fail)
	}
	return w.holds(ctx, cmd, func(now map[string]schemas.Standing) bool { return now[listID] == schemas.StandingActive })
}

// wasMoved asks whether the contact is on the one list and off the other.
func (w *writer) wasMoved(ctx context.Context, cmd *schemas.Command) sinks.Outcome {
	to, from, fail := w.moveLists(ctx, cmd)
	if fail != nil {
		return asked(fail)
	}
	return w.holds(ctx, cmd, func(now map[string]schemas.Standing) bool { return moved(now, to, from) })
}

// holds asks for a contact's standings. Where they are not as they should be the action may be tried again, which will
// say what is in its way.
func (w *writer) holds(ctx context.Context, cmd *schemas.Command, good func(map[string]schemas.Standing) bool) sinks.Outcome {
	contactID, fail := w.find(ctx, cmd.Contact.Email)
	if fail != nil {
		return asked(fail)
	}
	if contactID == "" {
		return sinks.Outcome{Kind: sinks.NotHappened}
	}
	now, fail := w.standings(ctx, contactID)
	switch {
	case fail != nil:
		return asked(fail)
	case good(now):
		return sinks.Outcome{Kind: sinks.Delivered}
	}
	return sinks.Outcome{Kind: sinks.NotHappened}
}
