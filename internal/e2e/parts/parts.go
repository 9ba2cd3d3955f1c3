// Package parts starts the real programs that Tillstream runs on, an Apache Kafka and a Redis, for tests: on free
// ports, with their data in a folder of the test, without containers. Their settings are those of docker-compose.yml,
// which a test holds against them.
package parts

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// RequireEnv names the parts that must not be missing, separated by spaces: "chdb kafka redis". A test that lacks
// another part is skipped and says why; one that lacks a required part fails.
const RequireEnv = "TILLSTREAM_REQUIRE"

// Missing ends the test: it fails where part is required, and is skipped where it is not.
func Missing(t testing.TB, part, reason string) {
	t.Helper()
	if Required(part) {
		t.Fatalf("%s is required by %s=%q, and %s", part, RequireEnv, os.Getenv(RequireEnv), reason)
	}
	t.Skipf("without %s: %s", part, reason)
}

// Required reports whether the environment asks for part.
func Required(part string) bool {
	return slices.Contains(strings.Fields(os.Getenv(RequireEnv)), part)
}

// Root is the folder of the module that the working directory lies in.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("find the module: %w", err)
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("find the module: no go.mod above the working directory")
		}
		dir = up
	}
}

// Ports are taken from below the range that systems give to outgoing connections, so that a port stays free while the
// program that had it is restarted.
const (
	portFirst    = 20_000
	portLast     = 32_000
	portTriesMax = 200
)

// handed are the ports given out so far: a drawn port is free until its user starts, so it could be drawn again for
// another part of the same test.
var handed sync.Map

// Port is a free TCP port of this machine, another one at each call. Another process may still take it before its
// user does.
func Port(t testing.TB) int {
	t.Helper()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// FreePort is Port outside of a test.
func FreePort() (int, error) {
	for range portTriesMax {
		port := portFirst + rand.IntN(portLast-portFirst)
		if _, twice := handed.LoadOrStore(port, true); twice {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		l.Close()
		return port, nil
	}
	return 0, fmt.Errorf("no free port between %d and %d in %d tries", portFirst, portLast, portTriesMax)
}

// pollPause is the pause between two looks at a condition.
const pollPause = 50 * time.Millisecond

// Eventually looks until ok returns nil, and fails the test with its last error after limit.
func Eventually(t testing.TB, limit time.Duration, what string, ok func() error) {
	t.Helper()
	if err := eventually(limit, ok); err != nil {
		t.Fatalf("%s: not within %v: %v", what, limit, err)
	}
}

func eventually(limit time.Duration, ok func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := ok()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pollPause)
	}
}
