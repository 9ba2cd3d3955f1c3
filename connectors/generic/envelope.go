package generic

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/tillstream/tillstream/connectors"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// mode is how an event travels in a request.
type mode int

const (
	plain      mode = iota + 1 // {"type", "timestamp", "data"}, or the bare data
	structured                 // one CloudEvent as JSON
	batch                      // a list of them
	binary                     // a CloudEvent whose attributes are headers and whose data is the body
)

// modeOf reads the content type. The batch is asked for first: it shares the other's beginning.
func modeOf(headers map[string]string) mode {
	media := mediaType(headers)
	switch {
	case strings.HasPrefix(media, mediaBatch):
		return batch
	case strings.HasPrefix(media, mediaCloudEventsFore):
		return structured
	case headers[attributePrefix+"Id"] != "" || headers[attributePrefix+"Specversion"] != "":
		return binary
	}
	return plain
}

func mediaType(headers map[string]string) string {
	media, _, _ := strings.Cut(headers[headerType], ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// envelope is one event, taken out of what it travelled in.
type envelope struct {
	attributes strictjson.Object // what surrounds the data; for a bare body, the body
	data       strictjson.Object
	// eventID is the sender's own id of the event; empty: it gives none.
	eventID string
	// content is what two sendings of one event have in common.
	content any
}

func readPlain(d connectors.Delivery) (*envelope, error) {
	body, err := object(d.Body, "body")
	if err != nil {
		return nil, err
	}
	e := &envelope{attributes: body, data: body, eventID: d.Headers[headerID], content: map[string]any(body)}
	if data := body.Object("data"); data != nil {
		e.data = data
	}
	return e, nil
}

func object(text []byte, what string) (strictjson.Object, error) {
	v, err := strictjson.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return asObject(v, what)
}

func asObject(v any, what string) (strictjson.Object, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: not a JSON object", what)
	}
	return m, nil
}

// isJSON: no content type at all means JSON, too.
func isJSON(media string) bool {
	media, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(media)), ";")
	media = strings.TrimSpace(media)
	return media == "" || strings.HasSuffix(media, "/json") || strings.HasSuffix(media, "+json")
}

// readStructured reads a CloudEvent in the JSON event format 1.0.
func readStructured(body []byte) (*envelope, error) {
	whole, err := object(body, "cloud event")
	if err != nil {
		return nil, err
	}
	attributes := strictjson.Object{}
	for name, v := range whole {
		if name != "data" && name != "data_base64" && v != nil {
			attributes[name] = v
		}
	}
	media := attributes.Text("datacontenttype")
	if !isJSON(media) {
		return nil, fmt.Errorf("datacontenttype: %.60q is not JSON", media)
	}
	switch {
	case whole.Has("data") && whole.Has("data_base64"):
		return nil, errors.New("data: given twice, also as data_base64")
	case whole.Has("data_base64"):
		text, err := base64.StdEncoding.DecodeString(whole.Text("data_base64"))
		if err != nil {
			return nil, errors.New("data_base64: not base64")
		}
		data, err := object(text, "data_base64")
		if err != nil {
			return nil, err
		}
		return cloudEvent(attributes, data)
	}
	data, err := asObject(whole["data"], "data")
	if err != nil {
		return nil, err
	}
	return cloudEvent(attributes, data)
}

// readBinary reads a CloudEvent whose attributes are the headers.
func readBinary(d connectors.Delivery) (*envelope, error) {
	attributes := strictjson.Object{}
	for name, value := range d.Headers {
		attribute, ok := strings.CutPrefix(name, attributePrefix)
		if !ok {
			continue
		}
		text, err := headerText(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", strings.ToLower(name), err)
		}
		attributes[strings.ToLower(attribute)] = text
	}
	if attributes.Has("datacontenttype") {
		return nil, errors.New("ce-datacontenttype: forbidden, Content-Type says it")
	}
	if media := mediaType(d.Headers); !isJSON(media) {
		return nil, fmt.Errorf("content-type: %.60q is not JSON", media)
	}
	data, err := object(d.Body, "body")
	if err != nil {
		return nil, err
	}
	return cloudEvent(attributes, data)
}

// headerText undoes the encoding of CloudEvents' HTTP binding: an optional quoted string, then one percent-decoding.
func headerText(value string) (string, error) {
	value = strings.TrimSpace(value)
	if inner, ok := strings.CutPrefix(value, `"`); ok {
		if inner, ok = strings.CutSuffix(inner, `"`); !ok {
			return "", errors.New("quote without an end")
		}
		var b strings.Builder
		for i := 0; i < len(inner); i++ {
			switch {
			case inner[i] == '\\' && i+1 < len(inner):
				i++
			case inner[i] == '"' || inner[i] == '\\':
				return "", errors.New("quote inside a quoted string")
			}
			b.WriteByte(inner[i])
		}
		value = b.String()
	}
	text, err := url.PathUnescape(value)
	switch {
	case err != nil:
		return "", errors.New("bad percent-encoding")
	case !utf8.ValidString(text):
		return "", errors.New("invalid UTF-8")
	case hasControl(text):
		return "", errors.New("control character")
	}
	return text, nil
}

// ofTheEvent are the attributes that stay the same when an event is sent again. Others may be of the sending.
var ofTheEvent = []string{"type", "source", "id", "subject", "time", "sequence"}

func cloudEvent(attributes, data strictjson.Object) (*envelope, error) {
	if v := attributes.Text("specversion"); v != "1.0" {
		return nil, fmt.Errorf("specversion: %.20q, not 1.0", v)
	}
	for _, name := range []string{"id", "source", "type"} {
		text, ok := attributes[name].(string)
		if !ok || text == "" {
			return nil, fmt.Errorf("%s: missing; a CloudEvent has one", name)
		}
		if len(text) > attributeBytesMax || hasControl(text) {
			return nil, fmt.Errorf("%s: too long, or with a control character", name)
		}
	}
	if attributes.Has("time") {
		if _, err := parseTime(attributes["time"]); err != nil {
			return nil, fmt.Errorf("time: %w", err)
		}
	}
	content := map[string]any{"data": map[string]any(data)}
	for _, name := range ofTheEvent {
		if attributes.Has(name) {
			content[name] = attributes[name]
		}
	}
	// An event is the same where source and id are; ids repeat between sources.
	id := attributes.Text("id")
	if checkID(id) != nil {
		id = hash([]byte(id))[:shortHash]
	}
	return &envelope{
		attributes: attributes, data: data, content: content,
		eventID: id + ":" + hash([]byte(attributes.Text("source")))[:shortHash],
	}, nil
}

// splitBatch returns each event's own bytes.
func splitBatch(body []byte) ([]json.RawMessage, error) {
	v, err := strictjson.Parse(body)
	if err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	list, ok := v.([]any)
	switch {
	case !ok:
		return nil, errors.New("batch: not a JSON array")
	case len(list) == 0:
		return nil, errors.New("batch: without events")
	case len(list) > batchEventsMax:
		return nil, fmt.Errorf("batch: more than %d events", batchEventsMax)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(body, &items); err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	return items, nil
}
