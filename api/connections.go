package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/tillstream/tillstream/outbound"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/connections"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// Bounds of a request about connections.
const (
	draftBytesMax = 64 << 10
	// deskTimeout is shorter than the server's own limit, so that a slow provider still gets an answer said.
	deskTimeout = 28 * time.Second
)

// ConnectionList is the answer of GET /connections.
type ConnectionList struct {
	Folder      string             `json:"folder"` // of the configuration, as this process sees it
	Connections []connections.View `json:"connections"`
}

// ConnectorList is the answer of GET /connectors.
type ConnectorList struct {
	Connectors []connections.ConnectorView `json:"connectors"`
}

// CheckResult is the answer of a check.
type CheckResult struct {
	Findings []connections.FindingView `json:"findings"`
}

// ResourcesChange is the body of PATCH /connections/{name}: one of the three.
type ResourcesChange struct {
	Resources []string `json:"resources,omitempty"` // all that it is to receive
	Add       string   `json:"add,omitempty"`
	Remove    string   `json:"remove,omitempty"`
	Force     bool     `json:"force,omitempty"`
}

// Reconnection is the body of POST /connections/{name}/reconnect.
type Reconnection struct {
	Force bool `json:"force"`
}

// RefusedRequest is the answer to what was not done.
type RefusedRequest struct {
	Outcome  string                    `json:"outcome"`
	Detail   string                    `json:"detail"`
	Findings []connections.FindingView `json:"findings,omitempty"` // of the check that refused it
	Problems []string                  `json:"problems,omitempty"` // of the configuration as it would be
}

// Remove takes a part off the board; nothing where there is none of that name.
func (b *Board) Remove(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probes = slices.DeleteFunc(b.probes, func(p *probe) bool { return p.part.Name == name })
}

// SetConnections has the handler answer about connections through desk.
func (b *Board) SetConnections(desk *connections.Desk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.desk = desk
}

// connectionRoutes serves
//
//	GET    /connectors                     what can be connected, with resources, fields and settings
//	GET    /connections                    every connection, with its webhook and its alarms
//	GET    /connections/{name}             one of them
//	POST   /connections                    connects an account: a connections.Draft
//	POST   /connections/check              tries a draft, and writes nothing
//	POST   /connections/{name}/check       tries a connection
//	PATCH  /connections/{name}             replaces, adds or removes resources
//	DELETE /connections/{name}             disconnects it; ?forget=true deletes its file and secrets, too
//	POST   /connections/{name}/reconnect   connects a disconnected one again
//
// All but GET need ActionHeader, and a body of application/json where they take one. A secret is taken and never told.
// Each answer of an error is a RefusedRequest.
func (b *Board) connectionRoutes(mux *http.ServeMux) {
	read := func(pattern string, f func(*connections.Desk, *http.Request) (any, error)) {
		mux.HandleFunc(pattern, b.desked(ownHost, http.StatusOK, f))
	}
	act := func(pattern string, code int, f func(*connections.Desk, *http.Request) (any, error)) {
		mux.HandleFunc(pattern, b.desked(asked, code, f))
	}
	read("GET /connectors", func(d *connections.Desk, _ *http.Request) (any, error) {
		list, err := d.Connectors()
		return ConnectorList{list}, err
	})
	read("GET /connections", func(d *connections.Desk, _ *http.Request) (any, error) {
		list, err := d.List()
		dir, unknown := filepath.Abs(d.Dir)
		if unknown != nil {
			dir = d.Dir
		}
		return ConnectionList{dir, list}, err
	})
	read("GET /connections/{name}", func(d *connections.Desk, r *http.Request) (any, error) { return d.Show(r.PathValue("name")) })
	act("POST /connections", http.StatusCreated, func(d *connections.Desk, r *http.Request) (any, error) {
		var draft connections.Draft
		if err := decodeBody(r, &draft); err != nil {
			return nil, err
		}
		return d.Connect(r.Context(), draft)
	})
	act("POST /connections/check", http.StatusOK, func(d *connections.Desk, r *http.Request) (any, error) {
		var draft connections.Draft
		if err := decodeBody(r, &draft); err != nil {
			return nil, err
		}
		found, err := d.CheckDraft(r.Context(), draft)
		return CheckResult{found}, err
	})
	act("POST /connections/{name}/check", http.StatusOK, func(d *connections.Desk, r *http.Request) (any, error) {
		found, err := d.CheckConnection(r.Context(), r.PathValue("name"))
		return CheckResult{found}, err
	})
	act("PATCH /connections/{name}", http.StatusOK, func(d *connections.Desk, r *http.Request) (any, error) {
		var change ResourcesChange
		if err := decodeBody(r, &change); err != nil {
			return nil, err
		}
		return changeResources(r.Context(), d, r.PathValue("name"), change)
	})
	act("DELETE /connections/{name}", http.StatusOK, func(d *connections.Desk, r *http.Request) (any, error) {
		forget := r.URL.Query().Get("forget")
		if forget != "" && forget != "true" && forget != "false" {
			return nil, badBody("forget is true or false")
		}
		return d.Disconnect(r.Context(), r.PathValue("name"), forget == "true")
	})
	act("POST /connections/{name}/reconnect", http.StatusOK, func(d *connections.Desk, r *http.Request) (any, error) {
		var body Reconnection
		if r.ContentLength != 0 {
			if err := decodeBody(r, &body); err != nil {
				return nil, err
			}
		}
		return d.Reconnect(r.Context(), r.PathValue("name"), body.Force)
	})
}

func changeResources(ctx context.Context, d *connections.Desk, name string, c ResourcesChange) (any, error) {
	switch {
	case c.Add != "" && c.Remove == "" && c.Resources == nil:
		return d.AddResource(ctx, name, c.Add, c.Force)
	case c.Remove != "" && c.Add == "" && c.Resources == nil:
		return d.RemoveResource(ctx, name, c.Remove)
	case c.Resources != nil && c.Add == "" && c.Remove == "":
		return d.SetResources(ctx, name, c.Resources, c.Force)
	}
	return nil, badBody("say one of resources, add and remove")
}

// desked answers with what f says.
func (b *Board) desked(admit func(*http.Request) error, code int, f func(*connections.Desk, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := admit(r); err != nil {
			answer(w, http.StatusForbidden, RefusedRequest{Outcome: "refused", Detail: err.Error()})
			return
		}
		b.mu.Lock()
		desk := b.desk
		b.mu.Unlock()
		if desk == nil {
			answer(w, http.StatusNotFound, RefusedRequest{Outcome: string(connections.NotFound), Detail: "this process does not follow a folder of connections, or has not begun to"})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), deskTimeout)
		defer cancel()
		r.Body = http.MaxBytesReader(w, r.Body, draftBytesMax)
		got, err := f(desk, r.WithContext(ctx))
		if err != nil {
			status, said := refusal(err)
			answer(w, status, said)
			return
		}
		answer(w, code, got)
	}
}

// badBody is a request that cannot be read.
type badBody string

func (b badBody) Error() string { return string(b) }

// decodeBody reads JSON strictly: one value, no key twice, none unknown.
func decodeBody(r *http.Request, v any) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return badBody("the body is not sent as application/json")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return badBody(fmt.Sprintf("the body cannot be read, or is longer than %d bytes", draftBytesMax))
	}
	if _, err := strictjson.Parse(body); err != nil {
		return badBody("the body is not JSON as it should be")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) { // without its value, which may be a secret
			return badBody(fmt.Sprintf("%s is not of the type that it should have", kind.Field))
		}
		return badBody("the body has a key that is not known")
	}
	return nil
}

// refusal is the answer to an error.
func refusal(err error) (int, RefusedRequest) {
	var bad badBody
	var refused *connections.Refusal
	var problems config.Problems
	switch {
	case errors.As(err, &bad):
		return http.StatusBadRequest, RefusedRequest{Outcome: string(connections.Invalid), Detail: string(bad)}
	case errors.As(err, &refused):
		return statusOf(refused.Kind), RefusedRequest{Outcome: string(refused.Kind), Detail: refused.Detail, Findings: refused.Findings}
	case errors.As(err, &problems):
		said := RefusedRequest{Outcome: "config_refused", Detail: "the configuration would not be good, and nothing is changed"}
		for _, p := range problems {
			said.Problems = append(said.Problems, p.String())
		}
		return http.StatusUnprocessableEntity, said
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout, RefusedRequest{Outcome: string(connections.Failed), Detail: "the provider did not answer in time; try again"}
	}
	return http.StatusInternalServerError, RefusedRequest{Outcome: string(connections.Failed), Detail: outbound.Redact(err.Error())}
}

func statusOf(k connections.RefusalKind) int {
	switch k {
	case connections.Invalid:
		return http.StatusBadRequest
	case connections.NotFound:
		return http.StatusNotFound
	case connections.Conflict:
		return http.StatusConflict
	case connections.CheckBad:
		return http.StatusUnprocessableEntity
	}
	return http.StatusBadGateway
}
