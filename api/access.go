package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tillstream/tillstream/pipeline/access"
)

// Names of the session's cookie. With the prefix a browser takes it only over TLS, for this host, and for every path.
const (
	cookieName       = "tillstream"
	cookieNameSecure = "__Host-tillstream"
)

// Access is who may do what at the port.
type Access struct {
	Store *access.Store
	Trail *access.Trail
	// Local: as long as there is no user, whoever reaches the port is an admin: it is on loopback, or its network is closed.
	Local bool
	// Secure: the port speaks TLS.
	Secure bool
	// Environments lists the environments that are configured.
	Environments func() []string
}

// SetAccess has the port ask who asks. Without it the port is open to whoever reaches it: for tests alone.
func (b *Board) SetAccess(a Access) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.access = &a
}

func (b *Board) accessOf() (*Access, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.access, b.access != nil
}

// roleOf is a role of package access.
func roleOf(r access.Role) Role { return Role(1 + slices.Index(access.Roles, r)) }

type principalKey struct{}

// asker is who asks, with the role that a route needs; a local one has every role.
func asker(r *http.Request) access.Principal {
	p, _ := r.Context().Value(principalKey{}).(access.Principal)
	return p
}

// localName is who asks where nobody signs in.
const localName = "local"

// identify says who asks; the zero principal: nobody.
func (g *gate) identify(r *http.Request, route Route) (access.Principal, *Problem) {
	local := access.Principal{Name: localName, Role: access.Admin, Via: access.ViaLocal}
	a, ok := g.board.accessOf()
	if !ok {
		return local, nil
	}
	if a.Store == nil || a.Store.Ready() != nil {
		if route.early && a.Local {
			return local, nil
		}
		if route.Role == Anyone {
			return access.Principal{}, nil
		}
		return access.Principal{}, Refuse(CodeAccessUnknown, "who may do what was not read from Kafka yet")
	}
	if secret, sent := bearer(r); sent {
		if who, ok := a.Store.Token(secret); ok {
			return who, nil
		}
		if route.Role > Anyone {
			return access.Principal{}, Refuse(CodeTokenRefused, "the token is not valid")
		}
		return access.Principal{}, nil
	}
	if who, ok := a.Store.Session(sessionOf(r)); ok {
		return who, nil
	}
	switch {
	case a.Store.HasUsers() || route.Role == Anyone && !a.Local:
		return access.Principal{}, nil
	case a.Local:
		return local, nil
	}
	return access.Principal{}, Refuse(CodeNoUsers, "there is no user yet, and the port is reachable from other machines")
}

// bearer is the token of a request.
func bearer(r *http.Request) (secret string, sent bool) {
	scheme, secret, found := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(secret), found && strings.EqualFold(scheme, "Bearer")
}

// sessionOf is the value of the session's cookie.
func sessionOf(r *http.Request) string {
	name := cookieName
	if r.TLS != nil {
		name = cookieNameSecure
	}
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

// allow decides by the role.
func (g *gate) allow(r *http.Request, route Route) (*http.Request, *Problem) {
	who, refused := g.identify(r, route)
	if refused != nil {
		return r, refused
	}
	r = r.WithContext(context.WithValue(r.Context(), principalKey{}, who))
	switch has := roleOf(who.Role); {
	case has >= route.Role:
		if r.URL.Query().Get("personal_data") == "true" {
			return r, unmasks(who)
		}
		return r, nil
	case who.Name == "":
		return r, Refuse(CodeSignIn, "nobody is signed in, and this needs the role %s", route.Role)
	default:
		return r, Refuse(CodeRole, "%s has the role %s, and this needs %s", who.Name, who.Role, route.Role)
	}
}

// addressOf is where a request comes from. A header that says otherwise could be anybody's.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// SessionUser is who is signed in.
type SessionUser struct {
	Name string      `json:"name"`
	Role access.Role `json:"role"`
}

// Session is the answer of GET /api/v1/session.
type Session struct {
	User           *SessionUser `json:"user"` // null: nobody
	SignInRequired bool         `json:"sign_in_required"`
	Version        string       `json:"version"`
	Environments   []string     `json:"environments"`
	Language       string       `json:"language"` // that the browser asks for: en, it or fr
}

// SignIn is the body of POST /api/v1/session.
type SignIn struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// languages are those of the page.
var languages = []string{"en", "it", "fr"}

func languageOf(r *http.Request) string {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		tag, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		tag, _, _ = strings.Cut(strings.ToLower(tag), "-")
		if slices.Contains(languages, tag) {
			return tag
		}
	}
	return languages[0]
}

func (b *Board) session(r *http.Request) Session {
	s := Session{Version: b.info["version"], Environments: []string{}, Language: languageOf(r)}
	if who := asker(r); who.Name != "" {
		s.User = &SessionUser{who.Name, who.Role}
	}
	a, ok := b.accessOf()
	if !ok {
		return s
	}
	s.SignInRequired = a.Store == nil || a.Store.HasUsers() || !a.Local
	if a.Environments != nil && (s.User != nil || !s.SignInRequired) {
		s.Environments = a.Environments()
	}
	return s
}

func cookie(secret string, secure bool, age int) *http.Cookie {
	c := &http.Cookie{Name: cookieName, Value: secret, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: secure, MaxAge: age}
	if secure {
		c.Name = cookieNameSecure
	}
	return c
}

// noSession is why the command line has no part in sessions.
const noSession = "sessions are the page's; the command line shows a token with each request"

// sessionRoutes are sign-in and sign-out.
func (b *Board) sessionRoutes(t *table) {
	t.add(Route{Method: "GET", Path: "/api/v1/session", NoCLI: noSession, Answer: Session{}, Summary: "Who is signed in, and what the page begins with"},
		func(_ http.ResponseWriter, r *http.Request, _ *query) (any, error) { return b.session(r), nil })
	part := served[*Access]{of: b.storeOf, missing: missingAccess}
	part.stream(t, Route{
		Method: "POST", Path: "/api/v1/session", NoCLI: noSession, Body: SignIn{}, Answer: Session{}, Summary: "Sign in; the session is a cookie",
	}, func(a *Access, w http.ResponseWriter, r *http.Request, _ *query) (any, error) {
		var body SignIn
		if err := decodeBody(r, &body); err != nil {
			return nil, err
		}
		note(r).subject, note(r).who = body.Name, body.Name
		noteChange(r, nil, nil) // nothing of a body with a password
		secret, who, err := a.Store.SignIn(r.Context(), body.Name, body.Password, addressOf(r), sessionOf(r))
		if err != nil {
			return nil, refusedSignIn(r, err)
		}
		http.SetCookie(w, cookie(secret, r.TLS != nil, int(access.SessionAbsolute.Seconds())))
		return b.session(r.WithContext(context.WithValue(r.Context(), principalKey{}, who))), nil
	})
	part.stream(t, Route{Method: "DELETE", Path: "/api/v1/session", NoCLI: noSession, Answer: Session{}, Summary: "Sign out"},
		func(a *Access, w http.ResponseWriter, r *http.Request, _ *query) (any, error) {
			http.SetCookie(w, cookie("", r.TLS != nil, -1))
			if err := a.Store.SignOut(r.Context(), sessionOf(r)); err != nil {
				return nil, err
			}
			return b.session(r.WithContext(context.WithValue(r.Context(), principalKey{}, access.Principal{}))), nil
		})
}

const missingAccess = "this process has not reached Kafka yet, where users and tokens are kept"

func (b *Board) storeOf() (*Access, bool) {
	a, ok := b.accessOf()
	return a, ok && a.Store != nil && a.Store.Ready() == nil
}

func refusedSignIn(r *http.Request, err error) error {
	var many *access.TooMany
	switch {
	case errors.As(err, &many):
		note(r).silent = true // the attempts before it are recorded; more would fill the log
		p := Refuse(CodeTooManySignIns, "%s", many.Error())
		p.retryAfter = max(1, int(many.Wait/time.Second)+1)
		return p
	case errors.Is(err, access.ErrSignIn):
		return Refuse(CodeSignInRefused, "%s", err.Error())
	}
	return accessProblem(err)
}

// accessProblem is the refusal that an error of package access means.
func accessProblem(err error) error {
	for is, code := range map[error]Code{
		access.ErrInvalid: CodeInvalid, access.ErrNotFound: CodeNotFound, access.ErrExists: CodeConflict, access.ErrLastAdmin: CodeLastAdmin,
	} {
		if errors.Is(err, is) {
			return Refuse(code, "%s", err.Error())
		}
	}
	return err
}
