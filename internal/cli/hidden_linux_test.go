package cli

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWhatIsTypedIsHidden looks at a terminal while a secret is read from it.
func TestWhatIsTypedIsHidden(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	shown := func() bool {
		mode, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return mode.Lflag&unix.ECHO != 0
	}
	if !canHide(tty) || !shown() {
		t.Fatalf("a new terminal: can hide %t, shows %t", canHide(tty), shown())
	}
	during, failed := true, errors.New("cut off")
	if err := hidden(tty, func() error { during = shown(); return failed }); !errors.Is(err, failed) {
		t.Errorf("got error %v, want that of the reader", err)
	}
	if during || !shown() {
		t.Errorf("it shows what is typed: while a secret is read %t, afterwards %t", during, shown())
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if canHide(file) || hidden(file, func() error { return nil }) == nil {
		t.Error("what is no terminal counts as one")
	}
}
