// Package proxy is a TCP proxy that knows just enough of Kafka's protocol to be cruel at the right moment: it can cut a
// connection after an EndTxn was forwarded and before its answer is back, and it can delay, throttle and half-open
// what one client sends and gets. Other protocols pass as bytes.
package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// frameBytesMax bounds one frame; Kafka's own default is 100 MiB.
	frameBytesMax = 100 << 20
	chunkBytes    = 32 << 10 // of a protocol that is not understood
	dialTimeout   = 5 * time.Second
	// answerWait bounds the wait for the answer of a request whose connection was cut.
	answerWait = 15 * time.Second
)

// Options of one proxy.
type Options struct {
	Listen string // host:port; port 0 takes a free one
	Target string // host:port
	// Kafka: the bytes are Kafka's, and each connection's client names itself in its requests.
	Kafka bool
	// Client names whoever connects, where the protocol does not.
	Client string
	Faults *Faults
}

// Proxy is one listener and what goes through it.
type Proxy struct {
	o      Options
	l      net.Listener
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  map[*conn]struct{}
	closed bool
}

// Start listens. The caller closes the proxy.
func Start(o Options) (*Proxy, error) {
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("proxy for %s: %w", o.Target, err)
	}
	if o.Faults == nil {
		o.Faults = NewFaults()
	}
	p := &Proxy{o: o, l: l, conns: map[*conn]struct{}{}}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

// Close ends the listener and every connection, and waits for both.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.cut()
	}
	p.mu.Unlock()
	_ = p.l.Close()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.l.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	server, err := net.DialTimeout("tcp", p.o.Target, dialTimeout)
	if err != nil {
		refuse(client)
		return
	}
	c := &conn{p: p, client: client, server: server, done: make(chan struct{}), name: p.o.Client, asked: map[int32]*Cut{}}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		c.cut()
		return
	}
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	p.o.Faults.join(c)
	var both sync.WaitGroup
	if p.o.Kafka {
		both.Go(c.requests)
		both.Go(c.answers)
	} else {
		both.Go(func() { c.bytes(client, server) })
		both.Go(func() { c.bytes(server, client) })
	}
	both.Wait()
	c.cut()
	p.o.Faults.leave(c)
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

// refuse closes a connection as if nobody had listened: with a reset, not with an orderly end.
func refuse(client net.Conn) {
	if tcp, ok := client.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = client.Close()
}

// conn is one client's connection and the one to the server that belongs to it.
type conn struct {
	p              *Proxy
	client, server net.Conn
	done           chan struct{}
	once           sync.Once

	mu    sync.Mutex
	name  string         // of the client; empty: not known yet
	lost  bool           // bytes were swallowed: what comes after them makes no sense
	asked map[int32]*Cut // requests on their way whose answer must not arrive, by correlation
}

func (c *conn) cut() {
	c.once.Do(func() {
		close(c.done)
		_ = c.client.Close()
		_ = c.server.Close()
	})
}

// shape applies what is wrong with the client's network to n bytes. It reports false where they are swallowed, or the
// connection ended.
func (c *conn) shape(n int) bool {
	s := c.p.o.Faults.judge(c)
	if s.Swallow {
		return false
	}
	wait := s.Delay
	if s.BytesPerSecond > 0 {
		wait += time.Duration(n) * time.Second / time.Duration(s.BytesPerSecond)
	}
	if wait <= 0 {
		return true
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.done:
		return false
	}
}

// bytes copies one direction of a protocol that is not understood. The end of one direction ends both.
func (c *conn) bytes(from, to net.Conn) {
	defer c.cut()
	buf := make([]byte, chunkBytes)
	for {
		n, err := from.Read(buf)
		if n > 0 && c.shape(n) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// requests forwards the client's frames, one by one.
func (c *conn) requests() {
	defer c.cut()
	for {
		frame, err := readFrame(c.client)
		if err != nil {
			return
		}
		r, err := ParseRequest(frame[4:])
		if err != nil {
			return
		}
		if r.ClientID != "" {
			c.mu.Lock()
			c.name = r.ClientID
			c.mu.Unlock()
		}
		if !c.shape(len(frame)) {
			continue
		}
		k := c.p.o.Faults.take(r)
		if k == nil {
			if _, err := c.server.Write(frame); err != nil {
				return
			}
			continue
		}
		c.spoil(k, r, frame)
		return
	}
}

// spoil is what happens to the one request that a Cut chose.
func (c *conn) spoil(k *Cut, r Request, frame []byte) {
	if k.When == BeforeForward {
		k.settle(Result{Request: r})
		return
	}
	c.mu.Lock()
	c.asked[r.Correlation] = k
	c.mu.Unlock()
	if _, err := c.server.Write(frame); err != nil {
		k.settle(Result{Request: r})
		return
	}
	if k.When == AfterForward {
		_ = c.client.Close() // the client knows nothing more; the broker still works
	}
	_ = c.server.SetReadDeadline(time.Now().Add(answerWait))
	select {
	case <-k.settled:
	case <-c.done:
		k.settle(Result{Request: r, Forwarded: true})
	}
}

// answers forwards the broker's frames, but not the one that a cut waits for.
func (c *conn) answers() {
	defer c.cut()
	for {
		frame, err := readFrame(c.server)
		if err != nil {
			return
		}
		if len(frame) < 8 {
			return
		}
		c.mu.Lock()
		k := c.asked[correlationOf(frame[4:])]
		c.mu.Unlock()
		if k != nil {
			k.settle(Result{Request: k.request, Forwarded: true, Answered: true, Code: answerCode(k.request, frame[4:])})
			return
		}
		if !c.shape(len(frame)) {
			continue
		}
		if _, err := c.client.Write(frame); err != nil && !c.waiting() {
			return
		}
	}
}

// waiting reports whether an answer is awaited for its own sake, whether or not the client is still there.
func (c *conn) waiting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.asked) > 0
}

var errFrame = errors.New("a frame is longer than any of Kafka's")

// readFrame returns one frame with its length in front.
func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(int32(be32(head[:])))
	if n < 0 || n > frameBytesMax {
		return nil, errFrame
	}
	frame := make([]byte, 4+n)
	copy(frame, head[:])
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}
