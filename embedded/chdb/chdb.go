// Package chdb runs ClickHouse inside this process: it loads libchdb with
// purego (no cgo) and offers its connections.
//
// The library has one storage directory per process, one statement at a time
// per connection and process-wide side effects at loading (signal handlers,
// standard input), so a program opens one Engine, early, with every connection
// it will need.
package chdb

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxConnections bounds the pool of one Engine; each connection costs the
// library a few threads.
const MaxConnections = 64

// ErrClosed says that the engine or the connection was closed before the call.
var ErrClosed = errors.New("the embedded ClickHouse is closed")

// Error is what the engine answered instead of a result.
type Error struct {
	// Code is ClickHouse's error code (60 is UNKNOWN_TABLE); 0 when the text
	// named none.
	Code int
	// Message is the engine's text as it came: "Code: 60. DB::Exception: ...".
	Message string
}

func (e *Error) Error() string { return e.Message }

// maxCodeDigits is more than the longest ClickHouse error code has.
const maxCodeDigits = 9

func newError(message string) *Error {
	e := &Error{Message: strings.TrimRight(message, " \r\n")}
	_, rest, found := strings.Cut(message, "Code: ")
	if !found {
		return e
	}
	digits := 0
	for digits < len(rest) && digits < maxCodeDigits && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	if code, err := strconv.Atoi(rest[:digits]); err == nil {
		e.Code = code
	}
	return e
}

// LockedError says that another process has the storage directory open.
type LockedError struct {
	Dir string
	// PID is the other process, 0 when its status file did not tell.
	PID int
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID > 0 {
		who = fmt.Sprintf("the process with id %d", e.PID)
	}
	return fmt.Sprintf("the ClickHouse directory %s is in use by %s: stop it, or choose another data directory", e.Dir, who)
}

// MissingError says that no libchdb was found.
type MissingError struct {
	// Tried lists the places that were looked at.
	Tried []string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("libchdb (the embedded ClickHouse) was not found in %s: run `make install-chdb` or `scripts/install.sh chdb`, or set %s to the file",
		strings.Join(e.Tried, ", "), EnvLibrary)
}

// UnsupportedError says that libchdb cannot be loaded on this platform.
type UnsupportedError struct{ Platform string }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("the embedded ClickHouse needs Linux on amd64 or arm64, this is %s: point the configuration at a ClickHouse server instead", e.Platform)
}

// Param is a value for a {name:Type} placeholder; the engine parses Value as
// the placeholder's type.
type Param struct{ Name, Value string }

// Statement is one text for the engine.
type Statement struct {
	SQL string
	// Format is the output format where the text names none, and the input
	// format of Insert.
	Format string
	Params []Param
}

// Stats counts what a statement did.
type Stats struct {
	RowsRead     uint64
	BytesRead    uint64
	RowsWritten  uint64
	BytesWritten uint64
	// Seconds is the engine's own time.
	Seconds float64
}

// Beginner is a writer that wants to know a result's counts before its first
// byte; Query calls Begin once when the statement has succeeded.
type Beginner interface{ Begin(Stats) }

// Class says what a statement does to state that outlives it, as judged by the
// engine's parser.
type Class uint32

// The classes of chdb_classify_query_n, ascending by how restricted they are.
const (
	ClassReadOnly Class = iota
	ClassMutating
	ClassMutatingGlobal
	ClassControl
	ClassUnknown
)

func (c Class) String() string {
	switch c {
	case ClassReadOnly:
		return "read-only"
	case ClassMutating:
		return "mutating"
	case ClassMutatingGlobal:
		return "mutating-global"
	case ClassControl:
		return "control"
	default:
		return "unknown"
	}
}

// Analysis is what the engine's parser says about a text without running it.
type Analysis struct {
	// Statements is 0 for a text that does not parse.
	Statements int
	Class      Class
}

// Options tell Open what to load.
type Options struct {
	// Library is the path of libchdb.so; empty means Find().
	Library string
	// Dir is the storage directory, created when missing.
	Dir string
	// Connections is how many statements can run at once, 1 to MaxConnections.
	Connections int
}

func (o Options) validate() error {
	if o.Dir == "" {
		return errors.New("the embedded ClickHouse needs a storage directory")
	}
	if strings.ContainsRune(o.Dir, 0) {
		return errors.New("the ClickHouse storage directory has a NUL byte in its name")
	}
	if o.Connections < 1 || o.Connections > MaxConnections {
		return fmt.Errorf("the embedded ClickHouse was asked for %d connections, it can have 1 to %d", o.Connections, MaxConnections)
	}
	return nil
}
