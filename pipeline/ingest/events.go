package ingest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas"
)

// problemBytesMax bounds OrderEvent.Problem.
const problemBytesMax = 1000

// Events turns a delivery into the records to append; at least one, always. It is pure, so that a replay of stored
// deliveries gives what a better Normalize makes of them.
//
// A body that the connector does not understand becomes one event that keeps the bytes and says why in Problem. So
// does one whose records could not be encoded: the caller passes that error as encodeErr and the records are not
// computed again.
func Events(c connectors.Connector, d connectors.Delivery, encodeErr error) []schemas.OrderEvent {
	if encodeErr != nil {
		return []schemas.OrderEvent{problem(c, d, fmt.Errorf("its records cannot be encoded: %w", encodeErr))}
	}
	events, err := normalize(c, d)
	if err == nil && len(events) == 0 {
		err = errors.New("no record came out of it")
	}
	if err != nil {
		return []schemas.OrderEvent{problem(c, d, err)}
	}
	return events
}

// normalize turns a panic into an error: one body must not stop the others, nor be lost by a retry for ever.
func normalize(c connectors.Connector, d connectors.Delivery) (events []schemas.OrderEvent, err error) {
	defer func() {
		if p := recover(); p != nil {
			events, err = nil, fmt.Errorf("the normaliser failed: %v", p)
		}
	}()
	return c.Normalize(d)
}

// quarantined is a delivery that is genuine as far as can be told and must not have an effect. It is an event of its own, the same for each sending of the same bytes, so that it stands beside what else
// came under its delivery's id.
func quarantined(c connectors.Connector, d connectors.Delivery, why string) schemas.OrderEvent {
	e := problem(c, d, errors.New(why))
	e.ProblemCause = schemas.CauseQuarantined
	e.EventID = "quarantined-" + e.BodyHash
	e.RootID = e.EventID
	return e
}

// problem is the same for each sending of one delivery, so that repetitions are recognised.
func problem(c connectors.Connector, d connectors.Delivery, err error) schemas.OrderEvent {
	sum := sha256.Sum256(d.Body)
	hash := hex.EncodeToString(sum[:])
	id, deliveries := d.ID, []string{d.ID}
	if id == "" {
		id, deliveries = hash, []string{}
	}
	text := strings.ToValidUTF8(err.Error(), "\uFFFD")
	if len(text) > problemBytesMax {
		text = text[:problemBytesMax]
		for !utf8.ValidString(text) {
			text = text[:len(text)-1]
		}
	}
	return schemas.OrderEvent{
		EventID: id, Kind: schemas.KindOther, Provider: c.Type, Environment: d.Environment, Connection: d.Connection,
		RootID: id, Links: []schemas.Link{}, Status: schemas.StatusUnknown, ProviderTime: d.ReceivedAt, ReceivedAt: d.ReceivedAt,
		DeliveryIDs: deliveries, Origin: d.Origin, Fields: map[string]string{}, Body: d.Body, BodyHash: hash, Fingerprint: hash,
		Test: d.Test, Problem: text, Headers: d.Headers,
	}
}
