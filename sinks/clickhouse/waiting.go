package clickhouse

import (
	"context"
	"fmt"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/tillstream/tillstream/schemas"
)

// Waiting counts the commands that have no final outcome yet: those to a destination, or those that the events of a
// connection caused. It is as far behind as the tables are.
func (s *Store) Waiting(ctx context.Context, subject schemas.PauseSubject, name string) (n int64, err error) {
	about := "destination = @name"
	if subject == schemas.PauseConnection {
		about = "splitByChar('/', root_key)[2] = @name"
	}
	ctx, cancel := context.WithTimeout(ctx, TraceTimeout)
	defer cancel()
	var count uint64
	err = s.conn.QueryRow(ctx, fmt.Sprintf(`SELECT uniqExact(command_id) FROM commands WHERE %[1]s AND kind != '%[2]s' AND command_id NOT IN (
		SELECT command_id FROM deliveries WHERE %[1]s AND outcome NOT IN ('%[3]s', '%[4]s'))`,
		about, schemas.CommandQuestion, schemas.OutcomeIntent, schemas.OutcomeRetryable), clickhouse.Named("name", name)).Scan(&count)
	if err != nil {
		return 0, explain(err, "commands")
	}
	return int64(count), nil
}
