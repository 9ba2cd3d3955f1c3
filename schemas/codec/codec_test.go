package codec

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/linkedin/goavro/v2"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/schemas"
)

func reference(t testing.TB, name string) *goavro.Codec {
	t.Helper()
	text, ok := schemas.AVSC(name)
	if !ok {
		t.Fatalf("%s has no schema", name)
	}
	ref, err := goavro.NewCodec(text)
	if err != nil {
		t.Fatalf("goavro refuses the schema of %s: %v", name, err)
	}
	return ref
}

func TestAgreesWithGoavroOnRandomRecords(t *testing.T) {
	c := NewLocal()
	for _, empty := range schemas.Records() {
		name := empty.RecordName()
		ref := reference(t, name)
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			want := drawRecord(t, empty)
			encoded, err := c.Encode(want)
			if err != nil {
				t.Fatal(err)
			}
			// Ours, read by goavro.
			native, rest, err := ref.NativeFromBinary(encoded[headerBytes:])
			if err != nil || len(rest) > 0 {
				t.Fatalf("goavro cannot read our bytes: %v, %d left", err, len(rest))
			}
			got := reflect.New(reflect.TypeOf(empty).Elem())
			fromNative(native, got.Elem())
			if diff := cmp.Diff(got.Interface(), any(want)); diff != "" {
				t.Fatalf("goavro reads another record (-got +want):\n%s", diff)
			}
			// Goavro's, read by us.
			theirs, err := ref.BinaryFromNative(append([]byte(nil), encoded[:headerBytes]...), toNative(reflect.ValueOf(want).Elem()))
			if err != nil {
				t.Fatalf("goavro cannot write the record: %v", err)
			}
			for from, b := range map[string][]byte{"goavro": theirs, "ourselves": encoded} {
				back, err := c.Decode(b)
				if err != nil {
					t.Fatalf("bytes of %s: %v", from, err)
				}
				if diff := cmp.Diff(back, want); diff != "" {
					t.Fatalf("we read another record from %s (-got +want):\n%s", from, diff)
				}
			}
		}))
	}
}

// A zero record has nil everywhere, and comes back exactly so; an empty slice or map comes back as nil.
func TestEmptyComesBackAsNil(t *testing.T) {
	c := NewLocal()
	for _, want := range schemas.Records() {
		full := reflect.New(reflect.TypeOf(want).Elem())
		makeEmpty(full.Elem())
		for what, rec := range map[string]schemas.Record{"nil": want, "empty": full.Interface().(schemas.Record)} {
			b, err := c.Encode(rec)
			if err != nil {
				t.Fatalf("%s: %v", want.RecordName(), err)
			}
			got, err := c.Decode(b)
			if err != nil {
				t.Fatalf("%s: %v", want.RecordName(), err)
			}
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("%s with %s parts (-got +want):\n%s", want.RecordName(), what, diff)
			}
		}
	}
}

func makeEmpty(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == timeType {
			return
		}
		for i := range v.NumField() {
			makeEmpty(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	}
}
