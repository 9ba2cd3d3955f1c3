package api

import (
	"context"

	"github.com/tillstream/tillstream/schemas"
)

// Reading is what answers about what happened: events, their way, figures, and whom to forget. An error that is a
// *connections.Refusal is the asker's.
type Reading interface {
	Events(ctx context.Context, q EventsQuery) (EventPage, error)
	// Event tells one event whole, by the provider's id of it or by the name of its record.
	Event(ctx context.Context, id string, personalData bool) (EventView, error)
	Timeline(ctx context.Context, q TimelineQuery) (Timeline, error)
	Overview(ctx context.Context, environment schemas.Environment) (Overview, error)
	Reports(ctx context.Context) (ReportList, error)
	Report(ctx context.Context, q ReportQuery) (ReportAnswer, error)
	// Query runs one reading statement.
	Query(ctx context.Context, q QueryRequest) (QueryAnswer, error)
	// Erase begins an erasure, or only counts. It goes on after the answer.
	Erase(ctx context.Context, q ErasureRequest) (Erasure, error)
	Erasure(ctx context.Context, id string) (Erasure, error)
	Erasures(ctx context.Context) (ErasureList, error)
}

// MoneyText is an amount as text, exact, in one currency.
type MoneyText struct {
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
}

// RecordPlace names a record on Kafka.
type RecordPlace struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// NamedText is one detail, for lists that are shown in their order.
type NamedText struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}
