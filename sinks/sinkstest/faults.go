package sinkstest

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
)

// Bounds of the suite.
const (
	triesMax      = 10      // of one write after trouble
	hugeBytes     = 5 << 30 // of an answer without end
	allocBytesMax = 256 << 20
	bombBytes     = 1 << 30 // that a gzip bomb unpacks to
)

// TooManyForm is a provider's own form of 429.
type TooManyForm struct {
	Name   string
	Header []string // names and values in turn
	Body   string
	Least  time.Duration // to wait
}

// InvalidCase is a desired state that the destination refuses for good.
type InvalidCase struct {
	Name   string
	Change func(*schemas.Command)
	Says   string // part of the error
}

// bomb is an answer that unpacks to bombBytes: one packed megabyte, many times over.
var bomb = sync.OnceValue(func() []byte {
	const part = 1 << 20
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(bytes.Repeat([]byte(" "), part))
	_ = z.Close()
	return bytes.Repeat(b.Bytes(), bombBytes/part)
})

func gzipBomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(bomb())
}

// inTwentySeconds asks for silence by a date.
func inTwentySeconds(w http.ResponseWriter, r *http.Request) {
	status(429, "application/json", `{}`, "Retry-After", time.Now().Add(20*time.Second).UTC().Format(http.TimeFormat))(w, r)
}

func (o Options) tooMany(t *testing.T) {
	for _, form := range o.TooMany {
		t.Run(form.Name, func(t *testing.T) {
			o.trouble(t, trouble{
				answer: status(429, "application/json", form.Body, form.Header...), contact: again, effect: again, account: true, retryAfter: form.Least,
			})
		})
	}
}

func (o Options) invalid(t *testing.T) {
	for _, c := range o.Invalid {
		t.Run(c.Name, func(t *testing.T) {
			b := o.open(t)
			cmd := o.Contact
			cmd.CommandID = "invalid"
			c.Change(&cmd)
			got := b.eventually(cmd)
			if got.Kind != sinks.Rejected || got.Account || !strings.Contains(got.Err.Error(), c.Says) {
				t.Errorf("got %d, account %v, want a refusal that says %q: %v", got.Kind, got.Account, c.Says, got.Err)
			}
			b.mustWrite(o.Contact)
		})
	}
}

// redirected: a redirect is not followed, and the key goes nowhere else.
func (o Options) redirected(t *testing.T) {
	var asked atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer elsewhere.Close()
	for _, code := range []int{301, 302, 307, 308} {
		b := o.open(t)
		b.answerWith(status(code, "text/html", "", "Location", elsewhere.URL+"/v3/contacts"))
		if got := b.write(t.Context(), o.Contact)[0]; got.Kind == sinks.Delivered || got.Kind == sinks.Unknown {
			t.Errorf("%d: got %d: %v", code, got.Kind, got.Err)
		}
		b.answerWith(nil)
		b.mustWrite(o.Contact)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests followed a redirect", n)
	}
}

// bounded: an answer of gigabytes, plain or packed, costs little memory.
func (o Options) bounded(t *testing.T) {
	bomb() // made before anything is measured
	for name, answer := range map[string]http.HandlerFunc{"5 GB": endless, "a gzip bomb": gzipBomb} {
		b := o.open(t)
		b.answerWith(answer)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if got := b.write(t.Context(), o.Contact)[0]; got.Kind == sinks.Delivered {
			t.Errorf("%s: got %d: %v", name, got.Kind, got.Err)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > allocBytesMax {
			t.Errorf("%s: %d MiB were allocated", name, used>>20)
		}
	}
}

// eachWritingRequest lets the connection be lost at each request of a contact's write that is no plain reading, once
// after it was applied and once before: the contact ends as it is meant.
func (o Options) eachWritingRequest(t *testing.T) {
	changes := func(r *http.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }
	count := func() int {
		b := o.open(t)
		n := 0
		b.writes = func(r *http.Request) bool { // one request at a time
			if changes(r) {
				n++
			}
			return false
		}
		b.answerWith(func(http.ResponseWriter, *http.Request) {})
		b.mustWrite(o.Contact)
		return n
	}()
	if count == 0 {
		t.Fatal("the contact is written without a writing request")
	}
	for i := range count {
		for _, applied := range []bool{true, false} {
			b := o.open(t)
			n := 0
			b.writes = func(r *http.Request) bool {
				if !changes(r) {
					return false
				}
				n++
				return n == i+1
			}
			b.answerWith(func(_ http.ResponseWriter, r *http.Request) {
				if applied {
					b.twin.ServeHTTP(httptest.NewRecorder(), r)
				}
				panic(http.ErrAbortHandler)
			})
			// A sink may look for itself whether it was applied; it never takes the loss for a refusal.
			if got := b.write(t.Context(), o.Contact)[0]; got.Kind != sinks.Retryable && got.Kind != sinks.Delivered || got.Account {
				t.Errorf("request %d, applied %v: got %d, account %v: %v", i+1, applied, got.Kind, got.Account, got.Err)
			}
			b.answerWith(nil)
			b.mustWrite(o.Contact)
			if o.Verify != nil {
				b.settled(o.Contact.Contact)
			}
		}
	}
}

// twoWriters on one account, as two processes are: all contacts of both end as they are meant.
func (o Options) twoWriters(t *testing.T) {
	const each = 8
	first := o.open(t)
	second := first.beside()
	var wg sync.WaitGroup
	for i, b := range []*bench{first, second} {
		wg.Go(func() {
			for n := range each {
				cmd := o.Contact
				// Some people are both's, as after a partition has moved.
				who := "shared" + string(rune('a'+n))
				if n%2 == 0 {
					who = string(rune('a'+i)) + string(rune('a'+n))
				}
				cmd.CommandID, cmd.Contact.Email = "two-"+who, who+"@shop.example"
				if got := b.eventually(cmd); got.Kind != sinks.Delivered {
					t.Errorf("writer %d, %s: got %d: %v", i+1, who, got.Kind, got.Err)
				} else if o.Verify != nil {
					b.settled(cmd.Contact)
				}
			}
		})
	}
	wg.Wait()
}

// eventually writes until the outcome is no "try again".
func (b *bench) eventually(cmd schemas.Command) sinks.Outcome {
	b.t.Helper()
	var got sinks.Outcome
	for range triesMax {
		if got = b.write(b.t.Context(), cmd)[0]; got.Kind != sinks.Retryable {
			return got
		}
	}
	return got
}

// mustWrite writes, where it may take several tries.
func (b *bench) mustWrite(cmd schemas.Command) {
	b.t.Helper()
	if got := b.eventually(cmd); got.Kind != sinks.Delivered {
		b.t.Fatalf("got %d: %v", got.Kind, got.Err)
	}
}
