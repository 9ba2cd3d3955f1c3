package scenario

import (
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// What a statement does; one of these is in Statement.do.
type (
	// doConfig names the configuration that the scenario begins with.
	doConfig struct{ name string }
	// doFile writes a file of the configuration, in force with the next apply, or from the begin. Without text it takes
	// the file away.
	doFile struct{ path, text string }
	// doConnection says which connection events come from that name none.
	doConnection struct{ name string }
	// doApply puts a configuration into force. Without a name: the one so far, with the files written since.
	doApply struct{ name string }
	// doAt lets time pass until then; the first one says when the scenario begins.
	doAt struct{ to time.Time }
	// doAfter lets time pass.
	doAfter struct{ d time.Duration }
	// doEvent is something that a provider tells.
	doEvent struct{ e event }
	// doAgain delivers an event once more. Empty id: the last one.
	doAgain struct {
		id     string
		origin schemas.Origin
	}
	// doAnswer answers the oldest open question about a list.
	doAnswer struct {
		list, destination, why string
		standing               schemas.Standing
	}
	// doDecide ends an open wait by a person's word.
	doDecide struct {
		met      bool
		workflow string
	}
	// doTouch makes the stage look at a contact again.
	doTouch struct{ email string }
	// doReceivers says whether anybody is there to take events.
	doReceivers struct{ up bool }
	// doIgnore lets things of a class come unexpected; strict: they must be expected.
	doIgnore struct {
		class  class
		strict bool
	}
	doExpect struct{ x expectation }
)

// event is what a statement says of an event; the rest is made up.
type event struct {
	status                                      schemas.PaymentStatus
	order, subscription, payment, refund, issue string // issue: of a dispute
	kind                                        schemas.EventKind
	id, connection, eventType, providerStatus   string
	amount, total                               *schemas.Amount
	payer                                       schemas.Payer
	origin                                      schemas.Origin
	at                                          *time.Time    // the provider's own time
	ago                                         time.Duration // or so long before now
	sequence                                    int64
	customID, invoice, problem                  string
	fields                                      map[string]string
	test, deleted, versioned, anonymous         bool
}

// class is a kind of thing that stages write.
type class string

const (
	transitions class = "transitions"
	contacts    class = "contacts" // desired states
	commands    class = "commands" // effects and questions
	waits       class = "waits"    // opened, ended, corrected
	steps       class = "steps"    // all other steps of runs
	letters     class = "dead letters"
)

var classes = []class{transitions, contacts, commands, waits, steps, letters}

// strictly are the classes of which nothing may come that is not expected.
func strictly() map[class]bool { return map[class]bool{commands: true, waits: true, letters: true} }

// expectation is what one statement says must have come, or must not, or must hold.
type expectation struct {
	class class
	not   bool
	// state: it is about what holds now, not about what came since the last event.
	state bool
	wants []want
}

// want is one fact, as it should be.
type want struct {
	fact     string
	value    string
	contains bool
}
