package main

import (
	"bytes"
	"io"
	"net"
	"sync"
)

// harm is what is done to one insert.
type harm int

// Each leaves the writer without an answer.
const (
	cutInside  harm = iota // the connection ends when part of the rows has gone through
	cutAfter               // the server has the rows, its answer is lost
	killInside             // the loader is killed when part of the rows has gone through
	killAfter              // the server has the rows, the loader is killed before it hears of it
	harms
)

func (h harm) String() string {
	return [...]string{"connection cut within the rows", "answer cut", "loader killed within the rows", "loader killed before the answer"}[h]
}

// proxy stands between loaders and ClickHouse, and harms one insert when it is told to.
type proxy struct {
	listener net.Listener
	to       string
	mu       sync.Mutex
	armed    *order
}

// An order is for the next insert that comes.
type order struct {
	harm harm
	met  chan struct{} // closed when it was done; a kill is done by who gave the order, after it
}

func newProxy(to string) (*proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: listener, to: to}
	go p.serve()
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) arm(h harm) *order {
	k := &order{h, make(chan struct{})}
	p.mu.Lock()
	p.armed = k
	p.mu.Unlock()
	return k
}

// take returns what is armed, if the chunk begins an insert of records.
func (p *proxy) take(chunk []byte) *order {
	if !bytes.Contains(chunk, []byte("INSERT+INTO+events")) && !bytes.Contains(chunk, []byte("INSERT+INTO+transitions")) {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.armed
	p.armed = nil
	return k
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.pipe(client)
	}
}

func (p *proxy) pipe(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	var mu sync.Mutex
	var waiting *order // for the answer
	go func() {
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			mu.Lock()
			k := waiting
			mu.Unlock()
			if k != nil && n > 0 {
				close(k.met) // the server has answered; nobody hears it
				return
			}
			if n > 0 {
				if _, err := client.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 16<<10)
	for {
		n, err := client.Read(buf)
		if n > 0 {
			switch k := p.take(buf[:n]); {
			case k == nil:
			case k.harm == cutInside || k.harm == killInside:
				_, _ = server.Write(buf[:n*2/3])
				close(k.met)
				if k.harm == killInside { // the dead loader's end of the connection goes by itself
					_, _ = io.Copy(io.Discard, client)
				}
				return
			default:
				mu.Lock()
				waiting = k
				mu.Unlock()
			}
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
