package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

// Log is Kafka as access is read and written. *kafka.Cluster is one.
type Log interface {
	Bounds(ctx context.Context, topic string, partition int32) (start, end int64, err error)
	Read(ctx context.Context, r kafka.Range, apply func(records []*kgo.Record, next int64) error) error
	Append(ctx context.Context, rec *kgo.Record, promise func(*kgo.Record, error))
}

var _ Log = (*kafka.Cluster)(nil)

const (
	// FollowEvery is how soon a change holds in every process.
	FollowEvery  = time.Second
	readTimeout  = 10 * time.Second
	readPatience = 5 * time.Second
	writeTimeout = 10 * time.Second
)

// Options of a Store.
type Options struct {
	Log    Log
	Encode func(schemas.Record) ([]byte, error)
	Decode func(b []byte) (schemas.Record, error)
	Clock  clock.Clock // default clock.System
	Lines  zerolog.Logger
}

// Store follows the topic access and changes it. It is safe for concurrent use.
type Store struct {
	o        Options
	hashes   hasher
	attempts *attempts
	reading  sync.Mutex // one reader at a time
	changing sync.Mutex // one change at a time

	mu      sync.Mutex
	next    int64
	known   bool
	trouble error
	book    *book
	seen    map[string]time.Time // keys whose use was written lately
}

// New has read nothing yet.
func New(o Options) *Store {
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	return &Store{o: o, hashes: newHasher(), attempts: newAttempts(), book: newBook(), seen: map[string]time.Time{}}
}

// Ready is nil once it is known who may do what.
func (s *Store) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.known:
		return nil
	case s.trouble != nil:
		return fmt.Errorf("who may do what was not read from Kafka yet: %w", s.trouble)
	}
	return errors.New("who may do what was not read from Kafka yet")
}

// HasUsers reports whether there is any user. Before the topic was read it is true: nobody is let in for want of knowledge.
func (s *Store) HasUsers() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.known || len(s.book.users) > 0
}

// CatchUp reads to the end of the topic.
func (s *Store) CatchUp(ctx context.Context) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	ctx, cancel := s.o.Clock.WithTimeout(ctx, readTimeout)
	defer cancel()
	err := s.read(ctx)
	if err != nil {
		err = fmt.Errorf("read who may do what: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = err
	s.known = s.known || err == nil
	return err
}

func (s *Store) read(ctx context.Context) error {
	start, end, err := s.o.Log.Bounds(ctx, schemas.TopicAccess, 0)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.next > end { // the topic was made anew: what it had is gone
		s.next, s.book = 0, newBook()
	}
	s.next = max(s.next, start)
	r := kafka.Range{Topic: schemas.TopicAccess, From: s.next, To: end, Patience: readPatience}
	s.mu.Unlock()
	if r.From >= r.To {
		return nil
	}
	return s.o.Log.Read(ctx, r, s.take)
}

func (s *Store) take(records []*kgo.Record, next int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rec := range records {
		if len(rec.Value) == 0 {
			s.book.remove(string(rec.Key))
			continue
		}
		v, err := s.o.Decode(rec.Value)
		if errors.Is(err, codec.ErrUnavailable) {
			return err
		}
		if err != nil || !s.book.put(string(rec.Key), v) {
			s.o.Lines.Warn().Int64("offset", rec.Offset).Msg("a record on the topic access is nothing known, and counts for nothing")
		}
		s.next = rec.Offset + 1
	}
	s.next = next
	return nil
}

// Run follows the topic until ctx ends.
func (s *Store) Run(ctx context.Context) {
	for said := ""; ; {
		if err := s.CatchUp(ctx); ctx.Err() == nil && err != nil && err.Error() != said {
			said = err.Error()
			s.o.Lines.Warn().Err(err).Msg("a change of users or tokens does not hold here yet")
		} else if err == nil {
			said = ""
		}
		if s.o.Clock.Sleep(ctx, FollowEvery) != nil {
			return
		}
	}
}

// keyed is a record of the topic.
type keyed interface {
	schemas.Record
	Key() string
}

// write puts r on the log and reads it back; r nil: a tombstone of key.
func (s *Store) write(ctx context.Context, key string, r schemas.Record) error {
	var value []byte
	if r != nil {
		var err error
		if value, err = s.o.Encode(r); err != nil {
			return fmt.Errorf("write a change of access: %w", err)
		}
	}
	ctx, cancel := s.o.Clock.WithTimeout(ctx, writeTimeout)
	defer cancel()
	done := make(chan error, 1)
	s.o.Log.Append(ctx, &kgo.Record{Topic: schemas.TopicAccess, Partition: 0, Key: []byte(key), Value: value}, func(_ *kgo.Record, err error) { done <- err })
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("write a change of access: %w", err)
	}
	return s.CatchUp(ctx)
}

func (s *Store) put(ctx context.Context, r keyed) error { return s.write(ctx, r.Key(), r) }

// now is in the precision of the log.
func (s *Store) now() time.Time { return s.o.Clock.Now().UTC().Truncate(time.Millisecond) }

// Users lists the users by name.
func (s *Store) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []User{}
	for _, u := range s.book.users {
		out = append(out, s.book.user(u, s.now()))
	}
	slices.SortFunc(out, func(a, b User) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// User is one of them.
func (s *Store) User(name string) (User, error) {
	u, ok := s.userOf(name)
	if !ok {
		return User{}, fmt.Errorf("user %.100q: %w", name, ErrNotFound)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.book.user(&u, s.now()), nil
}

func (s *Store) userOf(name string) (schemas.AccessUser, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.book.users[name]; u != nil {
		return *u, true
	}
	return schemas.AccessUser{}, false
}

// change runs f alone and with the newest state.
func (s *Store) change(ctx context.Context, f func() error) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if err := s.CatchUp(ctx); err != nil {
		return err
	}
	return f()
}

// AddUser makes a user. Before the first one everything is open on the machine itself: so the first is an admin.
func (s *Store) AddUser(ctx context.Context, name string, role Role, password, by string) error {
	if err := errors.Join(checkName(name), checkRole(role)); err != nil {
		return err
	}
	if err := CheckPassword(name, password); err != nil {
		return err
	}
	hash, err := s.hashes.hash(ctx, password)
	if err != nil {
		return err
	}
	return s.change(ctx, func() error {
		s.mu.Lock()
		n, taken := len(s.book.users), s.book.users[name] != nil
		s.mu.Unlock()
		switch {
		case taken:
			return fmt.Errorf("user %q: %w", name, ErrExists)
		case n == 0 && role != Admin:
			return fmt.Errorf("%w: the first user is an admin, else nobody could make others", ErrInvalid)
		case n >= UsersMax:
			return fmt.Errorf("%w: there are %d users already", ErrInvalid, UsersMax)
		}
		now := s.now()
		return s.put(ctx, &schemas.AccessUser{Name: name, Role: string(role), Password: hash, MadeBy: by, MadeAt: now, PasswordAt: now})
	})
}

// SetRole gives a user another role. It holds at the user's next request.
func (s *Store) SetRole(ctx context.Context, name string, role Role) error {
	if err := checkRole(role); err != nil {
		return err
	}
	return s.change(ctx, func() error {
		u, ok := s.userOf(name)
		if !ok {
			return fmt.Errorf("user %.100q: %w", name, ErrNotFound)
		}
		if role != Admin && s.isLastAdmin(u) {
			return fmt.Errorf("user %q keeps its role: %w", name, ErrLastAdmin)
		}
		u.Role = string(role)
		return s.put(ctx, &u)
	})
}

// SetPassword gives a user another password, and ends the user's sessions.
func (s *Store) SetPassword(ctx context.Context, name, password string) error {
	if err := CheckPassword(name, password); err != nil {
		return err
	}
	hash, err := s.hashes.hash(ctx, password)
	if err != nil {
		return err
	}
	return s.change(ctx, func() error {
		u, ok := s.userOf(name)
		if !ok {
			return fmt.Errorf("user %.100q: %w", name, ErrNotFound)
		}
		u.Password, u.PasswordAt = hash, s.now().Add(time.Millisecond)
		return s.put(ctx, &u)
	})
}

// RemoveUser removes a user and ends the user's sessions. The last admin stays.
func (s *Store) RemoveUser(ctx context.Context, name string) error {
	return s.change(ctx, func() error {
		u, ok := s.userOf(name)
		if !ok {
			return fmt.Errorf("user %.100q: %w", name, ErrNotFound)
		}
		if s.isLastAdmin(u) {
			return fmt.Errorf("user %q stays: %w", name, ErrLastAdmin)
		}
		return s.write(ctx, u.Key(), nil)
	})
}

func (s *Store) isLastAdmin(u schemas.AccessUser) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Role(u.Role) == Admin && s.book.admins(u.Name) == 0
}
