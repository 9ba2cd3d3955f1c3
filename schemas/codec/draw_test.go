package codec

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/schemas"
)

var timeType = reflect.TypeFor[time.Time]()

// drawRecord fills every field of a new record of rec's type with random content, in the form in which Decode gives it
// back: times in UTC and whole milliseconds, nil for what is empty.
func drawRecord(t *rapid.T, rec schemas.Record) schemas.Record {
	v := reflect.New(reflect.TypeOf(rec).Elem())
	draw(t, v.Elem(), rec.RecordName())
	return v.Interface().(schemas.Record)
}

func draw(t *rapid.T, v reflect.Value, label string) {
	switch {
	case v.Type() == timeType:
		v.Set(reflect.ValueOf(time.UnixMilli(rapid.Int64Range(-62135596800000, 253402300799999).Draw(t, label)).UTC()))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			draw(t, v.Field(i), v.Type().Field(i).Name)
		}
	case v.Kind() == reflect.String:
		v.SetString(rapid.StringN(0, 12, 40).Draw(t, label))
	case v.Kind() == reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, label))
	case v.Kind() == reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, label))
	case v.Kind() == reflect.Pointer:
		if rapid.Bool().Draw(t, label+" set") {
			v.Set(reflect.New(v.Type().Elem()))
			draw(t, v.Elem(), label)
		}
	case v.Kind() == reflect.Map:
		if m := rapid.MapOfN(rapid.StringN(0, 8, 20), rapid.String(), 0, 4).Draw(t, label); len(m) > 0 {
			v.Set(reflect.ValueOf(m))
		}
	case v.Type().Elem().Kind() == reflect.Uint8:
		if b := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, label); len(b) > 0 {
			v.SetBytes(b)
		}
	case v.Kind() == reflect.Slice:
		if n := rapid.IntRange(0, 3).Draw(t, label+" length"); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				draw(t, v.Index(i), label)
			}
		}
	default:
		panic(fmt.Sprintf("no generator for %s of type %s", label, v.Type()))
	}
}

// toNative gives goavro's form of v: maps, with the branch of a union named.
func toNative(v reflect.Value) any {
	switch {
	case v.Type() == timeType:
		return v.Interface()
	case v.Kind() == reflect.Struct:
		m := make(map[string]any, v.NumField())
		for i := range v.NumField() {
			m[avroName(v.Type().Field(i))] = toNative(v.Field(i))
		}
		return m
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return map[string]any{schemas.Namespace + "." + v.Type().Elem().Name(): toNative(v.Elem())}
	case v.Kind() == reflect.Map:
		m := make(map[string]any, v.Len())
		for it := v.MapRange(); it.Next(); {
			m[it.Key().String()] = it.Value().String()
		}
		return m
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		return v.Bytes()
	case v.Kind() == reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = toNative(v.Index(i))
		}
		return list
	case v.Kind() == reflect.String:
		return v.String()
	}
	return v.Interface()
}

// fromNative sets v to what goavro decoded.
func fromNative(native any, v reflect.Value) {
	switch {
	case v.Type() == timeType:
		v.Set(reflect.ValueOf(native))
	case v.Kind() == reflect.Struct:
		m := native.(map[string]any)
		for i := range v.NumField() {
			fromNative(m[avroName(v.Type().Field(i))], v.Field(i))
		}
	case v.Kind() == reflect.Pointer:
		if native == nil {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fromNative(native.(map[string]any)[schemas.Namespace+"."+v.Type().Elem().Name()], v.Elem())
	case v.Kind() == reflect.Map:
		for key, value := range native.(map[string]any) {
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			v.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(value))
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		if b := native.([]byte); len(b) > 0 {
			v.SetBytes(b)
		}
	case v.Kind() == reflect.Slice:
		for _, item := range native.([]any) {
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
			fromNative(item, v.Index(v.Len()-1))
		}
	case v.Kind() == reflect.String:
		v.SetString(native.(string))
	default:
		v.Set(reflect.ValueOf(native).Convert(v.Type()))
	}
}

func avroName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("avro"), ",")
	return name
}
