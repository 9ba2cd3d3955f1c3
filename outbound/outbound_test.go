package outbound

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newTestClient(t *testing.T, o Options) *http.Client {
	t.Helper()
	o.AllowPrivate = true
	client, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func TestAllowedAddresses(t *testing.T) {
	const nobody, private, everybody = "never", "with AllowPrivate", "always"
	tests := map[string]string{
		"93.184.216.34": everybody, "2606:2800:220:1::1": everybody, "::ffff:93.184.216.34": everybody, "64:ff9b::5db8:d822": everybody,
		"127.0.0.1": private, "127.8.8.8": private, "::1": private, "10.1.2.3": private, "172.31.0.1": private, "192.168.1.1": private,
		"100.64.0.1": private, "198.18.0.1": private, "fc00::1": private, "fd12::1": private, "::ffff:127.0.0.1": private,
		"::ffff:10.0.0.1": private, "64:ff9b::a00:1": private, "2002:a00:1::": private, "::127.0.0.1": private,
		"0.0.0.0": nobody, "::": nobody, "169.254.169.254": nobody, "169.254.1.1": nobody, "::ffff:169.254.169.254": nobody,
		"100.100.100.200": nobody, "fd00:ec2::254": nobody, "fe80::1": nobody, "fe80::1%eth0": nobody, "224.0.0.1": nobody,
		"255.255.255.255": nobody, "168.63.129.16": nobody, "ff02::1": nobody, "64:ff9b::a9fe:a9fe": nobody, "2002:a9fe:a9fe::": nobody,
	}
	for text, want := range tests {
		got := nobody
		if addr := netip.MustParseAddr(text); allowed(addr, false) {
			got = everybody
		} else if allowed(addr, true) {
			got = private
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestGuardRefusesBeforeAnyConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	accepted := make(chan struct{}, 1)
	go func() {
		if conn, err := ln.Accept(); err == nil {
			conn.Close()
			accepted <- struct{}{}
		}
	}()
	client, err := NewClient(Options{})
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1"} {
		resp, err := client.Get(fmt.Sprintf("https://%s:%d/", host, port))
		if err == nil {
			t.Fatalf("%s: got an answer, want a refusal", host)
		}
		// "127.1" is no address to Go's resolver: not found is a refusal too.
		if dns := new(net.DNSError); !errors.Is(err, ErrAddress) && !errors.As(err, &dns) {
			t.Errorf("%s: got %v, want ErrAddress", host, err)
		}
		if got := Classify(resp, err); errors.Is(err, ErrAddress) && got != Permanent {
			t.Errorf("%s: got %v, want permanent", host, got)
		}
	}
	if _, err := client.Get("http://example.com/"); !errors.Is(err, ErrPlain) {
		t.Errorf("plain http: got %v, want ErrPlain", err)
	}
	select {
	case <-accepted:
		t.Error("a connection was made")
	default:
	}
}

func TestClientIgnoresProxyAndRedirects(t *testing.T) {
	proxied := false
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { proxied = true }))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	followed := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/next" {
			followed = true
		}
		http.Redirect(w, r, "/next", http.StatusFound)
	}))
	defer server.Close()
	resp, err := newTestClient(t, Options{}).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 302 || followed || proxied {
		t.Errorf("got status %d, followed %t, proxied %t; want 302, false, false", resp.StatusCode, followed, proxied)
	}
	if got := Classify(resp, nil); got != Permanent {
		t.Errorf("redirect: got %v, want permanent", got)
	}
}

func TestTLSFailsClosed(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }))
	defer server.Close()
	resp, err := newTestClient(t, Options{}).Post(server.URL, "application/json", strings.NewReader("{}"))
	if err == nil {
		t.Fatal("an unknown authority was accepted")
	}
	if got := Classify(resp, err); got != Retryable {
		t.Errorf("failed handshake: got %v, want retryable (nothing was sent)", got)
	}
	file := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(file, pemOf(server), 0o600); err != nil {
		t.Fatal(err)
	}
	resp, err = newTestClient(t, Options{RootCAs: file}).Get(server.URL)
	if err != nil {
		t.Fatalf("with its root: %v", err)
	}
	resp.Body.Close()
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewClient(Options{RootCAs: file}); err == nil {
		t.Error("a root file without a certificate was accepted")
	}
}

// TestClassify scripts a server that reads the whole request and then does what the case says.
func TestClassify(t *testing.T) {
	const json = "Content-Type: application/json\r\n"
	tests := []struct {
		name   string
		answer string // raw; empty: cut without a word
		method string
		want   Kind
	}{
		{"200", "HTTP/1.1 200 OK\r\n" + json + "Content-Length: 2\r\n\r\n{}", "POST", OK},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n", "POST", OK},
		{"429 with Retry-After", "HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", "POST", Retryable},
		{"429 without", "HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\n\r\n", "POST", Retryable},
		{"500", "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "POST", Retryable},
		{"503", "HTTP/1.1 503 Oops\r\nContent-Length: 0\r\n\r\n", "POST", Retryable},
		{"502 after POST", "HTTP/1.1 502 Oops\r\nContent-Length: 0\r\n\r\n", "POST", Unknown},
		{"504 after POST", "HTTP/1.1 504 Oops\r\nContent-Length: 0\r\n\r\n", "POST", Unknown},
		{"504 after PUT", "HTTP/1.1 504 Oops\r\nContent-Length: 0\r\n\r\n", "PUT", Retryable},
		{"501", "HTTP/1.1 501 Oops\r\nContent-Length: 0\r\n\r\n", "POST", Permanent},
		{"401", "HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n", "POST", Permanent},
		{"404", "HTTP/1.1 404 Where\r\nContent-Length: 0\r\n\r\n", "POST", Permanent},
		{"422 with HTML", "HTTP/1.1 422 No\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n", "POST", Permanent},
		{"HTML 200", "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 6\r\n\r\n<html>", "POST", Unknown},
		{"HTML 200 to GET", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", "GET", Retryable},
		{"cut after the request was read", "", "POST", Unknown},
		{"cut after the request was read, GET", "", "GET", Retryable},
		{"cut in the headers", "HTTP/1.1 200 OK\r\nContent-", "POST", Unknown},
		{"cut in the body", "HTTP/1.1 200 OK\r\n" + json + "Content-Length: 900\r\n\r\n{\"a\":", "POST", Unknown},
		{"cut in the body of a 400", "HTTP/1.1 400 Bad\r\n" + json + "Content-Length: 900\r\n\r\n{\"a\":", "POST", Permanent},
		{"no HTTP", "220 smtp.example.com ESMTP\r\n", "POST", Unknown},
		{"header of 1 MB", "HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", "POST", Unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url := script(t, tt.answer, false)
			req, err := http.NewRequest(tt.method, url, bytes.NewReader([]byte(`{"email":"jane@example.com"}`)))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := newTestClient(t, Options{}).Do(req)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if got := Classify(resp, err); got != tt.want {
				t.Errorf("got %v (%v), want %v", got, err, tt.want)
			}
		})
	}
}

func TestClassifySlowAndCancelled(t *testing.T) {
	t.Run("silent after reading", func(t *testing.T) {
		resp, err := newTestClient(t, Options{Timeout: 50 * time.Millisecond}).Post(script(t, "", true), "text/plain", strings.NewReader("x"))
		if got := Classify(resp, err); got != Unknown {
			t.Errorf("got %v (%v), want unknown", got, err)
		}
	})
	t.Run("body never ends", func(t *testing.T) {
		url := script(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nslow", true)
		resp, err := newTestClient(t, Options{Timeout: 50 * time.Millisecond}).Post(url, "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		if got := Classify(resp, err); got != Unknown {
			t.Errorf("got %v, want unknown", got)
		}
	})
	t.Run("refused connection", func(t *testing.T) {
		// Port 1 is handed out to nobody, as a port that was just closed may be.
		resp, err := newTestClient(t, Options{}).Post("http://127.0.0.1:1", "text/plain", strings.NewReader("x"))
		if got := Classify(resp, err); got != Retryable {
			t.Errorf("got %v (%v), want retryable", got, err)
		}
	})
	t.Run("cancelled before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		req, err := http.NewRequestWithContext(ctx, "POST", "http://127.0.0.1:9/", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := newTestClient(t, Options{Limiter: &teller{}}).Do(req)
		if got := Classify(resp, err); got != Retryable {
			t.Errorf("got %v (%v), want retryable", got, err)
		}
	})
	if got := Classify(nil, nil); got != Unknown {
		t.Errorf("nothing at all: got %v, want unknown", got)
	}
	if got := Classify(nil, errors.New("strange")); got != Unknown {
		t.Errorf("strange error: got %v, want unknown", got)
	}
}

func TestBodyIsCapped(t *testing.T) {
	var served int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/full":
			w.Write(make([]byte, 1000))
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.CopyN(z, zeroes{}, 64<<20)
			z.Close()
		default:
			n, _ := io.CopyN(w, zeroes{}, 5<<30)
			served = n
		}
	}))
	client := newTestClient(t, Options{BodyBytesMax: 1000})
	for path, want := range map[string]error{"/full": nil, "/bomb": ErrTooLarge, "/5GB": ErrTooLarge} {
		resp, err := client.Post(server.URL+path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if !errors.Is(err, want) || len(body) != 1000 {
			t.Errorf("%s: got %d bytes, %v; want 1000, %v", path, len(body), err, want)
		}
		if _, again := resp.Body.Read(make([]byte, 1)); want != nil && !errors.Is(again, want) {
			t.Errorf("%s: reading on: got %v, want %v", path, again, want)
		}
		if got := Classify(resp, err); want != nil && got != Unknown {
			t.Errorf("%s: got %v, want unknown", path, got)
		}
		resp.Body.Close()
	}
	server.Close()
	if served >= 64<<20 {
		t.Errorf("took %d bytes of the 5 GB answer", served)
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// script starts a server that reads one request completely, writes answer, and hangs or closes.
func script(t *testing.T, answer string, hang bool) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { close(done); ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				io.Copy(io.Discard, req.Body)
				io.WriteString(conn, answer)
				if hang {
					<-done
				}
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}
