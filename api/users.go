package api

import (
	"net/http"
	"time"

	"github.com/tillstream/tillstream/pipeline/access"
)

// UserList is the answer of GET /api/v1/users.
type UserList struct {
	Items []access.User `json:"items"`
}

// NewUser is the body of POST /api/v1/users.
type NewUser struct {
	Name     string      `json:"name"`
	Role     access.Role `json:"role"`
	Password string      `json:"password"`
}

// UserChange is the body of PATCH /api/v1/users/{name}: what is absent stays.
type UserChange struct {
	Role     access.Role `json:"role,omitempty"`
	Password string      `json:"password,omitempty"`
}

// TokenList is the answer of GET /api/v1/tokens.
type TokenList struct {
	Items []access.Token `json:"items"`
}

// NewToken is the body of POST /api/v1/tokens.
type NewToken struct {
	Name string      `json:"name"` // what it is for
	Role access.Role `json:"role"`
	// ExpiresAt: absent: in 90 days, unless Never.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Never     bool      `json:"never,omitempty"`
}

// MadeToken is the answer to it. The secret is told this once.
type MadeToken struct {
	access.Token
	Secret string `json:"secret"`
}

// userRoutes manage users and tokens.
func (b *Board) userRoutes(t *table) {
	part := served[*Access]{of: b.storeOf, missing: missingAccess}
	part.route(t, Route{Method: "GET", Path: "/api/v1/users", Role: Admin, CLI: "tillstream users list", Answer: UserList{}, Summary: "Who may sign in, with which role"},
		func(a *Access, _ *http.Request, _ *query) (any, error) { return UserList{a.Store.Users()}, nil })
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/users", Once: true, Role: Admin, CLI: "tillstream users add", Body: NewUser{}, Answer: access.User{}, Code: http.StatusCreated, Summary: "Add a user",
	}, func(a *Access, r *http.Request, _ *query) (any, error) {
		var body NewUser
		if err := decodeBody(r, &body); err != nil {
			return nil, err
		}
		note(r).subject = body.Name
		if err := a.Store.AddUser(r.Context(), body.Name, body.Role, body.Password, asker(r).Name); err != nil {
			return nil, accessProblem(err)
		}
		return a.Store.User(body.Name)
	})
	part.route(t, Route{
		Method: "PATCH", Path: "/api/v1/users/{name}", Role: Admin, CLI: "tillstream users role", Body: UserChange{}, Answer: access.User{},
		Summary: "Give a user another role or password",
	}, changeUser)
	part.route(t, Route{Method: "DELETE", Path: "/api/v1/users/{name}", Role: Admin, CLI: "tillstream users remove", Answer: UserList{}, Summary: "Remove a user and end the user's sessions"},
		func(a *Access, r *http.Request, _ *query) (any, error) {
			if was, err := a.Store.User(r.PathValue("name")); err == nil {
				note(r).before = was
			}
			if err := a.Store.RemoveUser(r.Context(), r.PathValue("name")); err != nil {
				return nil, accessProblem(err)
			}
			return UserList{a.Store.Users()}, nil
		})
	tokenRoutes(t, part)
}

func changeUser(a *Access, r *http.Request, _ *query) (any, error) {
	var body UserChange
	if err := decodeBody(r, &body); err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	was, err := a.Store.User(name)
	if err != nil {
		return nil, accessProblem(err)
	}
	note(r).before = was
	if body == (UserChange{}) {
		return nil, badBody("say role, password, or both")
	}
	if body.Password != "" {
		if err := a.Store.SetPassword(r.Context(), name, body.Password); err != nil {
			return nil, accessProblem(err)
		}
	}
	if body.Role != "" {
		if err := a.Store.SetRole(r.Context(), name, body.Role); err != nil {
			return nil, accessProblem(err)
		}
	}
	return a.Store.User(name)
}

func tokenRoutes(t *table, part served[*Access]) {
	part.route(t, Route{Method: "GET", Path: "/api/v1/tokens", Role: Admin, CLI: "tillstream tokens list", Answer: TokenList{}, Summary: "Tokens of programs, the newest first"},
		func(a *Access, _ *http.Request, _ *query) (any, error) { return TokenList{a.Store.Tokens()}, nil })
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/tokens", Role: Admin, CLI: "tillstream tokens add", Body: NewToken{}, Answer: MadeToken{}, Code: http.StatusCreated,
		Summary: "Make a token; its secret is told this once",
	}, func(a *Access, r *http.Request, _ *query) (any, error) {
		var body NewToken
		if err := decodeBody(r, &body); err != nil {
			return nil, err
		}
		note(r).subject = body.Name
		expires := body.ExpiresAt
		switch {
		case body.Never && !expires.IsZero():
			return nil, badBody("say expires_at or never, not both")
		case expires.IsZero() && !body.Never:
			expires = time.Now().Add(access.TokenDefault)
		}
		secret, made, err := a.Store.AddToken(r.Context(), body.Name, body.Role, expires, asker(r).Name)
		if err != nil {
			return nil, accessProblem(err)
		}
		return MadeToken{made, secret}, nil
	})
	part.route(t, Route{Method: "DELETE", Path: "/api/v1/tokens/{id}", Role: Admin, CLI: "tillstream tokens revoke", Answer: access.Token{}, Summary: "Revoke a token"},
		func(a *Access, r *http.Request, _ *query) (any, error) {
			was, err := a.Store.RevokeToken(r.Context(), r.PathValue("id"))
			if err != nil {
				return nil, accessProblem(err)
			}
			note(r).before = was
			return was, nil
		})
}
