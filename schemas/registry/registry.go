// Package registry knows which schema has which id, and whether a schema may be released.
//
// Each record has a subject of its own, tillstream.<Record>: topics carry records of several types, so that the usual
// subject per topic could not check them (this is Confluent's record name strategy). Every subject is set to
// BACKWARD_TRANSITIVE.
//
// What the client learns it keeps in a file, so that a registry that is down stops neither a start nor the reading of
// schemas that were met before.
package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
)

const (
	// requestTimeout bounds one request where Options.HTTP sets no bound.
	requestTimeout = 5 * time.Second
	// lookupTimeout bounds the look-up of one foreign schema.
	lookupTimeout = 10 * time.Second
	// answerBytesMax bounds the registry's answer to one request.
	answerBytesMax = 1 << 20
	// unknownMax and unknownFor bound the memory of ids that the registry does not have, which spares it a request for
	// each record of a poisoned topic.
	unknownMax = 1000
	unknownFor = 10 * time.Second
)

// Options say where the registry is and what to remember where.
type Options struct {
	URL      string // http or https; credentials in it are used like User and Password
	User     string // basic authentication; empty: none
	Password schemas.Secret
	// CacheFile keeps ids and schemas over restarts. It belongs to one registry. Empty: nothing is kept.
	CacheFile string
	HTTP      *http.Client     // nil: one with a time-out of five seconds
	Now       func() time.Time // nil: the real clock
}

// Client is one schema registry. It is safe for concurrent use and implements codec.IDs.
type Client struct {
	sr       *sr.Client
	setupErr error
	now      func() time.Time
	file     string

	mu       sync.Mutex
	known    cache
	loadErr  error
	cacheErr error
	unknown  map[int]time.Time // when the registry last said that it has no such id
}

// New returns a client that has asked nothing yet. A bad URL is reported by Register.
func New(o Options) *Client {
	c := &Client{now: o.Now, file: o.CacheFile, unknown: make(map[int]time.Time)}
	if c.now == nil {
		c.now = time.Now
	}
	c.sr, c.setupErr = newTransport(o)
	c.known, c.loadErr = readCache(o.CacheFile)
	return c
}

func newTransport(o Options) (*sr.Client, error) {
	// The error of url.Parse quotes the URL, which may hold a password.
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the schema registry's URL is none; write http://host:port or https://host")
	}
	user, password := o.User, o.Password.Reveal()
	if u.User != nil && user == "" {
		user = u.User.Username()
		password, _ = u.User.Password()
	}
	u.User = nil
	client := http.Client{Timeout: requestTimeout}
	if o.HTTP != nil {
		client = *o.HTTP
	}
	client.Transport = limited{client.Transport}
	opts := []sr.ClientOpt{sr.URLs(u.String()), sr.HTTPClient(&client), sr.UserAgent("tillstream")}
	if user != "" {
		opts = append(opts, sr.BasicAuth(user, password))
	}
	return sr.NewClient(opts...)
}

// Subject is the registry's name for the record's schema.
func Subject(recordName string) string { return schemas.Namespace + "." + recordName }

// Register registers the schema of every record, sets the compatibility of their subjects and remembers the ids. Where
// the registry is down and all ids of today's schemas are known from the cache file, it returns nil.
func (c *Client) Register(ctx context.Context) error {
	if c.setupErr != nil {
		return c.setupErr
	}
	for _, rec := range schemas.Records() {
		name := rec.RecordName()
		err := c.register(ctx, name)
		if errors.Is(err, errDown) && !errors.Is(ctx.Err(), context.Canceled) {
			return c.knowsAll(err)
		}
		if err != nil {
			return fmt.Errorf("register schema %s: %w", Subject(name), err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.save()
	return nil
}

func (c *Client) register(ctx context.Context, name string) error {
	text, err := ownSchema(name)
	if err != nil {
		return err
	}
	level := sr.SetCompatibility{Level: sr.CompatBackwardTransitive}
	if err := c.sr.SetCompatibility(ctx, level, Subject(name))[0].Err; err != nil {
		return describe(err)
	}
	id, err := c.sr.RegisterSchema(ctx, Subject(name), sr.Schema{Schema: text, Type: sr.TypeAvro}, -1, -1)
	if err != nil {
		return describe(err)
	}
	if id <= 0 {
		return fmt.Errorf("%w: it answers with no schema id; is the URL that of a schema registry?", codec.ErrUnavailable)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.known.Schemas[id]; ok && old != text {
		return fmt.Errorf("the registry gives it id %d, which stood for another schema before: it lost its contents, or is another registry than "+
			"the one of cache file %s; restore it, or use a new cache file with new topics", id, c.file)
	}
	c.known.IDs[name] = id
	c.known.Schemas[id] = text
	return nil
}

// knowsAll returns nil where the cache holds the ids of all of today's schemas, else why that and down are a problem.
func (c *Client) knowsAll(down error) error {
	for _, rec := range schemas.Records() {
		if _, err := c.ID(rec.RecordName()); err != nil {
			hint := ""
			if c.loadErr != nil {
				hint = fmt.Sprintf(" (the cache is of no use: %v)", c.loadErr)
			}
			return fmt.Errorf("%w; the registry has to be reachable once after an installation or upgrade, since the id of schema %s is not known yet%s",
				down, Subject(rec.RecordName()), hint)
		}
	}
	return nil
}

// ID returns the id of the record's schema of today. Before Register it knows what the cache file holds.
func (c *Client) ID(recordName string) (int, error) {
	text, err := ownSchema(recordName)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	id, ok := c.known.IDs[recordName]
	if !ok || c.known.Schemas[id] != text {
		return 0, fmt.Errorf("%w: schema %s is not registered yet", codec.ErrUnavailable, Subject(recordName))
	}
	return id, nil
}

// Schema returns the schema text of id, from memory where it was met before. Errors wrap codec.ErrUnknownSchema where the
// registry has no such Avro schema, and codec.ErrUnavailable where it could not be asked or did not make sense.
func (c *Client) Schema(id int) (string, error) {
	c.mu.Lock()
	text, ok := c.known.Schemas[id]
	since, missed := c.unknown[id]
	c.mu.Unlock()
	switch {
	case ok:
		return text, nil
	case missed && c.now().Sub(since) < unknownFor:
		return "", fmt.Errorf("%w: the registry has no schema with id %d", codec.ErrUnknownSchema, id)
	case c.setupErr != nil:
		return "", fmt.Errorf("%w: %w", codec.ErrUnavailable, c.setupErr)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	found, err := c.sr.SchemaByID(ctx, id)
	if err != nil {
		return "", c.notFound(id, describe(err))
	}
	if found.Schema == "" {
		return "", fmt.Errorf("%w: it answers with no schema for id %d; is the URL that of a schema registry?", codec.ErrUnavailable, id)
	}
	if found.Type != sr.TypeAvro || len(found.References) > 0 {
		return "", fmt.Errorf("%w: schema id %d is no self-contained avro schema", codec.ErrUnknownSchema, id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known.Schemas) < schemasMax {
		c.known.Schemas[id] = found.Schema
		c.save()
	}
	return found.Schema, nil
}

// notFound remembers that the registry does not have id, if that is what err says.
func (c *Client) notFound(id int, err error) error {
	if errors.Is(err, codec.ErrUnknownSchema) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.unknown) >= unknownMax {
			clear(c.unknown)
		}
		c.unknown[id] = c.now()
	}
	return fmt.Errorf("look up schema id %d: %w", id, err)
}

// CacheErr returns why the cache file could not be written the last time, nil if it was. It stops no work: the next
// start just needs the registry.
func (c *Client) CacheErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cacheErr
}

// save writes the cache file. The caller holds mu.
func (c *Client) save() {
	if c.file != "" {
		c.cacheErr = writeCache(c.file, c.known)
	}
}

// ownSchema returns today's schema without the white space, so that a reformatted file makes no new version.
func ownSchema(name string) (string, error) {
	text, ok := schemas.AVSC(name)
	if !ok {
		return "", fmt.Errorf("record %s has no schema", name)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		return "", fmt.Errorf("schema of %s: %w", name, err)
	}
	return b.String(), nil
}
