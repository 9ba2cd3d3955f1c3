package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/beat"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
)

// The receiver's life while harm is done: it is away for longer than an outage begins to count (beat.Gap), so that
// deadlines are held, and fire together when its grace is over.
const (
	receiverName  = "chaos-receiver"
	receiverUp    = 20 * time.Second
	receiverAway  = 45 * time.Second
	receiverGrace = 8 * time.Second // stages.outage_grace of the configuration
)

// receiver is the load as the stages see it: who takes events, and says so.
type receiver struct {
	cluster *kafka.Cluster
	o       beat.Options
	append  func(ctx context.Context, b *schemas.ReceiverBeat) error
	cancel  context.CancelFunc
	steady  chan struct{} // closed: it stays
	once    sync.Once
	wg      sync.WaitGroup
}

func startReceiver(ctx context.Context, w *world) (*receiver, error) {
	cluster, err := kafka.NewCluster(kafka.Options{Brokers: w.cluster.direct(), ClientID: receiverName}, clock.System(), zerolog.Nop())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &receiver{
		cluster: cluster, cancel: cancel, steady: make(chan struct{}),
		o: beat.Options{Log: cluster, Decode: w.codec.Decode, Grace: receiverGrace, Lines: zerolog.Nop()},
		append: func(ctx context.Context, b *schemas.ReceiverBeat) error {
			value, err := w.codec.Encode(b)
			if err != nil {
				return fmt.Errorf("encode a beat: %w", err)
			}
			return w.load.client.ProduceSync(ctx, &kgo.Record{Topic: schemas.TopicReceiverBeats, Key: []byte(b.Instance), Value: value}).FirstErr()
		},
	}
	r.wg.Go(func() {
		for ctx.Err() == nil {
			r.live(ctx, w.say)
		}
	})
	return r, nil
}

// live is one span of being there, and one of being away; once the receiver stays, the first has no end.
func (r *receiver) live(ctx context.Context, say func(string, ...any)) {
	here, leave := context.WithCancel(ctx)
	defer leave()
	var beating sync.WaitGroup
	beating.Go(func() { beat.NewReceiver(r.o, receiverName, r.append).Run(here) })
	if !r.sleep(ctx, receiverUp) {
		<-ctx.Done()
		beating.Wait()
		return
	}
	leave()
	beating.Wait()
	say("no receiver is there for %v", receiverAway)
	r.sleep(ctx, receiverAway)
}

// sleep reports false where it ended early, because the receiver stays from now on.
func (r *receiver) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.steady:
	case <-ctx.Done():
	}
	return false
}

// stay ends the comings and goings.
func (r *receiver) stay() { r.once.Do(func() { close(r.steady) }) }

func (r *receiver) close() {
	r.cancel()
	r.wg.Wait()
	r.cluster.Close()
}
