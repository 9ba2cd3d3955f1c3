// Package codec turns records into Avro bytes in the Confluent wire format and back: a zero byte, the id of the
// writer's schema as four bytes, big end first, then the Avro body.
//
// Decoding resolves the writer's schema against ours, so that records of older and newer versions can be read.
// It is deterministic in what it leaves open: an empty array, map or byte string comes back as nil, and a time comes
// back in UTC, cut to the millisecond. The bytes of an encoded record are not a function of the record alone, since
// Avro leaves the order of a map's entries open: compare records, not bytes.
package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"sync"

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

	mu      sync.RWMutex
	readers map[uint32]*reader
}

// recordType is one of our records, ready to be written.
type recordType struct {
	typ    reflect.Type // the struct
	schema *avro.Schema
	header [headerBytes]byte
}

// reader is one writer's schema, ready to be read.
type reader struct {
	name   string
	typ    reflect.Type
	schema *avro.Schema
}

// New returns a codec whose schema ids come from ids. It asks for the id of each record once, now.
func New(ids IDs) (*Codec, error) {
	c := &Codec{ids: ids, types: make(map[string]*recordType), readers: make(map[uint32]*reader)}
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
	rt := &recordType{typ: reflect.TypeOf(rec).Elem(), schema: schema}
	binary.BigEndian.PutUint32(rt.header[1:], uint32(id))
	return rt, nil
}

// Encode returns rec in the wire format.
func (c *Codec) Encode(rec schemas.Record) ([]byte, error) { return c.AppendEncode(nil, rec) }

// AppendEncode appends rec in the wire format to dst. After an error the returned slice is dst as it was.
func (c *Codec) AppendEncode(dst []byte, rec schemas.Record) ([]byte, error) {
	v := reflect.ValueOf(rec)
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return dst, errors.New("encode: no record given")
	}
	rt, ok := c.types[rec.RecordName()]
	if !ok || v.Type() != reflect.PointerTo(rt.typ) {
		return dst, fmt.Errorf("encode %s: %T is none of the known records", rec.RecordName(), rec)
	}
	out, err := rt.schema.AppendEncode(append(dst, rt.header[:]...), rec)
	if err != nil {
		return dst, fmt.Errorf("encode %s: %w", rec.RecordName(), err)
	}
	if n := len(out) - len(dst); n > valueBytesMax {
		return dst, fmt.Errorf("encode %s: %d bytes are more than the %d that one record may have", rec.RecordName(), n, valueBytesMax)
	}
	return out, nil
}

// Decode reads one record in the wire format; its type follows from the writer's schema. The record shares no memory
// with b. Errors wrap ErrNotAvro, ErrUnknownSchema or ErrUnavailable; only the last is worth another try.
func (c *Codec) Decode(b []byte) (schemas.Record, error) {
	if len(b) < headerBytes || b[0] != magic {
		return nil, fmt.Errorf("%w: %d bytes without the header of the wire format", ErrNotAvro, len(b))
	}
	if len(b) > valueBytesMax {
		return nil, fmt.Errorf("%w: %d bytes are more than the %d that one record may have", ErrNotAvro, len(b), valueBytesMax)
	}
	id := binary.BigEndian.Uint32(b[1:headerBytes])
	rd, err := c.reader(id)
	if err != nil {
		return nil, err
	}
	v := reflect.New(rd.typ)
	rest, err := rd.schema.Decode(b[headerBytes:], v.Interface())
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
	c.mu.RLock()
	rd, ok := c.readers[id]
	c.mu.RUnlock()
	if ok {
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
	if len(c.readers) < schemasMax {
		c.readers[id] = rd
	}
	c.mu.Unlock()
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
	return &reader{name, rt.typ, resolved}, nil
}
