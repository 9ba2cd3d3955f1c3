package simulators

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"
)

const (
	// drainTimeout is how long requests may take to end once a twin is told to stop, and to send their headers.
	drainTimeout = 5 * time.Second
	idleTimeout  = time.Minute
)

// A Twin is a server of its own.
type Twin interface {
	// ListenAndServe serves on addr until ctx ends. ready is called once with the address reached.
	ListenAndServe(ctx context.Context, addr string, ready func(url string)) error
	Close()
}

// Run is a whole twin: opened, served on addr and closed when ctx ends.
func Run[O any, T Twin](ctx context.Context, open func(O) (T, error), o O, addr string, ready func(url string)) error {
	twin, err := open(o)
	if err != nil {
		return err
	}
	defer twin.Close()
	return twin.ListenAndServe(ctx, addr, ready)
}

// Serve serves HTTP on addr until ctx ends, and then gives the requests that are still open 5 s. url, called before the
// first request is taken, says under which address the twin is reached; ready, which may be nil, is called once with it.
// Errors begin with name, as in "stripe".
func Serve(ctx context.Context, name, addr string, handler http.Handler, url func(at *net.TCPAddr) string, ready func(url string)) error {
	return ServeTLS(ctx, name, addr, handler, nil, url, ready)
}

// ServeTLS is Serve with HTTPS; with a nil config it is plain HTTP.
func ServeTLS(
	ctx context.Context, name, addr string, handler http.Handler, config *tls.Config, url func(at *net.TCPAddr) string, ready func(url string),
) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%s simulator: %w", name, err)
	}
	reached := url(ln.Addr().(*net.TCPAddr))
	server := &http.Server{Handler: handler, TLSConfig: config, ReadHeaderTimeout: drainTimeout, IdleTimeout: idleTimeout}
	serve := func() error { return server.Serve(ln) }
	if config != nil {
		serve = func() error { return server.ServeTLS(ln, "", "") }
	}
	done := make(chan error, 1)
	go func() { done <- serve() }()
	if ready != nil {
		ready(reached)
	}
	select {
	case err := <-done:
		return fmt.Errorf("%s simulator: %w", name, err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		server.Close()
	}
	<-done
	return nil
}

// Localhost is the address of a twin that goes by the name of the machine it runs on.
func Localhost(at *net.TCPAddr) string { return fmt.Sprintf("http://localhost:%d", at.Port) }

// A Linker is a twin that writes links to itself.
type Linker interface {
	URL() string
	SetPublicURL(url string)
}

// Public is the address that a twin's links have; one that has none yet gets format with the port in it, as in
// "http://127.0.0.1:%d".
func Public(twin Linker, format string) func(at *net.TCPAddr) string {
	return func(at *net.TCPAddr) string {
		if twin.URL() == "" {
			twin.SetPublicURL(fmt.Sprintf(format, at.Port))
		}
		return twin.URL()
	}
}
