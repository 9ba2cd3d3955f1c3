package chserver

import (
	"context"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/tillstream/tillstream/embedded/chdb"
)

// session is one pooled connection and what is known of its state: the pool
// hands it to one request at a time.
type session struct {
	conn *chdb.Conn
	// tag is the connection's log_comment, by which KILL QUERY finds what runs.
	tag      string
	database string
	// settings are those that differ from the engine's defaults.
	settings map[string]string
	// unknown says that a statement may have changed the state behind our back.
	unknown bool
}

// baseSettings hold for every request unless it says otherwise: inserts are
// acknowledged when they are written, a text is SQL only when it says so, and an
// unreachable url() fails at once.
func baseSettings(tag string) map[string]string {
	return map[string]string{"log_comment": tag, "async_insert": "0", "implicit_select": "0", "http_max_tries": "1"}
}

// prepare brings the session to the database and exactly the settings given,
// with as few statements as it takes (none when nothing changes).
func (s *session) prepare(database string, want map[string]string) error {
	if s.unknown {
		if err := s.conn.Reconnect(); err != nil {
			return err
		}
		s.database, s.settings, s.unknown = "", nil, false
	}
	if readonly, on := s.settings["readonly"]; on && (want["readonly"] != readonly || database != s.database || len(s.changes(want)) > 0) {
		// Nothing else can be changed before this one is lifted.
		if err := s.set([]string{"readonly = DEFAULT"}); err != nil {
			return err
		}
		delete(s.settings, "readonly")
	}
	if database != s.database {
		if err := s.run("USE " + quoteName(database)); err != nil {
			return err
		}
		s.database = database
	}
	if changes := s.changes(want); len(changes) > 0 {
		if err := s.set(changes); err != nil {
			return err
		}
	}
	if readonly, on := want["readonly"]; on && s.settings["readonly"] != readonly {
		if err := s.set([]string{"readonly = " + quoteString(readonly)}); err != nil {
			return err
		}
	}
	s.settings = want
	return nil
}

// changes lists the assignments from the session's settings to want, without
// readonly, in a fixed order.
func (s *session) changes(want map[string]string) []string {
	var list []string
	for name, value := range want {
		if old, on := s.settings[name]; (!on || old != value) && name != "readonly" {
			list = append(list, name+" = "+quoteString(value))
		}
	}
	for name := range s.settings {
		if _, stays := want[name]; !stays && name != "readonly" {
			list = append(list, name+" = DEFAULT")
		}
	}
	sort.Strings(list)
	return list
}

func (s *session) set(assignments []string) error {
	err := s.run("SET " + strings.Join(assignments, ", "))
	if err != nil {
		// Some may have been applied before the one that failed.
		s.unknown = true
	}
	return err
}

func (s *session) run(sql string) error {
	_, err := s.conn.Query(io.Discard, chdb.Statement{SQL: sql, Format: "TSV"})
	return err
}

// pool hands out sessions; those who wait form a bounded queue.
type pool struct {
	free    chan *session
	waiting chan struct{}

	adminMu sync.Mutex
	admin   *chdb.Conn
}

func newPool(conns []*chdb.Conn) *pool {
	p := &pool{
		free:    make(chan *session, len(conns)-1),
		waiting: make(chan struct{}, MaxWaiting),
		admin:   conns[0],
	}
	for i, conn := range conns[1:] {
		p.free <- &session{conn: conn, tag: fmt.Sprintf("tillstream-session-%d", i)}
	}
	return p
}

// acquire waits for a free session until ctx ends. A full queue is
// errOverloaded at once.
func (p *pool) acquire(ctx context.Context) (*session, error) {
	select {
	case s := <-p.free:
		return s, nil
	default:
	}
	select {
	case p.waiting <- struct{}{}:
	default:
		return nil, errOverloaded
	}
	defer func() { <-p.waiting }()
	select {
	case s := <-p.free:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pool) release(s *session) { p.free <- s }

// killOnDone kills what the session runs when ctx ends, because the library has
// no call for it. The function that it returns must be called when the statement
// has ended and before the session goes to another request.
func (p *pool) killOnDone(ctx context.Context, s *session) (release func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		// A kill finds nothing while the statement is still being parsed.
		again := time.NewTicker(killEvery)
		defer again.Stop()
		for {
			select {
			case <-ended:
				return
			default:
				p.kill(s.tag)
			}
			select {
			case <-ended:
				return
			case <-again.C:
			}
		}
	})
	return func() {
		close(ended)
		if !stop() {
			<-done
		}
	}
}

func (p *pool) kill(tag string) {
	p.adminMu.Lock()
	defer p.adminMu.Unlock()
	sql := "KILL QUERY WHERE Settings['log_comment'] = " + quoteString(tag) + " ASYNC"
	// A failed kill leaves the statement to its own end; the caller is gone.
	_, _ = p.admin.Query(io.Discard, chdb.Statement{SQL: sql, Format: "TSV"})
}
