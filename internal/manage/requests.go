package manage

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// Bounds of what a preview writes down.
const (
	requestsMax         = 20
	requestBodyBytesMax = 256 << 10
)

// requests has the destination's own writer write the contact to a door that lets nothing out, and notes what came there.
func (v *viewer) requests(ctx context.Context, c schemas.Command) {
	i := slices.IndexFunc(v.cfg.Destinations, func(d config.Destination) bool { return d.Name == v.file.Destination })
	if i < 0 {
		return
	}
	d := v.cfg.Destinations[i]
	door := &door{}
	ctx, cancel := context.WithTimeout(ctx, previewTimeout)
	defer cancel()
	w, err := d.Sink.Open(ctx, d.Settings, sinks.Env{Destination: d.Name, Now: v.now, Log: zerolog.Nop(), HTTP: &http.Client{Transport: door}})
	if err != nil {
		v.r.NotChecked = append(v.r.NotChecked, "the requests: "+firstLine(err))
		return
	}
	defer func() { _ = w.Close() }()
	_ = w.Write(ctx, []schemas.Command{c}) // what comes of it is the door's answer, and means nothing
	v.r.Requests = append(v.r.Requests, door.seen...)
	if len(door.seen) == 0 {
		v.r.NotChecked = append(v.r.NotChecked, "the requests: the first depends on what the account answers, and a preview asks it nothing")
	}
}

// door is a provider that takes everything and has nothing. It is asked by one goroutine at a time.
type door struct {
	seen []api.PreviewRequestBody
}

// RoundTrip implements http.RoundTripper. A reading finds an empty list; a writing is noted, and answered by what it wrote with
// an id, as REST services do.
func (d *door) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	answer := []byte("{}")
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(io.LimitReader(r.Body, requestBodyBytesMax)) // what is cut is no JSON, and is left out
		_ = r.Body.Close()
	}
	if r.Method != http.MethodGet && len(d.seen) < requestsMax {
		seen := api.PreviewRequestBody{Method: r.Method, Path: r.URL.Path}
		if json.Valid(body) {
			seen.Body = body
			answer = withID(body)
		}
		d.seen = append(d.seen, seen)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(answer)), ContentLength: int64(len(answer)),
	}, nil
}

// withID gives the object, and each object in it, an id.
func withID(body []byte) []byte {
	var m map[string]any
	if json.Unmarshal(body, &m) != nil {
		return []byte("{}")
	}
	for _, value := range m {
		if inner, ok := value.(map[string]any); ok {
			inner["id"] = "0"
		}
	}
	m["id"] = "0"
	b, err := json.Marshal(m)
	if err != nil {
		return []byte("{}")
	}
	return b
}

// maskedBody hides what tells who the customer is: every text that is, or holds, one of the contact's.
func maskedBody(body json.RawMessage, after *schemas.Contact) json.RawMessage {
	var v any
	if len(body) == 0 || json.Unmarshal(body, &v) != nil {
		return nil
	}
	personal := map[string]bool{"email": true, "firstName": true, "first_name": true, "lastName": true, "last_name": true, "name": true, "phone": true}
	hidden := map[string]bool{}
	if after != nil {
		for field, value := range after.Fields {
			if strings.Contains(value, "***") {
				hidden[strings.ToLower(field)] = true
			}
		}
	}
	var walk func(key string, v any) any
	walk = func(key string, v any) any {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				v[k] = walk(k, x)
			}
			if len(hidden) > 0 { // a field by its number, with a value beside it
				if _, ok := v["value"].(string); ok {
					v["value"] = "***"
				}
			}
		case []any:
			for i, x := range v {
				v[i] = walk(key, x)
			}
		case string:
			if personal[key] || hidden[strings.ToLower(key)] || looksPersonal(v) {
				return masked(v)
			}
		}
		return v
	}
	b, err := json.Marshal(walk("", v))
	if err != nil {
		return nil
	}
	return b
}
