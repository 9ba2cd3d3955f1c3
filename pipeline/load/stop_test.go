package load

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A Kafka that falls silent, and stays so, does not hold up the end: whether nothing was going on or an offset was being
// committed. The next owner finds what was stored and what was not.
func TestStopIsBoundedWhileKafkaIsSilent(t *testing.T) {
	if !clientInBubble {
		t.Skip("silence is waited for in virtual time: run it with -tags synctests")
	}
	for name, from := range map[string]kmsg.Key{"idle": kmsg.Fetch, "in a commit": kmsg.OffsetCommit, "in a comparison": kmsg.ListOffsets, "at the farewell": kmsg.LeaveGroup} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStorm(t, 1)
				s.calm = true
				s.start("a", "", 0)
				produce := func() {
					if err := s.side.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("v")}).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
				produce()
				time.Sleep(time.Minute)
				var armed, silent atomic.Bool
				s.cluster.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
					s.cluster.KeepControl()
					if armed.Load() && kmsg.Key(req.Key()) == from {
						silent.Store(true)
					}
					if silent.Load() {
						s.cluster.SleepControl(func() { time.Sleep(3 * time.Minute) })
					}
					return nil, nil, false
				})
				if from != kmsg.LeaveGroup {
					produce()
				}
				armed.Store(true)
				time.Sleep(inspectInterval + 5*time.Second)
				if got, want := silent.Load(), from != kmsg.LeaveGroup; got != want {
					t.Errorf("kafka is silent before the end: %t, want %t", got, want)
				}
				s.stop("a") // fails above 10 s
				armed.Store(false)
				silent.Store(false)
				time.Sleep(10 * time.Minute)
				s.quiet()
			})
		})
	}
}
