package embedded

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A real coordinator writes "this transaction commits" to its own log before it writes the markers, and after a crash
// finishes what it decided. kfake does not: it counts a transaction without a marker as aborted, writes no marker for
// it, and so tears one whose markers were half written, hides later ones of the same producer, and takes the aborted
// data for committed at the start after the next. The journal is the missing log.

const (
	journalFile     = "transactions.jsonl"
	journalBytesMax = 16 << 20
	// epochPerTransaction is the first version of EndTxn under which every transaction has an epoch of its own (KIP-890).
	epochPerTransaction = 5
	repairLimit         = 2 * time.Minute
)

// decision is the newest that a producer's coordinator was asked for.
type decision struct {
	// Number counts decisions over all producers: of two that move one group, the later one stands.
	Number  int64          `json:"number"`
	PID     int64          `json:"pid"`
	Epoch   int16          `json:"epoch"`
	Decided bool           `json:"decided"`
	Commit  bool           `json:"commit"`
	Offsets []stagedOffset `json:"offsets,omitempty"`
}

// stagedOffset is where a transaction takes a group, with what the consumer noted beside the offset.
type stagedOffset struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"` // name, or id in the newer versions of the request
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Metadata  string `json:"metadata,omitempty"`
}

// journal keeps the decisions on disk. A line replaces the older ones of its producer.
type journal struct {
	mu     sync.Mutex
	path   string
	file   *os.File
	size   int64
	number int64
	newest map[int64]decision
}

func readJournal(path string) (map[int64]decision, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[int64]decision{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxMessageBytes)
	for lines.Scan() {
		var d decision
		if json.Unmarshal(lines.Bytes(), &d) != nil {
			break // cut off by the crash: it was not acted upon
		}
		out[d.PID] = d
	}
	return out, lines.Err()
}

func newJournal(path string) (*journal, error) {
	j := &journal{path: path, newest: map[int64]decision{}}
	return j, j.rewrite()
}

// rewrite replaces the file by the newest decisions.
func (j *journal) rewrite() error {
	if j.file != nil {
		j.file.Close()
	}
	f, err := os.Create(j.path + ".tmp")
	if err != nil {
		return err
	}
	j.file, j.size = f, 0
	for _, d := range j.newest {
		if err := j.append(d); err != nil {
			return err
		}
	}
	return errors.Join(f.Sync(), os.Rename(f.Name(), j.path))
}

func (j *journal) append(d decision) error {
	line, err := json.Marshal(d)
	if err != nil {
		return err
	}
	n, err := j.file.Write(append(line, '\n'))
	j.size += int64(n)
	return err
}

// watch notes what is asked of the coordinator before it acts. What the disk may not hold is refused, not noted.
func (j *journal) watch(c *kfake.Cluster, s *space) {
	c.ControlKey(int16(kmsg.TxnOffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		j.offsets(r.(*kmsg.TxnOffsetCommitRequest))
		return nil, nil, false
	})
	c.ControlKey(int16(kmsg.EndTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
		end := r.(*kmsg.EndTxnRequest)
		if !s.mayEnd(end.Commit) {
			c.KeepControl()
			refused := end.ResponseKind().(*kmsg.EndTxnResponse)
			refused.ErrorCode = kerr.CoordinatorNotAvailable.Code
			return refused, nil, true
		}
		if err := j.end(end); err != nil {
			s.damaged(fmt.Sprintf("the journal of transactions: %v", err))
			c.KeepControl()
			return nil, err, true // not decided: the producer is told nothing and has to ask again
		}
		return nil, nil, false
	})
}

func (j *journal) offsets(r *kmsg.TxnOffsetCommitRequest) {
	j.mu.Lock()
	defer j.mu.Unlock()
	d := j.newest[r.ProducerID]
	if d.Epoch != r.ProducerEpoch || d.Decided {
		d = decision{PID: r.ProducerID, Epoch: r.ProducerEpoch}
	}
	for _, t := range r.Topics {
		name := t.Topic
		if name == "" { // newer versions name a topic by its id
			name = kadm.TopicID(t.TopicID).String()
		}
		for _, p := range t.Partitions {
			o := stagedOffset{Group: r.Group, Topic: name, Partition: p.Partition, Offset: p.Offset}
			if p.Metadata != nil {
				o.Metadata = *p.Metadata
			}
			d.Offsets = append(d.Offsets, o)
		}
	}
	j.newest[r.ProducerID] = d
}

func (j *journal) end(r *kmsg.EndTxnRequest) error {
	if r.Version < epochPerTransaction {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	d := j.newest[r.ProducerID]
	if d.Epoch != r.ProducerEpoch {
		d = decision{}
	}
	if d.Decided {
		return nil // the first decision holds; this is a repetition
	}
	j.number++
	d.Number, d.PID, d.Epoch, d.Decided, d.Commit = j.number, r.ProducerID, r.ProducerEpoch, true, r.Commit
	j.newest[r.ProducerID] = d
	if j.size > journalBytesMax {
		return j.rewrite()
	}
	return errors.Join(j.append(d), j.file.Sync())
}

// close removes the journal: after an orderly stop nothing is open. It is kept where the stop could not write all.
func (j *journal) close(keep bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if keep {
		return j.file.Close()
	}
	return errors.Join(j.file.Close(), os.Remove(j.path))
}

// finishTransactions ends what a crash left open in dir, each transaction as it was decided, else as aborted. Without
// a journal of a crashed process there is nothing to do. open opens a cluster over dir.
func finishTransactions(dir, journalPath string, open func() (*kfake.Cluster, error)) error {
	decisions, err := readJournal(journalPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the journal of transactions: %w", err)
	}
	if err := dropUnindexed(dir); err != nil {
		return err
	}
	cluster, err := open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), repairLimit)
	defer cancel()
	err = finish(ctx, cluster.ListenAddrs(), decisions)
	cluster.Close()
	if err != nil {
		return fmt.Errorf("finish the transactions of the crashed process: %w", err)
	}
	// What was loaded counts undecided transactions as aborted, and the snapshots say so; the log has the markers.
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "snapshot.json" {
			err = os.Remove(path)
		}
		return err
	})
}

// place is a partition.
type place struct {
	topic     string
	partition int32
}

func finish(ctx context.Context, brokers []string, decisions map[int64]decision) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	ends, err := admin.ListEndOffsets(ctx)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("list the ends of the topics: %w", err)
	}
	open, err := openTransactions(ctx, brokers, ends)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	for at, producers := range open {
		for pid, epoch := range producers {
			d := decisions[pid]
			m := kmsg.NewWriteTxnMarkersRequestMarker()
			m.ProducerID, m.ProducerEpoch, m.Committed = pid, epoch, d.Decided && d.Commit && d.Epoch == epoch
			t := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
			t.Topic, t.Partitions = at.topic, []int32{at.partition}
			m.Topics = append(m.Topics, t)
			req.Markers = append(req.Markers, m)
		}
	}
	if len(req.Markers) > 0 {
		if _, err := req.RequestWith(ctx, cl); err != nil {
			return fmt.Errorf("write markers: %w", err)
		}
	}
	return finishOffsets(ctx, admin, decisions)
}

// finishOffsets moves the groups on to where committed transactions took them. None goes back, and a topic that was
// deleted meanwhile is left alone.
func finishOffsets(ctx context.Context, admin *kadm.Client, decisions map[int64]decision) error {
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	names := map[string]string{}
	for name, t := range topics {
		names[name], names[t.ID.String()] = name, name
	}
	groups := map[string]*kadm.Offsets{}
	inOrder := slices.SortedFunc(maps.Values(decisions), func(a, b decision) int { return cmp.Compare(a.Number, b.Number) })
	for _, d := range inOrder {
		if !d.Decided || !d.Commit {
			continue
		}
		for _, o := range d.Offsets {
			topic, known := names[o.Topic]
			if !known {
				continue
			}
			if groups[o.Group] == nil {
				groups[o.Group] = &kadm.Offsets{}
			}
			groups[o.Group].Add(kadm.Offset{Topic: topic, Partition: o.Partition, At: o.Offset, LeaderEpoch: -1, Metadata: o.Metadata})
		}
	}
	for group, to := range groups {
		if err := moveOn(ctx, admin, group, *to); err != nil {
			return fmt.Errorf("offsets of group %s: %w", group, err)
		}
	}
	return nil
}

func moveOn(ctx context.Context, admin *kadm.Client, group string, to kadm.Offsets) error {
	now, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return err
	}
	to.DeleteFunc(func(o kadm.Offset) bool {
		held, ok := now.Lookup(o.Topic, o.Partition)
		return ok && (held.At > o.At || held.At == o.At && held.Metadata == o.Metadata)
	})
	if len(to) == 0 {
		return nil
	}
	done, err := admin.CommitOffsets(ctx, group, to)
	if err != nil {
		return err
	}
	return done.Error()
}

// openTransactions reads every log to its end and returns the producers whose data no marker follows, with their epochs.
func openTransactions(ctx context.Context, brokers []string, ends kadm.ListedOffsets) (map[place]map[int64]int16, error) {
	from, left := map[string]map[int32]kgo.Offset{}, map[place]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset == 0 {
			return
		}
		if from[o.Topic] == nil {
			from[o.Topic] = map[int32]kgo.Offset{}
		}
		from[o.Topic][o.Partition], left[place{o.Topic, o.Partition}] = kgo.NewOffset().AtStart(), o.Offset
	})
	if len(left) == 0 {
		return nil, nil
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumePartitions(from), kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadUncommitted()))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	open := map[place]map[int64]int16{}
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read the logs: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			at := place{r.Topic, r.Partition}
			switch {
			case r.Attrs.IsControl():
				delete(open[at], r.ProducerID)
			case r.Attrs.IsTransactional():
				if open[at] == nil {
					open[at] = map[int64]int16{}
				}
				open[at][r.ProducerID] = r.ProducerEpoch
			}
			if r.Offset+1 >= left[at] {
				delete(left, at)
			}
		})
	}
	return open, nil
}
