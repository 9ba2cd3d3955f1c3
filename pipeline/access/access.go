// Package access knows who may do what: users with a role and a password, sessions of the page, and tokens of programs. The
// topic access is the only truth, so that it holds for every process and over restarts. Of a password, a session's cookie
// and a token only hashes are kept.
package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// Bounds of what people choose, and of how long it holds.
const (
	SessionIdle     = 12 * time.Hour
	SessionAbsolute = 7 * 24 * time.Hour
	// SeenEvery is how exact the last use of a session or a token is kept.
	SeenEvery = 5 * time.Minute

	PasswordBytesMin = 12
	PasswordBytesMax = 1024
	UsersMax         = 1_000
	TokensMax        = 1_000
	SessionsMax      = 20 // of one user: the oldest ends
	TokenDefault     = 90 * 24 * time.Hour
	nameBytesMax     = 100
	tokenPrefix      = "tills_"
)

// Role is what a user or a token may do.
type Role string

// Roles, from the lowest.
const (
	Viewer   Role = "viewer"
	Operator Role = "operator"
	Admin    Role = "admin"
)

// Roles lists them from the lowest.
var Roles = []Role{Viewer, Operator, Admin}

// What is refused.
var (
	ErrInvalid  = errors.New("it is refused")
	ErrNotFound = errors.New("there is none of that name")
	ErrExists   = errors.New("there is one of that name already")
	// ErrLastAdmin: nobody would be left who may manage users.
	ErrLastAdmin = errors.New("it is the last admin")
	// ErrSignIn never says whether the name or the password is wrong.
	ErrSignIn = errors.New("the name or the password is wrong")
)

// Via says how somebody proved who asks.
type Via string

// The ways.
const (
	ViaPage  Via = "page"
	ViaToken Via = "token"
	ViaLocal Via = "local" // on the machine itself, while there is no user
)

// Principal is who asks.
type Principal struct {
	Name string
	Role Role
	Via  Via
}

// User is a user as it is shown.
type User struct {
	Name        string    `json:"name"`
	Role        Role      `json:"role"`
	MadeBy      string    `json:"made_by"`
	MadeAt      time.Time `json:"made_at"`
	HasPassword bool      `json:"has_password"`
	Sessions    int       `json:"sessions"` // that are open now
}

// Token is a token as it is shown.
type Token struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Role      Role      `json:"role"`
	MadeBy    string    `json:"made_by"`
	MadeAt    time.Time `json:"made_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // absent: never
	UsedAt    time.Time `json:"used_at,omitzero"`    // to a few minutes; absent: never
	Expired   bool      `json:"expired"`
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]*$`)

func checkName(name string) error {
	if len(name) > nameBytesMax || !namePattern.MatchString(name) {
		return fmt.Errorf("%w: a name has 1 to %d letters, digits and . _ @ + -, and begins with a letter or digit", ErrInvalid, nameBytesMax)
	}
	return nil
}

func checkRole(r Role) error {
	if !slices.Contains(Roles, r) {
		return fmt.Errorf("%w: the role %.40q is none of viewer, operator and admin", ErrInvalid, string(r))
	}
	return nil
}

// CheckPassword says what is wrong with a password for the user of that name.
func CheckPassword(name, password string) error {
	switch {
	case len(password) < PasswordBytesMin || len(password) > PasswordBytesMax:
		return fmt.Errorf("%w: a password has %d to %d bytes", ErrInvalid, PasswordBytesMin, PasswordBytesMax)
	case strings.Contains(strings.ToLower(password), strings.ToLower(name)) && len(password) < 2*len(name)+PasswordBytesMin:
		return fmt.Errorf("%w: the password is little more than the name", ErrInvalid)
	case len(strings.Trim(password, password[:1])) == 0:
		return fmt.Errorf("%w: the password is one character over and over", ErrInvalid)
	}
	return nil
}

// hashed is what is kept of a cookie or a token: both are drawn with 130 random bits, so that no salt is needed.
func hashed(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// draw is a new secret of 130 random bits.
func draw() string { return rand.Text() }

// book is what the topic says. It is not safe for concurrent use.
type book struct {
	users    map[string]*schemas.AccessUser
	sessions map[string]*schemas.AccessSession // by hash
	tokens   map[string]*schemas.AccessToken   // by id
	byHash   map[string]string                 // of tokens: hash to id
}

func newBook() *book {
	return &book{map[string]*schemas.AccessUser{}, map[string]*schemas.AccessSession{}, map[string]*schemas.AccessToken{}, map[string]string{}}
}

// remove takes what a tombstone names.
func (b *book) remove(key string) {
	kind, name, _ := strings.Cut(key, "/")
	switch kind {
	case "user":
		delete(b.users, name)
		for hash, s := range b.sessions {
			if s.User == name {
				delete(b.sessions, hash)
			}
		}
	case "session":
		delete(b.sessions, name)
	case "token":
		if t := b.tokens[name]; t != nil {
			delete(b.byHash, t.Hash)
			delete(b.tokens, name)
		}
	}
}

// seenPrefix begins the key of the last use of a session or a token, which counts while that is there.
const seenPrefix = "seen/"

// put notes a record; false: it is of another kind.
func (b *book) put(key string, r schemas.Record) bool {
	seen := strings.HasPrefix(key, seenPrefix)
	switch r := r.(type) {
	case *schemas.AccessUser:
		b.users[r.Name] = r
	case *schemas.AccessSession:
		if was := b.sessions[r.Hash]; seen && was != nil {
			again := *was
			again.SeenAt = r.SeenAt
			b.sessions[r.Hash] = &again
		} else if !seen {
			b.sessions[r.Hash] = r
		}
	case *schemas.AccessToken:
		was := b.tokens[r.ID]
		if seen && was != nil {
			again := *was
			again.UsedAt = r.UsedAt
			b.tokens[r.ID] = &again
		} else if !seen {
			if was != nil {
				delete(b.byHash, was.Hash)
			}
			b.tokens[r.ID], b.byHash[r.Hash] = r, r.ID
		}
	default:
		return false
	}
	return true
}

// open reports whether a session holds at now.
func (b *book) open(s *schemas.AccessSession, now time.Time) bool {
	u := b.users[s.User]
	return u != nil && !s.MadeAt.Before(u.PasswordAt) && now.Sub(s.SeenAt) < SessionIdle && now.Sub(s.MadeAt) < SessionAbsolute
}

// admins counts who may manage users, without the one named.
func (b *book) admins(without string) (n int) {
	for name, u := range b.users {
		if name != without && Role(u.Role) == Admin && u.Password != "" {
			n++
		}
	}
	return n
}

func (b *book) user(u *schemas.AccessUser, now time.Time) User {
	out := User{Name: u.Name, Role: Role(u.Role), MadeBy: u.MadeBy, MadeAt: u.MadeAt, HasPassword: u.Password != ""}
	for _, s := range b.sessions {
		if s.User == u.Name && b.open(s, now) {
			out.Sessions++
		}
	}
	return out
}

// never reports whether a time on the log means that there was none.
func never(t time.Time) bool { return t.IsZero() || t.Unix() <= 0 }

func shown(t *schemas.AccessToken, now time.Time) Token {
	out := Token{ID: t.ID, Name: t.Name, Role: Role(t.Role), MadeBy: t.MadeBy, MadeAt: t.MadeAt}
	if !never(t.ExpiresAt) {
		out.ExpiresAt, out.Expired = t.ExpiresAt, !now.Before(t.ExpiresAt)
	}
	if !never(t.UsedAt) {
		out.UsedAt = t.UsedAt
	}
	return out
}
