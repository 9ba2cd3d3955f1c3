package access

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/schemas"
)

// SignIn begins a session: its secret is for a cookie and is kept nowhere. The session of the cookie that was sent, if
// any, ends: nobody goes on under a value that was known before. The error is ErrSignIn, a *TooMany, or that Kafka does
// not take it.
func (s *Store) SignIn(ctx context.Context, name, password, address, former string) (secret string, who Principal, err error) {
	now := s.now()
	if err := s.attempts.begin(name, address, now); err != nil {
		return "", Principal{}, err
	}
	u, ok := s.userOf(name)
	if len(password) > PasswordBytesMax {
		return "", Principal{}, ErrSignIn
	}
	good, err := s.hashes.verify(ctx, u.Password, password)
	if err != nil {
		return "", Principal{}, err
	}
	if !ok || !good {
		return "", Principal{}, ErrSignIn
	}
	s.attempts.succeed(name, address)
	if former != "" {
		if err := s.SignOut(ctx, former); err != nil {
			return "", Principal{}, err
		}
	}
	if err := s.trim(ctx, name); err != nil {
		return "", Principal{}, err
	}
	secret, now = draw(), s.now()
	err = s.put(ctx, &schemas.AccessSession{Hash: hashed(secret), User: name, Address: address, MadeAt: now, SeenAt: now})
	if err != nil {
		return "", Principal{}, err
	}
	return secret, Principal{name, Role(u.Role), ViaPage}, nil
}

// trim ends a user's sessions that no longer hold, and the oldest where there are too many.
func (s *Store) trim(ctx context.Context, name string) error {
	s.mu.Lock()
	var over []string
	var held []*schemas.AccessSession
	for _, x := range s.book.sessions {
		switch {
		case x.User != name:
		case !s.book.open(x, s.now()):
			over = append(over, x.Key())
		default:
			held = append(held, x)
		}
	}
	slices.SortFunc(held, func(a, b *schemas.AccessSession) int { return a.MadeAt.Compare(b.MadeAt) })
	for ; len(held) >= SessionsMax; held = held[1:] {
		over = append(over, held[0].Key())
	}
	s.mu.Unlock()
	for _, key := range over {
		if err := s.end(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// SignOut ends the session of a cookie; one that is none is no error.
func (s *Store) SignOut(ctx context.Context, secret string) error {
	s.mu.Lock()
	x := s.book.sessions[hashed(secret)]
	s.mu.Unlock()
	if x == nil {
		return nil
	}
	return s.end(ctx, x.Key())
}

// Session is who a cookie's value stands for, if its session holds.
func (s *Store) Session(secret string) (Principal, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	x := s.book.sessions[hashed(secret)]
	if !s.known || x == nil || !s.book.open(x, now) {
		return Principal{}, false
	}
	if now.Sub(x.SeenAt) >= SeenEvery {
		again := *x
		again.SeenAt = now
		s.touch(&again, now)
	}
	return Principal{x.User, Role(s.book.users[x.User].Role), ViaPage}, true
}

// end takes a session or a token, and the word of its last use.
func (s *Store) end(ctx context.Context, key string) error {
	if err := s.write(ctx, key, nil); err != nil {
		return err
	}
	return s.write(ctx, seenPrefix+key, nil)
}

// touch writes, without waiting, that something was used; what does not get through is written at a later use. It has a key
// of its own: written after a revocation that is not known here yet, it must not bring back what was revoked. s.mu is held.
func (s *Store) touch(r keyed, now time.Time) {
	if now.Sub(s.seen[r.Key()]) < SeenEvery {
		return
	}
	value, err := s.o.Encode(r)
	if err != nil {
		return
	}
	if len(s.seen) > UsersMax*SessionsMax {
		clear(s.seen)
	}
	s.seen[r.Key()] = now
	ctx, cancel := s.o.Clock.WithTimeout(context.Background(), writeTimeout)
	go s.o.Log.Append(ctx, &kgo.Record{Topic: schemas.TopicAccess, Partition: 0, Key: []byte(seenPrefix + r.Key()), Value: value}, func(*kgo.Record, error) { cancel() })
}

// AddToken makes a token. Its secret is told this once and kept nowhere. expires zero: never.
func (s *Store) AddToken(ctx context.Context, name string, role Role, expires time.Time, by string) (secret string, made Token, err error) {
	if name = strings.TrimSpace(name); name == "" || len(name) > nameBytesMax {
		return "", Token{}, fmt.Errorf("%w: say in 1 to %d bytes what the token is for", ErrInvalid, nameBytesMax)
	}
	if err := checkRole(role); err != nil {
		return "", Token{}, err
	}
	now := s.now()
	if !expires.IsZero() && !expires.After(now) {
		return "", Token{}, fmt.Errorf("%w: the token would have expired already", ErrInvalid)
	}
	secret = tokenPrefix + draw()
	t := &schemas.AccessToken{ID: strings.ToLower(draw()[:10]), Name: name, Hash: hashed(secret), Role: string(role), MadeBy: by, MadeAt: now, ExpiresAt: expires.UTC().Truncate(time.Millisecond)}
	if expires.IsZero() {
		t.ExpiresAt = time.Time{}
	}
	err = s.change(ctx, func() error {
		s.mu.Lock()
		n := len(s.book.tokens)
		s.mu.Unlock()
		if n >= TokensMax {
			return fmt.Errorf("%w: there are %d tokens already: revoke some", ErrInvalid, TokensMax)
		}
		return s.put(ctx, t)
	})
	if err != nil {
		return "", Token{}, err
	}
	return secret, shown(t, now), nil
}

// RevokeToken ends a token.
func (s *Store) RevokeToken(ctx context.Context, id string) (Token, error) {
	var was Token
	err := s.change(ctx, func() error {
		s.mu.Lock()
		t := s.book.tokens[id]
		s.mu.Unlock()
		if t == nil {
			return fmt.Errorf("token %.40q: %w", id, ErrNotFound)
		}
		was = shown(t, s.now())
		return s.end(ctx, t.Key())
	})
	return was, err
}

// Tokens lists the tokens, the newest first.
func (s *Store) Tokens() []Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Token{}
	for _, t := range s.book.tokens {
		out = append(out, shown(t, s.now()))
	}
	slices.SortFunc(out, func(a, b Token) int { return cmp.Or(b.MadeAt.Compare(a.MadeAt), cmp.Compare(a.ID, b.ID)) })
	return out
}

// Token is who a token stands for, if it holds.
func (s *Store) Token(secret string) (Principal, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.book.tokens[s.book.byHash[hashed(secret)]]
	now := s.now()
	if !s.known || t == nil || shown(t, now).Expired {
		return Principal{}, false
	}
	if now.Sub(t.UsedAt) >= SeenEvery {
		again := *t
		again.UsedAt = now
		s.touch(&again, now)
	}
	return Principal{"token " + t.Name, Role(t.Role), ViaToken}, true
}
