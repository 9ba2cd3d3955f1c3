package parts

import (
	"syscall"
	"testing"
)

// Hang stops the server without closing anything, as a machine that swaps would; false lets it go on.
func (r *Redis) Hang(t testing.TB, hang bool) {
	t.Helper()
	s := syscall.SIGCONT
	if hang {
		s = syscall.SIGSTOP
	}
	r.process.Signal(t, s)
}
