// Package linger lets the broker's side of a connection outlive the client's, as if the client's machine had vanished
// without a word. kfake starts the session of a group's member when it answers the join, and never where the connection
// has closed by then: a process that dies while its join waits for the others would keep its partitions for ever. Kafka
// starts the session either way.
package linger

import (
	"net"
	"sync"
	"time"
)

// For is how long a connection lingers: longer than a join waits for the other members.
const For = 3 * time.Minute

// Listen returns listen with lingering connections, for kfake.ListenFn.
func Listen(listen func(network, address string) (net.Listener, error)) func(network, address string) (net.Listener, error) {
	return func(network, address string) (net.Listener, error) {
		l, err := listen(network, address)
		if err != nil {
			return nil, err
		}
		return listener{l}, nil
	}
}

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, closed: make(chan struct{})}, nil
}

type conn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

// Read reports the end of the connection only after For, or when the broker closes it.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil || n > 0 {
		return n, nil
	}
	t := time.NewTimer(For)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.closed:
	}
	return 0, err
}

// Write loses what the client is no longer there to read.
func (c *conn) Write(p []byte) (int, error) {
	if _, err := c.Conn.Write(p); err != nil {
		select {
		case <-c.closed:
			return 0, err
		default:
		}
	}
	return len(p), nil
}

func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
