package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/schemas"
)

// cardNote is an order in whose free text a card number stands (a test number of the card networks).
const cardNote = `{"id":7,"customer_note":"please use 4111 1111 1111 1111, 12/27"}`

// TestCardNumbers: what is a card number in a text is masked but for four digits; what only looks like one stays.
func TestCardNumbers(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{cardNote, `{"id":7,"customer_note":"please use **** **** **** 1111, 12/27"}`},
		{`{"note":"4111111111111111"}`, `{"note":"************1111"}`},
		{`{"note":"card 4111-1111-1111-1111."}`, `{"note":"card ****-****-****-1111."}`},
		{`{"note":"4111 1111 1111 1111 12 27 123"}`, `{"note":"**** **** **** 1111 12 27 123"}`},
		{`{"note":"card:5555555555554444,exp 1/30"}`, `{"note":"card:************4444,exp 1/30"}`},
		{`{"note":"a\n378282246310005\nb"}`, `{"note":"a\n***********0005\nb"}`},
		{`{"note":"3782 822463 10005"}`, `{"note":"**** ****** *0005"}`},
		{`{"note":"36 227206271667"}`, `{"note":"36 227206271667"}`}, // not as printed
		{`{"note":"3622 720627 1667"}`, `{"note":"**** ****** 1667"}`},
		{`{"note":"6011111111111117 and 3530111333300000"}`, `{"note":"************1117 and ************0000"}`},
		{`{"note": "2223003122003222"}`, `{"note": "************3222"}`},
		{`{"card_number":"4111111111111111"}`, `{"card_number":"************1111"}`},
		{`[ "x", "4111111111111111" ]`, `[ "x", "************1111" ]`},
		// Luhn's formula, issuer, length
		{`{"note":"4111111111111112"}`, ""},
		{`{"note":"1111111111111117"}`, ""},
		{`{"note":"41111111111111111111111"}`, ""},
		{`{"note":"4222222222222"}`, ""},
		// not a text, or another thing's name
		{`{"id":4111111111111111}`, ""},
		{`{"id": 4111111111111111, "ids":[4111111111111111,4111111111111111 , 4111111111111111]}`, ""},
		{`{"list":[{"a":1}, 4111111111111111]}`, ""},
		{`{"amount":4111111111111111.00}`, ""},
		{`{"amount":"4111111111111111.00"}`, ""},
		{`{"amount":-4111111111111111}`, ""},
		{`{"transaction_id":"4111111111111111"}`, ""},
		{`{"trackingId" : "4111111111111111"}`, ""},
		{`{"admin_graphql_api_id":"gid://shopify/Order/4111111111111111"}`, ""},
		{`{"href":"https://example.com/orders?order=4111111111111111&x=1"}`, ""},
		{`{"token":"c1-4111111111111111"}`, ""},
		{`{"note":"AB4111111111111111"}`, ""},
		{`{"uuid":"41111111-1111-4111-8111-111111111111"}`, ""},
		{`{"iban":"DE41 1111 1111 1111 1111 11"}`, ""},
		{`{"phone":"+4111111111111111"}`, ""},
		{`{"at":"2024-07-18T14:20:42.530Z"}`, ""},
		{"4111111111111111", ""},
		{"", ""},
		{"411", ""},
	} {
		before := c.body
		masked, found := maskCardNumbers([]byte(c.body))
		want := c.want
		if want == "" {
			want = c.body
		}
		if string(masked) != want || (found > 0) != (c.want != "" && c.want != c.body) || c.body != before {
			t.Errorf("%s:\ngot  %s (%d)\nwant %s", c.body, masked, found, want)
		}
	}
}

// TestManyCardNumbers: none is left over, however many stand in one row.
func TestManyCardNumbers(t *testing.T) {
	const many = 10_000
	for _, one := range []string{"4111 1111 1111 1111 ", "4111-1111-1111-1111 ", "4111111111111111 ", `","4111111111111111`} {
		masked, found := maskCardNumbers([]byte(`{"notes":["` + strings.Repeat(one, many) + `."]}`))
		if found != many || bytes.Contains(masked, []byte("4111")) {
			t.Errorf("%q: got %d masked of %d", one, found, many)
		}
	}
}

// TestProvidersBodiesHoldNoCardNumbers: nothing that a provider sends of itself is taken for one.
func TestProvidersBodiesHoldNoCardNumbers(t *testing.T) {
	files := 0
	err := filepath.WalkDir("../../connectors", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "testdata") || strings.Contains(path, "fuzz") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if masked, found := maskCardNumbers(b); found > 0 {
			for i := range b {
				if b[i] != masked[i] {
					t.Errorf("%s: a card number at %q", path, b[max(0, i-40):min(len(b), i+40)])
					break
				}
			}
		}
		return nil
	})
	if err != nil || files < 20 {
		t.Errorf("%d files read, %v", files, err)
	}
}

// TestIDsAreNoCardNumbers: the 64-bit ids of shops, as numbers, as texts of id members, and in addresses.
func TestIDsAreNoCardNumbers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		id := r.Int64N(1 << (40 + r.IntN(23)))
		body := fmt.Sprintf(`{"id":%d,"order_id": %d,"items":[{"id":%d},{"ids":[%d, %d]}],"customer_id":"%d","url":"https://x.example/%d/y","gid":"gid://shop/Order/%d","time":%d}`,
			id, id, id, id, id, id, id, id, id)
		if masked, found := maskCardNumbers([]byte(body)); found > 0 {
			t.Fatalf("got %s", masked)
		}
	}
}

// TestMaskingProperties: the length stays, only digits of what is found change, four stay, and once masked nothing is found.
func TestMaskingProperties(t *testing.T) {
	piece := rapid.SampledFrom([]string{
		"4111111111111111", "5555 5555 5555 4444", "3782-822463-10005", `"`, `\n`, " ", "-", ":", ",", "a", "/", "12", "9", "2024-01-01", "ü", "[", "{",
	})
	rapid.Check(t, func(t *rapid.T) {
		body := []byte(strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "pieces"), ""))
		before := bytes.Clone(body)
		masked, found := maskCardNumbers(body)
		if !bytes.Equal(body, before) || len(masked) != len(body) {
			t.Fatalf("%q was changed, or became %q", before, masked)
		}
		stars := 0
		for i := range body {
			if body[i] != masked[i] {
				stars++
				if masked[i] != '*' || !digit(body[i]) {
					t.Fatalf("%q became %q", body, masked)
				}
			}
		}
		if stars < found*(cardDigitsMin-lastDigits) || found == 0 && stars > 0 {
			t.Fatalf("%d found in %q: %q", found, body, masked)
		}
		if again, left := maskCardNumbers(masked); left > 0 {
			t.Fatalf("%d left in %q: %q", left, masked, again)
		}
	})
}

// TestCardNumberIsKeptMasked: an order with a card number is kept where it has no effect, without the number.
func TestCardNumberIsKeptMasked(t *testing.T) {
	s := &shelf{}
	post(handler(t, options(s)), path, "good", cardNote)
	var got schemas.OrderEvent
	if err := json.Unmarshal(s.values[0], &got); err != nil {
		t.Fatal(err)
	}
	if got.Problem == "" || got.ProblemCause != schemas.CauseQuarantined || got.Kind != schemas.KindOther || !strings.HasPrefix(got.EventID, "quarantined-") ||
		got.RootID != got.EventID || strings.Contains(string(s.values[0]), "4111") || !bytes.Contains(got.Body, []byte("**** 1111")) {
		t.Errorf("got %+v with body %s", got, got.Body)
	}
	o := options(s)
	o.AllowCardNumbers = true
	post(handler(t, o), path, "good", cardNote)
	if err := json.Unmarshal(s.values[1], &got); err != nil {
		t.Fatal(err)
	}
	if string(got.Body) != cardNote {
		t.Errorf("switched off: got body %s, want it as it came", got.Body)
	}
}

func BenchmarkCardNumbers(b *testing.B) {
	body := []byte(`{"links":[` + strings.Repeat(`{"id":"WH-70J99027H47132217","create_time":"2024-07-18T14:20:42.530Z","amount":"100.00"},`, 40) + `{}]}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, found := maskCardNumbers(body); found > 0 {
			b.Fatal("found")
		}
	}
}

// FuzzCardNumbers: any bytes are scanned in bounded time and never changed but for digits.
func FuzzCardNumbers(f *testing.F) {
	f.Add([]byte(cardNote))
	f.Add([]byte("4 4 4 4 4 4 4 4-4-4-4"))
	f.Add([]byte(`"` + strings.Repeat("41111111 ", 50) + `"`))
	f.Fuzz(func(t *testing.T, body []byte) {
		masked, found := maskCardNumbers(body)
		if len(masked) != len(body) || found == 0 && !bytes.Equal(masked, body) {
			t.Fatalf("%q became %q", body, masked)
		}
	})
}
