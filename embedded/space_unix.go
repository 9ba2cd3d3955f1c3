//go:build darwin || linux

package embedded

import "golang.org/x/sys/unix"

// freeBytes is what a process without privileges can still write on the disk of dir.
func freeBytes(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}
