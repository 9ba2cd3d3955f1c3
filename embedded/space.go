package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// DefaultFreeBytesMin is the free space below which the embedded Kafka takes nothing new.
	DefaultFreeBytesMin = 32 << 20

	// reserveFile is given up when the disk is all but full, so that what is begun can still be ended on disk.
	reserveFile     = "reserve"
	reserveBytesMax = 8 << 20
)

// SpaceError says that the data directory's disk is too full to keep what Kafka would acknowledge.
type SpaceError struct {
	Dir                     string
	FreeBytes, MinimumBytes uint64
}

func (e *SpaceError) Error() string {
	return fmt.Sprintf("the disk of the data directory %s has %d KiB free and the embedded Kafka takes nothing new below %d KiB: free some space there, or choose another directory with --data",
		e.Dir, e.FreeBytes>>10, e.MinimumBytes>>10)
}

// DamageError says that the embedded Kafka could not write something that it went on without.
type DamageError struct {
	Dir, What string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("the embedded Kafka could not write to %s (%s) and takes nothing new: free some space there, then stop and start the process", e.Dir, e.What)
}

// space keeps the embedded Kafka from acknowledging what the disk may not hold. kfake refuses a record that it cannot
// write, but it acknowledges commits, offsets and topics whether or not they reached its logs, and a log line that was
// cut by a full disk hides every line after it from the next start. So nothing is taken below a floor that is far
// above what is in flight, and nothing at all after a write that failed all the same.
type space struct {
	dir     string
	minimum uint64
	log     zerolog.Logger
	free    func(dir string) (uint64, error)

	mu      sync.Mutex
	damage  error
	refused bool // the last answer was a refusal
}

// newSpace refuses a directory whose disk is too full to begin with. It changes nothing there: it may be another's.
func newSpace(dir string, minimum int64, log zerolog.Logger) (*space, error) {
	if minimum == 0 {
		minimum = DefaultFreeBytesMin
	}
	s := &space{dir: dir, minimum: uint64(minimum), log: log, free: freeBytes}
	if _, err := s.room(); err != nil {
		return nil, err
	}
	return s, nil
}

// check returns *DamageError, *SpaceError or nil. It is quick enough for every request.
func (s *space) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.damage
	if err == nil {
		var free uint64
		if free, err = s.room(); err != nil && free < s.reserve() {
			// Without a word when it fails: it is gone already, or the directory is.
			_ = os.Remove(filepath.Join(s.dir, reserveFile))
		}
	}
	switch {
	case err != nil && !s.refused:
		s.log.Error().Err(err).Msg("nothing new is taken")
	case err == nil && s.refused:
		s.log.Warn().Str("dir", s.dir).Msg("there is space again: what comes is taken")
		if err := s.keepReserve(); err != nil {
			s.log.Warn().Err(err).Msg("no reserve")
		}
	}
	s.refused = err != nil
	return err
}

// room compares the free space with the floor. A disk that does not tell is trusted: a write that fails shows it.
func (s *space) room() (free uint64, err error) {
	free, err = s.free(s.dir)
	if err != nil || free >= s.minimum {
		return free, nil
	}
	return free, &SpaceError{Dir: s.dir, FreeBytes: free, MinimumBytes: s.minimum}
}

func (s *space) reserve() uint64 { return min(s.minimum/4, reserveBytesMax) }

// keepReserve allocates the reserve, unless it is there from an earlier start.
func (s *space) keepReserve() error {
	path := filepath.Join(s.dir, reserveFile)
	if info, err := os.Stat(path); err == nil && uint64(info.Size()) == s.reserve() {
		return nil
	}
	if err := os.WriteFile(path, make([]byte, s.reserve()), 0o600); err != nil {
		return fmt.Errorf("keep a reserve of disk space: %w", err)
	}
	return nil
}

// damaged is told what Kafka could not write; the first is kept.
func (s *space) damaged(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.damage == nil {
		s.damage = &DamageError{Dir: s.dir, What: what}
	}
}

// broken reports whether a write failed already.
func (s *space) broken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.damage != nil
}

// mayEnd reports whether a transaction may be ended so now. The journal asks it, once and before it notes a decision: a
// commit that is noted and then refused would be carried out at the next start.
func (s *space) mayEnd(commit bool) bool { return !s.broken() && (!commit || s.check() == nil) }

// guard has cluster refuse what would be written while there is no room for it. Reading goes on, and so do group
// memberships and aborts, which are small, cannot be put off without harm, and for which there is the reserve. The ends
// of transactions are the journal's.
func (s *space) guard(cluster *kfake.Cluster) {
	full := func(kmsg.Request) bool { return s.check() != nil }
	refuse := func(err *kerr.Error, topLevel bool, when func(kmsg.Request) bool, keys ...kmsg.Key) kfake.Fault {
		return kfake.Fault{Keys: keys, Err: err, TopLevel: topLevel, Count: -1, When: when}
	}
	cluster.Fault(
		refuse(kerr.KafkaStorageError, false, full, kmsg.Produce),
		refuse(kerr.CoordinatorNotAvailable, false, full, kmsg.OffsetCommit, kmsg.TxnOffsetCommit, kmsg.AddPartitionsToTxn),
		refuse(kerr.CoordinatorNotAvailable, true, full, kmsg.AddOffsetsToTxn, kmsg.InitProducerID),
		refuse(kerr.KafkaStorageError, false, full, kmsg.CreateTopics, kmsg.CreatePartitions, kmsg.DeleteTopics, kmsg.DeleteRecords,
			kmsg.AlterConfigs, kmsg.IncrementalAlterConfigs, kmsg.DeleteGroups, kmsg.OffsetDelete),
	)
}

// unwritten recognizes kfake's only report of a failed write: a line of its log.
func unwritten(format string) bool { return strings.HasPrefix(format, "persist ") }

// Healthy says why the embedded parts take nothing new now: *SpaceError, which passes by itself once there is space,
// or *DamageError, for which the process has to be started again. Reading is not concerned.
func (s *Services) Healthy() error {
	if s.space == nil {
		return nil
	}
	return s.space.check()
}
