package parts

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisArguments are the settings of the server. docker-compose.yml has the same.
func RedisArguments() []string {
	return []string{"--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"}
}

const redisStartLimit = 20 * time.Second

// Redis is a server that can be killed, restarted and wiped.
type Redis struct {
	Address string // host:port
	path    string
	port    int
	dir     string
	process *Process
}

// StartRedis starts a server and returns when it answers. It ends with the test.
func StartRedis(t testing.TB) *Redis {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		Missing(t, "redis", "there is no redis-server in PATH; scripts/install.sh redis brings it")
	}
	r := &Redis{path: path, port: Port(t), dir: t.TempDir()}
	r.Address = fmt.Sprintf("127.0.0.1:%d", r.port)
	r.Start(t)
	return r
}

// Start starts a killed server again, on the same port and data.
func (r *Redis) Start(t testing.TB) {
	t.Helper()
	r.process = Start(t, Command{Name: "redis", Path: r.path, Dir: r.dir, Args: append([]string{
		"--bind", "127.0.0.1", "--port", fmt.Sprint(r.port), "--dir", r.dir, "--save", "",
	}, RedisArguments()...)})
	cl := redis.NewClient(&redis.Options{Addr: r.Address, Protocol: 2, DisableIdentity: true, MaxRetries: -1})
	defer cl.Close()
	Eventually(t, redisStartLimit, "redis answers", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return cl.Ping(ctx).Err()
	})
}

// Kill ends the server at once; what was not synced is lost, as it would be.
func (r *Redis) Kill() { r.process.Kill() }

// Wipe removes the data of a killed server.
func (r *Redis) Wipe(t testing.TB) {
	t.Helper()
	entries, err := os.ReadDir(r.dir)
	for _, e := range entries {
		if err == nil {
			err = os.RemoveAll(filepath.Join(r.dir, e.Name()))
		}
	}
	if err != nil {
		t.Fatalf("wipe redis: %v", err)
	}
}
