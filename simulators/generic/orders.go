package generic

import (
	"context"
	"fmt"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
	"github.com/tillstream/tillstream/simulators"
)

// state is where an order stands, in this shop's mind.
type state int

const (
	placed state = iota
	paid
	failed
	cancelled
	partlyRefunded
	refunded
)

// words are what the shop writes and what its documentation says that it means.
var words = map[state]struct {
	proposed, own string
	means         schemas.PaymentStatus
}{
	placed:         {"pending", "offen", schemas.StatusPending},
	paid:           {"paid", "bezahlt", schemas.StatusPaid},
	failed:         {"failed", "fehlgeschlagen", schemas.StatusFailed},
	cancelled:      {"cancelled", "storniert", schemas.StatusCancelled},
	partlyRefunded: {"partially_refunded", "teilweise erstattet", schemas.StatusPartiallyRefunded},
	refunded:       {"refunded", "erstattet", schemas.StatusRefunded},
}

// order is one order; the server's lock guards it.
type order struct {
	simulators.Order
	id              string
	state           state
	total, refunded money.Amount
	changed         time.Time
	created         time.Time
	version         int64
}

// Place implements simulators.Shop.
func (s *Server) Place(ctx context.Context, o simulators.Order) (string, error) {
	total, err := money.Parse(o.Total, o.Currency)
	if err != nil {
		return "", fmt.Errorf("shop simulator: %w", err)
	}
	var id string
	err = s.step(ctx, "", func(x *order) error {
		id = fmt.Sprintf("%d", 20_000+len(s.orders))
		*x = order{Order: o, id: id, total: total, refunded: money.Zero(total.Currency)}
		x.created = s.o.Now().UTC().Truncate(time.Millisecond)
		s.orders, s.byID[id] = append(s.orders, x), x
		return nil
	})
	return id, err
}

// Pay implements simulators.Shop.
func (s *Server) Pay(ctx context.Context, id string) error {
	return s.move(ctx, id, paid, placed, failed)
}

// Fail implements simulators.Shop.
func (s *Server) Fail(ctx context.Context, id string) error { return s.move(ctx, id, failed, placed) }

// Cancel implements simulators.Shop.
func (s *Server) Cancel(ctx context.Context, id string) error {
	return s.move(ctx, id, cancelled, placed, failed)
}

// Refund implements simulators.Shop.
func (s *Server) Refund(ctx context.Context, id, amount string) error {
	return s.step(ctx, id, func(x *order) error {
		if x.state != paid && x.state != partlyRefunded {
			return fmt.Errorf("order %s is %s: nothing to refund", id, words[x.state].proposed)
		}
		part, err := money.Parse(amount, string(x.total.Currency))
		if err != nil {
			return err
		}
		sum, err := x.refunded.Add(part)
		if err != nil {
			return err
		}
		left, err := sum.Cmp(x.total)
		if err != nil || left > 0 {
			return fmt.Errorf("order %s: more than its total would be refunded", id)
		}
		if x.refunded, x.state = sum, partlyRefunded; left == 0 {
			x.state = refunded
		}
		return nil
	})
}

func (s *Server) move(ctx context.Context, id string, to state, from ...state) error {
	return s.step(ctx, id, func(x *order) error {
		for _, f := range from {
			if x.state == f {
				x.state = to
				return nil
			}
		}
		return fmt.Errorf("order %s is %s and cannot become %s", id, words[x.state].proposed, words[to].proposed)
	})
}

// step changes an order, or a new one where id is empty, and tells the receiver.
func (s *Server) step(ctx context.Context, id string, change func(*order) error) error {
	select {
	case s.room <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.byID[id]
	err := fmt.Errorf("there is no order %q", id)
	if id == "" {
		x = &order{}
	}
	if x != nil {
		err = change(x)
	}
	if err != nil {
		<-s.room
		return fmt.Errorf("shop simulator: %w", err)
	}
	// Two changes within a millisecond are told apart by their times.
	at := s.o.Now().UTC().Truncate(time.Millisecond)
	if !at.After(x.changed) {
		at = x.changed.Add(time.Millisecond)
	}
	x.changed = at
	x.version++
	s.tell(s.eventOf(x))
	return nil
}

// Orders implements simulators.Shop.
func (s *Server) Orders() []simulators.OrderTruth {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]simulators.OrderTruth, len(s.orders))
	for i, x := range s.orders {
		out[i] = simulators.OrderTruth{
			ID: x.id, RawStatus: s.word(x.state), Email: x.Email, Status: words[x.state].means,
			Total: x.total.Text(), Refunded: x.refunded.Text(), Currency: string(x.total.Currency),
		}
	}
	return out
}

func (s *Server) word(st state) string {
	if s.o.OwnWords {
		return words[st].own
	}
	return words[st].proposed
}
