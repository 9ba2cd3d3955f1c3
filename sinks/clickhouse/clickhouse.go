// Package clickhouse keeps every public record of Tillstream in ClickHouse, for reports, traces and SQL. Ranges of
// records are inserted under a token, so that repeating one changes nothing; the tables say in their comments what else
// makes a repetition harmless.
package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"

	clickhouse "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// DatabaseDefault is the database that is used where the options name none. "default" is never used: the embedded
// engine resolves unknown tables of it to files.
const DatabaseDefault = "tillstream"

// Options say how to reach ClickHouse.
type Options struct {
	// Client holds address, protocol, database, credentials and TLS of clickhouse-go. It is copied.
	Client *clickhouse.Options
	// Cluster names the cluster over which the tables are spread, as in the server's remote_servers; empty: one server.
	Cluster string
	// Retention says by table how long its rows are kept, in whole days by the broker's timestamp; 0: for ever. A table that
	// is not named keeps the TTL that it has.
	Retention map[string]time.Duration
	Log       zerolog.Logger
	// Now is the clock for the migrations' time of application.
	Now func() time.Time
}

// Store writes and reads the tables. It is safe for concurrent use.
type Store struct {
	conn      driver.Conn
	client    clickhouse.Options
	database  string
	place     place
	retention map[string]time.Duration
	log       zerolog.Logger
	now       func() time.Time
	buffers   buffers
	erased    erased
}

var _ sinks.RowWriter = (*Store)(nil)

// databaseName keeps the one identifier that is put into statements as text to what needs no quoting.
var databaseName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// Open makes a client. It does not wait for the server: Prepare is the first to talk to it, so that a server that is
// down at start delays the tables and nothing else.
func Open(_ context.Context, o Options) (*Store, error) {
	if o.Client == nil {
		return nil, errors.New("clickhouse: no client options: set the address")
	}
	if o.Now == nil {
		return nil, errors.New("clickhouse: no clock given")
	}
	client := *o.Client
	if client.Auth.Database == "" {
		client.Auth.Database = DatabaseDefault
	}
	if !databaseName.MatchString(client.Auth.Database) {
		return nil, fmt.Errorf("clickhouse: database %q: use letters, digits and underscores", client.Auth.Database)
	}
	if o.Cluster != "" {
		if !clusterName.MatchString(o.Cluster) {
			return nil, fmt.Errorf("clickhouse: cluster %q: use letters, digits, underscores, points and hyphens", o.Cluster)
		}
		client.Settings = maps.Clone(client.Settings)
		if client.Settings == nil {
			client.Settings = clickhouse.Settings{}
		}
		client.Settings["distributed_product_mode"] = "global" // a view may join two tables that are spread
	}
	if err := checkRetention(o.Retention); err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(&client)
	if err != nil {
		return nil, fmt.Errorf("clickhouse client for %s: %w", strings.Join(client.Addr, ","), err)
	}
	return &Store{
		conn: conn, client: client, database: client.Auth.Database, place: place{client.Auth.Database, o.Cluster},
		retention: maps.Clone(o.Retention), log: o.Log, now: o.Now,
		buffers: buffers{now: o.Now, free: map[bufferKey]*buffer{}},
	}, nil
}

// Topics are the topics that have a table here, in a fixed order. Internal topics are not among them: they repeat
// records of these.
func Topics() []string {
	return []string{
		schemas.TopicPayPalEvents, schemas.TopicStoreOrders, schemas.TopicTransitions, schemas.TopicRuns,
		schemas.TopicCommands, schemas.TopicDeliveries, schemas.TopicDeadLetters, schemas.TopicConfig,
		schemas.TopicJobs, schemas.TopicJobItems,
	}
}

// Ping asks the server for a sign of life.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.conn.Ping(ctx); err != nil {
		return fmt.Errorf("clickhouse at %s does not answer: %w", strings.Join(s.client.Addr, ","), explain(err, ""))
	}
	return nil
}

// Close releases the connections.
func (s *Store) Close() error { return s.conn.Close() }
