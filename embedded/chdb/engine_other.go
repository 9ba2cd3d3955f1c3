//go:build !linux || (!amd64 && !arm64)

package chdb

import (
	"io"
	"runtime"
)

// Engine cannot be opened on this platform.
type Engine struct{}

// Conn is never handed out on this platform.
type Conn struct{}

// Open returns *UnsupportedError.
func Open(Options) (*Engine, error) {
	return nil, &UnsupportedError{Platform: runtime.GOOS + "/" + runtime.GOARCH}
}

// Supported says whether libchdb can be loaded on this platform.
func Supported() bool { return false }

// Conns returns none.
func (*Engine) Conns() []*Conn { return nil }

// LibraryVersion returns nothing.
func (*Engine) LibraryVersion() string { return "" }

// Close does nothing.
func (*Engine) Close() error { return nil }

// Query returns ErrClosed.
func (*Conn) Query(io.Writer, Statement) (Stats, error) { return Stats{}, ErrClosed }

// Stream returns ErrClosed.
func (*Conn) Stream(io.Writer, Statement) (Stats, error) { return Stats{}, ErrClosed }

// Insert returns ErrClosed.
func (*Conn) Insert(io.Reader, Statement) (Stats, error) { return Stats{}, ErrClosed }

// Classify returns ErrClosed.
func (*Conn) Classify(string) (Analysis, error) { return Analysis{}, ErrClosed }

// Reconnect returns ErrClosed.
func (*Conn) Reconnect() error { return ErrClosed }
