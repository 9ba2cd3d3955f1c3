// Package store says what the engine asks of the place where the working copy of the state is kept.
//
// A store is a copy, never the truth: the changelog is. It may lose everything, roll back to an older copy, or be
// written by an owner that does not know yet that it lost its partition. The contract below is what makes each of
// these visible: every call but Claim carries the fence that its caller last saw, and is refused where the store
// stands elsewhere.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Limits of one call. An image larger than MaxBytes travels alone.
const (
	MaxImages = 1000
	MaxBytes  = 1 << 20
	MaxKeys   = 1000
)

// Errors of a store. Errors wrap exactly one of them.
var (
	// ErrFenced: another owner claimed the partition since.
	ErrFenced = errors.New("another owner holds the partition")
	// ErrRolledBack: the store does not stand where its owner left it: it lost or rolled back data.
	ErrRolledBack = errors.New("the store lost or rolled back data")
	// ErrUnavailable: the store could not be asked, or its answer is unknown. An apply may have happened.
	ErrUnavailable = errors.New("the store is unavailable")
	// ErrCorrupt: a key holds another type than ours. A rebuild into a new generation passes by it.
	ErrCorrupt = errors.New("the store holds a key of another type")
)

// ID names one partition of one stage.
type ID struct {
	Stage     string
	Partition int32
}

// String is stage:partition, the tag that all keys of the partition share.
func (id ID) String() string { return fmt.Sprintf("%s:%d", id.Stage, id.Partition) }

// Fence is where the store stands.
type Fence struct {
	Changelog  string // id of the changelog topic that the images come from; empty: none yet
	Owner      string
	Applied    int64 // next changelog offset to apply
	Generation int64 // of the keys; a rebuild fills the next one
	Building   bool  // Generation is being filled and not yet read
}

// Claim is what a new owner finds.
type Claim struct {
	Fence
	Meta []byte    // the newest meta record applied; nil: none
	At   time.Time // when the last batch was applied, by the applier's clock; zero: never
}

// Image is the state of one key after a transaction.
type Image struct {
	Key      string
	Value    []byte // nil: removed
	Deadline int64  // earliest deadline of its timers, Unix milliseconds; 0: none
	// Same says that the store has this deadline for the key already.
	Same bool
}

// Batch is a prefix of what lies in the changelog from Fence.Applied on.
type Batch struct {
	To     int64 // next offset to apply afterwards
	Images []Image
	Meta   []byte // nil: unchanged
	At     time.Time
}

// Deadline is the earliest deadline of one key.
type Deadline struct {
	Key string
	At  int64 // Unix milliseconds
}

// A Store holds the partitions of all stages.
type Store interface {
	// Partition returns a handle; it does no I/O. Calls on one handle are served one after the other.
	Partition(id ID) Partition
	// Ping reports whether the store answers; errors are ErrUnavailable.
	Ping(ctx context.Context) error
}

// A Partition is the images of one partition. Every method but Claim is refused with ErrFenced where another owner
// has claimed since f.Owner, and with ErrRolledBack where the rest of f is not where the store stands; a refused
// call changes nothing.
type Partition interface {
	// Claim makes owner the owner. The last claim wins, whoever makes it: a zombie that claims late costs the true
	// owner one recovery and no more. owner must never have been used before.
	Claim(ctx context.Context, owner string) (Claim, error)
	// Read returns the images of keys (at most MaxKeys), nil for one that is not there, judged against f in the same
	// atomic step.
	Read(ctx context.Context, f Fence, keys []string) ([][]byte, error)
	// Deadlines returns keys with from <= deadline < before, in the order (deadline, key), at most limit of them, and
	// how many keys have a deadline at all. Judged against f like Read.
	Deadlines(ctx context.Context, f Fence, from, before int64, limit int) (due []Deadline, armed int64, err error)
	// Apply writes b where the store stands at f, and returns the fence after it. Types are checked first, images
	// are written next, the offset last: whatever breaks in between leaves images that the same batch writes again.
	// A key has at most one image in b (see Newest).
	Apply(ctx context.Context, f Fence, b Batch) (Fence, error)
	// Rebuild opens an empty generation, to be filled by Apply with the fence it returns; until Switch the old one
	// stays as it is.
	Rebuild(ctx context.Context, f Fence, changelog string, from int64) (Fence, error)
	// Switch makes the generation that was filled under f the one that is read, and drops the old one.
	Switch(ctx context.Context, f Fence) (Fence, error)
}

// Cut splits images into batches that respect MaxImages and MaxBytes, in order; each index is the end of one batch.
func Cut(images []Image) []int {
	var ends []int
	n, size := 0, 0
	for i, im := range images {
		s := len(im.Key) + len(im.Value)
		if n > 0 && (n == MaxImages || size+s > MaxBytes) {
			ends = append(ends, i)
			n, size = 0, 0
		}
		n, size = n+1, size+s
	}
	if n > 0 {
		ends = append(ends, len(images))
	}
	return ends
}

// Newest drops all but the last image of each key, and keeps the order of what is left.
func Newest(images []Image) []Image {
	last := make(map[string]int, len(images))
	for i, im := range images {
		last[im.Key] = i
	}
	if len(last) == len(images) {
		return images
	}
	kept := make([]Image, 0, len(last))
	for i, im := range images {
		if last[im.Key] == i {
			kept = append(kept, im)
		}
	}
	return kept
}
