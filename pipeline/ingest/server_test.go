package ingest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// serve starts the real server of o on a loopback port.
func serve(t *testing.T, o Options) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := handler(t, o).Server(l.Addr().String())
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return l.Addr().String()
}

// TestSlowSenders: who is slow with headers or body is cut in bounded time, and does not keep others out.
func TestSlowSenders(t *testing.T) {
	s := &shelf{}
	o := options(s)
	o.ReadTimeout, o.ConcurrentMax = time.Second, 1
	addr := serve(t, o)
	begun := "POST " + path + " HTTP/1.1\r\nHost: x\r\nSig: good\r\n"
	var slow []net.Conn
	for _, text := range []string{begun, begun + "Content-Length: 100\r\n\r\nA", begun + "Transfer-Encoding: chunked\r\n\r\n5\r\nAB"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	res, err := http.DefaultClient.Do(request(t, addr, bytes.NewReader([]byte("A"))))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("got %d beside slow senders, want 200", res.StatusCode)
	}
	for i, c := range slow {
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second)) // the bound of the test, not what it measures
		if rest, err := io.ReadAll(c); err != nil {
			t.Errorf("sender %d was not cut: %v after %q", i, err, rest)
		}
	}
	if s.count() != 1 {
		t.Errorf("got %d appended, want 1", s.count())
	}
}

// TestABodyThatIsCutOff: what did not come whole is not kept, and its sender hears so.
func TestABodyThatIsCutOff(t *testing.T) {
	s := &shelf{}
	addr := serve(t, options(s))
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second)) // the bound of the test
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nSig: good\r\nContent-Length: 100\r\n\r\nA", path)
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadRequest || s.count() != 0 {
		t.Errorf("got %d with %d kept, want 400 with none", res.StatusCode, s.count())
	}
}

func request(t *testing.T, addr string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://"+addr+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sig", "good")
	return r
}

// endless is 10 GB of a body; it counts what was taken.
type endless struct{ left int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), e.left))
	e.left -= int64(n)
	return n, nil
}

// TestTenGigabytes: a chunked body without end is refused after the bound, not read.
func TestTenGigabytes(t *testing.T) {
	s := &shelf{}
	addr := serve(t, options(s))
	body := &endless{10 << 30}
	res, err := http.DefaultClient.Do(request(t, addr, body))
	if err == nil {
		res.Body.Close()
		if res.StatusCode != 413 {
			t.Errorf("got %d, want 413", res.StatusCode)
		}
	}
	if sent := 10<<30 - body.left; sent > 64<<20 {
		t.Errorf("got %d bytes taken, want a few socket buffers", sent)
	}
	if s.count() != 0 {
		t.Error("an oversize body was appended")
	}
}

// TestGzipBomb: a compressed body is refused unread, whatever it would become.
func TestGzipBomb(t *testing.T) {
	o := options(&shelf{})
	o.ReadTimeout = time.Hour // so that the answer cannot be what the time-out brings
	addr := serve(t, o)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second)) // the bound of the test
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nSig: good\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n", path)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("got %d before a byte of the body was sent, want 415", res.StatusCode)
	}
}

// TestKafkaAppender: nil means that the record is on the topic; a broker that does not answer gives an error in time.
func TestKafkaAppender(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ConsumeTopics(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := (KafkaAppender{Client: cl}).Append(ctx, topic, "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	fetched := cl.PollFetches(ctx).Records()
	if len(fetched) != 1 || string(fetched[0].Key) != "k" || string(fetched[0].Value) != "v" {
		t.Fatalf("got %d records, want k=v", len(fetched))
	}

	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mute, err := kgo.NewClient(kgo.SeedBrokers(l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	if err := (KafkaAppender{Client: mute, Wait: 100 * time.Millisecond}).Append(ctx, topic, "k", nil); err == nil || ctx.Err() != nil {
		t.Errorf("got %v from a mute broker, want an error in time", err)
	} else if !errors.Is(err, ErrUnknownResult) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want one that says the result is unknown", err)
	}
}
