package limits

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/internal/e2e/parts"
	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/simulators/getresponse"
)

// senderEnv makes the test's program a process that sends requests until it is killed.
const senderEnv = "TILLSTREAM_LIMITS_SENDER"

func TestMain(m *testing.M) {
	if text := os.Getenv(senderEnv); text != "" {
		if err := send(strings.Fields(text)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// providers are the accounts of the proof, with the limits that their documentation says.
var providers = map[string]struct {
	limits outbound.Limits
	path   string
	header [2]string
	atOnce int // requests of a process that want to leave
}{
	"activecampaign": {crm, "/api/3/tags?limit=1", [2]string{"Api-Token", "key"}, 5},
	"getresponse": {
		outbound.Limits{Windows: []outbound.Window{{Requests: 80, Per: time.Second}, {Requests: 30_000, Per: 10 * time.Minute}}, Parallel: 10},
		"/v3/tags",
		[2]string{"X-Auth-Token", "api-key key"},
		15,
	},
}

// send is one process: provider, its address, redis.
func send(args []string) error {
	p := providers[args[0]]
	client := redis.NewClient(&redis.Options{Addr: args[2], DialTimeout: time.Second, ReadTimeout: time.Second})
	book := New(Options{Redis: client, Instance: "one", Now: time.Now})
	hc, err := outbound.NewClient(outbound.Options{AllowPrivate: true, Limiter: book.Use("account", "destination "+args[0], p.limits)})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for range p.atOnce {
		go func() {
			for {
				req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, args[1]+p.path, nil)
				if err != nil {
					failed <- err
					return
				}
				req.Header.Set(p.header[0], p.header[1])
				resp, err := hc.Do(req)
				if err != nil {
					failed <- err
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}()
	}
	return <-failed
}

// Three processes of the operating system, which are stopped and go on at any moment, on a real Redis that twice is killed
// and comes back empty, send to an account that counts what arrives strictly. By virtual time the same holds exactly; here
// one arrival in a hundred may be early by what the machine delays another.
func TestProcessesAtAStrictProvider(t *testing.T) {
	if testing.Short() {
		t.Skip("takes several seconds")
	}
	for _, tt := range []struct {
		provider string
		handler  func() (h http.Handler, requests, tooMany, second, parallel func() int)
		step     int // requests of the others while one is stopped, at most
		limit    int
	}{
		{"activecampaign", func() (http.Handler, func() int, func() int, func() int, func() int) {
			s := activecampaign.New(activecampaign.Options{Key: "key", RatePerSecond: 5})
			return s.Handler(), func() int { return int(s.Stats().Requests) }, func() int { return int(s.Stats().TooMany) },
				func() int { return s.Stats().MaxPerSecond }, func() int { return 0 }
		}, 5, 5},
		{"getresponse", func() (http.Handler, func() int, func() int, func() int, func() int) {
			s, err := getresponse.New(getresponse.Options{APIKey: "key"})
			if err != nil {
				panic(err)
			}
			return s.Handler(), func() int { return int(s.Stats().Requests) }, func() int { return int(s.Stats().TooMany) },
				func() int { return s.Stats().MaxPerSecond }, func() int { return s.Stats().MaxParallel }
		}, 60, 80},
	} {
		t.Run(tt.provider, func(t *testing.T) {
			memory := parts.StartRedis(t)
			h, requests, tooMany, second, parallel := tt.handler()
			srv := httptest.NewServer(h)
			defer srv.Close()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			var processes []*parts.Process
			for range 3 {
				processes = append(processes, parts.Start(t, parts.Command{
					Name: "sender", Path: self, Dir: t.TempDir(), Args: []string{"-test.run=^$"},
					Env: []string{senderEnv + "=" + strings.Join([]string{tt.provider, srv.URL, memory.Address}, " ")},
				}))
			}
			random := rand.New(rand.NewPCG(8, 8))
			more := func(n int) {
				before := requests()
				parts.Eventually(t, 30*time.Second, fmt.Sprintf("%d more requests", n), func() error {
					if got := requests() - before; got < n {
						return fmt.Errorf("got %d; processes %v", got, []string{processes[0].State(), processes[1].State(), processes[2].State()})
					}
					return nil
				})
			}
			more(tt.step)
			for round := range 12 {
				if round%5 == 4 {
					memory.Kill()
					memory.Wipe(t)
					memory.Start(t)
				}
				p := processes[random.IntN(len(processes))]
				p.Signal(t, syscall.SIGSTOP)
				more(1 + random.IntN(tt.step))
				p.Signal(t, syscall.SIGCONT)
				more(1 + random.IntN(tt.step))
			}
			for _, p := range processes {
				p.Kill()
			}
			early := max(1, requests()/100)
			if second() > tt.limit+early || tooMany() > early {
				t.Errorf("got at most %d a second and %d refused of %d requests, want %d and none but %d", second(), tooMany(), requests(), tt.limit, early)
			}
			if parallel() > 10 {
				t.Errorf("got %d at a time, want 10 at most", parallel())
			}
			t.Logf("%d requests, at most %d a second, %d at a time, %d refused", requests(), second(), parallel(), tooMany())
		})
	}
}

// thrownAway is how many turns of an account came too late to be used.
func thrownAway(b *Book, name string) int {
	b.mu.Lock()
	a := b.accounts[name]
	b.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	return int(a.counts.discarded)
}

// The scripts run on the real Redis as on the one of the tests. A turn that comes late, on a machine that has other things
// to do, is thrown away and counts nevertheless: the windows have room for such.
func TestScriptsOnARealRedis(t *testing.T) {
	memory := parts.StartRedis(t)
	client := redis.NewClient(&redis.Options{Addr: memory.Address})
	defer client.Close()
	b := New(Options{Redis: client, Instance: "one", Now: time.Now})
	defer b.Close()
	const room = 30
	l := outbound.Limits{
		Windows: []outbound.Window{{Requests: 100, Per: time.Second}, {Requests: room, Per: time.Hour}}, Parallel: 2,
		Buckets: []outbound.Bucket{{Name: "bulk", Windows: []outbound.Window{{Requests: room, Per: time.Minute}}}},
	}
	u := b.Use("crm", "destination one", l)
	first, err := u.Acquire(outbound.InBucket(t.Context(), "bulk"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := u.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := b.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v, late := list[0], thrownAway(b, "crm")
	if v.InParallel != 2 || len(v.Windows) != 3 || v.Windows[1].Used != 2+late || v.Windows[1].Left != room-2-late || v.Windows[2].Used < 1 || v.Windows[2].Used > 1+late || v.Windows[2].Bucket != "bulk" {
		t.Errorf("got %+v, want two requests on their way, one of the bucket, and %d thrown away", v, late)
	}
	first.Done(outbound.Feedback{Status: 200, Latency: time.Millisecond})
	second.Done(outbound.Feedback{Status: 429, Hold: 300 * time.Millisecond, Told: outbound.Told{Limit: 100, Left: 0}})
	if list, err = b.Look(t.Context()); err != nil || list[0].InParallel != 0 || list[0].HoldUntil.IsZero() || list[0].HoldWhy != "status 429" || list[0].Share != cutRefused {
		t.Errorf("got %+v, %v; want a hold with its reason, and a lower rate", list, err)
	}
	granted := 2
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // less than it waits before it asks again
		turn, err := u.Acquire(ctx)
		cancel()
		if err != nil {
			if !strings.Contains(err.Error(), "longer window") {
				t.Fatalf("after %d turns: %v, want the longer window to be used up", granted, err)
			}
			break
		}
		granted++
		turn.Done(outbound.Feedback{Status: 200})
	}
	if late := thrownAway(b, "crm"); granted+late != room {
		t.Errorf("%d turns were given and %d thrown away, want %d together", granted, late, room)
	}
	for _, key := range []string{"state", "windows", "leases", "uses", "waiting"} {
		name := "tillstream:limit:{crm}:" + key
		if ttl, err := client.PTTL(t.Context(), name).Result(); err != nil || ttl == -1 {
			t.Errorf("%s lives for %s, %v; want an end", name, ttl, err)
		}
	}
	var out bytes.Buffer
	for _, key := range []string{"state", "windows"} {
		fmt.Fprintln(&out, client.HGetAll(t.Context(), "tillstream:limit:{crm}:"+key).Val())
	}
	if strings.Contains(out.String(), "e+") {
		t.Errorf("a number lost digits: %s", out.String())
	}
}
