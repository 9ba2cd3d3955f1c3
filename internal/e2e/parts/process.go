package parts

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Command is a program to start.
type Command struct {
	Name string // in messages
	Path string
	Args []string
	Dir  string
	// Env is added to the environment of the test.
	Env []string
}

// Process is a started program. It ends with the test, or with the test's process, however that ends.
type Process struct {
	Name    string
	outPath string
	errPath string
	cmd     *exec.Cmd
	done    chan struct{}
	err     error // of Wait; read after done
}

// stopLimit bounds how long an orderly end may take before the process is killed.
const stopLimit = 20 * time.Second

// tailBytes is how much of a process's output a failed test shows.
const tailBytes = 6_000

var started atomic.Int64

// Start starts c. Where the test fails, the end of its output is shown.
func Start(t testing.TB, c Command) *Process {
	t.Helper()
	p, err := start(t.TempDir(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("--- %s (%s)\n%s", p.Name, p.State(), p.Tail())
		}
	})
	return p
}

// Launch starts c outside of a test, with its output in files of dir, which is there. The caller ends it; it ends
// with this process at the latest.
func Launch(dir string, c Command) (*Process, error) { return start(dir, c) }

func start(dir string, c Command) (*Process, error) {
	base := filepath.Join(dir, fmt.Sprintf("%s-%d", strings.ReplaceAll(c.Name, " ", "-"), started.Add(1)))
	p := &Process{Name: c.Name, outPath: base + ".out", errPath: base + ".err", done: make(chan struct{})}
	stdout, err := os.Create(p.outPath)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	defer stdout.Close()
	stderr, err := os.Create(p.errPath)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	defer stderr.Close()
	p.cmd = exec.Command(c.Path, c.Args...)
	p.cmd.Dir, p.cmd.Env = c.Dir, append(os.Environ(), c.Env...)
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	dieWithParent(p.cmd)
	ready := make(chan error)
	go func() {
		// The death signal is bound to the thread that starts the child: it has to live as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		ready <- err
		if err != nil {
			return
		}
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Signal sends s; a process that ended already is no error.
func (p *Process) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.Send(s); err != nil {
		t.Fatal(err)
	}
}

// Send is Signal outside of a test.
func (p *Process) Send(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v to %s: %w", s, p.Name, err)
	}
	return nil
}

// Kill ends the process at once, as a power cut would, and waits until it is gone.
func (p *Process) Kill() {
	if !p.Ended() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Process.Signal(syscall.SIGCONT) // one that was stopped dies too
	}
	<-p.done
}

// Stop asks the process to end in order, and kills it where it does not. The exit code is -1 for a killed one.
func (p *Process) Stop(t testing.TB) (exitCode int) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	code, err := p.Wait(stopLimit)
	if err != nil {
		p.Kill()
		return -1
	}
	return code
}

// Wait waits for the end and returns the exit code, -1 for a process that a signal ended.
func (p *Process) Wait(limit time.Duration) (exitCode int, err error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-timer.C:
		return 0, fmt.Errorf("%s did not end within %v", p.Name, limit)
	}
}

// State says how the process is.
func (p *Process) State() string {
	if !p.Ended() {
		return "running"
	}
	return p.cmd.ProcessState.String()
}

// ErrPath is the file of what the process writes to stderr.
func (p *Process) ErrPath() string { return p.errPath }

// PeakMemory is the largest resident set in bytes of a process that has ended; zero where the system does not tell.
func (p *Process) PeakMemory() int64 {
	<-p.done
	return peakMemory(p.cmd.ProcessState)
}

// Stdout is what the process wrote so far.
func (p *Process) Stdout() string { return read(p.outPath) }

// Stderr is what the process wrote so far.
func (p *Process) Stderr() string { return read(p.errPath) }

func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Tail is the end of what the process wrote.
func (p *Process) Tail() string {
	return "stdout: " + tail(p.Stdout()) + "\nstderr: " + tail(p.Stderr())
}

func tail(s string) string {
	if len(s) > tailBytes {
		s = "..." + s[len(s)-tailBytes:]
	}
	return s
}
