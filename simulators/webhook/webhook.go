// Package webhook is a receiver of signed notices, as a user would run one: it verifies by Standard Webhooks, drops
// repetitions by their id, and answers as it is told. What it took and what it refused is the truth for an audit.
package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tillstream/tillstream/simulators"
)

// Bounds of a receiver.
const (
	toleranceDefault = 5 * time.Minute
	bodyBytesMax     = 1 << 20
	refusalsMax      = 1000 // remembered
)

// Options of a receiver.
type Options struct {
	// Secrets that it accepts: whsec_ and base64. One at least.
	Secrets []string
	// Faults strike verified notices that no Answer is given for, drawn with Seed.
	Faults Faults
	Seed   int64
	// Tolerance is how far webhook-timestamp may be off, both ways; default 5 minutes.
	Tolerance time.Duration
	Now       func() time.Time
}

// Faults are rates of notices, 0 to 1, tried in this order.
type Faults struct {
	ServerError float64 `json:"server_error"` // 500, not taken
	CutBefore   float64 `json:"cut_before"`   // not taken, connection closed in place of an answer
	CutAfter    float64 `json:"cut_after"`    // taken, connection closed in place of an answer
}

// draw returns what strikes a notice.
func (f Faults) draw(x float64) Answer {
	switch {
	case x < f.ServerError:
		return Answer{Status: http.StatusInternalServerError}
	case x < f.ServerError+f.CutBefore:
		return Answer{Cut: true}
	case x < f.ServerError+f.CutBefore+f.CutAfter:
		return Answer{Cut: true, Taken: true}
	}
	return Answer{Status: http.StatusOK, Taken: true}
}

// Notice is one notice that it took.
type Notice struct {
	ID    string          `json:"id"`
	Body  json.RawMessage `json:"body"`
	At    time.Time       `json:"at"`    // webhook-timestamp of the first that came
	Times int             `json:"times"` // how often it came; all but the first were dropped
}

// Answer is what a request gets in place of 200 once it was verified.
type Answer struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Body   string      `json:"body"`
	// Cut closes the connection in place of an answer.
	Cut bool `json:"cut"`
	// Taken: the notice was taken all the same.
	Taken bool `json:"taken"`
}

// Server is the receiver. Its methods may be called from several goroutines.
type Server struct {
	o    Options
	keys [][]byte

	mu       sync.Mutex
	notices  []*Notice
	byID     map[string]*Notice
	refusals []string
	answers  []Answer
	chance   *rand.Rand
}

var _ simulators.Twin = (*Server)(nil)

// New returns a receiver.
func New(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Tolerance <= 0 {
		o.Tolerance = toleranceDefault
	}
	s := &Server{o: o, byID: map[string]*Notice{}, chance: rand.New(rand.NewPCG(uint64(o.Seed), 0x5eed))}
	for _, secret := range o.Secrets {
		text, ok := strings.CutPrefix(secret, "whsec_")
		key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
		if err != nil || !ok || len(key) == 0 {
			return nil, errors.New("webhook simulator: a secret is no base64 behind whsec_")
		}
		s.keys = append(s.keys, key)
	}
	if len(s.keys) == 0 {
		return nil, errors.New("webhook simulator: no secret is configured")
	}
	return s, nil
}

// Close ends the receiver. Nothing runs in it between requests.
func (s *Server) Close() {}

// ListenAndServe serves HTTP on addr until ctx ends. ready is called once with the address reached; any path below it
// takes notices.
func (s *Server) ListenAndServe(ctx context.Context, addr string, ready func(url string)) error {
	return simulators.Serve(ctx, "webhook", addr, s.Handler(), simulators.Localhost, ready)
}

// Run is a whole receiver: made, served on addr and closed when ctx ends.
func Run(ctx context.Context, o Options, addr string, ready func(url string)) error {
	return simulators.Run(ctx, New, o, addr, ready)
}

// Notices returns what it took, in order, each once.
func (s *Server) Notices() []Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Notice, len(s.notices))
	for i, n := range s.notices {
		out[i] = *n
	}
	return out
}

// Refusals says of each request that it refused why, in order, the last 1000.
func (s *Server) Refusals() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refusals)
}

// Answer makes the next verified requests get these answers, one each.
func (s *Server) Answer(list ...Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = append(s.answers, list...)
}

// Handler takes notices at every path but those below /_simulator, which show what came.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", s.take)
	mux.HandleFunc("GET /_simulator/notices", func(w http.ResponseWriter, _ *http.Request) { show(w, s.Notices()) })
	mux.HandleFunc("POST /_simulator/answers", func(w http.ResponseWriter, r *http.Request) {
		d := json.NewDecoder(io.LimitReader(r.Body, bodyBytesMax))
		d.DisallowUnknownFields()
		var list []Answer
		if err := d.Decode(&list); err != nil {
			http.Error(w, "answers: "+err.Error(), http.StatusBadRequest)
			return
		}
		s.Answer(list...)
		show(w, list)
	})
	mux.HandleFunc("GET /_simulator/refusals", func(w http.ResponseWriter, _ *http.Request) { show(w, s.Refusals()) })
	return mux
}

func show(w http.ResponseWriter, list any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list) // a client that is gone needs no answer
}

func (s *Server) take(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyBytesMax))
	if err == nil {
		err = s.verify(r.Header, body)
	}
	if err != nil {
		s.refuse(err)
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	s.answer(w, s.keep(r.Header, body))
}

// verify is what the documentation of signed notices asks of a receiver.
func (s *Server) verify(h http.Header, body []byte) error {
	id, stamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || id == "" {
		return errors.New("webhook-id or webhook-timestamp is missing")
	}
	if off := s.o.Now().Sub(time.Unix(seconds, 0)); off.Abs() > s.o.Tolerance {
		return fmt.Errorf("webhook-timestamp is %s off", off)
	}
	if !strings.HasPrefix(h.Get("Content-Type"), "application/json") || !json.Valid(body) {
		return errors.New("the body is no JSON")
	}
	for _, one := range strings.Fields(h.Get("webhook-signature")) {
		mac, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(one, "v1,"))
		if err != nil || !strings.HasPrefix(one, "v1,") {
			continue
		}
		for _, key := range s.keys {
			want := hmac.New(sha256.New, key)
			want.Write([]byte(id + "." + stamp + "."))
			want.Write(body)
			if hmac.Equal(want.Sum(nil), mac) {
				return nil
			}
		}
	}
	return errors.New("no signature fits")
}

func (s *Server) refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals = append(s.refusals, err.Error())
	if len(s.refusals) > refusalsMax {
		s.refusals = slices.Clone(s.refusals[1:])
	}
}

// keep notes a verified notice, and returns what to answer.
func (s *Server) keep(h http.Header, body []byte) Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := s.o.Faults.draw(s.chance.Float64())
	if len(s.answers) > 0 {
		answer, s.answers = s.answers[0], s.answers[1:]
	}
	if !answer.Taken && (answer.Cut || answer.Status < 200 || answer.Status > 299) {
		return answer
	}
	id := h.Get("webhook-id")
	if n := s.byID[id]; n != nil {
		n.Times++
		return answer
	}
	seconds, _ := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64) // verified
	n := &Notice{ID: id, Body: slices.Clone(body), At: time.Unix(seconds, 0).UTC(), Times: 1}
	s.notices, s.byID[id] = append(s.notices, n), n
	return answer
}

func (s *Server) answer(w http.ResponseWriter, a Answer) {
	if a.Cut {
		panic(http.ErrAbortHandler)
	}
	for name, values := range a.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	w.WriteHeader(a.Status)
	_, _ = io.WriteString(w, a.Body) // a client that is gone needs no answer
}
