// Package codec turns records into Avro bytes in the Confluent wire format and back: a zero byte, the id of the
// writer's schema as four bytes, big end first, then the Avro body.
//
// Records whose writer's schema is our own are read by generated code (records_gen.go), all others by resolving the
// writer's schema against ours, so that records of older and newer versions can be read. Both give the same answer to
// the same bytes; TestFastDecodeAgrees and FuzzFastDecode hold them together.
//
// Decoding is deterministic in what Avro leaves open: an empty array, map or byte string comes back as nil, and a time
// comes back in UTC, cut to the millisecond. Encoding is too: equal records are equal bytes, since the entries of a map
// are written by key. Other programs need not do so: compare records, not bytes.
package codec

//go:generate go run ./generate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/twmb/avro"

	"github.com/tillstream/tillstream/schemas"
)

// ErrNotAvro is returned, wrapped, for bytes that are no record in the wire format: another first byte, a body that
// the writer's schema cannot explain, or bytes left over. Trying again never helps.
var ErrNotAvro = errors.New("not an avro record")

// ErrUnknownSchema is returned, wrapped, for a schema id that the registry does not have, or whose schema is none that
// this version can read. Trying again helps only after the schema was registered or tillstream was upgraded.
var ErrUnknownSchema = errors.New("unknown schema")

// ErrUnavailable is returned, wrapped, where the registry had to be asked and could not be. Try again.
var ErrUnavailable = errors.New("schema registry not available")

const (
	// headerBytes is the length of the wire format's header.
	headerBytes = 5
	// magic is the wire format's first byte.
	magic = 0
	// valueBytesMax bounds one encoded record, both ways. It is far above what a broker accepts by default (1 MiB).
	valueBytesMax = 32 << 20
	// schemaBytesMax bounds the text of a writer's schema.
	schemaBytesMax = 256 << 10
	// schemasMax bounds the prepared writer's schemas that are kept. Further ones work, but are prepared each time.
	schemasMax = 1024
)

// IDs knows which schema has which id. Implemented by registry.Client.
type IDs interface {
	// ID returns the id under which the record's own schema is registered.
	ID(recordName string) (int, error)
	// Schema returns the writer's schema text of id; ErrUnknownSchema (wrapped) when the registry has none,
	// ErrUnavailable when it can't be asked.
	Schema(id int) (avsc string, err error)
}

// Codec encodes and decodes records. It is safe for concurrent use.
type Codec struct {
	ids   IDs
	types map[string]*recordType

	mu      sync.Mutex                         // held while readers is replaced
	readers atomic.Pointer[map[uint32]*reader] // never changed in place: lanes read it for every record
}

// recordType is one of our records, ready to be written.
type recordType struct {
	typ    reflect.Type // the struct
	schema *avro.Schema
	id     uint32
	header [headerBytes]byte
}

// reader is one writer's schema, ready to be read.
type reader struct {
	name   string
	typ    reflect.Type
	schema *avro.Schema // the writer's, resolved against ours
	own    bool         // the writer's schema is ours
}

// New returns a codec whose schema ids come from ids. It asks for the id of each record once, now.
func New(ids IDs) (*Codec, error) {
	c := &Codec{ids: ids, types: make(map[string]*recordType)}
	c.readers.Store(&map[uint32]*reader{})
	for _, rec := range schemas.Records() {
		rt, err := newRecordType(ids, rec)
		if err != nil {
			return nil, err
		}
		c.types[rec.RecordName()] = rt
	}
	return c, nil
}

func newRecordType(ids IDs, rec schemas.Record) (*recordType, error) {
	name := rec.RecordName()
	text, ok := schemas.AVSC(name)
	if !ok {
		return nil, fmt.Errorf("record %s has no schema file", name)
	}
	schema, err := avro.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", name, err)
	}
	id, err := ids.ID(name)
	if err != nil {
		return nil, fmt.Errorf("schema id of %s: %w", name, err)
	}
	if id < 0 || id > 1<<31-1 {
		return nil, fmt.Errorf("schema id of %s: %d does not fit into the wire format", name, id)
	}
	rt := &recordType{typ: reflect.TypeOf(rec).Elem(), schema: schema, id: uint32(id)}
	binary.BigEndian.PutUint32(rt.header[1:], uint32(id))
	return rt, nil
}

// scratchBytesMax bounds the buffers that Encode keeps for its next call.
const scratchBytesMax = 64 << 10

var scratch = sync.Pool{New: func() any { return new([]byte) }}

// Encode returns rec in the wire format, in a slice of just that size.
func (c *Codec) Encode(rec schemas.Record) ([]byte, error) {
	room := scratch.Get().(*[]byte)
	out, err := c.AppendEncode((*room)[:0], rec)
	var own []byte
	if err == nil {
		own = bytes.Clone(out)
	}
	if cap(out) <= scratchBytesMax {
		*room = out[:0]
		scratch.Put(room)
	}
	return own, err
}

// AppendEncode appends rec in the wire format to dst. After an error the returned slice is dst as it was.
func (c *Codec) AppendEncode(dst []byte, rec schemas.Record) ([]byte, error) {
	if rec == nil {
		return dst, errors.New("encode: no record given")
	}
	name := rec.RecordName()
	rt, ok := c.types[name]
	if !ok {
		return dst, fmt.Errorf("encode %s: %T is none of the known records", name, rec)
	}
	e := encoder{b: append(dst, rt.header[:]...)}
	switch ok := e.record(rec); {
	case !ok:
		return dst, fmt.Errorf("encode %s: a %T without a value, or none of the known records", name, rec)
	case e.bad != nil:
		return dst, fmt.Errorf("encode %s: %w", name, e.bad)
	}
	if n := len(e.b) - len(dst); n > valueBytesMax {
		return dst, fmt.Errorf("encode %s: %d bytes are more than the %d that one record may have", name, n, valueBytesMax)
	}
	return e.b, nil
}

// Decode reads one record in the wire format; its type follows from the writer's schema. The record shares no memory
// with b; its texts and byte strings share one copy of b among them, so that who keeps one of them for long had better
// copy it (strings.Clone). Errors wrap ErrNotAvro, ErrUnknownSchema or ErrUnavailable; only the last is worth another try.
func (c *Codec) Decode(b []byte) (schemas.Record, error) {
	rd, id, err := c.header(b)
	if err != nil {
		return nil, err
	}
	if !rd.own {
		return rd.resolve(b[headerBytes:], id)
	}
	return rd.read(bytes.Clone(b[headerBytes:]), id)
}

// InPlace is a codec whose decoded records point into the value: nobody may change the value afterwards, nor the
// record's byte strings, and a text that is kept keeps the whole value alive, or even the whole fetched batch that it
// was cut from. It is for those who let go of a record soon, such as the engine, which keeps encoded states only.
type InPlace struct{ *Codec }

// Decode is Codec.Decode without the copy.
func (c InPlace) Decode(b []byte) (schemas.Record, error) {
	rd, id, err := c.header(b)
	if err != nil {
		return nil, err
	}
	if !rd.own {
		return rd.resolve(b[headerBytes:], id)
	}
	return rd.read(b[headerBytes:], id)
}

// header finds out who wrote b.
func (c *Codec) header(b []byte) (rd *reader, id uint32, err error) {
	if len(b) < headerBytes || b[0] != magic {
		return nil, 0, fmt.Errorf("%w: %d bytes without the header of the wire format", ErrNotAvro, len(b))
	}
	if len(b) > valueBytesMax {
		return nil, 0, fmt.Errorf("%w: %d bytes are more than the %d that one record may have", ErrNotAvro, len(b), valueBytesMax)
	}
	id = binary.BigEndian.Uint32(b[1:headerBytes])
	rd, err = c.reader(id)
	return rd, id, err
}

// read reads a body of our own schema. The record points into it.
func (rd *reader) read(body []byte, id uint32) (schemas.Record, error) {
	d := decoder{b: body}
	rec := d.record(rd.name)
	switch {
	case d.bad != nil:
		return nil, fmt.Errorf("%w: %s with schema id %d: %w", ErrNotAvro, rd.name, id, d.bad)
	case d.left() > 0:
		return nil, fmt.Errorf("%w: %s with schema id %d: %d bytes left over", ErrNotAvro, rd.name, id, d.left())
	}
	return rec, nil
}

// resolve reads a body by the writer's schema.
func (rd *reader) resolve(body []byte, id uint32) (schemas.Record, error) {
	v := reflect.New(rd.typ)
	rest, err := rd.schema.Decode(body, v.Interface())
	if err != nil {
		return nil, fmt.Errorf("%w: %s with schema id %d: %w", ErrNotAvro, rd.name, id, err)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%w: %s with schema id %d: %d bytes left over", ErrNotAvro, rd.name, id, len(rest))
	}
	rec := v.Interface().(schemas.Record)
	emptyToNil(rec)
	return rec, nil
}

func (c *Codec) reader(id uint32) (*reader, error) {
	if rd, ok := (*c.readers.Load())[id]; ok {
		return rd, nil
	}
	if id > 1<<31-1 {
		return nil, fmt.Errorf("%w: id %d is out of range", ErrUnknownSchema, id)
	}
	rd, err := c.newReader(id)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := *c.readers.Load(); len(known) < schemasMax {
		more := maps.Clone(known)
		more[id] = rd
		c.readers.Store(&more)
	}
	return rd, nil
}

func (c *Codec) newReader(id uint32) (*reader, error) {
	text, err := c.ids.Schema(int(id))
	if err != nil {
		return nil, fmt.Errorf("schema id %d: %w", id, err)
	}
	if len(text) > schemaBytesMax {
		return nil, fmt.Errorf("%w: the schema with id %d has %d bytes, at most %d are read", ErrUnknownSchema, id, len(text), schemaBytesMax)
	}
	writer, err := avro.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: the schema with id %d is no avro schema: %w", ErrUnknownSchema, id, err)
	}
	root := writer.Root()
	if root.Type != "record" {
		return nil, fmt.Errorf("%w: the schema with id %d is no record", ErrUnknownSchema, id)
	}
	name := root.Name
	rt, ok := c.types[name]
	if !ok || root.Namespace != schemas.Namespace {
		return nil, fmt.Errorf("%w: the schema with id %d is of %.100q, which is no record of tillstream", ErrUnknownSchema, id, root.Namespace+"."+name)
	}
	resolved, err := avro.Resolve(writer, rt.schema)
	if err != nil {
		return nil, fmt.Errorf("%w: the schema with id %d cannot be read as %s; is it of a newer tillstream? %w", ErrUnknownSchema, id, name, err)
	}
	rd := &reader{name: name, typ: rt.typ, schema: resolved}
	// The id alone is not enough: a registry that was set up anew gives it to another schema.
	if id == rt.id && bytes.Equal(writer.Canonical(), rt.schema.Canonical()) {
		rd.own = true
	}
	return rd, nil
}
