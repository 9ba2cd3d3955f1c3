package simulators

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

type twin struct {
	url    string
	closed *bool
	handle http.HandlerFunc
}

func (t *twin) URL() string             { return t.url }
func (t *twin) SetPublicURL(url string) { t.url = url }
func (t *twin) Close()                  { *t.closed = true }

func (t *twin) ListenAndServe(ctx context.Context, addr string, ready func(string)) error {
	return Serve(ctx, "shop", addr, t.handle, Public(t, "http://127.0.0.1:%d"), ready)
}

// TestRun: a request that is open when the end comes still gets its answer, and the twin is closed after it.
func TestRun(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	closed := false
	open := func(greeting string) (*twin, error) {
		return &twin{closed: &closed, handle: func(w http.ResponseWriter, _ *http.Request) {
			stop()
			io.WriteString(w, greeting)
		}}, nil
	}
	at, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- Run(ctx, open, "hello", "127.0.0.1:0", func(url string) { at <- url }) }()
	resp, err := http.Get(<-at)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "hello" || err != nil {
		t.Errorf("got %q, %v, want the answer in full", body, err)
	}
	if err := <-done; err != nil || !closed {
		t.Errorf("got %v, closed %v, want the end without an error", err, closed)
	}
}

func TestRunSaysWhatFailed(t *testing.T) {
	broken := errors.New("no key")
	err := Run(t.Context(), func(string) (*twin, error) { return nil, broken }, "", "127.0.0.1:0", nil)
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want that it could not be opened", err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = Serve(t.Context(), "shop", taken.Addr().String(), http.NotFoundHandler(), Localhost, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "shop simulator: ") {
		t.Errorf("got %v, want that the address is in use, by whom it was wanted", err)
	}
}

func TestAddresses(t *testing.T) {
	at := &net.TCPAddr{IP: net.IPv4zero, Port: 81}
	for _, c := range []struct{ got, want string }{
		{Localhost(at), "http://localhost:81"},
		{Public(&twin{}, "https://127.0.0.1:%d")(at), "https://127.0.0.1:81"},
		{Public(&twin{url: "https://shop.example.com"}, "https://127.0.0.1:%d")(at), "https://shop.example.com"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}
