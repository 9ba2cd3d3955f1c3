package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"time"

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
	// PrivateAddresses: what is connected here may lie inside the network, as a simulator does. Elsewhere a file says so.
	PrivateAddresses bool `json:"private_addresses"`
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

func (b *Board) deskOf() (*connections.Desk, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.desk, b.desk != nil
}

// connectionRoutes are about the accounts and stores that events come from. A secret is taken and never told.
func (b *Board) connectionRoutes(t *table) {
	part := served[*connections.Desk]{of: b.deskOf, missing: "this process does not follow a folder of connections, or has not begun to"}
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/connectors", Role: Viewer, CLI: "tillstream connect", Answer: ConnectorList{}, Summary: "What can be connected, with resources, fields and settings",
	}, func(d *connections.Desk, _ *http.Request, _ *query) (any, error) {
		list, err := d.Connectors()
		return ConnectorList{list, d.AllowPrivate}, err
	})
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/connections", Role: Viewer, CLI: "tillstream connections", Answer: ConnectionList{}, Summary: "Every connection, with its webhook and its alarms",
	}, func(d *connections.Desk, _ *http.Request, _ *query) (any, error) {
		list, err := d.List()
		dir, unknown := filepath.Abs(d.Dir)
		if unknown != nil {
			dir = d.Dir
		}
		return ConnectionList{dir, list}, err
	})
	part.route(t, Route{
		Method: "GET", Path: "/api/v1/connections/{name}", Role: Viewer, CLI: "tillstream connections show", Answer: connections.View{}, Summary: "One connection",
	}, func(d *connections.Desk, r *http.Request, _ *query) (any, error) { return d.Show(r.PathValue("name")) })
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/connections", Once: true, Role: Operator, CLI: "tillstream connect", Body: connections.Draft{}, Answer: &connections.Result{}, Code: http.StatusCreated,
		Summary: "Connect an account or a store",
	}, func(d *connections.Desk, r *http.Request, _ *query) (any, error) {
		var draft connections.Draft
		if err := decodeBody(r, &draft); err != nil {
			return nil, err
		}
		return d.Connect(r.Context(), draft)
	})
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/connections/check", Role: Operator, CLI: "tillstream connect", Body: connections.Draft{}, Answer: CheckResult{},
		Summary: "Try what would be connected, and write nothing",
	}, func(d *connections.Desk, r *http.Request, _ *query) (any, error) {
		var draft connections.Draft
		if err := decodeBody(r, &draft); err != nil {
			return nil, err
		}
		found, err := d.CheckDraft(r.Context(), draft)
		return CheckResult{found}, err
	})
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/connections/{name}/check", Role: Operator, CLI: "tillstream connections check", Answer: CheckResult{}, Summary: "Try a connection's credentials and permissions",
	}, func(d *connections.Desk, r *http.Request, _ *query) (any, error) {
		found, err := d.CheckConnection(r.Context(), r.PathValue("name"))
		return CheckResult{found}, err
	})
	b.connectionChanges(t, part)
}

func (b *Board) connectionChanges(t *table, part served[*connections.Desk]) {
	part.route(t, Route{
		Method: "PATCH", Path: "/api/v1/connections/{name}", Role: Operator, CLI: "tillstream connections add-resource", Body: ResourcesChange{}, Answer: &connections.Result{},
		Summary: "Replace, add or remove what a connection receives",
	}, func(d *connections.Desk, r *http.Request, _ *query) (any, error) {
		var change ResourcesChange
		if err := decodeBody(r, &change); err != nil {
			return nil, err
		}
		return changeResources(r.Context(), d, r.PathValue("name"), change)
	})
	part.route(t, Route{
		Method: "DELETE", Path: "/api/v1/connections/{name}", Role: Operator, CLI: "tillstream disconnect", Params: []Param{forgetParam}, Answer: &connections.Result{},
		Summary: "Disconnect a connection",
	}, func(d *connections.Desk, r *http.Request, q *query) (any, error) {
		forget := q.flag("forget")
		if q.err != nil {
			return nil, q.err
		}
		return d.Disconnect(r.Context(), r.PathValue("name"), forget)
	})
	part.route(t, Route{
		Method: "POST", Path: "/api/v1/connections/{name}/reconnect", Once: true, Role: Operator, CLI: "tillstream connect --reconnect", Body: Reconnection{}, Answer: &connections.Result{},
		Summary: "Connect a disconnected connection again",
	}, func(d *connections.Desk, r *http.Request, _ *query) (any, error) {
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

// decodeBody reads JSON strictly: one value, no key twice, none unknown.
func decodeBody(r *http.Request, v any) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return Refuse(CodeNotJSON, "the body is not sent as application/json")
	}
	body, err := io.ReadAll(r.Body)
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return Refuse(CodeTooLarge, "the body is longer than %d bytes", long.Limit)
	case err != nil:
		return badBody("the body cannot be read")
	}
	if _, err := strictjson.Parse(body); err != nil {
		return badBody("the body is not JSON as it should be")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) { // without its value, which may be a secret
			p := Refuse(CodeInvalid, "%s is not of the type that it should have", kind.Field)
			p.Field = kind.Field
			return p
		}
		return badBody("the body has a key that is not known")
	}
	signed(r, v)
	return nil
}

// signed puts the name of who is signed in where a body says by whom it is: nobody acts in another's name.
func signed(r *http.Request, body any) {
	name := signedIn(r)
	at := reflect.ValueOf(body)
	if name == "" || at.Kind() != reflect.Pointer || at.Elem().Kind() != reflect.Struct {
		return
	}
	if by := at.Elem().FieldByName("By"); by.IsValid() && by.Kind() == reflect.String {
		by.SetString(name)
	}
}
