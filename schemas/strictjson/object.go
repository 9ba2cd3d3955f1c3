package strictjson

import "fmt"

// Object is a decoded JSON object. Reading what is missing, or of another type, gives the zero value: providers
// leave members out freely, so that absence is normal.
type Object map[string]any

// At is the value at a path of members; nil where there is none.
func (o Object) At(path ...string) any {
	for _, name := range path[:len(path)-1] {
		o = o.Object(name)
	}
	return o[path[len(path)-1]]
}

// Object is the object at a path.
func (o Object) Object(path ...string) Object {
	m, _ := o.At(path...).(map[string]any)
	return m
}

// Objects are those of the array at a path; what else the array holds is left out.
func (o Object) Objects(path ...string) []Object {
	list, _ := o.At(path...).([]any)
	out := make([]Object, 0, len(list))
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// Text is a string, or a number's digits, or a truth value as a word.
func (o Object) Text(path ...string) string {
	switch v := o.At(path...).(type) {
	case string:
		return v
	case Number:
		return string(v)
	case bool:
		return fmt.Sprint(v)
	}
	return ""
}

// Has reports whether the member is there, and not null.
func (o Object) Has(name string) bool {
	v, ok := o[name]
	return ok && v != nil
}
