package pipeline

import "time"

// pace is how far apart a lane's transactions are: close while they are short and nothing waits, far where records do.
type pace struct {
	current time.Duration
	took    time.Duration // of a transaction, smoothed
}

func (p *pace) interval(o *EngineOptions) time.Duration { return max(p.current, o.CommitInterval) }

// ended notes a transaction. behind: more records wait than it took, so that the next would not catch up either; some
// always wait, those that came while it ended.
func (p *pace) ended(o *EngineOptions, took time.Duration, behind bool) {
	p.took += (took - p.took) / 8
	next := p.interval(o) / 2
	if behind {
		next = p.interval(o) * 2
	}
	// At most half of the time goes into ending transactions.
	p.current = min(max(next, 2*p.took), o.CommitIntervalMax)
}
