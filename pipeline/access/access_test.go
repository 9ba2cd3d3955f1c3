package access

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas/codec"
)

var errDown = errors.New("down")

// topic is access in memory. It can be away.
type topic struct {
	codec *codec.Codec

	mu      sync.Mutex
	records []*kgo.Record
	down    bool
}

func newTopic() *topic { return &topic{codec: codec.NewLocal()} }

func (l *topic) Bounds(context.Context, string, int32) (int64, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return 0, 0, errDown
	}
	return 0, int64(len(l.records)), nil
}

func (l *topic) Read(_ context.Context, r kafka.Range, apply func([]*kgo.Record, int64) error) error {
	l.mu.Lock()
	batch := l.records[r.From:r.To]
	l.mu.Unlock()
	return apply(batch, r.To)
}

func (l *topic) Append(_ context.Context, rec *kgo.Record, promise func(*kgo.Record, error)) {
	l.mu.Lock()
	if l.down {
		l.mu.Unlock()
		promise(rec, errDown)
		return
	}
	rec.Offset = int64(len(l.records))
	l.records = append(l.records, rec)
	l.mu.Unlock()
	promise(rec, nil)
}

func (l *topic) store(t *testing.T) *Store {
	t.Helper()
	s := New(Options{Log: l, Encode: l.codec.Encode, Decode: l.codec.Decode, Lines: zerolog.Nop()})
	if err := s.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

const password = "correct horse battery"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNobodyIsLetInBeforeTheTopicIsRead(t *testing.T) {
	l := newTopic()
	s := New(Options{Log: l, Encode: l.codec.Encode, Decode: l.codec.Decode, Lines: zerolog.Nop()})
	l.down = true
	if err := s.CatchUp(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("got %v, want that Kafka is down", err)
	}
	if !s.HasUsers() || s.Ready() == nil {
		t.Error("before the topic was read it counts as if there were no users")
	}
	l.down = false
	must(t, s.CatchUp(t.Context()))
	if s.HasUsers() || s.Ready() != nil {
		t.Error("an empty topic has users")
	}
}

func TestUsersHoldInEveryProcess(t *testing.T) {
	l := newTopic()
	one, two := l.store(t), l.store(t)
	if err := one.AddUser(t.Context(), "ann", Viewer, password, "root"); !errors.Is(err, ErrInvalid) {
		t.Errorf("a first user who is no admin: %v, want refused", err)
	}
	must(t, one.AddUser(t.Context(), "ann", Admin, password, "root"))
	must(t, two.AddUser(t.Context(), "bob", Viewer, password, "ann"))
	if err := two.AddUser(t.Context(), "ann", Viewer, password, "bob"); !errors.Is(err, ErrExists) {
		t.Errorf("ann twice: %v", err)
	}
	must(t, one.CatchUp(t.Context()))
	var got []string
	for _, u := range one.Users() {
		got = append(got, fmt.Sprintf("%s %s by %s %v", u.Name, u.Role, u.MadeBy, u.HasPassword))
	}
	if diff := cmp.Diff(got, []string{"ann admin by root true", "bob viewer by ann true"}); diff != "" {
		t.Errorf("users (-got +want):\n%s", diff)
	}
	for what, err := range map[string]error{"its role": one.SetRole(t.Context(), "ann", Operator), "it": one.RemoveUser(t.Context(), "ann")} {
		if !errors.Is(err, ErrLastAdmin) {
			t.Errorf("the last admin loses %s: %v", what, err)
		}
	}
	must(t, one.SetRole(t.Context(), "bob", Admin))
	must(t, one.RemoveUser(t.Context(), "ann"))
	if err := one.RemoveUser(t.Context(), "ann"); !errors.Is(err, ErrNotFound) {
		t.Errorf("ann is removed twice: %v", err)
	}
	for _, rec := range l.records {
		if strings.Contains(string(rec.Value), password) {
			t.Error("a password is on the log")
		}
	}
}

func TestWhatCannotBeAUserIsRefused(t *testing.T) {
	s := newTopic().store(t)
	for name, c := range map[string]struct{ name, password string }{
		"no name": {"", password}, "a path": {"../x", password}, "a blank": {"a b", password}, "a short password": {"ann", "short"},
		"the name as password": {"annabella-maria", "Annabella-Maria"}, "one character": {"ann", strings.Repeat("a", 20)},
		"a password without end": {"ann", strings.Repeat("ab", PasswordBytesMax)}, "a control character": {"ann\x1b", password},
	} {
		if err := s.AddUser(t.Context(), c.name, Admin, c.password, "x"); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want refused", name, err)
		}
	}
	if err := s.AddUser(t.Context(), "ann", "root", password, "x"); !errors.Is(err, ErrInvalid) {
		t.Errorf("a role that there is not: %v", err)
	}
}

func TestASessionEndsInTimeAndIsNewAtEachSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTopic()
		s := l.store(t)
		must(t, s.AddUser(t.Context(), "ann", Admin, password, "root"))
		first, who, err := s.SignIn(t.Context(), "ann", password, "10.0.0.1", "")
		must(t, err)
		if want := (Principal{"ann", Admin, ViaPage}); who != want || len(first) < 26 {
			t.Errorf("got %+v %q", who, first)
		}
		second, _, err := s.SignIn(t.Context(), "ann", password, "10.0.0.1", first)
		must(t, err)
		if _, ok := s.Session(first); ok || first == second {
			t.Error("the cookie from before the sign-in still holds")
		}
		other := l.store(t)
		if _, ok := other.Session(second); !ok {
			t.Error("another process does not know the session")
		}
		time.Sleep(SessionIdle)
		if _, ok := s.Session(second); ok {
			t.Error("a session that was not used for 12 h holds")
		}
		third, _, err := s.SignIn(t.Context(), "ann", password, "10.0.0.1", "")
		must(t, err)
		for range 7*24 - 1 {
			time.Sleep(time.Hour)
			if _, ok := s.Session(third); !ok {
				t.Fatal("a session that is used every hour ended before its time")
			}
			synctest.Wait()
			must(t, s.CatchUp(t.Context()))
		}
		time.Sleep(time.Hour)
		if _, ok := s.Session(third); ok {
			t.Error("a session holds after 7 days")
		}
		fourth, _, err := s.SignIn(t.Context(), "ann", password, "10.0.0.1", "")
		must(t, err)
		must(t, s.SetPassword(t.Context(), "ann", "another good password"))
		if _, ok := s.Session(fourth); ok {
			t.Error("a session outlives a new password")
		}
		for _, rec := range l.records {
			if strings.Contains(string(rec.Value)+string(rec.Key), second) {
				t.Error("the cookie's value is on the log")
			}
		}
	})
}

// The word of a last use, written by a process that does not know of the end yet, brings nothing back.
func TestALateUseDoesNotBringBackWhatWasRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTopic()
		one, late := l.store(t), l.store(t)
		must(t, one.AddUser(t.Context(), "ann", Admin, password, "root"))
		secret, made, err := one.AddToken(t.Context(), "deploy", Operator, time.Time{}, "ann")
		must(t, err)
		cookie, _, err := one.SignIn(t.Context(), "ann", password, "::1", "")
		must(t, err)
		must(t, late.CatchUp(t.Context()))
		time.Sleep(SeenEvery)
		_, err = one.RevokeToken(t.Context(), made.ID)
		must(t, err)
		must(t, one.SignOut(t.Context(), cookie))
		if _, ok := late.Token(secret); !ok {
			t.Fatal("the late process knows already")
		}
		late.Session(cookie)
		synctest.Wait()
		for name, s := range map[string]*Store{"one": one, "late": late, "new": l.store(t)} {
			must(t, s.CatchUp(t.Context()))
			if _, ok := s.Token(secret); ok {
				t.Errorf("%s: a revoked token holds again", name)
			}
			if _, ok := s.Session(cookie); ok {
				t.Errorf("%s: an ended session holds again", name)
			}
		}
	})
}

func TestTokensEndAndTellTheirLastUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTopic().store(t)
		secret, made, err := s.AddToken(t.Context(), "deploy", Operator, time.Now().Add(time.Hour), "ann")
		must(t, err)
		if who, ok := s.Token(secret); !ok || who.Role != Operator || who.Via != ViaToken {
			t.Errorf("got %+v %v", who, ok)
		}
		synctest.Wait()
		must(t, s.CatchUp(t.Context()))
		if list := s.Tokens(); len(list) != 1 || list[0].UsedAt.IsZero() || list[0].ID != made.ID {
			t.Errorf("got %+v, want one that was used", list)
		}
		if _, ok := s.Token(secret + "x"); ok {
			t.Error("another token is taken")
		}
		time.Sleep(time.Hour)
		if _, ok := s.Token(secret); ok {
			t.Error("the token holds after its time")
		}
		if _, _, err := s.AddToken(t.Context(), "late", Viewer, time.Now().Add(-time.Hour), "ann"); !errors.Is(err, ErrInvalid) {
			t.Errorf("a token of the past: %v", err)
		}
	})
}

// Brute force: whether the name exists is not told, five tries are looked at, and the right password among the later ones
// is not.
func TestSecurity23SignInIsRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTopic().store(t)
		must(t, s.AddUser(t.Context(), "ann", Admin, password, "root"))
		var wait *TooMany
		for i := range 10 {
			_, _, err := s.SignIn(t.Context(), "ann", "a wrong password", "10.0.0.1", "")
			if want := i >= attemptsPairMax; errors.As(err, &wait) != want || !want && !errors.Is(err, ErrSignIn) {
				t.Fatalf("try %d: %v", i, err)
			}
		}
		if _, _, err := s.SignIn(t.Context(), "ann", password, "10.0.0.1", ""); !errors.As(err, &wait) || wait.Wait > attemptsWindow || wait.Wait <= 0 {
			t.Errorf("the right password while it waits: %v", err)
		}
		if _, _, err := s.SignIn(t.Context(), "ann", password, "10.0.0.2", ""); err != nil {
			t.Errorf("from elsewhere: %v, want that a stranger keeps nobody out", err)
		}
		tries := 0
		for i := range 100 {
			if _, _, err := s.SignIn(t.Context(), fmt.Sprint("nobody", i), password, "10.0.0.3", ""); errors.Is(err, ErrSignIn) {
				tries++
			}
		}
		if tries != attemptsAddressMax {
			t.Errorf("one address tried %d names, want %d", tries, attemptsAddressMax)
		}
		time.Sleep(attemptsWindow)
		if _, _, err := s.SignIn(t.Context(), "ann", password, "10.0.0.1", ""); err != nil {
			t.Errorf("after the time: %v", err)
		}
	})
}

func TestTheTableOfAttemptsIsBounded(t *testing.T) {
	a, now := newAttempts(), time.Unix(1_800_000_000, 0)
	for i := range attemptsKeysMax {
		now = now.Add(time.Millisecond)
		if err := a.begin("ann", fmt.Sprint("address ", i%4000), now); err != nil && i < attemptsPairMax {
			t.Fatal(err)
		}
	}
	if n := len(a.keys); n > attemptsKeysMax {
		t.Errorf("%d keys, want at most %d", n, attemptsKeysMax)
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=4294967295,t=9,p=1$AAAA$AAAA")
	f.Add("")
	f.Fuzz(func(t *testing.T, phc string) {
		salt, sum, passes, kib, threads, ok := parsePHC(phc)
		if ok && (len(salt) == 0 || len(sum) > 64 || passes > 10 || kib > 128*1024 || threads == 0) {
			t.Errorf("%q: costs %d %d %d", phc, passes, kib, threads)
		}
	})
}
