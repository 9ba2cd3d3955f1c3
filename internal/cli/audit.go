package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/embedded"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// auditAsked is what the command is told.
type auditAsked struct {
	target
	brokers, since string
	settle, wait   time.Duration
	json           bool
}

func (p Process) auditCommand() *cobra.Command {
	var a auditAsked
	c := &cobra.Command{
		Use:   "audit",
		Short: "Say whether anything was lost or doubled between Kafka and ClickHouse",
		Long: `Reads the committed records of every topic that has a table, and holds their offsets against the rows: each record is one row. Then
it draws up the balance of the stages: each event that was received has exactly one end (applied, recorded, late, duplicate,
ignored, or a dead letter), and no command was delivered twice.

Exit codes: 0 all agrees, 4 something is missing or doubled, 1 it could not be found out. For cron:

  tillstream audit --since 25h --config /etc/tillstream --json >> audit.log`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return p.audit(c, a) },
	}
	a.target.flags(c)
	f := c.Flags()
	f.StringVar(&a.brokers, "kafka", "", "addresses of Kafka, by comma (default: that of --config or --data)")
	f.StringVar(&a.since, "since", "24h", "begin, by the brokers' clocks: 24h, 30d, 2026-11-01, or 2026-11-01T12:00:00Z")
	f.DurationVar(&a.settle, "settle", 2*time.Minute, "records younger than this may still be on their way into ClickHouse")
	f.DurationVar(&a.wait, "wait", 2*time.Hour, "events younger than this may still wait for their order (longer than stages.orphan_after)")
	f.BoolVar(&a.json, "json", false, "one JSON object")
	return c
}

// partitionAudit is the finding about one partition.
type partitionAudit struct {
	Topic     string       `json:"topic"`
	Partition int32        `json:"partition"`
	From      int64        `json:"from"`  // first offset looked at
	Until     int64        `json:"until"` // the end, not part of it
	Records   int64        `json:"records"`
	Rows      int64        `json:"rows"`     // distinct
	Repeated  uint64       `json:"repeated"` // rows beyond the first of a record; harmless
	Refused   int64        `json:"refused"`  // not rows but dead letters
	OnTheWay  int64        `json:"on_the_way"`
	Missing   []chsink.Run `json:"missing,omitempty"` // committed records without a row
	Foreign   []chsink.Run `json:"foreign,omitempty"` // rows without a committed record
}

type auditResult struct {
	Since time.Time `json:"since"`
	At    time.Time `json:"at"`
	// Shortened are topics whose rows the retention of their table deletes, and from when on they are looked at instead. The
	// balance begins with the latest of them.
	Shortened    map[string]time.Time `json:"shortened,omitempty"`
	Agrees       bool                 `json:"agrees"`
	Partitions   []partitionAudit     `json:"partitions"`
	Conservation chsink.Conservation  `json:"conservation"`
	Missing      int64                `json:"missing"`
	Foreign      int64                `json:"foreign"`
}

func (p Process) audit(c *cobra.Command, a auditAsked) error {
	now := p.Now()
	since, _, err := parseWhen(a.since, now)
	if err != nil {
		return &codedError{ExitUsage, fmt.Errorf("--since %q: %w", a.since, err)}
	}
	if a.settle < 0 || a.wait < 0 {
		return &codedError{ExitUsage, errors.New("--settle and --wait are durations such as 2m")}
	}
	brokers, err := p.brokers(a)
	if err != nil {
		return err
	}
	store, err := p.open(c.Context(), a.target)
	if err != nil {
		return err
	}
	defer store.Close()
	begins, err := beginnings(c.Context(), store, since)
	if err != nil {
		return unreachable(err)
	}
	committed, err := committedSince(c.Context(), brokers, begins, now.Add(-a.settle))
	if err != nil {
		return err
	}
	result := auditResult{Since: since.UTC(), At: now.UTC(), Shortened: map[string]time.Time{}}
	balanced := since
	for topic, at := range begins {
		if at.After(since) {
			result.Shortened[topic] = at.UTC()
		}
		if at.After(balanced) {
			balanced = at
		}
	}
	for _, k := range committed {
		stored, err := store.StoredOffsets(c.Context(), k.topic, k.topicID, k.partition, k.from, k.until)
		if err != nil {
			return unreachable(err)
		}
		one := k.against(stored)
		result.Missing += length(one.Missing)
		result.Foreign += length(one.Foreign)
		result.Partitions = append(result.Partitions, one)
	}
	if result.Conservation, err = store.Conserved(c.Context(), balanced, now.Add(-a.wait)); err != nil {
		return unreachable(err)
	}
	balance := result.Conservation
	result.Agrees = result.Missing == 0 && result.Foreign == 0 && balance.Lost == 0 && balance.Doubled == 0
	if a.json {
		err = json.NewEncoder(c.OutOrStdout()).Encode(result)
	} else {
		err = printAudit(c.OutOrStdout(), result)
	}
	if err != nil {
		return err
	}
	if !result.Agrees {
		return &codedError{ExitDisagree, fmt.Errorf("%d records without a row, %d rows without a record, %d events lost, %d things doubled; 'tillstream trace ID' shows an event's way",
			result.Missing, result.Foreign, balance.Lost, balance.Doubled)}
	}
	return nil
}

// expiry is how long before its time a row may go: the server counts retention in whole seconds, by its own clock.
const expiry = time.Hour

// beginnings tells by topic from when on its records must be rows: since then, or from where the table's retention leaves them.
func beginnings(ctx context.Context, store *chsink.Store, since time.Time) (map[string]time.Time, error) {
	begins := map[string]time.Time{}
	for _, topic := range chsink.Topics() {
		kept, err := store.KeptSince(ctx, topic)
		if err != nil {
			return nil, err
		}
		begins[topic] = since
		if kept = kept.Add(expiry); kept.After(since) { // without retention that is long before anything
			begins[topic] = kept
		}
	}
	for topic, at := range begins { // what was refused is known by its dead letter
		if letters := begins[schemas.TopicDeadLetters]; letters.After(at) {
			begins[topic] = letters
		}
	}
	return begins, nil
}

// brokers finds Kafka where ClickHouse is found, or where --kafka says.
func (p Process) brokers(a auditAsked) (kafka.Options, error) {
	switch {
	case a.brokers != "":
		return kafka.Options{Brokers: strings.Split(a.brokers, ",")}, nil
	case a.config != "":
		cfg, err := p.loadConfig(a.config, p.Getenv)
		if err != nil {
			return kafka.Options{}, err
		}
		return cfg.Settings.Kafka, nil
	case a.address != "":
		return kafka.Options{}, &codedError{ExitUsage, errors.New("--clickhouse alone does not say where Kafka is: add --kafka, or say --config")}
	}
	found, err := embedded.Discover(a.data)
	switch {
	case errors.Is(err, embedded.ErrNotRunning):
		return kafka.Options{}, fmt.Errorf("%w; start 'tillstream dev --data %s', or say --config, or --kafka and --clickhouse", err, a.data)
	case err != nil:
		return kafka.Options{}, err
	case len(found.Kafka) == 0:
		return kafka.Options{}, fmt.Errorf("what runs in %s has no Kafka of its own: add --kafka", a.data)
	}
	return kafka.Options{Brokers: found.Kafka}, nil
}

// committed is what one partition holds.
type committed struct {
	topic, topicID string
	partition      int32
	from, until    int64
	compacted      bool
	settled, young []chsink.Run
}

// append adds the next record.
func (k *committed) append(offset int64, young bool) {
	runs := &k.settled
	if young {
		runs = &k.young
	}
	if n := len(*runs); n > 0 && (*runs)[n-1].To == offset-1 {
		(*runs)[n-1].To = offset
		return
	}
	*runs = append(*runs, chsink.Run{From: offset, To: offset})
}

// against holds the records against the rows. In a compacted topic a row outlives its record, and that is no finding.
func (k *committed) against(s chsink.Stored) partitionAudit {
	one := partitionAudit{Topic: k.topic, Partition: k.partition, From: k.from, Until: k.until, Records: length(k.settled) + length(k.young), Rows: length(s.Runs), Repeated: s.Repeated}
	refused := make([]chsink.Run, len(s.Refused))
	for i, offset := range s.Refused {
		refused[i] = chsink.Run{From: offset, To: offset}
	}
	without := subtract(k.settled, s.Runs)
	one.Missing = subtract(without, refused)
	one.Refused = length(without) - length(one.Missing)
	one.OnTheWay = length(subtract(k.young, s.Runs))
	if !k.compacted {
		one.Foreign = subtract(subtract(s.Runs, k.settled), k.young)
	}
	return one
}

func length(runs []chsink.Run) (n int64) {
	for _, r := range runs {
		n += r.To - r.From + 1
	}
	return n
}

// subtract returns the offsets of a that are not in b. Both are in order, their runs apart.
func subtract(a, b []chsink.Run) (left []chsink.Run) {
	for _, r := range a {
		for len(b) > 0 && b[0].To < r.From {
			b = b[1:]
		}
		rest, open := b, true
		for len(rest) > 0 && rest[0].From <= r.To {
			if r.From < rest[0].From {
				left = append(left, chsink.Run{From: r.From, To: rest[0].From - 1})
			}
			if r.From = rest[0].To + 1; r.From > r.To {
				open = false
				break
			}
			rest = rest[1:]
		}
		if open {
			left = append(left, r)
		}
	}
	return left
}

// stuckAfter is how long Kafka may send nothing before the audit gives up: the end that it told must come.
const stuckAfter = 30 * time.Second

// committedSince reads the committed records of every topic with a table, from the first that the broker dates since the
// topic's beginning. Those after settled are told apart.
func committedSince(ctx context.Context, o kafka.Options, begins map[string]time.Time, settled time.Time) ([]*committed, error) {
	cl, err := o.Client(kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	list, open, err := spans(ctx, kadm.NewClient(cl), begins)
	if err != nil {
		return nil, err
	}
	starts := map[string]map[int32]kgo.Offset{}
	for _, k := range open {
		if starts[k.topic] == nil {
			starts[k.topic] = map[int32]kgo.Offset{}
		}
		starts[k.topic][k.partition] = kgo.NewOffset().At(k.from)
	}
	cl.AddConsumePartitions(starts)
	for len(open) > 0 {
		quiet, cancel := context.WithTimeout(ctx, stuckAfter)
		fetches := cl.PollFetches(quiet)
		cancel()
		if err := fetches.Err(); err != nil {
			if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
				return nil, fmt.Errorf("kafka sends nothing more, and %d partitions are not at their end", len(open))
			}
			return nil, fmt.Errorf("read the records: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			key := kafka.TopicPartition{Topic: r.Topic, Partition: r.Partition}
			k, wanted := open[key]
			if !wanted || r.Offset >= k.until {
				return
			}
			if !r.Attrs.IsControl() {
				k.append(r.Offset, r.Timestamp.After(settled))
			}
			if r.Offset+1 == k.until {
				delete(open, key)
				cl.PauseFetchPartitions(map[string][]int32{r.Topic: {r.Partition}})
			}
		})
	}
	return list, nil
}

// spans lists every partition with its offsets to look at; open are those that hold any.
func spans(ctx context.Context, admin *kadm.Client, begins map[string]time.Time) (list []*committed, open map[kafka.TopicPartition]*committed, err error) {
	topics := chsink.Topics()
	described, err := admin.ListTopics(ctx, topics...)
	if err == nil {
		err = described.Error()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list the topics: %w", err)
	}
	froms := kadm.ListedOffsets{}
	for _, topic := range topics {
		from, err := admin.ListOffsetsAfterMilli(ctx, begins[topic].UnixMilli(), topic)
		if err == nil {
			err = from.Error()
		}
		if err != nil {
			return nil, nil, fmt.Errorf("offsets of %s at %s: %w", topic, begins[topic].UTC().Format(time.RFC3339), err)
		}
		froms[topic] = from[topic]
	}
	ends, err := admin.ListCommittedOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("ends of the topics: %w", err)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return nil, nil, fmt.Errorf("settings of the topics: %w", err)
	}
	compacted := map[string]bool{}
	for _, c := range configs {
		compacted[c.Name] = slices.ContainsFunc(c.Configs, func(s kadm.Config) bool {
			return s.Key == "cleanup.policy" && strings.Contains(s.MaybeValue(), "compact")
		})
	}
	open = map[kafka.TopicPartition]*committed{}
	ends.Each(func(end kadm.ListedOffset) {
		topic := described[end.Topic]
		k := &committed{topic: end.Topic, topicID: base64.StdEncoding.EncodeToString(topic.ID[:]), partition: end.Partition, until: end.Offset, compacted: compacted[end.Topic]}
		if from, ok := froms.Lookup(end.Topic, end.Partition); ok {
			k.from = min(from.Offset, end.Offset)
		}
		list = append(list, k)
		if k.from < k.until {
			open[kafka.TopicPartition{Topic: k.topic, Partition: k.partition}] = k
		}
	})
	slices.SortFunc(list, func(a, b *committed) int {
		if a.topic != b.topic {
			return slices.Index(topics, a.topic) - slices.Index(topics, b.topic)
		}
		return int(a.partition - b.partition)
	})
	return list, open, nil
}

// runsShown bounds the gaps that are printed; --json has all.
const runsShown = 20

func printAudit(w io.Writer, r auditResult) error {
	fmt.Fprintf(w, "Since %s, by the brokers' clocks:\n\n", r.Since.Format("2006-01-02 15:04:05Z"))
	for _, topic := range slices.Sorted(maps.Keys(r.Shortened)) {
		fmt.Fprintf(w, "%s: since %s, because older rows are deleted (clickhouse.retention)\n", topic, r.Shortened[topic].Format("2006-01-02 15:04:05Z"))
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "topic\tpartition\toffsets\trecords\trows\ton the way\trefused\trepeated\t")
	var findings []string
	for _, p := range r.Partitions {
		verdict := "agrees"
		if len(p.Missing)+len(p.Foreign) > 0 {
			verdict = "DISAGREES"
		}
		fmt.Fprintf(tw, "%s\t%d\t%d-%d\t%d\t%d\t%d\t%d\t%d\t%s\n", p.Topic, p.Partition, p.From, p.Until, p.Records, p.Rows, p.OnTheWay, p.Refused, p.Repeated, verdict)
		for kind, runs := range map[string][]chsink.Run{"record without a row": p.Missing, "row without a committed record": p.Foreign} {
			for _, run := range runs {
				findings = append(findings, fmt.Sprintf("%s: %s/%d offsets %d to %d", kind, p.Topic, p.Partition, run.From, run.To))
			}
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	c := r.Conservation
	fmt.Fprintf(w, "\nevents received %d = applied %d + recorded %d + late %d + duplicates %d + ignored %d + dead letters %d + waiting %d + lost %d - doubled\n",
		c.Received, c.Applied, c.Recorded, c.Late, c.Duplicates, c.Ignored, c.DeadLetters, c.Waiting, c.Lost)
	fmt.Fprintf(w, "commands %d = ended %d + pending %d\nlost %d, doubled %d\n", c.Commands, c.Ended, c.Pending, c.Lost, c.Doubled)
	slices.Sort(findings)
	findings = append(findings, c.Examples...)
	for i, f := range findings {
		if i == runsShown {
			fmt.Fprintf(w, "  ... %d more; --json has them\n", len(findings)-i)
			break
		}
		fmt.Fprintf(w, "  %s\n", harmless(f))
	}
	return nil
}
