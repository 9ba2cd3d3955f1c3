package embedded

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockAt is behind the process id in the file, which others may read.
const lockAt = 1 << 20

func tryLock(file *os.File) error {
	overlapped := &windows.Overlapped{Offset: lockAt}
	err := windows.LockFileEx(windows.Handle(file.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, overlapped)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errLockHeld
	}
	return err
}
