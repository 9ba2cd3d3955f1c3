package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/schemas"
)

// failer is a test, of the library's kind or of rapid's.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// resolving decodes b on the path that knows no generated code.
func resolving(t failer, c *Codec, b []byte) (schemas.Record, error) {
	t.Helper()
	id := binary.BigEndian.Uint32(b[1:headerBytes])
	rd, err := c.reader(id)
	if err != nil {
		t.Fatal(err)
	}
	return rd.resolve(b[headerBytes:], id)
}

// encodeByLibrary writes rec as the library does, whose map order is free.
func encodeByLibrary(t failer, c *Codec, rec schemas.Record) []byte {
	t.Helper()
	rt := c.types[rec.RecordName()]
	b, err := rt.schema.AppendEncode(bytes.Clone(rt.header[:]), rec)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// agree fails unless generated code and library give the same answer to b.
func agree(t failer, c *Codec, b []byte) {
	t.Helper()
	got, err := c.Decode(b)
	want, wantErr := resolving(t, c, b)
	if (err == nil) != (wantErr == nil) || err != nil && !errors.Is(err, ErrNotAvro) {
		t.Fatalf("%x: generated code says %v, the library %v", b, err, wantErr)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Fatalf("%x (-generated +library):\n%s", b, diff)
	}
}

func TestEveryRecordIsReadByGeneratedCode(t *testing.T) {
	c := NewLocal()
	for i, rec := range schemas.Records() {
		rd, err := c.reader(uint32(i + 1))
		if err != nil || !rd.own {
			t.Errorf("%s is read by the library, error %v", rec.RecordName(), err)
		}
	}
}

// The same id with another schema is no record of ours: the registry was set up anew since New asked it.
func TestAnotherSchemaUnderOurIDIsResolved(t *testing.T) {
	tick := `{"type":"record","name":"Tick","namespace":"tillstream","fields":[{"name":"owner","type":"string"}]}`
	c, err := New(renumbered{tick: tick})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Decode(with(6, 4, 'm', 'e'))
	if want := schemas.Record(&schemas.Tick{Owner: "me", At: time.UnixMilli(0).UTC()}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

type renumbered struct {
	localIDs
	tick string
}

func (r renumbered) Schema(id int) (string, error) {
	if id == 6 {
		return r.tick, nil
	}
	return r.localIDs.Schema(id)
}

// A schema that differs in words only (docs, defaults) is ours.
func TestOurSchemaWithoutItsDocsIsOurs(t *testing.T) {
	text, _ := schemas.AVSC("OrderLink")
	bare := regexp.MustCompile(`,?\s*"doc": "[^"]*"`).ReplaceAllString(text, "")
	if bare == text {
		t.Fatal("the schema has no docs")
	}
	c, err := New(plain{schema: bare})
	if err != nil {
		t.Fatal(err)
	}
	if rd, err := c.reader(7); err != nil || !rd.own {
		t.Errorf("read by the library, error %v", err)
	}
}

type plain struct {
	localIDs
	schema string
}

func (p plain) Schema(id int) (string, error) {
	if id == 7 {
		return p.schema, nil
	}
	return p.localIDs.Schema(id)
}

func TestFastDecodeAgrees(t *testing.T) {
	c := NewLocal()
	for _, empty := range schemas.Records() {
		name, ref := empty.RecordName(), reference(t, empty.RecordName())
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			rec := drawRecord(t, empty)
			ours, err := c.Encode(rec)
			if err != nil {
				t.Fatal(err)
			}
			again, err := c.AppendEncode(nil, rec)
			if err != nil || !bytes.Equal(ours, again) {
				t.Fatalf("encoded %x, then %x, error %v", ours, again, err)
			}
			for from, b := range map[string][]byte{"generated code": ours, "library": encodeByLibrary(t, c, rec)} {
				fast, err := c.Decode(b)
				if err != nil {
					t.Fatal(err)
				}
				slow, err := resolving(t, c, b)
				if err != nil {
					t.Fatal(err)
				}
				native, rest, err := ref.NativeFromBinary(b[headerBytes:])
				if err != nil || len(rest) > 0 {
					t.Fatalf("goavro: %v, %d left", err, len(rest))
				}
				third := reflect.New(reflect.TypeOf(empty).Elem())
				fromNative(native, third.Elem())
				for by, got := range map[string]any{"generated code": fast, "library": slow, "goavro": third.Interface()} {
					if diff := cmp.Diff(got, any(rec)); diff != "" {
						t.Fatalf("written by %s, read by %s (-got +want):\n%s", from, by, diff)
					}
				}
			}
		}))
	}
}

// One changed, missing or additional byte: both paths agree about every such body.
func TestFastDecodeAgreesOnDamagedBytes(t *testing.T) {
	c := NewLocal()
	for _, empty := range schemas.Records() {
		t.Run(empty.RecordName(), rapid.MakeCheck(func(t *rapid.T) {
			b, err := c.Encode(drawRecord(t, empty))
			if err != nil {
				t.Fatal(err)
			}
			body := b[headerBytes:]
			at := rapid.IntRange(0, len(body)-1).Draw(t, "at")
			switch rapid.IntRange(0, 2).Draw(t, "damage") {
			case 0:
				body[at] = rapid.Byte().Draw(t, "byte")
			case 1:
				b = append(b[:headerBytes+at:headerBytes+at], b[headerBytes+at+1:]...)
			case 2:
				number := long(rapid.Int64().Draw(t, "number"))
				b = append(append(bytes.Clone(b[:headerBytes+at]), number...), b[headerBytes+at:]...)
			}
			agree(t, c, b)
		}))
	}
}

// Forms that no writer of ours uses, and that Avro allows.
func TestFastDecodeOfRareForms(t *testing.T) {
	c := NewLocal()
	config := func(table ...byte) []byte { return append(append(with(8, 2, 'v'), table...), 0) }
	event := func(amount ...byte) []byte {
		b := append(header(1), make([]byte, 17)...) // all texts empty, no links, no times
		b = append(b, amount...)
		return append(b, make([]byte, 10)...)
	}
	for name, b := range map[string][]byte{
		"block with its size":                config(1, 8, 2, 'a', 2, 'x', 0),
		"block with a wrong size":            config(1, 100, 2, 'a', 2, 'x', 0),
		"block with half a size":             append(with(8, 2, 'v', 1), 0x80),
		"two blocks":                         config(2, 2, 'a', 2, 'x', 2, 2, 'b', 2, 'y', 0),
		"key twice":                          config(4, 2, 'a', 2, 'x', 2, 'a', 2, 'y', 0),
		"block of -2^63":                     config(append(long(-1<<63), 0)...),
		"length of two bytes":                config(0x82, 0, 2, 'a', 0x82, 0, 'x', 0),
		"no amount":                          event(0),
		"amount":                             event(2, 2, '5', 6, 'E', 'U', 'R'),
		"no amount, in two bytes":            event(0x80, 0),
		"amount, in five bytes":              event(0x82, 0x80, 0x80, 0x80, 0, 2, '5', 6, 'E', 'U', 'R'),
		"amount, in six bytes":               event(0x82, 0x80, 0x80, 0x80, 0x80, 0, 2, '5', 6, 'E', 'U', 'R'),
		"third branch":                       event(4),
		"branch -1":                          event(1),
		"branch 2^32":                        event(long(1 << 32)...),
		"eleven bytes":                       with(6, append(bytes.Repeat([]byte{0x80}, 10), 0)...),
		"ten bytes":                          append(with(6, 0), append(bytes.Repeat([]byte{0xff}, 9), 1)...),
		"ten bytes above 64 bits":            append(with(6, 0), append(bytes.Repeat([]byte{0xff}, 9), 2)...),
		"boolean two":                        append(append(header(1), make([]byte, 17+8)...), 2, 0, 0),
		"a text of more bytes than are left": with(6, 4, 'a'),
	} {
		t.Run(name, func(t *testing.T) { agree(t, c, b) })
	}
}

func TestTimesBeyondMillisecondsAreRefused(t *testing.T) {
	c := NewLocal()
	for _, years := range []int{292_000_000, -292_000_000} {
		if _, err := c.Encode(&schemas.Tick{At: time.Date(years, 1, 1, 0, 0, 0, 0, time.UTC)}); err != nil {
			t.Errorf("year %d: %v", years, err)
		}
	}
	for _, years := range []int{293_000_000, -293_000_000} {
		if b, err := c.Encode(&schemas.Tick{At: time.Date(years, 1, 1, 0, 0, 0, 0, time.UTC)}); err == nil {
			t.Errorf("year %d is written as %x", years, b)
		}
	}
}

// FuzzFastDecode holds the generated code and the library together, whatever the bytes.
func FuzzFastDecode(f *testing.F) {
	c := NewLocal()
	for _, rec := range append(schemas.Records(), sampleEvent()) {
		f.Add(encodeByLibrary(f, c, rec))
	}
	f.Add(with(8, 2, 'v', 1, 8, 2, 'a', 2, 'x', 0, 0))
	f.Add(append(with(6, 0), long(1<<62)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headerBytes || b[0] != magic || b[1]|b[2]|b[3] != 0 || b[4] == 0 || int(b[4]) > len(schemas.Records()) {
			return
		}
		agree(t, c, b)
	})
}

func BenchmarkCodec(b *testing.B) {
	c := NewLocal()
	event := sampleEvent()
	transition := &schemas.Transition{RootKey: event.Key(), Event: *event, Payer: event.Payer, Paid: "49.99", Currency: "EUR", Why: strings.Repeat("why ", 10)}
	transition.Event.Body = nil
	for _, rec := range []schemas.Record{
		event, transition, &schemas.Tick{Owner: "me"},
		&schemas.Command{CommandID: "c", Destination: "crm", Contact: schemas.Contact{Email: "ann@example.com", Fields: map[string]string{"A": "1", "B": "2"}, Tags: []string{"a", "b"}}},
	} {
		value, err := c.Encode(rec)
		if err != nil {
			b.Fatal(err)
		}
		name := rec.RecordName()
		run := func(what string, do func() error) {
			b.Run(name+"/"+what, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := do(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("decode", func() error { _, err := c.Decode(value); return err })
		run("decode in place", func() error { _, err := InPlace{c}.Decode(value); return err })
		run("decode by library", func() error { _, err := resolving(b, c, value); return err })
		run("encode", func() error { _, err := c.Encode(rec); return err })
		run("encode by library", func() error {
			rt := c.types[name]
			_, err := rt.schema.AppendEncode(append([]byte(nil), rt.header[:]...), rec)
			return err
		})
		buf := make([]byte, 0, 2*len(value))
		run("append", func() error { _, err := c.AppendEncode(buf, rec); return err })
	}
}
