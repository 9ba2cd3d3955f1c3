package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// message is one request as it goes over the wire.
type message []byte

// messages are n genuine requests of s, signed at a time; forged ones have one digit of the body changed.
func messages(s source, given setup, n int, at time.Time, forged bool) ([]message, error) {
	out := make([]message, n)
	errs := make([]error, n)
	var group sync.WaitGroup
	for w := range runtime.NumCPU() {
		group.Go(func() {
			for i := w; i < n; i += runtime.NumCPU() {
				out[i], errs[i] = wire(s, given, i, at, forged)
			}
		})
	}
	group.Wait()
	return out, errors.Join(errs...)
}

func wire(s source, given setup, n int, at time.Time, forged bool) (message, error) {
	body := s.body(n)
	header, err := s.sign(given, body, n, at)
	if err != nil {
		return nil, err
	}
	if forged {
		at := bytes.LastIndexAny(body, "0123456789")
		body[at] = '0' + (body[at]-'0'+1)%10
	}
	r, err := http.NewRequest(http.MethodPost, "http://bench"+webhookPath, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header = header.Clone()
	if r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/json")
	}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// load is one run of the generator.
type load struct {
	address  string
	from     string // local address of the connections; empty: any
	messages []message
	clients  int           // connections, each with at most one request under way
	rate     float64       // requests a second in all, by the clock; 0: each follows the answer before
	warm     time.Duration // not counted
	length   time.Duration
	want     int // status that every answer must have; 0: any
}

// counted is what a run saw in its counted time.
type counted struct {
	answers  int64
	status   map[int]int64
	all      int64 // answers of the whole run, warm-up included
	perSec   float64
	latency  []time.Duration // sorted; from the time at which the request was due
	lateness time.Duration   // the most that the generator itself was behind its clock
}

func (c counted) percentile(p float64) time.Duration {
	if len(c.latency) == 0 {
		return 0
	}
	return c.latency[min(len(c.latency)-1, int(p*float64(len(c.latency))))]
}

// run sends until the time is over.
func (l load) run(ctx context.Context) (counted, error) {
	begin := time.Now()
	from, to := begin.Add(l.warm), begin.Add(l.warm+l.length)
	var next atomic.Int64
	parts := make([]counted, l.clients)
	errs := make([]error, l.clients)
	var group sync.WaitGroup
	for i := range l.clients {
		group.Go(func() { parts[i], errs[i] = l.client(ctx, i, begin, from, to, &next) })
	}
	group.Wait()
	sum := counted{status: map[int]int64{}}
	for _, p := range parts {
		sum.answers += p.answers
		sum.all += p.all
		for code, n := range p.status {
			sum.status[code] += n
		}
		sum.latency = append(sum.latency, p.latency...)
		sum.lateness = max(sum.lateness, p.lateness)
	}
	slices.Sort(sum.latency)
	sum.perSec = float64(sum.answers) / l.length.Seconds()
	return sum, errors.Join(errs...)
}

// client is one connection. It connects again where the server closes.
func (l load) client(ctx context.Context, i int, begin, from, to time.Time, next *atomic.Int64) (c counted, err error) {
	c.status = map[int]int64{}
	d := net.Dialer{Timeout: 5 * time.Second}
	if l.from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(l.from)}
	}
	var conn net.Conn
	var answers *bufio.Reader
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	for n := i; ; n += l.clients {
		due := time.Now()
		if l.rate > 0 {
			due = begin.Add(time.Duration(float64(next.Add(1)) / l.rate * float64(time.Second)))
			if due.After(to) {
				return c, nil
			}
			time.Sleep(time.Until(due))
		}
		if due.After(to) || ctx.Err() != nil {
			return c, ctx.Err()
		}
		if conn == nil {
			if conn, err = d.DialContext(ctx, "tcp", l.address); err != nil {
				return c, err
			}
			answers = bufio.NewReader(conn)
		}
		if _, err = conn.Write(l.messages[n%len(l.messages)]); err != nil {
			return c, err
		}
		code, closes, err := readAnswer(answers)
		if err != nil {
			return c, err
		}
		if l.want != 0 && code != l.want {
			return c, fmt.Errorf("answered %d, want %d", code, l.want)
		}
		if closes {
			_ = conn.Close()
			conn = nil
		}
		done := time.Now()
		c.all++
		if done.After(from) && done.Before(to) {
			c.answers++
			c.status[code]++
			c.latency = append(c.latency, done.Sub(due))
		}
	}
}

// readAnswer reads one HTTP/1.1 answer with a length, and as little as that takes: the generator shares the cores.
func readAnswer(r *bufio.Reader) (code int, closes bool, err error) {
	length := 0
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, false, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case first:
			if len(line) < 12 {
				return 0, false, fmt.Errorf("answer begins %q", line)
			}
			if code, err = strconv.Atoi(string(line[9:12])); err != nil {
				return 0, false, err
			}
		case len(line) == 0:
			_, err = r.Discard(length)
			return code, closes, err
		case bytes.HasPrefix(line, []byte("Content-Length: ")):
			if length, err = strconv.Atoi(string(line[len("Content-Length: "):])); err != nil {
				return 0, false, err
			}
		case bytes.EqualFold(line, []byte("Connection: close")):
			closes = true
		}
	}
}
