package clickhouse

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// records says which record the rows of a topic are.
var records = map[string]func() schemas.Record{
	schemas.TopicPayPalEvents: func() schemas.Record { return &schemas.OrderEvent{} },
	schemas.TopicStoreOrders:  func() schemas.Record { return &schemas.OrderEvent{} },
	schemas.TopicTransitions:  func() schemas.Record { return &schemas.Transition{} },
	schemas.TopicRuns:         func() schemas.Record { return &schemas.RunStep{} },
	schemas.TopicCommands:     func() schemas.Record { return &schemas.Command{} },
	schemas.TopicDeliveries:   func() schemas.Record { return &schemas.Delivery{} },
	schemas.TopicDeadLetters:  func() schemas.Record { return &schemas.DeadLetter{} },
	schemas.TopicConfig:       func() schemas.Record { return &schemas.ConfigVersion{} },
	schemas.TopicPauses:       func() schemas.Record { return &schemas.Pause{} },
	schemas.TopicJobRequests:  func() schemas.Record { return &schemas.JobRequest{} },
	schemas.TopicJobs:         func() schemas.Record { return &schemas.Job{} },
	schemas.TopicJobItems:     func() schemas.Record { return &schemas.JobItem{} },
}

// leftOut are the fields of records that no column shows, and why.
var leftOut = map[string]string{
	"Job.positions.partition":              "where its runner goes on; nobody is told",
	"Job.positions.offset":                 "where its runner goes on; nobody is told",
	"Job.positions.until":                  "where its runner goes on; nobody is told",
	"Transition.event.resource":            "events has it, by event_id",
	"Transition.event.links":               "events has them, by event_id",
	"Transition.event.sequence":            "events has it, by event_id",
	"Transition.event.refunded_total":      "events has it, by event_id; refunded is the order's",
	"Transition.event.payer":               "events has it, by event_id; payer_* is the order's",
	"Transition.event.custom_id":           "events has it, by event_id",
	"Transition.event.invoice_id":          "events has it, by event_id",
	"Transition.event.fields":              "events has them, by event_id",
	"Transition.event.body":                "a transition carries none",
	"Transition.event.fingerprint":         "events has it, by event_id",
	"Transition.event.problem":             "an event with a problem has no transition",
	"Transition.event.problem_cause":       "an event with a problem has no transition",
	"Transition.event.headers":             "events has them, by event_id",
	"Transition.event.versioned":           "events has it, by event_id",
	"Transition.event.deleted":             "events has it, by event_id",
	"Transition.payer.address.line1":       "events has the address, by event_id",
	"Transition.payer.address.line2":       "events has the address, by event_id",
	"Transition.payer.address.city":        "events has the address, by event_id",
	"Transition.payer.address.state":       "events has the address, by event_id",
	"Transition.payer.address.postal_code": "events has the address, by event_id",
}

// TestEveryFieldHasAColumn changes one field of a record at a time: a column of its row must change with it.
func TestEveryFieldHasAColumn(t *testing.T) {
	used := map[string]bool{}
	for _, topic := range Topics() {
		fresh, ok := records[topic]
		if !ok {
			t.Errorf("say in this test which record is on %s", topic)
			continue
		}
		base := fresh()
		setAll(reflect.ValueOf(base).Elem(), "1")
		before := rowOf(t, topic, base)
		for _, path := range leaves(reflect.TypeOf(base).Elem(), nil) {
			changed := fresh()
			setAll(reflect.ValueOf(changed).Elem(), "1")
			change(reflect.ValueOf(changed).Elem(), path)
			name := base.RecordName() + "." + strings.Join(path, ".")
			why := ""
			for at := range leftOut {
				if name == at || strings.HasPrefix(name, at+".") {
					why, used[at] = leftOut[at], true
				}
			}
			same := reflect.DeepEqual(before, rowOf(t, topic, changed))
			switch {
			case same && why == "":
				t.Errorf("no column shows %s: add one, by a new migration, or say in leftOut why none does", name)
			case !same && why != "":
				t.Errorf("%s is shown by a column, and leftOut says that it is not (%s)", name, why)
			}
		}
	}
	for at := range leftOut {
		if !used[at] {
			t.Errorf("leftOut names %s, which no record has", at)
		}
	}
}

// rowOf are the values of a record's columns but those of its place on Kafka.
func rowOf(t *testing.T, topic string, rec schemas.Record) []any {
	t.Helper()
	table, ok := tableByTopic(topic)
	if !ok || !table.takes(rec) {
		t.Fatalf("the table of %s takes no %s", topic, rec.RecordName())
	}
	row := sinks.Row{At: time.Unix(1, 0), Record: rec}
	b, err := table.block(sinks.Range{}, []*sinks.Row{&row})
	if err != nil {
		t.Fatal(err)
	}
	var values []any
	for _, lazy := range b.values {
		values = append(values, fmt.Sprintf("%#v", reflect.ValueOf(lazy(&scratch{})).Index(0).Interface()))
		if d := reflect.ValueOf(lazy(&scratch{})).Index(0); d.Kind() == reflect.Pointer && !d.IsNil() {
			values[len(values)-1] = fmt.Sprint(d.Interface())
		}
	}
	return values
}

var timeType = reflect.TypeOf(time.Time{})

// leaves are the paths, by names of Avro, of the values below a struct.
func leaves(t reflect.Type, at []string) (paths [][]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		here := append(slices.Clone(at), f.Tag.Get("avro"))
		kind := f.Type
		for kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice {
			kind = kind.Elem()
		}
		if kind.Kind() == reflect.Struct && kind != timeType {
			paths = append(paths, leaves(kind, here)...)
			continue
		}
		paths = append(paths, here)
	}
	return paths
}

// setAll sets every value below v.
func setAll(v reflect.Value, text string) {
	switch {
	case v.Type() == timeType:
		n := int64(len(text))
		v.Set(reflect.ValueOf(time.Unix(1_000_000*n, 0).UTC()))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		setAll(v.Elem(), text)
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		setAll(v.Index(0), text)
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf(text), reflect.ValueOf(text))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			value := text
			if v.Type().Field(i).Tag.Get("avro") == "currency" {
				value = map[string]string{"1": "EUR", "22": "USD"}[text]
			}
			setAll(v.Field(i), value)
		}
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		v.SetBool(len(text) > 1)
	case v.CanInt():
		v.SetInt(int64(len(text)))
	case v.CanUint():
		v.SetUint(uint64(len(text)))
	default:
		panic("no value for " + v.Type().String())
	}
}

// change gives one value another one.
func change(v reflect.Value, path []string) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct {
		if v.Kind() == reflect.Slice {
			v = v.Index(0)
			continue
		}
		v = v.Elem()
	}
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Tag.Get("avro") != path[0] {
			continue
		}
		if len(path) > 1 {
			change(v.Field(i), path[1:])
			return
		}
		value := "22"
		if path[0] == "currency" {
			value = "USD"
		}
		setAll(v.Field(i), value)
		return
	}
	panic("no field " + path[0])
}

func TestTypesOfColumnsAreReadFromTheMigrations(t *testing.T) {
	tables, err := definitions()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ table, column, want string }{
		{"events", "amount", "Nullable(Decimal(38, 9))"},
		{"events", "fields", "Map(LowCardinality(String), String)"},
		{"events", "_at", "DateTime64(3, 'UTC')"},
		{"events", "deleted", "Bool"},
		{"commands", "effect_arguments", "Map(LowCardinality(String), String)"},
		{"commands", "reasons", "Array(String)"},
		{"deliveries", "request_at", "Array(DateTime64(3, 'UTC'))"},
		{"deliveries", "_offset", "Int64"},
	} {
		if got := typeOf(tables[c.table][c.column]); got != c.want {
			t.Errorf("%s.%s is %q, want %q", c.table, c.column, got, c.want)
		}
	}
	for _, name := range tableNames {
		if len(tables[name]) < 7 {
			t.Errorf("table %s has %d columns in the migrations", name, len(tables[name]))
		}
	}
}

// Whatever type a column with names has, an erasure takes the name out of it.
func TestNamesGoFromEveryTypeOfColumn(t *testing.T) {
	erased := map[int]string{1: "erased-1"}
	for _, c := range []struct {
		column       string
		values, want any
	}{
		{"payer_email", []string{"a", "b"}, []string{"a", ""}},
		{"contact_key", []string{"live/a@b", "live/c@d"}, []string{"live/a@b", "live/erased-1"}},
		{"contact_key", []string{"", ""}, []string{"", ""}},
		{"body", [][]byte{[]byte("a"), []byte("b")}, [][]byte{[]byte("a"), nil}},
		{"request_url", [][]string{{"a"}, {"b", "c"}}, [][]string{{"a"}, {"", ""}}},
		{"fields", []map[string]string{{"a": "b"}, {"c": "d"}}, []map[string]string{{"a": "b"}, nil}},
	} {
		if unname(c.column, c.values, erased); !reflect.DeepEqual(c.values, c.want) {
			t.Errorf("%s: got %v, want %v", c.column, c.values, c.want)
		}
	}
}

func TestAddressesAreFoundInTexts(t *testing.T) {
	for _, c := range []struct {
		text string
		raw  bool
		want bool
	}{
		{"ann@example.com", false, true},
		{"live/Ann@Example.COM", false, true},
		{`{"email":"ann@example.com","a":1}`, false, true},
		{`{"email":"ann\u0040example.com"}`, false, true},
		{"https://crm/contacts?email=ann%40example.com&x=1", false, true},
		{"sent to ann@example.com.", false, true},
		{"joann@example.com", false, false},
		{"ann@example.com.au", false, false},
		{"ann+shop@example.com", false, false},
		{"@example.com ann@", false, false},
		{"0ann@example.com6x", false, false},
		{"0ann@example.com6x", true, true},
	} {
		got := false
		addresses(c.text, c.raw, func(a string) bool { got = got || a == "ann@example.com"; return true })
		if got != c.want {
			t.Errorf("%q raw %v: found %v, want %v", c.text, c.raw, got, c.want)
		}
	}
}

func FuzzAddresses(f *testing.F) {
	for _, text := range []string{"ann@example.com", "%40@%40", "a@b@c", `\u0040`, strings.Repeat("a", 300) + "@b"} {
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, raw bool) {
		told := 0
		addresses(text, raw, func(a string) bool {
			if !strings.Contains(a, "@") || len(a) > addressBytesMax+localBytesMax+8 {
				t.Errorf("%q is no address", a)
			}
			told++
			return true
		})
		if most := len(text) + rawAddressesMax*localBytesMax*addressBytesMax; told > most {
			t.Errorf("%d addresses in %d bytes", told, len(text))
		}
	})
}
