package automation

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// MarshalText undoes UnmarshalText, so that a test can write a state as format 1 was written.
func (m mark) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(m[:])), nil }

// full has every field set.
func full() State {
	return State{
		Destinations: []desired{
			{
				Name: "crm", Version: 7, Email: "ana@example.com", First: "Ana", Last: "Cruz", Phone: "+4930901820",
				Fields: []field{{"PAID", "10.00"}, {"STATUS", "PAID"}}, Tags: []string{"paypal-integration", "vip"}, NoTags: []string{"cold", ""},
			},
			{Name: "other", Version: -1, Email: "ana@example.com"},
		},
		Created: []mark{digest("a"), digest("b")},
		Runs: []run{
			{
				ID: "00112233445566778899aabbccddeeff", Workflow: "payment-failed", Version: "a1b2c3", Root: "live/eu/O1", Event: "WH-1", Origin: "WEBHOOK",
				Test: true, Steps: 3, Step: "1.met.0", Waits: 2, Since: 1_767_225_600_000, Deadline: 1_767_312_000_000, Seen: []int64{1_767_225_600_001},
				Asked:  []question{{Command: "c", Until: 1_767_229_200_000, Event: "WH-2", At: 1_767_225_600_002, Values: []field{{"event.id", "WH-2"}}}, {Command: "d"}},
				Values: []field{{"order.amount", "10.00"}, {"order.id", "O1"}}, Used: []mark{digest("used")},
			},
			{ID: "ff", Workflow: "payment-failed"},
		},
		Correctables: []run{{ID: "ee", Workflow: "payment-failed", Step: "1", Waits: 1, Deadline: 1_767_398_400_000}},
		Done:         []mark{digest("done")}, Orders: []mark{digest("O1")}, OrdersPaid: 7,
		History: []happened{{
			Root: "live/eu/O1", Event: "WH-1", Type: "PAYMENT.CAPTURE.COMPLETED", Connection: "eu", From: "PENDING", To: "PAID", Text: "COMPLETED", Environment: "live",
			Provider: "paypal", Created: true, Changed: true, SameText: true, Subscription: true, Test: true, Amount: "10.00", Currency: "EUR", At: 1_767_225_600_000,
		}, {}},
		Statuses:  []lastStatus{{digest("live/eu/O1"), "COMPLETED"}},
		Standings: []standing{{"crm", "newsletter", "ACTIVE", 1_767_225_600_000}},
		Scheduled: []scheduled{{"weekly", 1_767_312_000_000}}, Score: -5, OnlyTests: true,
		Aliases: []mark{digest("c")}, Contact: "sandbox/ana@example.com", Links: []string{"sandbox/bo@example.com", "sandbox/cy@example.com"},
	}
}

// testdata/states-v1.txt holds states as the release before wrote them. They are never written anew.
func TestStatesOfFormat1(t *testing.T) {
	lines, err := os.ReadFile("testdata/states-v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	list := strings.Split(strings.TrimSpace(string(lines)), "\n")
	all := full()
	all.Format = formatJSON
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	var before, after int
	for _, line := range append(list, string(b)) {
		old, err := (&Stage{}).Decode([]byte(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		b, err := (&Stage{}).Encode(old)
		if err != nil {
			t.Fatal(err)
		}
		s, err := (&Stage{}).Decode(b)
		if err != nil {
			t.Fatalf("%s, in its new form: %v", line, err)
		}
		if diff := cmp.Diff(s, old, cmp.AllowUnexported(State{}, desired{}, field{})); diff != "" {
			t.Errorf("%s: read from its new form (-new +old):\n%s", line, diff)
		}
		old.Format = formatJSON
		again, err := json.Marshal(old)
		if err != nil || string(again) != line {
			t.Errorf("as JSON again %s, %v, want %s", again, err, line)
		}
		before, after = before+len(line), after+len(b)
	}
	t.Logf("%d bytes, before %d", after, before)
	if after*3 > before*2 {
		t.Errorf("states of %d bytes became %d, want less than two thirds", before, after)
	}
}

// Every field that a state has goes through its bytes. New fields must be set in full.
func TestStatesComeBackWhole(t *testing.T) {
	want := full()
	for v, i := reflect.ValueOf(want), 0; i < v.NumField(); i++ {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "Format" {
			t.Errorf("field %s is not set", name)
		}
	}
	b, err := (&Stage{}).Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := (&Stage{}).Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

func TestForeignStatesAreRefused(t *testing.T) {
	b, err := (&Stage{}).Encode(full())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ in, want string }{
		"nothing":        {"", "decode the state of a contact: its bytes are damaged"},
		"version":        {"\x03" + string(b[1:]), "decode the state of a contact: format 3 is not known, this program reads up to 2: it was written by a newer tillstream: upgrade this one"},
		"field":          {string(b[:len(b)-1]) + "c\x00", "decode the state of a contact: field 99 is not known: it was written by a newer tillstream: upgrade this one"},
		"left":           {string(b) + "x", "decode the state of a contact: more bytes after its end"},
		"JSON of later":  {`{"v":2}`, "decode the state of a contact: JSON of format 2 is not known, only 1"},
		"field of later": {`{"v":1,"zz":1}`, `decode the state of a contact: json: unknown field "zz"`},
		"short digest":   {`{"v":1,"c":["00"]}`, `decode the state of a contact: "00" is no digest`},
		"long digest":    {`{"v":1,"c":["00112233445566778899aabbccddeeff00"]}`, `decode the state of a contact: "00112233445566778899aabbccddeeff00" is no digest`},
	} {
		if s, err := (&Stage{}).Decode([]byte(tt.in)); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %+v, %v", name, s, err)
		}
	}
	for n := range b {
		if _, err := (&Stage{}).Decode(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are read", n, len(b))
		}
	}
	again, err := (&Stage{}).Encode(full())
	if err != nil || !bytes.Equal(b, again) {
		t.Errorf("equal states are %x and %x", b, again)
	}
}
