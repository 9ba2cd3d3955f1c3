package deliver

import "time"

// hear notes that the group's coordinator answered. What happens at a destination is fenced by nothing on Kafka, so a
// process that is cut off must stop by itself before the group gives its partitions to another.
func (d *Deliverer) hear() { d.heard.Store(d.clock.Now().UnixNano()) }

// leased reports whether the group still counts on this process, with a third of its patience left for requests that
// are started now.
func (d *Deliverer) leased(now time.Time) bool {
	return now.UnixNano()-d.heard.Load() < int64(d.opts.session)*2/3
}
