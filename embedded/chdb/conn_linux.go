//go:build linux && (amd64 || arm64)

package chdb

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"unsafe"
)

// appendBytes is the size of the chunks that Insert hands to the engine.
const appendBytes = 256 << 10

// Conn is one connection: a session of its own (current database, settings,
// temporary tables) that runs one statement at a time; callers queue.
type Conn struct {
	engine *Engine

	mu     sync.Mutex
	handle unsafe.Pointer // chdb_connection *
}

// raw is the chdb_connection that the query functions take. The mutex is held.
func (c *Conn) raw() (uintptr, error) {
	if c.handle == nil {
		return 0, ErrClosed
	}
	return *(*uintptr)(c.handle), nil
}

func (c *Conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handle != nil {
		c.engine.lib.closeConn(c.handle)
		c.handle = nil
	}
}

// Reconnect replaces the session by a fresh one: current database, settings and
// temporary tables are gone. Another connection of the engine must be open.
func (c *Conn) Reconnect() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handle == nil {
		return ErrClosed
	}
	handle, err := c.engine.dial()
	if err != nil {
		return err
	}
	c.engine.lib.closeConn(c.handle)
	c.handle = handle
	return nil
}

// Query runs a statement and writes its whole result to w, which must not keep
// the slices that it is given. An error of the engine is *Error and comes
// before anything was written.
func (c *Conn) Query(w io.Writer, s Statement) (Stats, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lib := c.engine.lib
	result, err := c.start(lib.query, s)
	if err != nil {
		return Stats{}, err
	}
	defer lib.destroyResult(result)
	stats := lib.stats(result)
	if b, wants := w.(Beginner); wants {
		b.Begin(stats)
	}
	if data := lib.bytes(result); len(data) > 0 {
		if _, err := w.Write(data); err != nil {
			return stats, fmt.Errorf("write the result: %w", err)
		}
	}
	return stats, nil
}

// Stream runs a SELECT and writes its result block by block to w, which must
// not keep the slices that it is given; a write error ends the statement. An
// *Error may come after blocks were written.
func (c *Conn) Stream(w io.Writer, s Statement) (Stats, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lib := c.engine.lib
	stream, err := c.start(lib.streamQuery, s)
	if err != nil {
		return Stats{}, err
	}
	defer lib.destroyResult(stream)
	conn, err := c.raw()
	if err != nil {
		return Stats{}, err
	}
	var total Stats
	for {
		more, err := lib.fetch(w, conn, stream, &total)
		if err != nil || !more {
			return total, err
		}
	}
}

// fetch passes on one chunk; false says that the stream has ended.
func (l *library) fetch(w io.Writer, conn uintptr, stream unsafe.Pointer, total *Stats) (bool, error) {
	chunk := l.streamFetch(conn, stream)
	if chunk == nil {
		return false, nil
	}
	defer l.destroyResult(chunk)
	if text := l.resultError(chunk); text != "" {
		return false, newError(text)
	}
	stats, data := l.stats(chunk), l.bytes(chunk)
	total.RowsRead += stats.RowsRead
	total.BytesRead += stats.BytesRead
	if len(data) > 0 {
		if _, err := w.Write(data); err != nil {
			l.streamCancel(conn, stream)
			return false, fmt.Errorf("write the result: %w", err)
		}
	}
	return stats.RowsRead > 0, nil
}

// Insert runs "INSERT INTO t (columns)" (without FORMAT) with the data of r in
// s.Format. A read error of r cancels the insert and is returned wrapped; data
// that ends in mid-row is an *Error and inserts nothing of its block.
func (c *Conn) Insert(r io.Reader, s Statement) (Stats, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lib := c.engine.lib
	stream, err := c.begin(lib.insertBegin, s)
	if err != nil {
		return Stats{}, err
	}
	defer lib.insertDestroy(stream)
	if text := lib.insertError(stream); text != "" {
		return Stats{}, newError(text)
	}
	if err := lib.appendAll(stream, r); err != nil {
		lib.insertCancel(stream)
		return Stats{}, err
	}
	result := lib.insertDone(stream)
	if result == nil {
		return Stats{}, newError("the engine gave no result for the insert: " + lib.insertError(stream))
	}
	defer lib.destroyResult(result)
	if text := lib.resultError(result); text != "" {
		return Stats{}, newError(text)
	}
	return lib.stats(result), nil
}

func (l *library) appendAll(stream unsafe.Pointer, r io.Reader) error {
	buffer := make([]byte, appendBytes)
	var pin runtime.Pinner
	pin.Pin(&buffer[0])
	defer pin.Unpin()
	for {
		n, err := readChunk(r, buffer)
		if n > 0 && l.insertAppend(stream, unsafe.Pointer(&buffer[0]), uintptr(n)) != 0 {
			return newError(l.insertError(stream))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the insert's data: %w", err)
		}
	}
}

// readChunk fills buffer as far as r has data, so that many small reads cost
// one call of the engine. Unlike io.ReadFull it passes on r's own error: a body
// cut short (io.ErrUnexpectedEOF) must not pass for a whole one.
func readChunk(r io.Reader, buffer []byte) (n int, err error) {
	for n < len(buffer) && err == nil {
		var k int
		k, err = r.Read(buffer[n:])
		n += k
	}
	return n, err
}

// analysisV1 is chdb_query_analysis_v1.
type analysisV1 struct{ size, statements, flags, class uint32 }

// Classify parses sql with the session's own parser and says what it would do,
// without running it.
func (c *Conn) Classify(sql string) (Analysis, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn, err := c.raw()
	if err != nil {
		return Analysis{}, err
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	out := new(analysisV1)
	out.size = uint32(unsafe.Sizeof(*out))
	pin.Pin(out)
	if c.engine.lib.classify(conn, cString(&pin, sql), uintptr(len(sql)), nil, 0, unsafe.Pointer(out)) != 0 {
		return Analysis{}, newError("the engine could not classify the statement")
	}
	return Analysis{Statements: int(out.statements), Class: Class(min(out.class, uint32(ClassUnknown)))}, nil
}

// start runs fn and turns an engine's error into *Error; the caller frees the
// result. The mutex is held.
func (c *Conn) start(fn textFunc, s Statement) (unsafe.Pointer, error) {
	result, err := c.begin(fn, s)
	if err != nil {
		return nil, err
	}
	if text := c.engine.lib.resultError(result); text != "" {
		c.engine.lib.destroyResult(result)
		return nil, newError(text)
	}
	return result, nil
}

func (c *Conn) begin(fn textFunc, s Statement) (unsafe.Pointer, error) {
	conn, err := c.raw()
	if err != nil {
		return nil, err
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	n := len(s.Params)
	names, values := make([]unsafe.Pointer, n+1), make([]unsafe.Pointer, n+1)
	nameLens, valueLens := make([]uintptr, n+1), make([]uintptr, n+1)
	for i, p := range s.Params {
		names[i], nameLens[i] = cString(&pin, p.Name), uintptr(len(p.Name))
		values[i], valueLens[i] = cString(&pin, p.Value), uintptr(len(p.Value))
	}
	pin.Pin(&names[0])
	pin.Pin(&values[0])
	pin.Pin(&nameLens[0])
	pin.Pin(&valueLens[0])
	result := fn(conn, cString(&pin, s.SQL), uintptr(len(s.SQL)), cString(&pin, s.Format), uintptr(len(s.Format)),
		unsafe.Pointer(&names[0]), unsafe.Pointer(&nameLens[0]), unsafe.Pointer(&values[0]), unsafe.Pointer(&valueLens[0]), uintptr(n))
	if result == nil {
		return nil, newError("the engine gave no result")
	}
	return result, nil
}

// bytes is the result's data in the library's memory, valid until the result is
// destroyed.
func (l *library) bytes(result unsafe.Pointer) []byte {
	length := l.resultLength(result)
	if length == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(l.resultBuffer(result)), length)
}

func (l *library) stats(result unsafe.Pointer) Stats {
	return Stats{
		RowsRead: l.resultRowsRead(result), BytesRead: l.resultBytesRead(result),
		RowsWritten: l.resultRowsWritten(result), BytesWritten: l.resultBytesWritten(result),
		Seconds: l.resultSeconds(result),
	}
}
