package cli_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	connectorsall "github.com/tillstream/tillstream/connectors/all"
	"github.com/tillstream/tillstream/embedded/chdb"
	"github.com/tillstream/tillstream/embedded/chserver"
	"github.com/tillstream/tillstream/internal/cli"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/sinks"
	sinksall "github.com/tillstream/tillstream/sinks/all"
	chsink "github.com/tillstream/tillstream/sinks/clickhouse"
)

// TestOnClickHouse is one test, because the embedded ClickHouse has one storage path per process.
func TestOnClickHouse(t *testing.T) {
	dir := t.TempDir()
	lib, err := chdb.Open(chdb.Options{Dir: filepath.Join(dir, "data"), Connections: 2})
	var notFound *chdb.MissingError
	var unsupported *chdb.UnsupportedError
	switch {
	case (errors.As(err, &notFound) || errors.As(err, &unsupported)) && !strings.Contains(os.Getenv("TILLSTREAM_REQUIRE"), "chdb"):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() { lib.Close() })
	engine, err := chserver.New(lib, chserver.Options{Database: "tillstream"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	store, err := chsink.Open(context.Background(), chsink.Options{Client: engine.Options(""), Log: zerolog.Nop(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(engine.Handler())
	t.Cleanup(server.Close)
	t.Run("audit", func(t *testing.T) { auditFindsGaps(t, server.URL, store) })
	sold(t, store)
	t.Run("table and picture", func(t *testing.T) { reportPrintsTableAndPicture(t, server.URL) })
	t.Run("csv", func(t *testing.T) { reportForSpreadsheetsRunsNoFormula(t, server.URL) })
	t.Run("json", func(t *testing.T) { reportForProgramsIsALinePerRow(t, server.URL) })
	t.Run("page", func(t *testing.T) { reportPageAsksForNothingAndRunsNothing(t, server.URL) })
	waiting(t, store)
	t.Run("waits", func(t *testing.T) { waitsAreListedAndShown(t, server.URL) })
	t.Run("waits closed", func(t *testing.T) { waitsAreClosed(t, server.URL) })
	pastLetters(t, store)
	t.Run("issues, retry, jobs", func(t *testing.T) { thePastIsShown(t, server.URL) })
	t.Run("preview", func(t *testing.T) { previewOfAStoredEvent(t, server.URL, store) })
	t.Run("erase", func(t *testing.T) { erasesAPerson(t, server.URL, store) })
}

// reportDay is when the tests of reports ask.
var reportDay = time.Date(2026, 4, 10, 12, 0, 0, 0, time.UTC)

// tillstream runs one command in this process.
func tillstream(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Main(context.Background(), cli.Process{
		Args: args, Getenv: os.LookupEnv, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Connectors: connectorsall.Connectors(), Sinks: sinksall.Sinks(), Now: func() time.Time { return reportDay },
	})
	return code, out.String(), errs.String()
}

// Names and reasons as an attacker would choose them.
const (
	formula = `=HYPERLINK("http://evil.example")`
	markup  = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>`
	escape  = "\x1b]0;owned\a\x1b[2J"
)

// sold fills the tables with a month of sales.
func sold(t *testing.T, store *chsink.Store) {
	t.Helper()
	var transitions, events []sinks.Row
	add := func(root, store, currency, paid, refunded string, number int64, at time.Time, status schemas.PaymentStatus, reason string) {
		e := schemas.OrderEvent{
			EventID: fmt.Sprint(root, number), Kind: schemas.KindPayment, Provider: "paypal", Environment: schemas.Live, Connection: store, RootID: root,
			EventType: "CAPTURE", Status: status, ProviderTime: at, ReceivedAt: at, Origin: schemas.OriginWebhook, Amount: &schemas.Amount{Value: "1", Currency: currency},
			Fields: map[string]string{"payment.reason": reason},
		}
		tr := &schemas.Transition{
			RootKey: schemas.RootKey(schemas.Live, store, root), RootKind: schemas.KindOrder, Number: number, Disposition: schemas.Changed, To: status, Legal: true,
			Event: e, Paid: paid, Refunded: refunded, Currency: currency, At: at,
		}
		offset := int64(len(events))
		events = append(events, sinks.Row{Offset: offset, At: at, Record: &e})
		transitions = append(transitions, sinks.Row{Offset: offset, At: at, Record: tr})
	}
	day := func(n int) time.Time { return time.Date(2026, 3, n, 10, 0, 0, 0, time.UTC) }
	add("A", "shop", "EUR", "100.50", "0", 1, day(1), schemas.StatusPaid, "")
	add("B", "shop", "EUR", "50", "0", 1, day(2), schemas.StatusPaid, "")
	add("B", "shop", "EUR", "50", "50", 2, day(3), schemas.StatusRefunded, "")
	add("C", "shop", "JPY", "9000", "0", 1, day(4), schemas.StatusPaid, "")
	for i, reason := range []string{formula, markup, escape} {
		add(fmt.Sprint("F", i), "shop", "EUR", "0", "0", 1, day(5+i), schemas.StatusFailed, reason)
	}
	for topic, rows := range map[string][]sinks.Row{schemas.TopicPayPalEvents: events, schemas.TopicTransitions: transitions} {
		r := sinks.Range{Topic: topic, TopicID: "one", Partition: 99, From: 0, To: rows[len(rows)-1].Offset}
		if err := store.Insert(context.Background(), r, rows); err != nil {
			t.Fatal(err)
		}
	}
}

var writeGolden = flag.Bool("golden", false, "write the golden files of reports")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "report", name)
	if *writeGolden {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, string(want)); diff != "" {
		t.Errorf("%s (-got +want):\n%s", name, diff)
	}
}

func reportPrintsTableAndPicture(t *testing.T, address string) {
	for name, args := range map[string][]string{
		"revenue.txt":      {"report", "revenue"},
		"revenue-days.txt": {"report", "revenue-days", "--currency", "eur"},
		"failures.txt":     {"report", "failures"},
		"nothing.txt":      {"report", "revenue", "--environment", "sandbox"},
	} {
		code, stdout, stderr := tillstream(t, append(args, "--clickhouse", address)...)
		if code != 0 || stderr != "" {
			t.Fatalf("%v: exit code %d: %s", args, code, stderr)
		}
		if strings.Contains(stdout, "\x1b") {
			t.Errorf("%v: an escape sequence of a provider reaches the terminal", args)
		}
		golden(t, name, stdout)
	}
}

func reportForSpreadsheetsRunsNoFormula(t *testing.T, address string) {
	code, stdout, stderr := tillstream(t, "report", "failures", "--format", "csv", "--clickhouse", address)
	if code != 0 {
		t.Fatal(stderr)
	}
	rows, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for _, row := range rows {
		seen = seen || row[2] == "'"+formula
	}
	if !seen {
		t.Errorf("no cell %q in\n%s", "'"+formula, stdout)
	}
	if diff := cmp.Diff(rows[0], []string{"month", "store", "reason", "currency", "failures", "amount"}); diff != "" {
		t.Errorf("header (-got +want):\n%s", diff)
	}
}

func reportForProgramsIsALinePerRow(t *testing.T, address string) {
	code, stdout, stderr := tillstream(t, "report", "revenue", "--since", "41d", "--until", "2026-04-01", "--format", "json", "--clickhouse", address)
	if code != 0 {
		t.Fatal(stderr)
	}
	var first map[string]any
	if err := json.NewDecoder(strings.NewReader(stdout)).Decode(&first); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"month": "2026-03-01", "store": "shop", "kind": "ORDER", "currency": "EUR", "gross": "150.5", "refunds": "50", "net": "100.5", "captures": 2.0, "refund_count": 1.0}
	if diff := cmp.Diff(first, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if lines := strings.Count(stdout, "\n"); lines != 2 {
		t.Errorf("got %d lines, want one for each currency", lines)
	}
}

func reportPageAsksForNothingAndRunsNothing(t *testing.T, address string) {
	code, page, stderr := tillstream(t, "report", "--all", "--format", "html", "--clickhouse", address)
	if code != 0 {
		t.Fatal(stderr)
	}
	for _, bad := range []string{"<script", "<img", "http://", "https://", "ZgotmplZ", "\x1b", " style=", "url(", "@import", "<link", "NaN", "Inf"} {
		text := strings.ReplaceAll(page, "=HYPERLINK(&#34;http://evil.example&#34;)", "") // as text, a hostile reason stands there
		if strings.Contains(text, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)
	if style == nil {
		t.Fatal("the page has no style")
	}
	sum := sha256.Sum256([]byte(style[1]))
	policy := fmt.Sprintf(`<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'">`, base64.StdEncoding.EncodeToString(sum[:]))
	if !strings.Contains(page, policy) {
		t.Errorf("the page has no policy %s", policy)
	}
	known, err := chsink.Reports()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range known {
		if !strings.Contains(page, `<section id="`+r.Name+`">`) {
			t.Errorf("report %s is not in the page", r.Name)
		}
	}
	drawings := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1)
	if len(drawings) < 5 {
		t.Errorf("got %d drawings, want one at least for each report with rows", len(drawings))
	}
	for _, svg := range drawings {
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in\n%s", err, svg)
			}
		}
	}
}

func TestReportNamesWhatItIsAskedWrongly(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"report"}, "which report?"},
		{[]string{"report", "revenu"}, `there is no report "revenu"`},
		{[]string{"report", "revenue", "--all"}, "name one report, or say --all"},
		{[]string{"report", "--all", "--format", "csv"}, "reports have different columns"},
		{[]string{"report", "revenue", "--environment", "test"}, "use live or sandbox"},
		{[]string{"report", "revenue", "--format", "pdf"}, "use table, csv, json or html"},
		{[]string{"report", "revenue", "--since", "yesterday"}, `--since "yesterday"`},
		{[]string{"report", "revenue", "--since", "2026-02-01", "--until", "2026-01-01"}, "--since lies after --until"},
	} {
		code, _, stderr := tillstream(t, c.args...)
		if code != cli.ExitUsage || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: got %d %q, want %q", c.args, code, stderr, c.want)
		}
	}
	code, stdout, _ := tillstream(t, "report", "--list")
	if code != 0 || !strings.Contains(stdout, "revenue-by-tag") {
		t.Errorf("--list: got %d %s", code, stdout)
	}
}
