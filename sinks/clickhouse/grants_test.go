package clickhouse_test

import (
	"os"
	"strings"
	"testing"

	"github.com/tillstream/tillstream/sinks/clickhouse"
)

func TestTheDocumentedGrantsAreThoseOfEveryTable(t *testing.T) {
	doc, err := os.ReadFile("../../docs/clickhouse.md")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join(clickhouse.Grants(clickhouse.DatabaseDefault, "tillstream_viewer"), ";\n") + ";\n"
	if _, after, _ := strings.Cut(string(doc), "```sql\n"); !strings.HasPrefix(after, want+"```") {
		t.Errorf("docs/clickhouse.md has other grants than there are tables; want\n%s", want)
	}
}
