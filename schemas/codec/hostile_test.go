package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tillstream/tillstream/schemas"
)

// foreign is a registry that knows our own ids and the schemas given to it, from id 100 on.
type foreign struct {
	localIDs
	texts []string
	err   error
}

func (f foreign) Schema(id int) (string, error) {
	switch {
	case id < 100:
		return f.localIDs.Schema(id)
	case f.err != nil:
		return "", f.err
	case id-100 < len(f.texts):
		return f.texts[id-100], nil
	}
	return "", fmt.Errorf("id %d: %w", id, ErrUnknownSchema)
}

func header(id uint32) []byte { return binary.BigEndian.AppendUint32([]byte{magic}, id) }

func with(id uint32, body ...byte) []byte { return append(header(id), body...) }

// long is a number as Avro writes it: zigzag, seven bits a byte.
func long(n int64) []byte { return binary.AppendVarint(nil, n) }

func sampleEvent() *schemas.OrderEvent {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123e6, time.UTC)
	return &schemas.OrderEvent{
		EventID: "WH-1", Kind: schemas.KindPayment, Provider: "paypal", Environment: schemas.Live, Connection: "shop", RootID: "5O1", EntityID: "2GG",
		Links: []schemas.Link{{Relation: schemas.LinkOrder, ID: "5O1"}}, EventType: "PAYMENT.CAPTURE.COMPLETED", ProviderStatus: "COMPLETED",
		Status: schemas.StatusPaid, ProviderTime: at, ReceivedAt: at.Add(time.Second), DeliveryIDs: []string{"d1"}, Origin: schemas.OriginWebhook,
		Amount: &schemas.Amount{Value: "49.99", Currency: "EUR"}, Payer: &schemas.Payer{Email: "ann@example.com", Address: schemas.Address{Country: "DE"}},
		Fields: map[string]string{"plan": "gold"}, Body: bytes.Repeat([]byte(`{"id":"WH-1"}`), 230), BodyHash: strings.Repeat("ab", 32), Fingerprint: "f",
	}
}

func TestDecodeRefuses(t *testing.T) {
	good, err := NewLocal().Encode(sampleEvent())
	if err != nil {
		t.Fatal(err)
	}
	ids := foreign{texts: []string{
		0: "<html>",
		1: `"string"`,
		2: `{"type":"record","name":"Other","namespace":"tillstream","fields":[]}`,
		3: `{"type":"record","name":"Tick","namespace":"elsewhere","fields":[]}`,
		4: `{"type":"record","name":"Tick","namespace":"tillstream","fields":[{"name":"owner","type":"int"}]}`,
		5: `{"type":"record","name":"OrderLink","namespace":"tillstream","fields":[]}`,
		6: `{"type":"record","name":"Tick","namespace":"tillstream","doc":"` + strings.Repeat("x", schemaBytesMax) + `","fields":[]}`,
		7: strings.Repeat(`{"type":"array","items":`, 20_000) + `"int"` + strings.Repeat(`}`, 20_000),
	}}
	c, err := New(ids)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		in   []byte
		want error
	}{
		"nothing":              {nil, ErrNotAvro},
		"short header":         {[]byte{0, 0, 0, 0}, ErrNotAvro},
		"json":                 {[]byte(`{"event_id":"x"}`), ErrNotAvro},
		"another magic byte":   {append([]byte{1}, good[1:]...), ErrNotAvro},
		"no body":              {header(1), ErrNotAvro},
		"bytes left over":      {append(bytes.Clone(good), 0), ErrNotAvro},
		"id of another record": {append(header(2), good[headerBytes:]...), ErrNotAvro},
		"unknown id":           {header(4711), ErrUnknownSchema},
		"id above int32":       {header(1 << 31), ErrUnknownSchema},
		"schema is html":       {header(100), ErrUnknownSchema},
		"schema is no record":  {header(101), ErrUnknownSchema},
		"record of nobody":     {header(102), ErrUnknownSchema},
		"foreign namespace":    {header(103), ErrUnknownSchema},
		"another field type":   {with(104, 0), ErrUnknownSchema},
		"field without value":  {header(105), ErrUnknownSchema},
		"huge schema":          {header(106), ErrUnknownSchema},
		"deep schema":          {header(107), ErrUnknownSchema},
	} {
		t.Run(name, func(t *testing.T) {
			rec, err := c.Decode(tt.in)
			if !errors.Is(err, tt.want) || rec != nil {
				t.Fatalf("got %v, %v, want nothing and %v", rec, err, tt.want)
			}
			for _, other := range []error{ErrNotAvro, ErrUnknownSchema, ErrUnavailable} {
				if other != tt.want && errors.Is(err, other) {
					t.Errorf("error %v wraps %v too", err, other)
				}
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
	for n := range good {
		if rec, err := c.Decode(good[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes give %v", n, len(good), rec)
		}
	}
}

// The largest record is bounded even where it is well-formed.
func TestRecordsAreBounded(t *testing.T) {
	c := NewLocal()
	deadLetter := func(n int) []byte {
		b := append(header(5), make([]byte, 9)...) // six texts, two numbers, the key
		b = append(b, long(int64(n))...)
		return append(b, make([]byte, n+6)...) // the value, five texts, the time
	}
	if _, err := c.Decode(deadLetter(1000)); err != nil {
		t.Fatal(err)
	}
	if rec, err := c.Decode(deadLetter(valueBytesMax)); !errors.Is(err, ErrNotAvro) {
		t.Errorf("got %T, %v, want ErrNotAvro", rec, err)
	}
}

// An error of the registry is for another try, and is not remembered.
func TestUnavailableRegistryIsAskedAgain(t *testing.T) {
	ids := &foreign{err: ErrUnavailable, texts: []string{`{"type":"record","name":"Tick","namespace":"tillstream","fields":[]}`}}
	c, err := New(ids)
	if err != nil {
		t.Fatal(err)
	}
	if rec, err := c.Decode(header(100)); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("got %v, %v, want ErrUnavailable", rec, err)
	}
	ids.err = nil
	if _, err := c.Decode(header(100)); err != nil {
		t.Fatalf("after the registry came back: %v", err)
	}
	ids.err = ErrUnavailable
	if _, err := c.Decode(header(100)); err != nil {
		t.Fatalf("a schema that was met before is asked for again: %v", err)
	}
}

// What a length prefix claims costs nothing before the bytes are there.
func TestClaimedLengthsAllocateNothing(t *testing.T) {
	deep := `{"type":"record","name":"Tick","namespace":"tillstream","fields":[{"name":"more","type":["null","Tick"]},{"name":"owner","type":"string"}]}`
	empties := `{"type":"record","name":"Tick","namespace":"tillstream","fields":[{"name":"more","type":{"type":"array","items":"null"}},{"name":"owner","type":"string"}]}`
	c, err := New(foreign{texts: []string{deep, empties}})
	if err != nil {
		t.Fatal(err)
	}
	const claimed = 2 << 30
	toLinks := bytes.Repeat([]byte{0}, 8) // the empty strings before an event's array of links, or a dead letter's key
	for name, in := range map[string][]byte{
		"string of 2 GB":         append(header(1), long(claimed)...),
		"string of 2^63-1 bytes": append(header(1), long(1<<63-1)...),
		"string of -1 bytes":     append(header(1), long(-1)...),
		"array of 2 G records":   append(append(header(1), toLinks...), long(claimed)...),
		"array of -2^63 records": append(append(append(header(1), toLinks...), long(-1<<63)...), 2),
		"map of 2 G entries":     append(append(header(8), 0), long(claimed)...),
		"bytes of 2 GB":          append(append(header(5), toLinks...), long(claimed)...),
		"nested without end":     append(header(100), bytes.Repeat([]byte{2}, 1<<20)...),
		"2 G of nothing":         append(header(101), long(claimed)...),
		"endless number":         append(header(1), bytes.Repeat([]byte{0xff}, 1000)...),
	} {
		t.Run(name, func(t *testing.T) {
			// Preparing the schema is outside the measurement.
			if _, err := c.Decode(in[:headerBytes]); !errors.Is(err, ErrNotAvro) {
				t.Fatalf("an empty body gives %v", err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			rec, err := c.Decode(in)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrNotAvro) {
				t.Errorf("got %v, %v, want ErrNotAvro", rec, err)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
				t.Errorf("allocates %d bytes, want at most 1 MiB", got)
			}
		})
	}
}

// Older and newer writers: a field that is missing gets its default, one that we do not know is skipped, an int becomes a long.
func TestResolvesWritersSchema(t *testing.T) {
	older := `{"type":"record","name":"Tick","namespace":"tillstream","fields":[{"name":"owner","type":"string"}]}`
	newer := `{"type":"record","name":"Tick","namespace":"tillstream","fields":[{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
		{"name":"added","type":["null",{"type":"map","values":"double"}]},{"name":"owner","type":"string"}]}`
	c, err := New(foreign{texts: []string{older, newer}})
	if err != nil {
		t.Fatal(err)
	}
	added := append(append([]byte{2, 2, 2, 'k'}, make([]byte, 8)...), 0)
	for name, tt := range map[string]struct {
		in   []byte
		want *schemas.Tick
	}{
		"older": {with(100, 4, 'm', 'e'), &schemas.Tick{Owner: "me", At: time.UnixMilli(0).UTC()}},
		"newer": {append(with(101, append(long(1500), added...)...), 4, 'm', 'e'), &schemas.Tick{Owner: "me", At: time.UnixMilli(1500).UTC()}},
	} {
		got, err := c.Decode(tt.in)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(got, schemas.Record(tt.want)); diff != "" {
			t.Errorf("%s (-got +want):\n%s", name, diff)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	c := NewLocal()
	var none *schemas.Tick
	for name, rec := range map[string]schemas.Record{
		"nothing": nil, "nil pointer": none, "foreign record": stranger{}, "record of another type": &impostor{},
		"too long": &schemas.DeadLetter{Value: make([]byte, valueBytesMax)},
	} {
		dst := []byte("kept")
		if got, err := c.AppendEncode(dst, rec); err == nil || string(got) != "kept" {
			t.Errorf("%s: got %.20q, %v, want an error and the buffer as it was", name, got, err)
		}
	}
}

type stranger struct{}

func (stranger) RecordName() string { return "Stranger" }

type impostor struct{ schemas.Tick }

// Avro strings are UTF-8, but a provider's may not be: such an event is carried as it is, not lost.
func TestInvalidUTF8IsCarried(t *testing.T) {
	c := NewLocal()
	want := &schemas.OrderEvent{EventID: "a\xffb", Fields: map[string]string{"\xfe": "\xc3\x28"}}
	b, err := c.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, schemas.Record(want)); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

func TestAppendEncodeAppends(t *testing.T) {
	c := NewLocal()
	want, err := c.Encode(&schemas.Tick{Owner: "me"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.AppendEncode([]byte("kept"), &schemas.Tick{Owner: "me"})
	if err != nil || string(got) != "kept"+string(want) {
		t.Errorf("got %q, %v, want kept%q", got, err, want)
	}
}

// A decoded record keeps nothing of the buffer, which a consumer may use again.
func TestDecodedRecordSharesNoMemory(t *testing.T) {
	c := NewLocal()
	want := sampleEvent()
	b, err := c.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] = 'X'
	}
	if diff := cmp.Diff(got, schemas.Record(want)); diff != "" {
		t.Errorf("the record changed with the buffer (-got +want):\n%s", diff)
	}
}

// Decoded in place, a record points into the value, but what is appended to a part of it goes elsewhere.
func TestDecodedInPlace(t *testing.T) {
	c := InPlace{NewLocal()}
	want := sampleEvent()
	b, err := c.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(b)
	rec, err := c.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rec, schemas.Record(want)); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	got := rec.(*schemas.OrderEvent)
	_ = append(got.Body, "more"...)
	if !bytes.Equal(b, before) {
		t.Error("the value changed under the record")
	}
	b[bytes.Index(b, got.Body)] = '!'
	if got.Body[0] != '!' {
		t.Error("the body was copied")
	}
	for name, bad := range map[string][]byte{"nothing": nil, "unknown id": header(4711), "cut": b[:len(b)-1], "longer": append(bytes.Clone(b), 0)} {
		_, err := c.Codec.Decode(bad)
		if rec, inPlace := c.Decode(bad); inPlace == nil || err == nil || inPlace.Error() != err.Error() {
			t.Errorf("%s: %v, %v in place, otherwise %v", name, rec, inPlace, err)
		}
	}
	if rec, err := c.Decode(with(6, 4, 'm', 'e', 0, 0)); err != nil || rec.(*schemas.Tick).Owner != "me" {
		t.Errorf("got %v, %v", rec, err)
	}
}

func TestTimesComeBackInUTCAndWholeMilliseconds(t *testing.T) {
	c := NewLocal()
	at := time.Date(2026, 3, 29, 3, 30, 0, 999_999_999, time.FixedZone("CEST", 7200))
	for _, tt := range []struct{ at, want time.Time }{
		{at, time.Date(2026, 3, 29, 1, 30, 0, 999e6, time.UTC)},
		{time.Time{}, time.Time{}},
		{time.Date(1969, 12, 31, 23, 59, 59, 5e8, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 5e8, time.UTC)},
	} {
		b, err := c.Encode(&schemas.Tick{At: tt.at})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := got.(*schemas.Tick).At; got != tt.want {
			t.Errorf("%v comes back as %v, want %v", tt.at, got, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	c := NewLocal()
	for _, rec := range append(schemas.Records(), sampleEvent()) {
		b, err := c.Encode(rec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{})
	f.Add(append(header(1), long(2<<30)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := c.Decode(b)
		if err != nil {
			if !errors.Is(err, ErrNotAvro) && !errors.Is(err, ErrUnknownSchema) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		again, err := c.Encode(rec)
		if err != nil {
			t.Fatalf("a decoded record cannot be encoded: %v", err)
		}
		back, err := c.Decode(again)
		if err != nil {
			t.Fatalf("an encoded record cannot be decoded: %v", err)
		}
		if diff := cmp.Diff(back, rec); diff != "" {
			t.Fatalf("the record changes on its way (-got +want):\n%s", diff)
		}
	})
}
