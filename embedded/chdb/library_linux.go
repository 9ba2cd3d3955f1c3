//go:build linux && (amd64 || arm64)

package chdb

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"
)

// The shapes of chdb.h's functions: every text comes with its length, so that
// it may hold any bytes; results are handles freed by destroyResult.
type (
	textFunc     func(conn uintptr, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, params uintptr) unsafe.Pointer
	classifyFunc func(conn uintptr, sql unsafe.Pointer, sqlLen uintptr, database unsafe.Pointer, databaseLen uintptr, out unsafe.Pointer) int32
)

// library is the loaded libchdb with its functions bound.
type library struct {
	path string

	setSignalHandlers func(enabled int32)
	version           func() string
	connect           func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	closeConn         func(conn unsafe.Pointer)
	query             textFunc
	streamQuery       textFunc
	streamFetch       func(conn uintptr, stream unsafe.Pointer) unsafe.Pointer
	streamCancel      func(conn uintptr, stream unsafe.Pointer)
	classify          classifyFunc

	insertBegin   textFunc
	insertAppend  func(stream, data unsafe.Pointer, length uintptr) int32
	insertDone    func(stream unsafe.Pointer) unsafe.Pointer
	insertCancel  func(stream unsafe.Pointer)
	insertError   func(stream unsafe.Pointer) string
	insertDestroy func(stream unsafe.Pointer)

	resultBuffer       func(result unsafe.Pointer) unsafe.Pointer
	resultLength       func(result unsafe.Pointer) uintptr
	resultError        func(result unsafe.Pointer) string
	resultSeconds      func(result unsafe.Pointer) float64
	resultRowsRead     func(result unsafe.Pointer) uint64
	resultBytesRead    func(result unsafe.Pointer) uint64
	resultRowsWritten  func(result unsafe.Pointer) uint64
	resultBytesWritten func(result unsafe.Pointer) uint64
	destroyResult      func(result unsafe.Pointer)
}

func (l *library) symbols() map[string]any {
	return map[string]any{
		"chdb_set_signal_handlers_enabled": &l.setSignalHandlers,
		"chdb_version":                     &l.version,
		"chdb_connect":                     &l.connect,
		"chdb_close_conn":                  &l.closeConn,
		"chdb_query_with_params_n":         &l.query,
		"chdb_stream_query_with_params_n":  &l.streamQuery,
		"chdb_stream_fetch_result":         &l.streamFetch,
		"chdb_stream_cancel_query":         &l.streamCancel,
		"chdb_classify_query_n":            &l.classify,
		"chdb_stream_insert_with_params_n": &l.insertBegin,
		"chdb_stream_append":               &l.insertAppend,
		"chdb_stream_done":                 &l.insertDone,
		"chdb_stream_cancel_insert":        &l.insertCancel,
		"chdb_stream_insert_error":         &l.insertError,
		"chdb_destroy_insert_stream":       &l.insertDestroy,
		"chdb_result_buffer":               &l.resultBuffer,
		"chdb_result_length":               &l.resultLength,
		"chdb_result_error":                &l.resultError,
		"chdb_result_elapsed":              &l.resultSeconds,
		"chdb_result_rows_read":            &l.resultRowsRead,
		"chdb_result_bytes_read":           &l.resultBytesRead,
		"chdb_result_rows_written":         &l.resultRowsWritten,
		"chdb_result_bytes_written":        &l.resultBytesWritten,
		"chdb_destroy_query_result":        &l.destroyResult,
	}
}

// load maps the library and tames its process-wide habits: standard input is
// taken out of its reach and its signal handlers stay off, with Go's handlers
// put back (switching them off resets seven to the system's default).
func load(path string) (*library, error) {
	handlers := snapshotSignals()
	defer handlers.restore()
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("load libchdb from %s: %w (a damaged or foreign file: delete it and run `scripts/install.sh chdb`)", path, err)
	}
	lib := &library{path: path}
	for name, fn := range lib.symbols() {
		address, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, fmt.Errorf("libchdb at %s has no %s: it is too old, release %s is needed (run `scripts/install.sh chdb`)", path, name, Version)
		}
		purego.RegisterFunc(fn, address)
	}
	if err := guardStdin(); err != nil {
		return nil, err
	}
	lib.setSignalHandlers(0)
	return lib, nil
}

// originalStdin stays reachable: its finalizer would close descriptor 0, the
// next opened file would become it and be read as insert data.
var originalStdin *os.File

// guardStdin puts /dev/null at descriptor 0, from which the engine reads insert
// data when it is no terminal, and gives os.Stdin a duplicate of what was there.
func guardStdin() error {
	if originalStdin != nil {
		return nil
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("keep standard input from the embedded ClickHouse: %w", err)
	}
	originalStdin = os.Stdin
	if null.Fd() == 0 {
		// Standard input was closed: the null device took its place.
		originalStdin = null
		return nil
	}
	defer null.Close()
	if duplicate, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3); err == nil {
		os.Stdin = os.NewFile(uintptr(duplicate), "/dev/stdin")
	}
	if err := unix.Dup3(int(null.Fd()), 0, 0); err != nil {
		return fmt.Errorf("keep standard input from the embedded ClickHouse: %w", err)
	}
	return nil
}

const (
	maxSignal = 64
	// signalSetBytes is the kernel's size of a signal mask.
	signalSetBytes = 8
)

// sigaction is the kernel's struct on amd64 and arm64, kept byte for byte.
type sigaction struct{ handler, flags, restorer, mask uint64 }

type signalHandlers [maxSignal + 1]sigaction

func settable(signal int) bool {
	return signal != int(syscall.SIGKILL) && signal != int(syscall.SIGSTOP)
}

func snapshotSignals() *signalHandlers {
	kept := new(signalHandlers)
	for signal := 1; signal <= maxSignal; signal++ {
		if settable(signal) {
			kept[signal] = currentAction(signal)
		}
	}
	return kept
}

func currentAction(signal int) (action sigaction) {
	// The only error is a bad number, which leaves the action zero.
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(signal), 0, uintptr(unsafe.Pointer(&action)), signalSetBytes, 0, 0)
	return action
}

// restore puts back the handlers that changed since the snapshot.
func (kept *signalHandlers) restore() {
	for signal := 1; signal <= maxSignal; signal++ {
		if !settable(signal) || currentAction(signal) == kept[signal] {
			continue
		}
		_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(signal), uintptr(unsafe.Pointer(&kept[signal])), 0, signalSetBytes, 0, 0)
	}
}
