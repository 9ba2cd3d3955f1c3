package parts

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// fakeTB records how a test ended.
type fakeTB struct {
	testing.TB
	fatal, skipped string
}

func (f *fakeTB) Helper()                        {}
func (f *fakeTB) Fatalf(format string, _ ...any) { f.fatal = format; panic(f) }
func (f *fakeTB) Skipf(format string, _ ...any)  { f.skipped = format; panic(f) }

func TestAMissingPartIsSkippedUnlessItIsRequired(t *testing.T) {
	for _, c := range []struct {
		require, part string
		fails         bool
	}{
		{"", "kafka", false},
		{"kafka", "kafka", true},
		{"chdb redis", "kafka", false},
		{"chdb kafka redis", "kafka", true},
		{"kafkas", "kafka", false},
	} {
		t.Setenv(RequireEnv, c.require)
		f := &fakeTB{TB: t}
		func() {
			defer func() { recover() }()
			Missing(f, c.part, "it is not here")
		}()
		if (f.fatal != "") != c.fails || (f.skipped != "") == c.fails {
			t.Errorf("required %q, missing %s: got failed %v skipped %v, want failed %v", c.require, c.part, f.fatal != "", f.skipped != "", c.fails)
		}
	}
}

func TestAProcessTellsHowItEnded(t *testing.T) {
	p := Start(t, Command{Name: "shell", Path: "/bin/sh", Args: []string{"-c", "echo out; echo err >&2; exit 7"}})
	code, err := p.Wait(10 * time.Second)
	if err != nil || code != 7 {
		t.Fatalf("got code %d, %v; want 7", code, err)
	}
	if p.Stdout() != "out\n" || p.Stderr() != "err\n" {
		t.Errorf("got stdout %q stderr %q", p.Stdout(), p.Stderr())
	}
	stopped := Start(t, Command{Name: "sleeper", Path: "/bin/sleep", Args: []string{"60"}})
	if _, err := stopped.Wait(time.Millisecond); err == nil {
		t.Error("Wait returned before the end")
	}
	stopped.Signal(t, syscall.SIGSTOP)
	stopped.Kill()
	if !strings.Contains(stopped.State(), "killed") {
		t.Errorf("state of a killed process: got %q", stopped.State())
	}
}

func TestEventuallyReportsTheLastError(t *testing.T) {
	n := 0
	if err := eventually(10*time.Second, func() error {
		if n++; n < 3 {
			return errors.New("not yet")
		}
		return nil
	}); err != nil || n != 3 {
		t.Errorf("got %v after %d looks, want nil after 3", err, n)
	}
	if err := eventually(0, func() error { return errors.New("never") }); err == nil || err.Error() != "never" {
		t.Errorf("got %v, want never", err)
	}
}

func TestKafkaKeepsARecordOverAKill(t *testing.T) {
	k := StartKafka(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.Address), kgo.ConsumeTopics("things"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, "things"); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "things", Value: []byte("kept")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	k.Kill()
	k.Restart(t)
	fetches := cl.PollFetches(ctx)
	for ; fetches.NumRecords() == 0 && ctx.Err() == nil; fetches = cl.PollFetches(ctx) {
	}
	if got := string(fetches.Records()[0].Value); got != "kept" {
		t.Errorf("got %q, want kept", got)
	}
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "no-such-topic", Value: []byte("x")}).FirstErr(); err == nil {
		t.Error("a topic was made by itself: a misspelt name would be one more topic")
	}
}

func TestRedisForgetsOnlyWhatWasWiped(t *testing.T) {
	r := StartRedis(t)
	cl := redis.NewClient(&redis.Options{Addr: r.Address, Protocol: 2, DisableIdentity: true})
	defer cl.Close()
	if err := cl.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	// A kill loses what the operating system was not handed yet: nothing, since the server writes before it answers.
	r.Kill()
	r.Start(t)
	if got, err := cl.Get(t.Context(), "k").Result(); got != "v" {
		t.Fatalf("after a kill: got %q, %v", got, err)
	}
	r.Kill()
	r.Wipe(t)
	r.Start(t)
	if _, err := cl.Get(t.Context(), "k").Result(); !errors.Is(err, redis.Nil) {
		t.Errorf("after a wipe: got %v, want nothing", err)
	}
}

func TestRootHoldsTheModule(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(root + "/docker-compose.yml"); err != nil {
		t.Error(err)
	}
}

// Two parts of one test once got the same port, and the second could not start: a drawn port is free until its user has
// taken it.
func TestAPortIsHandedOutOnce(t *testing.T) {
	seen := map[int]bool{}
	for range 500 {
		p := Port(t)
		if seen[p] {
			t.Fatalf("port %d was handed out twice", p)
		}
		seen[p] = true
	}
}
