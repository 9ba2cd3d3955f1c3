package chserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/tillstream/tillstream/embedded/chdb"
)

// helloQuery is clickhouse-go's first query on a connection.
const helloQuery = "SELECT displayName(), version(), revision(), timezone()"

// notSettings are the URL parameters that mean something else than a setting.
var notSettings = map[string]bool{
	"query": true, "database": true, "default_format": true, "client_protocol_version": true, "query_id": true,
	"quota_key": true, "compress": true, "decompress": true, "user": true, "password": true, "stacktrace": true,
	"wait_end_of_query": true, "buffer_size": true, "enable_http_compression": true, "add_http_cors_header": true,
	"send_progress_in_http_headers": true, "http_headers_progress_interval_ms": true, "network_compression_method": true,
	"network_zstd_compression_level": true, "http_zlib_compression_level": true, "log_comment": true,
	"cancel_http_readonly_queries_on_client_close": true, "session_timeout": true, "session_check": true,
}

// request is one query taken from an HTTP request.
type request struct {
	access    access
	url       url.Values
	header    http.Header
	statement statement
	params    []chdb.Param
	settings  map[string]string
	database  string
	// data is what an insert inserts.
	data io.Reader
	// format is the output's.
	format string
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, a access) {
	if !s.enter() {
		writeError(w, refusal(http.StatusServiceUnavailable, codeAborted, errClosed.Error()))
		return
	}
	defer s.requests.Done()
	if err := s.admit(r, a); err != nil {
		writeError(w, err)
		return
	}
	if r.URL.Path == "/ping" || r.URL.Path == "/replicas_status" || r.URL.Path == "/" && r.Method == http.MethodGet && r.URL.RawQuery == "" {
		w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
		_, _ = io.WriteString(w, "Ok.\n")
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.stopped, cancel)()
	id := r.URL.Query().Get("query_id")
	if id == "" {
		id = rand.Text()
	}
	setHeaders(w.Header(), map[string]string{
		"X-ClickHouse-Query-Id": id, "X-ClickHouse-Server-Display-Name": "tillstream", "X-ClickHouse-Timezone": s.timezone,
	})
	out := newAnswer(w, r)
	err := s.answer(ctx, out, r, a)
	if err != nil {
		s.options.Log.Debug().Str("query_id", id).Bool("read_only", a.readOnly).Int("code", errorCode(err)).Msg("query failed")
	}
	out.finish(err)
}

func setHeaders(header http.Header, values map[string]string) {
	for name, value := range values {
		header.Set(name, value)
	}
}

// answer runs the request's statement and writes its result to out.
func (s *Server) answer(ctx context.Context, out *answer, r *http.Request, a access) error {
	q, err := s.read(r, a)
	if err != nil {
		return err
	}
	out.describe(q.format)
	if q.statement.head == helloQuery && strings.EqualFold(q.format, "Native") {
		return s.hello(out, q.url.Get("client_protocol_version"))
	}
	sess, err := s.pool.acquire(ctx)
	if err != nil {
		return err
	}
	defer s.pool.release(sess)
	if err := sess.prepare(q.database, s.settingsFor(sess, q)); err != nil {
		return err
	}
	if a.readOnly {
		err = s.allowReadOnly(sess, q.statement)
	} else if a.guarded {
		err = refuseReaching(q.statement.head, s.denied, false)
	}
	if err != nil {
		return err
	}
	sess.unknown = q.statement.session
	defer s.pool.killOnDone(ctx, sess)()
	return execute(ctx, sess, q, out)
}

func execute(ctx context.Context, sess *session, q *request, out *answer) error {
	text := chdb.Statement{SQL: q.statement.head, Format: q.format, Params: q.params}
	switch {
	case q.statement.kind == kindInsert:
		text.Format = q.statement.format
		stats, err := sess.conn.Insert(&contextReader{ctx, q.data}, text)
		if err == nil {
			out.Begin(stats)
		}
		return err
	case q.statement.kind == kindSelect && canStream(q.format):
		_, err := sess.conn.Stream(out, text)
		return err
	default:
		_, err := sess.conn.Query(out, text)
		return err
	}
}

// contextReader stops an insert whose request has ended.
type contextReader struct {
	ctx  context.Context
	data io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.data.Read(p)
}

// read takes the statement, its data, parameters and settings from r.
func (s *Server) read(r *http.Request, a access) (*request, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost && r.Method != http.MethodHead {
		return nil, refusal(http.StatusMethodNotAllowed, codeNotImplemented, "use GET or POST")
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		return nil, refusal(http.StatusNotImplemented, codeNotImplemented, "the embedded ClickHouse takes no external tables: put the rows into a table first")
	}
	q := &request{access: a, url: r.URL.Query(), header: r.Header}
	if q.url.Get("session_id") != "" {
		return nil, refusal(http.StatusNotImplemented, codeNotImplemented, "the embedded ClickHouse keeps no sessions: leave session_id out")
	}
	if err := q.readParameters(); err != nil {
		return nil, err
	}
	if r.Method != http.MethodPost {
		q.settings["readonly"] = "2" // as a server does with GET
	}
	q.database = firstOf(q.url.Get("database"), r.Header.Get("X-ClickHouse-Database"))
	if q.database == "" || q.database == "default" {
		q.database = s.options.Database
	}
	if a.readOnly && q.database != s.options.Database {
		return nil, refusal(http.StatusForbidden, codeAccessDenied, "read-only SQL can use the database "+s.options.Database+" alone")
	}
	body, err := decodeBody(r, q.url.Get("decompress") == "1")
	if err != nil {
		return nil, refusal(http.StatusBadRequest, codeCannotDecompress, err.Error())
	}
	if err := q.readStatement(body); err != nil {
		return nil, err
	}
	q.format = firstOf(q.statement.format, r.Header.Get("X-ClickHouse-Format"), q.url.Get("default_format"), "TabSeparated")
	return q, nil
}

func (q *request) readParameters() error {
	q.settings = map[string]string{}
	for name, values := range q.url {
		value := values[len(values)-1]
		if param, found := strings.CutPrefix(name, "param_"); found {
			q.params = append(q.params, chdb.Param{Name: param, Value: value})
		} else if !notSettings[name] && name != "session_id" {
			if !isName(name) {
				return refusal(http.StatusBadRequest, codeUnknownSetting, fmt.Sprintf("the URL parameter %.40q is no setting's name", name))
			}
			q.settings[name] = value
		}
	}
	return nil
}

// readStatement joins the query parameter with the body, as a server does: the
// body follows the parameter's text, or is the data of its insert.
func (q *request) readStatement(body io.Reader) error {
	text := q.url.Get("query")
	if len(text) > MaxQueryBytes {
		return errQueryTooBig()
	}
	if text != "" {
		if s, err := parse(text); err == nil && s.kind == kindInsert {
			q.statement, q.data = s, io.MultiReader(strings.NewReader(s.data), body)
			return q.finishInsert()
		}
		text += "\n"
	}
	start, err := io.ReadAll(io.LimitReader(body, MaxQueryBytes+1))
	if err != nil {
		return refusal(http.StatusBadRequest, codeCannotRead, "read the request's body: "+err.Error())
	}
	text += string(start)
	q.statement, err = parse(text)
	if err != nil {
		return refusal(http.StatusBadRequest, codeSyntax, err.Error())
	}
	if q.statement.kind == kindInsert {
		if len(q.statement.head) > MaxQueryBytes {
			return errQueryTooBig()
		}
		q.data = io.MultiReader(strings.NewReader(q.statement.data), body)
		return q.finishInsert()
	}
	if len(start) > MaxQueryBytes {
		return errQueryTooBig()
	}
	return nil
}

func (q *request) finishInsert() error {
	if q.statement.format == "" {
		q.statement.format = firstOf(q.header.Get("X-ClickHouse-Format"), q.url.Get("default_format"), "Values")
	}
	if strings.EqualFold(q.statement.format, "Values") && len(q.params) > 0 {
		// Placeholders among the values are bound only by the engine's parser of
		// the whole text.
		values, err := io.ReadAll(io.LimitReader(q.data, MaxQueryBytes+1))
		if err != nil {
			return refusal(http.StatusBadRequest, codeCannotRead, "read the request's body: "+err.Error())
		}
		if len(values) > MaxQueryBytes {
			return errQueryTooBig()
		}
		q.statement = statement{kind: kindOther, head: q.statement.head + " VALUES " + string(values)}
		return nil
	}
	q.data = &limitedReader{data: q.data, left: MaxInsertBytes}
	return nil
}

func errQueryTooBig() error {
	return refusal(http.StatusRequestEntityTooLarge, codeQueryTooBig, fmt.Sprintf("the query has more than %d bytes", MaxQueryBytes))
}

func firstOf(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}

// settingsFor are the settings of one request: the base, the request's, and for
// untrusted ones the limits that it cannot lift.
func (s *Server) settingsFor(sess *session, q *request) map[string]string {
	settings := baseSettings(sess.tag)
	settings["max_execution_time"] = strconv.Itoa(int(MaxExecution.Seconds()))
	for name, value := range q.settings {
		settings[name] = value
	}
	if q.access.readOnly {
		seconds := int(MaxReadOnlyExecution.Seconds())
		if asked, err := strconv.Atoi(q.settings["max_execution_time"]); err == nil && asked > 0 {
			seconds = min(seconds, asked)
		}
		setAll(settings, map[string]string{
			"readonly": "1", "max_execution_time": strconv.Itoa(seconds), "timeout_overflow_mode": "throw",
			"max_result_bytes": strconv.Itoa(MaxReadOnlyResultBytes), "result_overflow_mode": "throw",
			"max_memory_usage": strconv.Itoa(MaxReadOnlyMemoryBytes), "allow_ddl": "0", "allow_introspection_functions": "0",
		})
	}
	return settings
}

func setAll(to, from map[string]string) {
	for name, value := range from {
		to[name] = value
	}
}

// hello answers clickhouse-go's first query at the client's own protocol
// revision and says revision 0, because the engine writes every later block at
// revision 0.
func (s *Server) hello(out io.Writer, clientRevision string) error {
	revision, err := strconv.Atoi(firstOf(clientRevision, "0"))
	if err != nil || revision < 0 {
		return refusal(http.StatusBadRequest, codeSyntax, "client_protocol_version is no number")
	}
	var name, version, zone proto.ColStr
	var zero proto.ColUInt32
	name.Append("tillstream")
	version.Append(s.version)
	zone.Append(s.timezone)
	zero.Append(0)
	var buffer proto.Buffer
	block := proto.Block{Columns: 4, Rows: 1, Info: proto.BlockInfo{BucketNum: -1}}
	if revision > 0 {
		block.Info.Encode(&buffer)
	}
	err = block.EncodeRawBlock(&buffer, revision, proto.Input{
		{Name: "displayName()", Data: &name},
		{Name: "version()", Data: &version},
		{Name: "revision()", Data: &zero},
		{Name: "timezone()", Data: &zone},
	})
	if err != nil {
		return fmt.Errorf("encode the server's hello: %w", err)
	}
	_, err = out.Write(buffer.Buf)
	return err
}

var errInsertTooBig = errors.New("the insert's data is over the limit")

// limitedReader fails instead of ending when the limit is passed: a cut insert
// must not pass for a whole one.
type limitedReader struct {
	data io.Reader
	left int64
}

func (r *limitedReader) Read(p []byte) (int, error) {
	n, err := r.data.Read(p)
	if r.left -= int64(n); r.left < 0 {
		return 0, fmt.Errorf("%w of %d bytes: send it in smaller pieces", errInsertTooBig, MaxInsertBytes)
	}
	return n, err
}
