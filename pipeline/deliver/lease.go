package deliver

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaseHook notes when the group's coordinator answers. What happens at a destination is fenced by nothing on Kafka, so
// a process that is cut off must stop by itself before the group gives its partitions to another.
type leaseHook struct{ d *Deliverer }

var _ kgo.HookBrokerRead = leaseHook{}

// OnBrokerRead implements kgo.HookBrokerRead.
func (h leaseHook) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if err != nil {
		return
	}
	switch kmsg.Key(key) {
	case kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat:
		h.d.heard.Store(h.d.opts.Now().UnixNano())
	}
}

// leased reports whether the group still counts on this process, with a third of its patience left for requests that
// are started now.
func (d *Deliverer) leased(now time.Time) bool {
	return now.UnixNano()-d.heard.Load() < int64(d.opts.session)*2/3
}
