// Package chserver speaks ClickHouse's HTTP interface over a pool of connections
// to the ClickHouse inside this process, so that clickhouse-go, curl, Grafana
// and the reporting pages use it as they would a server.
//
// What differs from a server: no sessions (session_id), no external tables, no
// users but one, and the database "default" means this server's own, because the
// engine's default database reads unknown table names as files.
package chserver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/embedded/chdb"
)

const (
	// DefaultConnections is how many statements run at once by default.
	DefaultConnections = 4
	// MaxWaiting is how many requests may wait for a connection; more are
	// answered 503 with code 202 (TOO_MANY_SIMULTANEOUS_QUERIES).
	MaxWaiting = 256
	// MaxQueryBytes bounds a statement's text (an insert's data is not text).
	MaxQueryBytes = 4 << 20
	// MaxInsertBytes bounds an insert's data after decompression.
	MaxInsertBytes = 1 << 30
	// MaxExecution is the longest that a statement may run by default; a
	// request's max_execution_time overrides it.
	MaxExecution = 10 * time.Minute
	// MaxReadOnlyExecution is the longest for an untrusted statement; a request
	// can only lower it.
	MaxReadOnlyExecution = 30 * time.Second
	// MaxReadOnlyResultBytes bounds an untrusted statement's result.
	MaxReadOnlyResultBytes = 256 << 20
	// MaxReadOnlyMemoryBytes bounds the memory of one untrusted statement.
	MaxReadOnlyMemoryBytes = 2 << 30

	killEvery = 200 * time.Millisecond
)

// inProcessHost is the host of addresses that are never dialled.
const inProcessHost = "embedded.invalid:8123"

var (
	errOverloaded = errors.New("too many queries wait for the embedded ClickHouse")
	errClosed     = errors.New("the embedded ClickHouse is shutting down")
)

// Options say what New serves.
type Options struct {
	// Database is created when missing and stands for "default" and for none.
	Database string
	// User and Password are asked for when Password is not empty.
	User, Password string
	// Hosts are further names under which Handler may be called, beside
	// loopback addresses and localhost (against DNS rebinding by a web page).
	Hosts []string
	// Log gets one debug line per failed statement, without its text.
	Log zerolog.Logger
}

// Server answers for one engine. Close it before the engine.
type Server struct {
	options  Options
	engine   *chdb.Engine
	pool     *pool
	version  string
	timezone string
	// denied are the functions that read-only SQL may not name, lower case.
	denied map[string]bool

	stop     context.CancelFunc
	stopped  context.Context
	mu       sync.Mutex
	closed   bool
	requests sync.WaitGroup
}

// New serves the engine's connections: the first is kept for killing queries,
// so the engine needs at least two.
func New(engine *chdb.Engine, o Options) (*Server, error) {
	conns := engine.Conns()
	if len(conns) < 2 {
		return nil, fmt.Errorf("the embedded ClickHouse needs 2 connections or more, it has %d", len(conns))
	}
	if o.Database == "" || strings.EqualFold(o.Database, "default") {
		return nil, errors.New("the embedded ClickHouse needs a database of its own, not \"default\"")
	}
	s := &Server{options: o, engine: engine, pool: newPool(conns)}
	s.stopped, s.stop = context.WithCancel(context.Background())
	create := "CREATE DATABASE IF NOT EXISTS " + quoteName(o.Database) + " ENGINE = Atomic"
	if _, err := conns[0].Query(discard{}, chdb.Statement{SQL: create, Format: "TSV"}); err != nil {
		return nil, fmt.Errorf("create the database %s: %w", o.Database, err)
	}
	var err error
	if s.denied, err = deniedFunctions(conns[0]); err != nil {
		return nil, err
	}
	var answer strings.Builder
	if _, err := conns[0].Query(&answer, chdb.Statement{SQL: "SELECT version(), timezone()", Format: "TSV"}); err != nil {
		return nil, fmt.Errorf("ask the embedded ClickHouse for its version: %w", err)
	}
	s.version, s.timezone, _ = strings.Cut(strings.TrimSpace(answer.String()), "\t")
	return s, nil
}

// Version is the engine's, such as "26.7.2.1".
func (s *Server) Version() string { return s.version }

// Database is the name that stands for "default".
func (s *Server) Database() string { return s.options.Database }

// Close ends running statements, waits for them and refuses new ones. It leaves
// the engine open.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.requests.Wait()
	return nil
}

// enter counts a request in; false after Close.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.requests.Add(1)
	return true
}

// Handler is the interface for a loopback listener: everything in the data, but
// no file(), url() or other way out, because other users of the machine can call
// it. It refuses requests that a web page may have caused (foreign Host or
// Origin), and asks for the password when there is one.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.serve(w, r, access{guarded: true})
	})
}

// ReadOnlyHandler is the interface for SQL of people who are trusted with the
// data but not with the machine: one SELECT, SHOW, DESCRIBE or EXPLAIN at a
// time; no file(), url() or other way out, bounded time, memory and result.
// Guarding who may call it is the caller's part.
func (s *Server) ReadOnlyHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.serve(w, r, access{readOnly: true})
	})
}

// RoundTripper calls the interface without a socket, with every right.
func (s *Server) RoundTripper() http.RoundTripper {
	return roundTripper{func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, access{}) }}
}

// ReadOnlyRoundTripper calls ReadOnlyHandler without a socket.
func (s *Server) ReadOnlyRoundTripper() http.RoundTripper {
	return roundTripper{func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, access{readOnly: true}) }}
}

// Options are for a clickhouse-go client in this process. An empty database is
// the server's own.
func (s *Server) Options(database string) *clickhouse.Options {
	if database == "" {
		database = s.options.Database
	}
	return &clickhouse.Options{
		Protocol:    clickhouse.HTTP,
		Addr:        []string{inProcessHost},
		Auth:        clickhouse.Auth{Database: database},
		Compression: &clickhouse.Compression{Method: clickhouse.CompressionNone},
		TransportFunc: func(*http.Transport) (http.RoundTripper, error) {
			return s.RoundTripper(), nil
		},
	}
}

// access says what a request may do, by the way it came.
type access struct {
	// guarded requests come over a socket.
	guarded bool
	// readOnly requests are not trusted.
	readOnly bool
}

// admit refuses requests that may come from a web page or lack the password.
func (s *Server) admit(r *http.Request, a access) error {
	if !a.guarded {
		return nil
	}
	if !s.knownHost(r.Host) {
		return refusal(http.StatusForbidden, codeAuthentication, fmt.Sprintf("the host %q is none of this server's names (loopback addresses and localhost are)", r.Host))
	}
	if site := r.Header.Get("Sec-Fetch-Site"); r.Header.Get("Origin") != "" || site == "cross-site" || site == "same-site" {
		return refusal(http.StatusForbidden, codeAuthentication, "requests from web pages are refused")
	}
	if s.options.Password == "" {
		return nil
	}
	user, password := credentials(r)
	if !same(user, s.options.User) || !same(password, s.options.Password) {
		return refusal(http.StatusForbidden, codeAuthentication, "wrong user or password")
	}
	return nil
}

func (s *Server) knownHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if ip := net.ParseIP(strings.Trim(name, "[]")); ip != nil && ip.IsLoopback() {
		return true
	}
	for _, known := range append([]string{"localhost"}, s.options.Hosts...) {
		if strings.EqualFold(name, known) {
			return true
		}
	}
	return false
}

// credentials are those of the headers, of basic authentication or of the URL,
// in that order, as with a server.
func credentials(r *http.Request) (user, password string) {
	user, password = r.Header.Get("X-ClickHouse-User"), r.Header.Get("X-ClickHouse-Key")
	if user == "" && password == "" {
		user, password, _ = r.BasicAuth()
	}
	if query := r.URL.Query(); user == "" && password == "" {
		user, password = query.Get("user"), query.Get("password")
	}
	if user == "" {
		user = "default"
	}
	return user, password
}

// same compares in a time that tells nothing of where the texts differ.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
