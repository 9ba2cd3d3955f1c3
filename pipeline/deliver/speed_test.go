package deliver

import (
	"context"
	"fmt"
	"net/http/httptest"
	"runtime/pprof"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/limits"
	"github.com/tillstream/tillstream/schemas"
	twin "github.com/tillstream/tillstream/simulators/activecampaign"
	"github.com/tillstream/tillstream/sinks"
	"github.com/tillstream/tillstream/sinks/activecampaign"
)

// BenchmarkAccount delivers to a simulated account without a limit, through the network and with all that lies between:
// limiter, recording, masking, receipts. Kafka and the account are in the process: its profile (-cpuprofile, then
// go tool pprof -tags) tells them apart by the label "part".
func BenchmarkAccount(b *testing.B) {
	const contacts = 10_000
	for _, work := range []struct {
		name string
		make func(r *rig, i int) schemas.Command
	}{
		{"states", func(r *rig, i int) schemas.Command { return r.paid(i) }},
		{"tagged", func(r *rig, i int) schemas.Command {
			c := r.paid(i)
			c.Contact.Tags = []string{"paid"}
			return c
		}},
		{"effects", func(r *rig, i int) schemas.Command { return r.effect(fmt.Sprintf("c%d@shop.example", i)) }},
	} {
		b.Run(work.name, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				var r *rig
				part("kafka", func() { r = newRig(b) })
				account := twin.New(twin.Options{Key: "key", Faults: twin.Faults{Tracking: true}})
				var srv *httptest.Server
				part("account", func() { srv = httptest.NewServer(account.Handler()) })
				w := openAccount(b, srv.URL)
				var cmds []schemas.Command
				for i := range contacts {
					cmds = append(cmds, work.make(r, i))
				}
				for at := 0; at < contacts; at += 2000 {
					r.produce(cmds[at : at+2000]...)
				}
				o := r.options("one", w)
				o.session = sessionTimeout
				b.StartTimer()
				began, used := time.Now(), processorTime(b)
				var run *running
				part("deliver", func() { run = r.start(o) })
				run.through(contacts)
				took, used := time.Since(began), processorTime(b)-used
				b.StopTimer()
				requests := float64(account.Stats().Requests + account.Stats().Events)
				if requests < contacts {
					b.Fatalf("%v requests for %d commands: they were not delivered", requests, contacts)
				}
				b.ReportMetric(requests/took.Seconds(), "requests/s")
				b.ReportMetric(requests/contacts, "requests/command")
				b.ReportMetric(float64(used.Microseconds())/requests, "cpu-us/request")
				run.stop()
				srv.Close()
			}
		})
	}
}

// through waits until the first so many commands of partition 0 ended, however long: a benchmark may run on a busy
// machine. It takes less of the processor than Status.
func (r *running) through(commands int64) {
	r.t.Helper()
	for {
		r.mu.Lock()
		w := r.windows[0]
		ended := w != nil && w.next >= commands && w.unfinished() == 0
		r.mu.Unlock()
		if ended {
			return
		}
		select {
		case err := <-r.done:
			r.t.Fatalf("it ended before: %v", err)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// paid is a desired state as one payment makes it.
func (r *rig) paid(i int) schemas.Command {
	c := r.contact(fmt.Sprintf("c%d@shop.example", i), 1)
	c.RootKey, c.EventID = fmt.Sprintf("live/paypal/shop/PAY-%d", i), fmt.Sprintf("WH-%d", i)
	c.Contact.FirstName, c.Contact.LastName = "Jana", "Example"
	c.Contact.Fields = map[string]string{"ORDER_ID": fmt.Sprint(i), "ORDER_STATUS": "paid", "ORDER_AMOUNT": "10.00", "ORDER_CURRENCY": "EUR"}
	return c
}

// openAccount is a writer to a simulated account, as the engine opens one.
func openAccount(t testing.TB, url string) sinks.Writer {
	t.Helper()
	memory := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = memory.Close() })
	book := limits.New(limits.Options{Redis: memory, Instance: "one", Now: time.Now})
	t.Cleanup(book.Close)
	client, err := outbound.NewClient(outbound.Options{AllowPrivate: true, Limiter: book.Use("crm", "destination crm", outbound.Limits{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	cfg := activecampaign.Sink.Config().(*activecampaign.Config)
	cfg.URL, cfg.Key = url, schemas.NewSecret("key")
	cfg.EventTracking = activecampaign.EventTracking{AccountID: "1000", Key: schemas.NewSecret("key"), URL: url + "/event"}
	w, err := activecampaign.Sink.Open(t.Context(), cfg, sinks.Env{Destination: "crm", Now: time.Now, HTTP: client})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// part names what the goroutines that start starts work for.
func part(name string, start func()) {
	pprof.Do(context.Background(), pprof.Labels("part", name), func(context.Context) { start() })
}

// processorTime is what the process has used so far.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
