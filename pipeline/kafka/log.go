package kafka

import (
	"context"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Log is Kafka as the engine, delivery and the loader use it. Cluster is the real one; the simulator has a model of it.
type Log interface {
	// Join opens a client that is a member of a group. It talks to nobody before the session's first call.
	Join(m Member) (Session, error)
	// Describe asks the brokers, not a cache.
	Describe(ctx context.Context, topic string) (TopicInfo, error)
	// Bounds returns the first offset of a partition and its high watermark: the end that includes what is undecided.
	Bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error)
	// OffsetAt returns the offset of the first record that was appended at t or later, and the end where there is none.
	OffsetAt(ctx context.Context, topic string, partition int32, t time.Time) (int64, error)
	// Offsets returns what a group committed for these partitions of these topics, all of them, in that order; At is -1
	// where it has none. It waits while a transaction that commits one is undecided (KIP-447), for as long as ctx allows.
	Offsets(ctx context.Context, group string, topics []string, partitions []int32) ([]Offset, error)
	// Read hands committed records to apply until everything of r was read; next is the offset up to which they reach.
	// Errors wrap ErrTruncated, ErrHanging or ErrTrimmed where they are such.
	Read(ctx context.Context, r Range, apply func(records []*kgo.Record, next int64) error) error
	// Append writes a record outside of any transaction, to the partition that it names, and calls promise when its fate
	// is known.
	Append(ctx context.Context, rec *kgo.Record, promise func(*kgo.Record, error))
	// Close ends what Log itself holds; sessions have their own.
	Close()
}

// Range is a part of a partition to be read once.
type Range struct {
	Topic     string
	Partition int32
	From, To  int64 // To is exclusive
	// Patience is how long an open transaction may keep the reading from going on.
	Patience time.Duration
}

// Offset is a group's progress in one partition.
type Offset struct {
	Topic     string
	TopicID   [16]byte // where the caller knows it; brokers with KIP-848 want it
	Partition int32
	At        int64  // next offset to be read
	Metadata  string // empty in a commit of a transaction: the member's id is written
}

// Member says how a session takes part in its group. The callbacks run in the client's own goroutine.
type Member struct {
	Group string
	// TransactionalID of the session's transactions; empty: it has none, and Begin, Produce and End must not be called.
	TransactionalID string
	Topics          []string
	// CoPartition gives one member partition n of every topic (see CoPartition); else cooperative-sticky.
	CoPartition bool
	// HoldRebalance lets no partition go between a Poll and the AllowRebalance that must follow it.
	HoldRebalance bool
	// ControlRecords are returned by Poll too.
	ControlRecords bool

	SessionTimeout, HeartbeatInterval, RebalanceTimeout, TransactionTimeout time.Duration
	// FetchBytesMax bounds one fetch; 0: the client's default.
	FetchBytesMax int32

	// Assigned and Revoked tell what comes and goes, by topic; a partition that was lost is revoked. Nothing is fetched
	// of an assigned partition before Assigned returns.
	Assigned, Revoked func(s Session, partitions map[string][]int32)
	// Synced tells the whole assignment after each rebalance, before Assigned and Revoked; CoPartition only.
	Synced func(assigned map[string][]int32)
	// Fetched tells the committed offsets of partitions that are assigned, before anything of them is fetched. Its error
	// keeps them from being used.
	Fetched func(offsets []Offset) error
	// Held tells that a rebalance waits for AllowRebalance.
	Held func()
	// Heard tells that the coordinator answered as to a member.
	Heard func()

	// Life ends the client the hard way: calls that hang return.
	Life context.Context
	Log  zerolog.Logger
}

// Session is one membership in a group, with one transaction at a time. Only one goroutine may use it, but for Pause,
// Resume and Close, and from within callbacks.
type Session interface {
	// InitProducer gets a new epoch for the transactional id, which ends what a former life of it left open.
	InitProducer(ctx context.Context) error
	// Poll returns at most max records: what is there, or, where wait is true, what comes before ctx ends.
	Poll(ctx context.Context, max int, wait bool) kgo.Fetches
	// Buffered is how many fetched records wait for a Poll.
	Buffered() int64
	AllowRebalance()
	Begin() error
	// Produce writes a record in the transaction; promise is called when its fate is known.
	Produce(ctx context.Context, rec *kgo.Record, promise func(*kgo.Record, error))
	// Flush waits for the fate of all records.
	Flush(ctx context.Context) error
	// Abort ends the transaction without a trace.
	Abort(ctx context.Context) error
	// Commit commits the transaction, and in it offsets, checked against the group's generation. True is the only answer
	// that says so; after false, with or without an error, the outcome is unknown.
	Commit(ctx context.Context, offsets []Offset) (bool, error)
	// CommitOffsets commits offsets outside of any transaction, checked against the group's generation. failed has an error for
	// each partition that was not committed for certain, as Offset.Topic and Offset.Partition name it.
	CommitOffsets(ctx context.Context, offsets []Offset) (failed map[TopicPartition]error)
	// SetOffsets makes Poll go on from these offsets.
	SetOffsets(offsets []Offset)
	Pause(partitions map[string][]int32)
	Resume(partitions map[string][]int32)
	// Leave leaves the group, so that others get its partitions at once.
	Leave(ctx context.Context) error
	Close()
}

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}
