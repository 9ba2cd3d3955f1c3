package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const lockFile = "lock"

// LockedError says that another process runs in the data directory.
type LockedError struct {
	Dir string
	// PID is 0 when the lock file did not tell.
	PID int
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID > 0 {
		who = "process " + strconv.Itoa(e.PID)
	}
	return fmt.Sprintf("the data directory %s is in use by %s: stop it, or choose another directory with --data", e.Dir, who)
}

// unusable says of a data directory that nothing can be made in it.
func unusable(dir string, err error) error {
	return fmt.Errorf("the data directory %s cannot be used: %w; choose another directory with --data, or make this one writable", dir, err)
}

var errLockHeld = errors.New("the lock is held")

// dirLock is held as long as its file is open, so that a killed process leaves
// none behind.
type dirLock struct{ file *os.File }

func lockDir(dir string) (*dirLock, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unusable(dir, err)
	}
	if err := tryLock(file); err != nil {
		defer file.Close()
		if errors.Is(err, errLockHeld) {
			return nil, &LockedError{Dir: dir, PID: holder(file)}
		}
		return nil, fmt.Errorf("lock the data directory %s: %w", dir, err)
	}
	if err = file.Truncate(0); err == nil {
		_, err = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("write the data directory's lock: %w", err)
	}
	return &dirLock{file}, nil
}

func holder(file *os.File) int {
	const maxPIDBytes = 32
	text := make([]byte, maxPIDBytes)
	n, _ := file.ReadAt(text, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil {
		return 0
	}
	return pid
}

// release keeps the file: removing it would let two processes lock two files of
// one name.
func (l *dirLock) release() error { return l.file.Close() }

// running says whether a process holds the directory's lock.
func running(dir string) (bool, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the data directory's lock: %w", err)
	}
	defer file.Close()
	switch err := tryLock(file); {
	case errors.Is(err, errLockHeld):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("look at the data directory's lock: %w", err)
	}
	return false, nil
}
