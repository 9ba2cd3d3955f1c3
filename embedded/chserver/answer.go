package chserver

import (
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/tillstream/tillstream/embedded/chdb"
)

// ClickHouse's codes for what this package refuses by itself.
const (
	codeCannotRead       = 23
	codeUnknownTable     = 60
	codeSyntax           = 62
	codeUnknownDatabase  = 81
	codeNotImplemented   = 48
	codeUnknownSetting   = 115
	codeTimeout          = 159
	codeReadOnly         = 164
	codeOverloaded       = 202
	codeAborted          = 236
	codeCancelled        = 394
	codeCannotDecompress = 271
	codeAuthentication   = 516
	codeQueryTooBig      = 307
	codeAccessDenied     = 497
	codeUnknownColumn    = 47
)

// refused is an error of this package with its HTTP status.
type refused struct {
	status int
	err    *chdb.Error
}

func (e *refused) Error() string { return e.err.Message }
func (e *refused) Unwrap() error { return e.err }

func refusal(status, code int, text string) error {
	return &refused{status, &chdb.Error{Code: code, Message: fmt.Sprintf("Code: %d. DB::Exception: %s.", code, strings.TrimRight(text, ". \r\n"))}}
}

// asRefused gives any error its status and ClickHouse code.
func asRefused(err error) *refused {
	var known *refused
	var engine *chdb.Error
	wrap := func(status, code int) *refused {
		errors.As(refusal(status, code, err.Error()), &known)
		return known
	}
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &engine):
		return &refused{statusOf(engine.Code), engine}
	case errors.Is(err, errOverloaded):
		return wrap(http.StatusServiceUnavailable, codeOverloaded)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return wrap(http.StatusServiceUnavailable, codeCancelled)
	case errors.Is(err, errInsertTooBig):
		return wrap(http.StatusRequestEntityTooLarge, codeQueryTooBig)
	case errors.Is(err, chdb.ErrClosed):
		return wrap(http.StatusServiceUnavailable, codeAborted)
	default:
		return wrap(http.StatusInternalServerError, codeCannotRead)
	}
}

func errorCode(err error) int { return asRefused(err).err.Code }

func statusOf(code int) int {
	switch code {
	case codeUnknownTable, codeUnknownDatabase:
		return http.StatusNotFound
	case codeSyntax, codeUnknownColumn, codeUnknownSetting:
		return http.StatusBadRequest
	case codeReadOnly, codeAccessDenied, codeAuthentication:
		return http.StatusForbidden
	case codeTimeout:
		return http.StatusRequestTimeout
	case codeNotImplemented:
		return http.StatusNotImplemented
	default:
		return http.StatusInternalServerError
	}
}

func writeError(w http.ResponseWriter, err error) {
	e := asRefused(err)
	w.Header().Set("X-ClickHouse-Exception-Code", strconv.Itoa(e.err.Code))
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.Header().Del("Content-Encoding")
	w.WriteHeader(e.status)
	_, _ = io.WriteString(w, e.err.Message+"\n")
}

// answer is the response's body: compressed as the request asked, with an error
// told by the status before the first byte and by an exception block after it.
type answer struct {
	w       http.ResponseWriter
	encode  io.Writer
	close   func() error
	tag     string
	started bool
}

// newAnswer chooses the compression: ClickHouse blocks for compress=1, gzip when
// the client takes it and asked with enable_http_compression=1.
func newAnswer(w http.ResponseWriter, r *http.Request) *answer {
	query := r.URL.Query()
	a := &answer{w: w, encode: w, close: func() error { return nil }, tag: rand.Text()[:16]}
	w.Header().Set("X-ClickHouse-Exception-Tag", a.tag)
	switch {
	case query.Get("compress") == "1":
		method := compress.LZ4
		if strings.EqualFold(query.Get("network_compression_method"), "ZSTD") {
			method = compress.ZSTD
		}
		a.encode = &blockWriter{w, compress.NewWriter(compress.LevelZero, method)}
	case query.Get("enable_http_compression") == "1" && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip"):
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		a.encode, a.close = zip, zip.Close
	}
	return a
}

func (a *answer) describe(format string) {
	a.w.Header().Set("X-ClickHouse-Format", format)
	a.w.Header().Set("Content-Type", contentType(format))
}

func (a *answer) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	a.started = true
	return a.encode.Write(p)
}

// Begin tells the statement's counts in a header; the engine's connection calls
// it before the first byte.
func (a *answer) Begin(stats chdb.Stats) {
	text, err := json.Marshal(map[string]string{
		"read_rows": strconv.FormatUint(stats.RowsRead, 10), "read_bytes": strconv.FormatUint(stats.BytesRead, 10),
		"written_rows": strconv.FormatUint(stats.RowsWritten, 10), "written_bytes": strconv.FormatUint(stats.BytesWritten, 10),
		"elapsed_ns": strconv.FormatInt(int64(stats.Seconds*1e9), 10),
	})
	if err == nil {
		a.w.Header().Set("X-ClickHouse-Summary", string(text))
	}
}

// finish ends the body, with err in the way that is still open.
func (a *answer) finish(err error) {
	switch {
	case err == nil && !a.started:
		// clickhouse-go takes an empty body for "no result" only by its length.
		a.w.Header().Del("Content-Encoding")
		a.w.Header().Set("Content-Length", "0")
		a.w.WriteHeader(http.StatusOK)
		return
	case err != nil && !a.started:
		writeError(a.w, err)
		return
	case err != nil:
		message := asRefused(err).err.Message
		if blocks, ok := a.encode.(*blockWriter); ok {
			// clickhouse-go looks for the exception in the bytes of the wire.
			blocks.c = compress.NewWriter(compress.LevelZero, compress.None)
		}
		block := fmt.Sprintf("\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n", a.tag, message, len(message)+1, a.tag)
		_, _ = io.WriteString(a.encode, block)
	}
	// The client is gone when this fails.
	_ = a.close()
}

// blockWriter writes ClickHouse's compressed blocks, one per write.
type blockWriter struct {
	w io.Writer
	c *compress.Writer
}

func (b *blockWriter) Write(p []byte) (int, error) {
	if err := b.c.Compress(p); err != nil {
		return 0, fmt.Errorf("compress the result: %w", err)
	}
	if _, err := b.w.Write(b.c.Data); err != nil {
		return 0, err
	}
	return len(p), nil
}

// decodeBody undoes the body's compression.
func decodeBody(r *http.Request, blocks bool) (io.Reader, error) {
	var body io.Reader = http.NoBody
	if r.Body != nil {
		body = r.Body
	}
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip":
		zip, err := gzip.NewReader(body)
		if err != nil {
			return nil, fmt.Errorf("the body is no gzip: %w", err)
		}
		body = zip
	case "zstd":
		const maxWindowBytes = 64 << 20
		plain, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindowBytes))
		if err != nil {
			return nil, fmt.Errorf("the body is no zstd: %w", err)
		}
		body = plain.IOReadCloser()
	case "lz4":
		body = lz4.NewReader(body)
	default:
		return nil, fmt.Errorf("the body's encoding %.20q is not known here: use gzip, zstd or lz4", encoding)
	}
	if blocks {
		body = plainEOF{compress.NewReader(body)}
	}
	return body, nil
}

// plainEOF unwraps the end of ch-go's reader, which wraps it; io.ReadAll and
// io.MultiReader compare.
type plainEOF struct{ r io.Reader }

func (p plainEOF) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if errors.Is(err, io.EOF) {
		err = io.EOF
	}
	return n, err
}

// discard is an io.Writer for results that nobody reads.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
