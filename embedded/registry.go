package embedded

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"sync"

	"github.com/twmb/franz-go/pkg/sr/srfake"
)

const (
	registryFile = "registry.jsonl"
	// maxRegistryBodyBytes bounds one request to the registry.
	maxRegistryBodyBytes = 1 << 20
	// maxJournalLineBytes holds a body and what stands around it.
	maxJournalLineBytes = 4 * maxRegistryBodyBytes
)

// registry is a schema registry whose ids stay: it journals every request that
// changed something and replays the journal when it is opened, because records
// name their schema by the id for ever. A change is on disk before it is
// answered.
type registry struct {
	fake *srfake.Registry

	mu      sync.Mutex
	journal *os.File
	size    int64
	// broken is why the journal lacks a change that memory has; nothing is
	// answered from then on, so that no record gets an id that a restart forgets.
	broken error
}

// change is one request that changed the registry, and its answer, which the
// replay must give again.
type change struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Body   string `json:"body,omitempty"`
	Answer string `json:"answer"`
}

// openRegistry replays the journal. A torn last line is a change that was never
// answered (the process was killed): it is dropped.
func openRegistry(path string) (*registry, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the schema registry's journal: %w", err)
	}
	r := &registry{fake: srfake.NewRegistry(), journal: file}
	if err := r.replay(); err != nil {
		file.Close()
		return nil, fmt.Errorf("replay the schema registry's journal %s: %w", path, err)
	}
	return r, nil
}

func (r *registry) replay() error {
	lines := bufio.NewReader(io.LimitReader(r.journal, 1<<30))
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		var c change
		if err := json.Unmarshal(line, &c); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if answer := r.call(c); answer.Code >= http.StatusBadRequest || answer.Body.String() != c.Answer {
			return fmt.Errorf("line %d: %s %s now answers %d %.200s, it was %.200s: ids would change, so restore the file or delete the data directory",
				number, c.Method, c.Path, answer.Code, answer.Body, c.Answer)
		}
		r.size += int64(len(line))
	}
	if err := r.journal.Truncate(r.size); err != nil {
		return err
	}
	_, err := r.journal.Seek(r.size, io.SeekStart)
	return err
}

func (r *registry) call(c change) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	request := httptest.NewRequest(c.Method, c.Path, bytes.NewBufferString(c.Body))
	request.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	r.fake.Handler().ServeHTTP(answer, request)
	return answer
}

// ServeHTTP answers reads side by side and changes one after the other.
func (r *registry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	broken := r.broken
	r.mu.Unlock()
	if broken != nil {
		http.Error(w, broken.Error(), http.StatusServiceUnavailable)
		return
	}
	if request.Method == http.MethodGet || request.Method == http.MethodHead {
		r.fake.Handler().ServeHTTP(w, request)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, maxRegistryBodyBytes))
	if err != nil {
		http.Error(w, "the request's body could not be read: "+err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	answer, err := r.change(change{Method: request.Method, Path: request.URL.RequestURI(), Body: string(body)})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	// The client is gone when this fails.
	_, _ = w.Write(answer.Body.Bytes())
}

func (r *registry) change(c change) (*httptest.ResponseRecorder, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken != nil {
		return nil, r.broken
	}
	before := r.state()
	answer := r.call(c)
	if bytes.Equal(before, r.state()) {
		return answer, nil
	}
	c.Answer = answer.Body.String()
	if err := r.append(c); err != nil {
		r.broken = fmt.Errorf("the schema registry could not write a change to its journal, free disk space and start again: %w", err)
		return nil, r.broken
	}
	return answer, nil
}

// state is all that changes can change: the schemas with the deleted ones, and
// the compatibility levels and modes, of the whole and of each subject.
func (r *registry) state() []byte {
	var all bytes.Buffer
	get := func(path string) []byte {
		body := r.call(change{Method: http.MethodGet, Path: path}).Body.Bytes()
		all.WriteString(path + "\n")
		all.Write(body)
		return body
	}
	get("/schemas?deleted=true")
	get("/config")
	get("/mode")
	var subjects []string
	if err := json.Unmarshal(get("/subjects?deleted=true"), &subjects); err != nil {
		return all.Bytes()
	}
	for _, subject := range subjects {
		escaped := url.PathEscape(subject)
		get("/config/" + escaped)
		get("/mode/" + escaped)
		get("/subjects/" + escaped + "/versions")
	}
	return all.Bytes()
}

func (r *registry) append(c change) error {
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if len(line) > maxJournalLineBytes {
		return fmt.Errorf("a change of %d bytes is over the limit of %d", len(line), maxJournalLineBytes)
	}
	if _, err := r.journal.WriteAt(line, r.size); err != nil {
		return err
	}
	if err := r.journal.Sync(); err != nil {
		return err
	}
	r.size += int64(len(line))
	return nil
}

func (r *registry) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.journal.Close()
}
