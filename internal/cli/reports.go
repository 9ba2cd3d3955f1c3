package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tillstream/tillstream/embedded"
	"github.com/tillstream/tillstream/internal/app"
	"github.com/tillstream/tillstream/pipeline/config"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// target is where a command finds ClickHouse.
type target struct{ data, config, address string }

func (t *target) flags(c *cobra.Command) {
	c.Flags().StringVar(&t.data, "data", "data", "data folder of a running 'tillstream dev' or 'demo'")
	c.Flags().StringVar(&t.config, "config", "", "configuration folder whose ClickHouse to ask")
	c.Flags().StringVar(&t.address, "clickhouse", "", "address of ClickHouse, for example http://localhost:8123")
}

// where is the first that is named: --clickhouse, --config, then the running dev of --data.
func (p Process) where(t target) (c config.ClickHouse, err error) {
	switch {
	case t.address != "":
		return config.ClickHouse{Address: t.address, Database: "tillstream"}, nil
	case t.config != "":
		cfg, err := p.loadConfig(t.config, p.Getenv)
		if err != nil {
			return c, err
		}
		if c = cfg.Settings.ClickHouse; c.Address == "" {
			return c, fmt.Errorf("%s/%s names no clickhouse.address", t.config, config.SettingsFile)
		}
		return c, nil
	}
	a, err := embedded.Discover(t.data)
	if err != nil {
		if errors.Is(err, embedded.ErrNotRunning) {
			err = fmt.Errorf("%w; start 'tillstream dev --data %s', or say --config or --clickhouse", err, t.data)
		}
		return c, err
	}
	return config.ClickHouse{Address: a.ClickHouse, Database: "tillstream"}, nil
}

// open reaches what where names.
func (p Process) open(ctx context.Context, t target) (*chsink.Store, error) {
	c, err := p.where(t)
	if err != nil {
		return nil, err
	}
	return chsink.Open(ctx, chsink.Options{Client: app.ClickHouseOptions(c), Cluster: c.Cluster, Now: p.Now, Log: p.logger(config.Telemetry{LogLevel: "warn", LogFormat: "text"})})
}

func (p Process) traceCommand() *cobra.Command {
	var t target
	var asJSON bool
	c := &cobra.Command{
		Use:   "trace ID",
		Short: "Show the whole way of an order, subscription, payment, event or e-mail address",
		Long: `Shows every hop in the order of time: what was received, what it changed, what the CRM was asked and what it answered,
with the configuration's version and the place on Kafka.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if strings.TrimSpace(args[0]) == "" {
				return &codedError{ExitUsage, errors.New("the ID is empty: give that of an order, subscription, payment or event, or an e-mail address")}
			}
			store, err := p.open(c.Context(), t)
			if err != nil {
				return err
			}
			defer store.Close()
			tr, err := store.Trace(c.Context(), args[0])
			if err != nil {
				return unreachable(err)
			}
			if len(tr.Hops) == 0 {
				return fmt.Errorf("nothing is known of %q; ids are those of the provider (order, subscription, capture, event), or an e-mail address", args[0])
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(tr)
			}
			printTrace(c.OutOrStdout(), tr, hopsShown)
			return nil
		},
	}
	t.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object")
	return c
}

// unreachable says what to do where ClickHouse does not answer; the client's words hold its whole request.
func unreachable(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return fmt.Errorf("clickhouse does not answer: %w; start it, or name another with --clickhouse, for example http://localhost:8123", op)
	}
	return err
}

const hopsShown = 200

func printTrace(w io.Writer, tr chsink.Trace, most int) {
	fmt.Fprintf(w, "%s (%s): %d hops\n", tr.ID, tr.As, len(tr.Hops))
	start := tr.Hops[0].At
	for i, h := range tr.Hops {
		if i == most {
			fmt.Fprintf(w, "  ... %d more; --json shows all\n", len(tr.Hops)-most)
			break
		}
		fmt.Fprintf(w, "\n%s  %+8.3fs  %-11s %s\n", h.At.UTC().Format("2006-01-02 15:04:05.000"), h.At.Sub(start).Seconds(), strings.ToUpper(h.Kind), h.Title)
		for _, d := range h.Detail {
			fmt.Fprintf(w, "    %-16s %s\n", d.Name, shorten(d.Value, 300))
		}
		fmt.Fprintf(w, "    %-16s %s/%d@%d\n", "record", h.Coordinates.Topic, h.Coordinates.Partition, h.Coordinates.Offset)
	}
	if tr.Truncated {
		fmt.Fprintf(w, "\nThere is more than %d hops of a kind; the oldest are shown.\n", chsink.HopsMax)
	}
}

func shorten(s string, n int) string {
	s = strings.ReplaceAll(s, "\n", " ")
	if len(s) <= n {
		return s
	}
	return s[:n] + "..."
}

func (p Process) queryCommand() *cobra.Command {
	var t target
	var format string
	var rows int
	c := &cobra.Command{
		Use:   "query SQL",
		Short: "Ask ClickHouse, read only (- reads the statement from stdin)",
		Args:  usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if format != "table" && format != "json" && format != "csv" {
				return &codedError{ExitUsage, fmt.Errorf("format %q: use table, json or csv", format)}
			}
			sql := args[0]
			if sql == "-" {
				b, err := io.ReadAll(io.LimitReader(c.InOrStdin(), 1<<20))
				if err != nil {
					return fmt.Errorf("read the statement: %w", err)
				}
				sql = string(b)
			}
			store, err := p.open(c.Context(), t)
			if err != nil {
				return err
			}
			defer store.Close()
			result, err := store.Query(c.Context(), sql, chsink.Limits{Rows: rows})
			if err != nil {
				return unreachable(err)
			}
			return printResult(c.OutOrStdout(), result, format)
		},
	}
	t.flags(c)
	c.Flags().StringVar(&format, "format", "table", "table, json (a line per row) or csv")
	c.Flags().IntVar(&rows, "rows", chsink.RowsDefault, "rows at the most")
	return c
}

func printResult(w io.Writer, r chsink.Result, format string) error {
	switch format {
	case "json":
		enc := json.NewEncoder(w)
		for _, row := range r.Rows {
			line := make(map[string]any, len(row))
			for i, v := range row {
				line[r.Columns[i].Name] = v
			}
			if err := enc.Encode(line); err != nil {
				return err
			}
		}
	case "csv":
		return writeCSV(w, r)
	default:
		tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		var names []string
		for _, c := range r.Columns {
			names = append(names, c.Name)
		}
		fmt.Fprintln(tw, strings.Join(names, "\t"))
		for _, row := range r.Rows {
			var cells []string
			for _, v := range row {
				cells = append(cells, shorten(cell(v), 80))
			}
			fmt.Fprintln(tw, strings.Join(cells, "\t"))
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	if r.Truncated {
		fmt.Fprintf(os.Stderr, "there are more rows; raise --rows\n")
	}
	return nil
}

// cell is a value as text. NULL is empty, a time is UTC.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case time.Time:
		return v.UTC().Format("2006-01-02 15:04:05.000")
	default:
		return fmt.Sprint(v)
	}
}
