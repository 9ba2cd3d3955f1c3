package cli

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// canHide reports whether f is a terminal, where what is typed can be hidden.
func canHide(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// hidden runs f while the terminal shows nothing of what is typed.
func hidden(f *os.File, read func() error) error {
	was, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return fmt.Errorf("hide what is typed: %w", err)
	}
	mute := *was
	mute.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, &mute); err != nil {
		return fmt.Errorf("hide what is typed: %w", err)
	}
	defer func() { _ = unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, was) }()
	return read()
}
