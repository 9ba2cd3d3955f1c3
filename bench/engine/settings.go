package main

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/tillstream/tillstream/pipeline"
)

// settings are options of the engine, name=value, by the names of their fields: what the engine learns to be told, this
// program can tell it.
type settings []string

// String implements flag.Value.
func (s *settings) String() string { return strings.Join(*s, " ") }

// Set implements flag.Value.
func (s *settings) Set(v string) error {
	if err := apply(v, new(pipeline.EngineOptions)); err != nil {
		return err
	}
	*s = append(*s, v)
	return nil
}

func (s settings) apply(o *pipeline.EngineOptions) error {
	for _, v := range s {
		if err := apply(v, o); err != nil {
			return err
		}
	}
	return nil
}

func apply(setting string, o *pipeline.EngineOptions) error {
	name, value, _ := strings.Cut(setting, "=")
	f := reflect.ValueOf(o).Elem().FieldByName(name)
	if !f.IsValid() {
		return fmt.Errorf("the engine has no option %q", name)
	}
	switch f.Interface().(type) {
	case time.Duration:
		d, err := time.ParseDuration(value)
		f.SetInt(int64(d))
		return err
	case string:
		f.SetString(value)
		return nil
	case bool:
		b, err := strconv.ParseBool(value)
		f.SetBool(b)
		return err
	case int, int32, int64:
		n, err := strconv.ParseInt(value, 10, 64)
		f.SetInt(n)
		return err
	}
	return fmt.Errorf("option %s cannot be set by a flag", name)
}
