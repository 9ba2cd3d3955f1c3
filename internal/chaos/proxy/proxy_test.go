package proxy

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// patience is many times what a local connection needs.
const patience = 20 * time.Second

// frame puts a request into bytes as kgo does: header version 1, or 2 where the request is flexible.
func frame(req kmsg.Request, correlation int32, client string) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID(client)).AppendRequest(nil, req, correlation)
}

func endTxn(version int16, commit bool) kmsg.Request {
	req := kmsg.NewPtrEndTxnRequest()
	req.SetVersion(version)
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = "tillstream-a-0", 7, 3, commit
	return req
}

// broker answers each frame with its correlation, an EndTxn as a broker does, and tells what it got.
func broker(t *testing.T) (addr string, got chan Request) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got = make(chan Request, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for {
					f, err := readFrame(c)
					if err != nil {
						return
					}
					r, err := ParseRequest(f[4:])
					if err != nil {
						return
					}
					got <- r
					if _, err := c.Write(answer(r)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), got
}

func answer(r Request) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(r.Correlation))
	if r.Key == EndTxn {
		resp := kmsg.NewPtrEndTxnResponse()
		resp.SetVersion(r.Version)
		if resp.IsFlexible() {
			b = append(b, 0)
		}
		b = resp.AppendTo(b)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func through(t *testing.T, o Options) (*Faults, net.Conn) {
	t.Helper()
	o.Listen, o.Faults = "127.0.0.1:0", NewFaults()
	p, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return o.Faults, c
}

func send(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

func TestFramesPassBothWays(t *testing.T) {
	addr, got := broker(t)
	_, c := through(t, Options{Target: addr, Kafka: true})
	meta := kmsg.NewPtrMetadataRequest()
	meta.SetVersion(9)
	for i, want := range []Request{
		{Key: 3, Version: 9, Correlation: 0, ClientID: "chaos-1"},
		{Key: 26, Version: 5, Correlation: 1, ClientID: "chaos-1", Transactional: "tillstream-a-0", Commit: true},
		{Key: 26, Version: 1, Correlation: 2, ClientID: "chaos-1", Transactional: "tillstream-a-0"},
	} {
		send(t, c, frame([]kmsg.Request{meta, endTxn(5, true), endTxn(1, false)}[i], int32(i), "chaos-1"))
		if diff := cmp.Diff(want, <-got); diff != "" {
			t.Errorf("request (-want +got):\n%s", diff)
		}
		f, err := readFrame(c)
		if err != nil || correlationOf(f[4:]) != int32(i) {
			t.Fatalf("answer %d: got %x, %v", i, f, err)
		}
	}
}

func TestACutHitsTheChosenRequestAtTheChosenMoment(t *testing.T) {
	for _, c := range []struct {
		when                When
		forwarded, answered bool
	}{{BeforeForward, false, false}, {AfterForward, true, true}, {AfterAnswer, true, true}} {
		t.Run(c.when.String(), func(t *testing.T) {
			addr, got := broker(t)
			faults, conn := through(t, Options{Target: addr, Kafka: true})
			k := &Cut{When: c.when, Match: func(r Request) bool { return r.Key == EndTxn && r.Commit }}
			faults.Arm(k)
			send(t, conn, frame(endTxn(5, false), 1, "chaos-1")) // an abort passes
			<-got
			if _, err := readFrame(conn); err != nil {
				t.Fatal(err)
			}
			send(t, conn, frame(endTxn(5, true), 2, "chaos-1"))
			if f, err := readFrame(conn); err == nil {
				t.Fatalf("the client got an answer: %x", f)
			}
			<-k.Settled()
			r := k.Result()
			if r.Forwarded != c.forwarded || r.Answered != c.answered || r.Code != 0 || r.Request.Correlation != 2 {
				t.Errorf("got %+v", r)
			}
			if c.forwarded {
				<-got
			}
			if n := len(got); n != 0 {
				t.Errorf("the broker got %d requests more", n)
			}
			if faults.Disarm(k) {
				t.Error("a cut that happened could be disarmed")
			}
		})
	}
}

func TestHalfOpenSwallowsAndClosesOnlyAfterwards(t *testing.T) {
	addr, got := broker(t)
	faults, c := through(t, Options{Target: addr, Kafka: true})
	meta := kmsg.NewPtrMetadataRequest()
	send(t, c, frame(meta, 1, "chaos-1"))
	<-got
	if _, err := readFrame(c); err != nil {
		t.Fatal(err)
	}
	faults.SetShape("chaos-2", Shape{Swallow: true})
	send(t, c, frame(meta, 2, "chaos-1"))
	<-got
	if _, err := readFrame(c); err != nil {
		t.Fatalf("another client's fault reached this one: %v", err)
	}
	faults.SetShape("chaos-1", Shape{Swallow: true})
	send(t, c, frame(meta, 3, "chaos-1"))
	if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var wait net.Error
	if _, err := c.Read(make([]byte, 1)); !asTimeout(err, &wait) {
		t.Fatalf("half-open: got %v, want no answer and no end", err)
	}
	faults.SetShape("chaos-1", Shape{})
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || asTimeout(err, &wait) {
		t.Errorf("after it lost bytes the connection goes on: %v", err)
	}
	if n := len(got); n != 0 {
		t.Errorf("the broker got %d requests more", n)
	}
}

func asTimeout(err error, as *net.Error) bool {
	ne, ok := err.(net.Error)
	*as = ne
	return ok && ne.Timeout()
}

func TestADelayHoldsUpAndAThrottleStretches(t *testing.T) {
	addr, _ := broker(t)
	for name, shape := range map[string]Shape{"delay": {Delay: 60 * time.Millisecond}, "throttle": {BytesPerSecond: 500}} {
		t.Run(name, func(t *testing.T) {
			faults, c := through(t, Options{Target: addr, Kafka: true})
			faults.SetShape("chaos-1", shape)
			started := time.Now()
			send(t, c, frame(endTxn(5, true), 1, "chaos-1"))
			if _, err := readFrame(c); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(started); took < 100*time.Millisecond {
				t.Errorf("there and back took %v", took)
			}
		})
	}
}

func TestOtherProtocolsPassAsBytes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	faults, c := through(t, Options{Target: l.Addr().String(), Client: "chaos-1"})
	send(t, c, []byte("PING\r\n"))
	got := make([]byte, 6)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "PING\r\n" {
		t.Fatalf("got %q, %v", got, err)
	}
	faults.SetShape("chaos-1", Shape{Swallow: true})
	send(t, c, []byte("PING\r\n"))
	faults.SetShape("chaos-1", Shape{Swallow: true})
	if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var wait net.Error
	if _, err := c.Read(got); !asTimeout(err, &wait) {
		t.Errorf("half-open: got %v", err)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add(frame(endTxn(5, true), 1, "chaos-1")[4:])
	f.Add(frame(endTxn(0, false), 1, "")[4:])
	f.Add([]byte{0, 26, 0, 5, 0, 0, 0, 1, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRequest(b)
		if err == nil && len(b) < 8 {
			t.Errorf("%x is too short for a header and gave %+v", b, r)
		}
	})
}
