package linger_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tillstream/tillstream/embedded/linger"
)

const session = time.Minute

// member speaks the group protocol by hand.
type member struct {
	t  *testing.T
	cl *kgo.Client
	id string
}

func newMember(t *testing.T, network *kfake.VirtualNetwork, broker string) *member {
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.DisableClientMetrics(), kgo.Dialer(func(ctx context.Context, n, _ string) (net.Conn, error) {
		return network.DialContext(ctx, n, broker)
	}))
	if err != nil {
		t.Fatal(err)
	}
	m := &member{t: t, cl: cl}
	if resp := m.join(); resp.ErrorCode != kerr.MemberIDRequired.Code {
		t.Fatalf("first join: %v", kerr.ErrorForCode(resp.ErrorCode))
	} else {
		m.id = resp.MemberID
	}
	return m
}

func (m *member) join() *kmsg.JoinGroupResponse {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = "g", m.id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(session.Milliseconds()), int32(session.Milliseconds())
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name = "range"
	req.Protocols = append(req.Protocols, p)
	resp, err := req.RequestWith(context.Background(), m.cl)
	if err != nil {
		return &kmsg.JoinGroupResponse{ErrorCode: -1}
	}
	return resp
}

// lead completes a rebalance as its leader.
func (m *member) lead() int32 {
	joined := m.join()
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = "g", m.id, joined.Generation
	resp, err := req.RequestWith(context.Background(), m.cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil || joined.LeaderID != m.id {
		m.t.Fatalf("lead generation %d of leader %q: %v", joined.Generation, joined.LeaderID, err)
	}
	return joined.Generation
}

func (m *member) heartbeat(generation int32) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = "g", m.id, generation
	resp, err := req.RequestWith(context.Background(), m.cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// A member whose process dies while its join waits for the others is one of the group until its session has run out,
// and then no longer.
func TestMemberThatDiesWhileItsJoinWaitsIsExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := new(kfake.VirtualNetwork)
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(linger.Listen(network.Listen)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		one, two := newMember(t, network, c.ListenAddrs()[0]), newMember(t, network, c.ListenAddrs()[0])
		defer one.cl.Close()
		one.lead()

		waits := make(chan struct{})
		go func() { two.join(); close(waits) }()
		synctest.Wait()
		two.cl.Close()
		<-waits
		generation := one.lead()

		expired := false
		for range 30 {
			if err := one.heartbeat(generation); err != nil {
				expired = true
				generation = one.lead()
			}
			time.Sleep(session / 10)
		}
		if !expired {
			t.Errorf("after %v the member that died has its share still", 3*session)
		}
	})
}
