package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/embedded"
	"github.com/tillstream/tillstream/embedded/chdb"
	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/web/browsertest"
)

// serveEnv turns the test's binary into a process that serves one embedded part, "registry" or "clickhouse", so that
// it can be killed by itself. Its value is part, folder and port.
const serveEnv = "TILLSTREAM_E2E_SERVE"

// binary is the built program.
var binary string

func TestMain(m *testing.M) {
	if what := os.Getenv(serveEnv); what != "" {
		if err := serve(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tillstream-e2e-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer browsertest.Stop()
	return m.Run()
}

// build reads every source, which tells go test's cache what the tests depend on, and builds the program.
func build(dir string) error {
	root, err := parts.Root()
	if err != nil {
		return err
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if err == nil && !d.IsDir() && slices.Contains([]string{".go", ".yaml", ".json", ".avsc"}, filepath.Ext(path)) {
			_, err = os.ReadFile(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	binary = filepath.Join(dir, "tillstream")
	c := exec.Command("go", "build", "-o", binary, "./cmd/tillstream")
	c.Dir, c.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// serve runs one embedded part until the process is told to stop.
func serve(what string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fields := strings.Split(what, "|")
	port, err := strconv.Atoi(fields[2])
	if err != nil {
		return err
	}
	o := embedded.Options{Dir: fields[1], Log: zerolog.New(os.Stderr).Level(zerolog.WarnLevel)}
	for _, part := range []string{embedded.Kafka, embedded.Registry, embedded.Redis, embedded.ClickHouse} {
		if part != fields[0] {
			o.Without = append(o.Without, part)
		}
	}
	o.RegistryPort, o.ClickHousePort = port, port
	s, err := embedded.Start(ctx, o)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return s.Close()
}

// needClickHouse ends the test where the library of the embedded ClickHouse is missing. It returns what tells a child
// in another folder where the library is.
func needClickHouse(t *testing.T) (env string) {
	t.Helper()
	path, err := chdb.Find()
	if err != nil {
		parts.Missing(t, "chdb", err.Error())
	}
	return chdb.EnvLibrary + "=" + path
}
