//go:build linux && (amd64 || arm64)

package chdb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Engine is ClickHouse in this process over one storage directory. Its methods
// may be called from any goroutine.
type Engine struct {
	lib   *library
	dir   string
	conns []*Conn

	mu     sync.Mutex
	closed bool
}

// current is the one engine that this process may have open (the library
// refuses a second storage path).
var current struct {
	mu     sync.Mutex
	engine *Engine
	lib    *library
}

// Supported says whether libchdb can be loaded on this platform.
func Supported() bool { return true }

// Open loads the library and opens every connection before it returns. It
// changes process-wide state (see library.load), so call it before goroutines
// start that use signals or standard input.
//
// Errors: *MissingError, *LockedError, or an error that says what to do. A
// second engine in one process is refused until the first is closed.
func Open(o Options) (*Engine, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the ClickHouse directory %s: %w", o.Dir, err)
	}
	current.mu.Lock()
	defer current.mu.Unlock()
	if current.engine != nil {
		return nil, fmt.Errorf("this process already runs an embedded ClickHouse in %s, it can have one: close it before opening %s", current.engine.dir, dir)
	}
	if err := prepareDir(dir); err != nil {
		return nil, err
	}
	if current.lib == nil {
		path := o.Library
		if path == "" {
			if path, err = Find(); err != nil {
				return nil, err
			}
		}
		if current.lib, err = load(path); err != nil {
			return nil, err
		}
	}
	engine := &Engine{lib: current.lib, dir: dir}
	for range o.Connections {
		conn, err := engine.connect()
		if err != nil {
			engine.closeConns()
			return nil, err
		}
		engine.conns = append(engine.conns, conn)
	}
	current.engine = engine
	return engine, nil
}

// Conns are the connections, all open.
func (e *Engine) Conns() []*Conn { return append([]*Conn(nil), e.conns...) }

// LibraryVersion is what the library says of itself, such as "26.7.3".
func (e *Engine) LibraryVersion() string { return e.lib.version() }

// Close waits for running statements, closes every connection and releases the
// directory's lock. Another engine can be opened afterwards.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	e.closeConns()
	current.mu.Lock()
	defer current.mu.Unlock()
	if current.engine == e {
		current.engine = nil
	}
	return nil
}

func (e *Engine) closeConns() {
	for _, c := range e.conns {
		c.close()
	}
}

func prepareDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create the ClickHouse directory: %w", err)
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return fmt.Errorf("the ClickHouse directory is not writable: %w", err)
	}
	probe.Close()
	if err := os.Remove(probe.Name()); err != nil {
		return fmt.Errorf("the ClickHouse directory is not writable: %w", err)
	}
	return lockedElsewhere(dir)
}

// lockedElsewhere returns *LockedError when another process holds the engine's
// lock on dir/status. The library itself says so only on standard error.
func lockedElsewhere(dir string) error {
	file, err := os.Open(filepath.Join(dir, "status"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the lock of the ClickHouse directory: %w", err)
	}
	defer file.Close()
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return unix.Flock(int(file.Fd()), unix.LOCK_UN)
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("test the lock of the ClickHouse directory %s: %w", dir, err)
	}
	locked := &LockedError{Dir: dir}
	const maxStatusBytes = 4096
	text := make([]byte, maxStatusBytes)
	n, _ := file.ReadAt(text, 0)
	for line := range strings.Lines(string(text[:n])) {
		if value, found := strings.CutPrefix(line, "PID:"); found {
			locked.PID, _ = strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return locked
}

func (e *Engine) connect() (*Conn, error) {
	handle, err := e.dial()
	if err != nil {
		return nil, err
	}
	return &Conn{engine: e, handle: handle}, nil
}

// dial opens one connection of the library, with this process's signal
// handlers kept: older releases reset seven of them at each connect.
func (e *Engine) dial() (unsafe.Pointer, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	args := []string{"clickhouse", "--path=" + e.dir}
	argv := make([]unsafe.Pointer, len(args)+1)
	for i, arg := range args {
		argv[i] = cString(&pin, arg)
	}
	pin.Pin(&argv[0])
	handlers := snapshotSignals()
	handle := e.lib.connect(int32(len(args)), unsafe.Pointer(&argv[0]))
	handlers.restore()
	if handle == nil || *(*uintptr)(handle) == 0 {
		if err := lockedElsewhere(e.dir); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("the embedded ClickHouse did not open %s; its reason is on standard error: check free disk space, permissions and the limit of open files", e.dir)
	}
	return handle, nil
}

// cString copies s with a closing NUL and pins it until pin is released.
func cString(pin *runtime.Pinner, s string) unsafe.Pointer {
	b := make([]byte, len(s)+1)
	copy(b, s)
	pin.Pin(&b[0])
	return unsafe.Pointer(&b[0])
}
