package outbound

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tillstream/tillstream/schemas"
)

func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func TestRedact(t *testing.T) {
	tests := []struct{ in, want string }{
		{`jane@example.com paid`, `j***@example.com paid`},
		{`<ö.müller@bücher.example>`, `<ö***@bücher.example>`},
		{`?email=jane%2Bx%40example.com&page=2`, `?email=j***%40example.com&page=2`},
		{`{"email":"jane\u0040example.com"}`, `{"email":"j***\u0040example.com"}`},
		{`{"access_token":"A21AAabc","expires_in":28800}`, `{"access_token":"***","expires_in":28800}`},
		{`{"access_token":"cut off`, `{"access_token":"***"`},
		{`{"a":"{\"api_token\":\"x y\"}"}`, `{"a":"{\"api_token\":"***"}"}`},
		{`actid=1&key=abcdef&event=PAID&eventdata=5`, `actid=1&key=***&event=PAID&eventdata=5`},
		{`monkey=1&token_type=Bearer`, `monkey=1&token_type=Bearer`},
		{"Api-Token: abc def\nAccept: */*", "Api-Token: ***\nAccept: */*"},
		{"Authorization: Basic dXNlcjpwYXNz", "Authorization: ***"},
		{`sent "Bearer A21AA-x.y_z" twice`, `sent "Bearer ***" twice`},
		{`token A21AAexample_of-a.token here`, `token *** here`},
		{`https://user:pass@api.example.com/x`, `https://***@api.example.com/x`},
		{`call +49 170 1234567 now`, `call ***67 now`},
		{`{"phone":"0170 1234567","phone_number":{"national_number":"4085551234"}}`, `{"phone":"***67","phone_number":{"national_number":"***34"}}`},
		{`phone=%2B491701234567`, `phone=***67`},
		{`"2014-07-11T04:03:52+0000" total 18.00 id 5TY05013RG002845M`, `"2014-07-11T04:03:52+0000" total 18.00 id 5TY05013RG002845M`},
		{`{"name":"ö","value":"10.00"}`, `{"name":"ö","value":"10.00"}`},
	}
	for _, tt := range tests {
		if got := Redact(tt.in); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
}

func TestRedactTwiceIsRedactOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		local := rapid.StringMatching(`[a-z][a-z0-9.+_-]{2,12}[a-z0-9]`).Draw(t, "local")
		domain := rapid.StringMatching(`[a-z]{2,8}\.(com|example)`).Draw(t, "domain")
		before := rapid.SampledFrom([]string{"", `{"email":"`, "email=", "to <", "x ", "\n"}).Draw(t, "before")
		once := Redact(before + local + "@" + domain + ` and more`)
		if strings.Contains(once, local) {
			t.Fatalf("%q still shows %q", once, local)
		}
		if twice := Redact(once); twice != once {
			t.Fatalf("got %q, want %q", twice, once)
		}
	})
}

func TestMaskEmail(t *testing.T) {
	for in, want := range map[string]string{"jane@example.com": "j***@example.com", "j@example.com": "***@example.com", "": "***", "x": "***"} {
		if got := MaskEmail(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	for _, s := range []string{"jane@example.com", `{"key":"x"}`, "+491701234567", "\xff@\xfe", `"phone":"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := excerpt(s, len(s)%2 == 0)
		if len(out) > ExcerptBytesMax {
			t.Errorf("excerpt of %d bytes", len(out))
		}
		if utf8.ValidString(s) && !utf8.ValidString(out) {
			t.Errorf("invalid UTF-8 from valid: %q", out)
		}
	})
}

func TestRecorderKeepsExchangesWithoutSecrets(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "canary-cookie"})
		switch r.URL.Path {
		case "/long":
			io.WriteString(w, strings.Repeat("ö", 8000))
		default:
			w.WriteHeader(422)
			io.WriteString(w, `{"error":"jane@example.com is taken","access_token":"canary-token"}`)
		}
	}))
	defer server.Close()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	client := newTestClient(t, Options{Now: func() time.Time { return at }})
	ctx, rec := Record(t.Context())
	send := func(method, path, body string) {
		req, err := http.NewRequestWithContext(ctx, method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Api-Token", "canary-header")
		req.Header.Set("Authorization", "Bearer canary-header")
		resp, err := client.Do(req)
		if err != nil {
			return
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	send("POST", "/contact?email=jane@example.com&key=canary-key", `{"email":"jane@example.com","phone":"+491701234567"}`)
	send("GET", "/long", "")
	got := rec.Exchanges()
	if len(got) != 2 {
		t.Fatalf("got %d exchanges, want 2", len(got))
	}
	want := schemas.Exchange{
		Method: "POST", URL: server.URL + "/contact?email=j***@example.com&key=***",
		Request: `{"email":"j***@example.com","phone":"***67"}`, Status: 422,
		Response: `{"error":"j***@example.com is taken","access_token":"***"}`, At: at,
	}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("exchange (-want +got):\n%s", diff)
	}
	if n := len(got[1].Response); n > ExcerptBytesMax || n < ExcerptBytesMax-4 || !utf8.ValidString(got[1].Response) {
		t.Errorf("long answer: %d bytes, valid %t", n, utf8.ValidString(got[1].Response))
	}
	server.Close()
	send("POST", "/gone", "x")
	last := rec.Exchanges()[2]
	if last.Error == "" || last.Status != 0 || last.Request != "" && last.Request != "x" {
		t.Errorf("failed request: got %+v, want an error and no status", last)
	}
	for i := range 2 * ExchangesMax {
		rec.start(&http.Request{Method: "GET", URL: mustURL(t, "https://example.com/")}, at.Add(time.Duration(i)))
	}
	if n := len(rec.Exchanges()); n != ExchangesMax {
		t.Errorf("got %d exchanges, want no more than %d", n, ExchangesMax)
	}
}

// TestRecorderBodySentAgain: a transport asks for the body anew when the kept connection turns out to be closed.
func TestRecorderBodySentAgain(t *testing.T) {
	ctx, rec := Record(t.Context())
	transport := recordingTransport{now: time.Now, next: roundTrip(func(req *http.Request) (*http.Response, error) {
		io.CopyN(io.Discard, req.Body, 3)
		again, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		sent, err := io.ReadAll(again)
		if string(sent) != "whole body" {
			t.Errorf("sent again: %q, want the whole body", sent)
		}
		return &http.Response{StatusCode: 200, Body: http.NoBody}, err
	})}
	req, err := http.NewRequestWithContext(ctx, "POST", "https://example.com/", strings.NewReader("whole body"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transport.RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	if got := rec.Exchanges()[0].Request; got != "whole body" {
		t.Errorf("recorded %q, want the body once", got)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func BenchmarkRedact(b *testing.B) {
	text := `{"contact":{"email":"jane@example.com","firstName":"Jane","fieldValues":[` +
		strings.Repeat(`{"field":"12","value":"some text of a usual length"},`, 12) + `]}}`
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		Redact(text)
	}
}
