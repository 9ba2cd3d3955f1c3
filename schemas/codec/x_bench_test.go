package codec

import (
	"reflect"
	"testing"

	"github.com/tillstream/tillstream/schemas"
)

func BenchmarkEncodeOrderEvent(b *testing.B) {
	c, ref, event := NewLocal(), reference(b, "OrderEvent"), sampleEvent()
	buf, err := c.Encode(event)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(buf)))
		for b.Loop() {
			if buf, err = c.AppendEncode(buf[:0], event); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("goavro", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(buf)))
		for b.Loop() {
			if buf, err = ref.BinaryFromNative(buf[:headerBytes], toNative(reflect.ValueOf(event).Elem())); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecodeOrderEvent(b *testing.B) {
	c, ref := NewLocal(), reference(b, "OrderEvent")
	buf, err := c.Encode(sampleEvent())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(buf)))
		for b.Loop() {
			if _, err := c.Decode(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("goavro", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(buf)))
		for b.Loop() {
			native, _, err := ref.NativeFromBinary(buf[headerBytes:])
			if err != nil {
				b.Fatal(err)
			}
			fromNative(native, reflect.ValueOf(&schemas.OrderEvent{}).Elem())
		}
	})
}
