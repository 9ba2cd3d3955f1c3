package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/internal/e2e/parts"
)

const (
	redisLimit   = 30 * time.Second
	snapshotsMax = 6
)

// server is a redis-server whose data can be exchanged for an older copy.
type server struct {
	address string
	client  *redis.Client
	path    string
	port    int
	root    string // holds the data folder and the copies
	taken   int

	mu      sync.Mutex // one exchange at a time
	process *parts.Process
	copies  []string
}

func startRedis(ctx context.Context, root string) (*server, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("there is no redis-server in PATH; scripts/install.sh redis brings it")
	}
	port, err := parts.FreePort()
	if err != nil {
		return nil, err
	}
	s := &server{path: path, port: port, root: root, address: fmt.Sprintf("127.0.0.1:%d", port)}
	s.client = redis.NewClient(&redis.Options{Addr: s.address, Protocol: 2, DisableIdentity: true})
	return s, s.start(ctx)
}

func (s *server) data() string { return filepath.Join(s.root, "data") }

func (s *server) start(ctx context.Context) error {
	if err := os.MkdirAll(s.data(), 0o700); err != nil {
		return err
	}
	p, err := parts.Launch(s.root, parts.Command{Name: "redis", Path: s.path, Dir: s.data(), Args: append([]string{
		"--bind", "127.0.0.1", "--port", fmt.Sprint(s.port), "--dir", s.data(), "--save", "",
	}, parts.RedisArguments()...)})
	if err != nil {
		return err
	}
	s.process = p
	return await(ctx, redisLimit, "redis answers", func(ctx context.Context) error {
		if p.Ended() {
			return fmt.Errorf("redis ended: %s", p.Tail())
		}
		return s.client.Ping(ctx).Err()
	})
}

// snapshot keeps a copy of the data as it is now. The server is stopped meanwhile, so that a rewrite of its files
// does not run beside the copying.
func (s *server) snapshot() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.process.Send(syscall.SIGSTOP); err != nil {
		return err
	}
	s.taken++
	dir := filepath.Join(s.root, fmt.Sprintf("copy-%d", s.taken))
	err := os.CopyFS(dir, os.DirFS(s.data()))
	if serr := s.process.Send(syscall.SIGCONT); serr != nil {
		return serr
	}
	if err != nil {
		return fmt.Errorf("copy the data of redis: %w", err)
	}
	s.copies = append(s.copies, dir)
	if len(s.copies) > snapshotsMax {
		_ = os.RemoveAll(s.copies[0])
		s.copies = s.copies[1:]
	}
	return nil
}

// replace kills the server and starts it on an older copy, chosen by pick, or on nothing. It says how many copies
// back that was; 0: empty.
func (s *server) replace(ctx context.Context, empty bool, pick uint64, down time.Duration) (back int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process.Kill()
	if err := os.RemoveAll(s.data()); err != nil {
		return 0, err
	}
	if !empty && len(s.copies) > 0 {
		i := int(pick % uint64(len(s.copies)))
		back = len(s.copies) - i
		if err := os.CopyFS(s.data(), os.DirFS(s.copies[i])); err != nil {
			return 0, err
		}
	}
	if err := pause(ctx, down); err != nil {
		return 0, err
	}
	return back, s.start(ctx)
}

// flush empties the running server.
func (s *server) flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client.FlushAll(ctx).Err()
}

func (s *server) close() {
	_ = s.client.Close()
	if s.process != nil {
		s.process.Kill()
	}
}
